"""How functions are compiled: one decorator for every kernel of the engine.

Compiled code is cached beside the source or in the user's own cache folder, so that only the first run pays; where
neither can be written, each process compiles for itself. Nothing is compiled, nor the compiler loaded (a second of
work), before the first kernel is called: small graphs never need one. Kernels let other threads run (`nogil`).
"""

from collections.abc import Callable
from threading import RLock
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])

_ONE_AT_A_TIME = RLock()


class _Waiting:
    """A kernel that nobody has called yet. The kernels it calls are compiled before it, and take their places in its
    module.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.ready: Callable[..., Any] | None = None

    def __call__(self, *arguments: Any) -> Any:
        return (self.ready or self.compiled())(*arguments)

    def compiled(self) -> Callable[..., Any]:
        with _ONE_AT_A_TIME:
            if self.ready is None:
                names = self.function.__globals__
                for name in self.function.__code__.co_names:
                    if isinstance(names.get(name), _Waiting):
                        names[name] = names[name].compiled()
                self.ready = _compiled(self.function)
            return self.ready


def kernel(function: F) -> F:
    """`function` compiled. It takes arrays, named tuples of arrays and numbers."""
    return cast(F, _Waiting(function))


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    import numba  # noqa: PLC0415 - see the module

    try:
        return cast(Callable[..., Any], numba.njit(cache=True, nogil=True)(function))
    except RuntimeError:  # numba: "no locator available", a read-only installation without a home folder
        return cast(Callable[..., Any], numba.njit(nogil=True)(function))
