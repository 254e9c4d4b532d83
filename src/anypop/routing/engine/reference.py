"""The slow, obvious engine: every site asks all its neighbours again until nothing changes. The measure that the
compiled engine is held to.

In: an `Internet`, seeds and policies. Out: per site the routes it holds and its best one, exactly as a router-level
lab with the same rules would: relationship classes, action communities, prepends, MED, a full iBGP mesh, route
reflectors or a confederation inside each AS. Written to be read, not to be fast: fit for some hundred sites.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from anypop.routing.actions import (
    CUSTOMER_PREFERENCE,
    PEER_PREFERENCE,
    PROVIDER_PREFERENCE,
    Action,
    Blackhole,
    ExportTo,
    KeepInRegion,
    LocalPreference,
    Neighbours,
    NoExportTo,
    Prepend,
    Region,
    SetMed,
    Where,
)
from anypop.routing.engine.seeds import SHIPPED, Policies, Seed
from anypop.routing.internet.sites import REGIONS, Int8, Internet

CUSTOMER, PEER, PROVIDER, SIBLING, INSIDE = "customer", "peer", "provider", "sibling", "inside"
_OTHER_END = {CUSTOMER: PROVIDER, PROVIDER: CUSTOMER, PEER: PEER, SIBLING: SIBLING}
_PREFERENCE = {CUSTOMER: CUSTOMER_PREFERENCE, PEER: PEER_PREFERENCE, PROVIDER: PROVIDER_PREFERENCE}
_SETS = {Neighbours.CUSTOMERS: CUSTOMER, Neighbours.PEERS: PEER, Neighbours.PROVIDERS: PROVIDER}
_NO_EXPORT, _NO_ADVERTISE = (65535, 65281), (65535, 65282)
_WORST_MED = (1 << 32) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A route as one site holds it. `path` begins with the neighbour AS. `sender`: the site it came from; -1: from
    us. `kind`: what the AS that sent it into this one is to it. `entered`: the site where it did, to which packets go
    inside; `clusters`: how many reflectors handed it on from there, and `members` which members of a confederation,
    the last one first. `med` None: it came with none. `dropped`: this site throws away what goes there (a blackhole
    community).
    """

    seed: int
    path: tuple[int, ...]
    kind: str
    local_pref: int
    external: bool
    metric: int
    key: int
    sender: int
    entered: int
    med: int | None = None
    communities: tuple[tuple[int, ...], ...] = ()
    dropped: bool = False
    clusters: int = 0
    members: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """The end: `best[i]` of each site and all routes it `holds`. `stable` False: the policies never come to rest;
    what is here is one moment.
    """

    best: tuple[Held | None, ...]
    holds: tuple[tuple[Held, ...], ...]
    stable: bool
    rounds: int


def settle(
    internet: Internet, seeds: Sequence[Seed], policies: Policies = SHIPPED, rules: "type[Rules] | None" = None
) -> Settled:
    """Where every site ends up, by these `rules` (None: all of them; a test leaves some out)."""
    return settled((rules or Rules)(internet, policies), seeds)


def settled(rules: "Rules", seeds: Sequence[Seed], *, backwards: bool = False) -> Settled:
    """The same with rules that are at hand already. `backwards`: the last site chooses first."""
    internet = rules.internet
    order = range(len(internet))[:: -1 if backwards else 1]
    best: list[Held | None] = [None] * len(internet)
    holds: list[tuple[Held, ...]] = [()] * len(internet)
    # A stable set of policies needs as many rounds as the longest way is long; twice the sites is more than any way.
    for rounds in range(1, 2 * len(internet) + 10):
        changed = False
        for site in order:
            holds[site] = tuple(rules.offers(site, best, seeds))
            chosen = rules.choose(site, holds[site])
            changed |= chosen != best[site]
            best[site] = chosen
        if not changed:
            return Settled(best=tuple(best), holds=tuple(holds), stable=True, rounds=rounds)
    return Settled(best=tuple(best), holds=tuple(holds), stable=False, rounds=rounds)


def at_rest(internet: Internet, seeds: Sequence[Seed], senders: Sequence[int], policies: Policies = SHIPPED) -> bool:
    """Whether everybody is content with these choices: `senders[i]` is the site that site i has its route from, -1 -
    s for seed s, and anything below that for no route. Preferences can have more than one such end; which one a
    network finds depends on what came first.
    """
    rules = Rules(internet, policies)
    best: list[Held | None] = [None] * len(internet)
    for _ in range(len(internet)):
        for site, sender in enumerate(senders):
            if best[site] is None:
                fitting = (
                    r for r in rules.offers(site, best, seeds) if (r.sender if r.sender >= 0 else -1 - r.seed) == sender
                )
                best[site] = next(fitting, None)
    unrouted = sum(sender < -len(seeds) for sender in senders)
    return best.count(None) == unrouted and all(
        rules.choose(i, tuple(rules.offers(i, best, seeds))) == best[i] for i in range(len(best))
    )


class Rules:
    """What one site sends to another, and what that one makes of it."""

    def __init__(self, internet: Internet, policies: Policies) -> None:
        self.internet = internet
        self.policies = policies
        self._meanings: dict[tuple[int, tuple[int, ...]], Action | None] = {}
        self.reflectors = frozenset(site for place in policies.reflectors for site in self.at(*place))
        self.reflected = frozenset(int(internet.asn[site]) for site in self.reflectors)
        self.member = {site: number for place, number in policies.members.items() for site in self.at(*place)}
        self.joined = frozenset(
            (here, there) for asn, a, b in policies.joined for here in self.at(asn, a) for there in self.at(asn, b)
        )

    def at(self, asn: int, city: str) -> list[int]:
        """The sites of an AS in a city."""
        return [site for site in self.internet.sites_of(asn) if self.internet.city[site] == city]

    def choose(self, site: int, routes: Sequence[Held]) -> Held | None:
        """The best route of a site: RFC 4271 with MED among routes of one neighbour AS, or among all where the AS
        compares always, then the key of the sender; inside an AS that of the site where it entered, or in a
        confederation of the one that told of it, then the fewest reflectors (RFC 4456, section 9).
        """
        left = list(routes)
        for rank in (lambda r: -r.local_pref, lambda r: len(r.path)):
            left = [r for r in left if rank(r) == min(map(rank, left))]
        asn = int(self.internet.asn[site])
        always, missing = asn in self.policies.always_med, _WORST_MED if asn in self.policies.worst_med else 0
        meds = [(r.path[0], missing if r.med is None else r.med) for r in left]
        left = [
            r
            for r, (first, med) in zip(left, meds, strict=True)
            if med == min(other for neighbour, other in meds if always or neighbour == first)
        ]
        return min(left, key=lambda r: (not r.external, r.metric, r.key, r.clusters, r.sender, r.seed), default=None)

    def region(self, site: int) -> Region | None:
        index = int(self.internet.region[site])
        return REGIONS[index] if index < len(REGIONS) else None

    def footprint(self, site: int) -> set[Region]:
        """The known regions of the AS of a site."""
        return {
            r for other in self.internet.sites_of(int(self.internet.asn[site])) if (r := self.region(other)) is not None
        }

    def actions(self, site: int, route: Held) -> list[Action]:
        asn = int(self.internet.asn[site])
        meant = [self.meaning(asn, community) for community in self.words(route)]
        return [action for action in meant if action is not None]

    def meaning(self, asn: int, community: tuple[int, ...]) -> Action | None:
        """What a community asks of an AS; a dictionary is read from end to end once for each."""
        if (asn, community) not in self._meanings:
            entry = self.policies.dictionary(asn).lookup(community)
            self._meanings[asn, community] = None if entry is None else entry.action
        return self._meanings[asn, community]

    def words(self, route: Held) -> tuple[tuple[int, ...], ...]:
        """The communities that count."""
        return route.communities

    def holds_here(self, where: Where, site: int, route: Held) -> bool:
        """Whether an action's place covers this site. An unknown place is covered only by `everywhere`."""
        here, entered = self.region(site), self.region(route.entered)
        if not where.regions and not where.announced:
            return True
        return here is not None and (entered is not None or not where.announced) and where.covers(here, entered or here)

    def own(self, site: int, seeds: Sequence[Seed]) -> Iterator[Held]:
        """Our announcements to a site, as it holds them."""
        for index, seed in enumerate(seeds):
            if seed.site == site and seed.announced:
                route = Held(
                    seed=index,
                    path=(seed.origin,) * (1 + seed.prepend),
                    kind=CUSTOMER if seed.customer else PEER,
                    local_pref=0,
                    external=True,
                    metric=0,
                    key=seed.key,
                    sender=-1,
                    entered=site,
                    communities=seed.communities,
                )
                yield self.preferred(site, route)

    def offers(
        self, site: int, best: Sequence[Held | None], seeds: Sequence[Seed], kinds: Int8 | None = None
    ) -> Iterator[Held]:
        """All routes that a site holds, given what its neighbours use. `kinds`: of these as the compiled engine has
        them, where they are known: who has his route from a provider or a peer tells neither, and need not be asked.
        """
        yield from self.own(site, seeds)
        graph = self.internet
        for sender_is, rows in (
            (CUSTOMER, graph.customers),
            (PROVIDER, graph.providers),
            (PEER, graph.peers),
            (SIBLING, graph.siblings),
            (INSIDE, graph.internal),
        ):
            senders = rows.of(site)
            if kinds is not None and sender_is in (CUSTOMER, PEER) and not self.policies.servers:
                senders = senders[kinds[senders] == 0]
            for sender in senders.tolist():
                route = best[sender]
                offered = self.offer(site, sender, sender_is, route) if route is not None else None
                if offered is not None:
                    yield offered

    def offer(self, site: int, sender: int, sender_is: str, route: Held) -> Held | None:
        """What `site` makes of the best route of one neighbour, or None when it is not sent."""
        if sender_is == INSIDE:
            if not self.carried(sender, route, site):
                return None
            rows, border = self.internet.internal, route.entered
            near = rows.of(site).tolist()
            if border not in near:  # no way there: a next hop that does not exist
                return None
            confederate = site in self.member
            across = confederate and self.member[sender] != self.member[site]
            inner = replace(
                route,
                external=False,
                metric=int(rows.km_of(site)[near.index(border)]),
                key=int(self.internet.key[sender if confederate else border]),
                sender=sender,
                clusters=0 if route.external or confederate else route.clusters + 1,
                members=(self.member[sender], *route.members) if across else route.members,
            )
            return self.preferred(site, inner)
        sent = self.sent(sender, route, site, _OTHER_END[sender_is])
        if sent is None:
            return None
        return self.preferred(site, replace(sent, kind=sent.kind if sender_is == SIBLING else sender_is, entered=site))

    def sent(self, sender: int, route: Held, site: int, receiver_is: str) -> Held | None:
        """The route as `sender` sends it to another AS, or None."""
        asn, to = int(self.internet.asn[sender]), int(self.internet.asn[site])
        server = asn in self.policies.servers
        if receiver_is in (PEER, PROVIDER) and route.kind != CUSTOMER and not server:
            return None
        words = self.words(route)
        if self.goes_round(to, route) or _NO_EXPORT in words or _NO_ADVERTISE in words:
            return None
        denied = allowed = False
        prepends = 0
        meds: list[int] = []
        for action in self.actions(sender, route):
            match action:
                case NoExportTo(neighbour=whom, where=where) if _means(whom, receiver_is, to) and self.holds_here(
                    where, sender, route
                ):
                    denied = True
                case ExportTo(neighbour=whom, where=where) if _means(whom, receiver_is, to) and self.holds_here(
                    where, sender, route
                ):
                    allowed = True
                case Prepend(count=count, neighbour=whom, where=where) if _means(
                    whom, receiver_is, to
                ) and self.holds_here(where, sender, route):
                    prepends += count
                case SetMed(value=value, neighbour=whom) if _means(whom, receiver_is, to):
                    meds.append(value)
                case KeepInRegion(region=region) if self.footprint(site) - {region}:
                    return None
                case _:
                    pass
        if denied and not allowed:
            return None
        return replace(
            route,
            path=(asn,) * (prepends if server else 1 + prepends) + route.path,
            external=True,
            metric=0,
            key=int(self.internet.key[sender]),
            sender=sender,
            clusters=0,
            members=(),
            med=min(meds, default=route.med if server else None),
            communities=() if asn in self.policies.strips else route.communities,
        )

    def goes_round(self, to: int, route: Held) -> bool:
        """Whether an AS would refuse a route, since it stands in its path."""
        return to in route.path

    def carried(self, sender: int, route: Held, site: int) -> bool:
        """Whether `sender` tells a site of its own AS, and not beyond a region that holds it."""
        if not self.told_inside(sender, route, site) or _NO_ADVERTISE in self.words(route):
            return False
        kept = [action.region for action in self.actions(sender, route) if isinstance(action, KeepInRegion)]
        here = self.region(site)
        return all(here is None or here is region for region in kept)

    def told_inside(self, sender: int, route: Held, site: int) -> bool:
        """Whether the sessions inside an AS carry a route: what `sender` learnt outside; where it is a reflector also
        what its clients told it, and to clients all. Between members of a confederation all that these have not
        handed on before; inside one what came from outside it.
        """
        if site in self.member:
            if self.member[sender] != self.member[site]:
                return (sender, site) in self.joined and self.member[site] not in route.members
            return route.external or self.member[route.sender] != self.member[sender]
        if int(self.internet.asn[site]) not in self.reflected:
            return route.external
        there, here = sender in self.reflectors, site in self.reflectors
        if not (there or here) or route.entered == site:
            return False
        return route.external or (there and not (here and route.sender in self.reflectors))

    def preferred(self, site: int, route: Held) -> Held:
        """With the local preference that this site gives it: by kind, or the lowest that a community asks for. What
        is to be dropped goes to no other AS (RFC 7999, section 3.2).
        """
        actions = self.actions(site, route)
        wanted = [
            action.on_scale
            for action in actions
            if isinstance(action, LocalPreference) and self.holds_here(action.where, site, route)
        ]
        dropped = any(isinstance(action, Blackhole) for action in actions)
        kept = dropped and _NO_EXPORT not in route.communities
        return replace(
            route,
            local_pref=min(wanted, default=_PREFERENCE[route.kind]),
            dropped=dropped,
            communities=(*route.communities, _NO_EXPORT) if kept else route.communities,
        )


def _means(whom: Neighbours | int | None, receiver_is: str, asn: int) -> bool:
    if isinstance(whom, Neighbours):
        return whom not in _SETS or _SETS[whom] == receiver_is
    return whom == asn
