"""Our announcements for a prediction: the operator's network (or a plan file) in, seeds for the engines out.

A `Session` is one neighbour of one PoP with the scope of what is announced there. The same list describes what is,
what is asked for, and what the doctor proposes. Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from anypop.model.announce import Mode, Scope, ScopeRule
from anypop.model.cities import find_city
from anypop.model.errors import Invalid, Problem
from anypop.model.names import CityCode
from anypop.model.network import Network, UpstreamKind
from anypop.routing.engine.seeds import Seed
from anypop.routing.internet.sites import Internet, kilometres

# Between equals the route with the lowest key wins, and a site's key is its AS number. Ours stands above all, so that being
# next to us wins no tie by its number.
_OUR_KEY = 1 << 32


PLAIN = Scope()


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One neighbour of one PoP. `asn`: the neighbour's. `upstream`: its name at that PoP."""

    pop: CityCode
    upstream: str
    asn: int
    kind: UpstreamKind = UpstreamKind.TRANSIT
    scope: Scope = PLAIN


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcements:
    """What we announce: our AS and all our sessions, withheld ones included."""

    asn: int
    sessions: tuple[Session, ...]

    @property
    def pops(self) -> tuple[CityCode, ...]:
        """The PoPs that announce to somebody, in order."""
        return tuple(sorted({session.pop for session in self.sessions if session.scope.mode is Mode.ANNOUNCE}))

    def changed(self, index: int, scope: Scope) -> "Announcements":
        """The same with another scope for one session."""
        sessions = list(self.sessions)
        sessions[index] = replace(sessions[index], scope=scope)
        return replace(self, sessions=tuple(sessions))

    def find(self, pop: str, upstream: str) -> int | None:
        """The index of a session by PoP and the upstream's name."""
        return next((i for i, s in enumerate(self.sessions) if (s.pop, s.upstream) == (pop, upstream)), None)


def from_network(network: Network, rules: Sequence[ScopeRule] = ()) -> Announcements:
    """What a workload with these scope rules announces from every PoP."""
    scopes = {(rule.pop, rule.upstream): rule.scope for rule in rules}
    return Announcements(
        asn=network.asn,
        sessions=tuple(
            Session(pop=pop.city, upstream=up.name, asn=up.asn, kind=up.kind, scope=scopes.get((pop.city, up.name), Scope()))
            for pop in network.pops
            for up in pop.upstreams
        ),
    )


def seeds_of(internet: Internet, announcements: Announcements) -> tuple[Seed, ...]:
    """One seed per session, at the upstream's site closest to the PoP. Raises `Invalid` with every session that does
    not fit the graph.
    """
    problems: list[Problem] = []
    seeds: list[Seed] = []
    if not announcements.sessions:
        problems.append(Problem(path="sessions", message="there is none: nothing is announced"))
    for index, session in enumerate(announcements.sessions):
        where = f"sessions[{index}] ({session.pop} to {session.upstream})"
        sites = internet.sites_of(session.asn)
        place = find_city(session.pop)
        if place is None:
            problems.append(Problem(path=f"{where}.pop", message=f"'{session.pop}' is no city code"))
        if not sites:
            problems.append(Problem(path=f"{where}.asn", message=f"AS{session.asn} is not in the graph"))
        if not 0 <= session.scope.prepend <= 20:
            problems.append(Problem(path=f"{where}.scope.prepend", message=f"{session.scope.prepend} is not between 0 and 20"))
        if place is None or not sites:
            continue
        index_of_sites = np.array(sites)
        km = kilometres(internet.latitude[index_of_sites], internet.longitude[index_of_sites], place.latitude, place.longitude)
        seeds.append(
            Seed(
                pop=session.pop,
                upstream=session.upstream,
                site=int(index_of_sites[np.argmin(np.nan_to_num(km, nan=np.inf))]),
                customer=session.kind is UpstreamKind.TRANSIT,
                origin=announcements.asn,
                prepend=session.scope.prepend,
                communities=(*session.scope.communities, *session.scope.large_communities),
                key=_OUR_KEY,
                announced=session.scope.mode is Mode.ANNOUNCE,
            )
        )
    if problems:
        raise Invalid(problems)
    return tuple(seeds)
