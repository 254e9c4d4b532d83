"""/stack/v1: the stacks of an account, as the Workload API's clients use them.

In: names and slugs. Out: stacks; one that is asked for by id or slug comes bare, as those clients expect it, all others wrapped.
"""

import asyncio
from typing import Any

from fastapi import APIRouter, Request

from anypop.api import pages, shapes
from anypop.api.bodies import Body, text
from anypop.api.context import CallerAccount, CallerStack, PlatformDep
from anypop.model.errors import Invalid

router = APIRouter()


@router.get("/stack/v1/stacks")
async def list_stacks(request: Request, account: CallerAccount, platform: PlatformDep) -> dict[str, Any]:
    return pages.page(platform.accounts.stacks(account.id), request.query_params, shapes.stack)


@router.post("/stack/v1/stacks")
async def create_stack(account: CallerAccount, platform: PlatformDep, body: Body) -> dict[str, Any]:
    if (wanted := text(body, "accountId")) not in ("", account.id):
        raise Invalid.one("accountId", f"you are not account {wanted}")
    platform.quotas.check_stacks(account.id, len(platform.accounts.stacks(account.id)))
    made = await asyncio.to_thread(platform.accounts.create_stack, account.id, text(body, "name"), text(body, "slug"))
    return {"stack": shapes.stack(made)}


@router.get("/stack/v1/stacks/{stack_id}")
async def get_stack(stack: CallerStack) -> dict[str, Any]:
    return shapes.stack(stack)


@router.patch("/stack/v1/stacks/{stack_id}")
async def rename_stack(stack: CallerStack, account: CallerAccount, platform: PlatformDep, body: Body) -> dict[str, Any]:
    return {"stack": shapes.stack(await asyncio.to_thread(platform.accounts.rename_stack, account.id, stack.id, text(body, "name")))}
