"""FRR's JSON: `show bgp ipv4 unicast [PREFIX] json`, of one prefix or of a table. A document in, routes out. Pure."""

from collections.abc import Mapping
from typing import Any

from anypop.model.route import Candidate, Origin, Step
from anypop.routing.paste.blocks import Blocks
from anypop.routing.paste.communities import communities
from anypop.routing.paste.pasted import ANYWHERE, Pasted, PastedRoute, Reading, Style
from anypop.routing.paste.steps import CLUSTERS

_ORIGINS = {"igp": Origin.IGP, "egp": Origin.EGP, "incomplete": Origin.INCOMPLETE}


def looks(found: Any) -> bool:
    return ("paths" in found and "prefix" in found) or ("routes" in found and "localAS" in found)


def read(reading: Reading, found: Any) -> Pasted:
    """All routes of the document."""
    blocks = Blocks(reading)
    blocks.table = "" if found.get("vrfName", "default") == "default" else str(found["vrfName"])
    entry = "paths" in found
    tables: Mapping[str, Any] = {found["prefix"]: found["paths"]} if entry else found["routes"]
    default = int(found.get("defaultLocPrf", 100))
    routes: list[PastedRoute] = []
    for prefix, paths in tables.items():
        blocks.begin(len(routes) + 1, prefix)
        routes += [_route(reading, len(routes) + n, path, blocks, default) for n, path in enumerate(paths, start=1)]
    return Pasted(
        style=Style.FRR,
        routes=tuple(routes),
        prefix_known=blocks.known,
        blocks=blocks.done(),
        unseen=frozenset() if entry else frozenset({Step.NEAREST_EXIT, CLUSTERS}),
    )


def _route(reading: Reading, number: int, path: Any, blocks: Blocks, default: int) -> PastedRoute:
    peer, best = path.get("peer", {}), path.get("bestpath", False)
    if isinstance(best, dict):
        chosen, reason = bool(best.get("overall")), str(best.get("selectionReason", ""))
    else:
        chosen, reason = bool(best), str(path.get("selectionReason", ""))
    words = path["aspath"]["string"] if "aspath" in path else path["path"]
    hop = next((h for h in path.get("nexthops", ()) if h.get("used")), (path.get("nexthops") or [{}])[0])
    kinds = ("community", "largeCommunity", "extendedCommunity")
    carried = communities(" ".join(str(path.get(kind, {}).get("string", "")) for kind in kinds))
    external = peer.get("type", path.get("pathFrom")) == "external"
    since = path.get("lastUpdate", {}).get("epoch")
    originator = str(path.get("originatorId", ""))
    return PastedRoute(
        candidate=Candidate(
            prefix=blocks.prefix or ANYWHERE,
            as_path=reading.path(number, "" if words == "Local" else words) or (),
            local_pref=reading.number(number, str(path.get("locPrf", path.get("localpref", default))), "preference"),
            origin=_ORIGINS.get(str(path.get("origin", "")).lower(), Origin.INCOMPLETE),
            med=reading.number(number, str(path.get("metric", path.get("med", 0))), "MED"),
            ebgp=external,
            igp_metric=int(hop.get("metric", 0)),
            router_id=originator or str(peer.get("routerId", "")),
            neighbor=str(peer.get("peerId", path.get("peerId", ""))),
            next_hop=str(hop.get("ip", "")),
            protocol="BGP",
            communities=carried.pairs,
            large_communities=carried.triples,
            extended_communities=carried.quads,
            best=chosen,
        ),
        line=number,
        precedence=int(path.get("weight", 0)),
        unusable="" if path.get("valid") else "it is not valid",
        reason=reason,
        block=blocks.here(),
        own=bool(path.get("sourced") or path.get("local")),
        originator=originator,
        cluster_list=tuple(map(str, path.get("clusterList", {}).get("list", ()))),
        multipath=bool(path.get("multipath")),
        since=float(since) if since is not None else None,
        doubts=carried.doubts,
    )
