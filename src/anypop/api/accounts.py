"""/anypop/v1/accounts: who pays, with what each may declare and has declared.

In: a caller. Out: its own account, for a user all those it is in, for the operator all. New ones are the operator's to
make, here or by an invitation; what they may declare is set under `quotas`. An account is deleted by its owner or by
the operator, and suspended by the operator.
"""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Response

from anypop.api import shapes
from anypop.api.bodies import JsonBody
from anypop.api.context import AskingCaller, NamedAccount, OperatorAccount, Platform, PlatformDep
from anypop.api.documentation import answers
from anypop.api.errors import Code
from anypop.api.models.accounts import AccountAnswer, AccountRequest, Accounts
from anypop.api.quotas import limits_and_use
from anypop.control import account_end
from anypop.control.accounts import Account, Caller
from anypop.control.refusals import Precondition
from anypop.model.errors import Invalid
from anypop.plan.quota import Quota

router = APIRouter(prefix="/anypop/v1/accounts", tags=["accounts"])

AccountId = Annotated[str, Path(description="an account's id")]


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


@router.delete("/{account_id}", status_code=204)
@answers(None, Code.FAILED_PRECONDITION, Code.NOT_FOUND)
async def delete_account(
    account: NamedAccount,
    platform: PlatformDep,
    confirm: Annotated[str, Query(description="the account's name, so that no other one is meant")] = "",
) -> Response:
    """Delete an account: its stacks, users, credentials, sessions and invitations.

    Refused while workloads, volumes or allocations are there. What was metered and audited stays; all names are free
    again.
    """
    if account.operator:
        raise Precondition("the operator's own account stays: nobody could act for the platform without it")
    if confirm != account.name:
        raise Invalid.one("confirm", f"must be the name of the account, {account.name}")
    stacks = platform.accounts.stacks(account.id)
    await platform.core.change(account_end.emptied(stacks))
    await asyncio.to_thread(account_end.delete_account, platform.accounts, platform.core.store, account)
    for subject in (account.id, *(stack.id for stack in stacks)):
        if platform.quotas.of(subject) != Quota():
            await asyncio.to_thread(platform.quotas.put, subject, Quota())
    return Response(status_code=204)


@router.post("/{account_id}/suspend")
@answers(AccountAnswer, Code.FAILED_PRECONDITION, Code.NOT_FOUND)
async def suspend_account(
    account_id: AccountId, _: OperatorAccount, caller: AskingCaller, platform: PlatformDep
) -> dict[str, Any]:
    """Let nobody into an account from now on, and end what is open there.

    What runs goes on.
    """
    account = platform.accounts.account(account_id)
    if account.operator:
        raise Precondition("the operator's own account stays open: nobody could let anybody in again")
    since = account.suspended_at if account.suspended_at is not None else platform.clock()
    changed = await asyncio.to_thread(platform.accounts.suspend, account.id, since)
    return {"account": _shown(platform, changed, caller)}


@router.post("/{account_id}/resume")
@answers(AccountAnswer, Code.NOT_FOUND)
async def resume_account(
    account_id: AccountId, _: OperatorAccount, caller: AskingCaller, platform: PlatformDep
) -> dict[str, Any]:
    """Let the people and programs of a suspended account in again."""
    changed = await asyncio.to_thread(platform.accounts.suspend, platform.accounts.account(account_id).id, None)
    return {"account": _shown(platform, changed, caller)}


def _shown(platform: Platform, account: Account, caller: Caller) -> dict[str, Any]:
    role = caller.role if account.id == caller.account.id else None
    if role is None and caller.user is not None:
        role = platform.accounts.users.role(caller.user.id, account.id)
    return {
        "id": account.id,
        "name": account.name,
        "operator": account.operator,
        "created_at": shapes.moment(account.created_at),
        **({"suspended_at": shapes.moment(account.suspended_at)} if account.suspended_at is not None else {}),
        **({"role": role.value} if role is not None else {}),
        "users": len(platform.accounts.users.members(account.id)),
        "stacks": len(platform.accounts.stacks(account.id)),
        **limits_and_use(platform, account.id),
    }
