"""GoBGP's JSON: `gobgp -j global rib`, also of one prefix. A document in, routes out.

Attributes stand under their numbers (RFC 4271 and IANA's registry of path attributes). Which routes are internal is not
said: those with a local preference or an originator are taken to be. Pure.
"""

from base64 import b64decode
from ipaddress import IPv4Address
from typing import Any

from anypop.model.announce import ExtendedCommunity
from anypop.model.extended_communities import of_bits
from anypop.model.route import Candidate, Origin
from anypop.routing.paste.blocks import Blocks
from anypop.routing.paste.pasted import ANYWHERE, INTERNAL, Pasted, PastedRoute, Reading, Style, asn

_ORIGINS = (Origin.IGP, Origin.EGP, Origin.INCOMPLETE)
ORIGIN, AS_PATH, NEXT_HOP, MED, LOCAL_PREF, COMMUNITIES, ORIGINATOR, CLUSTERS, REACH, EXTENDED, LARGE = (
    1,
    2,
    3,
    4,
    5,
    8,
    9,
    10,
    14,
    16,
    32,
)
_SHIFTS = {0: 32, 1: 16, 2: 16}  # bits of the value, by the type (RFC 4360, RFC 5668)
_STAYS_INSIDE = 0x40  # bit of a type
_SET = 1  # RFC 4271: the type of a segment without order; counted as one hop


def looks(found: Any) -> bool:
    paths = found if isinstance(found, list) else next(iter(found.values()))
    return "attrs" in paths[0] and "nlri" in paths[0]


def read(reading: Reading, found: Any) -> Pasted:
    """All routes of the document."""
    blocks = Blocks(reading)
    routes: list[PastedRoute] = []
    tables = {str(found[0]["nlri"]["prefix"]): found} if isinstance(found, list) else found
    for prefix, paths in tables.items():
        blocks.begin(len(routes) + 1, prefix)
        routes += [_route(reading, len(routes) + n, path, blocks) for n, path in enumerate(paths, start=1)]
    return Pasted(style=Style.GOBGP, routes=tuple(routes), prefix_known=blocks.known, blocks=blocks.done())


def _route(reading: Reading, number: int, path: Any, blocks: Blocks) -> PastedRoute:
    told = {one["type"]: one for one in path["attrs"]}
    numbers: list[int] = []
    for segment in told.get(AS_PATH, {}).get("as_paths", ()):
        if segment["segment_type"] in (_SET, 2):
            members = list(map(int, segment["asns"]))
            numbers += members[:1] if segment["segment_type"] == _SET else members
    internal = LOCAL_PREF in told or ORIGINATOR in told
    hop = str(told.get(NEXT_HOP, told.get(REACH, {})).get("nexthop", ""))
    preference = told.get(LOCAL_PREF, {}).get("value", 100)
    known, unread = _extended(told.get(EXTENDED, {}).get("value", ()))
    doubts = [f"{INTERNAL} is not told; it is taken to be, since it has a local preference"] if internal else []
    doubts += [f"not all of its communities are read: '{unread}'"] if unread else []
    own = not path.get("neighbor-ip") or path.get("neighbor-ip") in ("<nil>", "invalid IP")
    return PastedRoute(
        candidate=Candidate(
            prefix=blocks.prefix or ANYWHERE,
            as_path=tuple(numbers),
            local_pref=reading.number(number, str(preference), "local preference"),
            origin=_ORIGINS[told[ORIGIN]["value"]],
            med=reading.number(number, str(told.get(MED, {}).get("metric", 0)), "MED"),
            ebgp=not internal and bool(numbers),
            router_id=str(path.get("source-id", "")),
            neighbor=str(path.get("neighbor-ip", "")),
            next_hop=hop,
            protocol="BGP",
            communities=tuple((c >> 16, c & 0xFFFF) for c in told.get(COMMUNITIES, {}).get("communities", ())),
            large_communities=tuple(
                (c["ASN"], c["LocalData1"], c["LocalData2"]) for c in told.get(LARGE, {}).get("value", ())
            ),
            extended_communities=known,
            best=bool(path.get("best")),
        ),
        line=number,
        block=blocks.here(),
        own=own and not numbers,
        cluster_list=tuple(map(str, told.get(CLUSTERS, {}).get("value", ()))),
        since=float(path["age"]) if "age" in path else None,
        unusable="it is filtered" if path.get("filtered") else "",
        doubts=tuple(doubts),
    )


def _extended(given: Any) -> tuple[tuple[ExtendedCommunity, ...], str]:
    """Those that are told whole, and the kinds of the others: an administrator and a value as words, or all octets
    behind the type.
    """
    known: list[ExtendedCommunity] = []
    unread: list[str] = []
    for one in given:
        kind, subtype, value = int(one["type"]), int(one.get("subtype", 0)), one.get("value")
        if isinstance(value, str) and kind & ~_STAYS_INSIDE in _SHIFTS and ":" in value:
            head, _, tail = value.rpartition(":")
            number = int(IPv4Address(head)) if head.count(".") == 3 else asn(head)
            shift = _SHIFTS[kind & ~_STAYS_INSIDE]
            known.append(of_bits(kind << 56 | subtype << 48 | (number or 0) << shift | int(tail)))
        elif isinstance(value, str) and len(octets := b64decode(value)) == 7:
            known.append(of_bits(kind << 56 | int.from_bytes(octets)))
        else:
            unread.append(f"type {kind}, subtype {subtype}")
    return tuple(known), "; ".join(unread)
