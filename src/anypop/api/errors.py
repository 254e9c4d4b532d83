"""Errors as the Workload API's clients expect them: the grpc-gateway shape, also where there is no such path.

In: every exception that an endpoint can raise. Out: a status and `{"code", "message", "details"}`. The only `@type`s
are the bare names that the public clients can decode. It must not show anything of an exception that is our own bug:
that goes to the log.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable
from enum import IntEnum
from math import ceil
from typing import Any, cast

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic_core import ErrorDetails
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse

from anypop.api.not_here import not_here
from anypop.api.seldom import Seldom
from anypop.control import acts
from anypop.control.rates import TooMany
from anypop.control.refusals import (
    Busy,
    Exists,
    Forbidden,
    NotFound,
    OverQuota,
    Precondition,
    Refused,
    Unauthenticated,
    VersionConflict,
)
from anypop.model import codec
from anypop.model.errors import Invalid, Problem, WorldError
from anypop.plan.check import Unsafe


class Code(IntEnum):
    """The codes of google.rpc that we answer with."""

    INVALID_ARGUMENT = 3
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    UNAUTHENTICATED = 16


log = logging.getLogger("anypop.api")
BUSY_S = 2.0  # work that keeps others waiting takes about so long
REQUEST_ID = "x-request-id"
_half_bodies = Seldom(log)

# By this header the Workload API's clients know the answer of a gateway.
GATEWAY = ("grpc-metadata-content-type", "application/grpc")

STATUS = {
    Code.INVALID_ARGUMENT: 400,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.PERMISSION_DENIED: 403,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.FAILED_PRECONDITION: 400,
    Code.ABORTED: 409,
    Code.UNIMPLEMENTED: 501,
    Code.INTERNAL: 500,
    Code.UNAVAILABLE: 503,
    Code.UNAUTHENTICATED: 401,
}

SAYS = {
    Code.INVALID_ARGUMENT: "the request is wrong in itself; the details have every problem, with the path of its field",
    Code.NOT_FOUND: "there is nothing of that name that the caller may see",
    Code.ALREADY_EXISTS: "the name is taken",
    Code.PERMISSION_DENIED: "the caller is known, and not entitled",
    Code.RESOURCE_EXHAUSTED: (
        "a quota would be exceeded (every limit stands in the details, with the numbers), or too much is asked at once"
    ),
    Code.FAILED_PRECONDITION: "the request does not fit what is there",
    Code.ABORTED: "the change was made to another version than the one that is there now",
    Code.UNIMPLEMENTED: "the path has no such method",
    Code.INTERNAL: "an error of our own; the log of the control process has the details",
    Code.UNAVAILABLE: "something that is needed for the answer has failed: "
    "the store, a vantage, a router, a graph, time",
    Code.UNAUTHENTICATED: "there is no token, or it is unknown or has expired; of a token request: the secret is wrong",
}

_CODES: dict[type[Refused], Code] = {
    NotFound: Code.NOT_FOUND,
    Exists: Code.ALREADY_EXISTS,
    VersionConflict: Code.ABORTED,
    Precondition: Code.FAILED_PRECONDITION,
    Unauthenticated: Code.UNAUTHENTICATED,
    Forbidden: Code.PERMISSION_DENIED,
    OverQuota: Code.RESOURCE_EXHAUSTED,
    TooMany: Code.RESOURCE_EXHAUSTED,
    Busy: Code.RESOURCE_EXHAUSTED,
}


def answer(
    code: Code,
    message: str,
    *,
    problems: Iterable[Problem] = (),
    exceeded: Iterable[Problem] = (),
    retry_s: float = 0.0,
    headers: dict[str, str] | None = None,
) -> JSONResponse:
    """The response of an error. `problems` become field violations, `exceeded` limits become a quota failure, with
    `retry_s` it says when to come again.
    """
    act = acts.current()
    request_id = act.request_id if act is not None else acts.new_request_id()
    details: list[dict[str, Any]] = [{"@type": "stackpath.rpc.RequestInfo", "requestId": request_id, "servingData": ""}]
    violations = [{"field": p.path, "description": p.message} for p in problems]
    if violations:
        details.append({"@type": "stackpath.rpc.BadRequest", "fieldViolations": violations})
    limits = [{"subject": p.path, "description": p.message} for p in exceeded]
    if limits:
        details.append({"@type": "stackpath.rpc.QuotaFailure", "violations": limits})
    if retry_s:
        # up, to a hundredth: who comes exactly then must not be a little too early
        details.append({"@type": "stackpath.rpc.RetryInfo", "retryDelay": f"{ceil(retry_s * 100) / 100:g}s"})
        headers = {**(headers or {}), "retry-after": str(ceil(retry_s))}
    return JSONResponse(
        {"code": int(code), "message": message, "details": details}, status_code=STATUS[code], headers=headers
    )


def install(app: FastAPI) -> None:
    """Every exception gets its answer."""
    for kind, handler in _handlers().items():
        app.add_exception_handler(kind, handler)


def _handlers() -> dict[type[Exception], Callable[[Request, Exception], Awaitable[JSONResponse]]]:
    return {
        Refused: _refused, Invalid: _invalid, Unsafe: _unsafe, WorldError: _world_failed, HTTPException: _http,
        RequestValidationError: _parameters, ClientDisconnect: _left, Exception: _our_bug,
    }  # fmt: skip


async def answer_to(error: Exception, request: Request) -> JSONResponse:
    """The same answer where no application gives it: of a connection that is no request."""
    found = next(h for kind, h in _handlers().items() if isinstance(error, kind))
    return await found(request, error)


async def _refused(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Refused)
    code = next((c for kind, c in _CODES.items() if isinstance(error, kind)), Code.FAILED_PRECONDITION)
    headers = {"www-authenticate": "Bearer"} if code is Code.UNAUTHENTICATED else None
    exceeded = error.problems if isinstance(error, OverQuota) else ()
    retry_s = error.retry_s if isinstance(error, TooMany) else BUSY_S if isinstance(error, Busy) else 0.0
    return answer(code, error.message, exceeded=exceeded, retry_s=retry_s, headers=headers)


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Invalid)
    first = str(error.problems[0]) if error.problems else "invalid request"
    more = len(error.problems) - 1
    return answer(Code.INVALID_ARGUMENT, f"{first} (and {more} more)" if more > 0 else first, problems=error.problems)


async def _parameters(request: Request, error: Exception) -> JSONResponse:
    """Wrong parameters of the path or the query, by the names that the client gave them."""
    assert isinstance(error, RequestValidationError)
    found = [{**e, "loc": e["loc"][1:]} for e in error.errors()]
    return await _invalid(request, Invalid(codec.in_words(cast("list[ErrorDetails]", found))))


async def _unsafe(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Unsafe)
    return answer(Code.FAILED_PRECONDITION, "; ".join(str(p) for p in error.problems), problems=error.problems)


async def _world_failed(_: Request, error: Exception) -> JSONResponse:
    return answer(Code.UNAVAILABLE, str(error))


async def _http(request: Request, error: Exception) -> JSONResponse:
    """What the router itself refuses. A method that a path does not have is `unimplemented`, as in grpc-gateway."""
    if (absent := not_here(request.method, request.url.path)) is not None:
        return answer(Code.NOT_FOUND if absent.nothing_there else Code.UNIMPLEMENTED, absent.message)
    if isinstance(error, HTTPException) and error.status_code == 405:
        headers = dict(error.headers) if error.headers else None
        return answer(Code.UNIMPLEMENTED, f"{request.url.path} has no method {request.method}", headers=headers)
    if isinstance(error, HTTPException) and error.status_code == 404:
        return answer(Code.NOT_FOUND, f"there is nothing at {request.url.path}")
    return answer(Code.INVALID_ARGUMENT, getattr(error, "detail", None) or "the request cannot be read")


async def _left(request: Request, _: Exception) -> JSONResponse:
    """The client is gone, or was too slow, before its body was here: nobody reads this answer."""
    who = request.client.host if request.client is not None else "somebody"
    _half_bodies.warn(f"{request.method} {request.url.path} of {who} ended before its body did")
    return answer(Code.INVALID_ARGUMENT, "the body ended before it was all there")


async def _our_bug(_: Request, __: Exception) -> JSONResponse:
    """The server logs the traceback itself, after this answer, which it sends from outside of every middleware."""
    act = acts.current()
    if act is not None:
        log.error("request %s failed by a fault of ours; its traceback follows", act.request_id)
    headers = dict([GATEWAY]) | ({REQUEST_ID: act.request_id} if act is not None else {})
    return answer(Code.INTERNAL, "an error of our own; the log of the control process has the details", headers=headers)
