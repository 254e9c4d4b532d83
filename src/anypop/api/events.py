"""/anypop/v1/events: what happened, as it was stored.

In: how many, and after which. Out: events, oldest first. A tenant sees those of its own stacks, the operator all.
"""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Query

from anypop.api.context import CallerAccount, PlatformDep
from anypop.api.documentation import answers
from anypop.api.models.platform import Events
from anypop.api.parameters import whole

router = APIRouter(prefix="/anypop/v1", tags=["platform"])

DEFAULT, MOST = 100, 1000


@router.get("/events")
@answers(Events)
async def list_events(
    account: CallerAccount,
    platform: PlatformDep,
    limit: Annotated[int, whole(15, default=DEFAULT), Query(description=f"how many; at most {MOST}", ge=0)] = DEFAULT,
    after: Annotated[int, whole(15), Query(description="only those with a higher id", ge=0)] = 0,
) -> dict[str, Any]:
    """List the newest events, oldest first; a tenant sees those of its own stacks."""
    own = None if account.operator else [stack.id for stack in platform.accounts.stacks(account.id)]
    found = await asyncio.to_thread(platform.core.store.events, after=after, limit=min(limit, MOST), stacks=own)
    return {"results": found}
