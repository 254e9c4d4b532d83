"""/anypop/v1/agents: the agents' two requests. Get the order (a long poll), give a report.

Each agent has its own token and may ask for its own PoP alone. An order is answered as the very bytes that were stored when it was issued.
"""

import asyncio

from fastapi import APIRouter, Request, Response

from anypop.api.bodies import raw_body
from anypop.api.context import PlatformDep, bearer
from anypop.control.refusals import Forbidden
from anypop.model import codec
from anypop.model.errors import Invalid
from anypop.model.names import CityCode
from anypop.model.report import Report

router = APIRouter(prefix="/anypop/v1/agents")

# Longer than this and a middlebox may forget the connection; agents ask for 25 s.
LONGEST_WAIT_S = 55.0
_LARGE = 1 << 16  # a report above this takes more than a few milliseconds to read: not on the event loop


def _pop(request: Request, platform: PlatformDep, pop: str) -> CityCode:
    own = platform.accounts.pop_of(bearer(request))
    if pop.upper() != own:
        raise Forbidden(f"this token is for {own}, not for {pop}")
    return own


@router.get("/{pop}/order")
async def order(request: Request, pop: str, platform: PlatformDep, after: str = "0", wait: str = "0") -> Response:
    own = _pop(request, platform, pop)
    issued = await platform.core.order_after(own, _whole("after", after), min(float(_whole("wait", wait)), LONGEST_WAIT_S))
    if issued is None:
        return Response(status_code=204)
    return Response(issued.body, media_type="application/json")


@router.post("/{pop}/report", status_code=204)
async def report(request: Request, pop: str, platform: PlatformDep) -> Response:
    own = _pop(request, platform, pop)
    raw = await raw_body(request)
    if len(raw) > _LARGE:
        found = await asyncio.to_thread(codec.from_json, Report, raw)
    else:
        found = codec.from_json(Report, raw)
    if found.pop != own:
        raise Forbidden(f"this token is for {own}, the report is of {found.pop}")
    await platform.core.take(found)
    return Response(status_code=204)


def _whole(name: str, text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise Invalid.one(name, "must be a whole number, 0 or more")
    return int(text)
