"""What the pages of access have in common: a form that becomes one operation of the API, and the page after it.

In: a form, and the operation that it means. Out: the page again with what was done; or with the API's words, where it
refused. What cannot be undone needs a name, typed.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.responses import Response

from anypop.portal.calls import Refused
from anypop.portal.visit import Visit

BASE = "/portal/access"
ACCOUNTS = "anypop/v1/accounts"

# shows the page again, with a refusal or with what is told this once
Shown = Callable[..., Awaitable[Response]]


async def did(
    visit: Visit, page: Shown, path: str, word: str, method: str, *call: str, body: object = None
) -> Response:
    """One operation, and the page at `path` after it, which says `word`. What nobody may undo unawares was asked
    before.
    """
    try:
        await visit.api.send(method, *call, body=body)
    except Refused as refused:
        if refused.status == 401:
            raise
        return await page(visit, refused=refused)
    return visit.to(path, done=word)


def typed(visit: Visit, name: str, *, what: str) -> Refused | None:
    """The refusal, where the form has not `name` in it, typed."""
    if visit.form.get("confirm", "").strip() == name:
        return None
    return Refused(400, f"To {what}, type {name}")


def own_id(visit: Visit) -> str:
    """Of the user who looks; empty: a program's credential, which is nobody's."""
    user: Any = visit.who.get("user") or {}
    return str(user.get("id", ""))


def is_owner(visit: Visit) -> bool:
    return visit.who.get("role") == "owner"


def is_operator(visit: Visit) -> bool:
    """One who may change what is the operator's."""
    return bool(visit.who.get("operator")) and is_owner(visit)
