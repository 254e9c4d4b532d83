"""What changes in folders, as the kernel tells it (inotify(7)).

In: folders, and what is to be told of each. Out: one call for each change, with the number of the folder's watch and
the name of the file. It reads no file, and tells nothing of folders below. A kernel that gives no more watches refuses
with `WorldError`: whoever watches has to look by himself then, now and then.
"""

import asyncio
import contextlib
import ctypes
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

from anypop.model.errors import WorldError

MODIFIED, MOVED_FROM, MOVED_TO, CREATED, DELETED = 0x2, 0x40, 0x80, 0x100, 0x200  # linux/inotify.h
OVERFLOW = -1
"""The watch of a call that says: some changes were told of nowhere."""
_EVENT = struct.Struct("=iIII")
_libc = ctypes.CDLL(None, use_errno=True)


class Inotify:
    """Calls `changed` in the event loop's thread. To be made there. `rest_s`: after each time so long nobody listens;
    what changes meanwhile is told then, once for each file, however often it was written. Raises `WorldError`.
    """

    def __init__(self, changed: Callable[[int, bytes], None], *, rest_s: float = 0.0) -> None:
        self._changed, self._rest_s = changed, rest_s
        self._again: asyncio.TimerHandle | None = None
        self._handle = int(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        if self._handle < 0:
            raise WorldError("watch files", os.strerror(ctypes.get_errno()))
        self._listen()

    def add(self, folder: Path, what: int) -> int:
        """The number of the watch: the same one for the same folder. Raises `WorldError`."""
        watch = int(_libc.inotify_add_watch(self._handle, bytes(folder), what))
        if watch < 0:
            raise WorldError(f"watch {folder}", os.strerror(ctypes.get_errno()))
        return watch

    def remove(self, watch: int) -> None:
        """Harmless where the folder is gone."""
        _libc.inotify_rm_watch(self._handle, watch)

    def close(self) -> None:
        if self._again is not None:
            self._again.cancel()
        if self._handle >= 0:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                asyncio.get_running_loop().remove_reader(self._handle)
            os.close(self._handle)
            self._handle = -1

    def _listen(self) -> None:
        self._again = None
        asyncio.get_running_loop().add_reader(self._handle, self._readable)

    def _readable(self) -> None:
        try:
            data = os.read(self._handle, 1 << 16)
        except BlockingIOError:
            return
        if self._rest_s:
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._handle)
            self._again = loop.call_later(self._rest_s, self._listen)
        for watch, name in dict.fromkeys(_events(data)):
            self._changed(watch, name)


def _events(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + _EVENT.size <= len(data):
        watch, _, _, length = _EVENT.unpack_from(data, at)
        at += _EVENT.size
        yield watch, data[at : at + length].rstrip(b"\0")
        at += length
