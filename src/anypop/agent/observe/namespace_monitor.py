"""Names of instances' network namespaces that somebody takes away, as it happens (inotify on /run/netns).

In: the platform's prefix. Out: one call for each burst. Says that something changed, not what: the next look sees it.
A name that is only unmounted, so that its file stays, is seen by the next pass.
"""

import asyncio
import ctypes
import os
import struct
from collections.abc import Callable

from anypop.agent.naming import namespace_of
from anypop.host import netns
from anypop.model.errors import WorldError

_MOVED_FROM, _DELETED, _OVERFLOW = 0x40, 0x200, 0x4000  # linux/inotify.h
_EVENT = struct.Struct("=iIII")
_libc = ctypes.CDLL(None, use_errno=True)


class NamespaceMonitor:
    """Calls `changed` in the event loop's thread."""

    def __init__(self, prefix: str, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._ours = os.fsencode(namespace_of(prefix, "0" * 10).removesuffix("0" * 10))
        netns.RUN.mkdir(parents=True, exist_ok=True)
        self._handle = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._handle < 0 or _libc.inotify_add_watch(self._handle, bytes(netns.RUN), _MOVED_FROM | _DELETED) < 0:
            raise WorldError(f"watch {netns.RUN}", os.strerror(ctypes.get_errno()))
        asyncio.get_running_loop().add_reader(self._handle, self._readable)

    def _readable(self) -> None:
        try:
            data = os.read(self._handle, 1 << 16)
        except BlockingIOError:
            return
        at = 0
        while at + _EVENT.size <= len(data):
            _, mask, _, length = _EVENT.unpack_from(data, at)
            name = data[at + _EVENT.size : at + _EVENT.size + length]
            if mask & _OVERFLOW or name.startswith(self._ours):
                self._changed()
                return
            at += _EVENT.size + length

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._handle)
        os.close(self._handle)
