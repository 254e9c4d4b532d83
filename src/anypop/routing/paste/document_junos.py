"""Junos's JSON: `show route PREFIX [detail] | display json`. A document in, routes out.

Every value is a list of objects with `data`. As in the text, the plain form does not say which routes are internal.
Pure.
"""

from collections.abc import Iterator
from typing import Any

from anypop.model.route import Candidate, Origin, Step
from anypop.routing.paste.beside import beside
from anypop.routing.paste.blocks import Blocks
from anypop.routing.paste.communities import communities
from anypop.routing.paste.pasted import ANYWHERE, Pasted, PastedRoute, Reading, Style, age_s
from anypop.routing.paste.steps import CLUSTERS

_ORIGINS = {"I": Origin.IGP, "E": Origin.EGP, "?": Origin.INCOMPLETE}


def looks(found: Any) -> bool:
    return "route-table" in _list(_reply(found))[0]


def _reply(found: Any) -> Any:
    """Without what `rpc-reply` wraps around it."""
    return found["route-information"] if "route-information" in found else found["rpc-reply"]["route-information"]


def read(reading: Reading, found: Any) -> Pasted:
    """All routes of the document, each table by itself."""
    blocks = Blocks(reading)
    routes: list[PastedRoute] = []
    detailed = True
    for table in (t for one in _list(_reply(found)) for t in _list(one["route-table"])):
        blocks.table = _text(table, "table-name")
        for destination in _list(table.get("rt", [])):
            prefix = _text(destination, "rt-destination")
            length = _text(destination, "rt-prefix-length")
            total = _text(destination, "rt-entry-count")
            blocks.begin(
                len(routes) + 1,
                prefix if "/" in prefix or not length else f"{prefix}/{length}",
                total=int(total) if total.isdecimal() else None,
            )
            for entry in _list(destination["rt-entry"]):
                routes.append(_route(reading, len(routes) + 1, entry, blocks))
                detailed = detailed and "rt-state" in entry
    return Pasted(
        style=Style.JUNOS,
        routes=tuple(routes),
        prefix_known=blocks.known,
        blocks=blocks.done(),
        unseen=frozenset() if detailed else frozenset({Step.NEAREST_EXIT, CLUSTERS}),
    )


def _route(reading: Reading, number: int, entry: Any, blocks: Blocks) -> PastedRoute:
    words = _path_words(entry)
    origin = next((word for word in words if word in _ORIGINS), None)
    bgp = _text(entry, "protocol-name") == "BGP"
    if bgp and origin is None:
        reading.wrong(number, "this route has no AS path with its origin (I, E or ?)")
    path = reading.path(number, " ".join(words[: words.index(origin)])) if origin is not None else ()
    gates = [_text(hop, "to") for hop in _list(entry.get("nh", [])) if _text(hop, "to")]
    chosen = next((_text(hop, "to") for hop in _list(entry.get("nh", [])) if "selected-next-hop" in hop), "")
    source = _text(entry, "learned-from") or _text(entry, "gateway")
    state, peer, local = _text(entry, "rt-state"), _text(entry, "peer-as"), _text(entry, "local-as")
    if state or (peer and local):
        internal = "Int" in state.split() if state else peer == local
    else:
        internal = bool(source) and not any(beside(source, gate) for gate in gates)
    preference = _text(entry, "local-preference")
    carried = communities(" ".join(_communities(entry)))
    reason = _text(entry, "inactive-reason")
    return PastedRoute(
        candidate=Candidate(
            prefix=blocks.prefix or ANYWHERE,
            as_path=path or (),
            local_pref=reading.number(number, preference or "100", "local preference"),
            origin=_ORIGINS.get(origin or "", Origin.INCOMPLETE),
            med=reading.number(number, _text(entry, "med") or _text(entry, "metric") or "0", "MED"),
            ebgp=bgp and not internal and bool(path),
            igp_metric=int(_text(entry, "metric2") or 0),
            age_s=_age(entry),
            router_id=_text(entry, "peer-id"),
            neighbor=source or chosen,
            next_hop=chosen or (gates[0] if gates else ""),
            protocol=_text(entry, "protocol-name"),
            communities=carried.pairs,
            large_communities=carried.triples,
            extended_communities=carried.quads,
            best=_text(entry, "active-tag") in ("*", "+") or "current-active" in entry,
        ),
        line=number,
        precedence=-int(_text(entry, "preference") or 0),
        unusable="it is hidden" if "Hidden" in state.split() else "",
        reason=reason,
        protocol=_text(entry, "protocol-name"),
        block=blocks.here(),
        own=not bgp,
        originator=_text(entry, "originator-id"),
        cluster_list=tuple(_text(entry, "cluster-list").split()),
        multipath=len(gates) > 1,
        doubts=(
            *(() if preference or not bgp else ("its local preference is not in the document; 100 is taken",)),
            *carried.doubts,
        ),
    )


def _path_words(entry: Any) -> list[str]:
    text = _text(entry, "as-path")
    if not text and "bgp-path-attributes" in entry:
        (attributes,) = _list(entry["bgp-path-attributes"])
        effective = attributes.get("attr-as-path-effective", [{}])
        text = _text(_list(effective)[0], "attr-value")
    return text.removeprefix("AS path:").replace(",", " ").split()


def _communities(entry: Any) -> Iterator[str]:
    for group in _list(entry.get("communities", [])):
        for kind in ("community", "large-community", "extended-community"):
            for one in _list(group.get(kind, [])):
                yield str(one.get("data", ""))


def _age(entry: Any) -> float | None:
    for one in _list(entry.get("age", [])):
        seconds = str(one.get("attributes", {}).get("junos:seconds", ""))
        return float(seconds) if seconds.isdecimal() and len(seconds) < 12 else age_s(str(one.get("data", "")))
    return None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _text(entry: Any, name: str) -> str:
    """The `data` of a value, empty where there is none."""
    found = _list(entry.get(name, [{}]))
    first = found[0] if found else {}
    value = first.get("data", "") if isinstance(first, dict) else first
    return "" if value is None else str(value).strip("<> ") if name == "rt-state" else str(value).strip()
