"""A story: faults one after the other, at moments and places drawn from a seed, and what came of each.

In: a platform, what is wanted of it, clients that ask. Out: `Told`: for each fault what clients at every vantage saw,
expected losses and others apart (`bounds`), and at the end whether all is as declared, after how long, or what is
not. The same seed draws the same faults as long as the machine offers the same choices.
"""

import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from anypop.lab.platform import Platform
from anypop.model.errors import Invalid, WorldError
from tests.lab.chaos.bounds import BOUNDS, Given, Moments, given
from tests.lab.chaos.clients import TIMEOUT_S, Clients
from tests.lab.chaos.fault import Fault
from tests.lab.chaos.faults import Breaker
from tests.lab.chaos.whole import lacks

QUIET_S = 1.0  # so long without a failed request, and clients are served again
PATIENCE_S = 30.0  # what has not come back by then is told, and the story goes on
CHEAP_S = 0.2
LOOK_S = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What clients at one vantage saw of a fault: requests that failed, those beyond its bound, and the longest time
    without an answer of one address until the next fault (seconds).
    """

    failed: int = 0
    unexpected: int = 0
    gap_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One fault. `seen`: by vantage, where anything failed. `bound_ms`: for how long it may hurt after it was made, and
    again after it was taken back. `back_s`: until what was killed or deleted was there again, looked at every 20 ms;
    None: it was not seen to be, or is nothing that could. `late_ms`: for how long the machine ran nothing meanwhile.
    """

    number: int
    kind: str
    what: str
    at_s: float
    bound_ms: int
    seen: Mapping[str, Seen]
    why: Mapping[str, int]
    asked: int
    late_ms: int = 0
    back_s: float | None = None

    @property
    def failed(self) -> int:
        return sum(seen.failed for seen in self.seen.values())

    @property
    def unexpected(self) -> int:
        return sum(seen.unexpected for seen in self.seen.values())

    @property
    def gap_s(self) -> float:
        return max((seen.gap_s for seen in self.seen.values()), default=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """The whole story. `lacks`: what is not as declared after `limit_s`; empty where it converged, `converged_s` after
    the last fault was over. `grown`: what there was more of at the end than at the start.
    """

    seed: int
    rows: tuple[Row, ...]
    asked: int
    converged_s: float | None
    limit_s: float
    lacks: tuple[str, ...] = ()
    losses: tuple[Given, ...] = ()
    grown: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def failed(self) -> int:
        return sum(row.failed for row in self.rows)

    @property
    def unexpected(self) -> int:
        return sum(row.unexpected for row in self.rows)

    def data(self) -> dict[str, Any]:
        return {
            "seed": self.seed,
            "asked": self.asked,
            "failed": self.failed,
            "unexpected": self.unexpected,
            "converged_s": None if self.converged_s is None else round(self.converged_s, 1),
            "limit_s": self.limit_s,
            "lacks": list(self.lacks),
            "grown": {name: list(pair) for name, pair in self.grown.items()},
            "faults": [_row_data(row) for row in self.rows],
            "losses": [asdict(g.loss) | {"fault": g.number, "expected": g.expected} for g in self.losses],
        }


def _row_data(row: Row) -> dict[str, Any]:
    return {
        "number": row.number,
        "fault": row.kind,
        "what": row.what,
        "at_s": round(row.at_s, 2),
        "bound_ms": row.bound_ms,
        "failed": row.failed,
        "unexpected": row.unexpected,
        "gap_ms": round(row.gap_s * 1000),
        "vantages": {
            name: {"failed": s.failed, "unexpected": s.unexpected, "gap_ms": round(s.gap_s * 1000)}
            for name, s in row.seen.items()
        },
        "why": dict(row.why),
        "asked": row.asked,
        "late_ms": row.late_ms,
        "back_s": None if row.back_s is None else round(row.back_s, 2),
    }


@dataclass(slots=True)
class Mending:
    """Takes back what was broken when its time is over, from a thread for each. `undone`: when, by the fault's
    number; `returned`: after how many seconds it was seen to be there again.
    """

    threads: list[threading.Thread] = field(default_factory=list)
    undone: dict[int, tuple[float, float]] = field(default_factory=dict)
    returned: dict[int, float] = field(default_factory=dict)

    def later(self, number: int, fault: Fault) -> None:
        undo = fault.undo
        if undo is None:
            return

        def take_back() -> None:
            begun = time.time()
            try:
                undo()
            except (WorldError, Invalid) as error:  # what is gone meanwhile needs no mending; it is told all the same
                sys.stderr.write(f"taking it back: {error}\n")
            self.undone[number] = begun, time.time()

        self.threads.append(threading.Timer(fault.hold_s, take_back))
        self.threads[-1].start()

    def watch(self, number: int, fault: Fault) -> None:
        """See when what was taken is there again."""
        begun, back = time.monotonic(), fault.back
        if back is None:
            return

        def look() -> None:
            while time.monotonic() < begun + PATIENCE_S:
                with suppress(WorldError):
                    if back():
                        self.returned[number] = time.monotonic() - begun
                        return
                time.sleep(LOOK_S)

        self.threads.append(threading.Thread(target=look, name="back"))
        self.threads[-1].start()

    def finish(self) -> None:
        for timer in self.threads:
            timer.join()


@dataclass(slots=True)
class _Chapter:
    """The faults so far, and what clients saw of them."""

    began: float
    clients: Clients
    mending: Mending = field(default_factory=Mending)
    faults: dict[int, Fault] = field(default_factory=dict)
    moments: list[Moments] = field(default_factory=list)

    def happened(self, number: int, fault: Fault, begun: float) -> None:
        self.faults[number] = fault
        self.moments.append(Moments(number=number, kind=fault.kind, begun=begun, made=time.time(), host=fault.host))
        self.mending.later(number, fault)
        self.mending.watch(number, fault)

    def known(self) -> list[Moments]:
        """The faults, with what is known now of their being taken back."""
        return [replace(m, undone=self.mending.undone.get(m.number)) for m in self.moments]

    def given(self, since: float, until: float) -> list[Given]:
        return given(self.known(), self.clients.losses(since - TIMEOUT_S, until), self.clients.late)

    def rows(self, until: float, *, last: int | None = None) -> list[Row]:
        """All of them, or the `last` ones, as far as it is known now."""
        known = self.known()
        chosen = known if last is None else known[-last:]
        if not chosen:
            return []
        found = self.given(chosen[0].begun, until)
        ends = [m.begun for m in chosen[1:]] + [until]
        return [
            self._row(m, end, [g for g in found if g.number == m.number]) for m, end in zip(chosen, ends, strict=True)
        ]

    def _row(self, moments: Moments, end: float, found: Sequence[Given]) -> Row:
        gaps = self.clients.gaps(moments.begun, end)
        names = {g.loss.vantage for g in found}
        seen = {
            name: Seen(
                failed=sum(g.loss.vantage == name for g in found),
                unexpected=sum(g.loss.vantage == name and not g.expected for g in found),
                gap_s=gaps.get(name, 0.0),
            )
            for name in sorted(names)
        }
        return Row(
            number=moments.number, kind=moments.kind, what=self.faults[moments.number].what,
            at_s=moments.begun - self.began, bound_ms=BOUNDS[moments.kind].ms, seen=seen,
            why=Counter(f"{g.loss.address}: {g.loss.error}" for g in found),
            asked=self.clients.asked(moments.begun, end),
            late_ms=round(1000 * self.clients.late(moments.begun, end)),
            back_s=self.mending.returned.get(moments.number),
        )  # fmt: skip


def play(
    breaker: Breaker,
    clients: Clients,
    wanted: Mapping[str, int],
    *,
    seed: int,
    kinds: Sequence[str],
    limit_s: float,
    calm: float = 0.6,
    tell: Callable[[Row], None] = lambda _: None,
) -> Told:
    """Break `kinds`, one after the other. `calm`: how often the next one waits until clients are served again; else it
    falls into the one before. `wanted` may grow meanwhile.
    """
    chapter, makers = _Chapter(began=time.time(), clients=clients), breaker.kinds()
    try:
        for number, kind in enumerate(kinds, start=1):
            begun = time.time()
            fault = makers[kind]()
            if fault is None:
                continue
            for row in chapter.rows(begun, last=1):
                tell(row)
            chapter.happened(number, fault, begun)
            if breaker.dice.random() < calm:
                until_quiet(clients, begun, at_least_s=fault.hold_s)
            else:
                time.sleep(breaker.dice.uniform(0.05, 1.0))
    finally:
        chapter.mending.finish()
    over = time.monotonic()
    until_quiet(clients, time.time())
    left = until_whole(breaker.place, wanted, limit_s=limit_s)
    converged_s = None if left else time.monotonic() - over
    time.sleep(TIMEOUT_S)  # the last requests have ended
    end = time.time()
    return Told(
        seed=seed, rows=tuple(chapter.rows(end)), asked=clients.asked(chapter.began, end), converged_s=converged_s,
        limit_s=limit_s, lacks=tuple(left), losses=tuple(chapter.given(chapter.began, end)),
    )  # fmt: skip


def drawn(dice: random.Random, kinds: Sequence[str], count: int) -> list[str]:
    """So many kinds of faults: every kind once before any comes twice."""
    left, found = list(kinds), list[str]()
    while len(found) < count:
        dice.shuffle(left)
        found += left
    return found[:count]


def until_quiet(clients: Clients, since: float, *, at_least_s: float = 0.0) -> None:
    """Until everybody has been served for `QUIET_S`, or patience ends."""
    began = time.time()
    while (now := time.time()) < began + PATIENCE_S:
        long_enough = now >= max(began + QUIET_S, since + at_least_s + CHEAP_S)
        if long_enough and clients.are_served(max(since, now - QUIET_S)):
            return
        time.sleep(CHEAP_S)


def until_whole(place: Platform, wanted: Mapping[str, int], *, limit_s: float) -> list[str]:
    """Nothing as soon as it is whole; what it lacks when time is over. A drift that was mended is told until the next
    full pass, 30 s later at most.
    """
    deadline = time.monotonic() + limit_s
    while found := lacks(place, wanted):
        if time.monotonic() > deadline:
            return found
        time.sleep(0.5)
    return []
