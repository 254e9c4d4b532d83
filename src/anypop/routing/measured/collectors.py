"""What route collectors saw of our prefix: routes in, observations out. Pure.

A route that a collector has from a network is that network's own choice, and the choice of every network on its path:
all of them land where the path ends. In which PoP it was announced is told by a community that the PoP's routers add,
by the next hop where a neighbour of ours gave the route, or by our neighbour in the path, where one PoP alone announces
to it. A route of which none says so is left out, and counted.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping

from anypop.model.route import Candidate
from anypop.model.scopes import community_text
from anypop.model.sessions import Announcements
from anypop.routing.catchment.observations import Observation, Told
from anypop.routing.paste.pasted import PastedRoute


def read(
    routes: Iterable[PastedRoute],
    *,
    meanings: Mapping[str, str],
    identify: Callable[[str], str | None],
    announced: Announcements | None = None,
) -> Told:
    """`meanings`: the PoPs of communities. `identify`: the PoP of an address. `announced`: what was announced when the
    table was made; a route of another origin is not ours.
    """
    only = _only(announced)
    found: list[Observation] = []
    left_out: Counter[str] = Counter()
    for route in routes:
        path = route.candidate.as_path
        if not path:
            left_out["have no path"] += 1
            continue
        own = path[-1]
        if announced is not None and own != announced.asn:
            left_out[f"are not of AS{announced.asn}"] += 1
            continue
        networks = list(dict.fromkeys(asn for asn in path if asn != own))
        if not networks:
            continue
        pop = _pop(route.candidate, meanings, identify) or only.get(networks[-1])
        if pop is None:
            left_out["do not tell in which PoP they were announced (--map COMMUNITY=POP, --map NEXTHOP=POP)"] += 1
            continue
        vantage = f"collector {route.candidate.neighbor}"
        found += (Observation(asn=asn, pop=pop, vantage=vantage, at=route.since or 0.0) for asn in networks)
    return Told(observations=tuple(dict.fromkeys(found)), notes=tuple(_notes(left_out)))


def _pop(candidate: Candidate, meanings: Mapping[str, str], identify: Callable[[str], str | None]) -> str | None:
    for community in (*candidate.large_communities, *candidate.communities):
        if (pop := meanings.get(community_text(community))) is not None:
            return pop
    return identify(candidate.next_hop)


def _only(announced: Announcements | None) -> dict[int, str]:
    """The PoP of each neighbour that one PoP alone announces to."""
    pops: dict[int, set[str]] = {}
    for session in announced.sessions if announced is not None else ():
        if session.hears:
            pops.setdefault(session.asn, set()).add(session.pop)
    return {asn: min(there) for asn, there in pops.items() if len(there) == 1}


def _notes(left_out: Counter[str]) -> Iterator[str]:
    yield from (f"{number:,} routes {why}" for why, number in left_out.items())
