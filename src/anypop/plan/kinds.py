"""The kinds of value in the Workload API's JSON, each with what is wrong with a wrong one, in words for the user.

In: plain JSON values. Out: Pydantic types for `plan.schema`, each with its line in the description of the API. Numbers
may come as text and text as numbers, as protobuf's JSON allows.
"""

import re
from base64 import b64decode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainSerializer,
    ValidationInfo,
)
from pydantic_core import CoreSchema, core_schema

from anypop.model.image_names import reference_of
from anypop.model.limits import LONGEST_KEY, LONGEST_NAME, LONGEST_TEXT, MOST_ENTRIES
from anypop.model.names import is_slug
from anypop.plan.jsonpath import steps_of
from anypop.plan.quantity import cpu_millis, memory_bytes

MOST_REPLICAS = 1000  # in one city: far beyond what a PoP holds, and small enough to count out loud


@dataclass(frozen=True, slots=True, eq=False)  # by identity, since a type that is marked must be hashable
class Checked:
    """Marks a type whose values `check` lets pass, or refuses with a ValueError. `documented`: the same in JSON
    Schema.
    """

    check: Callable[[Any], Any]
    documented: Mapping[str, Any] = field(default_factory=dict)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(schema), **self.documented}


LONGEST_NUMBER = 20  # digits and sign of 64 bits, where a number comes as text
LONGEST_AMOUNT = 32  # 500m, 2Gi, 1.5e3
LONGEST_CODE = 63  # a DNS label: slugs, names of targets, codes of cities
LONGEST_PATH = 4096  # of a file (PATH_MAX), of a request, of a header's value
LONGEST_USER_DATA = 65_536  # bytes: four times what the largest providers take, and half of the longest text
_SSH_KIND = re.compile("(ssh|ecdsa-sha2|sk-ssh|sk-ecdsa-sha2)-[a-z0-9@.-]{1,60}")
_BASE64 = re.compile("[A-Za-z0-9+/]{16,}={0,2}")
LONGEST_PASSWORD = 16_384  # a registry's "password" may be a signed token or a key file


def _as_text(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else value


def _no_bool(value: Any) -> Any:
    if isinstance(value, bool) or (isinstance(value, str) and len(value) > LONGEST_NUMBER):
        raise ValueError("must be a whole number")
    return value


def between(least: int, most: int, what: str) -> Checked:
    """A number of these, both ends included."""

    def checked(value: int) -> int:
        if not least <= value <= most:
            raise ValueError(f"is {value}; {what} must be {least} to {most}")
        return value

    return Checked(checked, {"minimum": least, "maximum": most})


def _not_below_zero(value: int) -> int:
    if value < 0:
        raise ValueError(f"is {value} and must not be below 0")
    return value


def one_of(*words: str, fold: bool = False, enum: bool = False, required: bool = False) -> Checked:
    """Text that is one of `words`; with `fold` in any case, and kept as it was written. `enum`: a word of the API's
    own, taken in any case and known as it is written there. An empty one counts as absent (protobuf), or is refused:
    `required`.
    """
    known = {word.lower(): word for word in words} if enum else {}

    def checked(value: str) -> str:
        if required and not value:
            raise ValueError(f"is required; it may be {' or '.join(words)}")
        value = known.get(value.lower(), value)
        if value and (value.lower() if fold else value) not in words:
            raise ValueError(f"is {_cut(value)!r}; it may be {' or '.join(words)}")
        return value

    if fold:
        longest = max(len(word) for word in words)
        return Checked(checked, {"description": f"{' or '.join(words)}, in any case", "maxLength": longest})
    return Checked(checked, {"enum": list(words) if required else [*words, ""]})


def refused(why: str) -> Checked:
    """Marks what we could only pretend to do: anything but nothing is answered with `why`."""

    def checked(value: Any) -> Any:
        if value not in (None, "", [], {}):
            raise ValueError(why)
        return value

    return Checked(checked, {"description": f"refused: {why}"})


def _cut(value: str) -> str:
    """As much of a wrong value as an answer repeats."""
    return value if len(value) <= 80 else f"{value[:80]}..."


def _slug(value: str) -> str:
    if value and not is_slug(value):
        raise ValueError(f"{_cut(value)!r} is no DNS label: 1 to 63 of a-z, 0-9 and inner hyphens")
    return value


def _image(value: str) -> str:
    if not value:
        raise ValueError("is required")
    if re.search(r"\s", value) or value.startswith("-") or len(value) > 512:
        raise ValueError(f"{_cut(value)!r} is no image reference; it looks like registry.example/team/web:1.0")
    if re.fullmatch("(sha256:)?[0-9a-f]{1,64}", value):
        # a host would look among the images that others have pulled
        raise ValueError(f"{value!r} could be the id of an image; write it with its registry, as docker.io/library/web")
    return value


def _machine_image(value: str) -> str:
    if not value:
        raise ValueError("is required")
    if reference_of(value) is None:
        raise ValueError(
            f"{_cut(value)!r} is no image of virtual machines; it looks like my-stack/debian or my-stack/debian:12"
        )
    return value


def _user_data(value: str) -> str:
    try:
        told = b64decode(value, validate=True)
    except ValueError:
        raise ValueError("is no base64 (as `base64 -w0 FILE` writes it)") from None
    if len(told) > LONGEST_USER_DATA:
        raise ValueError(f"says {len(told)} bytes; {LONGEST_USER_DATA} are allowed")
    return value


def _ssh_key(value: str) -> str:
    kind, _, rest = value.partition(" ")
    if not value.isprintable() or not _SSH_KIND.fullmatch(kind) or not _BASE64.fullmatch(rest.partition(" ")[0]):
        raise ValueError(f"{_cut(value)!r} is no public key of SSH, such as a line of ~/.ssh/id_ed25519.pub")
    return value


def _city(value: str, info: ValidationInfo) -> str:
    cities = (info.context or {}).get("cities")
    if cities is not None and value not in cities:
        there = ", ".join(sorted(cities)) or "none"
        raise ValueError(f"there is no PoP in {_cut(value)!r}; there are {there}")
    return value


def _env_name(value: str) -> str:
    if not value or "=" in value or "\0" in value:
        raise ValueError("a variable's name must not be empty and holds no '='")
    return value


def _field_path(value: str) -> str:
    steps_of(value)
    return value


def amount_of(read: Callable[[str], int], says: str) -> Checked:
    """An amount that `read` understands, kept as it was written."""

    def checked(value: str) -> str:
        read(value)
        return value

    return Checked(checked, {"description": says})


_LABEL = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"  # as `model.names.SLUG`, for the description

# What is text there may come as a number or a boolean, and counts as its spelling.
_Up = Annotated[str, Field(max_length=LONGEST_TEXT)]
_Short = Annotated[str, Field(max_length=LONGEST_NAME)]
_Amount = Annotated[str, Field(max_length=LONGEST_AMOUNT)]
_Number = Annotated[str, Field(max_length=LONGEST_NUMBER)]
_Line = Annotated[str, Field(max_length=LONGEST_PATH)]
_Spelling = int | float | bool

# what a program is given (`limits`): environment, arguments, annotations
Text = Annotated[_Up, BeforeValidator(_as_text, json_schema_input_type=_Up | _Spelling)]
# what is looked up or told: labels, options of resolvers
ShortText = Annotated[_Short, BeforeValidator(_as_text, json_schema_input_type=_Short | _Spelling)]
# a file, a request's path, the value of a header
LineText = Annotated[_Line, BeforeValidator(_as_text, json_schema_input_type=_Line | _Spelling)]
_AmountText = Annotated[_Amount, BeforeValidator(_as_text, json_schema_input_type=_Amount | _Spelling)]
Word = Annotated[str, Field(max_length=LONGEST_NAME)]
Password = Annotated[str, Field(max_length=LONGEST_PASSWORD)]
Key = Annotated[str, Field(max_length=LONGEST_KEY)]  # of a label or an annotation
Few = Field(max_length=MOST_ENTRIES)  # of a list or an object
Int = Annotated[int, BeforeValidator(_no_bool, json_schema_input_type=int | _Number)]
Count = Annotated[Int, Checked(_not_below_zero, {"minimum": 0})]  # 0 means absent, as in protobuf
Int64 = Annotated[Count, PlainSerializer(str, return_type=_Number)]  # protobuf writes 64-bit numbers as text
PortNumber = Annotated[Int, between(1, 65535, "a port")]
Replicas = Annotated[Int, between(0, MOST_REPLICAS, "replicas in each city")]
Title = Word  # what a person calls it, in any script
Slug = Annotated[str, Checked(_slug, {"pattern": f"^$|{_LABEL}", "maxLength": LONGEST_CODE})]
Name = Annotated[str, Field(min_length=1), Checked(_slug, {"pattern": _LABEL, "maxLength": LONGEST_CODE})]
# a text that must say something: an empty one would be absent in the answer
Given = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME)]
EnvName = Annotated[Word, Checked(_env_name, {"minLength": 1, "pattern": "^[^=]*$"})]
FieldPath = Annotated[Word, Checked(_field_path, {"description": "JSONPath, as .location.cityCode"})]
Image = Annotated[str, Checked(_image, {"minLength": 1, "maxLength": 512})]
MachineImage = Annotated[
    str,
    Checked(_machine_image, {"minLength": 1, "maxLength": 191}),
    Field(description="<stack>/<family>, or <stack>/<family>:<tag>"),
]
UserData = Annotated[_Up, Checked(_user_data, {"contentEncoding": "base64"})]
SshKey = Annotated[_Line, Checked(_ssh_key)]
City = Annotated[
    str, Field(max_length=LONGEST_CODE), AfterValidator(_city), Field(description="the code of a city that has a PoP")
]
Cpu = Annotated[_AmountText, amount_of(cpu_millis, "cores: 2, 0.5 or 500m")]
Memory = Annotated[_AmountText, amount_of(memory_bytes, "bytes: 512Mi, 2Gi or 1G")]
GraceSeconds = Annotated[Int, between(0, 300, "a grace period"), PlainSerializer(str, return_type=_Number)]
