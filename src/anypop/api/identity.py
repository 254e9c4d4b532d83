"""/identity/v1: tokens and credentials, as the Workload API's clients use them.

A token is asked for in JSON or as a form, both are in use. Client ids that nobody has answer 404, wrong secrets 401:
clients print different errors for the two.
"""

import asyncio
import base64
import contextlib
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import parse_qs, unquote_plus

from fastapi import APIRouter, Depends, Path, Request, Response

from anypop.api import pages, shapes
from anypop.api.bodies import JSON, JsonBody, RequestBody, model_of, object_of, raw_body
from anypop.api.context import AskingCaller, Platform, PlatformDep
from anypop.api.documentation import answers
from anypop.api.door import source_of
from anypop.api.errors import Code
from anypop.api.models.identity import Credential as ShownCredential
from anypop.api.models.identity import CredentialPage, CredentialRequest, Token, TokenRequest
from anypop.control import acts
from anypop.control.accounts import Account, Caller, Credential
from anypop.control.acts import Act
from anypop.control.rates import TOKENS_PER_S, TooMany
from anypop.control.refusals import Forbidden, NotFound, WrongSecret
from anypop.control.roles import Role, Scope
from anypop.model import limits
from anypop.model.errors import Invalid, WorldError

router = APIRouter(tags=["identity"])

# Nobody has said who it is yet.
SIGN_IN_LIMIT = 1 << 18
FORM = "application/x-www-form-urlencoded"


class TokenBody(RequestBody):
    """Client credentials in JSON or as a form (Go's OAuth2 library sends the latter); id and secret may stand in the
    header instead (RFC 6749, section 2.3.1).
    """

    def __init__(self) -> None:
        super().__init__({JSON: TokenRequest, FORM: TokenRequest})

    async def __call__(self, request: Request) -> TokenRequest:
        raw = await raw_body(request, limit=SIGN_IN_LIMIT)
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == FORM:
            form: dict[str, Any] = {n: values[-1] for n, values in parse_qs(raw.decode("utf-8", "replace")).items()}
        else:
            form = object_of(raw)
        form |= _basic(request.headers.get("authorization", ""))
        limits.check(form)
        return model_of(TokenRequest, form)


def _basic(header: str) -> dict[str, str]:
    """Client id and secret of an `Authorization: Basic` header; empty where it is another or none. Raises `Invalid`."""
    scheme, _, text = header.partition(" ")
    if scheme.lower() != "basic":
        return {}
    try:
        client_id, colon, secret = base64.b64decode(text.strip(), validate=True).decode().partition(":")
    except ValueError:
        colon = ""
    if not colon:
        raise Invalid.one("authorization", "must be Basic and base64 of CLIENT_ID:CLIENT_SECRET")
    return {"client_id": unquote_plus(client_id), "client_secret": unquote_plus(secret)}


@router.post("/identity/v1/oauth2/token")
@answers(Token, Code.UNAUTHENTICATED, Code.NOT_FOUND)
async def issue_token(
    request: Request, platform: PlatformDep, body: Annotated[TokenRequest, Depends(TokenBody())]
) -> dict[str, Any]:
    """Get an access token for client credentials."""
    source = source_of(request.client.host if request.client is not None else "")
    platform.sign_ins.check(source, body.client_id)
    if wait := platform.tokens.take(f"{source} {body.client_id}", TOKENS_PER_S):
        raise TooMany(f"{TOKENS_PER_S} tokens in a second are given to one client; a token lasts for an hour", wait)
    acts.begin(replace(acts.current() or Act(), operation="issue_token", actor=body.client_id, subject=body.client_id))
    try:
        issued = await asyncio.to_thread(platform.accounts.issue_token, body.client_id, body.client_secret)
    except (NotFound, WrongSecret) as error:
        wait = platform.sign_ins.failed(source, body.client_id)
        # a flood from many addresses must not become one of the disk: ten in a second are told
        if not platform.tokens.take("refused", 10):
            with contextlib.suppress(WorldError):  # a store that cannot be written makes no other answer of it
                await asyncio.to_thread(platform.accounts.tokens.note_refusal, body.client_id, error.message)
        if wait:
            raise TooMany(f"{error.message}; and too many sign-ins have failed", wait) from error
        raise
    platform.sign_ins.succeeded(source, body.client_id)
    return {"access_token": issued.text, "token_type": "bearer", "expires_in": issued.life_s}


_USER = "/identity/v1/users/{user_id}/credentials"
UserId = Annotated[
    str, Path(description="a user's id; `me`: whoever asks; the account's id: all of the account, for its owners")
]
CredentialId = Annotated[str, Path(description="id or client id")]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Whose:
    """`user_id` None: the account's own. `everybodys`: those of its users as well."""

    user_id: str | None
    everybodys: bool = False

    def has(self, found: Credential) -> bool:
        return self.everybodys or found.user_id == self.user_id


def _whose(platform: Platform, caller: Caller, user_id: str) -> _Whose:
    """Whose credentials the path means. Raises `NotFound`, and `Forbidden` for those of others to all but owners."""
    own = caller.user.id if caller.user is not None else None
    if user_id in ("me", own):
        return _Whose(user_id=own)
    if user_id != caller.account.id:
        platform.accounts.users.member(user_id, caller.account.id)
    elif own is None:
        return _Whose(user_id=None, everybodys=caller.role is Role.OWNER)
    if caller.role is not Role.OWNER:
        raise Forbidden(f"credentials of others are for owners, and here you have {caller.role}")
    of_account = user_id == caller.account.id
    return _Whose(user_id=None if of_account else user_id, everybodys=of_account)


def _to_be_made(platform: Platform, caller: Caller, user_id: str) -> str | None:
    """For whom a secret may be made: whoever has it acts in that name. None: for the account itself."""
    whose = _whose(platform, caller, user_id).user_id
    if whose is not None and (caller.user is None or whose != caller.user.id):
        raise Forbidden("a secret of a user is made by that user alone; delete the credential if it has to go")
    return whose


def _one(platform: Platform, whose: _Whose, account: Account, credential_id: str) -> Credential:
    found = platform.accounts.credential(account.id, credential_id)
    if not whose.has(found):
        raise NotFound("no such credential")
    return found


@router.get(_USER)
@answers(CredentialPage, Code.NOT_FOUND)
async def list_credentials(
    query: pages.PageQuery, user_id: UserId, caller: AskingCaller, platform: PlatformDep
) -> dict[str, Any]:
    """List credentials, without their secrets: one's own, and for an owner those of the account."""
    whose = _whose(platform, caller, user_id)
    found = await asyncio.to_thread(platform.accounts.credentials, caller.account.id)
    return pages.page([one for one in found if whose.has(one)], query, _credential, ShownCredential)


@router.post(_USER)
@answers(ShownCredential, Code.NOT_FOUND)
async def create_credential(
    user_id: UserId,
    caller: AskingCaller,
    platform: PlatformDep,
    body: Annotated[CredentialRequest, Depends(JsonBody(CredentialRequest))],
) -> dict[str, Any]:
    """Create a credential; its secret is in this answer and never again."""
    owner = _to_be_made(platform, caller, user_id)
    stack = platform.accounts.stack(caller.account.id, body.stack) if body.stack else None
    made = await asyncio.to_thread(
        platform.accounts.create_credential, caller.account.id, body.name,
        user_id=owner,
        stack_id=stack.id if stack is not None else None,
        scope=Scope(body.scope),
        expires_at=_end(body.expires_at, caller, platform.clock()),
    )  # fmt: skip
    return _credential(made)


def _end(wanted: datetime | None, caller: Caller, now: float) -> float | None:
    """When the new one ends: one that ends makes none that lasts longer. Raises `Invalid`."""
    end = wanted.timestamp() if wanted is not None else caller.ends_at
    if end is not None and end <= now:
        raise Invalid.one("expiresAt", "must lie ahead")
    if end is not None and caller.ends_at is not None and end > caller.ends_at:
        raise Invalid.one("expiresAt", "must not be later than the end of the credential that makes it")
    return end


@router.get(_USER + "/{credential_id}")
@answers(ShownCredential, Code.NOT_FOUND)
async def get_credential(
    user_id: UserId, credential_id: CredentialId, caller: AskingCaller, platform: PlatformDep
) -> dict[str, Any]:
    """Get one credential, without its secret."""
    whose = _whose(platform, caller, user_id)
    return _credential(await asyncio.to_thread(_one, platform, whose, caller.account, credential_id))


@router.delete(_USER + "/{credential_id}", status_code=204)
@answers(None, Code.NOT_FOUND)
async def delete_credential(
    user_id: UserId, credential_id: CredentialId, caller: AskingCaller, platform: PlatformDep
) -> Response:
    """Delete a credential; its tokens end at once."""
    whose = _whose(platform, caller, user_id)
    found = await asyncio.to_thread(_one, platform, whose, caller.account, credential_id)
    await asyncio.to_thread(platform.accounts.delete_credential, caller.account.id, found.id)
    return Response(status_code=204)


@router.post(_USER + "/{credential_id}/rotate")
@answers(ShownCredential, Code.NOT_FOUND)
async def rotate_credential(
    user_id: UserId, credential_id: CredentialId, caller: AskingCaller, platform: PlatformDep
) -> dict[str, Any]:
    """Give a credential a new secret; tokens made with the old one end at once."""
    whose = _whose(platform, caller, user_id)
    found = await asyncio.to_thread(_one, platform, whose, caller.account, credential_id)
    if found.user_id is not None:
        _to_be_made(platform, caller, found.user_id)
    if caller.ends_at is not None and (found.expires_at is None or found.expires_at > caller.ends_at):
        raise Forbidden("this credential ends, and the other one later: it may not have the other's secret")
    return _credential(await asyncio.to_thread(platform.accounts.rotate_credential, caller.account.id, found.id))


def _credential(found: Credential) -> dict[str, Any]:
    data = {
        "id": found.id,
        "name": found.name,
        "clientId": found.client_id,
        "createdAt": shapes.moment(found.created_at),
        "scope": found.scope.value,
    }
    if found.user_id is not None:
        data["userId"] = found.user_id
    if found.stack_id is not None:
        data["stackId"] = found.stack_id
    if found.expires_at is not None:
        data["expiresAt"] = shapes.moment(found.expires_at)
    return data | ({"clientSecret": found.secret} if found.secret else {})
