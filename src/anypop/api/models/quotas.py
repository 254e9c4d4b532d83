"""Quotas: what an account or a stack may declare, and what it has declared."""

from typing import Annotated

from pydantic import ConfigDict, Field, StrictInt

from anypop.api.models.common import Answer, Id, Request, left_out
from anypop.control.rates import REQUESTS_PER_S
from anypop.plan.quota import IMAGE_BYTES_BY_DEFAULT, LOCAL_ONLY_BY_DEFAULT

MOST = (1 << 62) - 1  # what fits into a signed 64-bit number everywhere

Limit = Annotated[StrictInt | None, Field(ge=0, le=MOST)]


class StackQuotaRequest(Request):
    """The most that may be declared in a stack; what is left out has no limit."""

    model_config = ConfigDict(extra="forbid")

    instances: Limit = None
    cpu_millis: Annotated[Limit, Field(description="requests of all instances, in thousandths of a core")] = None
    memory_bytes: Annotated[Limit, Field(description="requests of all instances")] = None
    cpu_limit_millis: Annotated[Limit, Field(description="limits of all instances, in thousandths of a core")] = None
    memory_limit_bytes: Annotated[Limit, Field(description="limits of all instances")] = None
    instance_cpu_limit_millis: Annotated[Limit, Field(description="the limit of one instance")] = None
    instance_memory_limit_bytes: Annotated[Limit, Field(description="the limit of one instance")] = None
    anycast: Annotated[Limit, Field(description="anycast addresses")] = None
    local_only: Annotated[
        Limit,
        Field(
            description="workloads with a covering prefix of their own (local only); of an account where it is left "
            f"out: {LOCAL_ONLY_BY_DEFAULT}"
        ),
    ] = None
    volume_bytes: Annotated[Limit, Field(description="of all volumes that instances claim")] = None
    image_bytes: Annotated[
        Limit,
        Field(
            description="of images of virtual machines, each content once; of an account where it is left out: "
            f"{IMAGE_BYTES_BY_DEFAULT}"
        ),
    ] = None
    addresses: Annotated[Limit, Field(description="allocations, and claims that have none yet")] = None
    workloads: Limit = None


class QuotaRequest(StackQuotaRequest):
    """The same for an account and all its stacks; what is left out has no limit or its default."""

    stacks: Limit = None
    requests_per_second: Annotated[
        StrictInt | None, Field(ge=1, le=100_000, description=f"of each credential; default: {REQUESTS_PER_S}")
    ] = None


class StackQuotaBody(Request):
    """Limits, wrapped."""

    quota: StackQuotaRequest


class QuotaBody(Request):
    """Limits, wrapped."""

    quota: QuotaRequest


class StackLimits(Answer):
    """The limits that there are."""

    instances: int = left_out()
    cpu_millis: int = left_out()
    memory_bytes: int = left_out()
    cpu_limit_millis: int = left_out()
    memory_limit_bytes: int = left_out()
    instance_cpu_limit_millis: int = left_out()
    instance_memory_limit_bytes: int = left_out()
    anycast: int = left_out()
    local_only: int = left_out()
    volume_bytes: int = left_out()
    image_bytes: int = left_out()
    addresses: int = left_out()
    workloads: int = left_out()


class Limits(StackLimits):
    """The limits that there are."""

    stacks: int = left_out()
    requests_per_second: int = left_out("of each credential")


class StackUsage(Answer):
    """What is declared. Workloads that are being deleted do not count, but in `local_only`."""

    instances: int
    cpu_millis: int
    memory_bytes: int
    cpu_limit_millis: int
    memory_limit_bytes: int
    instance_cpu_limit_millis: int
    instance_memory_limit_bytes: int
    anycast: int
    local_only: int
    volume_bytes: int
    image_bytes: int
    addresses: int
    workloads: int


class Usage(StackUsage):
    """What is declared. Workloads that are being deleted do not count, but in `local_only`."""

    stacks: int


class StackQuota(Answer):
    stack: Id
    slug: str
    quota: StackLimits
    used: StackUsage


class AccountQuota(Answer):
    account: Id
    quota: Limits
    used: Usage
    stacks: list[StackQuota]
