"""The report: what a host saw. Errors are data in it. Made by the agent, judged by `judge`, shown by every face.

Times are seconds since the epoch, UTC, as the agent's host sees them.
"""

from dataclasses import dataclass
from enum import StrEnum

from anypop.model.announce import Address, Community, ExtendedCommunity, LargeCommunity, Prefix
from anypop.model.confinement import Confinement
from anypop.model.machine import Acceleration
from anypop.model.names import CityCode, HostName, InstanceName
from anypop.model.network import Capacity
from anypop.model.reasons import Reason
from anypop.model.volume import VolumeReport


class Phase(StrEnum):
    """Where an instance is in its life; the API's words."""

    SCHEDULING = "SCHEDULING"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    FAILED = "FAILED"
    COMPLETED = "COMPLETED"
    STOPPED = "STOPPED"
    DELETING = "DELETING"


class Milestone(StrEnum):
    """How far an incarnation has come on its host, in this order: its order was read there; its network namespace was
    made; its images are here; its containers were created, and started; they were seen to run, and its probes began to
    ask; it first answered them; traffic is led to it; its prefix is in the speaker's configuration; a neighbour of the
    host was sent it. Agents of earlier versions tell nothing of images and of the beginning of probes.
    """

    ORDERED = "ordered"
    NAMESPACE = "namespace"
    PULLED = "pulled"
    CREATED = "created"
    STARTED = "started"
    PROBED = "probed"
    HEALTHY = "healthy"
    ROUTED = "routed"
    ANNOUNCED = "announced"
    TOLD = "told"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """The first time of a milestone."""

    milestone: Milestone
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerReport:
    """One container. `image_digest`: of the image that it was made from, as pulled; `confinement`: how it was shut in
    (None: not told). `log_bytes`: of its logs (None: not told); `log_turns`: how often one was full and begun anew.
    `last_*`: how its process before this one ended; `last_message` is what it said itself of that.
    """

    name: str
    phase: Phase
    reason: Reason
    message: str = ""
    container_id: str = ""
    started_at: float | None = None
    finished_at: float | None = None
    exit_code: int | None = None
    ready: bool = False
    restarts: int = 0
    image_digest: str = ""
    confinement: Confinement | None = None
    log_bytes: int | None = None
    log_turns: int = 0
    last_exit_code: int | None = None
    last_reason: Reason | None = None
    last_finished_at: float | None = None
    last_message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyReport:
    """How an incarnation answers in one family (4 or 6), at the address that is announced."""

    version: int
    healthy: bool
    reason: Reason
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceReport:
    """One incarnation as its host sees it. `healthy` is the verdict of its probes after hysteresis; `reason` says why
    it is in this phase.

    `families`: where they differ in health, or may; without any it is the same in all.
    `template`: what its containers were really made from, by their own labels. `serving`: it holds the slot's
    addresses. `milestones`: of one that the agent has made since it began. `init`: its init containers.
    """

    name: InstanceName
    uid: str
    phase: Phase
    healthy: bool
    reason: Reason
    template: str = ""
    serving: bool = False
    message: str = ""
    started_at: float | None = None
    containers: tuple[ContainerReport, ...] = ()
    families: tuple[FamilyReport, ...] = ()
    milestones: tuple[Reached, ...] = ()
    init: tuple[ContainerReport, ...] = ()

    @property
    def every_container(self) -> tuple[ContainerReport, ...]:
        return (*self.init, *self.containers)

    def healthy_in(self, version: int) -> bool:
        """Whether it answers in a family."""
        told = next((f.healthy for f in self.families if f.version == version), self.healthy)
        return self.healthy and told


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionReport:
    """One BGP session. `family` is 4 or 6; `state` is BIRD's word in lower case (established, active, idle, ...), or
    `refused`: it was left out of BIRD's configuration. `rests`: it flaps, and nothing is announced on it for now.
    """

    upstream: str
    family: int
    state: str
    since: float | None = None
    imported: int = 0
    exported: int = 0
    error: str = ""
    rests: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """How a prefix is really told to an upstream, by the speaker's own word."""

    upstream: str
    prepend: int = 0
    communities: tuple[Community, ...] = ()
    large_communities: tuple[LargeCommunity, ...] = ()
    extended_communities: tuple[ExtendedCommunity, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """What has come in from an upstream for a prefix since it is counted. `at`: when it was read, by the host's own
    clock: a report in between repeats it (0: an older agent, which does not say).
    """

    upstream: str
    packets: int
    octets: int
    at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixReport:
    """One prefix of ours here. `upstreams`: those it is exported to now. `wants_withdraw`: local evidence says it
    should go and the governor's grant is missing. `vacant`: and that evidence is no probe's: for none of its addresses
    does any instance run here, or any route lead to one. `shut`: the addresses inside it whose traffic this host can
    neither serve nor carry, of those that must work for it to be announced. While a drain stands over it:
    `exported`, how it is told to each of them, and `arrived`, what comes in (None: not counted).
    """

    prefix: Prefix
    announced: bool
    upstreams: tuple[str, ...]
    reason: Reason
    wants_withdraw: bool = False
    vacant: bool = False
    shut: tuple[Address, ...] = ()
    exported: tuple[Exported, ...] = ()
    arrived: tuple[Arrived, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CarriedReport:
    """An anycast address whose traffic this host sends to other hosts, all or in part. `local`: its own share, and
    `shares` those of others, all in parts of their sum. `kept`: how much of the new connections its PoP's dial leaves
    there, in percent, where one is in force.
    """

    address: Address
    local: int
    shares: tuple[tuple[HostName, int], ...]
    kept: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TunnelReport:
    """The tunnel to another host. `up`: it answers, and tells what it serves; bytes of packets inside the tunnel, both
    ways, since the tunnel was made.
    """

    host: HostName
    up: bool
    since: float | None = None
    sent_bytes: int = 0
    received_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a host saw.

    `generation` is the order it obeys (0: none yet). `gone`: uids whose removal is complete. `orphans`: names of our
    instances that no order explains. `drift`: one line for each difference that a full pass found and no event had told
    of. `capacity`: what the machine has for instances, less a reserve; None: not told. `began`: when the agent's
    process did; None: not told. `used_millis`: processor time of all instances at the last measure, in
    thousandths of a core; None: not told. `volumes`: of the order, those that are there; `volumes_gone`: ids of those
    that were to go and are not there. `measured`: of the incarnations that the order wants measured, by uid, their use
    of processor in thousandths of a core; `flows`: of the same, about how many connections they have open. `machines`:
    with what the host would run virtual machines; None: not told. `processor`: what their guests are given of its
    processor, the same words wherever one can go on; empty: not told. `understands`: how much of an order its agent
    knows, see `order_since`; 0: an agent from before that was told.
    """

    pop: CityCode
    host: HostName
    at: float
    generation: int
    refused: Reason | None = None
    instances: tuple[InstanceReport, ...] = ()
    sessions: tuple[SessionReport, ...] = ()
    prefixes: tuple[PrefixReport, ...] = ()
    gone: tuple[str, ...] = ()
    orphans: tuple[str, ...] = ()
    drift: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    capacity: Capacity | None = None
    began: float | None = None
    carried: tuple[CarriedReport, ...] = ()
    tunnels: tuple[TunnelReport, ...] = ()
    used_millis: int | None = None
    volumes: tuple[VolumeReport, ...] = ()
    volumes_gone: tuple[str, ...] = ()
    measured: tuple[tuple[str, int], ...] = ()
    flows: tuple[tuple[str, int], ...] = ()
    machines: Acceleration | None = None
    processor: str = ""
    understands: int = 0
