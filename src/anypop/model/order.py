"""The order: the full desired state of one host, with a generation. The agent obeys it and nothing else.

Made by `plan.order_for`, carried by HTTP, kept on the agent's disk. An instance is taken down only when its uid stands
under `removed`: leaving it out is never enough, so an order that is empty or cut short stops nothing (DESIGN invariants
6, 13, 14).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Network
from itertools import chain
from typing import Literal

from anypop.model.announce import Address, Announcement, Prefix
from anypop.model.backbone import Backbone
from anypop.model.confinement import PLAIN_RULES, InstanceRules
from anypop.model.machine import Machine, MachineImage, Power
from anypop.model.names import CityCode, HostName, InstanceName, StackId, WorkloadId
from anypop.model.network import Upstream
from anypop.model.peering import RpkiCache
from anypop.model.policy import AddressGroup, HostPolicy, Ruling
from anypop.model.reasons import Reason
from anypop.model.stack_names import NamedWorkload
from anypop.model.stack_network import DEFAULT_NETWORK, domain_of
from anypop.model.surroundings import NO_SURROUNDINGS, Surroundings
from anypop.model.volume import VolumeOrder, VolumeRemoval, volume_id
from anypop.model.workload import Container, Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkAddress:
    """One family of a link: a /31 (or /127) with the router's end `gateway`, and the public address that is the
    instance's own (None: its workload asks for none). `vpc`: its address in a subnet of its network, by which others of
    the network know it, where there is one.
    """

    private: Address
    gateway: Address
    external: Address | None
    vpc: Address | None = None

    @property
    def known(self) -> Address:
        """By which others of its network know it."""
        return self.vpc or self.private


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceLink:
    """One interface of an instance. `addresses`: one for each family, IPv4 first, those of the first interface alone
    with an external one. `reach`: all subnets of its network, in which instances elsewhere may be. `ways`: where the
    network's gateways lead; `passes`: where this interface leads, as one of them.
    """

    network: str = DEFAULT_NETWORK
    addresses: tuple[LinkAddress, ...]
    reach: tuple[Prefix, ...] = ()
    ways: tuple[Prefix, ...] = ()
    passes: tuple[Prefix, ...] = ()

    def of(self, version: int) -> LinkAddress | None:
        return next((a for a in self.addresses if a.private.version == version), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Containers:
    """A payload of containers. Their `env` is complete: values from instance fields have been filled in. `init`,
    `grace_s`, `shared_processes`: as in `Workload`.
    """

    kind: Literal["containers"] = "containers"
    containers: tuple[Container, ...]
    around: Surroundings = NO_SURROUNDINGS
    init: tuple[Container, ...] = ()
    grace_s: int | None = None
    shared_processes: bool = False

    @classmethod
    def of(cls, workload: Workload) -> "Containers":
        """What the instances of a workload are made from, before anything is filled in."""
        return cls(
            containers=workload.containers,
            around=workload.around,
            init=workload.init,
            grace_s=workload.grace_s,
            shared_processes=workload.shared_processes,
        )

    @property
    def every(self) -> tuple[Container, ...]:
        """Those that run first, and those that run on."""
        return (*self.init, *self.containers)


Payload = Containers


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A virtual machine that runs is to go on as another incarnation of its slot, on another host of its PoP. `uid` and
    `host` are the other one's. `arrives`: it comes from there; otherwise it goes there. `rests`: it is off, so its root
    disk goes alone, and whoever waits for that never begins one of its own.
    """

    uid: str
    host: HostName
    arrives: bool
    rests: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceOrder:
    """One incarnation to run. Two incarnations of one slot share `name`, external and anycast addresses; each has its
    own `uid` and private addresses, and the one with the higher `life` is the newer.

    `stack_id`: whose instances it may reach inside ("": not told, so nobody's). `template`: the hash of what it is
    made from, for ever. `revision`: whose probes, ports and labels it follows. `restarts`: how often somebody asked
    that it be started anew; containers that were made before the last time are. `links`: at least one. `beside`: public
    addresses that it has beside its own. `power`: of a virtual machine, whether it is to run; `rescue`: the image that
    it is to run with in place of its own, which is then a further disk. One that is off or is mended gets no traffic.
    `move`: its virtual machine is to change hosts while it runs; where that does not come about, the newer one begins
    anew.
    """

    name: InstanceName
    uid: str
    workload_id: WorkloadId
    stack_id: StackId | Literal[""] = ""
    life: int = 0
    template: str = ""
    revision: int = 0
    restarts: int = 0
    links: tuple[InstanceLink, ...]
    anycast: tuple[Address, ...] = ()
    beside: tuple[Address, ...] = ()
    payload: Payload
    hosts_domain: str = ""
    power: Power = Power.ON
    rescue: MachineImage | None = None
    move: Move | None = None

    @property
    def rescued_by(self) -> str:
        """The id of the image that it runs in place of its own; empty: its own."""
        return self.rescue.id if self.rescue is not None else ""

    @property
    def may_serve(self) -> bool:
        """Whether it gets traffic, once it is healthy."""
        return self.power is Power.ON and self.rescue is None

    @property
    def containers(self) -> tuple[Container, ...]:
        return self.payload.containers

    @property
    def init(self) -> tuple[Container, ...]:
        """Those that end before the others begin."""
        return self.payload.init

    @property
    def machine(self) -> Machine | None:
        """Its virtual machine, where it is one instead of containers."""
        for container in self.payload.containers:
            if container.machine is not None:
                return container.machine
        return None

    @property
    def every_container(self) -> tuple[Container, ...]:
        return self.payload.every

    @property
    def volumes(self) -> frozenset[str]:
        """The ids of the volumes that its containers mount."""
        mounts = [mount for container in self.every_container for mount in container.mounts]
        return frozenset([volume_id(self.workload_id, self.name, mount.claim) for mount in mounts])

    @property
    def domain(self) -> str:
        """Whom it reaches inside by its first interface: those who have the same, which are those of its stack in the
        same network ("": nobody).
        """
        return domain_of(self.stack_id, self.links[0].network)

    @property
    def domains(self) -> tuple[str, ...]:
        """The same of each interface; empty where it reaches nobody."""
        if not self.stack_id:
            return ()
        if len(self.links) == 1:
            return (domain_of(self.stack_id, self.links[0].network),)
        return tuple([domain_of(self.stack_id, link.network) for link in self.links])

    def addresses(self) -> Iterator[LinkAddress]:
        """Of all links."""
        return (address for link in self.links for address in link.addresses)

    def externals(self) -> Iterator[Address]:
        """Its public addresses, which it may have none of; those that it has beside its own come last."""
        own = (a.external for link in self.links for a in link.addresses if a.external is not None)
        return chain(own, self.beside) if self.beside else own

    def private(self, version: int) -> Address | None:
        """Its private address of a family at its first interface."""
        first = self.links[0].of(version)
        return first.private if first is not None else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """An explicit token to take one incarnation down, and why. Until its host reports the uid gone, `index` (its
    external addresses), `link` (its private ones) and `further` (those of its further interfaces) stay taken; -1: none.
    `target`: of its workload ("": not told); `revision`: that it followed, told where it has further interfaces.
    """

    name: InstanceName
    uid: str
    reason: Reason
    detail: str = ""
    workload_id: WorkloadId = WorkloadId("")
    index: int = -1
    link: int = -1
    target: str = ""
    further: tuple[int, ...] = ()
    revision: int = 0

    @property
    def links(self) -> tuple[int, ...]:
        """Of all its interfaces; none where it has none."""
        return (self.link, *self.further) if self.link >= 0 else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """The governor's leave to withdraw `prefix` here although its order says announce, or its refusal with the
    reason.
    """

    prefix: Prefix
    allowed: bool
    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """The full desired state of one host. `decay_s`: how long a prefix is announced at lowest preference (RFC 8326)
    before it is withdrawn on purpose; `drain_s`: how long an instance may go on at most for the flows that it still
    has. `rules`: the operator's for instances; they hold for containers that are made from now on. `ours`,
    `management`, `rpki`: see `Network`, for what may be learnt from neighbours. `backbone` None: the host carries
    nothing for others, and others nothing for it. `return_after_s`: how long a host that comes back after its machine
    was dead has to be well before it is announced while others serve. `volumes`: those that the host keeps;
    `volumes_removed`: those that it may take away. `policies`, `rulings`, `groups`: the network policies of the stacks
    that have some, see `HostRules`. `measured`: workloads whose instances are to have their use of processor told, each
    by its mean over `measure_s`. `names`: whom instances here may call by name. `resolvers`: whom this host asks
    for all other names that they ask for; None: its own resolv.conf; empty: nobody. `sampled_flows`, `sampled_look_s`:
    see `Network`.
    """

    pop: CityCode
    host: HostName
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
    drain_s: float = 10.0
    rules: InstanceRules = PLAIN_RULES
    ours: tuple[Prefix, ...] = ()
    management: tuple[Prefix, ...] = ()
    rpki: tuple[RpkiCache, ...] = ()
    backbone: Backbone | None = None
    return_after_s: float = 10.0
    volumes: tuple[VolumeOrder, ...] = ()
    volumes_removed: tuple[VolumeRemoval, ...] = ()
    policies: tuple[HostPolicy, ...] = ()
    rulings: tuple[Ruling, ...] = ()
    groups: tuple[AddressGroup, ...] = ()
    measured: tuple[WorkloadId, ...] = ()
    measure_s: float = 15.0
    names: tuple[NamedWorkload, ...] = ()
    resolvers: tuple[Address, ...] | None = None
    sampled_flows: int = 0
    sampled_look_s: float = 60.0

    def instance(self, name: InstanceName) -> InstanceOrder | None:
        """The newest incarnation of a slot."""
        return max((i for i in self.instances if i.name == name), key=lambda i: i.life, default=None)
