"""A machine that runs elsewhere moves to this host: this side of it, which does as it is told.

In: connections of other hosts, and what the order lets come from whom. Out: a machine that runs here once the other
side has said so, and never before. Who is cut off before all of it is here is forgotten; what is whole waits for the
word, however long: the other side alone knows whether it has given it up (see `leaving`).
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Callable

from anypop.agent.act.instances.machines import migration, resting
from anypop.agent.act.instances.machines.ability import processor
from anypop.agent.act.instances.machines.arguments import has_root
from anypop.agent.act.instances.machines.machines import Machines
from anypop.agent.act.instances.machines.move_words import Opening, Part, Said, Stream, Word
from anypop.agent.act.instances.machines.place import ARRIVING, CAME, MOVE_DISK, MOVE_MEMORY, Place
from anypop.agent.act.instances.machines.pump import pump
from anypop.agent.act.instances.machines.talk import open_talk
from anypop.agent.decide.steps import CreateContainer
from anypop.agent.guests.word import Known
from anypop.model.errors import WorldError
from anypop.model.names import HostName

Expected = Callable[[str, HostName], CreateContainer | None]
"""How the machine of an instance is made that this host may send here now; None: it may not."""


class Arrivals:
    """One host's. `came`: called with the uid of an instance as soon as its guest runs here."""

    def __init__(self, machines: Machines, expected: Expected, came: Callable[[str], None]) -> None:
        self._machines, self._expected, self._came = machines, expected, came
        self._latest: dict[str, Stream] = {}
        """The conversation that has begun last, of each: an older one that ends late takes nothing away."""
        self._turns: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def take(self, stream: Stream, sender: HostName, opening: Opening) -> None:
        """One connection of another host, whose first line is `opening`, until it is over."""
        try:
            step = self._expected(opening.uid, sender)
            place = self._machines.place_of(opening.uid)
            if step is None:
                if opening.part is Part.TALK:
                    await stream.say(Said(word=Word.CANNOT, why="it is not expected here"))
            elif opening.part is Part.TALK:
                await self._talk(stream, step, place)
            elif place.marked(ARRIVING) is not None:
                name = MOVE_MEMORY if opening.part is Part.MEMORY else MOVE_DISK
                with place.reachable(name) as path:
                    qemu = Stream(*await asyncio.open_unix_connection(path))
                await pump(stream, qemu)
        except (WorldError, OSError):
            return  # the other side sees the end of it, and goes on as before
        finally:
            await stream.end()

    async def _talk(self, stream: Stream, step: CreateContainer, place: Place) -> None:
        """One conversation. Its end lets go of what is not whole."""
        turn = self._turns[place.uid]
        try:
            while (said := await stream.hear(Said, within_s=None)) is not None:
                async with turn:
                    match said.word:
                        case Word.BEGIN:
                            self._latest[place.uid] = stream
                            await stream.say(await self._begin(step, said))
                        case Word.TAKE if self._latest.get(place.uid) is stream:
                            await stream.say(await resting.take(place, stream, said.sizes))
                        case Word.RUN:
                            await stream.say(await self._run(place, ready=said.ready))
                        case Word.FORGET if self._latest.get(place.uid) is stream:
                            await self._machines.give_up_arrival(place.uid)
                        case _:
                            return
        finally:
            await asyncio.shield(self._let_go(stream, place))

    async def _begin(self, step: CreateContainer, said: Said) -> Said:
        if not said.rests and said.processor != (mine := processor()):
            return Said(word=Word.CANNOT, why=f"the guest has the processor {said.processor}, and here it is {mine}")
        if said.guest is None:
            return Said(word=Word.CANNOT, why="it is not said who comes")
        try:
            place = await self._machines.make_for_arrival(step, said.guest, rests=said.rests)
            if said.rests:
                return Said(word=Word.READY)
            spec = place.spec()
            assert spec is not None
            async with open_talk(place) as talk:
                await migration.receive(talk, has_root=has_root(spec.image))
        except WorldError as error:
            return Said(word=Word.CANNOT, why=str(error))
        return Said(word=Word.READY)

    async def _run(self, place: Place, *, ready: bool) -> Said:
        """It is ours from the moment on at which its mark goes, which is before it runs: whoever is killed in between
        is told to run it once more.
        """
        if place.spec() is None:
            return Said(word=Word.ABSENT)
        if place.pid() is None and place.marked(ARRIVING) is not None:
            said = resting.own(place)
            self._came(place.uid)
            return said
        if place.pid() is None:
            return Said(word=Word.RUNS)
        async with open_talk(place) as talk:
            if place.marked(ARRIVING) is not None:
                if not await migration.is_whole(talk):
                    return Said(word=Word.ABSENT)
                if ready and (word := self._machines.word_of(place.uid)) is not None:
                    word.keep(Known.READY)
                place.unmark(ARRIVING)
            await migration.go_on(talk)
        self._came(place.uid)
        return Said(word=Word.RUNS)

    async def _let_go(self, stream: Stream, place: Place) -> None:
        async with self._turns[place.uid]:
            if self._latest.get(place.uid) is stream:
                del self._latest[place.uid]
                if place.marked(ARRIVING) is not None and not await _is_whole(place):
                    await self._machines.give_up_arrival(place.uid)


async def _is_whole(place: Place) -> bool:
    if place.marked(CAME) is not None:
        return True
    with contextlib.suppress(WorldError):
        async with open_talk(place) as talk:
            return await migration.is_whole(talk)
    return False
