"""The allocations and claims of a set: each read beside what is there, and what became of it.

In: documents as POST and PATCH take them, and control's state. Out: one step for each, which creates it or brings what
is there to it; and, between two states, what was done. What an address is, is `control.allocations`'s to say.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from anypop.api.allocations import ALLOCATION, CLAIM, Kind
from anypop.control.accounts import Stack
from anypop.control.core import Alter
from anypop.control.refusals import NotFound
from anypop.control.state import State
from anypop.model.allocation import AddressClass, Allocation, AllocationClaim
from anypop.model.errors import Invalid
from anypop.model.names import StackId, slug_of
from anypop.plan.price import PriceBook

LISTS: Mapping[str, Kind[Any]] = {"allocations": ALLOCATION, "allocation_claims": CLAIM}
"""By the member of the set, in the order in which they are made: a claim may name an allocation of the same set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """One of a set. `member`: the list that it stands in; `version`: of what was there, 0 where nothing was."""

    member: str
    slug: str
    version: int
    alter: Alter

    @property
    def name(self) -> str:
        return f"{'allocation' if self.member == 'allocations' else 'claim'} {self.slug}"


def read(state: State, stack: Stack, member: str, document: Any) -> Address:
    """One document beside what is there by its slug. Raises `Invalid`."""
    if not isinstance(document, dict):
        raise Invalid.one("", "must be an object")
    kind = LISTS[member]
    there = found(state, stack.id, member, _slug(document))
    if there is None:
        slug, alter = kind.create(document, stack, "")
        return Address(member=member, slug=slug, version=0, alter=alter)
    change = kind.read_change(document, kind.shape(state, there))
    alter = kind.change(stack.id, there.slug, change, "")
    return Address(member=member, slug=there.slug, version=there.version, alter=alter)


def found(state: State, stack: StackId, member: str, slug: str) -> Allocation | AllocationClaim | None:
    """What there is by this slug."""
    try:
        one: Allocation | AllocationClaim = LISTS[member].one_of(state, stack, slug)
    except NotFound:
        return None
    return one


def planned(after: State, stack: StackId, one: Address, book: PriceBook) -> dict[str, Any]:
    """What would become of it. `idle_monthly`: what it costs while nobody has it, where that is anything."""
    now = found(after, stack, one.member, one.slug)
    told: dict[str, Any] = {"slug": one.slug, "action": _action(one, now)}
    if not one.version and isinstance(now, Allocation):
        if now.waits:
            told["waits"] = now.waits
        if now.spec.kind is AddressClass.UNICAST and book.idle_address_hourly:
            told["idle_monthly"] = round(float(book.idle_address_hourly * book.hours_per_month), 6)
    return told


def applied(after: State, stack: StackId, one: Address) -> dict[str, Any]:
    """What was done, and how it is now."""
    now = found(after, stack, one.member, one.slug)
    member = "allocation" if one.member == "allocations" else "allocation_claim"
    return {"action": _action(one, now)} | ({member: LISTS[one.member].shape(after, now)} if now is not None else {})


def _action(one: Address, now: Allocation | AllocationClaim | None) -> str:
    """Who holds it does not count: that is no change of what was declared."""
    if not one.version:
        return "create"
    return "nothing" if now is not None and now.version == one.version else "change"


def _slug(document: Mapping[str, Any]) -> str:
    slug, name = document.get("slug"), document.get("name")
    if isinstance(slug, str) and slug:
        return slug
    return slug_of(name) if isinstance(name, str) else ""
