"""A repair made in waves: one PoP after another, each checked from the vantages, all of it taken back when the outcome differs.

In: waves of scopes with what the model expects after each, and two seams: `Announcing` (the ordinary announcements of
control) and `Eyes` (probes). Out: a `Course` that says what was done and seen. Between waves it waits on what the vantages
see, never for a time alone. Whatever ends it early, a wrong outcome, an error or an interrupt, the scopes that were there
come back.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from anypop.advice.waves import Key, Wave
from anypop.model.announce import Scope

# BGP between a handful of networks settles within a second or two; path exploration on the Internet takes up to minutes.
PATIENCE_S = 60.0
# An outcome counts once it has held so long: a route may pass through a better place on its way to a worse one.
HOLD_S = 2.0
PAUSE_S = 0.3  # between two rounds of probes


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one vantage saw: `pop` None: nobody answered, or somebody unknown. `whole`: every request was answered."""

    pop: str | None
    whole: bool


class Announcing(Protocol):
    """Control's announcements of one workload."""

    def set(self, scopes: Mapping[Key, Scope]) -> None:
        """These scopes, all others as they are."""
        ...

    def restore(self, keys: Sequence[Key]) -> None:
        """The rules that held before the first `set`."""
        ...

    def wrong(self, scopes: Mapping[Key, Scope]) -> list[str]:
        """Which of these are not out (or not withheld) as asked, in words."""
        ...


class Eyes(Protocol):
    def look(self) -> Mapping[str, Look]:
        """Where every vantage lands now. Empty where there is no vantage."""
        ...


@dataclass(slots=True)
class Done:
    """One wave as it went. `differs`: what was not as predicted, in words; empty: all was."""

    pop: str
    seconds: float = 0.0
    seen: Mapping[str, Look] = field(default_factory=dict)
    differs: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Course:
    """The whole repair. `rolled_back`: everything was taken back; `restored`: and the vantages land as before."""

    waves: list[Done] = field(default_factory=list)
    rolled_back: bool = False
    restored: bool = True

    @property
    def differs(self) -> list[str]:
        return [line for wave in self.waves for line in wave.differs]


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long to wait for an outcome, how long it must hold, and the clock."""

    patience_s: float = PATIENCE_S
    hold_s: float = HOLD_S
    pause_s: float = PAUSE_S
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


def apply(
    waves: Sequence[Wave], announcing: Announcing, eyes: Eyes, *, say: Callable[[str], None], patience: Patience | None = None
) -> Course:
    """Make the repair. A wave that does not come out as predicted takes everything back; so does any exception, which then goes on."""
    patience = patience or Patience()
    course = Course()
    before = eyes.look()
    touched: list[Key] = []
    try:
        for number, wave in enumerate(waves, 1):
            say(f"wave {number} of {len(waves)}: {wave.pop}")
            touched += list(wave.scopes)
            announcing.set(wave.scopes)
            done = _watched(wave, announcing, eyes, patience)
            course.waves.append(done)
            if done.differs:
                break
            say(f"  as predicted after {done.seconds:.1f} s" + (f": {_words(done.seen)}" if done.seen else " (no vantage to see it from)"))
        else:
            return course
    except BaseException:
        say("taking everything back")
        announcing.restore(touched)
        raise
    for line in course.differs:
        say(f"  {line}")
    say("the outcome differs: taking everything back")
    announcing.restore(touched)
    course.rolled_back = True
    course.restored = _until(lambda: not _other(before, eyes.look()), patience)
    say("every vantage lands as before" if course.restored else "some vantage does not land as before yet: 'anypop probe --all' shows it")
    return course


def _watched(wave: Wave, announcing: Announcing, eyes: Eyes, patience: Patience) -> Done:
    began = patience.clock()
    done = Done(pop=wave.pop)

    def right() -> bool:
        done.seen = eyes.look()
        done.differs = [*announcing.wrong(wave.scopes), *_unexpected(wave.expected, done.seen)]
        return not done.differs

    _until(right, patience)
    done.seconds = patience.clock() - began
    return done


def _until(right: Callable[[], bool], patience: Patience) -> bool:
    """Whether it was right for `hold_s` on end before patience ended."""
    deadline = patience.clock() + patience.patience_s
    since: float | None = None
    while True:
        now = patience.clock()
        if not right():
            since = None
        elif since is None:
            since = now
        if since is not None and patience.clock() - since >= patience.hold_s:
            return True
        if since is None and patience.clock() >= deadline:
            return False
        patience.sleep(patience.pause_s)


def _unexpected(expected: Mapping[str, frozenset[str]], seen: Mapping[str, Look]) -> list[str]:
    found = []
    for vantage, look in seen.items():
        wanted = expected.get(vantage)
        if wanted is not None and look.pop not in wanted:
            found.append(f"{vantage} lands in {look.pop or 'no PoP'}, predicted {' or '.join(sorted(wanted))}")
        elif not look.whole:
            found.append(f"{vantage} does not get all its answers")
    return found


def _other(before: Mapping[str, Look], now: Mapping[str, Look]) -> list[str]:
    return [vantage for vantage, look in before.items() if vantage not in now or now[vantage].pop != look.pop]


def _words(seen: Mapping[str, Look]) -> str:
    return ", ".join(f"{vantage} {look.pop or '-'}" for vantage, look in seen.items())
