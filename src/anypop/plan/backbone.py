"""Each host's part of the backbone, out of the network alone.

In: the network. Out: for each host its end of the tunnels and the other hosts, the nearest first. What is carried
follows from who has which address, so the planner adds it. Worked out once for each network document. Pure.
"""

from anypop.model.backbone import Backbone, BackbonePeer
from anypop.model.cities import distance_km, find_city
from anypop.model.names import CityCode, HostName
from anypop.model.network import Host, Network, Pop

# a city that nobody knows (a lab's own) is further away than any that somebody knows: half the way round the earth
UNKNOWN_KM = 20_015


def backbones(network: Network) -> dict[HostName, Backbone]:
    """By host; empty where the network has no backbone."""
    rules = network.backbone
    if rules is None:
        return {}
    numbers = network.numbers()
    sites = [*network.hosts()]
    between = {
        (a.city, b.city): _distance(a.city, b.city) for n, a in enumerate(network.pops) for b in network.pops[n:]
    }
    between |= {(b, a): km for (a, b), km in between.items()}
    nearest = {
        here.city: sorted(sites, key=lambda site: (between[here.city, site[0].city], site[1].name))
        for here in network.pops
    }
    return {
        host.name: Backbone(
            rules=rules,
            address=host.tunnel_address,
            peers=tuple(
                _peer(there, other, between[pop.city, there.city], numbers[other.name])
                for there, other in nearest[pop.city]
                if other.name != host.name
            ),
        )
        for pop, host in sites
    }


def _peer(pop: Pop, host: Host, distance: int, number: int) -> BackbonePeer:
    return BackbonePeer(
        host=host.name,
        pop=pop.city,
        router_id=host.router_id,
        address=host.tunnel_address,
        distance_km=distance,
        external4=host.external4,
        external6=host.external6,
        private4=host.private4,
        private6=host.private6,
        number=number,
    )


def _distance(a: CityCode, b: CityCode) -> int:
    """In whole kilometres: 0 inside a PoP, and at least 1 between two."""
    if a == b:
        return 0
    here, there = find_city(a), find_city(b)
    if here is None or there is None:
        return UNKNOWN_KM
    return max(1, round(distance_km(here, there)))
