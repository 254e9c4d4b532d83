"""/anypop/v1: people sign in with a name and a password, ask who they are here, and change their password.

In: what they know. Out: a bearer token for twelve hours in one account. Whoever is refused learns nothing of who is
there: the same words, the same work, and after some failures a wait, for the address and for the name. Not more than
two passwords are looked at at once, since each takes 64 MiB meanwhile.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from anypop.api import shapes
from anypop.api.bodies import JsonBody, RequestBody, model_of, object_of, raw_body
from anypop.api.context import AskingCaller, Platform, PlatformDep, bearer
from anypop.api.documentation import answers
from anypop.api.door import source_of
from anypop.api.errors import Code
from anypop.api.identity import SIGN_IN_LIMIT
from anypop.api.models.accounts import PasswordRequest, SignedIn, SignInRequest, WhoAmI
from anypop.control import acts
from anypop.control.accounts import Accounts
from anypop.control.acts import Act
from anypop.control.passwords import check_new
from anypop.control.rates import TooMany
from anypop.control.refusals import Busy, Forbidden, Precondition, Unauthenticated
from anypop.control.tokens import Token
from anypop.control.users import Member, User
from anypop.model.errors import WorldError

router = APIRouter(prefix="/anypop/v1", tags=["identity"])

MOST_WAITING = 16  # half a second each, two at once: who comes later would wait for longer than four seconds
REFUSED = "the name or the password is wrong"


class OpenBody(RequestBody):
    """The body of somebody who has not said who it is yet: small."""

    def __init__(self, model: Any) -> None:
        super().__init__({"application/json": model})
        self._model = model

    async def __call__(self, request: Request) -> Any:
        return model_of(self._model, object_of(await raw_body(request, limit=SIGN_IN_LIMIT)))


@router.post("/sign-in")
@answers(SignedIn, Code.UNAUTHENTICATED, Code.PERMISSION_DENIED)
async def sign_in(
    request: Request, platform: PlatformDep, body: Annotated[SignInRequest, Depends(OpenBody(SignInRequest))]
) -> dict[str, Any]:
    """Sign in as a user, with name and password."""
    acts.begin(replace(acts.current() or Act(), operation="sign_in"))
    user, fitted = await proven(request, platform, body.name, body.password)
    place = place_of(platform.accounts, user, body.account)
    acts.begin(replace(acts.current() or Act(), account_id=place.account_id, actor=_actor(platform, place)))
    token = await asyncio.to_thread(
        platform.accounts.tokens.begin_session, user.id, place.account_id,
        via="password", subject=user.name, password_hash=fitted,
    )  # fmt: skip
    return signed_in(platform, place, token)


@router.post("/sign-out", status_code=204)
@answers(None)
async def sign_out(request: Request, caller: AskingCaller, platform: PlatformDep) -> Response:
    """End the token that this is asked with."""
    await asyncio.to_thread(platform.accounts.tokens.end, bearer(request))
    return Response(status_code=204)


@router.get("/who-am-i")
@answers(WhoAmI)
async def who_am_i(caller: AskingCaller, platform: PlatformDep) -> dict[str, Any]:
    """Say who asks, in which account, and with which role."""
    user, ends = caller.user, caller.ends_at
    return {
        "account": {"id": caller.account.id, "name": caller.account.name},
        "operator": caller.account.operator,
        "role": caller.role.value,
        "scope": caller.scope.value,
        **({"user": {"id": user.id, "name": user.name}, "accounts": places(platform, user)} if user else {}),
        **({"client_id": caller.client_id} if caller.client_id else {}),
        **({"stack": caller.stack_id} if caller.stack_id is not None else {}),
        **({"expires_at": shapes.moment(ends)} if ends is not None else {}),
    }


@router.post("/password", status_code=204)
@answers(None, Code.FAILED_PRECONDITION)
async def change_password(
    request: Request,
    caller: AskingCaller,
    platform: PlatformDep,
    body: Annotated[PasswordRequest, Depends(JsonBody(PasswordRequest))],
) -> Response:
    """Change one's own password; all sessions and tokens of the user end, this one too."""
    if caller.user is None or caller.client_id:
        raise Forbidden("a password is changed by its user, signed in with it, not by a credential")
    user, fitted = await proven(request, platform, caller.user.name, body.password)
    if user.id != caller.user.id:
        raise Precondition("this name is somebody else's by now")
    check_new(body.new, of=user.name, field="new")
    async with one_of_two(platform):
        made = await asyncio.to_thread(platform.passwords.hash, body.new)
    await asyncio.to_thread(platform.accounts.users.set_password, user.id, made, was=fitted)
    return Response(status_code=204)


# what others here need, too


async def proven(request: Request, platform: Platform, name: str, password: str) -> tuple[User, str]:
    """The user with this name and password, and the hash that it fitted. Raises `Unauthenticated` and `TooMany`."""
    users, passwords, tries = platform.accounts.users, platform.passwords, platform.password_tries
    source, key = source_of(request.client.host if request.client is not None else ""), name.strip().lower()
    tries.check(source, key)
    async with one_of_two(platform):
        tries.check(source, key)  # others that came at once have failed meanwhile
        user = users.named(name)
        stored = await asyncio.to_thread(users.password_hash, user.id if user is not None else "")
        fits = await asyncio.to_thread(passwords.fits, stored, password)
        if not fits:
            wait = tries.failed(source, key)
    if not fits or user is None or stored is None:
        if not platform.tokens.take("refused", 10):
            with contextlib.suppress(WorldError):
                # a name that nobody has may be a password in the wrong place
                told = user.name if user is not None else "(nobody)"
                await asyncio.to_thread(platform.accounts.tokens.note_refusal, told, REFUSED, client=False)
        if wait:
            raise TooMany(f"{REFUSED}; and too many sign-ins have failed", wait)
        raise Unauthenticated(REFUSED)
    tries.succeeded(source, key)
    if passwords.outdated(stored):
        async with one_of_two(platform):
            made = await asyncio.to_thread(passwords.hash, password)
        await asyncio.to_thread(users.renew_hash, user.id, made, was=stored)
        stored = made
    return user, stored


@contextlib.asynccontextmanager
async def one_of_two(platform: Platform) -> AsyncIterator[None]:
    """One of the two places in which passwords are hashed. Raises `Busy` where too many wait for one."""
    hashing = platform.hashing
    if hashing.waiting >= MOST_WAITING:
        raise Busy("too many people sign in at once")
    hashing.waiting += 1
    try:
        async with hashing.places:
            yield
    finally:
        hashing.waiting -= 1


def place_of(accounts: Accounts, user: User, wanted: str = "") -> Member:
    """The account that is meant, by id or name; the one that the user is in the longest where nothing is said. Raises
    `Forbidden`.
    """
    found = accounts.users.places(user.id)
    if not found:
        raise Forbidden("you are in no account: ask for an invitation")
    for place in found:
        if wanted in ("", place.account_id, accounts.name_of(place.account_id)):
            return place
    raise Forbidden("you are in no account of that name")


def signed_in(platform: Platform, place: Member, token: Token) -> dict[str, Any]:
    """The answer to a sign-in."""
    return {
        "access_token": token.text,
        "token_type": "bearer",
        "expires_in": token.life_s,
        "user": {"id": place.user.id, "name": place.user.name},
        "account": _account(platform, place),
        "role": place.role.value,
        "accounts": places(platform, place.user),
    }


def places(platform: Platform, user: User) -> list[dict[str, Any]]:
    """All accounts that a user is in."""
    found = platform.accounts.users.places(user.id)
    return [{"account": _account(platform, place), "role": place.role.value} for place in found]


def _account(platform: Platform, place: Member) -> dict[str, Any]:
    return {"id": place.account_id, "name": platform.accounts.name_of(place.account_id)}


def _actor(platform: Platform, place: Member) -> str:
    return f"{platform.accounts.name_of(place.account_id)} {place.user.name}"
