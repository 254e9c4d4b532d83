"""Files of images of virtual machines on this host: fetched once from control, however many instances wait for them.

In: the image of an order. Out: the path of each of its parts, complete and with the checksum that its name says. What
came before a cut, or before the agent's end, is not fetched again. A file that nobody needs stays for a while, and then
goes. It decides nothing: who needs what, and when a failed one is tried again, is said by its callers.
"""

import asyncio
import contextlib
import hashlib
import os
import shutil
import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import IO

from anypop.model.errors import WorldError
from anypop.model.machine import ImagePart, MachineImage

REST_S = 3600.0  # a workload that goes and comes again does not fetch its image anew
# What stays free for all else on the host's disk.
KEPT_FREE_BYTES = 1 << 30
_PIECE = 1 << 20

# Bytes of a file by its sha256, from an offset on; and the offset at which they really begin.
Source = Callable[[str, int], AbstractAsyncContextManager[tuple[int, AsyncIterator[bytes]]]]


class ImageCache:
    """Below `folder`, one for each host. `source`: see `ControlClient.download`. `wall`: seconds since the epoch."""

    def __init__(self, folder: Path, source: Source, *, wall: Callable[[], float] = time.time) -> None:
        self._folder, self._source, self._wall = folder, source, wall
        self._fetching: dict[str, asyncio.Task[Path]] = {}

    def path(self, part: ImagePart) -> Path:
        """Where a part is, or would be."""
        return self._folder / part.sha256

    def has(self, image: MachineImage) -> bool:
        """Whether all of it is here."""
        return all(self.path(part).is_file() for part in image.parts)

    def progress(self, image: MachineImage) -> tuple[int, int]:
        """How many bytes of it are here, of how many."""
        here = 0
        for part in image.parts:
            with contextlib.suppress(FileNotFoundError):
                file = self.path(part)
                here += (file if file.is_file() else _unfinished(file)).stat().st_size
        return here, image.size

    async def have(self, image: MachineImage) -> dict[str, Path]:
        """All parts by name, once they are here. Raises `WorldError`."""
        return {part.name: await self._one(part) for part in image.parts}

    def fetched(self) -> frozenset[str]:
        """What is here, by sha256."""
        with contextlib.suppress(FileNotFoundError):
            return frozenset(file.name for file in self._folder.iterdir() if not file.suffix)
        return frozenset()

    def drop(self, needed: Collection[str]) -> list[str]:
        """Take away what nobody needs any more, once it has rested. `needed`: by sha256, of what is ordered and of what
        instances that are still here were made from. What went.
        """
        gone = []
        with contextlib.suppress(FileNotFoundError):
            for file in list(self._folder.iterdir()):
                name = file.stem
                if name in needed:
                    os.utime(file)  # it rests from when it was last needed
                elif name not in self._fetching and file.stat().st_mtime < self._wall() - REST_S:
                    file.unlink(missing_ok=True)
                    gone.append(name)
        return gone

    async def _one(self, part: ImagePart) -> Path:
        file = self.path(part)
        if file.is_file():
            with contextlib.suppress(OSError):
                os.utime(file)
            return file
        task = self._fetching.get(part.sha256)
        if task is None:
            task = self._fetching[part.sha256] = asyncio.create_task(self._fetch(part))
            task.add_done_callback(partial(self._over, part.sha256))
        return await asyncio.shield(task)  # one who leaves takes it from nobody

    def _over(self, sha256: str, task: "asyncio.Task[Path]") -> None:
        del self._fetching[sha256]
        if not task.cancelled():
            task.exception()  # told to whoever waits; it may be that nobody does any more

    async def _fetch(self, part: ImagePart) -> Path:
        what, file = f"fetch the {part.name} of an image", self.path(part)
        unfinished = _unfinished(file)
        try:
            digest, here = await asyncio.to_thread(self._begin, part)
            if here < part.size:
                async with self._source(part.sha256, here) as (begins, pieces):
                    if begins != here:
                        digest, here = hashlib.sha256(), 0
                    with unfinished.open("r+b") as out:
                        out.truncate(here)
                        out.seek(here)
                        async for piece in pieces:
                            here += len(piece)
                            if here > part.size:
                                raise _Wrong(f"more than its {part.size} bytes came")
                            await asyncio.to_thread(_take, out, digest, piece)
            if here < part.size:
                raise WorldError(what, f"{here} of {part.size} bytes came; the rest is fetched at the next try")
            if digest.hexdigest() != part.sha256:
                raise _Wrong(f"what came has another checksum, {digest.hexdigest()}, not {part.sha256}")
            await asyncio.to_thread(_settle, unfinished, file)
        except _Wrong as error:
            unfinished.unlink(missing_ok=True)
            raise WorldError(what, str(error)) from error
        except OSError as error:
            raise WorldError(what, error.strerror or str(error)) from error
        return file

    def _begin(self, part: ImagePart) -> "tuple[hashlib._Hash, int]":
        """What an earlier try has left, read once more, and whether there is room for the rest."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        unfinished = _unfinished(self.path(part))
        unfinished.touch(mode=0o600)
        digest, here = hashlib.sha256(), 0
        with unfinished.open("rb") as file:
            while piece := file.read(_PIECE):
                digest.update(piece)
                here += len(piece)
        if here > part.size:
            os.truncate(unfinished, 0)
            digest, here = hashlib.sha256(), 0
        free = shutil.disk_usage(self._folder).free
        if free - (part.size - here) < KEPT_FREE_BYTES:
            raise WorldError(
                f"fetch the {part.name} of an image",
                f"its disk has {free >> 20} MiB left: {(part.size - here) >> 20} are needed, and 1024 beside them",
            )
        return digest, here


class _Wrong(Exception):  # noqa: N818 - what came is not what was asked for
    """Nothing of it can be kept."""


def _unfinished(file: Path) -> Path:
    return file.with_suffix(".part")


def _take(out: IO[bytes], digest: "hashlib._Hash", piece: bytes) -> None:
    out.write(piece)
    digest.update(piece)


def _settle(unfinished: Path, file: Path) -> None:
    """Whole, on disk, and then under its name."""
    with unfinished.open("rb") as whole:
        os.fsync(whole.fileno())
    unfinished.rename(file)
    handle = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
