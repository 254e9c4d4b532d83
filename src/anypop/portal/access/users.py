"""The users of the account: who is in it, with which role; and one's own password.

In: forms. Out: the page, and the API's own operations. Who changes or removes oneself is told what it means, and types
the own name: the account keeps an owner, but perhaps not this one.
"""

from typing import Any

from starlette.responses import Response

from anypop.portal import cookies
from anypop.portal.access.asked import ACCOUNTS, BASE, is_operator, is_owner, own_id, typed
from anypop.portal.acting import did
from anypop.portal.calls import Refused, SignedOut
from anypop.portal.visit import SIGN_IN, Page, Visit

ROLES = {
    "viewer": "sees everything, changes nothing",
    "editor": "creates, changes and deletes what runs",
    "owner": "also decides who is here",
}
DONE = {
    "role": "The role is changed, and counts at once.",
    "removed": "The user is out of this account; its sessions and credentials here have ended.",
}


async def page(visit: Visit, *, refused: Refused | None = None, **once: Any) -> Response:
    """`once`: a token that is shown with this answer alone."""
    found = (await visit.api.get(ACCOUNTS, "mine", "users"))["results"]
    return visit.page(
        "access_users.html",
        status=refused.status if refused is not None else 200,
        refused=refused,
        done=DONE.get(visit.request.query_params.get("done", ""), ""),
        users=found,
        roles=ROLES,
        owner=is_owner(visit),
        operator=is_operator(visit),
        own=own_id(visit),
        owners=sum(one["role"] == "owner" for one in found),
        once=once,
    )


async def set_role(visit: Visit) -> Response:
    user = await _named(visit)
    if user["id"] == own_id(visit) and (wrong := typed(visit, user["name"], what="change your own role")):
        return await page(visit, refused=wrong)
    body = {"role": visit.form.get("role", "")}
    return await did(
        visit, page, visit.to(BASE, done="role"), "PATCH", ACCOUNTS, "mine", "users", user["id"], body=body
    )


async def remove(visit: Visit) -> Response:
    user = await _named(visit)
    own = user["id"] == own_id(visit)
    if wrong := typed(visit, user["name"], what=f"remove {'yourself' if own else user['name']} from this account"):
        return await page(visit, refused=wrong)
    return await did(visit, page, visit.to(BASE, done="removed"), "DELETE", ACCOUNTS, "mine", "users", user["id"])


async def reset(visit: Visit) -> Response:
    """A token for a new password, which is shown once."""
    user = await _named(visit)
    try:
        made = await visit.api.send("POST", "anypop/v1/users", user["id"], "reset")
    except Refused as refused:
        return await page(visit, refused=refused)
    return await page(
        visit, name=user["name"], token=made["invitation"]["token"], ends=made["invitation"]["expires_at"]
    )


async def _named(visit: Visit) -> Any:
    """The user whom the form means. Raises `Refused`."""
    return (await visit.api.get(ACCOUNTS, "mine", "users", visit.form.get("user", "")))["user"]


async def change_password(visit: Visit) -> Response:
    """One's own. All sessions end with it, this one too."""
    if visit.form.get("new", "") != visit.form.get("again", ""):
        return await page(visit, refused=Refused(400, "The new password is not the same in both fields"))
    body = {"password": visit.form.get("password", ""), "new": visit.form.get("new", "")}
    try:
        await visit.api.send("POST", "anypop/v1/password", body=body)
    except SignedOut as out:  # so the API calls a wrong password too; if the session is over, the page finds out
        return await page(visit, refused=out.refused)
    except Refused as refused:
        return await page(visit, refused=refused)
    answer = visit.to(SIGN_IN, changed="yes")
    cookies.forget(answer, cookies.SESSION)
    return answer


PAGES: tuple[tuple[str, str, Page], ...] = (
    ("GET", BASE, page),
    ("POST", f"{BASE}/users/role", set_role),
    ("POST", f"{BASE}/users/remove", remove),
    ("POST", f"{BASE}/users/reset", reset),
    ("POST", f"{BASE}/password", change_password),
)
