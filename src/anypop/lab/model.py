"""A lab as the propagation engines see it: its routers as sites, its links, and what its networks make of communities.

Between the address plan and `routing.engine`: the same announcements can be given to the model and to the running
routers, and their answers compared. Comes in a plan, goes out a `Modelled`. Pure; asks no daemon.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from anypop.lab.address import LabPlan
from anypop.lab.routers import link_cost
from anypop.lab.topology import AutonomousSystem, Habit, LinkKind
from anypop.model.announce import Mode, Scope
from anypop.model.cities import city
from anypop.model.names import CityCode
from anypop.model.network import UpstreamKind
from anypop.routing.actions import Region
from anypop.routing.dictionary import for_asn
from anypop.routing.engine.seeds import Policies, Seed
from anypop.routing.internet.relationships import Link
from anypop.routing.internet.sites import REGIONS, UNKNOWN_REGION, Inside, Internet, SiteLinks, assemble

# Babel's infinity (RFC 8966): a way that costs more does not exist for its routers.
_INFINITY = 65535

# What is announced: PoP's city and name of its upstream to the scope. A session that is missing is announced to without
# conditions.
Scopes = Mapping[tuple[CityCode, str], Scope]


@dataclass(frozen=True, slots=True, kw_only=True)
class Modelled:
    """`routers[i]` is the name of site i; `towards[i][j]`: the site that a packet passes next on its way inside an
    AS from i to j.
    """

    internet: Internet
    policies: Policies
    routers: tuple[str, ...]
    towards: Mapping[int, Mapping[int, int]]
    plan: LabPlan

    def site(self, router: str) -> int:
        """The site of a router. Raises ValueError for a name that is not of this lab."""
        return self.routers.index(router)

    def landing(self, senders: Sequence[int], site: int) -> int | None:
        """The seed by which a packet that enters at a site comes to us, router by router; None where it is lost or goes
        in a circle.

        `senders[i]`: whom site i has its best route from, -1 - s for seed s, and itself for no route. Inside an AS a
        packet passes routers that go by their own best routes, which are not always that of the first: an outcome's own
        `pop` knows no way between two sites. It is on its way to the border, whichever reflectors told of it.
        """
        for _ in range(len(self.routers) + 1):
            sender = senders[site]
            if sender < 0:
                return -1 - sender
            if sender == site:
                return None
            while sender in self.towards[site] and senders[sender] in self.towards[sender]:
                sender = senders[sender]
            site = self.towards[site].get(sender, sender)
        return None

    def seeds(self, scopes: Scopes) -> tuple[Seed, ...]:
        """Our announcements of one prefix as they enter the graph."""
        found = []
        for site, own in zip(self.plan.sites, self.plan.topology.own.pops, strict=True):
            for upstream in own.upstreams:
                scope = scopes.get((own.city, upstream.name), Scope())
                if scope.mode is Mode.WITHHOLD:
                    continue
                found.append(
                    Seed(
                        pop=own.city,
                        upstream=upstream.name,
                        site=self.site(self.plan.router(upstream.asn, upstream.city).name),
                        customer=upstream.kind is UpstreamKind.TRANSIT,
                        origin=self.plan.topology.own.asn,
                        prepend=scope.prepend,
                        communities=scope.every_community,
                        key=int(site.router_id),
                    )
                )
        return tuple(found)


def modelled(plan: LabPlan, family: int = 4) -> Modelled:
    """The model of a lab in one family: not every link has both. Ties go to the lowest router id, as in BIRD."""
    topology = plan.topology
    routers = sorted(plan.routers, key=lambda router: (router.asn, int(router.loopback4)))
    names = tuple(router.name for router in routers)
    at = {(router.asn, router.city): i for i, router in enumerate(routers)}
    ends = [
        (at[link.a, link.a_city], at[link.b, link.b_city], link.kind)
        for link in topology.links
        if family in link.families
    ]
    # `a` of a site link is the provider; in a topology it is the customer.
    rows = [
        (b, a, Link.PROVIDER) if kind is LinkKind.CUSTOMER_PROVIDER else (a, b, Link[kind.name]) for a, b, kind in ends
    ]
    inside: list[tuple[int, int, int]] = []
    towards: dict[int, dict[int, int]] = {i: {} for i in range(len(routers))}
    for system in topology.ases:
        for (here, there), (cost, step) in _ways(system).items():
            a, b = at[system.asn, here], at[system.asn, there]
            towards[a][b] = at[system.asn, step]
            if a < b:
                inside.append((a, b, cost))
    places = [city(router.city) for router in routers]
    table, inner = np.array(rows, dtype=np.int64).reshape(-1, 3), np.array(inside, dtype=np.int64).reshape(-1, 3)
    internet = assemble(
        asn=np.array([router.asn for router in routers], dtype=np.int64),
        city=[router.city for router in routers],
        region=np.array([_region(place.continent) for place in places], dtype=np.int8),
        latitude=np.array([place.latitude for place in places], dtype=np.float64),
        longitude=np.array([place.longitude for place in places], dtype=np.float64),
        key=np.array([int(router.loopback4) for router in routers], dtype=np.int64),
        links=SiteLinks(a=table[:, 0].copy(), b=table[:, 1].copy(), kind=table[:, 2].copy()),
        inside=Inside(a=inner[:, 0].copy(), b=inner[:, 1].copy(), km=inner[:, 2].copy()),
    )
    with_habit = {habit: frozenset(s.asn for s in topology.ases if habit in s.habits) for habit in Habit}
    policies = Policies(
        books={system.asn: for_asn(system.communities) for system in topology.ases},
        strips=with_habit[Habit.STRIPS_COMMUNITIES],
        always_med=with_habit[Habit.COMPARES_MED_ALWAYS],
        worst_med=with_habit[Habit.MISSING_MED_IS_WORST],
        servers=with_habit[Habit.ROUTE_SERVER],
        reflectors=frozenset((system.asn, str(code)) for system in topology.ases for code in system.reflectors),
        members={
            (system.asn, str(code)): member.asn
            for system in topology.ases
            for member in system.confederation
            for code in member.cities
        },
        joined=frozenset(
            (system.asn, str(a), str(b))
            for system in topology.ases
            for a in system.cities
            for b in system.cities
            if system.member(a) != system.member(b) and system.speak(a, b)
        ),
    )
    return Modelled(internet=internet, policies=policies, routers=names, towards=towards, plan=plan)


def _region(continent: str) -> int:
    return REGIONS.index(Region(continent)) if continent in tuple(Region) else UNKNOWN_REGION


def _ways(system: AutonomousSystem) -> dict[tuple[CityCode, CityCode], tuple[int, CityCode]]:
    """The shortest way between each two cities of an AS: its cost and the first city on it (Floyd and Warshall)."""
    best: dict[tuple[CityCode, CityCode], tuple[int, CityCode]] = {}
    for link in system.internal:
        for a, b in ((link.a, link.b), (link.b, link.a)):
            best[a, b] = (link_cost(link.km), b)
    for middle in system.cities:
        for a in system.cities:
            for b in system.cities:
                first, second = best.get((a, middle)), best.get((middle, b))
                if a != b and first is not None and second is not None:
                    cost = first[0] + second[0]
                    if cost < min(_INFINITY, best.get((a, b), (_INFINITY, b))[0]):
                        best[a, b] = (cost, first[1])
    return best
