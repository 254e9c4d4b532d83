"""A story: faults one after the other, at moments and places drawn from a seed, and what came of each.

In: a platform, what is wanted of it, clients that ask. Out: `Told`: for each fault how many requests failed at which
vantage until the next fault, and at the end whether everything is as declared, after how long, or what is not. The same
seed draws the same faults as long as the machine offers the same choices.
"""

import random
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from anypop.lab.platform import Platform
from anypop.model.errors import Invalid, WorldError
from tests.lab.chaos.clients import Clients
from tests.lab.chaos.faults import Breaker, Fault
from tests.lab.chaos.whole import lacks

QUIET_S = 1.0  # so long without a failed request, and clients are served again
PATIENCE_S = 30.0  # what has not come back by then is told, and the story goes on
CHEAP_S = 0.2
LOOK_S = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One fault. `failed`: requests by vantage until the next fault began; `dark_s`: from the fault to the last of
    them. `back_s`: until what was killed or deleted was there again, looked at every 20 ms; None: it was not seen to
    be, or is nothing that could.
    """

    number: int
    kind: str
    what: str
    at_s: float
    failed: Mapping[str, int]
    why: Mapping[str, int]
    asked: int
    dark_s: float
    back_s: float | None = None

    @property
    def total(self) -> int:
        return sum(self.failed.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """The whole story. `lacks`: what is not as declared after `limit_s`; empty where it converged, `converged_s` after
    the last fault was over. `after`: requests that failed meanwhile, by vantage.
    """

    seed: int
    rows: tuple[Row, ...]
    after: Mapping[str, int]
    after_why: Mapping[str, int]
    asked: int
    failed: int
    converged_s: float | None
    limit_s: float
    lacks: tuple[str, ...] = ()

    def data(self) -> dict[str, Any]:
        return {
            "seed": self.seed,
            "faults": [
                {
                    "number": r.number,
                    "fault": r.kind,
                    "what": r.what,
                    "at_s": round(r.at_s, 2),
                    "failed": dict(r.failed),
                    "why": dict(r.why),
                    "asked": r.asked,
                    "dark_s": round(r.dark_s, 2),
                    "back_s": None if r.back_s is None else round(r.back_s, 2),
                }
                for r in self.rows
            ],
            "after": dict(self.after),
            "after_why": dict(self.after_why),
            "asked": self.asked,
            "failed": self.failed,
            "converged_s": None if self.converged_s is None else round(self.converged_s, 1),
            "limit_s": self.limit_s,
            "lacks": list(self.lacks),
        }


@dataclass(slots=True)
class Mending:
    """Takes back what was broken when its time is over, from a thread for each."""

    threads: list[threading.Thread] = field(default_factory=list)

    def later(self, fault: Fault) -> None:
        if fault.undo is not None:
            timer = threading.Timer(fault.hold_s, _tried(fault.undo))
            timer.start()
            self.threads.append(timer)

    def watch(self, fault: Fault, tell: Callable[[float], None]) -> None:
        """Tell when what was taken is there again."""
        begun = time.monotonic()

        def look() -> None:
            while fault.back is not None and time.monotonic() < begun + PATIENCE_S:
                with suppress(WorldError):
                    if fault.back():
                        tell(time.monotonic() - begun)
                        return
                time.sleep(LOOK_S)

        if fault.back is not None:
            self.threads.append(threading.Thread(target=look, name="back"))
            self.threads[-1].start()

    def finish(self) -> None:
        for timer in self.threads:
            timer.join()


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
    began, rows, mending, makers = time.time(), list[Row](), Mending(), breaker.kinds()
    pending: tuple[int, Fault, float] | None = None
    returned: dict[int, float] = {}

    def close(now: float) -> None:
        if pending is not None:
            number, fault, at = pending
            last = clients.last_failure(at)
            row = Row(
                number=number, kind=fault.kind, what=fault.what, at_s=at - began,
                failed={k: v for k, v in clients.failed(at, now).items() if v},
                why=clients.why(at, now), asked=clients.asked(at, now), dark_s=0.0 if last is None else last - at,
                back_s=returned.get(number),
            )  # fmt: skip
            rows.append(row)
            tell(row)

    try:
        for number, kind in enumerate(kinds, start=1):
            fault = makers[kind]()
            if fault is None:
                continue
            now = time.time()
            mending.later(fault)
            mending.watch(fault, lambda after_s, number=number: returned.update({number: after_s}))  # type: ignore[misc]
            close(now)
            pending = number, fault, now
            if breaker.dice.random() < calm:
                until_quiet(clients, now, at_least_s=fault.hold_s)
            else:
                time.sleep(breaker.dice.uniform(0.05, 1.0))
    finally:
        mending.finish()
    over = time.monotonic()
    if pending is not None:
        until_quiet(clients, pending[2])
    end = time.time()
    close(end)
    left = until_whole(breaker.place, wanted, limit_s=limit_s)
    converged_s = None if left else time.monotonic() - over
    until = time.time()
    return Told(
        seed=seed,
        rows=tuple(replace(row, back_s=returned.get(row.number)) for row in rows),
        after=clients.failed(end, until),
        after_why=clients.why(end, until),
        asked=clients.asked(began, until),
        failed=sum(clients.failed(began, until).values()),
        converged_s=converged_s,
        limit_s=limit_s,
        lacks=tuple(left),
    )


def drawn(dice: random.Random, kinds: Sequence[str], count: int) -> list[str]:
    """So many kinds of faults: every kind once before any comes twice."""
    left, found = list(kinds), list[str]()
    while len(found) < count:
        dice.shuffle(left)
        found += left
    return found[:count]


def until_quiet(clients: Clients, since: float, *, at_least_s: float = 0.0) -> None:
    """Until nobody has failed for `QUIET_S`, or patience ends."""
    began = time.time()
    while (now := time.time()) < began + PATIENCE_S:
        last = clients.last_failure(since)
        if now >= max(began, last or 0.0) + QUIET_S and now >= since + at_least_s + CHEAP_S:
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


def _tried(undo: Callable[[], None]) -> Callable[[], None]:
    """What is gone meanwhile needs no mending; it is told all the same."""

    def run() -> None:
        try:
            undo()
        except (WorldError, Invalid) as error:
            sys.stderr.write(f"taking it back: {error}\n")

    return run
