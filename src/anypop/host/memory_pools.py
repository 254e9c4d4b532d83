"""How many pools the C library keeps memory in.

In: nothing. Out: this process, told so before it starts threads. Control and agents call it first, so nothing heavy may
be imported here.
"""

import contextlib
import ctypes

# Of glibc: M_ARENA_MAX. With a pool for each thread that once did something, a process keeps for ever what all of its
# threads needed at some time.
_M_ARENA_MAX, _POOLS = -8, 2


def share_pools() -> None:
    """All threads of this process take memory from two pools. Another C library than glibc is left as it is."""
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _POOLS)
