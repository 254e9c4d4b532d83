"""Drains: the stored, resumable act of taking the traffic from a PoP, a host, an upstream or an instance, stage by
stage, and of bringing it back.

Made by control when a person asks; `plan.drain` says which stage follows; planner and agents carry it out. A drain
changes no scope rule: it is laid over them while it stands, so that what they say holds again when it is over.
"""

from dataclasses import dataclass
from enum import IntEnum, StrEnum

from anypop.model.announce import AnyCommunity, Prefix
from anypop.model.names import CityCode, HostName, InstanceName, WorkloadId
from anypop.model.reasons import Reason
from anypop.model.rollout import Landing


class DrainKind(StrEnum):
    """What is drained. Of an upstream: one PoP's session with it, or those of all hosts there."""

    POP = "pop"
    HOST = "host"
    UPSTREAM = "upstream"
    INSTANCE = "instance"


class Level(IntEnum):
    """How much less than its rules say an announcement is told: the more cautious the higher."""

    PLAIN = 0
    PREPENDED = 1
    LOWERED = 2  # the lowest preference that neighbours know
    WITHHELD = 3


class DrainStage(StrEnum):
    COUNTING = "counting"  # as before, until it is known how much arrives
    LOWERING = "lowering"  # until the lowest preference is really exported
    DECAYING = "decaying"  # until the traffic has gone elsewhere
    WITHDRAWING = "withdrawing"  # until nothing is exported
    EMPTYING = "emptying"  # until the last flows have ended, and a host's instances live elsewhere
    REPLACING = "replacing"  # of an instance: until a new one serves in its place
    DRAINED = "drained"
    RETURNING = "returning"  # announced again, at the lowest preference
    RAISING = "raising"  # with prepends alone
    RESTORING = "restoring"  # as the rules say, until that is really exported
    OVER = "over"

    @property
    def level(self) -> Level:
        return _LEVELS.get(self, Level.PLAIN)

    @property
    def leaves(self) -> bool:
        """Whether traffic is being taken away, or is."""
        return self not in (DrainStage.OVER, *COMING_BACK)


COMING_BACK = (DrainStage.RETURNING, DrainStage.RAISING, DrainStage.RESTORING)
_LEVELS = {
    DrainStage.LOWERING: Level.LOWERED,
    DrainStage.DECAYING: Level.LOWERED,
    DrainStage.WITHDRAWING: Level.WITHHELD,
    DrainStage.EMPTYING: Level.WITHHELD,
    DrainStage.DRAINED: Level.WITHHELD,
    DrainStage.RETURNING: Level.LOWERED,
    DrainStage.RAISING: Level.PREPENDED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A prefix that is not withdrawn here although the drain has come so far: at the lowest preference it stays. `left`
    PoPs would announce it without this one, and `floor` have to.
    """

    prefix: Prefix
    reason: Reason
    left: int
    floor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """What had arrived at a host by its own clock's `at`, since it counts. `rates`: packets and bytes a second since
    the measure before.
    """

    host: HostName
    at: float
    packets: int
    octets: int
    rates: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What arrives from outside for the drained prefixes, in a second: by the first measure (or the highest since), and
    by the last one. `at`: control's clock.
    """

    first_packets: float
    first_octets: float
    packets: float
    octets: float
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StageResult:
    """A stage that is over: how long it took in seconds, and in words what it did not wait for any longer."""

    stage: DrainStage
    seconds: float
    differs: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Landings:
    """Where the vantages land that ask for an address of a prefix."""

    prefix: Prefix
    looks: tuple[Landing, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """What is drained. `pop` is always told; `host`, `upstream` (by its name there), `workload_id` with `instance` and
    `uid`: by its kind.
    """

    kind: DrainKind
    pop: CityCode
    host: HostName = HostName("")
    upstream: str = ""
    workload_id: WorkloadId = WorkloadId("")
    instance: InstanceName = InstanceName("")
    uid: str = ""

    @property
    def target(self) -> str:
        """As people name it: `LHR`, `LHR-2`, `LHR/level3`, or the instance."""
        match self.kind:
            case DrainKind.POP:
                return self.pop
            case DrainKind.HOST:
                return self.host
            case DrainKind.UPSTREAM:
                return f"{self.pop}/{self.upstream}"
            case DrainKind.INSTANCE:
                return self.instance


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain(Aim):
    """One drain, as it is stored. Times: epoch seconds of control's clock.

    `deadline_s`: how long leaving waits at most before it goes on without; each stage of the return as well. `calm_s`:
    how long each stage of the return must be well. `until`: it comes back by itself then. `began_at`: when it last
    turned, away or back; `stage_at`: when its stage began; `well_since`: since when the stage is as asked.
    `withdrawn`: prefixes that others announced in health when they were let go here; `held`: those that are not let
    go. `lows`: by AS number, the communities by which that network prefers a route less. `ready`: uids of successors
    that have become healthy. `counts`: the last of each host. `baseline` and `seen`: where vantages landed before, and
    last (`seen_at`: when that look began); `stuck`: who still landed here then.
    """

    id: str
    stage: DrainStage = DrainStage.COUNTING
    reason: Reason = Reason.COUNTING
    message: str = ""
    by: str = ""
    deadline_s: float = 300.0
    calm_s: float = 10.0
    until: float | None = None
    created_at: float
    began_at: float
    stage_at: float
    well_since: float | None = None
    ended_at: float | None = None
    withdrawn: frozenset[Prefix] = frozenset()
    held: tuple[Held, ...] = ()
    lows: tuple[tuple[int, tuple[AnyCommunity, ...]], ...] = ()
    ready: frozenset[str] = frozenset()
    counts: tuple[Count, ...] = ()
    traffic: Traffic | None = None
    results: tuple[StageResult, ...] = ()
    baseline: tuple[Landings, ...] = ()
    seen: tuple[Landings, ...] = ()
    seen_at: float | None = None
    stuck: tuple[str, ...] = ()

    @property
    def active(self) -> bool:
        return self.stage is not DrainStage.OVER
