"""The lab's supervisor: what dies is started anew within a second, less often if it dies again and again.

One process, started by `up` and ended by `down`; on real hosts systemd does this work. Comes in: a state folder. Goes
out: programs that run, and a line in its log for each start. It does nothing while an `up` or a `down` is at work (the
platform's lock), starts nothing that runs, and ends when the platform is gone.
"""

import argparse
import contextlib
import os
import select
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from anypop.host import log_files
from anypop.host.lock import alone
from anypop.lab import programs
from anypop.lab.place import WIRE, Platform, find
from anypop.model.errors import WorldError

LOOK_S = 0.5  # a death is an event (pidfd); this is for what was never seen to run
FIRST_S, LONGEST_S = 0.2, 30.0
STEADY_S = 10.0  # who has lived so long did not die at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """What is remembered of one program. `begun`: when it was last started by us; times of one steady clock, seconds.
    `row`: starts in a row after each of which it died at once.
    """

    begun: float | None = None
    row: int = 0
    due: float = 0.0


def died(past: Past, now: float) -> Past:
    """The past of a program that does not run, with the time at which it is to be started: at once after a steady life,
    later and later in a row of short ones.
    """
    if past.due > now or (past.begun is None and past.due):
        return past
    short = past.begun is not None and now - past.begun < STEADY_S
    row = past.row + 1 if short else 0
    wait_s = min(FIRST_S * 2 ** (row - 1), LONGEST_S) if row else 0.0
    return Past(row=row, due=now + wait_s)


def started(past: Past, now: float) -> Past:
    return replace(past, begun=now)


class Supervisor:
    """Of one platform. `run` returns when that is gone."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._pasts: dict[str, Past] = {}

    def run(self) -> None:
        while (place := find(self._state)) is not None:
            alive = self._look(place)
            self._wait(alive.values())
            log_files.cut(log_files.own())

    def _look(self, place: Platform) -> Mapping[str, int]:
        """Start what is due; the programs that run, by their pids."""
        alive: dict[str, int] = {}
        for program in (*(p for p in place.programs() if p != "supervisor"), WIRE):
            pid = programs.running(place, program)
            if pid is not None:
                alive[program] = pid
                continue
            now = time.monotonic()
            past = self._pasts[program] = died(self._pasts.get(program, Past()), now)
            if past.due <= now:
                self._start(place, program)
        return alive

    def _start(self, place: Platform, program: str) -> None:
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(alone(self._state, program))
            except WorldError:
                return  # an `up` or a `down` is at work, and knows better
            if find(self._state) is None or programs.running(place, program) is not None:
                return
            try:
                programs.start(place, program)
                said = "it had ended, and was started anew"
            except (WorldError, OSError) as error:
                said = str(error)
        sys.stderr.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {program}: {said}\n")
        self._pasts[program] = started(self._pasts[program], time.monotonic())

    def _wait(self, pids: Iterable[int]) -> None:
        """Until one of these ends, or it is time to look again."""
        now = time.monotonic()
        due = min((past.due - now for past in self._pasts.values() if past.due > now), default=LOOK_S)
        with contextlib.ExitStack() as stack:
            handles = []
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    handles.append(stack.enter_context(os.fdopen(os.pidfd_open(pid), "rb")))
            select.select(handles, [], [], max(0.01, min(due, LOOK_S)))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m anypop.lab.supervisor")
    parser.add_argument("--state", type=Path, required=True)
    Supervisor(parser.parse_args().state).run()


if __name__ == "__main__":
    main()
