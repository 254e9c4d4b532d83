"""What a PoP really is at one moment: the input of `converge` and of `report`, never its output.

Filled by the loop from the kernel, the container runtime, the speaker and the probes, plus what the agent remembers (times, back-off, the
orders of instances under removal). Frozen; holds no handles. Instances appear by uid, or by `naming.short(uid)` where only a name in the
kernel tells of them. Times are seconds since the epoch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address

from anypop.model.announce import Address, Community, LargeCommunity, Prefix
from anypop.model.names import InstanceName
from anypop.model.network import Upstream
from anypop.model.order import InstanceOrder, Removal
from anypop.model.reasons import Reason
from anypop.model.report import SessionReport
from anypop.model.workload import Protocol


class ContainerState(StrEnum):
    CREATED = "created"
    RUNNING = "running"
    EXITED = "exited"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSeen:
    """One container that carries our labels. `container` is its name in the workload; `pid` is 0 unless it runs."""

    id: str
    instance: InstanceName
    uid: str
    container: str
    state: ContainerState
    pid: int = 0
    exit_code: int | None = None
    started_at: float | None = None
    finished_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A next hop in an anycast address's group. Weight 1 beside 100: takes no new flow, keeps its own."""

    short: str
    weight: int = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """One prefix as the speaker announces it to one upstream. `graceful`: with the community of RFC 8326, to let traffic decay."""

    prefix: Prefix
    upstream: str
    prepend: int = 0
    communities: tuple[Community, ...] = ()
    large_communities: tuple[LargeCommunity, ...] = ()
    graceful: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeakerConfig:
    """The whole configuration of the speaker: who it talks to and the explicit list of what it may export. `exports` are sorted."""

    asn: int
    router_id: IPv4Address
    upstreams: tuple[Upstream, ...]
    exports: tuple[Export, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """Inbound traffic that is let through: to `address`, `port`, `protocol`."""

    address: Address
    protocol: Protocol
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Firewall:
    """Everything that guards instances: on these links inbound traffic is dropped, except for the openings."""

    links: tuple[str, ...] = ()
    openings: tuple[Opening, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Health of one instance by its probes. `healthy` None: not known yet (the agent is new, the instance is not)."""

    healthy: bool | None
    reason: Reason
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaving:
    """An instance under removal: its token, and its order where it is still known."""

    removal: Removal
    instance: InstanceOrder | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """A lane that failed: why, and when it may be tried again."""

    reason: Reason
    message: str
    until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """See the module. `links`: True when the link is complete. `balanced`: anycast addresses with a route, and the members behind it.

    `speaker`: the configuration that runs, None when no speaker runs; `fallen` is then that of the one that died. `speaker_answers` False:
    it runs and does not answer, so what it announces is only what we last knew. `exported`: (prefix, upstream) that are really sent now.
    """

    router_ready: bool = False
    containers: tuple[ContainerSeen, ...] = ()
    namespaces: frozenset[str] = frozenset()
    links: Mapping[str, bool] = field(default_factory=dict)
    external: Mapping[Prefix, str] = field(default_factory=dict)
    covers: frozenset[Prefix] = frozenset()
    balanced: Mapping[Address, tuple[Member, ...]] = field(default_factory=dict)
    firewall: Firewall | None = None
    speaker: SpeakerConfig | None = None
    fallen: SpeakerConfig | None = None
    speaker_answers: bool = True
    sessions: tuple[SessionReport, ...] = ()
    exported: frozenset[tuple[Prefix, str]] = frozenset()
    health: Mapping[str, Verdict] = field(default_factory=dict)
    liveness_failed: frozenset[tuple[str, str]] = frozenset()
    images: frozenset[str] = frozenset()
    stale_images: frozenset[tuple[str, str]] = frozenset()
    leaving: tuple[Leaving, ...] = ()
    busy: frozenset[str] = frozenset()
    trouble: Mapping[str, Trouble] = field(default_factory=dict)
    restart_at: Mapping[tuple[str, str], float] = field(default_factory=dict)
    restarts: Mapping[tuple[str, str], int] = field(default_factory=dict)
    graceful_since: Mapping[tuple[Prefix, str], float] = field(default_factory=dict)
    draining_since: Mapping[str, float] = field(default_factory=dict)

    def containers_of(self, uid: str) -> tuple[ContainerSeen, ...]:
        return tuple(c for c in self.containers if c.uid == uid)
