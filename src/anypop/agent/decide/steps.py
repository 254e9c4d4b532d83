"""The steps that `converge` can ask for, each one small change of the world.

A step has a lane: steps of one lane run one after the other, lanes run side by side, and a failure stops its own lane
only. Every step is idempotent: it may have been half done by a process that was killed.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address

from anypop.agent.decide.backbone import Tunnel
from anypop.agent.decide.elements import (
    NO_PAST,
    Entry,
    Firewall,
    Joining,
    Member,
    Past,
    SpeakerConfig,
    Steer,
    TunnelGuard,
)
from anypop.agent.decide.error_ways import ErrorWay
from anypop.agent.decide.gateways import GatewayWay
from anypop.agent.decide.inside import Inside
from anypop.agent.naming import short
from anypop.model.announce import Address, Prefix
from anypop.model.confinement import PLAIN_RULES, Confinement, InstanceRules
from anypop.model.machine import MachineImage
from anypop.model.names import InstanceName
from anypop.model.order import InstanceOrder, Move, Order
from anypop.model.surroundings import Login, login_for
from anypop.model.volume import VolumeOrder
from anypop.model.workload import Container, Probe

ROUTER = "router"
SPEAKER = "speaker"
FIREWALL = "firewall"
ERRORS = "ICMP errors"
TUNNELS, GUARD, DIALS, NEWCOMERS = "tunnels", "guard of the tunnels", "dials", "newcomers"
GATEWAYS = "gateways"


def image_lane(image: str, whose: str = "") -> str:
    """`whose`: the stack that pulls it with a password of its own, so that nobody waits for another's wrong one."""
    return f"image {image} for {whose}" if whose else f"image {image}"


def puller_of(instance: InstanceOrder, container: Container) -> tuple[str, Login | None]:
    """With whose password its image is pulled, and the password; "" and None: with none."""
    if container.machine is not None:
        return "", None
    login = login_for(container.image, instance.payload.around.logins)
    return (instance.stack_id, login) if login is not None else ("", None)


def pull_lane(instance: InstanceOrder, container: Container) -> str:
    return image_lane(container.image_key, puller_of(instance, container)[0])


def instance_lane(name: InstanceName, uid: str) -> str:
    """Each incarnation has its own: a new one comes up beside the old one."""
    return f"{name} {short(uid)}"


def volume_lane(id_: str) -> str:
    """Of what is done with a volume apart from any incarnation."""
    return f"volume {id_}"


def inside_lane(name: InstanceName, uid: str) -> str:
    """What is made inside a namespace while the instance comes up."""
    return f"{instance_lane(name, uid)} inside"


def hook_lane(name: InstanceName, uid: str, container: str) -> str:
    """What a container's process is asked once; nobody waits for it but the probes."""
    return f"{instance_lane(name, uid)} {container} hook"


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareRouter:
    """Kernel settings of the router: forwarding, hashing of flows, no reverse-path filter (also on these
    interfaces); the rules for what neighbours told, which never lead to these management prefixes.
    """

    interfaces: tuple[str, ...] = ()
    management: tuple[Prefix, ...] = ()
    lane: str = ROUTER


@dataclass(frozen=True, slots=True, kw_only=True)
class SetCover:
    """The unreachable route below a prefix of ours, so that nothing addressed to it ever loops back to an upstream."""

    prefix: Prefix
    lane: str = ROUTER


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveCover:
    prefix: Prefix
    lane: str = ROUTER


@dataclass(frozen=True, slots=True, kw_only=True)
class SetNextHops:
    """The members behind an anycast address, all of them; replaced in place, so flows of those that stay do not move.
    `gateways`: the private address behind each member's link; `expected`: how many are to be there in the end.
    `entry`: for which packets; `source`: our end of the tunnels.
    """

    address: Address
    members: tuple[Member, ...]
    gateways: tuple[tuple[str, Address], ...]
    expected: int = 0
    entry: Entry = Entry.CLIENTS
    source: IPv4Address | None = None
    lane: str = ROUTER


@dataclass(frozen=True, slots=True, kw_only=True)
class SetRoute:
    """The route of an anycast address to its group of next hops."""

    address: Address
    entry: Entry = Entry.CLIENTS
    lane: str = ROUTER


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveRoute:
    """Take an anycast address's route and group away."""

    address: Address
    entry: Entry = Entry.CLIENTS
    lane: str = ROUTER


@dataclass(frozen=True, slots=True, kw_only=True)
class SetSibling:
    """The way by the tunnel to an own address of an instance at another host, whose end of the tunnels is `peer`; None:
    no more. `source`: our end.
    """

    address: Address
    peer: IPv4Address | None
    source: IPv4Address | None = None
    lane: str = ROUTER


@dataclass(frozen=True, slots=True, kw_only=True)
class SetTunnel:
    """The device of the tunnels with everything that leads to and from it; None: nothing of it."""

    tunnel: Tunnel | None
    lane: str = TUNNELS


@dataclass(frozen=True, slots=True, kw_only=True)
class SetGuard:
    """What guards the tunnels; None: no such table. `before`: what is loaded, as in `SetFirewall`."""

    rules: TunnelGuard | None
    before: TunnelGuard | None = None
    lane: str = GUARD


@dataclass(frozen=True, slots=True, kw_only=True)
class SetSteering:
    """Which new flows leave by dials; those that have left stay known. Without any there is nothing of it."""

    steers: tuple[Steer, ...]
    lane: str = DIALS


@dataclass(frozen=True, slots=True, kw_only=True)
class LeadNewcomer:
    """A way of its own to a member that is in an address's group: by the mark of its slot. `source`: our end of the
    tunnels.
    """

    address: Address
    slot: int
    member: Member
    source: IPv4Address | None = None
    lane: str = NEWCOMERS


@dataclass(frozen=True, slots=True, kw_only=True)
class DropNewcomer:
    """Take that way away: flows that have the mark go by the group, as all others."""

    address: Address
    slot: int
    lane: str = ROUTER


@dataclass(frozen=True, slots=True, kw_only=True)
class SetJoinings:
    """Which new flows go to newcomers; those that have gone there stay known. Without any there is nothing of it."""

    joinings: tuple[Joining, ...]
    lane: str = NEWCOMERS


@dataclass(frozen=True, slots=True, kw_only=True)
class Tell:
    """Have the speaker tell other hosts how many healthy instances of an address are here; 0: whom they have sent here
    may stay, None: nothing is told.
    """

    address: Address
    count: int | None
    lane: str = ROUTER


@dataclass(frozen=True, slots=True, kw_only=True)
class SetGateways:
    """The ways of networks whose routes lead through gateways: all of them."""

    ways: frozenset[GatewayWay]
    lane: str = GATEWAYS


@dataclass(frozen=True, slots=True, kw_only=True)
class SetFirewall:
    """The rules as they are to be. `before`: those that are loaded, so that only what differs need be changed; None:
    not known, and all is loaded anew.
    """

    rules: Firewall
    before: Firewall | None = None
    lane: str = FIREWALL


@dataclass(frozen=True, slots=True, kw_only=True)
class SetErrorWays:
    """Where the ICMP errors of all instances are led; only what differs is loaded."""

    ways: tuple[ErrorWay, ...]
    lane: str = ERRORS


@dataclass(frozen=True, slots=True, kw_only=True)
class SetSpeaker:
    """The speaker's whole configuration; starts the speaker where none runs."""

    config: SpeakerConfig
    lane: str = SPEAKER


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeNamespace:
    uid: str
    lane: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NameNamespace:
    """Its name again for a namespace that stands, with its link and this process in it."""

    uid: str
    pid: int
    lane: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AddLink:
    """The veth pair with all addresses and routes inside the namespace."""

    instance: InstanceOrder
    lane: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SetInside:
    """What an instance's own namespace has to hold beside its addresses."""

    uid: str
    inside: Inside
    lane: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupLink:
    """Put a link that stands into the device group of its stack, by which the rules know it."""

    uid: str
    group: int
    lane: str = ROUTER


@dataclass(frozen=True, slots=True, kw_only=True)
class FitLink:
    """Settings and neighbour entries of a link that stands and lacks them."""

    instance: InstanceOrder
    lane: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SetExternal:
    """The routes of an instance's external addresses."""

    instance: InstanceOrder
    lane: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SetVpc:
    """The ways to an instance at its addresses in subnets of its network; they go with its link."""

    instance: InstanceOrder
    lane: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveExternal:
    prefix: Prefix
    lane: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PullImage:
    """Have the image here. `anew`: from the registry, also when some version of it is here. `registries`: the
    operator's list. `login`: as whom it is asked, and `whose` password that is. `machine`: of a virtual machine, which
    comes from control; `image` is its id.
    """

    image: str
    lane: str
    anew: bool = False
    registries: tuple[str, ...] = ()
    whose: str = ""
    login: Login | None = None
    machine: MachineImage | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DropImage:
    """Take away an image that nobody needs any more; one that a container is made of stays."""

    image: str
    lane: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateContainer:
    """Make a container of an instance, not started yet. `past`: what was before this life; `generation`: of the order
    that asks for it, and `rules` the operator's in it.
    """

    instance: InstanceOrder
    container: Container
    lane: str
    past: Past = NO_PAST
    generation: int = 0
    rules: InstanceRules = PLAIN_RULES


@dataclass(frozen=True, slots=True, kw_only=True)
class StartContainer:
    """`rescue`: a virtual machine whose order has it run with another image in place of its own."""

    uid: str
    container: str
    lane: str
    rescue: InstanceOrder | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerOff:
    """Have a virtual machine's guest shut down, and end it after `grace_s` seconds; it is there then as one that has
    not been started, with its disks as it left them.
    """

    uid: str
    container: str
    grace_s: int
    lane: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SendMachine:
    """Let a virtual machine that runs go on as the other instance of `move`, at its host, which is reached at `address`
    and `port`; or find out what has become of such a move.
    """

    instance: InstanceOrder
    container: str
    move: Move
    address: IPv4Address
    port: int
    lane: str

    @property
    def uid(self) -> str:
        return self.instance.uid


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveContainer:
    """End its process, after a moment of grace, and remove it with its disk. `again`: its id, where another life of it
    follows: its log is kept.
    """

    uid: str
    container: str
    again: str = ""
    lane: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunHook:
    """The hook of a container whose process has begun; `id` tells its life. `address`: where it is asked by network."""

    uid: str
    container: str
    id: str
    hook: Probe
    address: Address
    lane: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """A container that is to end, and the hook that is run before."""

    container: str
    hook: Probe | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StopContainers:
    """End the processes of these, side by side: hook, stop signal, and after `grace_s` seconds SIGKILL. Steps that
    follow remove them.
    """

    uid: str
    stops: tuple[Stop, ...]
    address: Address
    grace_s: int
    lane: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BeginDrain:
    """Pin the live flows of an incarnation to it, so that its addresses may lead elsewhere. `behind`: its external
    and anycast addresses, each with the private one behind its link; `beside`: who else here is behind the anycast
    ones, by the names of their links; `guest`: it is a virtual machine, whose sockets nobody outside sees. From then on
    its drain time runs.
    """

    uid: str
    behind: tuple[tuple[Address, Address], ...]
    beside: tuple[str, ...] = ()
    guest: bool = False
    lane: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EndDrain:
    """Take the pin away. `uid`: also the ten digits that stand for one that nobody knows any more. `drained`: nothing
    lives on it any more, and it is about to be stopped.
    """

    uid: str
    drained: bool = False
    lane: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachVolume:
    """Mount a volume for an incarnation, as large as it is to be; make it where it has never been. `confinement`: how
    its containers were shut in before (None: there were none).
    """

    instance: InstanceOrder
    volume: VolumeOrder
    confinement: Confinement | None
    lane: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DetachVolumes:
    """Unmount all volumes of an incarnation that has no container any more."""

    uid: str
    lane: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeSnapshot:
    """A copy of a volume; who writes to it waits meanwhile."""

    volume: VolumeOrder
    name: str
    lane: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DropSnapshot:
    volume: VolumeOrder
    name: str
    lane: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreVolume:
    """Make a volume that nobody has what its snapshot is."""

    volume: VolumeOrder
    lane: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteVolume:
    """Take away a volume that nobody has, and its snapshots."""

    id: str
    path: str
    lane: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteNamespace:
    uid: str
    lane: str


PayloadStep = PullImage | DropImage | CreateContainer | StartContainer | PowerOff | SendMachine | RemoveContainer
"""What an instance is made from comes and goes by these; the rest of the steps is the same for every kind of
payload.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class GrowVolume:
    """Make the disk of a guest that may run larger: its file, and what the guest sees of it. `uid`: who has it."""

    volume: VolumeOrder
    uid: str
    lane: str


VolumeStep = GrowVolume | AttachVolume | DetachVolumes | TakeSnapshot | DropSnapshot | RestoreVolume | DeleteVolume

Step = (
    PrepareRouter | SetCover | RemoveCover | SetNextHops | SetRoute | RemoveRoute | SetFirewall | SetErrorWays
    | SetTunnel | SetGuard | SetSteering | LeadNewcomer | DropNewcomer | SetJoinings | Tell | SetSibling
    | SetSpeaker | MakeNamespace | NameNamespace | AddLink | SetInside | GroupLink | FitLink
    | SetExternal | SetVpc | SetGateways | RemoveExternal | BeginDrain | EndDrain | DeleteNamespace | RunHook
    | StopContainers | PayloadStep | VolumeStep
)  # fmt: skip


def lanes_changed(before: Order | None, after: Order) -> frozenset[str]:
    """The lanes whose task is another one under `after`: those of instances that are new, changed or newly under
    removal, of their images, and the host's own.
    """
    known = {i.uid: i for i in before.instances} if before else {}
    leaving = {r.uid for r in before.removed} if before else set()
    changed = [i for i in after.instances if known.get(i.uid) != i]
    lanes = {ROUTER, SPEAKER, FIREWALL, ERRORS, TUNNELS, GUARD, DIALS, NEWCOMERS, GATEWAYS}
    lanes |= {instance_lane(i.name, i.uid) for i in changed}
    lanes |= {inside_lane(i.name, i.uid) for i in changed}
    lanes |= {instance_lane(r.name, r.uid) for r in after.removed if r.uid not in leaving}
    lanes |= {pull_lane(i, c) for i in changed for c in i.every_container}
    had = {v.id: v for v in before.volumes} if before else {}
    lanes |= {volume_lane(v.id) for v in after.volumes if had.get(v.id) != v}
    return frozenset(lanes | {volume_lane(v.id) for v in after.volumes_removed})
