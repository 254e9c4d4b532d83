"""`python -m anypop.agent.guests FOLDER VERSION`: stays with the virtual machines of one host.

In: the files in the folder, read anew at SIGHUP. Out: for each guest its console and its metadata service, until it is
named no more. One that fails is begun anew and holds up no other. It ends at SIGTERM; guests go on.
"""

import asyncio
import contextlib
import os
import sys
import time
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from anypop.agent.guests import files
from anypop.agent.guests.console import Console
from anypop.agent.guests.metadata import Metadata, Tokens
from anypop.agent.guests.service import Service
from anypop.agent.guests.wanted import Guest
from anypop.agent.guests.word import Known
from anypop.agent.kept_life import live
from anypop.model.steady import SteadyClock

_AGAIN_S = 1.0
_CONSOLE, _METADATA = "console", "metadata"


class Guests:
    """Those of one host."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._tokens = Tokens(time.monotonic)
        self._clock = SteadyClock(time.time, time.monotonic)
        self._consoles: dict[str, Console] = {}
        self._running: dict[tuple[str, str], tuple[Guest, asyncio.Task[None]]] = {}

    async def read(self) -> None:
        """Be with those that are named now. A console stays where only other things of its guest are told anew."""
        guests = files.read_guests(self._folder)
        wanted = {(one.uid, _CONSOLE): replace(one, namespace="", about={}) for one in guests}
        wanted |= {(one.uid, _METADATA): one for one in guests if one.namespace}
        for key in [key for key, (guest, _) in self._running.items() if wanted.get(key) != guest]:
            await _ended(self._running.pop(key)[1])
        for key, guest in wanted.items():
            if key not in self._running:
                self._running[key] = guest, asyncio.create_task(_kept(self._part(key[1], guest)))
        self._consoles = {uid: one for uid, one in self._consoles.items() if (uid, _CONSOLE) in wanted}
        for console in self._consoles.values():
            console.news.set()

    def _part(self, kind: str, guest: Guest) -> Callable[[], Awaitable[None]]:
        if kind == _CONSOLE:
            console = self._consoles[guest.uid] = Console(self._folder, guest, self._clock)
            return console.run
        metadata = Metadata(
            about=guest.about,
            seed=partial(files.read_seed, self._folder, guest.uid),
            tokens=self._tokens,
            keep_password=partial(files.keep_password, self._folder, guest.uid),
            keep_ready=partial(files.word_of(self._folder, guest.uid, guest.console).keep, Known.READY),
        )
        return Service(guest.namespace, metadata.answer).run

    async def follow(self, news: asyncio.Event) -> None:
        """Until cancelled: be with those that are named, and look again at each news."""
        while True:
            await self.read()
            await news.wait()
            news.clear()

    async def end(self) -> None:
        for _, task in self._running.values():
            await _ended(task)


async def _kept(part: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await part()
        except Exception:
            traceback.print_exc()
        await asyncio.sleep(_AGAIN_S)


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def run(folder: Path) -> None:
    guests = Guests(folder)
    await live(guests.follow)
    await guests.end()


def main() -> int:
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, 0)  # a guest writes no faster than it is read; the agent goes before it
    asyncio.run(run(Path(sys.argv[1])))
    return 0


if __name__ == "__main__":
    sys.exit(main())
