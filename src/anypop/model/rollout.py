"""Rollouts: the stored, resumable act of bringing instances or announcements to what is declared, wave after wave.

Made by control when a declaration needs new processes or when scopes are changed in waves; `plan.rollout` says what may
change now; the planner and the agents do it. A rollout belongs to no terminal: whoever asks only watches it.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from anypop.model.announce import Scope
from anypop.model.names import CityCode, WorkloadId
from anypop.model.reasons import Reason


class RolloutKind(StrEnum):
    UPDATE = "update"  # instances get another template
    SCOPES = "scopes"  # announcements get another scope


class RolloutPhase(StrEnum):
    RUNNING = "running"
    PAUSED = "paused"
    DONE = "done"
    REVERTED = "reverted"  # it got worse, and what it changed was taken back
    ABORTED = "aborted"  # a person ended it, and what it changed was taken back
    SUPERSEDED = "superseded"  # a newer one took its place

    @property
    def ended(self) -> bool:
        return self not in (RolloutPhase.RUNNING, RolloutPhase.PAUSED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Strategy:
    """How careful a rollout is. Times in seconds.

    `bake_s`: how long a wave must be well before the next begins. `deadline_s`: how long a changed instance may take to
    become healthy, or vantages to land as predicted. `failing_s`: how long an image may fail to be pulled, or a
    container to be made, before that counts. `surge`: so many instances of a host may stand beside the ones they
    replace.
    """

    bake_s: float = 2.0
    deadline_s: float = 60.0
    failing_s: float = 5.0
    surge: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Landing:
    """Where one vantage lands: `pop` None: nobody answered. `answered` of `asked` requests; `asked` 0: it could not
    ask, since its own link is down, say, so nothing is known.
    """

    vantage: str
    pop: CityCode | None
    answered: int
    asked: int

    @property
    def whole(self) -> bool:
        return 0 < self.asked == self.answered


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeChange:
    """One announcement's new scope; `before` None: it had no rule."""

    pop: CityCode
    upstream: str
    scope: Scope
    note: str = ""
    before: Scope | None = None
    before_note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeWave:
    """What one wave changes, and where each vantage may land after it (a vantage that is not named may land
    anywhere).
    """

    changes: tuple[ScopeChange, ...]
    expected: tuple[tuple[str, tuple[CityCode, ...]], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WaveResult:
    """How a wave of scopes that is over went. `seconds`: from its beginning, or from when it was resumed. `seen`: where
    the vantages landed at its end. `differs`: what was not as it should be then, in words; empty: it is through.
    """

    seconds: float
    seen: tuple[Landing, ...] = ()
    differs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """One rollout, as it is stored. Times: epoch seconds of control's clock.

    `revision`: the workload's revision that it brings; `previous`: the last good one, to which it reverts (0: it goes
    back itself, or nothing else is known to be good, so it goes on whatever it finds). `waves`: the PoPs of each wave;
    `wave`: the one under way. `held`: uids of incarnations that were made from the same before it began, so that their
    troubles are none of its own. `ready`: uids of changed incarnations that have become healthy; `watched`: those that
    have not, and since when their host has been heard of; `failing`: those that fail, and since when.
    `may_stop_first`: those that may go before their successor is there, where a host has no room for two. `families`: 4
    and 6, those in which an instance that is replaced was seen to answer: its successor has to, too. `well_since`:
    since when all of the waves so far is well. `baseline` and `seen`: where vantages landed before it began and last;
    `seen_at`: when that look began. `results`: of scopes, the waves that are over. `restored`: whether the vantages
    land as before again after scopes were taken back; None: nobody knows, or not yet. `patient_until`: no deadline
    counts before, since control was away.
    """

    id: str
    workload_id: WorkloadId
    kind: RolloutKind
    revision: int = 0
    previous: int = 0
    strategy: Strategy = field(default_factory=Strategy)
    waves: tuple[tuple[CityCode, ...], ...] = ()
    scopes: tuple[ScopeWave, ...] = ()
    wave: int = 0
    phase: RolloutPhase = RolloutPhase.RUNNING
    reason: Reason = Reason.ROLLING_OUT
    message: str = ""
    by: str = ""
    created_at: float
    wave_at: float
    well_since: float | None = None
    ended_at: float | None = None
    held: frozenset[str] = frozenset()
    ready: frozenset[str] = frozenset()
    watched: tuple[tuple[str, float], ...] = ()
    failing: tuple[tuple[str, float], ...] = ()
    may_stop_first: frozenset[str] = frozenset()
    families: frozenset[int] = frozenset()
    baseline: tuple[Landing, ...] = ()
    seen: tuple[Landing, ...] = ()
    seen_at: float | None = None
    results: tuple[WaveResult, ...] = ()
    restored: bool | None = None
    patient_until: float = 0.0
