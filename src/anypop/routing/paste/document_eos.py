"""EOS's JSON: `show ip bgp [PREFIX [detail]] | json`. A document in, routes out. Pure."""

from typing import Any

from anypop.model.route import Candidate, Origin, Step
from anypop.routing.paste.blocks import Blocks
from anypop.routing.paste.communities import communities
from anypop.routing.paste.pasted import ANYWHERE, INTERNAL, Pasted, PastedRoute, Reading, Style
from anypop.routing.paste.steps import CLUSTERS

_ORIGINS = {"igp": Origin.IGP, "i": Origin.IGP, "egp": Origin.EGP, "e": Origin.EGP}


def looks(found: Any) -> bool:
    return any("bgpRouteEntries" in vrf for vrf in found["vrfs"].values())


def read(reading: Reading, found: Any) -> Pasted:
    """All routes of the document, each VRF by itself."""
    blocks = Blocks(reading)
    routes: list[PastedRoute] = []
    for name, vrf in found["vrfs"].items():
        blocks.table = "" if name == "default" else str(name)
        for prefix, entry in vrf["bgpRouteEntries"].items():
            paths = entry["bgpRoutePaths"]
            total = entry.get("totalPaths", len(paths))
            blocks.begin(len(routes) + 1, prefix, total=int(total))
            routes += [_route(reading, len(routes) + n, path, blocks) for n, path in enumerate(paths, start=1)]
    detailed = all(
        "routeDetail" in p
        for v in found["vrfs"].values()
        for e in v["bgpRouteEntries"].values()
        for p in e["bgpRoutePaths"]
    )
    return Pasted(
        style=Style.EOS,
        routes=tuple(routes),
        prefix_known=blocks.known,
        blocks=blocks.done(),
        unseen=frozenset({Step.NEAREST_EXIT} if detailed else {Step.NEAREST_EXIT, CLUSTERS}),
    )


def _route(reading: Reading, number: int, path: Any, blocks: Blocks) -> PastedRoute:
    detail, kind, entry = path.get("routeDetail", {}), path.get("routeType", {}), path.get("asPathEntry", {})
    peer = detail.get("peerEntry", path.get("peerEntry", {}))
    words = str(entry.get("asPath", "")).split()
    origin = str(detail.get("origin", kind.get("origin", words[-1] if words else "")))
    kinds = ("External", "Internal", "Local", "Confed-External", "Confed-Internal")
    known = entry.get("asPathType") in kinds
    external = entry["asPathType"] in ("External", "Confed-External") if known else len(words) > 1
    lists = ("communityList", "largeCommunityList", "extCommunityList")
    carried = communities(" ".join(str(word) for name in lists for word in detail.get(name) or ()))
    originator = str(detail.get("originator", ""))
    reason = str(path.get("reasonNotBestpath") or "")
    return PastedRoute(
        candidate=Candidate(
            prefix=blocks.prefix or ANYWHERE,
            as_path=reading.path(number, " ".join(w for w in words if w not in ("i", "e", "?", "Local"))) or (),
            local_pref=reading.number(number, str(_number(path.get("localPreference"), 100)), "local preference"),
            origin=_ORIGINS.get(origin.lower(), Origin.INCOMPLETE),
            med=reading.number(number, str(_number(path.get("med"), 0)), "MED"),
            ebgp=external,
            igp_metric=int(detail.get("igpMetric", 0)),
            router_id=originator or str(peer.get("peerRouterId", "")),
            neighbor=str(peer.get("peerAddr", "")),
            next_hop=str(path.get("nextHop", "")),
            protocol="BGP",
            communities=carried.pairs,
            large_communities=carried.triples,
            extended_communities=carried.quads,
            best=bool(kind.get("active")),
        ),
        line=number,
        precedence=int(path.get("weight", 0)),
        unusable="" if kind.get("valid") else "it is not valid",
        reason="" if reason == "noReason" else reason,
        block=blocks.here(),
        own=entry.get("asPathType") == "Local" or (not known and not external),
        multipath=bool(kind.get("ecmp")),
        originator=originator,
        cluster_list=tuple(str(detail.get("clusterList", "")).replace(",", " ").split()),
        doubts=(*(() if known or not external else (f"{INTERNAL} is not in the document",)), *carried.doubts),
    )


def _number(value: Any, default: int) -> int:
    """A value, or what is meant where the document has null."""
    return default if value is None else int(value)
