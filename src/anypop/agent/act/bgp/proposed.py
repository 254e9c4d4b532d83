"""The bird.conf that a PoP would have: what is announced to whom in, text out. For who shows a change before it is
made. Pure.
"""

from collections.abc import Mapping, Sequence
from ipaddress import ip_network
from pathlib import Path

from anypop.agent.act.bgp.config import render
from anypop.agent.decide.elements import Export, SpeakerConfig
from anypop.model.announce import Mode, Scope
from anypop.model.names import CityCode
from anypop.model.network import Network


def bird_conf(network: Network, city: CityCode, prefixes: Sequence[str], scopes: Mapping[str, Scope]) -> str:
    """The whole text for these prefixes alone. `scopes`: by the upstream's name; one that is not named hears
    nothing.
    """
    site = next(site for site in network.pops if site.city == city)
    exports = tuple(
        Export(
            prefix=ip_network(prefix),
            upstream=upstream.name,
            prepend=scope.prepend,
            communities=scope.communities,
            large_communities=scope.large_communities,
            extended_communities=scope.extended_communities,
        )
        for upstream in site.upstreams
        for prefix in prefixes
        if (scope := scopes.get(upstream.name)) is not None and scope.mode is Mode.ANNOUNCE
    )
    config = SpeakerConfig(
        asn=network.asn, router_id=site.hosts[0].router_id, upstreams=site.upstreams, exports=exports
    )
    return render(config, log=Path("bird.log"))
