"""What the pages of access have in common: who looks, and what he may; and what cannot be undone needs a name, typed.

In: a visit. Out: what of it counts.
"""

from typing import Any

from anypop.portal.calls import Refused
from anypop.portal.visit import Visit

BASE = "/portal/access"
ACCOUNTS = "anypop/v1/accounts"


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
