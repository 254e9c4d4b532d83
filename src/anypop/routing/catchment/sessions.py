"""Our announcements as an engine takes them: sessions in, seeds out, each at the upstream's site closest to the PoP.
Pure.
"""

import numpy as np

from anypop.model.cities import city_of_pop
from anypop.model.errors import Invalid, Problem
from anypop.model.network import UpstreamKind
from anypop.model.sessions import Announcements, Session, from_network
from anypop.routing.engine.seeds import Seed
from anypop.routing.internet.sites import Internet, kilometres

__all__ = ["Announcements", "Session", "from_network", "seeds_of"]

# Between equals the route with the lowest key wins, and a site's key is its AS number. Ours stands above all, so that
# being next to us wins no tie by its number.
_OUR_KEY = 1 << 32


def seeds_of(
    internet: Internet, announcements: Announcements, found: dict[tuple[str, int], int] | None = None
) -> tuple[Seed, ...]:
    """One seed per session, at the upstream's site closest to the PoP. `found`: which that is, by PoP and AS, from
    earlier calls. Raises `Invalid` with every session that does not fit the graph.
    """
    closest = {} if found is None else found
    problems: list[Problem] = []
    seeds: list[Seed] = []
    if not announcements.sessions:
        problems.append(Problem(path="sessions", message="there is none: nothing is announced"))
    for index, session in enumerate(announcements.sessions):
        where = f"sessions[{index}] ({session.pop} to {session.upstream})"
        if session.kind is UpstreamKind.EDGE:
            # Our own number may well be in the graph, and would be taken for a neighbour's.
            message = (
                f"the hosts of {session.pop} announce to its edge router; what that tells which networks is not known "
                "here"
            )
            problems.append(Problem(path=where, message=message))
            continue
        sites = internet.sites_of(session.asn)
        place = city_of_pop(session.pop)
        if place is None:
            problems.append(Problem(path=f"{where}.pop", message=f"'{session.pop}' is no city code"))
        if not sites:
            problems.append(Problem(path=f"{where}.asn", message=f"AS{session.asn} is not in the graph"))
        if not 0 <= session.scope.prepend <= 20:
            problems.append(
                Problem(path=f"{where}.scope.prepend", message=f"{session.scope.prepend} is not between 0 and 20")
            )
        if place is None or not sites:
            continue
        if (session.pop, session.asn) not in closest:
            index_of_sites = np.array(sites)
            km = kilometres(
                internet.latitude[index_of_sites], internet.longitude[index_of_sites], place.latitude, place.longitude
            )
            closest[session.pop, session.asn] = int(index_of_sites[np.argmin(np.nan_to_num(km, nan=np.inf))])
        seeds.append(
            Seed(
                pop=session.pop,
                upstream=session.upstream,
                site=closest[session.pop, session.asn],
                customer=session.kind is UpstreamKind.TRANSIT,
                origin=announcements.asn,
                prepend=session.scope.prepend,
                communities=session.scope.every_community,
                key=_OUR_KEY,
                announced=session.hears,
            )
        )
    if problems:
        raise Invalid(problems)
    return tuple(seeds)
