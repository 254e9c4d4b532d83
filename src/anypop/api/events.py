"""/anypop/v1/events: what happened, as it was stored.

In: how many, and after which. Out: events, oldest first. A tenant sees those of its own stacks, the operator all.
"""

import asyncio
from typing import Any

from fastapi import APIRouter, Request

from anypop.api.context import CallerAccount, PlatformDep
from anypop.model.errors import Invalid

router = APIRouter(prefix="/anypop/v1")


@router.get("/events")
async def events(request: Request, account: CallerAccount, platform: PlatformDep) -> dict[str, Any]:
    """The newest events, oldest first. Tenants see those of their own stacks, the operator all."""
    limit, after = _count(request, "limit", 100), _count(request, "after", 0)
    own = None if account.operator else [stack.id for stack in platform.accounts.stacks(account.id)]
    return {"results": await asyncio.to_thread(platform.core.store.events, after=after, limit=min(limit, 1000), stacks=own)}


def _count(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name, "")
    if text == "":
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 15:
        raise Invalid.one(name, "must be a whole number")
    return int(text)
