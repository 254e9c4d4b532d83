"""A folder below which mounts are seen by other mount namespaces too, also those that are made later.

In: a folder. Out: a mount of it on itself that is shared; whoever began a mount namespace as its slave after that
follows what is mounted below. It mounts nothing else.
"""

import ctypes
import os
from pathlib import Path

from anypop.model.errors import WorldError

_BIND, _SHARED, _PRIVATE = 0x1000, 1 << 20, 1 << 18
_libc = ctypes.CDLL(None, use_errno=True)


def volumes_top(state: Path) -> Path:
    """Where the agent with this state folder mounts volumes."""
    return state / "volumes" / "mounts"


def share(top: Path) -> None:
    """Make `top` a mount that others follow; harmless where it is one. Raises `WorldError`."""
    top.mkdir(parents=True, exist_ok=True, mode=0o700)
    if _mount(b"", top, _SHARED):
        return
    if not (_mount(bytes(top), top, _BIND) and _mount(b"", top, _PRIVATE) and _mount(b"", top, _SHARED)):
        raise WorldError(f"share {top}", os.strerror(ctypes.get_errno()))


def _mount(source: bytes, top: Path, flags: int) -> bool:
    return bool(_libc.mount(source, bytes(top), b"none", flags, None) == 0)
