"""RIPEstat's looking glass: the JSON of what peers of RIPE RIS hold. A document in, routes out.

Each route is the choice of another router, so that there is no best among them: they tell which upstreams are seen, and
where. Pure.
"""

from datetime import datetime
from typing import Any

from anypop.model.route import Candidate, Origin
from anypop.routing.paste.blocks import Blocks
from anypop.routing.paste.communities import communities
from anypop.routing.paste.pasted import ANYWHERE, Pasted, PastedRoute, Reading, Style

_ORIGINS = {"igp": Origin.IGP, "egp": Origin.EGP}
_ZERO = datetime(2000, 1, 1)


def looks(found: Any) -> bool:
    return "rrcs" in found.get("data", found)


def read(reading: Reading, found: Any) -> Pasted:
    """All routes of the document, by prefix."""
    blocks = Blocks(reading)
    by_prefix: dict[str, list[tuple[str, Any]]] = {}
    for collector in found.get("data", found)["rrcs"]:
        for peer in collector["peers"]:
            by_prefix.setdefault(str(peer["prefix"]), []).append((str(collector.get("rrc", "")), peer))
    routes: list[PastedRoute] = []
    for prefix, peers in by_prefix.items():
        blocks.begin(len(routes) + 1, prefix)
        routes += [_route(reading, len(routes) + n, rrc, peer, blocks) for n, (rrc, peer) in enumerate(peers, start=1)]
    return Pasted(style=Style.COLLECTOR, routes=tuple(routes), prefix_known=blocks.known, blocks=blocks.done())


def _route(reading: Reading, number: int, collector: str, peer: Any, blocks: Blocks) -> PastedRoute:
    kinds = ("community", "largeCommunity", "extendedCommunity")
    carried = communities(" ".join(str(peer.get(kind) or "") for kind in kinds))
    return PastedRoute(
        candidate=Candidate(
            prefix=blocks.prefix or ANYWHERE,
            as_path=reading.path(number, str(peer["as_path"])) or (),
            local_pref=100,
            origin=_ORIGINS.get(str(peer.get("origin", "")).lower(), Origin.INCOMPLETE),
            ebgp=True,
            neighbor=str(peer.get("peer", "")),
            next_hop=str(peer.get("next_hop", "")),
            protocol=collector,
            communities=carried.pairs,
            large_communities=carried.triples,
            extended_communities=carried.quads,
        ),
        line=number,
        block=blocks.here(),
        since=_moment(str(peer.get("last_updated", ""))),
        doubts=carried.doubts,
    )


def _moment(text: str) -> float | None:
    try:
        return (datetime.fromisoformat(text.rstrip("Z")).replace(tzinfo=None) - _ZERO).total_seconds()
    except ValueError:
        return None
