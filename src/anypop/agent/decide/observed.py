"""What a host really is at one moment: the input of every decision, never its output.

Filled by the observer from the kernel, the instance runtime, the speaker and the probes; `memory` is what the agent
remembers beside that. Frozen; holds no handles.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address

from anypop.agent.decide.backbone import Offers
from anypop.agent.decide.elements import ContainerSeen, Entry, Key, Leaving, Member, ProbeVerdict, SpeakerConfig, Who
from anypop.agent.decide.error_ways import ErrorTable
from anypop.agent.decide.gateways import GatewayWay
from anypop.agent.decide.memory import NOTHING, Memory
from anypop.agent.decide.volumes_seen import NO_VOLUMES, VolumesSeen
from anypop.model.announce import Address, Prefix
from anypop.model.report import Arrived, Exported, SessionReport, TunnelReport


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """See the module. `links`: True when the link is complete. `numbers`: the kernel's numbers of links; `groups`:
    their device groups. `balanced`: anycast addresses with a route, and the members behind it. `error_tables`: see
    `error_ways`; None: this kernel has no nftables.

    `speaker`: the configuration that runs, None when no speaker runs; `fallen` is then that of the one that died.
    `speaker_answers` False: it runs and does not answer, so what it announces is only what we last knew. `exported`:
    (prefix, upstream) that are really sent now; `told`: how, of those over which a drain stands. `arrived`: what came
    in for these by each upstream; None: not counted. `busy`: lanes with steps under way. `overfull`: ids of containers
    that wrote more than they may, while the disk is nearly full
    (`disk_is_short`).

    `tunnel`: the device of the tunnels is up (None: there is none); `tunnel_number`: the kernel's of that device;
    `inbound`: members by address for what comes by it; `away`: for what leaves by dials, and `away_lives`: whether
    any such flow lives (None: not known); `served`: what other hosts are told, `offers`: what they tell;
    `siblings`: instances' own addresses that lead to other hosts; `vpc`: addresses in subnets that lead to links;
    `tunnels`: how the sessions with them stand; `idle`: other hosts that linger in a group and have no flow any more.

    `newcomers`: members that have a way of their own to an address, by its slot (as `Member` without a weight);
    `remembered`: addresses and slots whose flows are remembered, and whether there are any (None: not known);
    `buckets`: how many each member has, of groups in which some have too few.

    `started`: ids of containers whose startup probe has been answered. `consoles`: of virtual machines that do not
    answer, by uid, what their consoles said last; `started_up`: those of them whose guests have told that all of them
    has started. `logs`: by container bytes, and how often a log
    was full; as of the last full look.
    """

    containers: tuple[ContainerSeen, ...] = ()
    namespaces: frozenset[str] = frozenset()
    links: Mapping[str, bool] = field(default_factory=dict)
    groups: Mapping[str, int] = field(default_factory=dict)
    external: Mapping[Prefix, str] = field(default_factory=dict)
    covers: frozenset[Prefix] = frozenset()
    balanced: Mapping[Address, tuple[Member, ...]] = field(default_factory=dict)
    numbers: Mapping[str, int] = field(default_factory=dict)
    error_tables: Mapping[int, ErrorTable | None] | None = None
    pins: Mapping[str, bool] = field(default_factory=dict)
    live: Mapping[str, bool] = field(default_factory=dict)
    speaker: SpeakerConfig | None = None
    fallen: SpeakerConfig | None = None
    speaker_answers: bool = True
    sessions: tuple[SessionReport, ...] = ()
    exported: frozenset[tuple[Prefix, str]] = frozenset()
    told: Mapping[Prefix, tuple[Exported, ...]] = field(default_factory=dict)
    arrived: Mapping[Prefix, tuple[Arrived, ...]] | None = None
    health: Mapping[str, ProbeVerdict] = field(default_factory=dict)
    liveness_failed: frozenset[Key] = frozenset()
    leaving: tuple[Leaving, ...] = ()
    busy: frozenset[str] = frozenset()
    overfull: frozenset[str] = frozenset()
    started: frozenset[str] = frozenset()
    disk_is_short: bool = False
    logs: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    consoles: Mapping[str, str] = field(default_factory=dict)
    started_up: frozenset[str] = frozenset()
    tunnel: bool | None = None
    tunnel_number: int = 0
    inbound: Mapping[Address, tuple[Member, ...]] = field(default_factory=dict)
    away: Mapping[Address, tuple[Member, ...]] = field(default_factory=dict)
    away_lives: bool | None = None
    served: Mapping[Address, int] = field(default_factory=dict)
    idle: frozenset[tuple[Address, IPv4Address]] = frozenset()
    offers: Offers = field(default_factory=dict)
    siblings: Mapping[Address, IPv4Address] = field(default_factory=dict)
    vpc: Mapping[Prefix, str] = field(default_factory=dict)
    gateways: frozenset[GatewayWay] = frozenset()
    tunnels: tuple[TunnelReport, ...] = ()
    volumes: VolumesSeen = NO_VOLUMES
    newcomers: Mapping[Address, Mapping[int, Member]] = field(default_factory=dict)
    remembered: Mapping[tuple[Address, int], bool] | None = field(default_factory=dict)
    buckets: Mapping[tuple[Address, Entry], Mapping[Who, int]] = field(default_factory=dict)
    memory: Memory = NOTHING
