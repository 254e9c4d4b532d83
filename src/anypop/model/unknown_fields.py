"""Fields in a document that no noun has: each is told with its path and the nearest name that there is.

In: a type of the model, plain data that is about to become one. Out: problems. A misspelt field that is passed over in
silence is an order that is not carried out. Says nothing of values: that is the codec's. Pure.
"""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from functools import cache
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from anypop.model.codec import FEW, dotted
from anypop.model.errors import Problem

_NEAR = 0.5  # of the letters: `password` is near enough to `password_file`


def unknown_fields(cls: type, data: object) -> list[Problem]:
    """One problem for each field of `data`, at any depth, that `cls` and what it is made of do not have."""
    return list(_walk(cls, data, ()))


def _walk(kind: Any, data: object, path: tuple[str | int, ...]) -> Iterator[Problem]:
    if get_origin(kind) in (Union, UnionType):
        for part in get_args(kind):
            if is_dataclass(part) or get_origin(part) is tuple:
                yield from _walk(part, data, path)
    elif get_origin(kind) is tuple and isinstance(data, list | tuple):
        for index, one in enumerate(data):
            yield from _walk(get_args(kind)[0], one, (*path, index))
    elif isinstance(kind, type) and is_dataclass(kind) and isinstance(data, dict):
        known = _fields_of(kind)
        for name, value in data.items():
            if name in known:
                yield from _walk(known[name], value, (*path, name))
            else:
                yield Problem(path=dotted((*path, str(name))), message=_words(str(name), list(known)))


@cache
def _fields_of(cls: type) -> dict[str, Any]:
    hints = get_type_hints(cls)
    return {field.name: hints[field.name] for field in fields(cls)}


def _words(name: str, known: list[str]) -> str:
    near = get_close_matches(name, known, n=1, cutoff=_NEAR)
    if near:
        return f"there is no such field; is {near[0]} meant?"
    return "there is no such field" + (f"; there are {', '.join(known)}" if len(known) <= FEW else "")
