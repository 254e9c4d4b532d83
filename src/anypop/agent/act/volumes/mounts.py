"""Where an instance sees its volumes: one mount for each incarnation and volume, with the incarnation's own users.

In: a volume's file, an incarnation, the host's user that is root in it. Out: the mount `<top>/<ten digits>/<volume>`,
which Podman lends to the container. On the disk the users are those inside, so the next incarnation, which has other
users on the host, finds its own files (mount_setattr(2), Linux 5.12). `top` is shared with other mount namespaces:
Podman's service may have one of its own, and must see what is mounted here later. A virtual machine has the file itself
as a disk. It makes no file system and decides nothing.
"""

import contextlib
import ctypes
import fcntl
import os
import socket
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

from anypop.agent.act.instances import usermaps
from anypop.agent.naming import short
from anypop.host import process, shared_mounts
from anypop.model.errors import WorldError

_BIND = 0x1000  # linux/mount.h
_MOVE_MOUNT = 429  # one number on every architecture (asm-generic/unistd.h)
_AT_FDCWD, _EMPTY_PATH = -100, 4
_FREEZE, _THAW = 0xC0045877, 0xC0045878  # linux/fs.h
_INSIDE = "data"  # what instances see; beside it lies lost+found
_OPTIONS = "loop,nodev,nosuid,relatime,errors=remount-ro,noinit_itable"
_BASES = "base"  # where a file system is mounted for the moment in which it is lent
_libc = ctypes.CDLL(None, use_errno=True)


def place(top: Path, uid: str, volume: str) -> Path:
    """Where an incarnation has a volume."""
    return top / short(uid) / volume


def mounted(top: Path) -> Mapping[str, frozenset[str]]:
    """What is mounted, as of the kernel: by the ten digits of an incarnation, the volumes that it has."""
    found: dict[str, set[str]] = {}
    start = f"{top}/"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        point = line.split()[4]
        if point.startswith(start):
            key, _, volume = point[len(start) :].partition("/")
            if key != _BASES and volume:
                found.setdefault(key, set()).add(volume)
    return {key: frozenset(volumes) for key, volumes in found.items()}


def attach(top: Path, data: Path, volume: str, key: str, first_user: int) -> None:
    """Mount the file system in `data` for an incarnation, by its ten digits. `first_user`: the host's user that is
    root there; 0: it has the host's users. Raises `WorldError`, also where anybody else still has it.
    """
    what, target, base = f"mount volume {volume}", top / key / volume, top / _BASES / volume
    shared_mounts.share(top)
    if os.path.ismount(target):
        return
    if any(volume in volumes for volumes in mounted(top).values()):
        raise WorldError(what, "another incarnation still has it")
    release(top, data, volume)  # of whoever was killed on the way, or a process that has not ended
    base.mkdir(parents=True, exist_ok=True, mode=0o700)
    process.run(["mount", "-t", "ext4", "-o", _OPTIONS, str(data), str(base)])
    try:
        inside = base / _INSIDE
        if not inside.exists():
            inside.mkdir()
            inside.chmod(0o777)  # whoever the image runs as may write; nobody but its instance ever sees it
        target.mkdir(parents=True, exist_ok=True, mode=0o700)
        _clone(inside, target, first_user, what)
    finally:
        _unmount(base)


def lend_disk(top: Path, data: Path, volume: str, key: str) -> None:
    """The file itself in the place of a mount: for an incarnation whose virtual machine has it as a disk. Raises
    `WorldError`, also where anybody else still has it.
    """
    what, target = f"lend volume {volume}", top / key / volume
    shared_mounts.share(top)
    holders = {other for other, volumes in mounted(top).items() if volume in volumes}
    if key in holders:
        return
    if holders:
        raise WorldError(what, "another incarnation still has it")
    release(top, data, volume)
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    target.touch(mode=0o600)
    _check(_libc.mount(bytes(data), bytes(target), b"none", _BIND, None), what)


def must_be_seen(top: Path, volume: str, key: str, podman: Path) -> None:
    """The process behind Podman's socket has to see a mount as we do; else it goes, with a `WorldError`."""
    target = top / key / volume
    if not _sees(podman, target):
        _unmount(target)
        why = "Podman's service does not see what is mounted here: start it anew, so that it follows the mounts of "
        raise WorldError(f"mount volume {volume}", f"{why}{top}")


def detach(top: Path, key: str) -> None:
    """Unmount all that an incarnation has. Raises `WorldError` where that is in use."""
    folder = top / key
    for volume in mounted(top).get(key, ()):
        _unmount(folder / volume)
    with contextlib.suppress(OSError):
        for left in folder.iterdir():
            left.rmdir() if left.is_dir() else left.unlink()
        folder.rmdir()


def release(top: Path, data: Path, volume: str) -> None:
    """Nothing of it mounted any more, by whoever was killed in between. Raises `WorldError` where something has it."""
    base = top / _BASES / volume
    if os.path.ismount(base):
        _unmount(base)
    if holders := devices_of(data):
        raise WorldError(f"let go of volume {volume}", f"something still has it ({', '.join(holders)})")


def devices_of(data: Path) -> list[str]:
    """The loop devices that stand for a file."""
    found = []
    for entry in Path("/sys/block").glob("loop*/loop/backing_file"):
        with contextlib.suppress(OSError):
            if entry.read_text().rstrip("\n") == str(data):
                found.append(entry.parts[3])
    return sorted(found)


@contextlib.contextmanager
def still(point: Path | None) -> Iterator[None]:
    """Nothing is written to the file system at `point` meanwhile, and all that was written is in its file. What is lent
    as a disk is its guest's to hold still.
    """
    if point is None or not point.is_dir():
        yield
        return
    handle = os.open(point, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.ioctl(handle, _FREEZE, 0)
        try:
            yield
        finally:
            fcntl.ioctl(handle, _THAW, 0)
    finally:
        os.close(handle)


def thaw(point: Path) -> None:
    """Let it go on, where whoever held it still was killed."""
    with contextlib.suppress(OSError):
        handle = os.open(point, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.ioctl(handle, _THAW, 0)  # an error where it was not held
        finally:
            os.close(handle)


def _clone(inside: Path, target: Path, first_user: int, what: str) -> None:
    tree = usermaps.clone(inside)
    try:
        if first_user:
            with usermaps.users(first_user) as handle:
                if not usermaps.lend(tree, handle):
                    raise WorldError(what, "this kernel cannot lend it to other users")
        _check(_libc.syscall(_MOVE_MOUNT, tree, b"", _AT_FDCWD, bytes(target), _EMPTY_PATH), what)
    finally:
        os.close(tree)


def _unmount(point: Path) -> None:
    _check(_libc.umount2(bytes(point), 0), f"unmount {point}")


def _sees(podman: Path, target: Path) -> bool:
    """Whether the process behind Podman's socket has the same mount there; who cannot be asked is believed."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
            link.connect(str(podman))
            told = link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
            pid = struct.unpack("3i", told)[0]
            return Path(f"/proc/{pid}/root{target}").stat().st_dev == target.stat().st_dev
    except FileNotFoundError:
        return False
    except OSError:
        return True


def _check(result: int, what: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise WorldError(what, os.strerror(number))
