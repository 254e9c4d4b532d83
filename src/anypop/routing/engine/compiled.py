"""How functions are compiled: one decorator for every kernel of the engine.

Compiled code is kept in files (`kernel_files`), so that only the first run pays, or the set-up (`routing.ready`); where
no folder can be used, each process compiles for itself. Nothing is compiled, nor the compiler loaded (half a second of
work), before the first kernel is called: small graphs never need one. Kernels let other threads run (`nogil`).
"""

from collections.abc import Callable
from hashlib import sha256
from inspect import getsource
from threading import RLock
from typing import Any, TypeVar, cast

from anypop.routing.engine.kernel_files import files_of, folder

F = TypeVar("F", bound=Callable[..., Any])

_ONE_AT_A_TIME = RLock()
_DIGESTS: dict[Any, bytes] = {}  # of compiled kernels


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
                # all that becomes part of this kernel: its text, numbers, and the kernels it calls
                digest = sha256(getsource(self.function).encode())
                for name in self.function.__code__.co_names:
                    used = names.get(name)
                    if isinstance(used, _Waiting):
                        used = names[name] = used.compiled()
                    if isinstance(used, int):
                        digest.update(f"{name} {used} ".encode())
                    digest.update(_DIGESTS.get(used, b"") if callable(used) else b"")
                self.ready = _compiled(self.function, digest.hexdigest())
                _DIGESTS[self.ready] = digest.digest()
            return self.ready


def kernel(function: F) -> F:
    """`function` compiled. It takes arrays, named tuples of arrays and numbers."""
    return cast(F, _Waiting(function))


def _compiled(function: Callable[..., Any], source: str) -> Callable[..., Any]:
    import numba  # noqa: PLC0415 - see the module

    # No kernel makes arrays, or keeps them: nothing need count who uses them, which would cost more than many a kernel
    # does.
    compiler: Any = numba.njit
    made = compiler(nogil=True, _nrt=False)(function)
    place = folder()
    if place is not None:
        made._cache = files_of(function, place, source)  # what `cache=True` does, with a folder of our own
    return cast(Callable[..., Any], made)
