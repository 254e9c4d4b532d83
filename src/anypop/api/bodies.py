"""The body of a request: read, limited in size, depth and texts, and put into the model that documents it.

In: a request. Out: a model, a plain object, or bytes. Raises `Invalid` with every problem. Each kind of body is a
dependency of its endpoint, so that what an endpoint reads and what `openapi` says of it are one thing.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from math import isinf
from typing import Any, Generic, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError

from anypop.api.door import source_of
from anypop.control.refusals import Busy
from anypop.model import codec, limits
from anypop.model.errors import Invalid

# A workload's document is a few kilobytes, user data at most 64; a report of a thousand instances is below a megabyte.
BODY_LIMIT = 4 << 20
# Of one account, one agent, or of one address where nobody has said who it is.
CALLER_LIMIT = 4 * BODY_LIMIT
_on_their_way: Counter[str] = Counter()
# More than this takes more than a few milliseconds to read: not on the event loop.
LARGE = 1 << 16
JSON = "application/json"
BYTES = "application/octet-stream"

M = TypeVar("M", bound=BaseModel)


class RequestBody:
    """A dependency that reads the body. `content`: what it may be, as a type for each media type."""

    def __init__(self, content: Mapping[str, Any]) -> None:
        self.content = content


class JsonBody(RequestBody, Generic[M]):
    """The body as a model. A null member counts as absent, as in protobuf's JSON."""

    def __init__(self, model: type[M]) -> None:
        super().__init__({JSON: model})
        self._model = model

    async def __call__(self, request: Request) -> M:
        return model_of(self._model, await _json_object(request))


class JsonObject(RequestBody):
    """The body as a plain object, for endpoints that must see it as it was sent; `documented` says what it may hold.

    With `member`, the object that the body wraps (`{"workload": {...}}`); paths of problems begin inside of it.
    """

    def __init__(self, documented: Any, *, member: str = "") -> None:
        super().__init__({JSON: documented})
        self._member = member

    async def __call__(self, request: Request) -> dict[str, Any]:
        if not self._member:
            return await _json_object(request)
        try:
            body = await _json_object(request)
        except Invalid as error:
            raise Invalid(replace(p, path=p.path.removeprefix(f"{self._member}.")) for p in error.problems) from error
        found = body.get(self._member)
        if not isinstance(found, dict):
            raise Invalid.one(self._member, "is required" if found is None else "must be an object")
        return found


class RawBody(RequestBody):
    """The body as bytes, for endpoints that read it with a reader of their own."""

    async def __call__(self, request: Request) -> bytes:
        return await raw_body(request)


def model_of(model: type[M], body: Any, *, under: str = "") -> M:
    """What was sent, as a model; `under`: the member that it stands in. Raises `Invalid`."""
    if isinstance(body, dict):
        body = {name: value for name, value in body.items() if value is not None}
    try:
        return model.model_validate(body)
    except ValidationError as error:
        problems = codec.in_words(error.errors(), tuple(model.model_fields))
        raise Invalid(replace(p, path=".".join(filter(None, (under, p.path)))) for p in problems) from error


async def raw_body(request: Request, *, limit: int = BODY_LIMIT) -> bytes:
    """The whole body. Raises `Invalid` when it is larger than any honest one, and `Busy` when its sender has too many
    bodies on their way: each may be as slow as a deadline allows, and all of it is held here.
    """
    caller = getattr(request.state, "caller", "") or source_of(request.client.host if request.client else "")
    parts, size = [], 0
    try:
        async for part in request.stream():
            size += len(part)
            _on_their_way[caller] += len(part)
            if size > limit:
                raise Invalid.one("", f"the body is larger than {limit} bytes")
            if _on_their_way[caller] > CALLER_LIMIT:
                raise Busy(f"more than {CALLER_LIMIT} bytes of you are on their way; send one after the other")
            parts.append(part)
        return b"".join(parts)
    finally:
        _on_their_way[caller] -= size
        if not _on_their_way[caller]:
            del _on_their_way[caller]


def object_of(raw: bytes) -> dict[str, Any]:
    """A JSON object out of a body, within `limits`. Raises `Invalid`."""
    body = _parsed(raw)
    if not isinstance(body, dict):
        raise Invalid.one("", "the body must be a JSON object")
    limits.check(body)
    return body


async def _json_object(request: Request) -> dict[str, Any]:
    raw = await raw_body(request)
    return object_of(raw) if len(raw) <= LARGE else await asyncio.to_thread(object_of, raw)


def _parsed(raw: bytes) -> Any:
    try:
        return json.loads(raw, parse_constant=_no_number, parse_float=_finite)
    except RecursionError as error:
        raise Invalid.one("", f"the body is nested more than {limits.DEEPEST} levels deep") from error
    except ValueError as error:
        raise Invalid.one("", f"the body is not JSON: {error}") from error


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is not a JSON number")


def _finite(word: str) -> float:
    """1e999 is JSON, and no number that anything can use."""
    value = float(word)
    if isinf(value):
        raise ValueError(f"{word} is too large")
    return value
