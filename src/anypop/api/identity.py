"""/identity/v1: tokens and credentials, as the Workload API's clients use them.

A token is asked for in JSON or as a form, both are in use. Client ids that nobody has answer 404, wrong secrets 401: clients print
different errors for the two.
"""

import asyncio
from typing import Any
from urllib.parse import parse_qs

from fastapi import APIRouter, Request, Response

from anypop.api import pages, shapes
from anypop.api.bodies import Body, object_of, raw_body, text
from anypop.api.context import CallerAccount, PlatformDep
from anypop.control.accounts import TOKEN_LIFE_S, Account, Credential
from anypop.control.refusals import NotFound
from anypop.model.errors import Invalid, Problem

router = APIRouter()


@router.post("/identity/v1/oauth2/token")
async def token(request: Request, platform: PlatformDep) -> dict[str, Any]:
    body = await _credentials(request)
    problems = [Problem(path=name, message="is required") for name in ("client_id", "client_secret") if not body.get(name)]
    if body.get("grant_type", "client_credentials") != "client_credentials":
        problems.append(Problem(path="grant_type", message="must be client_credentials"))
    if problems:
        raise Invalid(problems)
    issued = await asyncio.to_thread(platform.accounts.issue_token, body["client_id"], body["client_secret"])
    return {"access_token": issued, "token_type": "bearer", "expires_in": TOKEN_LIFE_S}


async def _credentials(request: Request) -> dict[str, str]:
    raw = await raw_body(request)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/x-www-form-urlencoded":
        return {name: values[-1] for name, values in parse_qs(raw.decode("utf-8", "replace")).items()}
    body = object_of(raw)
    given = {name: body[name] for name in ("grant_type", "client_id", "client_secret") if body.get(name) is not None}
    wrong = [Problem(path=name, message="must be a text") for name, value in given.items() if not isinstance(value, str)]
    if wrong:
        raise Invalid(wrong)
    return given


# `user_id`: every account is one user here; its id is the account's, `me` is the caller's own.
_USER = "/identity/v1/users/{user_id}/credentials"


def _is_me(user_id: str, account: Account) -> None:
    if user_id not in (account.id, "me"):
        raise NotFound(f"no user {user_id}")


@router.get(_USER)
async def list_credentials(request: Request, user_id: str, account: CallerAccount, platform: PlatformDep) -> dict[str, Any]:
    _is_me(user_id, account)
    found = await asyncio.to_thread(platform.accounts.credentials, account.id)
    return pages.page(found, request.query_params, _credential)


@router.post(_USER)
async def create_credential(user_id: str, account: CallerAccount, platform: PlatformDep, body: Body) -> dict[str, Any]:
    _is_me(user_id, account)
    return _credential(await asyncio.to_thread(platform.accounts.create_credential, account.id, text(body, "name")))


@router.get(_USER + "/{credential_id}")
async def get_credential(user_id: str, credential_id: str, account: CallerAccount, platform: PlatformDep) -> dict[str, Any]:
    _is_me(user_id, account)
    return _credential(await asyncio.to_thread(platform.accounts.credential, account.id, credential_id))


@router.delete(_USER + "/{credential_id}", status_code=204)
async def delete_credential(user_id: str, credential_id: str, account: CallerAccount, platform: PlatformDep) -> Response:
    _is_me(user_id, account)
    await asyncio.to_thread(platform.accounts.delete_credential, account.id, credential_id)
    return Response(status_code=204)


@router.post(_USER + "/{credential_id}/rotate")
async def rotate_credential(user_id: str, credential_id: str, account: CallerAccount, platform: PlatformDep) -> dict[str, Any]:
    _is_me(user_id, account)
    return _credential(await asyncio.to_thread(platform.accounts.rotate_credential, account.id, credential_id))


def _credential(found: Credential) -> dict[str, Any]:
    data = {"id": found.id, "name": found.name, "clientId": found.client_id, "createdAt": shapes.moment(found.created_at)}
    return data | ({"clientSecret": found.secret} if found.secret else {})
