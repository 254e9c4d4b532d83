"""Invitations: how people come into the account; for the operator also into new ones, and requests to approve.

In: forms. Out: the page, and the API's own operations. A token is shown once, as a link to hand on; whoever lets an
invitation go may make another one, so nothing has to be typed for it.
"""

from typing import Any
from urllib.parse import urlencode

from starlette.responses import Response

from anypop.portal.access.asked import ACCOUNTS, BASE, is_operator, is_owner
from anypop.portal.access.users import ROLES
from anypop.portal.acting import did
from anypop.portal.calls import Refused
from anypop.portal.visit import SIGN_IN, Page, Visit

HERE = f"{BASE}/invitations"
OPEN = "anypop/v1/invitations"
DONE = {
    "withdrawn": "It is withdrawn: its token opens nothing any more.",
    "approved": "It is approved: the token that the asker has opens the account from now on, for two weeks.",
    "refused": "It is refused.",
}


async def page(visit: Visit, *, refused: Refused | None = None, made: Any = None) -> Response:
    """`made`: an invitation with its token, which this answer alone shows."""
    if not is_owner(visit):
        raise Refused(403, "Invitations are for owners of the account")
    own = (await visit.api.get(ACCOUNTS, "mine", "invitations"))["results"]
    others = (await visit.api.get(OPEN))["results"] if is_operator(visit) else []
    return visit.page(
        "access_invitations.html",
        status=refused.status if refused is not None else 200,
        refused=refused,
        done=DONE.get(visit.request.query_params.get("done", ""), ""),
        own=own,
        requests=[one for one in others if one["kind"] == "request"],
        others=[one for one in others if one["kind"] != "request"],
        made=made,
        link=_link(visit, made["token"]) if made is not None else "",
        roles=ROLES,
        operator=is_operator(visit),
        kept=visit.form if refused is not None else {},
    )


def _link(visit: Visit, token: str) -> str:
    url = visit.request.url
    return f"{url.scheme}://{url.netloc}{SIGN_IN}/invitation?{urlencode({'token': token})}"


async def invite(visit: Visit) -> Response:
    body = _asked(visit) | {"role": visit.form.get("role", "")}
    return await _made(visit, ACCOUNTS, "mine", "invitations", body=body)


async def invite_to_new(visit: Visit) -> Response:
    return await _made(visit, OPEN, body=_asked(visit) | {"account": visit.form.get("account", "").strip()})


def _asked(visit: Visit) -> dict[str, Any]:
    days = visit.form.get("days", "").strip()
    plain = days.isdecimal() and days.isascii() and len(days) < 6
    return {"note": visit.form.get("note", "").strip(), "days": int(days) if plain else 7}


async def _made(visit: Visit, *call: str, body: object) -> Response:
    try:
        made = (await visit.api.send("POST", *call, body=body))["invitation"]
    except Refused as refused:
        return await page(visit, refused=refused)
    return await page(visit, made=made)


async def withdraw(visit: Visit) -> Response:
    call = (ACCOUNTS, "mine", "invitations", visit.form.get("invitation", ""))
    return await did(visit, page, visit.to(HERE, done="withdrawn"), "DELETE", *call)


async def approve(visit: Visit) -> Response:
    return await did(
        visit, page, visit.to(HERE, done="approved"), "POST", OPEN, visit.form.get("invitation", ""), "approve"
    )


async def refuse(visit: Visit) -> Response:
    word = "withdrawn" if visit.form.get("kind") != "request" else "refused"
    return await did(visit, page, visit.to(HERE, done=word), "DELETE", OPEN, visit.form.get("invitation", ""))


PAGES: tuple[tuple[str, str, Page], ...] = (
    ("GET", HERE, page),
    ("POST", HERE, invite),
    ("POST", f"{HERE}/new-account", invite_to_new),
    ("POST", f"{HERE}/withdraw", withdraw),
    ("POST", f"{HERE}/approve", approve),
    ("POST", f"{HERE}/refuse", refuse),
)
