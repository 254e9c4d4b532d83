"""/anypop/v1/accounts/.../users: who is in an account, and with which role.

In: an owner's wishes; the operator's for any account. Out: users. Nobody is made here: people come by invitation
(`invitations`) and choose their own password. The last owner of an account stays.
"""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Response

from anypop.api import shapes
from anypop.api.bodies import JsonBody
from anypop.api.context import AskingCaller, NamedAccount, OperatorAccount, PlatformDep
from anypop.api.documentation import answers
from anypop.api.errors import Code
from anypop.api.invitations import made_by
from anypop.api.invitations import shown as shown_invitation
from anypop.api.models.accounts import InvitationAnswer, RoleRequest, UserAnswer, Users
from anypop.control.accounts import Account
from anypop.control.refusals import Forbidden
from anypop.control.roles import Role
from anypop.control.users import Member
from anypop.control.users import Users as Book

router = APIRouter(prefix="/anypop/v1", tags=["accounts"])

UserId = Annotated[str, Path(description="id, or the name that the user signs in with")]
_ONE = "/accounts/{account_id}/users/{user_id}"


@router.get("/accounts/{account_id}/users")
@answers(Users)
async def list_users(account: NamedAccount, platform: PlatformDep) -> dict[str, Any]:
    """List the users of an account, by name."""
    return {"results": [_shown(member) for member in platform.accounts.users.members(account.id)]}


@router.get(_ONE)
@answers(UserAnswer)
async def get_user(account: NamedAccount, user_id: UserId, platform: PlatformDep) -> dict[str, Any]:
    """Get one user of an account."""
    return {"user": _shown(_found(platform.accounts.users, account, user_id))}


@router.patch(_ONE)
@answers(UserAnswer, Code.FAILED_PRECONDITION)
async def set_role(
    account: NamedAccount,
    user_id: UserId,
    caller: AskingCaller,
    platform: PlatformDep,
    body: Annotated[RoleRequest, Depends(JsonBody(RoleRequest))],
) -> dict[str, Any]:
    """Give a user another role in the account; it counts at once."""
    if caller.ends_at is not None:
        raise Forbidden("this credential ends, and a role does not: use one that lasts, or sign in")
    users = platform.accounts.users
    known = _found(users, account, user_id)
    return {"user": _shown(await asyncio.to_thread(users.set_role, known.user.id, account.id, Role(body.role)))}


@router.delete(_ONE, status_code=204)
@answers(None, Code.FAILED_PRECONDITION)
async def remove_user(account: NamedAccount, user_id: UserId, platform: PlatformDep) -> Response:
    """Take a user out of the account; its sessions and credentials there end at once."""
    users = platform.accounts.users
    await asyncio.to_thread(users.leave, _found(users, account, user_id).user.id, account.id)
    return Response(status_code=204)


@router.post("/users/{user_id}/reset")
@answers(InvitationAnswer, Code.NOT_FOUND)
async def reset_password(user_id: UserId, _: OperatorAccount, platform: PlatformDep) -> dict[str, Any]:
    """Let a user choose a new password, once and within a day, with a token that is shown here.

    A user may be in several accounts, so this is not their owners' to do.
    """
    users = platform.accounts.users
    user = users.named(user_id) or users.user(user_id)
    made, token = await asyncio.to_thread(platform.invitations.for_password, user, by=made_by())
    return {"invitation": shown_invitation(made) | {"token": token}}


def _found(users: Book, account: Account, ref: str) -> Member:
    named = users.named(ref)
    return users.member(named.id if named is not None else ref, account.id)


def _shown(member: Member) -> dict[str, Any]:
    user = member.user
    return {
        "id": user.id,
        "name": user.name,
        "role": member.role.value,
        "since": shapes.moment(member.since),
        **({"by_rule": True} if member.by_rule else {}),
    }
