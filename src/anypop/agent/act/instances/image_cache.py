"""Files of images of virtual machines on this host: fetched once, from another host or from control, however many
instances wait for them.

In: the image of an order. Out: the path of each of its parts, complete and with the checksum that its name says. What
came before a cut, or before the agent's end, is not fetched again. It decides nothing: who needs what, and when a
failed one is tried again, is said by its callers. Beside the files of parts lies a page for each image, `<id>.json`,
which says what it consists of: several may share a part.
"""

import asyncio
import contextlib
import hashlib
import os
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from anypop.host.folder_sync import sync_folder
from anypop.model.codec import from_json, to_json
from anypop.model.errors import Invalid, WorldError
from anypop.model.machine import ImagePart, MachineImage

REST_S = 3600.0  # what was begun and not ended may be gone on with for so long
# What stays free for all else on the host's disk.
KEPT_FREE_BYTES = 1 << 30
_PIECE = 1 << 20

# Bytes of a file by its sha256, from an offset on; and the offset at which they really begin.
Source = Callable[[str, int], AbstractAsyncContextManager[tuple[int, AsyncIterator[bytes]]]]
Sources = Callable[[str], Awaitable[Sequence[Source]]]


class ImageCache:
    """Below `folder`, one for each host. `source`: see `ControlClient.download`. `others`: who may have a file too, and
    is asked before. `wall`: seconds since the epoch. `moved`: bytes by the way that they came.
    """

    def __init__(
        self, folder: Path, source: Source, *, others: Sources | None = None, wall: Callable[[], float],
        moved: Counter[str] | None = None,
    ) -> None:  # fmt: skip
        self._folder, self._source, self._wall, self._others = folder, source, wall, others
        self._moved = moved if moved is not None else Counter()
        self._fetching: dict[str, tuple[asyncio.Task[Path], ImagePart]] = {}

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

    def coming(self, sha256: str) -> tuple[Path, int] | None:
        """The file of a part that is being fetched now, and how large it will be; None: it is not."""
        fetched = self._fetching.get(sha256)
        return None if fetched is None else (_unfinished(self._folder / sha256), fetched[1].size)

    async def have(self, image: MachineImage) -> dict[str, Path]:
        """All parts by name, once they are here. Raises `WorldError`."""
        # before the parts, so that no part is ever here without somebody who needs it
        await asyncio.to_thread(self._write_down, image)
        return {part.name: await self._one(part) for part in image.parts}

    def fetched(self) -> frozenset[str]:
        """The ids of all that are here, or begun."""
        return frozenset(self._listed())

    async def drop(self, image: str) -> None:
        """Take away one by its id, and those of its parts that no other has; and what was begun and left long ago."""
        await asyncio.to_thread(self._drop, image)

    def _listed(self) -> dict[str, MachineImage]:
        found = {}
        for file in self._folder.glob("*.json"):
            with contextlib.suppress(OSError, Invalid):
                found[file.stem] = from_json(MachineImage, file.read_bytes())
        return found

    def _drop(self, image: str) -> None:
        self._page(image).unlink(missing_ok=True)
        needed = {part.sha256 for other in self._listed().values() for part in other.parts}
        for file in list(self._folder.iterdir()) if self._folder.is_dir() else ():
            name, old = file.stem, self._wall() - REST_S
            if file.suffix == ".json" or name in needed or name in self._fetching:
                continue
            with contextlib.suppress(FileNotFoundError):
                if not file.suffix or file.stat().st_mtime < old:
                    file.unlink()

    def _page(self, image: str) -> Path:
        return self._folder / f"{image}.json"

    def _write_down(self, image: MachineImage) -> None:
        page = self._page(image.id)
        if page.exists():
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            temporary = page.with_suffix(".tmp")
            temporary.write_bytes(to_json(image))
            temporary.replace(page)
        except OSError as error:
            raise WorldError("fetch an image", error.strerror or str(error)) from error

    async def _one(self, part: ImagePart) -> Path:
        file = self.path(part)
        if file.is_file():
            return file
        task, _ = self._fetching.get(part.sha256, (None, part))
        if task is None:
            task = asyncio.create_task(self._fetch(part))
            self._fetching[part.sha256] = task, part
            task.add_done_callback(partial(self._over, part.sha256))
        return await asyncio.shield(task)  # one who leaves takes it from nobody

    def _over(self, sha256: str, task: "asyncio.Task[Path]") -> None:
        del self._fetching[sha256]
        if not task.cancelled():
            task.exception()  # told to whoever waits; it may be that nobody does any more

    async def _fetch(self, part: ImagePart) -> Path:
        """From others first: one that is cut off, or does not give it, is followed by the next, and at last by control.
        Where the checksum is wrong of what others have a part in, all of it comes from control.
        """
        what, file = f"fetch the {part.name} of an image", self.path(part)
        try:
            coming = await asyncio.to_thread(self._begin, part)
            others = await self._others(part.sha256) if self._others is not None and coming.here < part.size else ()
            for source in others:
                if coming.here < part.size:
                    with contextlib.suppress(WorldError, _Wrong):
                        await self._pour(source, coming)
            if coming.here < part.size:
                await self._pour(self._source, coming)
            if coming.of_others and coming.here == part.size and coming.digest.hexdigest() != part.sha256:
                coming.begin_anew()
                await self._pour(self._source, coming)
            if coming.here < part.size:
                raise WorldError(what, f"{coming.here} of {part.size} bytes came; the rest is fetched at the next try")
            if (found := coming.digest.hexdigest()) != part.sha256:
                raise _Wrong(f"what came has another checksum, {found}, not {part.sha256}")
            await asyncio.to_thread(_settle, coming.file, file)
        except _Wrong as error:
            _unfinished(file).unlink(missing_ok=True)
            raise WorldError(what, str(error)) from error
        except OSError as error:
            raise WorldError(what, error.strerror or str(error)) from error
        return file

    async def _pour(self, source: Source, coming: "_Coming") -> None:
        """What a source gives of the rest. Raises `WorldError` where it is cut off; what came is kept."""
        others = source is not self._source
        way = "from_hosts" if others else "from_control"
        async with source(coming.part.sha256, coming.here) as (begins, pieces):
            if begins != coming.here:
                coming.begin_anew()
            with coming.file.open("r+b") as out:
                out.truncate(coming.here)
                out.seek(coming.here)
                async for piece in pieces:
                    if coming.here + len(piece) > coming.part.size:
                        raise _Wrong(f"more than its {coming.part.size} bytes came")
                    await asyncio.to_thread(_take, out, coming.digest, piece)
                    coming.here += len(piece)
                    coming.of_others |= others
                    self._moved[way] += len(piece)

    def _begin(self, part: ImagePart) -> "_Coming":
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
        return _Coming(part=part, file=unfinished, digest=digest, here=here)


@dataclass
class _Coming:
    """A file on its way: `here` bytes of it are in `file`, of which `digest` is. `of_others`: some came from hosts."""

    part: ImagePart
    file: Path
    digest: "hashlib._Hash"
    here: int
    of_others: bool = False

    def begin_anew(self) -> None:
        self.digest, self.here, self.of_others = hashlib.sha256(), 0, False


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
    sync_folder(file.parent)
