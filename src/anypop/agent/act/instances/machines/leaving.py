"""A machine that runs here moves to another host: this side of it, which decides on which of them it runs.

In: its folder, a way to the other host, how long it may take. Out: a machine that runs there and has ended here, or one
that goes on here and a `WorldError` that says why. The mark `handed` is the only moment at which it changes hands:
before it nobody else lets it run, after it this side does not, unless the other says that it never ran there. So one
runs at most, whoever is killed when; and `settle` finds out what follows for one that an agent's death left between.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from uuid import uuid4

from anypop.agent.act.instances.machines import launch, migration
from anypop.agent.act.instances.machines.ability import processor
from anypop.agent.act.instances.machines.arguments import has_root
from anypop.agent.act.instances.machines.move_words import Opening, Part, Said, Stream, Word
from anypop.agent.act.instances.machines.place import HANDED, LEAVING, OFF, Place, Spec
from anypop.agent.act.instances.machines.pump import pump
from anypop.agent.act.instances.machines.talk import Talk, open_talk
from anypop.agent.act.network.adopted import Identity
from anypop.agent.act.network.guests import abstract_socket
from anypop.model.errors import WorldError
from anypop.model.names import HostName

WITHIN_S = 60.0
"""Memory and disk of a guest that writes faster than they are sent are never whole on the other side."""
Reach = Callable[[], Awaitable[Stream]]
"""A new connection to the other host. Raises `WorldError`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Journey:
    """`to`: the host, `uid`: of the instance that it is to be there; `reach`: a way there; `guest`: who moves; `ready`:
    whether it serves by its word alone.
    """

    to: HostName
    uid: str
    reach: Reach
    guest: Identity
    ready: Callable[[], bool] = lambda: False


async def leave(place: Place, journey: Journey, within_s: float) -> None:
    """Move it. Raises `WorldError`: it runs here as before, or, where its mark says that it was handed
    over, it waits for `settle`.
    """
    what = f"move the machine {place.uid} to {journey.to}"
    spec = place.spec()
    if spec is None or place.pid() is None:
        raise WorldError(what, "it does not run here")
    if spec.volumes:
        raise WorldError(what, "it has volumes, which stay on their host")
    if place.rescued_by():
        raise WorldError(what, "it runs another image to be mended")
    if place.marked(HANDED) is not None or place.marked(LEAVING) is not None:
        raise WorldError(what, "another move of it is not settled yet")
    place.mark(LEAVING, journey.to)
    async with contextlib.AsyncExitStack() as opened:
        try:
            stream = await open_part(opened, journey, Part.TALK)
            await ask_ready(stream, Said(word=Word.BEGIN, guest=journey.guest, processor=processor()), what)
            talk = await opened.enter_async_context(open_talk(place))
        except BaseException:
            place.unmark(LEAVING)  # nothing of it has begun here
            raise
        try:
            async with asyncio.timeout(within_s):
                await _send(opened, talk, spec, journey)
            place.mark(HANDED, journey.to)
        except BaseException as error:
            await asyncio.shield(migration.undo(talk))
            place.unmark(LEAVING)
            with contextlib.suppress(OSError):  # else it is told with the next try, or by its order
                await stream.say(Said(word=Word.FORGET))
            if isinstance(error, TimeoutError):
                raise WorldError(what, f"it was not whole there within {within_s:g} s") from error
            raise
        place.unmark(LEAVING)
        await hand_over(place, stream, what, ready=journey.ready())


async def settle(place: Place, journey: Journey) -> None:
    """Whatever an agent that is dead has left undone of that move. Harmless where nothing is. Raises `WorldError` where
    it was handed over and the other host does not answer: then nobody can know, and nothing runs here.
    """
    if (to := place.marked(HANDED)) is not None:
        if place.pid() is not None or place.is_off():
            async with contextlib.AsyncExitStack() as opened:
                stream = await open_part(opened, journey, Part.TALK)
                await hand_over(place, stream, f"hand the machine {place.uid} over to {to}", ready=journey.ready())
    elif place.marked(LEAVING) is not None and place.pid() is not None:
        async with open_talk(place) as talk:
            await migration.undo(talk)
    place.unmark(LEAVING)


async def hand_over(place: Place, stream: Stream, what: str, *, ready: bool) -> None:
    """It was handed over: say so until it is known what has become of it."""
    try:
        await stream.say(Said(word=Word.RUN, ready=ready))
    except OSError as error:
        raise WorldError(what, str(error)) from error
    said = await stream.hear(Said)
    if said is not None and said.word is Word.RUNS:
        await launch.end(place)
        place.unmark(OFF)  # of one that was off: nothing more has to be asked
        return
    if said is not None and said.word is Word.ABSENT:
        if place.pid() is None:
            place.unmark(HANDED)
            raise WorldError(what, "its disk was lost there before it was known to have come, and is here")
        async with open_talk(place) as talk:
            place.unmark(HANDED)  # first: who is killed between them lets it go on when it settles
            await migration.undo(talk)
        raise WorldError(what, "it was lost there before it ran, and goes on here")
    raise WorldError(what, "the other host does not say whether it runs")


async def _send(opened: contextlib.AsyncExitStack, talk: Talk, spec: Spec, journey: Journey) -> None:
    near, far = socket.socketpair()
    with near:
        opened.callback(far.close)
        ours = Stream(*await asyncio.open_connection(sock=far))
        opened.push_async_callback(ours.end)
        memory = await open_part(opened, journey, Part.MEMORY)
        await opened.enter_async_context(_pumping(ours, memory))
        async with _disk(spec, lambda: open_part(opened, journey, Part.DISK)) as name:
            await migration.send(talk, has_root=has_root(spec.image), memory=near.fileno(), disk_at=name)


@contextlib.asynccontextmanager
async def _disk(spec: Spec, reached: Reach) -> AsyncIterator[str]:
    """The name of a socket that QEMU alone finds (it lives in the instance's network), and that leads to the other
    host's disk.
    """
    name, tasks = f"anypop-{uuid4()}", set[asyncio.Task[None]]()

    async def lead(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        near = Stream(reader, writer)
        try:
            await pump(near, await reached())
        except (WorldError, asyncio.CancelledError):
            await near.end()

    server = await asyncio.start_unix_server(lead, sock=abstract_socket(spec.namespace, name))
    try:
        yield name
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def _pumping(one: Stream, other: Stream) -> AsyncIterator[None]:
    task = asyncio.create_task(pump(one, other))
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def open_part(opened: contextlib.AsyncExitStack, journey: Journey, part: Part) -> Stream:
    """One connection to the other host, which has begun with its opening. Raises `WorldError`."""
    stream = await journey.reach()
    opened.push_async_callback(stream.end)
    try:
        await stream.say(Opening(uid=journey.uid, part=part))
    except OSError as error:
        raise WorldError(f"move a machine to {journey.to}", str(error)) from error
    return stream


async def ask_ready(stream: Stream, word: Said, what: str) -> None:
    """Say a word that the other host answers by READY. Raises `WorldError` where it does not."""
    try:
        await stream.say(word)
    except OSError as error:
        raise WorldError(what, str(error)) from error
    said = await stream.hear(Said)
    if said is None or said.word is not Word.READY:
        raise WorldError(what, (said.why if said is not None else "") or "the other host does not take it")
