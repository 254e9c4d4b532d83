"""The nftables table by which new flows reach members that have too few buckets, as text for `nft`. Pure.

In: what becomes of the flows of each address (`Joining`), and the chains and sets that are there. Out: one transaction
that makes the rules anew and keeps the flows that are known. A new flow is one that begins (SYN), of UDP one that
nobody knows; its hash says whether it goes to a newcomer, and to which. What does is remembered, and marked; all else
goes by the group's buckets as ever. Where memory is full, flows go by the buckets. Nothing is dropped, and no
connection tracking is needed.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import ip_address

from anypop.agent.decide.elements import Entry, Joining
from anypop.agent.decide.newcomers import WHOLE
from anypop.agent.naming import AWAY_MARK, DRAIN_MARK_MASK, DRAIN_MARK_SHIFT, TUNNEL
from anypop.model.announce import Address

BASE = "newcomers"
_FLOWS = 1 << 20  # most flows of one kind that are known; memory is used as they come
_QUIET_S = 3600  # a connection that is silent for longer is forgotten
_BEGINS_S = 30  # a SYN alone makes no connection: who sends many fills no memory for long
_AGAIN_S = 5  # a SYN is sent again after a second, and then after twice as long; soon others may have its port
_ENDED_S = 30  # behind the last words of one side, for those of the other
_UDP_S = 120
# Of hashes that nobody else uses; what another host has sent here by one of them comes by the tunnel and meets another.
_SEEDS = {Entry.CLIENTS: 0x6E6577, Entry.TUNNEL: 0x636F6D, Entry.AWAY: 0x676F6E}
_CHAINS = {Entry.CLIENTS: "at", Entry.TUNNEL: "tunnel", Entry.AWAY: "away"}
_REST = ~DRAIN_MARK_MASK & 0xFFFF_FFFF
_IP = {4: "ip", 6: "ip6"}
_BEGINS, _GOES_ON = "tcp flags & (fin | syn | rst | ack) == syn", "tcp flags & (fin | syn | rst | ack) != syn"
_COMMON = {"ended": _ENDED_S, "begun": _AGAIN_S, "stay": _UDP_S}
_OWN = {"tcp": _QUIET_S, "udp": _UDP_S}
_NAME = re.compile(r"(?:tcp|udp)_([0-9a-f]{2})_([0-9a-f]{8}|[0-9a-f]{32})")
_VERSION = 3  # of the rules themselves


def name_of(joinings: Sequence[Joining]) -> str:
    """The name of an empty chain, by which the table says what it was made from."""
    return "of_" + hashlib.sha256(repr((joinings, _VERSION)).encode()).hexdigest()[:16]


def whose(name: str) -> tuple[Address, int] | None:
    """The address and the slot whose flows a set holds; None: none of these sets."""
    match = _NAME.fullmatch(name)
    return (ip_address(bytes.fromhex(match[2])), int(match[1], 16)) if match else None


def render(
    table: str, joinings: Sequence[Joining], chains: Iterable[str] = (), sets: Iterable[str] = ()
) -> str:  # fmt: skip
    """The whole table. `chains` and `sets`: those that are there now; a set of somebody who still has a way keeps its
    flows.
    """
    places = sorted({(j.address, slot) for j in joinings for slot in j.slots}, key=_in_turn)
    kept = {f"{kind}{v}" for kind in _COMMON for v in (4, 6)} | {_set(kind, *p) for kind in _OWN for p in places}
    return "\n".join(
        [
            f"table inet {table}",
            f"flush table inet {table}",
            *(f"delete chain inet {table} {name}" for name in chains if name != BASE),
            # __: anonymous
            *(f"delete set inet {table} {name}" for name in sets if name not in kept and not name.startswith("__")),
            f"table inet {table} {{",
            *(line for v in (4, 6) for kind, seconds in _COMMON.items() for line in _lines(f"{kind}{v}", v, seconds)),
            *(
                line for address, slot in places for kind, seconds in _OWN.items()
                for line in _lines(_set(kind, address, slot), address.version, seconds)
            ),
            *_chain(name_of(joinings), []),
            *(line for v in (4, 6) for line in _chain(f"stays{v}", _stays(v))),
            *(line for place in places for line in _chain(_chain_of("on", *place), _goes_on(*place))),
            *(line for place in places for line in _chain(_chain_of("to", *place), _goes(*place))),
            *(line for j in joinings for line in _chain(_name(j), _rules(j))),
            *_chain("by_tunnel", [line for v in (4, 6) for line in _by_address(v, joinings, Entry.TUNNEL)]),
            *_chain("by_dial", [line for v in (4, 6) for line in _by_address(v, joinings, Entry.AWAY)]),
            *_chain(
                BASE,
                [
                    # late: what others mark before is kept, and what drains have marked stays theirs; of what a dial
                    # sends away newcomers among the takers get their part
                    "type filter hook prerouting priority dstnat - 4; policy accept;",
                    f"meta mark & {DRAIN_MARK_MASK:#010x} == {AWAY_MARK:#010x} goto by_dial",
                    f"meta mark & {DRAIN_MARK_MASK:#010x} != 0 accept",
                    f'iifname "{TUNNEL}" goto by_tunnel',
                    *(line for v in (4, 6) for line in _by_address(v, joinings, Entry.CLIENTS)),
                ],
            ),
            "}",
            "",
        ]
    )  # fmt: skip


def _in_turn(place: tuple[Address, int]) -> tuple[int, int, int]:
    address, slot = place
    return address.version, int(address), slot


def _set(kind: str, address: Address, slot: int) -> str:
    return f"{kind}_{slot:02x}_{address.packed.hex()}"


_chain_of = _set


def _name(joining: Joining) -> str:
    return f"{_CHAINS[joining.entry]}_{joining.address.packed.hex()}"


def _flow(version: int, protocol: str) -> str:
    ip = _IP[version]
    return f"{ip} saddr . {protocol} sport . {ip} daddr . {protocol} dport"


def _mark(slot: int) -> str:
    return f"meta mark set meta mark & {_REST:#010x} | {slot << DRAIN_MARK_SHIFT:#010x}"


def _by_address(version: int, joinings: Iterable[Joining], entry: Entry) -> list[str]:
    those = [j for j in joinings if j.entry is entry and j.address.version == version]
    entries = [f"{j.address} : goto {_name(j)}" for j in those]
    return [f"{_IP[version]} daddr vmap {{ {(',' + chr(10) + chr(9) * 3).join(entries)} }}"] if entries else []


def _rules(joining: Joining) -> Iterator[str]:
    address, v = joining.address, joining.address.version
    tcp, udp = _flow(v, "tcp"), _flow(v, "udp")
    leads = {slot for slot, _ in joining.parts}
    for slot in joining.slots:
        if slot not in leads:
            # the old port of a connection that has ended begins another one: whoever gets no new ones may be leaving
            own = _set("tcp", address, slot)
            yield f"{_BEGINS} {tcp} @{own} {tcp} @ended{v} delete @ended{v} {{ {tcp} }} delete @{own} {{ {tcp} }}"
        for kind, flow in (("tcp", tcp), ("udp", udp)):
            yield f"{flow} @{_set(kind, address, slot)} goto {_chain_of('on', address, slot)}"
    yield f"{_GOES_ON} accept"
    # a SYN that is sent again goes where it went, also when parts are others meanwhile
    yield f"{tcp} @begun{v} update @begun{v} {{ {tcp} }} accept"
    yield f"{udp} @stay{v} update @stay{v} {{ {udp} }} accept"
    yield "meta l4proto != { tcp, udp } accept"
    entries, at = list[str](), 0
    for slot, part in joining.parts:
        entries.append(f"{at}-{at + part - 1} : goto {_chain_of('to', address, slot)}")
        at += part
    for proto in ("tcp", *(() if joining.learns else ("udp",))) if entries else ():
        yield (
            f"jhash {_IP[v]} saddr . {proto} sport mod {WHOLE} seed {_SEEDS[joining.entry]:#x} "
            f"vmap {{ {', '.join(entries)} }}"
        )
    yield f"goto stays{v}"


def _goes_on(address: Address, slot: int) -> list[str]:
    """Flows that are known."""
    v, tcp, udp = address.version, _flow(address.version, "tcp"), _flow(address.version, "udp")
    own, own_udp = _set("tcp", address, slot), _set("udp", address, slot)
    return [
        _mark(slot),
        # the old port of a connection that has ended begins another one, which goes where that one went: for a while
        # again, however little was left of the time of the other
        f"{_BEGINS} {tcp} @ended{v} delete @ended{v} {{ {tcp} }} update @{own} {{ {tcp} timeout {_BEGINS_S}s }} accept",
        f"{_BEGINS} accept",
        f"tcp flags & (fin | rst) != 0 update @ended{v} {{ {tcp} }}",
        f"{tcp} @ended{v} update @ended{v} {{ {tcp} }} update @{own} {{ {tcp} timeout {_ENDED_S}s }} accept",
        f"update @{own} {{ {tcp} }} accept",
        f"update @{own_udp} {{ {udp} }} accept",
        "accept",
    ]


def _goes(address: Address, slot: int) -> list[str]:
    """New flows that go to the member that has a slot."""
    v, mark = address.version, _mark(slot)
    tcp, udp = _flow(v, "tcp"), _flow(v, "udp")
    return [
        f'add @{_set("tcp", address, slot)} {{ {tcp} timeout {_BEGINS_S}s }} {mark} counter accept comment "joined"',
        f'add @{_set("udp", address, slot)} {{ {udp} }} {mark} counter accept comment "joined"',
        f"goto stays{v}",
    ]


def _stays(version: int) -> list[str]:
    """New flows that go by the buckets."""
    return [
        'counter comment "by buckets"',
        f"update @begun{version} {{ {_flow(version, 'tcp')} }}",
        f"update @stay{version} {{ {_flow(version, 'udp')} }}",
    ]


def _lines(name: str, version: int, seconds: int) -> list[str]:
    flow = f"type ipv{version}_addr . inet_service . ipv{version}_addr . inet_service"
    words = (flow, f"size {_FLOWS}", "flags dynamic,timeout", f"timeout {seconds}s")
    return [f"\tset {name} {{", *(f"\t\t{word}" for word in words), "\t}"]


def _chain(name: str, rules: Iterable[str]) -> list[str]:
    return [f"\tchain {name} {{", *(f"\t\t{rule}" for rule in rules), "\t}"]
