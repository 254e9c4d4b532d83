"""What an operator wants of an upstream, said without a community, and the community by which that upstream does it.

In: an intent (`keep_in` a continent, `no_export_to` a network or a kind of neighbours, `lower_preference`) and the
dictionary of the upstream. Out: its entry, or words that say that it has none. The command line and the API ask here,
and this asks `Dictionary.find`, as the doctor does. Pure.
"""

from collections.abc import Callable, Mapping

from anypop.routing.actions import (
    CUSTOMER_PREFERENCE,
    Action,
    KeepInRegion,
    LocalPreference,
    Neighbours,
    NoExportTo,
    Region,
    Relation,
)
from anypop.routing.entries import Dictionary, Entry

_MAX_ASN = 0xFFFFFFFF
# Ours is a customer's route to who carries it for us: everything below that preference is less.
LOWER = tuple(relation for relation in Relation if LocalPreference(relation=relation).on_scale < CUSTOMER_PREFERENCE)


def _keep_in(value: object) -> Action:
    text = value.upper() if isinstance(value, str) else ""
    if text not in tuple(Region):
        raise ValueError(f"must be a continent: {', '.join(Region)}")
    return KeepInRegion(region=Region(text))


def _no_export_to(value: object) -> Action:
    text = str(value).lower() if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if text in tuple(Neighbours):
        return NoExportTo(neighbour=Neighbours(text))
    number = text.removeprefix("as")
    if not (number.isascii() and number.isdigit() and len(number) <= 10 and 0 < int(number) <= _MAX_ASN):
        raise ValueError(f"must be an AS number, or one of {', '.join(Neighbours)}")
    return NoExportTo(neighbour=int(number))


def _lower_preference(value: object) -> Action:
    if value not in LOWER:
        raise ValueError(f"must be one of {', '.join(LOWER)}")
    return LocalPreference(relation=Relation(str(value)))


INTENTS: Mapping[str, Callable[[object], Action]] = {
    "keep_in": _keep_in,
    "no_export_to": _no_export_to,
    "lower_preference": _lower_preference,
}


class NoCommunity(LookupError):  # noqa: N818 - it reads as a verdict where it is raised
    """The upstream has no community for it; the text says so."""


def wanted(intent: str, value: object) -> Action:
    """What an upstream shall do. ValueError in words for a value that the intent does not have."""
    return INTENTS[intent](value)


def community_for(book: Dictionary, action: Action) -> Entry:
    """The entry by which this AS does it. Raises `NoCommunity`."""
    found = book.find(action)
    if found is None:
        raise NoCommunity(f"AS{book.asn} has no community {_purpose(action)}")
    return found


def _purpose(action: Action) -> str:
    match action:
        case KeepInRegion():
            return f"that keeps a route in {action.region}"
        case NoExportTo():
            return f"against passing a route on to {action.neighbour}"
        case LocalPreference():
            return f"that makes it prefer a route less ({action.relation})"
        case _:
            return "for that"
