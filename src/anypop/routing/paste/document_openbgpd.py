"""OpenBGPD's JSON: `bgpctl -j show rib`, also with `detail`. A document in, routes out. Pure."""

from typing import Any

from anypop.model.route import Candidate, Origin, Step
from anypop.routing.paste.blocks import Blocks
from anypop.routing.paste.communities import communities
from anypop.routing.paste.pasted import ANYWHERE, Pasted, PastedRoute, Reading, Style
from anypop.routing.paste.steps import CLUSTERS

_ORIGINS = {"igp": Origin.IGP, "egp": Origin.EGP, "incomplete": Origin.INCOMPLETE}


def looks(found: Any) -> bool:
    return isinstance(found.get("rib"), list)


def read(reading: Reading, found: Any) -> Pasted:
    """All routes of the document; those of one prefix that follow one another are one decision."""
    blocks = Blocks(reading)
    routes: list[PastedRoute] = []
    last = None
    for number, one in enumerate(found["rib"], start=1):
        if one["prefix"] != last:
            blocks.begin(number, one["prefix"])
            last = one["prefix"]
        routes.append(_route(reading, number, one, blocks))
    plain = not any("attributes" in one for one in found["rib"])
    return Pasted(
        style=Style.OPENBGPD,
        routes=tuple(routes),
        prefix_known=blocks.known,
        blocks=blocks.done(),
        unseen=frozenset({CLUSTERS, Step.ROUTER_ID}) if plain else frozenset(),
    )


def _route(reading: Reading, number: int, one: Any, blocks: Blocks) -> PastedRoute:
    attributes: dict[str, Any] = {}
    for attribute in one.get("attributes", ()):
        attributes |= attribute
    neighbour = one.get("neighbor", {})
    kinds = ("communities", "large_communities", "extended_communities")
    carried = communities(" ".join(str(word) for kind in kinds for word in one.get(kind, ())))
    originator = str(attributes.get("originator", ""))
    return PastedRoute(
        candidate=Candidate(
            prefix=blocks.prefix or ANYWHERE,
            as_path=reading.path(number, one.get("aspath", "")) or (),
            local_pref=reading.number(number, str(one["localpref"]), "local preference"),
            origin=_ORIGINS.get(str(one.get("origin", "")).lower(), Origin.INCOMPLETE),
            med=reading.number(number, str(one.get("metric", 0)), "MED"),
            ebgp=one.get("source") == "external",
            age_s=float(one["last_update_sec"]) if "last_update_sec" in one else None,
            router_id=originator or str(neighbour.get("bgp_id", "")),
            neighbor=str(neighbour.get("remote_addr", "")),
            next_hop=str(one.get("exit_nexthop", "")),
            protocol="BGP",
            communities=carried.pairs,
            large_communities=carried.triples,
            extended_communities=carried.quads,
            best=bool(one.get("best")),
        ),
        line=number,
        precedence=int(one.get("weight", 0)),
        unusable="" if one.get("valid") else "it is not valid",
        block=blocks.here(),
        own=bool(one.get("announced")),
        multipath=bool(one.get("ecmp")),
        originator=originator,
        cluster_list=tuple(map(str, attributes.get("cluster_list", ()))),
        doubts=carried.doubts,
    )
