"""/identity/v1 and /stack/v1: tokens, credentials, stacks, as the Workload API's clients use them.

A token is asked for in JSON or as a form, both are in use. Client ids that nobody has answer 404, wrong secrets 401: clients print
different errors for the two.
"""

import asyncio
from typing import Any
from urllib.parse import parse_qs

from fastapi import APIRouter, Request, Response

from anypop.api import pages, shapes
from anypop.api.context import Body, Here, In, Who, object_of, raw_body, text
from anypop.control.accounts import TOKEN_LIFE_S, Account, Credential
from anypop.control.refusals import NotFound
from anypop.model.errors import Invalid, Problem

router = APIRouter()


@router.post("/identity/v1/oauth2/token")
async def token(request: Request, here: Here) -> dict[str, Any]:
    body = await _credentials(request)
    problems = [Problem(path=name, message="is required") for name in ("client_id", "client_secret") if not body.get(name)]
    if body.get("grant_type", "client_credentials") != "client_credentials":
        problems.append(Problem(path="grant_type", message="must be client_credentials"))
    if problems:
        raise Invalid(problems)
    issued = await asyncio.to_thread(here.accounts.issue_token, body["client_id"], body["client_secret"])
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


# `user_id`: every account is one user here; its id is the account's, `me` is whoever asks.
_USER = "/identity/v1/users/{user_id}/credentials"


def _is_me(user_id: str, who: Account) -> None:
    if user_id not in (who.id, "me"):
        raise NotFound(f"no user {user_id}")


@router.get(_USER)
async def list_credentials(request: Request, user_id: str, who: Who, here: Here) -> dict[str, Any]:
    _is_me(user_id, who)
    found = await asyncio.to_thread(here.accounts.credentials, who.id)
    return pages.page(found, request.query_params, _credential)


@router.post(_USER)
async def create_credential(user_id: str, who: Who, here: Here, body: Body) -> dict[str, Any]:
    _is_me(user_id, who)
    return _credential(await asyncio.to_thread(here.accounts.create_credential, who.id, text(body, "name")))


@router.get(_USER + "/{credential_id}")
async def get_credential(user_id: str, credential_id: str, who: Who, here: Here) -> dict[str, Any]:
    _is_me(user_id, who)
    return _credential(await asyncio.to_thread(here.accounts.credential, who.id, credential_id))


@router.delete(_USER + "/{credential_id}", status_code=204)
async def delete_credential(user_id: str, credential_id: str, who: Who, here: Here) -> Response:
    _is_me(user_id, who)
    await asyncio.to_thread(here.accounts.delete_credential, who.id, credential_id)
    return Response(status_code=204)


@router.post(_USER + "/{credential_id}/rotate")
async def rotate_credential(user_id: str, credential_id: str, who: Who, here: Here) -> dict[str, Any]:
    _is_me(user_id, who)
    return _credential(await asyncio.to_thread(here.accounts.rotate_credential, who.id, credential_id))


def _credential(found: Credential) -> dict[str, Any]:
    data = {"id": found.id, "name": found.name, "clientId": found.client_id, "createdAt": shapes.moment(found.created_at)}
    return data | ({"clientSecret": found.secret} if found.secret else {})


@router.get("/stack/v1/stacks")
async def list_stacks(request: Request, who: Who, here: Here) -> dict[str, Any]:
    return pages.page(here.accounts.stacks(who.id), request.query_params, shapes.stack)


@router.post("/stack/v1/stacks")
async def create_stack(who: Who, here: Here, body: Body) -> dict[str, Any]:
    if (account := text(body, "accountId")) not in ("", who.id):
        raise Invalid.one("accountId", f"you are not account {account}")
    made = await asyncio.to_thread(here.accounts.create_stack, who.id, text(body, "name"), text(body, "slug"))
    return {"stack": shapes.stack(made)}


@router.get("/stack/v1/stacks/{stack_id}")
async def get_stack(stack: In) -> dict[str, Any]:
    return shapes.stack(stack)


@router.patch("/stack/v1/stacks/{stack_id}")
async def rename_stack(stack: In, who: Who, here: Here, body: Body) -> dict[str, Any]:
    return {"stack": shapes.stack(await asyncio.to_thread(here.accounts.rename_stack, who.id, stack.id, text(body, "name")))}
