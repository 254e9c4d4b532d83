"""The model's answer to `why`, in the words of the lab: an outcome and a site in, the views that `explain` reads out.

Every site on the way gets all the routes that its neighbours offer it; a site off the way only its best, so that
alternatives can be followed home. Uses the rules of the reference engine on the compiled engine's choices. Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, ip_network
from typing import overload

from anypop.model.names import CityCode
from anypop.model.route import Candidate, Relationship
from anypop.routing.engine.propagate import Outcome
from anypop.routing.engine.reference import CUSTOMER, INSIDE, PEER, PROVIDER, SIBLING, Held, Rules
from anypop.routing.engine.seeds import SHIPPED, Policies
from anypop.routing.explain import RouterView, Why, explain

# The model knows no addresses: one prefix stands for all that is announced.
PREFIX = ip_network("192.0.2.0/24")
_RELATIONSHIPS = {
    CUSTOMER: Relationship.CUSTOMER,
    PEER: Relationship.PEER,
    PROVIDER: Relationship.PROVIDER,
    SIBLING: Relationship.INTERNAL,
}


def why(
    outcome: Outcome, site: int, policies: Policies = SHIPPED, *, vantage: str = "", nearest: CityCode | None = None
) -> Why:
    """Why a site lands where it lands, by the model."""
    start = outcome.internet.name(site)
    return explain(views_of(outcome, site, policies), start, vantage=vantage or start, nearest=nearest)


def views_of(outcome: Outcome, site: int, policies: Policies = SHIPPED) -> dict[str, RouterView]:
    """Views of the site, of all on its way, and of what their alternatives lead through."""
    best = _Best(outcome, Rules(outcome.internet, policies))
    way = outcome.way(site) or (site,)
    holds = {here: tuple(best.rules.offers(here, best, outcome.seeds, outcome.kind)) for here in way}
    off = {
        passed
        for routes in holds.values()
        for route in routes
        if route.sender >= 0
        for passed in outcome.way(route.sender)
    }
    for other in off - set(way):
        route = best[other]
        holds[other] = (route,) if route is not None else ()
    views = {outcome.internet.name(here): _view(outcome, here, routes, best[here]) for here, routes in holds.items()}
    for pop in outcome.pops:
        name = _pop_name(pop)
        views[name] = RouterView(
            router=name, asn=outcome.seeds[0].origin, city=pop, pop=pop, addresses=frozenset({name})
        )
    return views


def _pop_name(pop: str) -> str:
    return f"our PoP {pop}"


def _view(outcome: Outcome, site: int, routes: Sequence[Held], chosen: Held | None) -> RouterView:
    net = outcome.internet
    name = net.name(site)
    return RouterView(
        router=name,
        asn=int(net.asn[site]),
        city=CityCode(net.city[site]),
        addresses=frozenset({name}),
        candidates=tuple(_candidate(outcome, route, route == chosen) for route in routes),
    )


def _candidate(outcome: Outcome, route: Held, best: bool) -> Candidate:
    net = outcome.internet
    via = _pop_name(outcome.seeds[route.seed].pop) if route.sender < 0 else net.name(route.sender)
    return Candidate(
        prefix=PREFIX,
        as_path=route.path,
        local_pref=route.local_pref,
        ebgp=route.external,
        med=route.med or 0,
        igp_metric=route.metric,
        # The tie key as an address: the decision process compares it as a number.
        router_id=str(IPv4Address(min(route.key, 0xFFFFFFFF))),
        neighbor=via,
        next_hop=via,
        relationship=_RELATIONSHIPS[route.kind],
        learnt_at=net.city[route.entered],
        best=best,
    )


@dataclass(slots=True)
class _Best(Sequence["Held | None"]):
    """The best route of each site as the reference engine would have it, worked out on demand from the compiled
    engine's choice of sender.
    """

    outcome: Outcome
    rules: Rules
    found: dict[int, Held | None] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.outcome.internet)

    @overload
    def __getitem__(self, index: int) -> Held | None: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Held | None]: ...
    def __getitem__(self, index: int | slice) -> Held | Sequence[Held | None] | None:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if index not in self.found:
            for site in reversed(self.outcome.way(index)):
                if site not in self.found:
                    self.found[site] = self._chosen(site)
            self.found.setdefault(index, None)
        return self.found[index]

    def _chosen(self, site: int) -> Held | None:
        sender = int(self.outcome.sender[site])
        if sender < 0:
            return next((r for r in self.rules.own(site, self.outcome.seeds) if r.seed == -1 - sender), None)
        route = self.found[sender]
        net = self.outcome.internet
        for word, rows in (
            (INSIDE, net.internal),
            (CUSTOMER, net.customers),
            (PROVIDER, net.providers),
            (PEER, net.peers),
            (SIBLING, net.siblings),
        ):
            if sender in rows.of(site):
                return self.rules.offer(site, sender, word, route) if route is not None else None
        return None
