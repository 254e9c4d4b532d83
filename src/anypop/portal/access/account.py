"""The account itself: its limits with their use, its name, its end. For the operator also those of any other.

In: forms. Out: the page, and the API's own operations. An account is deleted by its name, typed; the one who deletes it
is signed out by that.
"""

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from anypop.portal import cookies
from anypop.portal.access import limits
from anypop.portal.access.asked import ACCOUNTS, BASE, is_operator, is_owner, typed
from anypop.portal.acting import did
from anypop.portal.calls import Problem, Refused
from anypop.portal.visit import SIGN_IN, Page, Visit

HERE = f"{BASE}/account"
ALL = f"{BASE}/accounts"
DONE = {
    "renamed": "The account has its new name.",
    "limits": "The limits are changed, for every declaration from now on. What runs goes on.",
    "created": "The account is there, and nobody is in it yet: invite its owner.",
    "suspended": "Nobody gets into that account any more, and what was open there has ended. What runs goes on.",
    "resumed": "Its people and programs get in again.",
    "deleted": "The account is deleted.",
}


async def page(visit: Visit, *, refused: Refused | None = None) -> Response:
    ref = _ref(visit)
    account = (await visit.api.get(ACCOUNTS, ref))["account"]
    own = account["id"] == visit.who["account"]["id"]
    quota = await (visit.api.get("anypop/v1/quota") if own else visit.api.get(ACCOUNTS, account["id"], "quota"))
    stacks = [
        {"id": one["stack"], "slug": one["slug"], "rows": limits.rows(one["quota"], one["used"], stack=True)}
        for one in quota["stacks"]
    ]
    return visit.page(
        "access_account.html",
        status=refused.status if refused is not None else 200,
        refused=refused,
        done=DONE.get(visit.request.query_params.get("done", ""), ""),
        account=account,
        own=own,
        rows=limits.rows(quota["quota"], quota["used"]),
        of_stacks=stacks,
        owner=is_owner(visit),
        operator=is_operator(visit),
    )


def _ref(visit: Visit) -> str:
    """The account that is meant: the own one, where none is named."""
    return visit.form.get("account", "") or visit.request.query_params.get("account", "") or "mine"


async def rename(visit: Visit) -> Response:
    body = {"name": visit.form.get("name", "").strip()}
    return await _did(visit, "renamed", "PATCH", ACCOUNTS, _ref(visit), body=body)


async def set_limits(visit: Visit) -> Response:
    """Of an account, or of a stack where one is named."""
    stack = visit.form.get("of_stack", "")
    wanted, wrong = limits.read(visit.form, stack=bool(stack))
    if wrong:
        problems = tuple(Problem(field="", says=text) for text in wrong)
        return await page(visit, refused=Refused(400, "Some limits are no numbers; nothing is changed", problems))
    call = ("anypop/v1/stacks", stack, "quota") if stack else (ACCOUNTS, await _id(visit), "quota")
    return await _did(visit, "limits", "PUT", *call, body={"quota": wanted})


async def _id(visit: Visit) -> str:
    return str((await visit.api.get(ACCOUNTS, _ref(visit)))["account"]["id"])


async def _did(visit: Visit, word: str, method: str, *call: str, body: Mapping[str, Any]) -> Response:
    ref = visit.form.get("account", "")
    after = visit.to(HERE, account=ref, done=word) if ref else visit.to(HERE, done=word)
    return await did(visit, page, after, method, *call, body=body)


async def delete(visit: Visit) -> Response:
    account = (await visit.api.get(ACCOUNTS, _ref(visit)))["account"]
    if wrong := typed(visit, account["name"], what="delete the account with its users, stacks and credentials"):
        return await page(visit, refused=wrong)
    try:
        await visit.api.send("DELETE", ACCOUNTS, account["id"], query={"confirm": account["name"]})
    except Refused as refused:
        return await page(visit, refused=refused)
    if account["id"] != visit.who["account"]["id"]:
        return visit.to(ALL, done="deleted")
    answer = visit.to(SIGN_IN, deleted="yes")
    cookies.forget(answer, cookies.SESSION)
    return answer


async def listed(visit: Visit, *, refused: Refused | None = None) -> Response:
    """All accounts, of the operator."""
    if not visit.who.get("operator"):
        raise Refused(403, "All accounts are for the operator of the platform")
    return visit.page(
        "access_accounts.html",
        status=refused.status if refused is not None else 200,
        refused=refused,
        done=DONE.get(visit.request.query_params.get("done", ""), ""),
        accounts=(await visit.api.get(ACCOUNTS))["results"],
        operator=is_operator(visit),
    )


async def create(visit: Visit) -> Response:
    body = {"name": visit.form.get("name", "").strip()}
    return await did(visit, listed, visit.to(ALL, done="created"), "POST", ACCOUNTS, body=body)


async def suspend(visit: Visit) -> Response:
    return await did(
        visit, listed, visit.to(ALL, done="suspended"), "POST", ACCOUNTS, visit.form.get("account", ""), "suspend"
    )


async def resume(visit: Visit) -> Response:
    return await did(
        visit, listed, visit.to(ALL, done="resumed"), "POST", ACCOUNTS, visit.form.get("account", ""), "resume"
    )


PAGES: tuple[tuple[str, str, Page], ...] = (
    ("GET", HERE, page),
    ("POST", f"{HERE}/rename", rename),
    ("POST", f"{HERE}/limits", set_limits),
    ("POST", f"{HERE}/delete", delete),
    ("GET", ALL, listed),
    ("POST", ALL, create),
    ("POST", f"{ALL}/suspend", suspend),
    ("POST", f"{ALL}/resume", resume),
)
