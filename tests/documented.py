"""Every answer that a test gets is held to the description of the API: status, code, and each member of its body.

In: a request and its answer, as httpx has them. Out: nothing, or an AssertionError that says what is documented
otherwise. The worlds of the contract tests call it for all they send, so that hundreds of tests check
`docs/openapi.json` as well.
"""

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import httpx
from fastapi.routing import APIRoute
from pydantic import TypeAdapter, ValidationError

from anypop.api import documentation
from anypop.api.app import ROUTERS
from anypop.api.bodies import JSON
from anypop.api.errors import GATEWAY, STATUS, Code
from anypop.api.models.errors import Error
from anypop.api.openapi import content_of, refusals

DESCRIPTION = "/anypop/v1/openapi.json"
TEXTS = ("text/event-stream", "text/plain", "application/openmetrics-text", "application/octet-stream")


@cache
def routes() -> list[APIRoute]:
    return [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]


def route_of(request: httpx.Request) -> APIRoute | None:
    """The operation that a request is meant for."""
    matching = (r for r in routes() if request.method in (r.methods or ()) and r.path_regex.match(request.url.path))
    return next(matching, None)


@cache
def reader(model: Any) -> TypeAdapter[Any]:
    return TypeAdapter(model)


def check(response: httpx.Response) -> None:
    """For a hook of httpx. A stream is left to the test that reads it."""
    if response.headers.get("content-type", "").startswith(TEXTS):
        route = route_of(response.request)
        assert route is not None
        assert documentation.of(route.endpoint).media_type == response.headers["content-type"].partition(";")[0]
        return
    response.read()
    check_read(response)


def check_read(response: httpx.Response) -> None:
    """The same for an answer whose body is there already."""
    request = response.request
    path = request.url.path
    if path in (DESCRIPTION, "/") or path.startswith("/portal"):  # pages are no part of the API
        return
    where = f"{request.method} {path} {response.status_code}"
    assert response.headers[GATEWAY[0]] == GATEWAY[1], where
    route = route_of(request)
    if response.status_code >= 400:
        known = refusals(route) if route is not None else {Code.NOT_FOUND, Code.UNIMPLEMENTED}
        _check_error(response, known, where)
        return
    assert route is not None, f"{where} is not documented"
    documented = documentation.of(route.endpoint)
    if response.status_code == 204:
        assert documented.model is None or documented.empty, where
        assert not response.content, where
        return
    if response.status_code == 302:
        assert documented.leads and response.headers["location"] and not response.content, where
        return
    assert response.status_code in (200, 206) and documented.model is not None, where
    kind = response.headers["content-type"]
    if kind.startswith(TEXTS):
        assert kind.partition(";")[0] == documented.media_type, where
        return
    assert kind == documented.media_type, where
    same(documented.model, response.content, where)
    _check_request(route, request, where)


def _check_error(response: httpx.Response, known: Any, where: str) -> None:
    same(Error, response.content, where)
    code = Code(response.json()["code"])
    assert code in known, f"{where} has the code {code.name}; documented are {sorted(c.name for c in known)}"
    assert STATUS[code] == response.status_code, where


def same(model: Any, content: bytes | str, where: str) -> None:
    """The body is what the model says, member by member, and the model would write it as it is."""
    try:
        read = reader(model).validate_json(content)
    except ValidationError as error:
        raise AssertionError(f"{where} is not what is documented: {error}") from error
    again = reader(model).dump_python(read, mode="json", by_alias=True, exclude_unset=True)
    differences = list(_differences(json.loads(content), again, ""))
    assert not differences, f"{where} is documented otherwise: {differences}"


def _differences(sent: Any, documented: Any, path: str) -> Iterator[str]:
    if isinstance(sent, dict) and isinstance(documented, dict):
        for key in sorted({*sent, *documented}):
            yield from _differences(sent.get(key, "(absent)"), documented.get(key, "(absent)"), f"{path}.{key}")
    elif isinstance(sent, list) and isinstance(documented, list) and len(sent) == len(documented):
        for n, (a, b) in enumerate(zip(sent, documented, strict=True)):
            yield from _differences(a, b, f"{path}[{n}]")
    elif sent != documented or isinstance(sent, bool) != isinstance(documented, bool):
        yield f"{path} is {sent!r}, documented {documented!r}"


def _check_request(route: APIRoute, request: httpx.Request, where: str) -> None:
    """What was accepted is what is documented; null counts as absent."""
    kind = request.headers.get("content-type", "").partition(";")[0]
    model = content_of(route).get(kind)
    if kind == JSON and model is not None:
        try:
            reader(model).validate_python(_without_nulls(json.loads(request.content)))
        except ValidationError as error:
            raise AssertionError(f"{where} took what is not documented: {error}") from error


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(member) for key, member in value.items() if member is not None}
    return [_without_nulls(member) for member in value] if isinstance(value, list) else value
