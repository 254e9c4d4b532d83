"""Locations, workloads and instances of the Workload API.

A workload's own document is `plan.schema`'s, in requests and answers alike; here is what the platform adds to it, and
the instances, which the platform makes alone.
"""

from typing import Annotated, Any, Literal

from pydantic import Field

from anypop.api.models.common import CamelAnswer, CamelRequest, CountText, Id, Moment, Page, left_out
from anypop.model.reasons import Reason
from anypop.plan.schema import Container, Runtime, Spec, VirtualMachine, WorkloadBody
from anypop.plan.target_schema import Target

InstancePhase = Literal[
    "INSTANCE_PHASE_UNSPECIFIED", "SCHEDULING", "STARTING", "RUNNING", "FAILED", "COMPLETED", "STOPPED", "DELETING"
]


class Location(CamelAnswer):
    """A city with a PoP. Where no airport has the code (a lab's own city), only the code is known."""

    name: str
    city: str
    city_code: str
    subdivision: str = left_out()
    country: str = left_out()
    country_code: str = left_out()
    region: str = left_out()
    region_code: str = left_out()
    continent: str = left_out()
    continent_code: str = left_out()
    latitude: float = left_out()
    longitude: float = left_out()
    status: Literal["active"]


class LocationPage(Page):
    results: list[Location]


class WorkloadRequest(CamelRequest):
    """A workload to create, to replace another, or to be priced."""

    workload: WorkloadBody


class WorkloadPatch(CamelRequest):
    """What changes (RFC 7396): members as in `WorkloadBody`, each optional; null removes, lists are replaced."""

    workload: dict[str, Any]


class WorkloadMetadata(CamelAnswer):
    """The user's labels and annotations, and what the platform tells of the workload."""

    annotations: dict[str, str] = left_out()
    labels: dict[str, str] = left_out()
    version: Annotated[CountText, Field(description="1 at first, one more with each change")]
    created_at: Moment
    updated_at: Moment = left_out()
    delete_requested_at: Moment = left_out("it is being taken down since")


class Workload(CamelAnswer):
    """A workload as it was declared, without its secrets, with what the platform adds."""

    id: Id
    stack_id: Id
    name: str
    slug: str
    metadata: WorkloadMetadata
    spec: Spec
    targets: dict[str, Target]
    status: Literal["ACTIVE"]


class WorkloadAnswer(CamelAnswer):
    """`warnings`: what of it was accepted and has no effect, as the headers say too."""

    workload: Workload
    warnings: list[str] = left_out()


class WorkloadPage(Page):
    results: list[Workload]


class InstanceMetadata(CamelAnswer):
    """The workload's labels and annotations with the platform's own."""

    annotations: dict[str, str] = left_out()
    labels: dict[str, str]
    version: CountText
    created_at: Moment


class InstanceInterface(CamelAnswer):
    """The instance's link; it may have one family alone. Aliases are the anycast addresses."""

    network: str
    ip_address: str = left_out()
    gateway: str = left_out()
    ipv6_address: str = left_out()
    ipv6_gateway: str = left_out()
    ip_address_aliases: list[str] = left_out()
    ipv6_address_aliases: list[str] = left_out()


class Waiting(CamelAnswer):
    reason: Reason
    message: str = left_out()


class Running(CamelAnswer):
    started_at: Moment | None


class Terminated(CamelAnswer):
    exit_code: int = left_out()
    reason: Reason
    message: str = left_out()
    started_at: Moment = left_out()
    finished_at: Moment = left_out()


class ContainerStatus(CamelAnswer):
    """One container by its PoP's last report: `waiting`, `running` or `terminated`; of one that ended and is to be
    started anew `terminated` with `waiting` beside it.
    """

    name: str
    phase: InstancePhase
    ready: bool
    restart_count: int
    container_id: str = left_out()
    started_at: Moment = left_out()
    finished_at: Moment = left_out()
    waiting: Waiting = left_out()
    running: Running = left_out()
    terminated: Terminated = left_out()


class MachineStatus(CamelAnswer):
    """A virtual machine by its PoP's last report."""

    name: str
    phase: InstancePhase
    ready: bool
    restart_count: int
    started_at: Moment = left_out()
    finished_at: Moment = left_out()
    reason: Reason
    message: str = left_out()


class Instance(CamelAnswer):
    """One running copy of a workload. Of one that is on its way out the addresses are no longer told."""

    id: Annotated[str, Field(description="another with each incarnation of the name")]
    stack_id: Id
    workload_id: Id
    name: str
    metadata: InstanceMetadata
    location: Location
    phase: Annotated[
        InstancePhase, Field(description="INSTANCE_PHASE_UNSPECIFIED: its PoP is silent, nothing is known")
    ]
    healthy: Annotated[bool, Field(description="it runs and answers for certain: new traffic comes to it")]
    reason: Reason
    message: str = left_out()
    ip_address: str = left_out()
    external_ip_address: str = left_out()
    ipv6_address: str = left_out()
    external_ipv6_address: str = left_out()
    network_interfaces: list[InstanceInterface] = left_out()
    created_at: Moment
    scheduled_at: Moment
    started_at: Moment = left_out()
    deleted_at: Moment = left_out("its removal was asked for")
    containers: dict[str, Container] = left_out()
    init_containers: dict[str, Container] = left_out()
    virtual_machines: dict[str, VirtualMachine] = left_out()
    container_statuses: list[ContainerStatus] = left_out()
    init_container_statuses: list[ContainerStatus] = left_out()
    virtual_machine_statuses: list[MachineStatus] = left_out()
    runtime: Runtime = left_out()


class InstanceAnswer(CamelAnswer):
    instance: Instance


class InstancePage(Page):
    results: list[Instance]
