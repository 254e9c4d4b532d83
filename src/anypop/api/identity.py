"""/identity/v1: tokens and credentials, as the Workload API's clients use them.

A token is asked for in JSON or as a form, both are in use. Client ids that nobody has answer 404, wrong secrets 401:
clients print different errors for the two.
"""

import asyncio
import base64
import contextlib
from dataclasses import replace
from typing import Annotated, Any
from urllib.parse import parse_qs, unquote_plus

from fastapi import APIRouter, Depends, Path, Request, Response

from anypop.api import pages, shapes
from anypop.api.bodies import JSON, JsonBody, RequestBody, model_of, object_of, raw_body
from anypop.api.context import CallerAccount, PlatformDep
from anypop.api.documentation import answers
from anypop.api.door import source_of
from anypop.api.errors import Code
from anypop.api.models.identity import Credential as ShownCredential
from anypop.api.models.identity import CredentialPage, CredentialRequest, Token, TokenRequest
from anypop.control import acts
from anypop.control.accounts import Account, Credential
from anypop.control.acts import Act
from anypop.control.rates import TOKENS_PER_S, TooMany
from anypop.control.refusals import NotFound, WrongSecret
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


# Every account is one user here.
_USER = "/identity/v1/users/{user_id}/credentials"
UserId = Annotated[str, Path(description="the account's id, or `me`: whoever asks")]
CredentialId = Annotated[str, Path(description="id or client id")]


def _check_user(user_id: str, account: Account) -> None:
    if user_id not in (account.id, "me"):
        raise NotFound(f"no user {user_id}")


@router.get(_USER)
@answers(CredentialPage, Code.NOT_FOUND)
async def list_credentials(
    query: pages.PageQuery, user_id: UserId, account: CallerAccount, platform: PlatformDep
) -> dict[str, Any]:
    """List the caller's credentials, without their secrets."""
    _check_user(user_id, account)
    found = await asyncio.to_thread(platform.accounts.credentials, account.id)
    return pages.page(found, query, _credential, ShownCredential)


@router.post(_USER)
@answers(ShownCredential, Code.NOT_FOUND)
async def create_credential(
    user_id: UserId,
    account: CallerAccount,
    platform: PlatformDep,
    body: Annotated[CredentialRequest, Depends(JsonBody(CredentialRequest))],
) -> dict[str, Any]:
    """Create a credential; its secret is in this answer and never again."""
    _check_user(user_id, account)
    return _credential(await asyncio.to_thread(platform.accounts.create_credential, account.id, body.name))


@router.get(_USER + "/{credential_id}")
@answers(ShownCredential, Code.NOT_FOUND)
async def get_credential(
    user_id: UserId, credential_id: CredentialId, account: CallerAccount, platform: PlatformDep
) -> dict[str, Any]:
    """Get one credential, without its secret."""
    _check_user(user_id, account)
    return _credential(await asyncio.to_thread(platform.accounts.credential, account.id, credential_id))


@router.delete(_USER + "/{credential_id}", status_code=204)
@answers(None, Code.NOT_FOUND)
async def delete_credential(
    user_id: UserId, credential_id: CredentialId, account: CallerAccount, platform: PlatformDep
) -> Response:
    """Delete a credential; its tokens end at once."""
    _check_user(user_id, account)
    await asyncio.to_thread(platform.accounts.delete_credential, account.id, credential_id)
    return Response(status_code=204)


@router.post(_USER + "/{credential_id}/rotate")
@answers(ShownCredential, Code.NOT_FOUND)
async def rotate_credential(
    user_id: UserId, credential_id: CredentialId, account: CallerAccount, platform: PlatformDep
) -> dict[str, Any]:
    """Give a credential a new secret; tokens made with the old one end at once."""
    _check_user(user_id, account)
    return _credential(await asyncio.to_thread(platform.accounts.rotate_credential, account.id, credential_id))


def _credential(found: Credential) -> dict[str, Any]:
    data = {
        "id": found.id,
        "name": found.name,
        "clientId": found.client_id,
        "createdAt": shapes.moment(found.created_at),
    }
    return data | ({"clientSecret": found.secret} if found.secret else {})
