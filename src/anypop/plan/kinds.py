"""The kinds of value in the Workload API's JSON, each with what is wrong with a wrong one, in words for the user.

In: plain JSON values. Out: Pydantic types for `plan.schema`. Numbers may come as text and text as numbers, as protobuf's JSON allows.
"""

import re
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, ValidationInfo

from anypop.model.names import is_slug
from anypop.plan.jsonpath import steps_of
from anypop.plan.quantity import cpu_millis, memory_bytes

MOST_REPLICAS = 1000  # in one city: far beyond what a PoP holds, and small enough to count out loud


def _as_text(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else value


def _no_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("must be a whole number")
    return value


def between(least: int, most: int, what: str) -> Callable[[int], int]:
    def checked(value: int) -> int:
        if not least <= value <= most:
            raise ValueError(f"is {value}; {what} must be {least} to {most}")
        return value

    return checked


def _not_below_zero(value: int) -> int:
    if value < 0:
        raise ValueError(f"is {value} and must not be below 0")
    return value


def one_of(*words: str, fold: bool = False, required: bool = False) -> Callable[[str], str]:
    """Text that is one of `words`; with `fold` in any case. An empty one counts as absent (protobuf), or is refused: `required`."""

    def checked(value: str) -> str:
        if required and not value:
            raise ValueError(f"is required; it may be {' or '.join(words)}")
        if value and (value.lower() if fold else value) not in words:
            raise ValueError(f"is {value!r}; it may be {' or '.join(words)}")
        return value

    return checked


def refused(why: str) -> AfterValidator:
    """Marks what we could only pretend to do: anything but nothing is answered with `why`."""

    def checked(value: Any) -> Any:
        if value not in (None, "", [], {}):
            raise ValueError(why)
        return value

    return AfterValidator(checked)


def _slug(value: str) -> str:
    if value and not is_slug(value):
        raise ValueError(f"{value!r} is no DNS label: 1 to 63 of a-z, 0-9 and inner hyphens")
    return value


def _image(value: str) -> str:
    if not value:
        raise ValueError("is required")
    if re.search(r"\s", value) or value.startswith("-") or len(value) > 512:
        raise ValueError(f"{value[:80]!r} is no image reference; it looks like registry.example/team/web:1.0")
    return value


def _city(value: str, info: ValidationInfo) -> str:
    cities = (info.context or {}).get("cities")
    if cities is not None and value not in cities:
        there = ", ".join(sorted(cities)) or "none"
        raise ValueError(f"there is no PoP in {value!r}; there are {there}")
    return value


def _env_name(value: str) -> str:
    if not value or "=" in value or "\0" in value:
        raise ValueError("a variable's name must not be empty and holds no '='")
    return value


def _field_path(value: str) -> str:
    steps_of(value)
    return value


def amount_of(read: Callable[[str], int]) -> AfterValidator:
    """An amount that `read` understands, kept as it was written."""

    def checked(value: str) -> str:
        read(value)
        return value

    return AfterValidator(checked)


Text = Annotated[str, BeforeValidator(_as_text)]
Int = Annotated[int, BeforeValidator(_no_bool)]
Count = Annotated[Int, AfterValidator(_not_below_zero)]  # 0 means absent, as in protobuf
Int64 = Annotated[Count, PlainSerializer(str, return_type=str)]  # protobuf writes 64-bit numbers as text
PortNumber = Annotated[Int, AfterValidator(between(1, 65535, "a port"))]
Replicas = Annotated[Int, AfterValidator(between(0, MOST_REPLICAS, "replicas in each city"))]
Slug = Annotated[str, AfterValidator(_slug)]
Name = Annotated[str, Field(min_length=1), AfterValidator(_slug)]
Given = Annotated[str, Field(min_length=1)]  # a text that must say something: an empty one would be absent in the answer
EnvName = Annotated[str, AfterValidator(_env_name)]
FieldPath = Annotated[str, AfterValidator(_field_path)]
Image = Annotated[str, AfterValidator(_image)]
City = Annotated[str, AfterValidator(_city)]
Cpu = Annotated[Text, amount_of(cpu_millis)]
Memory = Annotated[Text, amount_of(memory_bytes)]
GraceSeconds = Annotated[Int, AfterValidator(between(0, 300, "a grace period")), PlainSerializer(str, return_type=str)]
