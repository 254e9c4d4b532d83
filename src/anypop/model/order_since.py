"""What orders have come to say over time, and what of one an agent of an older version does not know.

In: an order or a part of one, and the number by which its host's agent says how much it knows (`Report.understands`;
agents from before there was such a number tell none, which is 0). Out: in words what that agent would pass over without
a word, or could not read at all; and the order as it may be given to it: what cannot be obeyed as it is asked is held
back, never done by halves. Pure.

To add a field, or a new value of an enumeration, anywhere below `Order`: the next number as VERSION, and its row in
SINCE. A test holds all that an order can say against what is recorded, so none is forgotten. Reasons are no part of it:
nothing follows from them on a host, and one that is new is read as `Reason.OTHER`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from enum import Enum
from operator import attrgetter
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

from anypop.model.announce import Announcement, Mode, Scope
from anypop.model.machine import ImagePart
from anypop.model.order import Move, Order
from anypop.model.reasons import Reason

VERSION = 1
"""How much this version of the agent knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Came:
    """`version`: who tells at least this number knows it. `words`: for people. `value`: it is this one value of the
    field; None: any that is not the field's default.
    """

    version: int
    words: str
    value: str | None = None


SINCE: Mapping[tuple[type, str], Came] = {
    (Scope, "extended_communities"): Came(version=1, words="extended communities"),
    (ImagePart, "name"): Came(version=1, words="images with UEFI variables", value="variables"),
    (Move, "rests"): Came(version=1, words="root disks that move while their machine is off"),
    (Order, "sampled_flows"): Came(version=1, words="counting where connections come from"),
}


def unknown_in(what: Any, understands: int) -> tuple[str, ...]:
    """In words what an agent that knows so much does not know of an order, of a part of one, or of several parts."""
    if understands >= VERSION:
        return ()
    return tuple(dict.fromkeys(came.words for came in _found(what) if came.version > understands))


def does_not_know(unknown: Iterable[str]) -> str:
    """For people: what `unknown_in` found."""
    return f"its agent is of an older version and does not know {', '.join(unknown)}; bring it up to date"


def as_understood(order: Order, standing: Order | None, understands: int) -> Order:
    """The order as an agent that knows so much may have it. An announcement that would go further than it is asked to
    is withheld. An instance of which something is not known does not begin, since the whole order could be one that
    cannot be read; one that stands (in `standing`, the order before) goes on as it is.
    """
    if understands >= VERSION or not unknown_in(order, understands):
        return order
    stood = {instance.uid: instance for instance in standing.instances} if standing is not None else {}
    asked = ((i, stood.get(i.uid)) if unknown_in(i, understands) else (i, i) for i in order.instances)
    return replace(
        order,
        announcements=tuple(_not_beyond(told, understands) for told in order.announcements),
        instances=tuple(as_is for _, as_is in asked if as_is is not None),
    )


def _not_beyond(told: Announcement, understands: int) -> Announcement:
    return replace(told, scope=Scope(mode=Mode.WITHHOLD)) if unknown_in(told, understands) else told


def _found(what: Any) -> Iterator[Came]:
    """Each shared piece is looked at once: the instances of a workload have one payload, and there may be hundreds of
    them in each first order; so nothing is called here that need not be.
    """
    left, seen = [what], set[int]()
    for one in left:  # it grows
        if one.__class__ is tuple:
            left += one
            continue
        look = _LOOKS[one.__class__]
        for name, default, came in look.rows:
            value = getattr(one, name)
            if value == came.value if came.value is not None else value != default:
                yield came
        if look.within is not None:
            for value in look.within(one):
                if value is not None and value != () and (known := id(value)) not in seen:
                    seen |= {known}
                    left += (value,)


class _Look(NamedTuple):
    """What there is to look at in a type: the fields that have a row, each with its default and the row; and those by
    which something with a row can be reached. Most of what an order consists of is as old as orders are.
    """

    rows: tuple[tuple[str, Any, Came], ...] = ()
    within: Callable[[Any], Iterable[Any]] | None = None


class _Looks(dict[type, _Look]):
    def __missing__(self, kind: type) -> _Look:
        self[kind] = found = _look(kind)
        return found


_LOOKS = _Looks()


def _look(kind: type) -> _Look:
    if not is_dataclass(kind):
        return _Look()
    rows = tuple(
        (f.name, f.default_factory() if f.default_factory is not MISSING else f.default, came)
        for f in fields(kind)
        if (came := SINCE.get((kind, f.name))) is not None
    )
    kinds = {name: [w for part in parts_of(hint) for w in within_reach(part)] for name, hint in _hints(kind)}
    ways = [name for name, reached in kinds.items() if any(one == of for one in reached for of, _ in SINCE)]
    if len(ways) < 2:  # it would give a value then, and no tuple of them
        return _Look(rows, (lambda one: (getattr(one, ways[0]),)) if ways else None)
    return _Look(rows, attrgetter(*ways))


def within_reach(kind: type, known: tuple[type, ...] = ()) -> tuple[type, ...]:
    """A dataclass, and all those that its fields can hold, at any depth."""
    if kind in known:
        return known
    known = (*known, kind)
    for _, hint in _hints(kind):
        for part in parts_of(hint):
            known = within_reach(part, known)
    return known


def _hints(kind: type) -> Iterable[tuple[str, Any]]:
    return get_type_hints(kind).items()


def parts_of(hint: Any) -> tuple[type, ...]:
    """The dataclasses that an annotation names."""
    if isinstance(hint, type) and is_dataclass(hint):
        return (hint,)
    return tuple(part for inner in get_args(hint) for part in parts_of(inner))


def words_of_orders() -> tuple[str, ...]:
    """All that an order can say, one line for each field and each value of an enumeration: what the test records."""
    lines: list[str] = []
    for kind in within_reach(Order):
        for name, hint in _hints(kind):
            lines += (f"{kind.__name__}.{name}", *(f"{kind.__name__}.{name}={value}" for value in _values_of(hint)))
    return tuple(sorted(dict.fromkeys(lines)))


def _values_of(hint: Any) -> tuple[str, ...]:
    if hint is Reason:
        return ()
    if isinstance(hint, type) and issubclass(hint, Enum):
        return tuple(str(member.value) for member in hint)
    if get_origin(hint) is Literal:
        return tuple(str(value) for value in get_args(hint))
    return tuple(value for inner in get_args(hint) for value in _values_of(inner))
