"""Network namespaces by name, as `ip netns` knows them (/run/netns/NAME).

`inside(name)` moves the calling *thread* into a namespace for a block: sockets and TUN devices made there stay there
for good. Use it in a worker thread or for a short block only. Mount namespaces are never touched, so names made here
are seen by everybody.
"""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from anypop.model.errors import WorldError

RUN = Path("/run/netns")
CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def path_of(name: str) -> Path:
    return RUN / name


def exists(name: str) -> bool:
    return path_of(name).exists()


def names(prefix: str = "") -> list[str]:
    """Names of the namespaces that begin with `prefix`, sorted."""
    return sorted(p.name for p in RUN.glob(f"{prefix}*")) if RUN.exists() else []


def enter(name: str) -> None:
    """Move the calling thread for good."""
    enter_path(path_of(name))


def enter_path(path: Path) -> None:
    """The same by any path of a namespace (/proc/PID/ns/net)."""
    with path.open() as handle:
        _setns(handle.fileno(), path.name)


@contextmanager
def inside(name: str | None) -> Iterator[None]:
    """Move the calling thread into `name` and back. None: stay where we are."""
    with inside_path(None if name is None else path_of(name)):
        yield


@contextmanager
def inside_path(path: Path | None) -> Iterator[None]:
    """The same by any path of a namespace."""
    if path is None:
        yield
        return
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        enter_path(path)
        try:
            yield
        finally:
            _setns(home, "home")
    finally:
        os.close(home)


@contextmanager
def fresh() -> Iterator[int]:
    """A network namespace without a name, for the block: a handle of it. What was made in it may live on; the
    namespace goes with the last of it.
    """
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc.unshare(CLONE_NEWNET) != 0:
            raise WorldError("make a network namespace", os.strerror(ctypes.get_errno()))
        try:
            made = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        finally:
            _setns(home, "home")
    finally:
        os.close(home)
    try:
        yield made
    finally:
        os.close(made)


def _setns(handle: int, name: str) -> None:
    if _libc.setns(handle, CLONE_NEWNET) != 0:
        raise WorldError(f"enter network namespace {name}", os.strerror(ctypes.get_errno()))


def command(name: str, *argv: str) -> list[str]:
    """`argv` to be run in the namespace, in our own mount namespace (unlike `ip netns exec`)."""
    return ["nsenter", f"--net={path_of(name)}", "--", *argv]
