"""What containers say of their own end: the file that a process writes, read when it is gone.

In: a container whose root is ready, or which runs, and the path of the file as it is seen inside. Out: its last bytes.
A handle on the file's folder is held: the folder may be on a file system that goes with the process, as /dev is. The
path is the tenant's: it is followed inside the container's root alone (openat2(2)), and what is no plain file is not
read. Where no file was written the end of the container's log may stand for it.
"""

import contextlib
import ctypes
import os
import stat
import struct
from collections.abc import Collection
from pathlib import Path, PurePosixPath

from anypop.agent.decide.log_lines import LogLines, last_lines
from anypop.agent.log_names import LOG
from anypop.model.streams import LogRequest

LONGEST = 4096  # bytes, as in Kubernetes
_LOG_LINES, _LOG_BYTES = 80, 2048  # the same, of a log
_OPENAT2 = 437  # one number on every architecture (asm-generic/unistd.h), Linux 5.6
_IN_ROOT, _NO_MAGIC = 0x10, 0x02
# File systems on which an application's own files are: overlay, tmpfs, ext4, XFS, Btrfs (linux/magic.h). What is read
# here is read as the host's root, and /proc and /sys have files whose content is the host's.
_READ = {0x794C7630, 0x01021994, 0xEF53, 0x58465342, 0x9123683E}
_libc = ctypes.CDLL(None, use_errno=True)


class Messages:
    """Of one host's containers, by their ids."""

    def __init__(self) -> None:
        self._folders: dict[str, tuple[int, str]] = {}

    def hold(self, id_: str, pid: int, path: str, *, make: bool) -> None:
        """From now on what is written there is found. `make`: the file is made, for whatever user runs inside. Where
        there is no such folder, nothing is found.
        """
        if id_ in self._folders:
            return
        place = PurePosixPath(path)
        with contextlib.suppress(OSError):
            root = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                folder = _inside(root, str(place.parent))
            finally:
                os.close(root)
            if not _is_read(folder):
                os.close(folder)
                return
            self._folders[id_] = folder, place.name
            if make:
                _make(folder, place.name, _user(pid))

    def read(self, id_: str) -> str:
        """Its last bytes as text; empty where there is none."""
        folder, name = self._folders.get(id_, (-1, ""))
        if folder < 0:
            return ""
        with contextlib.suppress(OSError):
            # without reading it: who knows what a tenant has put there
            found = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            try:
                if stat.S_ISREG(os.fstat(found).st_mode) and _is_read(found):
                    return _tail(Path(f"/proc/self/fd/{found}"))
            finally:
                os.close(found)
        return ""

    def keep(self, ids: Collection[str]) -> None:
        """Let go of all others."""
        for id_ in self._folders.keys() - set(ids):
            os.close(self._folders.pop(id_)[0])

    def holds(self, id_: str) -> bool:
        return id_ in self._folders

    def close(self) -> None:
        self.keep(())


def end_of_log(folder: Path) -> str:
    """The last lines of a container's log."""
    try:
        with (folder / LOG).open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 4 * _LOG_BYTES))
            piece = file.read()
    except OSError:
        return ""
    at, _ = last_lines(piece, _LOG_LINES)
    lines = LogLines(LogRequest(uid="", container=""))
    return _text((lines.take(piece[at:]) + lines.end())[-_LOG_BYTES:])


def _inside(root: int, path: str) -> int:
    """A handle on a folder, whose path leads nowhere but inside `root`."""
    how = struct.pack("QQQ", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, 0, _IN_ROOT | _NO_MAGIC)
    handle = int(_libc.syscall(_OPENAT2, root, path.encode(), how, len(how)))
    if handle < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return handle


def _is_read(handle: int) -> bool:
    """Whether it is on a file system of an application's own files."""
    told = ctypes.create_string_buffer(256)
    return _libc.fstatfs(handle, told) == 0 and struct.unpack_from("l", told)[0] in _READ


def _user(pid: int) -> int:
    """The host's user that is root inside."""
    return int(Path(f"/proc/{pid}/uid_map").read_text().split()[1])


def _make(folder: int, name: str, user: int) -> None:
    """An empty file that everybody inside may write; one that is there stays. It is made as the container's own root
    makes it: the file system has no other users.
    """
    with contextlib.suppress(OSError):
        # of this thread alone, and nothing is awaited in between
        _libc.setfsgid(user)
        _libc.setfsuid(user)
        try:
            file = os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o666, dir_fd=folder)
        finally:
            _libc.setfsuid(os.geteuid())
            _libc.setfsgid(os.getegid())
        try:
            os.fchmod(file, 0o666)
        finally:
            os.close(file)


def _tail(file: Path) -> str:
    with file.open("rb") as opened:
        size = opened.seek(0, os.SEEK_END)
        opened.seek(max(0, size - LONGEST))
        return _text(opened.read(LONGEST))


def _text(said: bytes) -> str:
    """As text that every store takes, and that is no longer anywhere else."""
    said_so = said.decode(errors="replace").strip()
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in said_so)
