"""Memory at the start of a process: how many pools the C library keeps it in, and when cycles are looked for.

In: nothing. Out: this process, told so before it starts threads. Control and agents call it first, so nothing heavy may
be imported here.
"""

import contextlib
import ctypes
import gc
from collections.abc import Iterator

# Of glibc: M_ARENA_MAX. With a pool for each thread that once did something, a process keeps for ever what all of its
# threads needed at some time.
_M_ARENA_MAX, _POOLS = -8, 2


def share_pools() -> None:
    """All threads of this process take memory from two pools. Another C library than glibc is left as it is."""
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _POOLS)


@contextlib.contextmanager
def loading() -> Iterator[None]:
    """While modules are loaded nobody looks for cycles: nearly all that they make lives to the end of the process, and
    to walk over it again and again is a tenth of the start.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
