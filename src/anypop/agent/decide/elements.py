"""The single things that a host is made of, as they are seen and as they should be: a container, a next hop, an
export, an opening.

In: nothing; these are the words of `observed`, `steps` and everything between. Pure and frozen, without handles.
Instances appear by uid, or by `naming.short(uid)` where only a name in the kernel tells of them. Times are seconds
since the epoch.
"""

from dataclasses import dataclass
from enum import Enum, StrEnum
from ipaddress import IPv4Address, IPv6Address

from anypop.agent.decide.gateways import Passing, Routed
from anypop.model.announce import Address, Community, ExtendedCommunity, LargeCommunity, Prefix
from anypop.model.backbone import Backbone
from anypop.model.confinement import Confinement
from anypop.model.names import InstanceName
from anypop.model.network import Upstream
from anypop.model.order import InstanceOrder, Removal
from anypop.model.peering import RpkiCache
from anypop.model.policy import AddressGroup, HostPolicy
from anypop.model.reasons import Reason
from anypop.model.workload import Protocol

Key = tuple[str, str]
"""A container: uid of its instance, and its name in the workload."""


class ContainerState(StrEnum):
    CREATED = "created"
    RUNNING = "running"
    EXITED = "exited"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a process ended. `code` None: nobody knows it. `message`: what it said itself of why."""

    reason: Reason
    code: int | None = None
    at: float | None = None
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """What was before this life of a container: how often it was started anew, how the last life ended, and the image
    that it was made from and how it was shut in (None: it is the first). A container carries it as labels, so it
    outlives the agent.
    """

    restarts: int = 0
    last: Ending | None = None
    image: str = ""
    confinement: Confinement | None = None


NO_PAST = Past()
UNKNOWN = "unknown"
"""The template of a container that was made from something else than its order says, by a version that kept no
templates.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSeen:
    """One container that carries our labels. `container` is its name in the workload; `pid` is 0 unless it runs;
    `image` is the id of the image that it was made from, `asked` how often somebody had asked for a restart by then. A
    container lives once: when it has ended, a fresh one takes its place. `init`: it is to end before others begin;
    `message`: what one that has ended said of why; `rescue`: the id of the image with which a virtual machine runs in
    place of its own. One that was powered off is CREATED again: its disks are as it left them. `moves`: a virtual
    machine that is not this host's to run: it has not come yet, or is another host's by now, which may not be settled
    while it is CREATED.
    """

    id: str
    instance: InstanceName
    uid: str
    container: str
    state: ContainerState
    pid: int = 0
    image: str = ""
    image_digest: str = ""
    template: str = ""
    confinement: Confinement = Confinement.OLDER
    started_at: float | None = None
    finished_at: float | None = None
    exit_code: int | None = None
    out_of_memory: bool = False
    asked: int = 0
    past: Past = NO_PAST
    init: bool = False
    message: str = ""
    rescue: str = ""
    moves: bool = False

    @property
    def key(self) -> Key:
        return self.uid, self.container

    @property
    def has_completed(self) -> bool:
        """It has done what it was there for."""
        return self.init and self.state is ContainerState.EXITED and self.exit_code == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A next hop in an anycast address's group, and its share of new flows against that of the others. `peer`: it is
    another host, by its end of the tunnels, and `short` is empty.
    """

    short: str
    weight: int = 100
    peer: IPv4Address | None = None

    @property
    def who(self) -> "Who":
        return self.short, self.peer


Who = tuple[str, IPv4Address | None]
"""A member without its weight."""


class Entry(Enum):
    """Which packets meet a group of next hops: those of clients; those that came by the tunnel; those of flows that
    leave by a dial.
    """

    CLIENTS = "clients"
    TUNNEL = "tunnel"
    AWAY = "away"


@dataclass(frozen=True, slots=True, kw_only=True)
class Steer:
    """What becomes of an address's flows here: `keep` percent of the new ones stay, the others leave by the group of
    `Entry.AWAY`; flows that have left go on leaving. `learns`: flows of UDP that nobody knows are taken for old ones.
    """

    address: Address
    keep: int
    learns: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Joining:
    """What becomes of an address's flows while newcomers join its group: of 10,000 new ones so many go to the member
    that has each slot, the others by the group's buckets. `slots`: of all that have one; their flows go on to them.
    `learns`: flows of UDP that nobody knows are taken for old ones.
    """

    address: Address
    entry: Entry
    slots: tuple[int, ...] = ()
    parts: tuple[tuple[int, int], ...] = ()
    learns: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """One prefix as the speaker announces it to one upstream. `graceful`: with the community of RFC 8326, to let
    traffic decay. `watched`: a drain stands over it, so the speaker is asked how it really tells it.
    """

    prefix: Prefix
    upstream: str
    prepend: int = 0
    communities: tuple[Community, ...] = ()
    large_communities: tuple[LargeCommunity, ...] = ()
    extended_communities: tuple[ExtendedCommunity, ...] = ()
    graceful: bool = False
    watched: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeakerConfig:
    """The whole configuration of the speaker: who it talks to and the explicit list of what it may export. `exports`
    are sorted. `ours`, `management`: what no neighbour may tell; `rpki`: who says whose a prefix is. `backbone`: the
    other hosts, and the prefixes of which they and this one tell each other, beside `own`, those of this host's
    instances' own addresses; none of it is ever exported.
    """

    asn: int
    router_id: IPv4Address
    upstreams: tuple[Upstream, ...]
    exports: tuple[Export, ...] = ()
    ours: tuple[Prefix, ...] = ()
    management: tuple[Prefix, ...] = ()
    rpki: tuple[RpkiCache, ...] = ()
    backbone: Backbone | None = None
    own: tuple[Prefix, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """Inbound traffic that is let through: to `address`, `port`, `protocol`."""

    address: Address
    protocol: Protocol
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardedLink:
    """An instance's link, and the only addresses that it lets out. `mac`: of the instance's end, when we made it.
    `inward`: it has no public address of its own, and what it sends from its private one stays inside.
    """

    name: str
    own: tuple[Address, ...] = ()
    mac: bytes = b""
    inward: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RuledLinks:
    """The links of instances to which the same network policies apply, these in the order in which they are asked."""

    policies: tuple[str, ...]
    links: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Firewall:
    """Everything that guards instances, the host and its neighbours.

    `openings`: what everybody reaches; `inside`: what instances of the same stack reach, whose links have a device
    group of `kin`. `uplinks`: the interfaces by which instances reach the Internet; `neighbors`: who may speak BGP
    and BFD with the host, and where ("": some hops away, by whatever interface); `ours`: the prefixes for which it
    forwards; `hidden`: those of the links, which are reached inside a stack alone. `services`: what instances may
    ask of the host itself. `carries`: other hosts carry traffic for this one, so some answers belong to flows of which
    this host has seen nothing. `policies`, `groups`, `rulings`: network policies, and who is under which; `inner`:
    prefixes that nobody outside has, where there are any; `here`: single addresses, see `decide.bound`. `parts`: this
    host's of the subnets of stacks' networks; from there one goes to others of the network alone, who are in `vpc`, by
    the device group of its links. `routed`, `passing`,
    `passed`, `members`: of networks with routes through gateways, see `decide.gateways`.
    """

    links: tuple[GuardedLink, ...] = ()
    openings: tuple[Opening, ...] = ()
    inside: tuple[Opening, ...] = ()
    kin: tuple[int, ...] = ()
    uplinks: tuple[str, ...] = ()
    neighbors: tuple[tuple[str, Address], ...] = ()
    ours: tuple[Prefix, ...] = ()
    hidden: tuple[Prefix, ...] = ()
    unreachable: tuple[Prefix, ...] = ()
    services: tuple[Opening, ...] = ()
    carries: bool = False
    policies: tuple[HostPolicy, ...] = ()
    groups: tuple[AddressGroup, ...] = ()
    rulings: tuple[RuledLinks, ...] = ()
    inner: tuple[Prefix, ...] = ()
    here: tuple[Address, ...] = ()
    parts: tuple[Prefix, ...] = ()
    vpc: tuple[tuple[int, Address], ...] = ()
    routed: tuple[Routed, ...] = ()
    passing: tuple[Passing, ...] = ()
    passed: tuple[Routed, ...] = ()
    members: tuple[tuple[int, Address], ...] = ()

    @property
    def led(self) -> tuple[Routed, ...]:
        """Of `routed` those whose device group is one network's alone."""
        return tuple(one for one in self.routed if one.group in self.kin)


@dataclass(frozen=True, slots=True, kw_only=True)
class TunnelGuard:
    """What guards the tunnels. `own`, `end`: this host's end of them, and its address inside; `peers`, `ends`: the same
    of the others, who alone may send. `inside`: the prefixes of the own addresses of its instances; `forged`, `here`:
    prefixes and addresses that nobody else has, so no source of what comes by the tunnel;
    `carried`: the prefixes whose answers are cut to what the tunnels take. `halves`: the addresses of whose flows this
    host sees one half alone, since another one answers: connection tracking is to leave them alone. `siblings`: own
    addresses of instances at other hosts, each with the device group of its stack's links here: between those links and
    that address alone anything goes by the tunnel to an instance's own address. `led`: of networks with routes through
    gateways what these lead to; `passed`: of those that have gateways here; `members`: who of them is here; `gateways`:
    the links of those.
    """

    own: IPv4Address
    end: IPv6Address
    port: int
    mtu: int
    peers: tuple[IPv4Address, ...] = ()
    ends: tuple[IPv6Address, ...] = ()
    inside: tuple[Prefix, ...] = ()
    forged: tuple[Prefix, ...] = ()
    here: tuple[Address, ...] = ()
    carried: tuple[Prefix, ...] = ()
    halves: tuple[Address, ...] = ()
    siblings: tuple[tuple[int, Address], ...] = ()
    led: tuple[Routed, ...] = ()
    passed: tuple[Routed, ...] = ()
    members: tuple[tuple[int, Address], ...] = ()
    gateways: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyVerdict:
    """Health of one instance in one family. `healthy` None: not known yet; `ever`: it has answered there once, as far
    as is known.
    """

    version: int
    healthy: bool | None
    reason: Reason
    message: str = ""
    ever: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeVerdict:
    """Health of one instance by its probes. `healthy` None: not known yet (the agent is new, the instance is not).
    `families`: each by itself; the whole is as its best one. None where nothing is asked by family.
    """

    healthy: bool | None
    reason: Reason
    message: str = ""
    families: tuple[FamilyVerdict, ...] = ()

    def of(self, version: int) -> "FamilyVerdict | ProbeVerdict":
        """What is known of a family."""
        return next((f for f in self.families if f.version == version), self)

    def never_answered(self, version: int) -> bool:
        """Whether it answers, but not in this family, and never has there."""
        return self.healthy is True and any(
            f.version == version and f.healthy is False and not f.ever for f in self.families
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaving:
    """An instance under removal: its token, and its order where it is still known."""

    removal: Removal
    instance: InstanceOrder | None
