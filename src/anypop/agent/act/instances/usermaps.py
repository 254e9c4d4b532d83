"""Whether containers on this host can have users of their own: a user namespace over an image that is not copied.

In: the folder that Podman keeps images in. Out: yes or no, by trying it: an ID-mapped mount of that file system
(mount_setattr(2), Linux 5.12), below overlayfs (Linux 5.19). Without it Podman would copy each image for each instance,
which is slower than anybody wants: then containers keep the host's users, and it is told. It leaves nothing behind.
"""

import ctypes
import os
import platform
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from anypop.agent.act.instances.shutting_in import FIRST_USER
from anypop.model.confinement import MOST_USERS

_OPEN_TREE, _MOUNT_SETATTR = 428, 442  # one number on every architecture (asm-generic/unistd.h)
_CLONE_TREE, _AT_FDCWD, _AT_EMPTY_PATH, _ATTR_IDMAP = 1, -100, 0x1000, 0x100000
_OVERLAY_SINCE = (5, 19)
_libc = ctypes.CDLL(None, use_errno=True)


class _MountAttr(ctypes.Structure):
    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


def can_map(folder: Path) -> bool:
    """Whether the file system of `folder` can be seen with other users. Costs a process that lives some ms."""
    release = re.match(r"(\d+)\.(\d+)", platform.release())
    if release is None or (int(release[1]), int(release[2])) < _OVERLAY_SINCE:
        return False
    with suppress(OSError, subprocess.SubprocessError), users(FIRST_USER) as handle:
        tree = clone(folder)
        try:
            return lend(tree, handle)
        finally:
            os.close(tree)  # a detached mount goes with its handle
    return False


@contextmanager
def users(first: int) -> Iterator[int]:
    """A handle of a user namespace whose root is the host's user `first`. Raises `OSError`."""
    with _users_of_their_own() as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(b"x")
        child.stdin.flush()
        child.stdout.read(1)  # it runs, so it is in its namespace
        for kind in ("uid_map", "gid_map"):
            Path(f"/proc/{child.pid}/{kind}").write_text(f"0 {first} {MOST_USERS}\n")
        handle = os.open(f"/proc/{child.pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
        try:
            yield handle
        finally:
            os.close(handle)
            child.stdin.close()


def clone(folder: Path) -> int:
    """A detached mount of `folder`, by its handle. Raises `OSError`."""
    tree = int(_libc.syscall(_OPEN_TREE, _AT_FDCWD, bytes(folder), _CLONE_TREE | os.O_CLOEXEC))
    if tree < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return tree


def lend(tree: int, users: int) -> bool:
    """Have a detached mount show its files as those of other users; whether this kernel and file system can."""
    wanted = _MountAttr(attr_set=_ATTR_IDMAP, userns_fd=users)
    size = ctypes.sizeof(wanted)
    return bool(_libc.syscall(_MOUNT_SETATTR, tree, b"", _AT_EMPTY_PATH, ctypes.byref(wanted), size) == 0)


def _users_of_their_own() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        ["unshare", "--user", "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
