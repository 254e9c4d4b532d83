"""MRT: the table of a route collector or of a router (RFC 6396, TABLE_DUMP and TABLE_DUMP_V2). Octets in, routes out.

What a collector holds: each route is the choice of another router, so that there is no best among them. The octets are
taken apart by mrtparse, where a prefix is asked for only those about it, and here its words become routes. Reads what
it is given as it comes. Pure but for the stream.
"""

import signal
import struct
import threading
from collections.abc import Iterator
from io import BytesIO
from typing import Any, BinaryIO

from anypop.model.announce import Prefix
from anypop.model.errors import Invalid
from anypop.model.extended_communities import of_bits
from anypop.model.route import Candidate, Origin
from anypop.routing.paste.blocks import Blocks
from anypop.routing.paste.communities import communities
from anypop.routing.paste.pasted import ANYWHERE, Pasted, PastedRoute, Reading, Style

MOST = 1000  # prefixes without one asked for; a collector's table has a million
_TABLES = (12, 13)  # TABLE_DUMP, TABLE_DUMP_V2
_KINDS = (*_TABLES, 16, 17)  # and BGP4MP, whose messages are no table
_HEADER = struct.Struct("!IHHI")  # time, type, subtype, length (RFC 6396, 2)
_PEERS = 1  # subtypes of TABLE_DUMP_V2: who the routes are from; routes of unicast by family, also with ADD-PATH
_UNICAST = {4: (2, 8), 6: (4, 10)}
_ORIGINS = {"IGP": Origin.IGP, "EGP": Origin.EGP}


def looks(head: bytes) -> bool:
    """Whether octets begin as MRT does: a time, a type and a subtype, a length."""
    return len(head) >= 12 and int.from_bytes(head[4:6]) in _KINDS and int.from_bytes(head[6:8]) < 16 and head[8] == 0


def read(stream: BinaryIO, prefix: Prefix | None = None) -> Pasted:
    """The routes to `prefix`, or all of a small table. `Invalid` where it is no table, or is damaged."""
    try:
        return _read(stream, prefix)
    except (
        ArithmeticError,
        AttributeError,
        EOFError,
        LookupError,
        OSError,
        TypeError,
        ValueError,
        struct.error,
    ) as error:
        raise Invalid.one("", f"this is no whole MRT: {error}") from error


def _read(stream: BinaryIO, prefix: Prefix | None) -> Pasted:
    blocks = Blocks(Reading.of(""))
    routes: list[PastedRoute] = []
    peers: list[Any] = []
    for data in _entries(stream if prefix is None else _about(stream, prefix)):
        if "peer_entries" in data:
            peers = data["peer_entries"]
            continue
        here = f"{data['prefix']}/{data['length']}"
        if prefix is not None and here != str(prefix):
            continue
        if prefix is None and len(blocks.done()) == MOST:
            raise Invalid.one("", f"this table has more than {MOST} prefixes: say which one with --prefix")
        blocks.begin(len(routes) + 1, here)
        for entry in data.get("rib_entries", [data]):
            peer = peers[entry["peer_index"]] if "peer_index" in entry else entry
            routes.append(_route(len(routes) + 1, entry, str(peer["peer_ip"]), blocks))
    if not routes:
        raise Invalid.one("", "no route" + (f" to {prefix}" if prefix is not None else "") + " is in this table")
    return Pasted(style=Style.COLLECTOR, routes=tuple(routes), prefix_known=True, blocks=blocks.done())


def _about(stream: BinaryIO, prefix: Prefix) -> BinaryIO:
    """The records that `prefix` needs, to be taken apart: to take all apart lasts a hundred times as long. It ends with
    the first that is of no table, or not whole.
    """
    octets = prefix.network_address.packed
    length = bytes([prefix.prefixlen])
    needed = length + octets[: (prefix.prefixlen + 7) // 8]
    kept = BytesIO()
    while head := stream.read(_HEADER.size):
        kind, subtype, size = _HEADER.unpack(head)[1:] if len(head) == _HEADER.size else (0, 0, 0)
        body = stream.read(size)
        match kind:
            case 13 if subtype == _PEERS or (subtype in _UNICAST[prefix.version] and body.startswith(needed, 4)):
                kept.write(head + body)
            case 12 if body[4:].startswith(octets + length):
                kept.write(head + body)
            case _ if kind not in _TABLES or len(body) < size:
                kept.write(head + body)
                break
    kept.seek(0)
    return kept


def _parser() -> Any:
    """mrtparse's reader. Imported, it would let a closed pipe end the whole process: what was before is put back."""
    before = signal.getsignal(signal.SIGPIPE)
    from mrtparse import Reader  # noqa: PLC0415

    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGPIPE) != before:
        signal.signal(signal.SIGPIPE, before)
    return Reader


def _entries(stream: BinaryIO) -> Iterator[Any]:
    """The tables' entries of unicast, one by one."""
    for entry in _parser()(stream):
        if entry.err:
            raise Invalid.one("", f"this is no whole MRT: {entry.err_msg or entry.err}")
        kind = next(iter(entry.data["type"]))
        if kind not in _TABLES:
            raise Invalid.one("", "these are messages of BGP, and no table: give a table's dump")
        subtype = next(iter(entry.data["subtype"].values()))
        if (
            kind == _TABLES[0]
            or "peer_entries" in entry.data
            or str(subtype).endswith(("_UNICAST", "_UNICAST_ADDPATH"))
        ):
            yield entry.data


def _route(number: int, entry: Any, peer: str, blocks: Blocks) -> PastedRoute:
    told = {next(iter(one["type"].values())): one["value"] for one in entry["path_attributes"]}
    path: list[int] = []
    for segment in told.get("AS_PATH", ()):
        kind, members = next(iter(segment["type"].values())), list(map(int, segment["value"]))
        # A set counts as one hop (RFC 4271, 9.1.2.2), what is inside a confederation as none (RFC 5065).
        path += members if kind == "AS_SEQUENCE" else members[:1] if kind == "AS_SET" else []
    hops = told.get("MP_REACH_NLRI", {}).get("next_hop", [told.get("NEXT_HOP", "")])
    carried = communities(" ".join(map(str, (*told.get("COMMUNITY", ()), *told.get("LARGE_COMMUNITY", ())))))
    moment = next(iter(entry.get("originated_time", {})), None)
    return PastedRoute(
        candidate=Candidate(
            prefix=blocks.prefix or ANYWHERE,
            as_path=tuple(path),
            local_pref=int(told.get("LOCAL_PREF", 100)),
            origin=_ORIGINS.get(next(iter(told["ORIGIN"].values())), Origin.INCOMPLETE)
            if "ORIGIN" in told
            else Origin.INCOMPLETE,
            med=int(told.get("MULTI_EXIT_DISC", 0)),
            ebgp=True,
            neighbor=peer,
            next_hop=str(hops[0]),
            protocol="BGP",
            communities=carried.pairs,
            large_communities=carried.triples,
            extended_communities=tuple(map(of_bits, told.get("EXTENDED COMMUNITIES", ()))),
        ),
        line=number,
        block=blocks.here(),
        since=float(moment) if moment is not None else None,
    )
