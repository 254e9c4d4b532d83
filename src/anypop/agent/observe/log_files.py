"""Logs of instances: one that is full is begun anew; the one before is kept beside it, both are measured.

In: which instances run, and where their logs are. Out: beside `ctr.log` the full one before it, `ctr.log.1`, and how
large they are and how often one was full. The kernel tells of each new log (inotify(7)). A link of our own to the log
that is written keeps it when conmon lets it go; the process that writes what virtual machines say keeps it by itself.
It never writes into a log; without it the limit holds too.
"""

import asyncio
import contextlib
import ctypes
import os
import struct
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from anypop.agent.log_names import BEFORE, LOG, log_folder

_IN_MOVED_TO, _IN_NONBLOCK, _IN_CLOEXEC = 0x80, 0o4000, 0o2000000
_EVENT = struct.Struct("iIII")
_NOW = "ctr.log.now"
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSeen:
    """`size`: bytes of both; `turns`: how often one was full since this agent follows it."""

    size: int
    turns: int


class LogFiles:
    """Follows the logs of one Podman's containers. `folder`: of its storage; None until that is known. `others`: where
    the logs of virtual machines are, by id.
    """

    def __init__(self) -> None:
        self.folder: Path | None = None
        self.others: Mapping[str, Path] = {}
        self._turns: dict[str, int] = {}
        self._watches: dict[int, str] = {}
        self._events = -1

    def open(self) -> None:
        """Begin to listen; to be called in the loop."""
        self._events = int(_libc.inotify_init1(_IN_NONBLOCK | _IN_CLOEXEC))
        if self._events >= 0:
            asyncio.get_running_loop().add_reader(self._events, self._told)

    def close(self) -> None:
        if self._events >= 0:
            with contextlib.suppress(RuntimeError):
                asyncio.get_running_loop().remove_reader(self._events)
            os.close(self._events)
            self._events = -1

    def follow(self, ids: Collection[str]) -> None:
        """These containers run now; those that are gone are forgotten."""
        if self.folder is None or ids == self._turns.keys():
            return
        for gone in self._turns.keys() - set(ids):
            del self._turns[gone]
        self._watches = {watch: id_ for watch, id_ in self._watches.items() if id_ in ids}
        for id_ in set(ids) - self._turns.keys():
            self._turns[id_] = 0
            watch = _libc.inotify_add_watch(self._events, bytes(self._place(id_)), _IN_MOVED_TO)
            if watch >= 0:
                self._watches[watch] = id_
            self._keep(id_)

    def seen(self, id_: str) -> LogSeen | None:
        """None where nobody follows it."""
        if id_ not in self._turns or self.folder is None:
            return None
        sizes = (_size(self._place(id_) / name) for name in (LOG, BEFORE))
        return LogSeen(size=sum(sizes), turns=self._turns[id_])

    def place(self, id_: str) -> Path | None:
        """The folder of a container's log; None until Podman's own is known."""
        return self._place(id_) if self.folder is not None or id_ in self.others else None

    def _place(self, id_: str) -> Path:
        if (other := self.others.get(id_)) is not None:
            return other
        assert self.folder is not None
        return log_folder(self.folder, id_)

    def _told(self) -> None:
        with contextlib.suppress(OSError):
            content = os.read(self._events, 1 << 16)
            at, moved = 0, dict[str, int]()
            while at < len(content):
                watch, _, _, length = _EVENT.unpack_from(content, at)
                name = content[at + _EVENT.size : at + _EVENT.size + length].rstrip(b"\0")
                at += _EVENT.size + length
                if name == LOG.encode() and (id_ := self._watches.get(watch)) is not None:
                    moved[id_] = moved.get(id_, 0) + 1
            for id_, count in moved.items():
                if id_ in self._turns:
                    self._turns[id_] += count
                    self._keep(id_)

    def _keep(self, id_: str) -> None:
        """Our link leads to the log that is written; what it led to before is the log before."""
        place = self._place(id_)
        log, now = place / LOG, place / _NOW
        with contextlib.suppress(OSError):  # the container goes at this moment
            if not now.exists():
                now.hardlink_to(log)
            elif not now.samefile(log):
                before = place / BEFORE
                if before.exists() and before.samefile(now):  # who writes has kept it: a rename would do nothing
                    now.unlink()
                else:
                    now.replace(before)
                now.hardlink_to(log)


def _size(file: Path) -> int:
    with contextlib.suppress(OSError):
        return file.stat().st_size
    return 0
