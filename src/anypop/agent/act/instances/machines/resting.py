"""The root disk of a machine that is off moves to another host, on both sides.

In: its folder and a way to the other host; on the side that takes it, the folder that was made for it. Out: its disk
and what its firmware keeps lie there, and are not used here any more; or a `WorldError`, and all is as before. Who has
the disk is decided as of one that runs (see `leaving`): the mark `handed` here, written when all of it lies there, is
the only moment. It is removed here with its instance, and not before. What lies here may be a guest's that has broken
out: no link is followed, and nobody here reads what is in it.
"""

import asyncio
import contextlib
import os
import stat
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import BinaryIO

from anypop.agent.act.instances.machines.leaving import Journey, ask_ready, hand_over, open_part
from anypop.agent.act.instances.machines.move_words import Part, Said, Stream, Word
from anypop.agent.act.instances.machines.place import ARRIVING, CAME, FIRMWARE, HANDED, LEAVING, OFF, ROOT, Place, Spec
from anypop.host.folder_sync import sync_folder
from anypop.model.errors import WorldError

MOST_PER_S = 128 << 20
"""Bytes in a second, as of a machine that runs: others want the network and the disks too."""
SILENCE_S = 15.0
"""So long a piece may take. The whole may take what it takes: nobody waits for one that is off."""
_NAMES = (ROOT, FIRMWARE)
_PIECE = 1 << 18
_KEPT_S = 300.0  # until a disk that is slow has the end of a large file


async def leave(place: Place, journey: Journey) -> None:
    """Move it. Raises `WorldError`: it is here as before, or, where its mark says that it was handed over, it waits for
    `leaving.settle`.
    """
    what = f"move the disk of the machine {place.uid} to {journey.to}"
    spec = place.spec()
    if spec is None or place.pid() is not None or place.is_kept():
        raise WorldError(what, "it is not off here")
    if spec.volumes or spec.further_macs:
        raise WorldError(what, "it has volumes or several interfaces")
    if any(place.marked(mark) is not None for mark in (ARRIVING, LEAVING, HANDED)):
        raise WorldError(what, "another move of it is not settled yet")
    place.mark(OFF)  # one that was made and never begun has none
    place.mark(LEAVING, journey.to)
    async with contextlib.AsyncExitStack() as opened:
        try:
            files = {name: opened.enter_context(file) for name in _NAMES if (file := _opened(place, spec, name))}
            stream = await open_part(opened, journey, Part.TALK)
            await ask_ready(stream, Said(word=Word.BEGIN, guest=journey.guest, rests=True), what)
            try:
                await _give(stream, files, what)
                place.mark(HANDED, journey.to)
            except BaseException:
                with contextlib.suppress(OSError):  # else it goes with the next try, or with its order
                    await stream.say(Said(word=Word.FORGET))
                raise
        except OSError as error:
            raise WorldError(what, error.strerror or str(error)) from error
        finally:
            place.unmark(LEAVING)
        await hand_over(place, stream, what, ready=False)


def _opened(place: Place, spec: Spec, name: str) -> BinaryIO | None:
    """None: it has none. Raises OSError."""
    try:
        handle = os.open(place.own / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    file = os.fdopen(handle, "rb", buffering=0)
    told = os.fstat(handle)
    if not stat.S_ISREG(told.st_mode) or told.st_uid != spec.user or told.st_nlink != 1:
        file.close()
        raise OSError(f"{name} is not its own file")
    return file


async def _give(stream: Stream, files: Mapping[str, BinaryIO], what: str) -> None:
    sizes = {name: os.fstat(file.fileno()).st_size for name, file in files.items()}
    await stream.say(Said(word=Word.TAKE, sizes=sizes))
    loop = asyncio.get_running_loop()
    free_at = loop.time()
    for name, file in files.items():
        left = sizes[name]
        while left > 0:
            piece = await asyncio.to_thread(file.read, min(_PIECE, left))
            if not piece:
                raise WorldError(what, f"{name} has become shorter")
            left -= len(piece)
            stream.writer.write(piece)
            async with _in_time(what):
                await stream.writer.drain()
            free_at = max(free_at, loop.time()) + len(piece) / MOST_PER_S
            await asyncio.sleep(free_at - loop.time())
    said = await stream.hear(Said, within_s=_KEPT_S)
    if said is None or said.word is not Word.READY:
        raise WorldError(what, (said.why if said is not None else "") or "the other host has not taken it")


async def take(place: Place, stream: Stream, sizes: Mapping[str, int]) -> Said:
    """What the other host gives, in the folder that was made for it; the answer. Raises `WorldError`."""
    what, spec = f"take in the disk of the machine {place.uid}", place.spec()
    if spec is None or place.marked(ARRIVING) is None or place.pid() is not None:
        return Said(word=Word.CANNOT, why="nothing is ready for it")
    most = {ROOT: _most(spec), FIRMWARE: 64 << 20}
    wanted = {name for name in _NAMES if (place.own / name).exists()}
    if sizes.keys() != wanted or any(not 0 <= size <= most[name] for name, size in sizes.items()):
        return Said(word=Word.CANNOT, why=f"it is to have the files {', '.join(sorted(wanted)) or 'none'}")
    try:
        for name, size in sizes.items():
            half = place.file(f"{name}.half")
            await _take(stream, half, size, what)
            os.chown(half, spec.user, spec.user)
            half.rename(place.own / name)
        await asyncio.to_thread(sync_folder, place.own)
    except OSError as error:
        return Said(word=Word.CANNOT, why=error.strerror or str(error))
    place.mark(CAME)
    return Said(word=Word.READY)


def own(place: Place) -> Said:
    """It was handed over: it is ours from the moment at which its mark goes. Harmless where it is."""
    if place.marked(CAME) is None:
        return Said(word=Word.ABSENT)
    place.mark(OFF)
    place.unmark(ARRIVING)
    place.unmark(CAME)
    return Said(word=Word.RUNS)


async def _take(stream: Stream, half: Path, size: int, what: str) -> None:
    with half.open("wb", buffering=0) as out:
        os.fchmod(out.fileno(), 0o600)
        left = size
        while left > 0:
            async with _in_time(what):
                piece = await stream.reader.read(min(left, _PIECE))
            if not piece:
                raise WorldError(what, "it was cut off")
            left -= len(piece)
            await asyncio.to_thread(out.write, piece)
        await asyncio.to_thread(os.fsync, out.fileno())


def _most(spec: Spec) -> int:
    """Bytes of a root disk whose guest has written all of it, with qcow2's own tables (some 0.03 %) and its first
    blocks: nobody else's room is taken.
    """
    return spec.image.disk_bytes + (spec.image.disk_bytes >> 8) + (4 << 20)


@contextlib.asynccontextmanager
async def _in_time(what: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(SILENCE_S):
            yield
    except TimeoutError as error:
        raise WorldError(what, f"no byte within {SILENCE_S:g} s") from error
