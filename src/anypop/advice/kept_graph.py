"""Graphs that were loaded before, as arrays in the user's own cache: mapped into memory, not read.

In: the contents of the files that a graph is made of. Out: the same `Internet` and warnings as from those files, or
None. A graph is known by a digest of the files' contents and of the code that reads them, so a changed one is another;
only large ones are kept, and only so many. Processes that ask of one graph share its memory.
"""

import hashlib
import json
import mmap
import os
from collections.abc import Iterable
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import airportsdata
import numpy as np

from anypop.routing import internet as reading
from anypop.routing.internet.sites import Adjacency, Internet
from anypop.routing.kept_files import own_folder, trusted

LARGE = 20_000  # sites; what is smaller is loaded from its text in a tenth of a second
MOST = 8  # graphs of 10 MB
_LINKS = ("customers", "providers", "peers", "siblings", "internal")
_ALIGNED = 64


def digest(contents: Iterable[bytes | None]) -> str:
    """One name for these files, in this order, as this version reads them."""
    found = hashlib.sha256(_code())
    for content in contents:
        found.update(b"-" if content is None else hashlib.sha256(content).digest())
    return found.hexdigest()[:32]


@cache
def _code() -> bytes:
    """Of the code that makes a graph of files; cities and their places come from the package."""
    found = hashlib.sha256(airportsdata.__version__.encode())
    for folder in reading.__path__:
        for file in sorted(Path(folder).glob("*.py")):
            found.update(file.read_bytes())
    return found.digest()


def keep(name: str, internet: Internet, warnings: tuple[str, ...]) -> None:
    """For the next time, where the graph is large and there is a folder."""
    folder = own_folder("graphs") if len(internet) >= LARGE else None
    if folder is None:
        return
    cities = sorted(set(internet.city))
    number = {city: index for index, city in enumerate(cities)}
    arrays = _arrays(internet) | {"city": np.array([number[city] for city in internet.city], dtype=np.int32)}
    table: dict[str, tuple[str, int, int]] = {}
    at = 0
    for key, array in arrays.items():
        table[key] = (array.dtype.str, at, len(array))
        at += -(-array.nbytes // _ALIGNED) * _ALIGNED
    head = json.dumps({"arrays": table, "cities": cities, "warnings": warnings, "size": at}).encode()
    head = len(head).to_bytes(8, "little") + head
    partial = folder / f"{name}.{os.getpid()}.partial"
    try:
        with partial.open("wb") as file:
            file.write(head.ljust(_start(head), b"\0"))
            for array in arrays.values():
                file.write(array.tobytes().ljust(-(-array.nbytes // _ALIGNED) * _ALIGNED, b"\0"))
            file.flush()
            os.fsync(file.fileno())  # a file of that name is whole
        partial.chmod(0o600)
        partial.replace(folder / name)
        for old in sorted(folder.iterdir(), key=lambda path: -path.stat().st_mtime)[MOST:]:
            old.unlink(missing_ok=True)
    except OSError:  # a full disk: the graph is loaded from its text again
        partial.unlink(missing_ok=True)


def kept(name: str) -> tuple[Internet, tuple[str, ...]] | None:
    """The graph of that name; None where it is not kept, or not by this user."""
    folder = own_folder("graphs")
    if folder is None or not trusted(folder / name):
        return None
    try:
        with (folder / name).open("rb") as file:
            # Copied when written to: arrays that cannot be written are another type to compiled code.
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    except (OSError, ValueError):
        return None
    length = int.from_bytes(data[:8], "little")
    try:
        head: dict[str, Any] = json.loads(data[8 : 8 + length])
    except ValueError:
        return None
    start = _start(data[: 8 + length])
    if start + head["size"] != len(data):
        return None
    arrays: dict[str, Any] = {
        key: np.frombuffer(data, dtype=kind, count=count, offset=start + at)
        for key, (kind, at, count) in head["arrays"].items()
    }
    cities = head["cities"]
    parts: dict[str, Any] = {
        name: Adjacency(**{part: arrays.pop(f"{name}.{part}") for part in ("start", "to", "km")}) for name in _LINKS
    }
    city = tuple(map(cities.__getitem__, arrays.pop("city").tolist()))
    return Internet(city=city, **parts, **arrays), tuple(head["warnings"])


def _start(head: bytes) -> int:
    return -(-len(head) // _ALIGNED) * _ALIGNED


def _arrays(internet: Internet) -> dict[str, Any]:
    plain = {field.name: getattr(internet, field.name) for field in fields(internet) if field.name != "city"}
    found: dict[str, Any] = {}
    for name, value in plain.items():
        if name in _LINKS:
            found |= {f"{name}.{part}": getattr(value, part) for part in ("start", "to", "km")}
        else:
            found[name] = value
    return found
