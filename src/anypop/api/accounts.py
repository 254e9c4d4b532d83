"""/anypop/v1/accounts: who pays, with what each may declare and has declared.

In: a caller. Out: its own account, for a user all those it is in, for the operator all. New ones are the operator's to
make, here or by an invitation; what they may declare is set under `quotas`.
"""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Depends

from anypop.api import shapes
from anypop.api.bodies import JsonBody
from anypop.api.context import AskingCaller, NamedAccount, OperatorAccount, Platform, PlatformDep
from anypop.api.documentation import answers
from anypop.api.errors import Code
from anypop.api.models.accounts import AccountAnswer, AccountRequest, Accounts
from anypop.api.quotas import limits_and_use
from anypop.control.accounts import Account, Caller

router = APIRouter(prefix="/anypop/v1/accounts", tags=["accounts"])


@router.get("")
@answers(Accounts)
async def list_accounts(caller: AskingCaller, platform: PlatformDep) -> dict[str, Any]:
    """List the accounts that the caller is in, with limits and use; the operator all."""
    accounts = platform.accounts
    found = [caller.account]
    if caller.account.operator:
        found = accounts.accounts()
    elif caller.user is not None and not caller.client_id:
        found = [accounts.account(place.account_id) for place in accounts.users.places(caller.user.id)]
    return {"results": [_shown(platform, one, caller) for one in found]}


@router.post("")
@answers(AccountAnswer, Code.ALREADY_EXISTS)
async def create_account(
    _: OperatorAccount,
    caller: AskingCaller,
    platform: PlatformDep,
    body: Annotated[AccountRequest, Depends(JsonBody(AccountRequest))],
) -> dict[str, Any]:
    """Create an account, in which nobody is yet: invite its owner."""
    platform.accounts.check_name(body.name)
    made = await asyncio.to_thread(platform.accounts.create_account, body.name)
    return {"account": _shown(platform, made, caller)}


@router.get("/{account_id}")
@answers(AccountAnswer)
async def get_account(account: NamedAccount, caller: AskingCaller, platform: PlatformDep) -> dict[str, Any]:
    """Get one account, with limits and use."""
    return {"account": _shown(platform, account, caller)}


@router.patch("/{account_id}")
@answers(AccountAnswer, Code.ALREADY_EXISTS)
async def rename_account(
    account: NamedAccount,
    caller: AskingCaller,
    platform: PlatformDep,
    body: Annotated[AccountRequest, Depends(JsonBody(AccountRequest))],
) -> dict[str, Any]:
    """Give an account another name."""
    renamed = await asyncio.to_thread(platform.accounts.rename_account, account.id, body.name)
    return {"account": _shown(platform, renamed, caller)}


def _shown(platform: Platform, account: Account, caller: Caller) -> dict[str, Any]:
    role = caller.role if account.id == caller.account.id else None
    if role is None and caller.user is not None:
        role = platform.accounts.users.role(caller.user.id, account.id)
    return {
        "id": account.id,
        "name": account.name,
        "operator": account.operator,
        "created_at": shapes.moment(account.created_at),
        **({"role": role.value} if role is not None else {}),
        "users": len(platform.accounts.users.members(account.id)),
        "stacks": len(platform.accounts.stacks(account.id)),
        **limits_and_use(platform, account.id),
    }
