"""/anypop/v1/.../invitations, account-requests: how people come into accounts.

In: an owner's invitation into its account, the operator's to a new one, a stranger's request; later the token of one of
them, and who comes with it. Out: the token, once; and for who comes a session. There is no mail here: whoever makes an
invitation hands its token on. What anybody on the network can ask for is bounded, by address and altogether.
"""

import asyncio
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request, Response

from anypop.api import shapes
from anypop.api.bodies import JsonBody
from anypop.api.context import AskingCaller, NamedAccount, OperatorAccount, Platform, PlatformDep
from anypop.api.documentation import answers
from anypop.api.door import source_of
from anypop.api.errors import Code
from anypop.api.models.accounts import (
    AcceptRequest,
    AskRequest,
    InvitationAnswer,
    InvitationRequest,
    Invitations,
    NewAccountRequest,
    SignedIn,
    TokenOnly,
)
from anypop.api.signing_in import OpenBody, one_of_two, place_of, proven, signed_in
from anypop.control import acts
from anypop.control.accounts import Caller
from anypop.control.acts import Act
from anypop.control.invitations import Invitation, Kind
from anypop.control.passwords import check_new
from anypop.control.rates import TooMany
from anypop.control.refusals import Forbidden, Precondition, Unauthenticated
from anypop.control.roles import Role
from anypop.control.users import Member, User
from anypop.model.errors import Invalid

router = APIRouter(prefix="/anypop/v1", tags=["accounts"])

InvitationId = Annotated[str, Path(description="an invitation's id")]
# Of one address, in a second: somebody who mistypes a token; and somebody who asks for an account, in ten minutes.
TRIES_PER_S, REQUESTS_PER_S = 2, 1 / 600


# of an account


@router.get("/accounts/{account_id}/invitations")
@answers(Invitations)
async def list_invitations(account: NamedAccount, platform: PlatformDep) -> dict[str, Any]:
    """List the open invitations into an account, oldest first, without their tokens."""
    found = await asyncio.to_thread(platform.invitations.open, account.id)
    return {"results": [shown(one) for one in found]}


@router.post("/accounts/{account_id}/invitations")
@answers(InvitationAnswer)
async def invite_user(
    account: NamedAccount,
    caller: AskingCaller,
    platform: PlatformDep,
    body: Annotated[InvitationRequest, Depends(JsonBody(InvitationRequest))],
) -> dict[str, Any]:
    """Invite somebody into an account; the token is in this answer and never again."""
    _check_lasting(caller)
    made, token = await asyncio.to_thread(
        platform.invitations.to_account, account, Role(body.role), note=body.note, days=body.days, by=made_by()
    )
    return {"invitation": shown(made) | {"token": token}}


@router.delete("/accounts/{account_id}/invitations/{invitation_id}", status_code=204)
@answers(None)
async def withdraw_invitation(account: NamedAccount, invitation_id: InvitationId, platform: PlatformDep) -> Response:
    """Withdraw an invitation; its token opens nothing any more."""
    await asyncio.to_thread(platform.invitations.withdraw, invitation_id, account.id)
    return Response(status_code=204)


# of the operator


@router.get("/invitations")
@answers(Invitations)
async def list_open_invitations(_: OperatorAccount, platform: PlatformDep) -> dict[str, Any]:
    """List open invitations to new accounts, requests for one, and tokens for new passwords."""
    return {"results": [shown(one) for one in await asyncio.to_thread(platform.invitations.open, None)]}


@router.post("/invitations")
@answers(InvitationAnswer, Code.ALREADY_EXISTS)
async def invite_to_new_account(
    _: OperatorAccount,
    caller: AskingCaller,
    platform: PlatformDep,
    body: Annotated[NewAccountRequest, Depends(JsonBody(NewAccountRequest))],
) -> dict[str, Any]:
    """Invite somebody to an account that is made when they come; the token is in this answer and never again."""
    _check_lasting(caller)
    made, token = await asyncio.to_thread(
        platform.invitations.to_new_account, body.account, note=body.note, days=body.days, by=made_by()
    )
    return {"invitation": shown(made) | {"token": token}}


@router.post("/invitations/{invitation_id}/approve")
@answers(InvitationAnswer, Code.NOT_FOUND, Code.ALREADY_EXISTS, Code.FAILED_PRECONDITION)
async def approve_request(
    invitation_id: InvitationId, _: OperatorAccount, caller: AskingCaller, platform: PlatformDep
) -> dict[str, Any]:
    """Approve a request for an account: the token that the asker has opens it from now on, for two weeks."""
    _check_lasting(caller)
    return {"invitation": shown(await asyncio.to_thread(platform.invitations.approve, invitation_id))}


@router.delete("/invitations/{invitation_id}", status_code=204)
@answers(None, Code.NOT_FOUND)
async def refuse_request(invitation_id: InvitationId, _: OperatorAccount, platform: PlatformDep) -> Response:
    """Refuse a request, or withdraw an invitation to a new account."""
    await asyncio.to_thread(platform.invitations.withdraw, invitation_id, None)
    return Response(status_code=204)


# of whoever comes


@router.post("/account-requests")
@answers(InvitationAnswer)
async def request_account(
    request: Request, platform: PlatformDep, body: Annotated[AskRequest, Depends(OpenBody(AskRequest))]
) -> dict[str, Any]:
    """Ask for an account: the token in this answer opens it once the operator has approved."""
    if wait := platform.tokens.take(f"{_source(request)} asks", REQUESTS_PER_S):
        raise TooMany("one request for an account in ten minutes is taken from an address", wait)
    acts.begin(replace(acts.current() or Act(), operation="request_account"))
    made, token = await asyncio.to_thread(platform.invitations.ask, body.account, note=body.note)
    return {"invitation": shown(made) | {"token": token}}


@router.post("/invitations/accept")
@answers(SignedIn, Code.UNAUTHENTICATED, Code.NOT_FOUND, Code.FAILED_PRECONDITION, Code.ALREADY_EXISTS)
async def accept_invitation(
    request: Request, platform: PlatformDep, body: Annotated[AcceptRequest, Depends(OpenBody(AcceptRequest))]
) -> dict[str, Any]:
    """Come into an account with the token of an invitation, as a new user or as one that is there, and sign in.

    Of a token for a new password: choose it.
    """
    if wait := platform.tokens.take(f"{_source(request)} comes", TRIES_PER_S):
        raise TooMany("too many tokens of invitations come from your address", wait)
    acts.begin(replace(acts.current() or Act(), operation="accept_invitation"))
    found = await asyncio.to_thread(platform.invitations.look, body.token)
    if found.kind is Kind.PASSWORD:
        place = await _new_password(platform, found, body)
    else:
        place = await _come(request, platform, body)
    token = await asyncio.to_thread(
        platform.accounts.tokens.begin_session,
        place.user.id,
        place.account_id,
        via="invitation",
        subject=place.user.name,
    )
    return signed_in(platform, place, token)


@router.post("/invitations/join", status_code=204)
@answers(None, Code.NOT_FOUND, Code.FAILED_PRECONDITION, Code.ALREADY_EXISTS)
async def join_account(
    caller: AskingCaller, platform: PlatformDep, body: Annotated[TokenOnly, Depends(JsonBody(TokenOnly))]
) -> Response:
    """Come into one more account, as the user that one is signed in as."""
    if caller.user is None or caller.client_id:
        raise Forbidden("a person joins an account, signed in as a user, not a credential")
    if wait := platform.tokens.take(f"{caller.user.id} comes", TRIES_PER_S):
        raise TooMany("too many tokens of invitations come from you", wait)
    await asyncio.to_thread(platform.invitations.let_in, body.token, caller.user)
    return Response(status_code=204)


async def _come(request: Request, platform: Platform, body: AcceptRequest) -> Member:
    """As the user who is there, if the password is theirs; else as a new one. Raises `Unauthenticated`, `Invalid`."""
    users = platform.accounts.users
    if not body.name:
        raise Invalid.one("name", "is required: choose one to sign in with")
    if users.named(body.name) is not None:
        try:
            user, _ = await proven(request, platform, body.name, body.password)
        except Unauthenticated as error:
            # told to nobody but who has a token that is good
            raise Unauthenticated("this name is taken; if it is yours, this is not its password") from error
        made, new = None, False
    else:
        user, new = users.new(body.name), True
        check_new(body.password, of=user.name)
        async with one_of_two(platform):
            made = await asyncio.to_thread(platform.passwords.hash, body.password)
    acts.begin(replace(acts.current() or Act(), actor=user.name, subject=user.name))
    account_id = await asyncio.to_thread(platform.invitations.let_in, body.token, user, password_hash=made, new=new)
    return users.member(user.id, account_id)


async def _new_password(platform: Platform, found: Invitation, body: AcceptRequest) -> Member:
    user: User = platform.accounts.users.user(found.user_id or "")
    check_new(body.password, of=user.name)
    if not platform.accounts.users.places(user.id):
        raise Precondition("this user is in no account any more")
    async with one_of_two(platform):
        made = await asyncio.to_thread(platform.passwords.hash, body.password)
    acts.begin(replace(acts.current() or Act(), actor=user.name, subject=user.name))
    await asyncio.to_thread(platform.invitations.set_password, body.token, made)
    return place_of(platform.accounts, user)


def _source(request: Request) -> str:
    return source_of(request.client.host if request.client is not None else "")


def _check_lasting(caller: Caller) -> None:
    """Whoever has a secret that ends must not make a way in that outlives it."""
    if caller.ends_at is not None:
        raise Forbidden("this credential ends, and who is invited stays: use one that lasts, or sign in")


def made_by() -> str:
    """Who acts, as others may know it."""
    act = acts.current()
    return act.shown if act is not None else ""


def shown(found: Invitation) -> dict[str, Any]:
    """Without its token."""
    told = {
        "account": found.account_id or found.account_name,
        "role": found.role.value if found.kind is not Kind.PASSWORD else "",
        "user": found.user_id or "",
    }
    return {
        "id": found.id,
        "kind": found.kind.value,
        **{name: value for name, value in told.items() if value},
        "note": found.note,
        "made_by": found.made_by,
        "created_at": shapes.moment(found.created_at),
        "approved": found.approved_at is not None,
        "expires_at": shapes.moment(found.expires_at),
    }
