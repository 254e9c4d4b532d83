"""The body of a request: read, limited in size and depth, and clean of text that nothing can hold.

In: a request. Out: its bytes, or a JSON object. Raises `Invalid` for whatever is none.
"""

import json
from math import isinf
from typing import Annotated, Any

from fastapi import Depends, Request

from anypop.model.errors import Invalid

# A workload's document is a few kilobytes and user data at most 64; a report of a thousand instances is below one megabyte.
BODY_LIMIT = 4 << 20
# The deepest field that a request has lies at 12; Python itself gives up at some hundreds.
DEEPEST = 64


async def raw_body(request: Request) -> bytes:
    """The whole body. Raises `Invalid` when it is larger than any honest one."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > BODY_LIMIT:
            raise Invalid.one("", f"the body is larger than {BODY_LIMIT} bytes")
        parts.append(part)
    return b"".join(parts)


async def json_object(request: Request) -> dict[str, Any]:
    """The body as a JSON object. Raises `Invalid`."""
    return object_of(await raw_body(request))


def object_of(raw: bytes) -> dict[str, Any]:
    """A JSON object out of a body. Raises `Invalid`."""
    try:
        body = json.loads(raw, parse_constant=_no_number, parse_float=_finite)
        if b"\\u" in raw:
            _check_texts(body)
    except RecursionError as error:
        raise Invalid.one("", f"the body is nested more than {DEEPEST} levels deep") from error
    except ValueError as error:
        raise Invalid.one("", f"the body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise Invalid.one("", "the body must be a JSON object")
    if _deeper_than(body, DEEPEST):
        raise Invalid.one("", f"the body is nested more than {DEEPEST} levels deep")
    return body


Body = Annotated[dict[str, Any], Depends(json_object)]


def member(body: dict[str, Any], name: str) -> dict[str, Any]:
    """The object that a request wraps (`{"workload": {...}}`). Raises `Invalid`."""
    found = body.get(name)
    if not isinstance(found, dict):
        raise Invalid.one(name, "is required" if found is None else "must be an object")
    return found


def text(body: dict[str, Any], name: str) -> str:
    """A text member; empty where there is none. Raises `Invalid`."""
    found = body.get(name)
    if found is None:
        return ""
    if not isinstance(found, str):
        raise Invalid.one(name, "must be a text")
    return found


def _deeper_than(body: dict[str, Any], most: int) -> bool:
    """Layer by layer, so that depth costs no stack."""
    layer: list[dict[str, Any] | list[Any]] = [body]
    for _ in range(most + 1):
        layer = [m for part in layer for m in (part.values() if isinstance(part, dict) else part) if isinstance(m, dict | list)]
        if not layer:
            return False
    return True


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is not a JSON number")


def _finite(word: str) -> float:
    """1e999 is JSON, and no number that anything can use."""
    value = float(word)
    if isinf(value):
        raise ValueError(f"{word} is too large")
    return value


def _check_texts(body: Any) -> None:
    """Half a surrogate pair cannot be written as UTF-8, and a NUL cannot be stored or put into an environment. Raises `ValueError`."""
    text = json.dumps(body, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("a text holds half a surrogate pair") from error
    if "\\u0000" in text.replace("\\\\", ""):
        raise ValueError("a text holds a NUL character")
