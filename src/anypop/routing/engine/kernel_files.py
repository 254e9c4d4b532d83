"""Where the machine code of kernels is kept: beside their source, or in the user's own cache.

In: a function. Out: the compiler's files for it. They are run as they are, so a folder counts only where nobody but
root, the user and the owner of the source can write. One that cannot be written is read (`WHOLE` says that all is
there); a file that is missing or broken costs the time of compiling, and nothing else.
"""

import hashlib
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from anypop.routing.kept_files import own_folder, trusted

_SOURCE = Path(__file__).resolve().parent
WHOLE = "whole"


@cache
def every_source() -> str:
    """A digest of this folder's source."""
    digest = hashlib.sha256()
    for file in sorted(_SOURCE.glob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def beside() -> Path:
    """The folder beside the source, which may not exist."""
    return _SOURCE / "__pycache__" / "kernels"


def is_whole(place: Path) -> bool:
    """Whether all kernels of this very source are there."""
    try:
        return (place / WHOLE).read_text() == every_source()
    except OSError:
        return False


def set_whole(place: Path) -> None:
    """Whoever reads may rely on this folder; and he may read it."""
    (place / WHOLE).write_text(every_source())
    for file in place.iterdir():
        file.chmod(0o644)
    place.chmod(0o755)


@cache
def folder() -> Path | None:
    """Where this process reads and, if it can, writes. None: each process compiles for itself."""
    shared = beside()
    try:
        shared.mkdir(mode=0o755, parents=True, exist_ok=True)
    except OSError:
        return own_folder(shared.name)
    known = trusted(shared, frozenset({_SOURCE.stat().st_uid}))
    return shared if known and (os.access(shared, os.W_OK) or is_whole(shared)) else own_folder(shared.name)


def files_of(function: Callable[..., Any], place: Path, source: str) -> Any:
    """What numba asks for the code of `function`, and gives it to. `source`: stands for all that was compiled; what was
    made of another is made anew.
    """
    from numba.core.caching import CompileResultCacheImpl, FunctionCache  # noqa: PLC0415 - see `compiled`

    class Place:
        """Of `function`, in numba's words."""

        _lineno = function.__code__.co_firstlineno
        _py_file = function.__code__.co_filename

        @classmethod
        def from_function(cls, py_func: object, py_file: str) -> "Place":
            return cls()

        def ensure_cache_path(self) -> None:
            place.mkdir(mode=0o755, parents=True, exist_ok=True)

        def get_cache_path(self) -> str:
            return str(place)

        def get_source_stamp(self) -> str:
            return source

        def get_disambiguator(self) -> str:
            return "kernel"

    class Implementation(CompileResultCacheImpl):
        _locator_classes = [Place]  # type: ignore[list-item]  # noqa: RUF012 - as numba has it

    class Files(FunctionCache):
        _impl_class = Implementation

        def load_overload(self, sig: object, target_context: object) -> Any:
            try:
                return super().load_overload(sig, target_context)  # type: ignore[no-untyped-call]
            except Exception:  # whatever a broken file makes of numba: it is compiled again
                return None

        def save_overload(self, sig: object, data: object) -> None:
            try:
                super().save_overload(sig, data)  # type: ignore[no-untyped-call]
            except OSError:  # read-only, or full
                return

    return Files(function)  # type: ignore[no-untyped-call]
