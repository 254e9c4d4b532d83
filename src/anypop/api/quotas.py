"""/anypop/v1/quota: what an account and its stacks may declare, and what they have declared.

In: a caller, or a subject that the operator names. Out: limits and usage. The limits hold at every declaration; nothing
that runs is taken away when one is lowered.
"""

import asyncio
from dataclasses import asdict, fields
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path

from anypop.api.bodies import JsonObject, model_of
from anypop.api.context import AnyStack, CallerAccount, CallerStack, OperatorAccount, Platform, PlatformDep
from anypop.api.documentation import answers
from anypop.api.errors import Code
from anypop.api.models.quotas import (
    AccountQuota,
    QuotaBody,
    QuotaRequest,
    StackQuota,
    StackQuotaBody,
    StackQuotaRequest,
)
from anypop.control.accounts import Stack
from anypop.control.image_uses import bytes_of
from anypop.control.quotas import used
from anypop.control.refusals import NotFound
from anypop.plan.quota import Quota

router = APIRouter(prefix="/anypop/v1", tags=["quotas"])

AccountId = Annotated[str, Path(description="an account's id")]
_NAMES = tuple(f.name for f in fields(Quota))


@router.get("/quota")
@answers(AccountQuota)
async def get_quota(account: CallerAccount, platform: PlatformDep) -> dict[str, Any]:
    """Get the limits and the usage of the caller's account and its stacks."""
    return _account(platform, account.id)


@router.get("/accounts/{account_id}/quota")
@answers(AccountQuota, Code.NOT_FOUND)
async def get_account_quota(account_id: AccountId, _: OperatorAccount, platform: PlatformDep) -> dict[str, Any]:
    """Get the limits and the usage of an account and its stacks."""
    _known(platform, account_id)
    return _account(platform, account_id)


@router.put("/accounts/{account_id}/quota")
@answers(AccountQuota, Code.NOT_FOUND)
async def replace_account_quota(
    account_id: AccountId,
    _: OperatorAccount,
    platform: PlatformDep,
    body: Annotated[dict[str, Any], Depends(JsonObject(QuotaRequest | QuotaBody))],
) -> dict[str, Any]:
    """Set the limits of an account; what is left out has none, or its default."""
    _known(platform, account_id)
    await asyncio.to_thread(platform.quotas.put, account_id, _parsed(QuotaRequest, body))
    return _account(platform, account_id)


@router.get("/stacks/{stack_id}/quota")
@answers(StackQuota)
async def get_stack_quota(stack: CallerStack, platform: PlatformDep) -> dict[str, Any]:
    """Get the limits and the usage of a stack."""
    return _stack(platform, stack)


@router.put("/stacks/{stack_id}/quota")
@answers(StackQuota)
async def replace_stack_quota(
    stack: AnyStack,
    platform: PlatformDep,
    body: Annotated[dict[str, Any], Depends(JsonObject(StackQuotaRequest | StackQuotaBody))],
) -> dict[str, Any]:
    """Set the limits of a stack, whoever's it is; what is left out has none."""
    await asyncio.to_thread(platform.quotas.put, stack.id, _parsed(StackQuotaRequest, body))
    return _stack(platform, stack)


def _known(platform: Platform, account_id: str) -> None:
    if not platform.accounts.has_account(account_id):
        raise NotFound(f"no account {account_id}")


def _account(platform: Platform, account_id: str) -> dict[str, Any]:
    stacks = platform.accounts.stacks(account_id)
    return {
        "account": account_id,
        **limits_and_use(platform, account_id),
        "stacks": [_stack(platform, stack) for stack in stacks],
    }


def limits_and_use(platform: Platform, account_id: str) -> dict[str, Any]:
    """What an account may declare, and has declared."""
    stacks = platform.accounts.stacks(account_id)
    return {
        "quota": _limits(platform.quotas.of_account(account_id)),
        "used": _used(platform, stacks),
    }


def _stack(platform: Platform, stack: Stack) -> dict[str, Any]:
    usage = _used(platform, [stack])
    del usage["stacks"]
    return {"stack": stack.id, "slug": stack.slug, "quota": _limits(platform.quotas.of(stack.id)), "used": usage}


def _used(platform: Platform, stacks: list[Stack]) -> dict[str, int]:
    own = {stack.id for stack in stacks}
    return {**asdict(used(platform.core.state, own)), "image_bytes": bytes_of(platform.machine_images.of(own))}


def _limits(quota: Quota) -> dict[str, int]:
    return {name: value for name in _NAMES if (value := getattr(quota, name)) is not None}


def _parsed(model: type[StackQuotaRequest], body: dict[str, Any]) -> Quota:
    """Raises `Invalid` with all problems."""
    return Quota(**model_of(model, body.get("quota", body), under="quota").model_dump())
