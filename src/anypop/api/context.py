"""What every endpoint needs: the platform behind it, who asks, and the body of the request.

In: a request. Out: an account, a stack, a JSON object; or the exception whose answer `errors` knows.
"""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from math import isinf
from typing import Annotated, Any

from fastapi import Depends, Request

from anypop.api.seams import LookingGlass, Vantages
from anypop.control.accounts import Account, Accounts, Stack
from anypop.control.core import Core
from anypop.control.refusals import Forbidden, NotFound, Unauthenticated
from anypop.control.state import Declaration
from anypop.model.errors import Invalid
from anypop.model.names import CityCode, HostName
from anypop.plan.price import PriceBook

# A workload's document is a few kilobytes and user data at most 64; a report of a thousand instances is below one megabyte.
BODY_LIMIT = 4 << 20
# The deepest field that a request has lies at 12; Python itself gives up at some hundreds.
DEEPEST = 64


@dataclass(slots=True, kw_only=True)
class Platform:
    """Control as the faces see it. `vantages` and `glass`: None where no lab is attached."""

    core: Core
    accounts: Accounts
    clock: Callable[[], float]
    prices: PriceBook
    on_network: Callable[[list[HostName]], None]
    vantages: Vantages | None = None
    glass: LookingGlass | None = None
    # The lab shares a handful of hosts: two probes at once from one vantage would measure each other.
    probing: asyncio.Lock = field(default_factory=asyncio.Lock)

    def cities(self) -> list[CityCode]:
        return [pop.city for pop in self.core.state.network.pops]

    def hosts(self) -> list[HostName]:
        return [host.name for _, host in self.core.state.network.hosts()]

    def workload(self, stack: Stack, ref: str) -> Declaration:
        """A workload of the stack by id or slug. Raises `NotFound`."""
        found = self.core.state.find(stack.id, ref)
        if found is None:
            raise NotFound(f"no workload {ref} on stack {stack.slug}")
        return found


def platform_of(request: Request) -> Platform:
    found = request.app.state.platform
    assert isinstance(found, Platform)
    return found


Here = Annotated[Platform, Depends(platform_of)]


def bearer(request: Request) -> str:
    """The token of the request. Raises `Unauthenticated` where there is none."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthenticated("a bearer token is required")
    return token.strip()


async def account_of(request: Request, here: Here) -> Account:
    return here.accounts.account_of(bearer(request))


Who = Annotated[Account, Depends(account_of)]


async def operator_of(who: Who) -> Account:
    """Raises `Forbidden` for everyone but the operator."""
    if not who.operator:
        raise Forbidden("this is for the operator of the platform")
    return who


Operator = Annotated[Account, Depends(operator_of)]


async def stack_of(stack_id: str, who: Who, here: Here) -> Stack:
    """The stack of the path, by id or slug."""
    return here.accounts.stack(who.id, stack_id)


In = Annotated[Stack, Depends(stack_of)]


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
