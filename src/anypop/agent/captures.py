"""Disks of virtual machines that control makes images of: copied on this host, and sent to control.

In: what control asks for, again and again until it has all. Out: how far the copy is, its checksum, its bytes from
where they are missing. One copy is made at a time. It lies in a folder of its own until control has no need of it, a
day at most. What an agent's death left half made is taken away at once, and made anew when control asks again, which is
told; unless its guest has begun anew meanwhile: then the disk that was meant is gone. It decides nothing, and reads
nothing of what is in a disk.
"""

import asyncio
import contextlib
import hashlib
import os
import re
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, replace
from pathlib import Path

from anypop.agent.act.instances.machines.machines import Machines
from anypop.agent.act.volumes.files import must_have_room
from anypop.model.codec import from_json, to_json
from anypop.model.errors import Invalid, WorldError
from anypop.model.streams import LARGEST_FRAME, Captured, CaptureRequest

KEPT_S = 86_400.0
_TOLD_S = 1.0
_PIECE = 1 << 20
_ID = re.compile("[0-9a-f-]{36}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What is on record of a copy. `life`: of the machine that it is of; without a checksum it is not whole. `anew`:
    how often it was begun anew.
    """

    life: str
    anew: int = 0
    size: int = 0
    sha256: str = ""


class Captures:
    """One host's, below `folder`. `wall`: seconds since the epoch."""

    def __init__(self, folder: Path, machines: Machines, *, wall: Callable[[], float]) -> None:
        self._folder, self._machines, self._wall = folder, machines, wall
        self._turn = asyncio.Lock()
        self._held = ""
        """The id of the copy that is made now."""

    async def answer(self, asked: CaptureRequest) -> AsyncGenerator[bytes | str, None]:
        """The frames of the answer."""
        if not _ID.fullmatch(asked.id):
            yield _text(Captured(why="its id is none"))
            return
        file, size, sha256 = self._file(asked.id), 0, ""
        try:
            if asked.part == "variables":
                file = self._variables(asked.id)
                size, sha256 = await asyncio.to_thread(self._with_disk, asked.id)
            else:
                async with contextlib.aclosing(self._made(asked)) as made:
                    async for percent in made:
                        yield _text(Captured(percent=percent, anew=self._anew(asked.id)))
                page = self._page(asked.id)
                assert page is not None, "it was made just now"
                size, sha256 = page.size, page.sha256
        except WorldError as error:
            self.drop(asked.id)
            yield _text(Captured(why=str(error)))
            return
        begins = asked.offset if asked.sha256 == sha256 and asked.offset <= size else 0
        anew = self._anew(asked.id)
        yield _text(Captured(percent=100, anew=anew, part=asked.part, size=size, sha256=sha256, begins=begins))
        with file.open("rb", buffering=_PIECE) as opened:
            opened.seek(begins)
            while piece := await asyncio.to_thread(opened.read, LARGEST_FRAME):
                yield piece

    def drop(self, id_: str) -> None:
        """Nobody needs it any more. Harmless where there is none."""
        if _ID.fullmatch(id_):
            for file in (self._file(id_), self._variables(id_), self._half(id_), self._folder / f"{id_}.json"):
                file.unlink(missing_ok=True)

    def collect(self) -> None:
        """What nobody came back for within a day goes; and at once what another agent was at when it died, be it as
        large as a disk: nobody goes on with that.
        """
        for file in self._folder.glob("*"):
            with contextlib.suppress(FileNotFoundError):
                is_left = file.suffix == ".half" and file.stem.partition(".")[0] != self._held
                if is_left or file.stat().st_mtime < self._wall() - KEPT_S:
                    file.unlink()

    async def _made(self, asked: CaptureRequest) -> AsyncGenerator[int, None]:
        """How many percent are copied, each second until it is made. Who asks no more ends it."""
        percent = 0

        def told(number: int) -> None:
            nonlocal percent
            percent = number
            must_have_room(self._folder, 0)

        making = asyncio.create_task(self._make(asked, told))
        try:
            while not (await asyncio.wait({making}, timeout=_TOLD_S))[0]:
                yield percent
            making.result()
        finally:
            making.cancel()
            await asyncio.gather(making, return_exceptions=True)

    async def _make(self, asked: CaptureRequest, told: Callable[[int], None]) -> None:
        async with self._turn:
            self._held = asked.id
            self.collect()
            spec = self._machines.place_of(asked.uid).spec()
            page = self._page(asked.id)
            if page is not None and page.sha256:
                return
            if spec is None:
                raise WorldError("capture a disk", "its machine is not there")
            if not asked.claim and page is not None and page.life != spec.id:
                raise WorldError("capture a disk", "its machine has begun anew meanwhile, with a new root disk")
            half = self._half(asked.id)
            half.unlink(missing_ok=True)
            must_have_room(self._folder, 0)
            begun = Page(life=spec.id, anew=page.anew + 1 if page is not None else 0)
            self._write(asked.id, begun)
            variables = self._variables(asked.id)
            await self._machines.capture(asked.uid, asked.claim, half, variables, told)
            if variables.exists():
                await asyncio.to_thread(_settled, variables)
            size, sha256 = await asyncio.to_thread(_settled, half)
            half.rename(self._file(asked.id))
            self._write(asked.id, replace(begun, size=size, sha256=sha256))

    def _with_disk(self, id_: str) -> tuple[int, str]:
        """Size and checksum of the variables that were copied with a disk. Raises `WorldError`."""
        page = self._page(id_)
        try:
            if page is not None and page.sha256:
                return _settled(self._variables(id_))
        except OSError:
            pass
        raise WorldError("capture the variables of UEFI", "the copy of its disk is not here any more")

    def _anew(self, id_: str) -> int:
        page = self._page(id_)
        return page.anew if page is not None else 0

    def _page(self, id_: str) -> Page | None:
        with contextlib.suppress(OSError, Invalid):
            found = from_json(Page, (self._folder / f"{id_}.json").read_bytes())
            if not found.sha256 or self._file(id_).stat().st_size == found.size:
                return found
        return None

    def _write(self, id_: str, page: Page) -> None:
        half = self._folder / f"{id_}.json.half"
        half.write_bytes(to_json(page))
        half.rename(self._folder / f"{id_}.json")

    def _file(self, id_: str) -> Path:
        return self._folder / f"{id_}.qcow2"

    def _variables(self, id_: str) -> Path:
        return self._folder / f"{id_}.variables"

    def _half(self, id_: str) -> Path:
        return self._folder / f"{id_}.half"


def _settled(file: Path) -> tuple[int, str]:
    """On disk, and ours; its size and checksum."""
    os.chown(file, os.geteuid(), os.getegid())
    with file.open("rb") as whole:
        os.fsync(whole.fileno())
        digest = hashlib.file_digest(whole, "sha256").hexdigest()
        return whole.tell(), digest


def _text(told: Captured) -> str:
    return to_json(told).decode()
