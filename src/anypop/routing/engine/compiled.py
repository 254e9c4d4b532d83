"""How functions are compiled: one decorator for every kernel of the engine.

Compiled code is cached beside the source or in the user's own cache folder, so that only the first run pays; where
neither can be written, each process compiles for itself. Kernels let other threads run (`nogil`): a search over many
changes uses all cores with plain threads.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])


def kernel(function: F) -> F:
    """`function` compiled. It takes arrays, named tuples of arrays and numbers."""
    try:
        return cast(F, numba.njit(cache=True, nogil=True)(function))
    except RuntimeError:  # numba: "no locator available", a read-only installation without a home folder
        return cast(F, numba.njit(nogil=True)(function))
