"""The order: the full desired state of one PoP, with a generation. The agent obeys it and nothing else.

Made by `plan.order_for`, carried by HTTP, kept on the agent's disk. An instance is taken down only when its uid stands under `removed`:
leaving it
out is never enough, so an order that is empty or cut short stops nothing (DESIGN invariants 6, 13, 14).
"""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from anypop.model.announce import Announcement, Prefix
from anypop.model.names import CityCode, InstanceName, WorkloadId
from anypop.model.network import Upstream
from anypop.model.workload import Container


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceOrder:
    """One instance to run. `uid` is new for each incarnation of the name. The link to the router is a /31 (and a /127): `gateway*` is
    the router's end.

    `containers[].env` is complete here: values from instance fields have been filled in. `labels` go on the containers.
    """

    name: InstanceName
    uid: str
    workload_id: WorkloadId
    private4: IPv4Address
    gateway4: IPv4Address
    private6: IPv6Address
    gateway6: IPv6Address
    external4: IPv4Address
    external6: IPv6Address
    anycast4: IPv4Address | None = None
    anycast6: IPv6Address | None = None
    containers: tuple[Container, ...]
    hosts_domain: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """An explicit token to take one incarnation down, and why. Until its PoP reports the uid gone, `index` (and with it the addresses)
    stays taken; -1: none.
    """

    name: InstanceName
    uid: str
    reason: str
    workload_id: WorkloadId = WorkloadId("")
    index: int = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """The governor's leave to withdraw `prefix` here although its order says announce, or its refusal with the reason (a `Reason`
    value).
    """

    prefix: Prefix
    allowed: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """The full desired state of one PoP. `decay_s`: how long a prefix is announced at lowest preference (RFC 8326) before it is
    withdrawn on purpose;
    `drain_s`: how long instances go on after the withdrawal."""

    pop: CityCode
    generation: int
    asn: int
    router_id: IPv4Address
    private4: IPv4Network
    private6: IPv6Network
    external4: IPv4Network
    external6: IPv6Network
    upstreams: tuple[Upstream, ...]
    instances: tuple[InstanceOrder, ...] = ()
    removed: tuple[Removal, ...] = ()
    announcements: tuple[Announcement, ...] = ()
    grants: tuple[Grant, ...] = ()
    decay_s: float = 0.5
    drain_s: float = 0.5

    def instance(self, name: InstanceName) -> InstanceOrder | None:
        return next((i for i in self.instances if i.name == name), None)
