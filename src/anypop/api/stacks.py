"""/stack/v1: the stacks of an account, as the Workload API's clients use them.

In: names and slugs. Out: stacks; one that is asked for by id or slug comes bare, as those clients expect it, after a
change it comes wrapped.
"""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Depends

from anypop.api import pages, shapes
from anypop.api.bodies import JsonBody
from anypop.api.context import AskingCaller, CallerAccount, CallerStack, PlatformDep
from anypop.api.documentation import answers
from anypop.api.errors import Code
from anypop.api.models.identity import Stack, StackAnswer, StackPage, StackPatch, StackRequest
from anypop.model.errors import Invalid, Problem

router = APIRouter(tags=["stacks"])

_LASTING = ("id", "accountId", "slug", "status")


@router.get("/stack/v1/stacks")
@answers(StackPage)
async def list_stacks(query: pages.PageQuery, caller: AskingCaller, platform: PlatformDep) -> dict[str, Any]:
    """List the account's stacks, oldest first; to a credential for one stack that one."""
    return pages.page(platform.stacks_of(caller), query, shapes.stack, Stack)


@router.post("/stack/v1/stacks")
@answers(StackAnswer, Code.ALREADY_EXISTS, Code.RESOURCE_EXHAUSTED)
async def create_stack(
    account: CallerAccount, platform: PlatformDep, body: Annotated[StackRequest, Depends(JsonBody(StackRequest))]
) -> dict[str, Any]:
    """Create a stack."""
    if body.account_id not in ("", account.id):
        raise Invalid.one("accountId", f"you are not account {body.account_id}")
    platform.quotas.check_stacks(account.id, len(platform.accounts.stacks(account.id)))
    made = await asyncio.to_thread(platform.accounts.create_stack, account.id, body.name, body.slug)
    return {"stack": shapes.stack(made)}


@router.get("/stack/v1/stacks/{stack_id}")
@answers(Stack)
async def get_stack(stack: CallerStack) -> dict[str, Any]:
    """Get one stack; the answer is the stack itself, not wrapped."""
    return shapes.stack(stack)


@router.patch("/stack/v1/stacks/{stack_id}")
@answers(StackAnswer)
async def rename_stack(
    stack: CallerStack,
    account: CallerAccount,
    platform: PlatformDep,
    body: Annotated[StackPatch, Depends(JsonBody(StackPatch))],
) -> dict[str, Any]:
    """Give a stack another name."""
    shown, sent = shapes.stack(stack), body.model_dump(by_alias=True)
    if lasting := [name for name in _LASTING if sent[name] not in ("", shown[name])]:
        raise Invalid(Problem(path=name, message=f"cannot be changed (it is {shown[name]})") for name in lasting)
    renamed = await asyncio.to_thread(platform.accounts.rename_stack, account.id, stack.id, body.name)
    return {"stack": shapes.stack(renamed)}
