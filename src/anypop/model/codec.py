"""Frozen dataclasses to JSON and back, checked.

The one place where a noun crosses a process boundary or a disk: orders, reports and topologies. Pydantic reads the dataclasses' own
annotations, so there is no second description of any noun. A wrong document raises `Invalid` with the path of every field.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter, ValidationError

from anypop.model.errors import Invalid, Problem

T = TypeVar("T")


_adapter: Callable[[Any], TypeAdapter[Any]] = cache(TypeAdapter)


def to_json(value: object) -> bytes:
    """Compact JSON of a dataclass of the model."""
    return _adapter(type(value)).dump_json(value)


def to_data(value: object) -> Any:
    """Plain dicts, lists, strings and numbers of a dataclass of the model."""
    return _adapter(type(value)).dump_python(value, mode="json")


def from_json(cls: type[T], text: bytes | str) -> T:
    """A `cls` from JSON text. Raises `Invalid` with all its problems."""
    try:
        return cast(T, _adapter(cls).validate_json(text))
    except ValidationError as error:
        raise Invalid(problems_of(error)) from error


def from_data(cls: type[T], data: object) -> T:
    """A `cls` from plain data (parsed YAML or JSON). Raises `Invalid` with all its problems."""
    try:
        return cast(T, _adapter(cls).validate_python(data))
    except ValidationError as error:
        raise Invalid(problems_of(error)) from error


def problems_of(error: ValidationError) -> list[Problem]:
    """Pydantic's errors as ours: `('links', 3, 'a')` becomes `links[3].a`."""
    return [Problem(path=dotted(e["loc"]), message=e["msg"]) for e in error.errors()]


def dotted(loc: tuple[str | int, ...]) -> str:
    """A field path as people write it."""
    path = ""
    for part in loc:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path
