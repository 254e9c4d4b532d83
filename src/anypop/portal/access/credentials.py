"""Credentials: client ids and secrets of programs. A secret is shown once, in the answer to the form that made it.

In: forms. Out: the page, and the API's own operations. Deleting one, or giving it a new secret, ends what runs by it at
once; its name is typed, also since it may be the one by which one has signed in.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.responses import Response

from anypop.portal.access.asked import BASE, is_owner, own_id, typed
from anypop.portal.acting import did
from anypop.portal.calls import Refused
from anypop.portal.visit import Page, Visit

HERE = f"{BASE}/credentials"
USERS = "identity/v1/users"
MOST = 1000
DONE = {"deleted": "The credential is deleted; its tokens have ended."}


async def page(visit: Visit, *, refused: Refused | None = None, made: Any = None, **_: Any) -> Response:
    """`made`: a credential with its secret, which this answer alone shows."""
    found = await _listed(visit)
    people = {one["id"]: one["name"] for one in (await visit.api.get("anypop/v1/accounts", "mine", "users"))["results"]}
    return visit.page(
        "access_credentials.html",
        status=refused.status if refused is not None else 200,
        refused=refused,
        done=DONE.get(visit.request.query_params.get("done", ""), ""),
        found=found,
        made=made,
        people=people,
        slugs={one["id"]: one["slug"] for one in visit.stacks},
        owner=is_owner(visit),
        own=own_id(visit),
        kept=visit.form if refused is not None else {},
    )


async def _listed(visit: Visit) -> list[Any]:
    """One's own; for an owner all of the account."""
    whose = str(visit.who["account"]["id"]) if is_owner(visit) else "me"
    found: list[Any] = (await visit.api.get(USERS, whose, "credentials", **{"page_request.first": MOST}))["results"]
    return found


async def create(visit: Visit) -> Response:
    form = visit.form
    whose = str(visit.who["account"]["id"]) if form.get("of") == "account" or not own_id(visit) else "me"
    body: dict[str, Any] = {"name": form.get("name", "").strip(), "scope": form.get("scope", "write")}
    if stack := form.get("stack", ""):
        body["stack"] = stack
    if days := form.get("days", "").strip():
        if not (days.isdecimal() and days.isascii() and 0 < int(days[:6]) <= 36_500):
            return await page(visit, refused=Refused(400, "Days are a whole number, 1 to 36500, or nothing for no end"))
        body["expiresAt"] = (datetime.now(UTC) + timedelta(days=int(days))).isoformat()
    return await _secret(visit, USERS, whose, "credentials", body=body)


async def rotate(visit: Visit) -> Response:
    found, whose = await _named(visit)
    if wrong := typed(visit, called(found), what="give it a new secret"):
        return await page(visit, refused=wrong)
    return await _secret(visit, USERS, whose, "credentials", found["id"], "rotate")


async def delete(visit: Visit) -> Response:
    found, whose = await _named(visit)
    if wrong := typed(visit, called(found), what="delete this credential"):
        return await page(visit, refused=wrong)
    return await did(visit, page, visit.to(HERE, done="deleted"), "DELETE", USERS, whose, "credentials", found["id"])


def called(found: Any) -> str:
    """The word to type: its name; of one without a name how its client id begins."""
    return str(found["name"] or found["clientId"][:8])


async def _named(visit: Visit) -> tuple[Any, str]:
    """The credential that the form means, and whose the API has it. Raises `Refused`."""
    whose = str(visit.who["account"]["id"]) if is_owner(visit) else "me"
    return await visit.api.get(USERS, whose, "credentials", visit.form.get("credential", "")), whose


async def _secret(visit: Visit, *call: str, body: object = None) -> Response:
    try:
        made = await visit.api.send("POST", *call, body=body)
    except Refused as refused:
        return await page(visit, refused=refused)
    if visit.who.get("client_id") == made["clientId"]:
        return visit.page("access_secret.html", made=made)  # this session is over: no page can be asked for any more
    return await page(visit, made=made)


PAGES: tuple[tuple[str, str, Page], ...] = (
    ("GET", HERE, page),
    ("POST", HERE, create),
    ("POST", f"{HERE}/rotate", rotate),
    ("POST", f"{HERE}/delete", delete),
)
