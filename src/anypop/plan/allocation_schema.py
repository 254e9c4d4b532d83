"""The JSON of allocations and of their claims, as it may be sent: every field and its kind.

In: plain JSON data. Out: checked bodies, or Pydantic's errors for `plan.allocation_read` to put into words. A claim
stands in a workload's assignments too. No defaults are filled in.
"""

import re
from typing import Annotated, Any

from pydantic import Field, model_validator

from anypop.plan.kinds import LONGEST_AMOUNT, Checked, Few, Int, Slug, Title, Word, one_of, refused
from anypop.plan.policy_schema import Part, PolicyMetadata, Selectors

CLASSES = ("stackpath-edge/private", "stackpath-edge/unicast")
MOST_IDLE_S = 10 * 365 * 86400.0
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def seconds_of(text: str) -> float:
    """Of `3600s` (as protobuf writes it), `90m`, `24h` or `7d`. ValueError."""
    found = re.fullmatch(r"([0-9]{1,10}(?:\.[0-9]{1,9})?)([smhd])", text)
    seconds = float(found[1]) * _UNITS[found[2]] if found else 0.0
    if not 1 <= seconds <= MOST_IDLE_S:
        raise ValueError(f"{text[:80]!r} must be a time of one second to ten years: 3600s, 90m, 24h or 7d")
    return seconds


def _period(value: str) -> str:
    if value:
        seconds_of(value)
    return value


Class = Annotated[str, one_of(*CLASSES, enum=True)]
Family = Annotated[str, one_of("IPv4", "IPv6", enum=True)]
Period = Annotated[str, Field(max_length=LONGEST_AMOUNT), Checked(_period, {"description": "3600s, 90m, 24h or 7d"})]


class ReclaimPolicy(Part):
    """What becomes of it when nobody holds it any more."""

    action: Annotated[str, one_of("DELETE", "RETAIN", "RETAIN_FOR_IDLE_PERIOD", enum=True)] | None = None
    idle_retention_period: Period | None = None

    @model_validator(mode="after")
    def _with_its_period(self) -> "ReclaimPolicy":
        idles = self.action == "RETAIN_FOR_IDLE_PERIOD"
        if idles is not bool(self.idle_retention_period):
            message = "is required" if idles else "belongs to action RETAIN_FOR_IDLE_PERIOD"
            raise ValueError(f"idleRetentionPeriod: {message}")
        return self


class AllocationSpec(Part):
    """An address: one, in one of the cities that its selectors leave."""

    allocation_class: Class | None = None
    ip_family: Family | None = None
    prefix_length: Int | None = None
    reclaim_policy: ReclaimPolicy | None = None
    selectors: Selectors | None = None


class AllocationBody(Part):
    """An allocation as it is declared."""

    name: Title | None = None
    slug: Slug | None = None
    metadata: PolicyMetadata | None = None
    spec: AllocationSpec | None = None
    # the server's own: accepted, since clients send back what they read
    id: Any = None
    stack_id: Any = None
    status: Any = None


class AllocationSelector(Part):
    """A free allocation of the stack: by its labels, and by its city under the key cityCode."""

    allocation_class: Class | None = None
    match_expressions: Selectors | None = None


class ClaimAllocation(Part):
    """Exactly one of them. `name`: STACK/SLUG or the slug of an allocation."""

    name: Word | None = None
    selector: AllocationSelector | None = None
    template: AllocationBody | None = None

    @model_validator(mode="after")
    def _one_way(self) -> "ClaimAllocation":
        if sum(bool(way) for way in (self.name, self.selector is not None, self.template is not None)) > 1:
            raise ValueError("has more than one of name, selector and template")
        return self


class ClaimSpec(Part):
    """Whose address is claimed. The family must be the allocation's."""

    ip_family: Family | None = None
    prefix_length: Int | None = None
    reclaim_policy: ReclaimPolicy | None = None
    resource_binding: Annotated[
        Any, refused("a claim is held by the instances of a workload that names it in its assignments")
    ] = None
    allocation: ClaimAllocation | None = None


class ClaimBody(Part):
    """A claim as it is declared."""

    name: Title | None = None
    slug: Slug | None = None
    metadata: PolicyMetadata | None = None
    spec: ClaimSpec | None = None
    # the server's own, as above
    id: Any = None
    stack_id: Any = None
    status: Any = None


class AssignmentBody(Part):
    """An address of a workload's interface, and the claim that each of its instances holds for it."""

    slug: Slug | None = None
    mode: Annotated[str, one_of("PRIMARY", "ONE_TO_ONE_NAT", "ADDITIONAL", "FORWARD", enum=True, required=True)]
    allocation_claim_template: ClaimBody | None = None


Assignments = Annotated[list[AssignmentBody], Few]
FIELD_NAMES = frozenset(
    info.alias or name
    for part in (
        AllocationBody, AllocationSpec, ReclaimPolicy, AllocationSelector, ClaimAllocation, ClaimSpec, ClaimBody,
        AssignmentBody, PolicyMetadata,
    )
    for name, info in part.model_fields.items()
)  # fmt: skip
