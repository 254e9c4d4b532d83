"""A disk of a virtual machine from its host to control's disk: copied there, sent, and gone on with where it was cut.

In: whose disk, a file that may have a beginning already. Out: the whole file, unchecked; or `Invalid` for what will
never work, `WorldError` where its host was not heard of for too long. The host keeps its copy until it is told that
nobody needs it. Blocking, in threads of `image_jobs`; what is asked of the host goes by the event loop's streams.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

from anypop.control.image_download import Stopped
from anypop.control.image_rows import CapturedFrom, StoredPart
from anypop.control.refusals import Busy, NotFound, Precondition
from anypop.control.streams import Streams
from anypop.model.codec import from_json
from anypop.model.errors import Invalid, WorldError
from anypop.model.streams import Captured, CaptureOverRequest, CaptureRequest

PATIENCE_S = 300.0  # without a word: an agent that is begun anew, a host whose way to control is cut
SILENCE_S = 60.0  # while it copies it says so each second
LONGEST_REST_S = 15.0
_PIECE = 1 << 20
_LOOK_S = 0.25
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Taking:
    """What one capture reads and tells. `received`: how many bytes are here; `append`: takes bytes at an offset, and
    tells how many are here then; `begin_anew`: forgets them; `told`: hears the size and checksum of what comes, and
    refuses what is too large; `copied`: hears how many percent its host has copied, and how often it
    has begun anew; `stopped`: whether to leave off.
    """

    received: Callable[[], int]
    append: Callable[[int, bytes], int]
    begin_anew: Callable[[], None]
    told: Callable[[int, str], None]
    copied: Callable[[int, int], None]
    stopped: Callable[[], bool]


class Captures:
    """Of this control. `streams`: to hosts."""

    def __init__(self, streams: Streams) -> None:
        self.streams = streams

    def take(self, id_: str, part: StoredPart, source: CapturedFrom, taking: Taking) -> None:
        """All of it. `id_`: of the image, by which the host keeps the copy; `part`: with the checksum of what is here.
        Raises `Invalid`, `WorldError` and `Stopped`.
        """
        kind: Literal["disk", "variables"] = "variables" if part.name == "variables" else "disk"
        asked = CaptureRequest(id=id_, uid=source.uid, claim=source.claim, part=kind)
        known, heard, failures = [part.sha256], time.monotonic(), 0

        def word() -> None:
            nonlocal heard, failures
            heard, failures = time.monotonic(), 0

        while True:
            try:
                if self._do(lambda: self._once(asked, source, known, taking, word), taking.stopped):
                    return
                why = "it was cut off"
            except NotFound as error:
                raise Invalid.one("", str(error)) from error
            except (WorldError, Busy, Precondition) as error:
                if isinstance(error, WorldError) and error.what == "keep an image":
                    raise
                why = str(error)
            if time.monotonic() - heard > PATIENCE_S:
                raise WorldError(f"get the disk of {source}", why)
            failures += 1
            until = time.monotonic() + min(0.5 * 2**failures, LONGEST_REST_S)
            while time.monotonic() < until:
                if taking.stopped():
                    raise Stopped
                time.sleep(_LOOK_S)

    def let_go(self, id_: str, source: CapturedFrom) -> None:
        """The host need not keep its copy; one that does not answer takes it away in a day."""

        async def ask() -> None:
            wanted = CaptureOverRequest(id=id_)
            async with self.streams.ask(source.host, wanted, "", one_of_many=True) as there:
                await there.receive()

        with contextlib.suppress(WorldError, NotFound, Busy, Precondition, Stopped):
            self._do(ask, lambda: False)

    async def _once(
        self, wanted: CaptureRequest, source: CapturedFrom, known: list[str], taking: Taking, word: Callable[[], None]
    ) -> bool:
        """Whether all of it is here. `known`: the checksum of what is here, changed when another file comes."""
        asked = replace(wanted, sha256=known[0], offset=taking.received())
        async with self.streams.ask(source.host, asked, "", one_of_many=True) as there:
            size, at, rest = -1, 0, bytearray()
            while True:
                try:
                    async with asyncio.timeout(SILENCE_S):
                        piece = await there.receive()
                except TimeoutError as error:
                    raise WorldError(f"get the disk of {source}", f"no word within {SILENCE_S:g} s") from error
                word()
                if isinstance(piece, str):
                    told = from_json(Captured, piece)
                    if told.why:
                        raise Invalid.one("", f"{source}: {told.why}")
                    taking.copied(told.percent, told.anew)
                    if told.sha256:
                        if told.part != asked.part:
                            raise Invalid.one("", f"{source.host} has an older agent, which gives no {asked.part}")
                        size, at = told.size, told.begins
                        if not at:
                            taking.begin_anew()
                        await asyncio.to_thread(taking.told, size, told.sha256)
                        known[0] = told.sha256
                    continue
                rest += piece or b""
                if len(rest) >= _PIECE or (piece is None and rest):
                    at = await asyncio.to_thread(taking.append, at, bytes(rest))
                    rest.clear()
                if piece is None:
                    return at == size

    def _do(self, what: Callable[[], Coroutine[Any, Any, T]], stopped: Callable[[], bool]) -> T:
        """In the event loop, from another thread. Raises `Stopped`."""
        loop = self.streams.loop
        if loop is None or loop.is_closed():
            raise WorldError("reach a host", "none is connected yet")
        doing: Future[T] = asyncio.run_coroutine_threadsafe(what(), loop)
        while True:
            try:
                return doing.result(_LOOK_S)
            except TimeoutError:
                if doing.done():
                    raise
                if stopped() or loop.is_closed():
                    doing.cancel()
                    raise Stopped from None
