"""How functions are compiled: one decorator for every kernel of the engine.

Compiled code is kept in files (`kernel_files`), so that only the first run pays, or the set-up (`routing.ready`); where
no folder can be used, each process compiles for itself. Nothing is compiled, nor the compiler loaded (half a second of
work), before the first kernel is called: small graphs never need one, and what a first question asks for is kept as
bare machine code beside (`native`). Kernels let other threads run (`nogil`).
"""

import sys
from collections.abc import Callable, Sequence
from hashlib import sha256
from inspect import getsource
from pathlib import Path
from threading import RLock
from typing import Any, TypeVar, cast

from anypop.routing.engine import native
from anypop.routing.engine.kernel_files import every_source, files_of, folder

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
        self.kept: native.Native | None = None

    def __call__(self, *arguments: Any) -> Any:
        if self.ready is None and self.soonest() and self.kept is not None and self.kept.takes(arguments):
            return self.kept(*arguments)
        return (self.ready or self.compiled())(*arguments)

    def soonest(self) -> bool:
        """Whether `kept` is worth a look: not where the compiler is loaded already."""
        if "numba" in sys.modules:
            return False
        if self.kept is None and (place := folder()) is not None:
            self.kept = native.read(native.file_of(place, self.function.__name__, every_source()))
        return True

    def digest(self) -> bytes:
        """Of all that becomes part of this kernel: its text, numbers, and the kernels it calls."""
        names = self.function.__globals__
        found = sha256(getsource(self.function).encode())
        for name in self.function.__code__.co_names:
            used = names.get(name)
            if isinstance(used, _Waiting):
                found.update(used.digest())
            elif isinstance(used, int):
                found.update(f"{name} {used} ".encode())
            elif callable(used):
                found.update(_DIGESTS.get(used, b""))
        return found.digest()

    def compiled(self) -> Callable[..., Any]:
        with _ONE_AT_A_TIME:
            if self.ready is None:
                names = self.function.__globals__
                digest = self.digest()
                for name in self.function.__code__.co_names:
                    used = names.get(name)
                    if isinstance(used, _Waiting):
                        names[name] = used.compiled()
                self.ready = _compiled(self.function, digest.hex())
                _DIGESTS[self.ready] = digest
            return self.ready


def keep(waiting: Callable[..., Any], arguments: Sequence[Any], place: Path) -> bool:
    """Keep the code of a kernel, which returns nothing, for processes that need no other. False: it cannot be kept, or
    would not do the same to these arguments.
    """
    assert isinstance(waiting, _Waiting)
    waiting.compiled()  # those it calls, as well
    file = native.file_of(place, waiting.function.__name__, every_source())
    made = _compiler()(waiting.function)
    arrays = list(native.arrays(arguments))
    before = [array.copy() for array in arrays]
    made(*arguments)
    after = [array.copy() for array in arrays]
    for array, old in zip(arrays, before, strict=True):
        array[...] = old
    if not native.write(file, made, arguments) or (kept := native.read(file)) is None:
        return False
    kept(*arguments)
    if any(array.tobytes() != new.tobytes() for array, new in zip(arrays, after, strict=True)):
        file.unlink()
        return False
    return True


def kernel(function: F) -> F:
    """`function` compiled. It takes arrays, named tuples of arrays and numbers."""
    return cast(F, _Waiting(function))


def _compiled(function: Callable[..., Any], source: str) -> Callable[..., Any]:
    made = _compiler()(function)
    place = folder()
    if place is not None:
        made._cache = files_of(function, place, source)  # what `cache=True` does, with a folder of our own
    return cast(Callable[..., Any], made)


def _compiler() -> Any:
    import numba  # noqa: PLC0415 - see the module

    # No kernel makes arrays, or keeps them: nothing need count who uses them, which would cost more than many a kernel
    # does.
    compiler: Any = numba.njit
    return compiler(nogil=True, _nrt=False)
