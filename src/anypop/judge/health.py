"""Health with hysteresis: what a row of probe outcomes means for traffic. Pure: time is an argument.

Theory of operation. A new process is PENDING until it first answers; one that an agent finds running is UNKNOWN until
it is known either way. HEALTHY falls after `fall` failures in a row, or at once when its process dies. UNHEALTHY rises
after `rise + fall` successes: always slower than it fell. Who falls often is damped: from the third fall within ten
minutes, the way back to HEALTHY leads through COOLING, for 10 s at first and for twice as long at each further fall, up
to 15 minutes (DESIGN invariant 17). The machine is the table `_TABLE`; nothing else moves it.
"""

from dataclasses import dataclass, replace
from enum import Enum, StrEnum, auto

from anypop.model.reasons import Reason

FREE_FALLS = 2  # a restart, and one more, are ordinary life
FIRST_COOL_S = 10.0
LONGEST_COOL_S = 900.0
FORGET_S = 600.0  # a fall so long after the last one starts the count anew


class Stage(StrEnum):
    PENDING = "pending"
    UNKNOWN = "unknown"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    COOLING = "cooling"


class Event(StrEnum):
    SUCCESS = "success"
    FAILURE = "failure"
    DEATH = "death"


class _When(Enum):
    """How many outcomes of the same kind in a row a move needs."""

    AT_ONCE = auto()
    RISE = auto()
    RISE_AGAIN = auto()
    FALL = auto()
    COOLED = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Outcomes in a row: `rise` successes to become healthy, `fall` failures to stop being so. Both at least 1."""

    rise: int = 1
    fall: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """The state of one probed thing. `row`: outcomes of the last kind in a row. Times in seconds since the epoch."""

    stage: Stage = Stage.PENDING
    last: Event | None = None
    row: int = 0
    falls: int = 0
    fell_at: float | None = None
    cool_until: float = 0.0

    @property
    def healthy(self) -> bool | None:
        """Whether it should get traffic; None: not known."""
        return None if self.stage is Stage.UNKNOWN else self.stage is Stage.HEALTHY

    @property
    def reason(self) -> Reason:
        return _REASONS[self.stage]


_REASONS = {
    Stage.PENDING: Reason.PROBE_PENDING,
    Stage.UNKNOWN: Reason.PROBE_PENDING,
    Stage.HEALTHY: Reason.PROBE_PASSED,
    Stage.UNHEALTHY: Reason.PROBE_FAILED,
    Stage.COOLING: Reason.FLAP_COOLDOWN,
}

# (stage, event): (when, next stage). What is not listed stays.
_TABLE: dict[tuple[Stage, Event], tuple[_When, Stage]] = {
    (Stage.PENDING, Event.SUCCESS): (_When.RISE, Stage.HEALTHY),
    (Stage.UNKNOWN, Event.SUCCESS): (_When.AT_ONCE, Stage.HEALTHY),
    (Stage.UNKNOWN, Event.FAILURE): (_When.FALL, Stage.UNHEALTHY),
    (Stage.UNKNOWN, Event.DEATH): (_When.AT_ONCE, Stage.PENDING),
    (Stage.HEALTHY, Event.FAILURE): (_When.FALL, Stage.UNHEALTHY),
    (Stage.HEALTHY, Event.DEATH): (_When.AT_ONCE, Stage.PENDING),
    (Stage.UNHEALTHY, Event.SUCCESS): (_When.RISE_AGAIN, Stage.HEALTHY),
    (Stage.UNHEALTHY, Event.DEATH): (_When.AT_ONCE, Stage.PENDING),
    (Stage.COOLING, Event.SUCCESS): (_When.COOLED, Stage.HEALTHY),
    (Stage.COOLING, Event.FAILURE): (_When.FALL, Stage.UNHEALTHY),
    (Stage.COOLING, Event.DEATH): (_When.AT_ONCE, Stage.PENDING),
}
_SERVING = frozenset({Stage.HEALTHY, Stage.UNKNOWN})


def after(health: Health, event: Event, thresholds: Thresholds, now: float) -> Health:
    """The health after one more outcome at `now`."""
    if event is health.last and health.stage is Stage.HEALTHY and event is Event.SUCCESS:
        return health  # what is asked hundreds of times a second: how often it was so before makes no difference
    row = health.row + 1 if event is health.last else 1
    counted = replace(health, last=event, row=row)
    move = _TABLE.get((health.stage, event))
    if move is None or not _is_met(move[0], row, thresholds, now, health):
        return counted
    stage = move[1]
    if stage is Stage.HEALTHY and now < health.cool_until:
        return replace(counted, stage=Stage.COOLING, row=0, last=None)
    moved = replace(counted, stage=stage, row=0, last=None)
    fell = health.stage in _SERVING and stage is not Stage.HEALTHY
    return _fallen(moved, now) if fell else moved


def _is_met(when: _When, row: int, thresholds: Thresholds, now: float, health: Health) -> bool:
    match when:
        case _When.AT_ONCE:
            return True
        case _When.RISE:
            return row >= thresholds.rise
        case _When.RISE_AGAIN:
            return row >= thresholds.rise + thresholds.fall
        case _When.FALL:
            return row >= thresholds.fall
        case _When.COOLED:
            return now >= health.cool_until


def _fallen(health: Health, now: float) -> Health:
    recent = health.fell_at is not None and now - max(health.fell_at, health.cool_until) < FORGET_S
    falls = health.falls + 1 if recent else 1
    extra = falls - FREE_FALLS
    cool = min(FIRST_COOL_S * 2 ** (extra - 1), LONGEST_COOL_S) if extra > 0 else 0.0
    return replace(health, falls=falls, fell_at=now, cool_until=now + cool if cool else health.cool_until)
