"""The nftables table by which new flows leave a PoP that is dialled down, as text for `nft`. Pure.

In: what becomes of the flows of each address (`Steer`), and the chains that are there. Out: one transaction that makes
the rules anew and keeps the flows that are known. A new flow is one that begins (SYN), of UDP one that nobody knows;
its hash says whether it leaves, so a request that is sent again goes the same way. What leaves is remembered and
marked, and a policy rule leads what is marked to its group. Where memory is full, flows stay. Nothing is dropped, and
no connection tracking is needed.
"""

import hashlib
from collections.abc import Iterable, Sequence
from itertools import groupby

from anypop.agent.decide.backbone import FULL
from anypop.agent.decide.elements import Steer
from anypop.agent.naming import AWAY_MARK, DRAIN_MARK_MASK, TUNNEL
from anypop.model.announce import Address

BASE = "dials"
GONE = ("tcp4", "tcp6", "udp4", "udp6")
"""The sets of flows that have left."""

_FLOWS = 1 << 20  # most flows of one kind that are known; memory is used as they come
_QUIET_S = 3600  # a connection that is silent for longer is forgotten
_BEGINS_S = 30  # a SYN alone makes no connection: who sends many fills no memory for long
_ENDED_S = 30  # behind the last words of one side, for those of the other
_UDP_S = 120
_SEED = 0x616E79  # of a hash that nobody else uses: what leaves is no matter of the groups' own hashes
_REST = ~DRAIN_MARK_MASK & 0xFFFF_FFFF
_IP = {4: "ip", 6: "ip6"}
_MARK = f"meta mark set meta mark & {_REST:#010x} | {AWAY_MARK:#010x}"
_BEGINS, _GOES_ON = "tcp flags & (fin | syn | rst | ack) == syn", "tcp flags & (fin | syn | rst | ack) != syn"
_VERSION = 1  # of the rules themselves


def name_of(steers: Sequence[Steer]) -> str:
    """The name of an empty chain, by which the table says what it was made from."""
    return "of_" + hashlib.sha256(repr((steers, _VERSION)).encode()).hexdigest()[:16]


def render(table: str, steers: Sequence[Steer], chains: Iterable[str] = ()) -> str:
    """The whole table. `chains`: those that are there now."""
    order = sorted(steers, key=lambda s: (s.address.version, s.keep, s.learns, int(s.address)))
    kinds = [(key, [s.address for s in those]) for key, those in groupby(order, key=_kind)]
    return "\n".join(
        [
            f"table inet {table}",
            f"flush table inet {table}",
            *(f"delete chain inet {table} {name}" for name in chains if name != BASE),
            f"table inet {table} {{",
            *(line for v in (4, 6) for line in _sets(v)),
            *_chain(name_of(steers), []),
            *(line for v in (4, 6) for line in _chain(f"kept{v}", _kept(v))),
            *(line for kind, _ in kinds for line in _chain(_chain_name(*kind), _rules(*kind))),
            *_chain(
                BASE,
                [
                    # late: what others mark before is kept, and what drains have marked stays theirs
                    "type filter hook prerouting priority dstnat - 5; policy accept;",
                    f'iifname "{TUNNEL}" accept',
                    f"meta mark & {DRAIN_MARK_MASK:#010x} != 0 accept",
                    *(line for v in (4, 6) for line in _by_address(v, kinds)),
                ],
            ),
            "}",
            "",
        ]
    )


_Kind = tuple[int, int, bool]


def _kind(steer: Steer) -> _Kind:
    return steer.address.version, steer.keep, steer.learns


def _chain_name(version: int, keep: int, learns: bool) -> str:
    return f"keep{keep}_{version}{'_learns' if learns else ''}"


def _by_address(version: int, kinds: Sequence[tuple[_Kind, list[Address]]]) -> list[str]:
    entries = [f"{a} : goto {_chain_name(*kind)}" for kind, those in kinds if kind[0] == version for a in those]
    return [f"{_IP[version]} daddr vmap {{ {(',' + chr(10) + chr(9) * 3).join(entries)} }}"] if entries else []


def _rules(version: int, keep: int, learns: bool) -> list[str]:
    v, ip = version, _IP[version]
    tcp, udp = (f"{ip} saddr . {proto} sport . {ip} daddr . {proto} dport" for proto in ("tcp", "udp"))
    known = [
        # the old port of a connection that has ended begins another one
        f"{_BEGINS} {tcp} @ended{v} delete @tcp{v} {{ {tcp} }} delete @ended{v} {{ {tcp} }}",
        f"tcp flags & (fin | rst) != 0 {tcp} @tcp{v} update @ended{v} {{ {tcp} }}",
        f"{tcp} @ended{v} update @ended{v} {{ {tcp} }} update @tcp{v} {{ {tcp} timeout {_ENDED_S}s }} {_MARK} accept",
        f"{_GOES_ON} {tcp} @tcp{v} update @tcp{v} {{ {tcp} }} {_MARK} accept",
        f"{_GOES_ON} accept",
        f"{tcp} @tcp{v} {_MARK} accept",
        f"{udp} @udp{v} update @udp{v} {{ {udp} }} {_MARK} accept",
        f"{udp} @stay{v} update @stay{v} {{ {udp} }} accept",
        "meta l4proto != { tcp, udp } accept",
    ]
    if keep >= FULL:
        return [*known, f"goto kept{v}"]
    hashed = [
        f"jhash {ip} saddr . {proto} sport mod {FULL} seed {_SEED:#x} < {keep} goto kept{v}" for proto in ("tcp", "udp")
    ]
    return [
        *known,
        *([f"meta l4proto udp goto kept{v}"] if learns else []),
        *(hashed if keep else []),
        f'add @tcp{v} {{ {tcp} timeout {_BEGINS_S}s }} {_MARK} counter accept comment "left"',
        f'add @udp{v} {{ {udp} }} {_MARK} counter accept comment "left"',
    ]


def _kept(version: int) -> list[str]:
    """New flows that stay."""
    ip = _IP[version]
    return [
        'counter comment "kept"',
        f"update @stay{version} {{ {ip} saddr . udp sport . {ip} daddr . udp dport }}",
    ]


def _sets(version: int) -> list[str]:
    times = {"tcp": _QUIET_S, "ended": _ENDED_S, "udp": _UDP_S, "stay": _UDP_S}
    flow = f"type ipv{version}_addr . inet_service . ipv{version}_addr . inet_service"
    return [
        line
        for name, seconds in times.items()
        for line in (
            f"\tset {name}{version} {{",
            *(f"\t\t{word}" for word in (flow, f"size {_FLOWS}", "flags dynamic,timeout", f"timeout {seconds}s")),
            "\t}",
        )
    ]


def _chain(name: str, rules: list[str]) -> list[str]:
    return [f"\tchain {name} {{", *(f"\t\t{rule}" for rule in rules), "\t}"]
