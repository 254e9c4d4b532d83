"""Frozen dataclasses to JSON and back, checked.

The one place where a noun crosses a process boundary or a disk: orders, reports and topologies. Pydantic reads the
dataclasses' own annotations, so there is no second description of any noun. A wrong document raises `Invalid` with the
path of every field.
"""

from collections.abc import Callable, Collection, Sequence
from difflib import get_close_matches
from functools import cache
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from anypop.model.errors import Invalid, Problem

T = TypeVar("T")

# An answer that names more problems helps nobody, and a body of 4 MiB can have millions.
MOST_PROBLEMS = 100
FEW = 10  # so many names are told in one breath; of more only the one that is meant is guessed


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


def in_words(errors: Sequence[ErrorDetails], fields: Collection[str] = ()) -> list[Problem]:
    """Pydantic's errors about what a person wrote, in words for people. `fields`: all names there are."""
    problems = [
        Problem(path=_of_fields(found["loc"]), message=_words(found, fields)) for found in errors[:MOST_PROBLEMS]
    ]
    if (more := len(errors) - len(problems)) > 0:
        problems.append(Problem(path="", message=f"and {more} more problems"))
    return problems


def _of_fields(loc: tuple[str | int, ...]) -> str:
    return dotted(tuple(part for part in loc if part != "[key]"))


def _words(found: ErrorDetails, fields: Collection[str]) -> str:
    match found["type"]:
        case "extra_forbidden":
            if 0 < len(fields) <= FEW:
                return f"there is no such field; there are {', '.join(fields)}"
            near = get_close_matches(str(found["loc"][-1]), fields, n=1)
            return "there is no such field" + (f"; is {near[0]} meant?" if near else "")
        case "missing":
            return "is required"
        case "value_error":
            return str(found["ctx"]["error"])
        case "int_parsing" | "int_type" | "int_from_float":
            return "must be a whole number"
        case "bool_parsing" | "bool_type":
            return "must be true or false"
        case "string_type":
            return "must be text"
        case "list_type":
            return "must be a list"
        case "too_short" | "string_too_short":
            return "must not be empty"
        case "string_too_long":
            return f"must have at most {found['ctx']['max_length']} characters"
        case "too_long":
            return f"must have at most {found['ctx']['max_length']} entries"
        case "float_type" | "float_parsing" | "finite_number":
            return "must be a number"
        case "greater_than_equal":
            return f"must be at least {found['ctx']['ge']:g}"
        case "less_than_equal":
            return f"must be at most {found['ctx']['le']:g}"
        case "dict_type" | "model_type" | "model_attributes_type":
            return "must be an object"
        case "literal_error" | "enum":
            return f"must be {found['ctx']['expected']}".replace("'", "")
        case _:
            return found["msg"]


def dotted(loc: tuple[str | int, ...]) -> str:
    """A field path as people write it."""
    path = ""
    for part in loc:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path
