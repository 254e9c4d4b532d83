"""Frozen dataclasses to JSON and back, checked.

The one place where a noun crosses a process boundary or a disk: orders, reports and topologies. Pydantic reads the
dataclasses' own annotations, so there is no second description of any noun. A wrong document raises `Invalid` with the
path of every field.
"""

from collections.abc import Callable, Collection, Sequence
from difflib import get_close_matches
from functools import cache
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, cast, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError
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


def in_words(
    errors: Sequence[ErrorDetails], fields: Collection[str] = (), model: type[BaseModel] | None = None
) -> list[Problem]:
    """Pydantic's errors about what a person wrote, in words for people. `fields`: all names there are; `model`: of the
    whole, so that a name is guessed among those of its own object first.
    """
    problems = [
        Problem(path=_of_fields(found["loc"]), message=_words(found, fields, model)) for found in errors[:MOST_PROBLEMS]
    ]
    if (more := len(errors) - len(problems)) > 0:
        problems.append(Problem(path="", message=f"and {more} more problems"))
    return problems


def _of_fields(loc: tuple[str | int, ...]) -> str:
    return dotted(tuple(part for part in loc if part != "[key]"))


def _names_at(model: type[BaseModel] | None, loc: tuple[int | str, ...]) -> list[str]:
    """The names that the object at this place may have; none where it is not known which kind of object that is."""
    kind: Any = model
    for part in loc:
        kind = next((inner for one in _kinds(kind) if (inner := _within(one, part)) is not None), None)
    return [name for one in _kinds(kind) for name in _fields_of(one)]


def _kinds(kind: Any) -> list[Any]:
    """What a type may be: without what is said about it, and without None."""
    origin = get_origin(kind)
    if origin is Annotated:
        return _kinds(get_args(kind)[0])
    if origin in (Union, UnionType):
        return [inner for one in get_args(kind) for inner in _kinds(one)]
    return [] if kind in (None, type(None)) else [kind]


def _fields_of(kind: Any) -> dict[str, Any]:
    if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
        return {}
    return {info.alias or name: info.annotation for name, info in kind.model_fields.items()}


def _within(kind: Any, part: int | str) -> Any:
    """The type of one member."""
    arguments = get_args(kind)
    if get_origin(kind) is list and isinstance(part, int):
        return arguments[0]
    if get_origin(kind) is dict:
        return arguments[1]
    return _fields_of(kind).get(str(part))


def _words(found: ErrorDetails, fields: Collection[str], model: type[BaseModel] | None) -> str:
    match found["type"]:
        case "extra_forbidden":
            if 0 < len(fields) <= FEW:
                return f"there is no such field; there are {', '.join(fields)}"
            name, own = str(found["loc"][-1]), _names_at(model, found["loc"][:-1])
            near = get_close_matches(name, own, n=1) or get_close_matches(name, fields, n=1)
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
