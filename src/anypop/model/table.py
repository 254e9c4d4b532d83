"""Tables: mappings that are never changed in place, know their groups, and can say what differs between two of them.

`put` and `drop` give back a new table that shares nearly everything with the old one, so a reader who holds one sees
it whole for as long as he likes, and a step that fails leaves nothing behind. A table remembers which keys were
touched since it was last `settled`: that is how `differing` finds what changed between two of them without looking
at the rest. Any other mapping may stand in for a table; then all of it is compared.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from immutables import Map

K = TypeVar("K")
V = TypeVar("V")

Groups = Mapping[str, Callable[[Any, Any], Hashable | None]]
_NONE: Map[Any, Any] = Map()


class Table(Mapping[K, V]):
    """`groups`: for each name a function of key and value that gives the group, or None where an entry is in no group
    of that name.

    Iteration is in no meaningful order, as with a set: whoever needs an order sorts.
    """

    __slots__ = ("_entries", "_last", "_members", "_origin", "_touched", "groups")

    def __init__(self, entries: Mapping[K, V] | None = None, groups: Groups | None = None) -> None:
        self.groups: Groups = groups if groups is not None else {}
        self._entries: Map[K, V] = Map(entries or {})
        self._members: Mapping[str, Map[Hashable, Map[K, V]]] = self._grouped(entries or {})
        self._touched: Map[K, None] = _NONE
        self._origin = object()
        # the beginning before this one, and what was touched from there to here
        self._last: tuple[object, Map[K, None]] | None = None

    def _grouped(self, entries: Mapping[K, V]) -> Mapping[str, Map[Hashable, Map[K, V]]]:
        members = {}
        for name, group_of in self.groups.items():
            found: dict[Hashable, dict[K, V]] = {}
            for key, value in entries.items():
                if (group := group_of(key, value)) is not None:
                    found.setdefault(group, {})[key] = value
            members[name] = Map({group: Map(inner) for group, inner in found.items()})
        return members

    def __getitem__(self, key: K) -> V:
        return self._entries[key]

    def get(self, key: K, default: Any = None) -> Any:
        return self._entries.get(key, default)

    def __contains__(self, key: object) -> bool:
        return key in self._entries

    def __iter__(self) -> Iterator[K]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Table):
            return self._entries is other._entries or self._entries == other._entries
        return dict(self) == other if isinstance(other, Mapping) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Table({dict(self)!r})"

    def group(self, name: str, group: Hashable) -> Mapping[K, V]:
        """The entries of a group; empty where there is none."""
        return self._members[name].get(group, _NONE)

    def group_names(self, name: str) -> Iterable[Any]:
        """The groups that have an entry."""
        return self._members[name].keys()

    def put(self, changes: Mapping[K, V]) -> "Table[K, V]":
        """With these entries, new or in place of what was there. The same table where nothing differs."""
        news = {key: value for key, value in changes.items() if not _same(self._entries.get(key, _ABSENT), value)}
        return self._with(news, ()) if news else self

    def drop(self, keys: Iterable[K]) -> "Table[K, V]":
        """Without these keys."""
        gone = [key for key in keys if key in self._entries]
        return self._with({}, gone) if gone else self

    @property
    def is_touched(self) -> bool:
        """Whether anything was touched since it was last `settled`."""
        return bool(self._touched)

    def settled(self) -> "Table[K, V]":
        """The same entries as a beginning: what is touched from now on is told from here."""
        if not self._touched:
            return self
        made = self._made(self._entries, self._members, _NONE)
        made._origin, made._last = object(), (self._origin, self._touched)
        return made

    def _with(self, news: Mapping[K, V], gone: Iterable[K]) -> "Table[K, V]":
        gone = tuple(gone)
        entries, touched = self._entries.mutate(), self._touched.mutate()
        old = {key: self._entries[key] for key in (*news, *gone) if key in self._entries}
        for key, value in news.items():
            entries[key] = value
            touched[key] = None
        for key in gone:
            del entries[key]
            touched[key] = None
        members = {name: self._regrouped(name, old, news) for name in self.groups}
        return self._made(entries.finish(), members, touched.finish())

    def _regrouped(self, name: str, old: Mapping[K, V], news: Mapping[K, V]) -> Map[Hashable, Map[K, V]]:
        group_of, members = self.groups[name], self._members[name]
        leaving: dict[Hashable, list[K]] = {}
        coming: dict[Hashable, dict[K, V]] = {}
        for key, value in old.items():
            if (group := group_of(key, value)) is not None:
                leaving.setdefault(group, []).append(key)
        for key, value in news.items():
            if (group := group_of(key, value)) is not None:
                coming.setdefault(group, {})[key] = value
        if not leaving and not coming:
            return members
        outer = members.mutate()
        for group in {*leaving, *coming}:
            inner = members.get(group, _NONE).mutate()
            for key in leaving.get(group, ()):
                del inner[key]
            inner.update(coming.get(group, {}))
            if len(inner):
                outer[group] = inner.finish()
            elif group in outer:
                del outer[group]
        return outer.finish()

    def _made(
        self, entries: Map[K, V], members: Mapping[str, Map[Hashable, Map[K, V]]], touched: Map[K, None]
    ) -> "Table[K, V]":
        made: Table[K, V] = Table.__new__(Table)
        made._entries, made.groups, made._members = entries, self.groups, members
        made._touched, made._origin, made._last = touched, self._origin, self._last
        return made

    def candidates(self, other: "Table[K, V]") -> Iterable[K] | None:
        """Keys among which all differences from `other` are; None where only a full comparison can tell."""
        if self._entries is other._entries:
            return ()
        if self._origin is other._origin:
            return {*self._touched, *other._touched}
        for one, two in ((self, other), (other, self)):
            if one._last is not None and one._last[0] is two._origin:
                return {*one._last[1], *one._touched, *two._touched}
        return None


_ABSENT = object()


def _same(a: object, b: object) -> bool:
    return a is b or a == b


def tabled(entries: Mapping[K, V], groups: Groups | None = None) -> Table[K, V]:
    """`entries` as a table with these groups: itself where it is one."""
    if isinstance(entries, Table) and (groups is None or entries.groups is groups):
        return entries
    return Table(entries, groups)


def with_entries(entries: Mapping[K, V], changes: Mapping[K, V]) -> Mapping[K, V]:
    """`entries` with `changes`, at the cost of the changes."""
    return tabled(entries).put(changes)


def without_keys(entries: Mapping[K, V], keys: Iterable[K]) -> Mapping[K, V]:
    """`entries` without `keys`, at the cost of the keys."""
    return tabled(entries).drop(keys)


def grouped(entries: Mapping[K, V], name: str, group: Hashable) -> Mapping[K, V]:
    """A group of `entries`, which must be a table that has groups of this name."""
    assert isinstance(entries, Table)
    return entries.group(name, group)


def settled(before: Mapping[K, V], after: Mapping[K, V]) -> Mapping[K, V]:
    """`after` as a new beginning; `before` itself where nothing differs, so that its identity says so."""
    return before if after is before or not differing(before, after) else tabled(after).settled()


def differing(before: Mapping[K, V], after: Mapping[K, V]) -> set[K]:
    """The keys whose value differs, or which only one of the two has."""
    if before is after:
        return set()
    keys: Iterable[K] | None = None
    if isinstance(before, Table) and isinstance(after, Table):
        keys = after.candidates(before)
    if keys is None:
        keys = before.keys() | after.keys()
    was, now = _getter(before), _getter(after)
    return {key for key in keys if (a := was(key, _ABSENT)) is not (b := now(key, _ABSENT)) and a != b}


def _getter(entries: Mapping[K, V]) -> Callable[..., Any]:
    """How its entries are looked up: asked for each of a hundred thousand after a first plan."""
    return entries._entries.get if isinstance(entries, Table) else entries.get
