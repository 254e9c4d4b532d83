"""Anycast addresses: one pair for a workload's whole life, inside covering prefixes that BGP can announce.

In: who asks for one, and where its places are. Out: the address, or a note why there is none. Without a backbone a
covering prefix is shared only by workloads in the same set of PoPs, since a PoP that announces it attracts the traffic
of every address in it; and only by workloads of one account, since it is announced as a whole and what one does to it
all others feel. What an older version gave to two accounts stays as it is, and is given to nobody more. With a backbone
PoPs do not matter, and accounts share when prefixes run short (`_carried`). Who wants to be served locally alone always
has a prefix of its own. An address leaves the table when the last instance of its workload is gone; control then lets
it rest before it offers the address again.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import NamedTuple, TypeVar

from anypop.model.announce import Prefix
from anypop.model.names import CityCode, HostName, WorkloadId
from anypop.model.order import Removal
from anypop.model.plan import AnycastAddress, PlanNote
from anypop.model.reasons import Reason
from anypop.model.workload import Workload
from anypop.plan.addresses import hosts
from anypop.plan.ground import Ground
from anypop.plan.placement import Settled
from anypop.plan.sites import Sites

Tenants = Callable[[Prefix], Collection[WorkloadId]]
MOST_TOLD = 8  # prefixes in one sentence
KEPT_UNUSED = 1  # so many prefixes stay unused as long as others will do: for who wants one of its own
UNUSED, MIXED = "unused", "mixed"
P = TypeVar("P", IPv4Network, IPv6Network)


class Footprint(NamedTuple):
    """Who may share a prefix: without a backbone those of whom `place` is the same. `asked`: the PoPs a workload asks
    for; `stands`: those where it has a place; `account`: whose it is, None: nobody knows any more, so it shares with
    nobody new. `local`: it wants a prefix of its own; `scoped`: it has rules for how far its prefixes go.
    """

    asked: frozenset[CityCode]
    stands: frozenset[CityCode]
    account: str | None
    local: bool = False
    scoped: bool = False

    @property
    def place(self) -> tuple[frozenset[CityCode], frozenset[CityCode], str | None]:
        return self.asked, self.stands, self.account


class Tenancy:
    """Who is in which covering prefix, looked up once for all who ask for an address in one plan: a prefix is compared
    with who asks, and not each of its tenants. `of`: the tenants of a prefix; `footprints`: of all workloads.
    """

    def __init__(self, of: Tenants, footprints: Mapping[WorkloadId, Footprint]) -> None:
        self.of = of
        self.footprints = footprints
        # by identity: they are the network's own objects, and to hash one costs more than to know it
        self._places: dict[int, tuple[Prefix, object]] = {}

    def place(self, prefix: Prefix) -> object:
        """The place that all tenants of a prefix have, of whom none wants it alone; `UNUSED` without tenants, `MIXED`
        where nobody may join them.
        """
        known = self._places.get(id(prefix))
        if known is None:
            known = self._places[id(prefix)] = prefix, self._looked_up(prefix)
        return known[1]

    def _looked_up(self, prefix: Prefix) -> object:
        place: object = UNUSED
        for workload in self.of(prefix):
            one = self.footprints[workload]
            if one.local or (place is not UNUSED and one.place != place):
                return MIXED
            place = one.place
        return place

    def joined(self, held: AnycastAddress) -> None:
        """Somebody has got this address."""
        for prefix in (held.prefix4, held.prefix6):
            self._places.pop(id(prefix), None)


def allocate(
    ground: Ground, sites: Sites, placed: Mapping[WorkloadId, Settled]
) -> tuple[dict[WorkloadId, AnycastAddress], list[PlanNote]]:
    """The whole table: those there were that are still needed, then new ones. `placed` has the workloads in their
    order.
    """
    table = {
        w: held
        for w, settled in placed.items()
        if (held := ground.held(w)) is not None and is_needed(ground, w, settled)
    }
    footprints = {
        w: footprint(ground, sites, w, settled) for w, settled in placed.items() if w in table or wants(ground, w)
    }
    tenants: dict[Prefix, list[WorkloadId]] = {}
    for workload, held in table.items():
        tenants.setdefault(held.prefix4, []).append(workload)
        tenants.setdefault(held.prefix6, []).append(workload)
    tenancy = Tenancy(lambda prefix: tenants.get(prefix, ()), footprints)
    taken = {held.address4 for held in table.values()}
    notes: list[PlanNote] = []
    tried: dict[IPv4Network, int] = {}
    for identity in placed:
        wanted = ground.workload(identity)
        if wanted is None or identity in table or not wants(ground, identity):
            continue
        given = give(
            wanted,
            sites,
            tenancy,
            is_taken=lambda address: address in taken or ground.rests(address),
            tried=tried,
        )
        if isinstance(given, PlanNote):
            notes.append(given)
            continue
        table[identity] = given
        taken.add(given.address4)
        tenants.setdefault(given.prefix4, []).append(identity)
        tenants.setdefault(given.prefix6, []).append(identity)
        tenancy.joined(given)
    return table, notes


def wants(ground: Ground, identity: WorkloadId) -> bool:
    """Whether the workload is to have an address."""
    workload = ground.workload(identity)
    return workload is not None and workload.anycast and not workload.deleting


def is_needed(ground: Ground, identity: WorkloadId, settled: Settled) -> bool:
    """Whether an address that is held must stay: it is wanted, or something that answers at it has not gone yet."""
    return wants(ground, identity) or bool(settled.removals) or any(True for _ in ground.removals_of(identity))


def footprint(ground: Ground, sites: Sites, identity: WorkloadId, settled: Settled) -> Footprint:
    """Where a workload wants to be and is. One that is going still counts where it was: its PoPs withdraw only bit by
    bit.
    """
    going: Iterable[tuple[HostName, Removal]] = (*ground.removals_of(identity), *settled.removals)
    stands = frozenset((*(i.pop for i in settled.kept), *(sites.pop_of(host) for host, _ in going)))
    workload = ground.workload(identity)
    if workload is None:
        return Footprint(stands, stands, None)
    asked = frozenset(
        city for target in workload.targets if target.replicas for city in target.cities if city in sites.pops
    )
    scoped = any(True for _ in ground.rules_of(identity))
    return Footprint(asked, stands, workload.account_id, workload.local_only, scoped)


def give(
    workload: Workload,
    sites: Sites,
    tenancy: Tenancy,
    *,
    is_taken: Callable[[IPv4Address], bool],
    tried: dict[IPv4Network, int],
) -> AnycastAddress | PlanNote:
    """An address for a workload that has none. `tenancy`: with its own footprint, too; `tried`: see `_free`."""
    mine, network = tenancy.footprints[workload.id], sites.network
    prefix6 = next(_candidates(sites, network.anycast6, tenancy, mine), None)
    free = (
        (p, a)
        for p in _candidates(sites, network.anycast4, tenancy, mine)
        if (a := _free(p, is_taken, tried)) is not None
    )
    found = next(free, None)
    if found is None or prefix6 is None:
        lacking = network.anycast4 if found is None else network.anycast6
        family = 4 if found is None else 6
        words = _out_of_carried if sites.backbones or mine.local else _out_of_prefixes
        detail = words(family, lacking, mine)
        return PlanNote(subject=workload.slug, reason=Reason.NO_COVERING_PREFIX, detail=detail)
    prefix4, address4 = found
    return AnycastAddress(
        workload_id=workload.id, address4=address4, prefix4=prefix4, address6=_twin(prefix6, address4), prefix6=prefix6
    )


def _candidates(sites: Sites, prefixes: tuple[P, ...], tenancy: Tenancy, mine: Footprint) -> Iterator[P]:
    """Prefixes that a workload may have, the best first. Without a backbone: shared with workloads of the same place
    (and so of the same account), then unused ones: they are scarce, so sharing comes first.
    """
    if sites.backbones and not mine.local:
        yield from _carried(prefixes, tenancy, mine)
        return
    lets = prefixes
    if sites.policies:
        lets = tuple(p for p in prefixes if all(sites.may_announce(p, city) for city in mine.asked))
    place = mine.place
    if not mine.local:
        yield from (prefix for prefix in lets if tenancy.place(prefix) == place)
    yield from (prefix for prefix in lets if tenancy.place(prefix) is UNUSED)


def _carried(prefixes: tuple[P, ...], tenancy: Tenancy, mine: Footprint) -> Iterator[P]:
    """Prefixes of a network with a backbone, where it does not matter who stands where. The account's own; then unused
    ones, so that each account may say how far its own goes, but not the last; then what several accounts share already,
    which takes nothing from anybody; then what one other account has alone and has no rules for, so that nobody lives
    by a stranger's rules; the last unused one at last.
    """
    unused = [prefix for prefix in prefixes if not tenancy.of(prefix)]
    own: list[P] = []
    shared: list[P] = []
    others: list[P] = []
    for prefix in prefixes:
        sharing = [tenancy.footprints[w] for w in tenancy.of(prefix)]
        accounts = {one.account for one in sharing}
        if not sharing or None in accounts or any(one.local for one in sharing):
            continue
        if accounts == {mine.account}:
            own.append(prefix)
        elif len(accounts) > 1:
            shared.append(prefix)
        elif not any(one.scoped for one in sharing):
            others.append(prefix)
    spare = max(0, len(unused) - KEPT_UNUSED)
    for found in (own, unused[:spare], shared, others, unused[spare:]):
        yield from found


def _out_of_prefixes(family: int, prefixes: Sequence[Prefix], mine: Footprint) -> str:
    """Which prefixes there are, and what can be done. Whoever else uses them is nobody's business here."""
    told = ", ".join(map(str, prefixes[:MOST_TOLD])) + (", ..." if len(prefixes) > MOST_TOLD else "")
    return (
        f"none of {len(prefixes)} IPv{family} prefixes ({told or 'the network has none'}) is free or used by just this "
        f"account in just these PoPs: {', '.join(sorted(mine.asked)) or 'none'}; ask for the PoPs of another workload "
        f"of this account, delete one that is not needed, or let the operator add a prefix to anycast{family} of the "
        "network document"
    )


def _out_of_carried(family: int, prefixes: Sequence[Prefix], mine: Footprint) -> str:
    """The same where accounts may share, or where a workload wants a prefix of its own."""
    told = ", ".join(map(str, prefixes[:MOST_TOLD])) + (", ..." if len(prefixes) > MOST_TOLD else "")
    lacks = "is unused" if mine.local else "has a free address that may be given to this account"
    ways = "declare it without local only, or let" if mine.local else "let"
    return (
        f"none of {len(prefixes)} IPv{family} prefixes ({told or 'the network has none'}) {lacks}; delete a workload "
        f"that is not needed, {ways} the operator add a prefix to anycast{family} of the network document"
    )


def _free(
    prefix: IPv4Network, is_taken: Callable[[IPv4Address], bool], tried: dict[IPv4Network, int]
) -> IPv4Address | None:
    """The lowest that is free. `tried`: how many of a prefix were found taken, where none becomes free meanwhile."""
    first, most = int(prefix.network_address) + 1, hosts(prefix)
    for n in range(tried.get(prefix, 0), most):
        if not is_taken(address := IPv4Address(first + n)):
            tried[prefix] = n
            return address
    tried[prefix] = most
    return None


def _twin(prefix: IPv6Network, address: IPv4Address) -> IPv6Address:
    """The IPv6 address ends in the IPv4 one (2001:db8:a::192.0.2.1), so it is as unique and rests as long."""
    return IPv6Address(int(prefix.network_address) | int(address))
