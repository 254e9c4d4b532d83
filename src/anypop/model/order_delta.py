"""What differs between two orders of a host, so that a change of one instance need not send and store all of them.

In: two orders. Out: their difference, and from the older one with the difference the newer. A `digest` lets the
other side see whether it has come to the same order; where it has not, or has another base, it asks for the whole.
Pure.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace

from anypop.model import codec
from anypop.model.announce import Address, Announcement
from anypop.model.names import HostName
from anypop.model.order import Grant, InstanceOrder, Order, Removal
from anypop.model.order_text import OrderWriter, filled, named_text
from anypop.model.policy import AddressGroup, HostPolicy, Ruling
from anypop.model.stack_names import NamedWorkload, in_order

BASE_HEADER = "x-anypop-base"  # by which an agent sees that it got a difference, and from which generation
_DIGEST_BYTES = 16  # nobody has an interest in two orders with one digest; chance alone must not make them
_PARTS = frozenset({
    "generation", "instances", "removed", "announcements", "grants", "policies", "rulings", "groups",
    "names",
})  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupChange:
    """Which addresses came to a group of them, and which are gone from it. One that was not there is new."""

    name: str
    come: tuple[Address, ...] = ()
    gone: tuple[Address, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderDelta:
    """From the order of generation `base` to that of `generation`.

    `instances`: those that are new or otherwise than before, each with its place in the new order under `places`;
    `left`: uids that are not in it any more. `groups`: those of which some addresses differ; `groups_left`: those that
    are no more; `names`, `names_left` likewise, by their keys. What is None is as it was. `frame`: the new order
    without its parts, where anything else of it differs. `digest`: of the new order; "": not told.
    """

    host: HostName
    base: int
    generation: int
    instances: tuple[InstanceOrder, ...] = ()
    places: tuple[int, ...] = ()
    left: tuple[str, ...] = ()
    removed: tuple[Removal, ...] | None = None
    announcements: tuple[Announcement, ...] | None = None
    grants: tuple[Grant, ...] | None = None
    policies: tuple[HostPolicy, ...] | None = None
    rulings: tuple[Ruling, ...] | None = None
    groups: tuple[GroupChange, ...] = ()
    groups_left: tuple[str, ...] = ()
    names: tuple[NamedWorkload, ...] = ()
    names_left: tuple[str, ...] = ()
    frame: Order | None = None
    digest: str = ""


def delta(before: Order, after: Order) -> OrderDelta:
    """What is to be done to `before` to get `after`. Both are orders of the same host."""
    was = {i.uid: i for i in before.instances}
    same = {i.uid for i in after.instances if (old := was.get(i.uid)) is not None and (old is i or old == i)}
    if [i.uid for i in before.instances if i.uid in same] != [i.uid for i in after.instances if i.uid in same]:
        same = set()  # they stand in another order: rare, and not worth a word of its own
    changed = [(place, i) for place, i in enumerate(after.instances) if i.uid not in same]
    there = {i.uid for i in after.instances}
    framed = any(getattr(before, f.name) != getattr(after, f.name) for f in fields(Order) if f.name not in _PARTS)
    return OrderDelta(
        host=after.host,
        base=before.generation,
        generation=after.generation,
        instances=tuple(i for _, i in changed),
        places=tuple(place for place, _ in changed),
        left=tuple(i.uid for i in before.instances if i.uid not in there),
        removed=after.removed if after.removed != before.removed else None,
        announcements=after.announcements if after.announcements != before.announcements else None,
        grants=after.grants if after.grants != before.grants else None,
        policies=after.policies if after.policies != before.policies else None,
        rulings=after.rulings if after.rulings != before.rulings else None,
        groups=tuple(_changed_groups(before.groups, after.groups)),
        groups_left=tuple(sorted({g.name for g in before.groups} - {g.name for g in after.groups})),
        names=tuple(_changed_names(before.names, after.names)),
        names_left=tuple(sorted({n.key for n in before.names} - {n.key for n in after.names}))
        if before.names is not after.names
        else (),
        frame=_frame(after) if framed else None,
    )


def _frame(order: Order) -> Order:
    """An order without its parts."""
    return replace(
        order, instances=(), removed=(), announcements=(), grants=(), policies=(), rulings=(), groups=(), names=()
    )


def _changed_names(before: tuple[NamedWorkload, ...], after: tuple[NamedWorkload, ...]) -> Iterator[NamedWorkload]:
    if before is after:
        return
    was = {one.key: one for one in before}
    for one in after:
        old = was.get(one.key)
        if old is not one and old != one:
            yield one


def _with_names(before: tuple[NamedWorkload, ...], change: OrderDelta) -> tuple[NamedWorkload, ...]:
    if not change.names and not change.names_left:
        return before
    found = {one.key: one for one in before if one.key not in change.names_left}
    return in_order((found | {one.key: one for one in change.names}).values())


def _changed_groups(before: Iterable[AddressGroup], after: Iterable[AddressGroup]) -> Iterator[GroupChange]:
    was = {group.name: group for group in before}
    for group in after:
        old = was.get(group.name)
        if old is group or old == group:
            continue
        had, has = frozenset(old.addresses if old is not None else ()), frozenset(group.addresses)
        yield GroupChange(
            name=group.name,
            come=tuple(a for a in group.addresses if a not in had),
            gone=tuple(a for a in (old.addresses if old is not None else ()) if a not in has),
        )


def _with_groups(before: tuple[AddressGroup, ...], change: OrderDelta) -> tuple[AddressGroup, ...]:
    if not change.groups and not change.groups_left:
        return before
    found = {group.name: group for group in before if group.name not in change.groups_left}
    for one in change.groups:
        old = found.get(one.name)
        gone = frozenset(one.gone)
        addresses = {a for a in (old.addresses if old is not None else ()) if a not in gone} | {*one.come}
        sorted_ = tuple(sorted(addresses, key=lambda a: (a.version, int(a))))
        found[one.name] = AddressGroup(name=one.name, addresses=sorted_)
    return tuple(found[name] for name in sorted(found))


def apply(before: Order, change: OrderDelta) -> Order:
    """The newer order. ValueError where `change` was not made from `before`."""
    if (before.host, before.generation) != (change.host, change.base):
        raise ValueError(
            f"a change from generation {change.base} of {change.host} does not fit {before.generation} of {before.host}"
        )
    gone = {*change.left, *(i.uid for i in change.instances)}
    instances = [i for i in before.instances if i.uid not in gone]
    for place, instance in zip(change.places, change.instances, strict=True):
        instances.insert(place, instance)
    return replace(
        change.frame if change.frame is not None else before,
        generation=change.generation,
        instances=tuple(instances),
        removed=change.removed if change.removed is not None else before.removed,
        announcements=change.announcements if change.announcements is not None else before.announcements,
        grants=change.grants if change.grants is not None else before.grants,
        policies=change.policies if change.policies is not None else before.policies,
        rulings=change.rulings if change.rulings is not None else before.rulings,
        groups=_with_groups(before.groups, change),
        names=_with_names(before.names, change),
    )


def written(change: OrderDelta, writer: OrderWriter) -> str:
    """As JSON: the very bytes that `codec.to_json` gives, with what the writer knows already."""
    told = change.announcements
    bare = replace(change, instances=(), announcements=None if told is None else (), names=(), frame=None)
    document = writer.with_names(codec.to_json(bare).decode(), change.names)
    if change.frame is not None:
        document = filled(document, '"frame":null', f'"frame":{writer.order(change.frame)}')
    return writer.with_parts(document, change.instances, told or ())  # its own parts stand before the frame's


class Digests:
    """Digests of one host's orders. It remembers each instance's, so that an order of which one instance is new costs
    one instance; the backbone's text; and the last digests, since an order is asked for once more as the base of the
    next.
    """

    def __init__(self) -> None:
        self._known: dict[str, tuple[InstanceOrder, bytes]] = {}
        self._names: dict[str, tuple[NamedWorkload, bytes]] = {}
        self._frames = OrderWriter()
        self._last: tuple[tuple[Order, str], ...] = ()

    def of(self, order: Order) -> str:
        """The same for two orders if and only if they are equal, in 32 hex digits."""
        for known, digest in self._last:
            if known is order:
                return digest
        found = self._of_instances(order.instances)
        frame = self._frames.order(replace(order, instances=(), names=())).encode()
        named = self._of_names(order.names)
        digest = hashlib.blake2b(b"".join((frame, *found, *named)), digest_size=_DIGEST_BYTES).hexdigest()
        self._last = (order, digest), *self._last[:1]
        return digest

    def _of_instances(self, instances: Iterable[InstanceOrder]) -> list[bytes]:
        writer = OrderWriter()
        found = []
        kept: dict[str, tuple[InstanceOrder, bytes]] = {}
        for instance in instances:
            known = self._known.get(instance.uid)
            if known is None or known[0] is not instance:
                text = writer.instance(instance).encode()
                known = instance, hashlib.blake2b(text, digest_size=_DIGEST_BYTES).digest()
            kept[instance.uid] = known
            found.append(known[1])
        self._known = kept
        return found

    def _of_names(self, names: Iterable[NamedWorkload]) -> list[bytes]:
        kept: dict[str, tuple[NamedWorkload, bytes]] = {}
        for one in names:
            known = self._names.get(one.key)
            if known is None or known[0] is not one:
                known = one, hashlib.blake2b(named_text(one).encode(), digest_size=_DIGEST_BYTES).digest()
            kept[one.key] = known
        self._names = kept
        return [digest for _, digest in kept.values()]
