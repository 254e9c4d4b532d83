"""Control's dry run of a creation, a change or a deletion, for people: what would begin, be made anew and end. Pure.

In: the plan as the API gives it. Out: tables and sentences.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from anypop.cli import changes, views
from anypop.cli.screen import Shown
from anypop.cli.workloads import without_effect

_MOST_NAMED = 8


# what does not become better by itself in a moment, as an update's waiting for its turn does
_NO_PLACE = ("no-room", "pop-full", "no-such-pop", "no-covering-prefix")


def of_one(told: views.Data) -> Iterator[Shown]:
    """The fields that change, instances, the price, what has no effect."""
    if told.get("changes"):
        yield changes.fields(told["changes"])
    for verb, names in (("creates", told.get("created")), ("deletes", told.get("deleted"))):
        if names:
            yield f"{verb} {_counted(names)}"
    if told.get("replaced"):
        waves = ", then ".join(" ".join(wave) for wave in told.get("waves") or [])
        yield f"makes {_counted(told['replaced'])} anew, wave by wave: {waves}"
    elif told.get("action") == "change":
        yield "touches no process that stays"
    yield from _price(told.get("price") or {})
    yield from without_effect(told)


def beyond(told: views.Data) -> Iterator[Shown]:
    """Announcements, and what finds no place or has to wait."""
    for verb, rows in (("announces", told.get("announced")), ("withdraws", told.get("withdrawn"))):
        yield from _announcements(verb, rows or [])
    for one in told.get("not_placed") or []:
        word = "no place" if one.get("reason") in _NO_PLACE else "note"
        yield [(f"{word}: {_said(one)}", "yellow")]


def homeless(told: views.Data) -> list[str]:
    """What finds no place."""
    return [_said(one) for one in told.get("not_placed") or [] if one.get("reason") in _NO_PLACE]


def _said(one: views.Data) -> str:
    return f"{one.get('subject')}: {one.get('detail') or one.get('reason')}"


def _counted(names: Sequence[str]) -> str:
    """`2 instances: web-eu1-ams-0, web-eu1-lhr-0`."""
    more = f", and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return f"{len(names)} instance{'' if len(names) == 1 else 's'}: {', '.join(names[:_MOST_NAMED])}{more}"


def _announcements(verb: str, rows: Sequence[views.Data]) -> Iterator[Shown]:
    pops = defaultdict[str, dict[str, None]](dict)
    for row in rows:
        pops[str(row.get("prefix"))][str(row.get("pop"))] = None
    for prefix, places in pops.items():
        yield f"{verb} {prefix} in {', '.join(places)}"


def _price(price: views.Data) -> Iterator[Shown]:
    before, after = price.get("before"), price.get("after")
    if after and not before:
        yield views.quote(after)
    elif before and after and views.months(before) != views.months(after):
        yield f"price: {views.months(before)} {after.get('currency')} a month now, {views.months(after)} then"
