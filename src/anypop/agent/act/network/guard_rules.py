"""The nftables table of what goes and comes by tunnels, as text for `nft`. Pure.

In: `TunnelGuard`. Out: one transaction that makes the table anew, and the elements of the sets that change while it
stands. The device takes packets from everybody who sends to its port, so only the other hosts may; what comes out of it
goes to instances of this host and never further, whatever the routes say, and no source in it is one of ours. To an
instance's own address it goes from an instance of the same stack alone, or by a gateway (`guard_gateways`).

Of an address that another host answers for as well, this host sees half of each flow: connection tracking is kept away
from those, both ways, or an operator's own `ct state invalid drop` would end them. Nor are the tunnels' own packets
tracked: who may send them is said here, and each flow inside would take an entry.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from ipaddress import collapse_addresses, ip_network

from anypop.agent.act.network import guard_gateways, sets
from anypop.agent.act.network.sets import INET, Place
from anypop.agent.decide.elements import TunnelGuard
from anypop.agent.naming import (
    DEVICE_GROUP_MASK,
    DEVICE_GROUPS,
    DRAIN_MARK_MASK,
    SIBLING_MARK,
    TUNNEL,
    tunnels_table,
)
from anypop.model.announce import Prefix

_NOBODY = tuple(
    ip_network(text)
    for text in ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3", "::/127", "::ffff:0:0/96", "ff00::/8")
)
_FROM_LINK = f"iifgroup & {DEVICE_GROUP_MASK:#x} == {DEVICE_GROUPS:#x}"
_TO_LINK = f"oifgroup & {DEVICE_GROUP_MASK:#x} == {DEVICE_GROUPS:#x}"
_SYN = "tcp flags & (syn | rst) == syn"
_IP = {4: "ip", 6: "ip6"}
_HEADERS = {4: 40, 6: 60}  # of TCP, without options
_MARKED = f"meta mark set meta mark & {~DRAIN_MARK_MASK & 0xFFFF_FFFF:#010x} | {SIBLING_MARK:#010x}"
_VERSION = 3  # of the rules themselves
SENT, RECEIVED = "sent", "received"
"""The sets whose elements count what goes to and comes from each other host."""


def digest(rules: TunnelGuard) -> str:
    """A short name of all that is not an element."""
    fixed = replace(rules, halves=(), siblings=(), here=(), members=(), gateways=())
    return hashlib.sha256(repr((fixed, _VERSION)).encode()).hexdigest()[:16]


def elements(rules: TunnelGuard) -> dict[Place, frozenset[bytes]]:
    """The elements that change, as the kernel has them."""
    found: dict[Place, frozenset[bytes]] = {}
    for v in (4, 6):
        found[INET, f"halves{v}"] = frozenset(sets.address_key(a) for a in rules.halves if a.version == v)
        found[INET, f"here{v}"] = frozenset(sets.address_key(a) for a in rules.here if a.version == v)
        found[INET, f"siblings{v}"] = frozenset(
            sets.group_key(group) + sets.address_key(a) for group, a in rules.siblings if a.version == v
        )
    return found | guard_gateways.elements(rules)


def render(rules: TunnelGuard, prefix: str) -> str:
    """The whole table."""
    table = tunnels_table(prefix)
    return "\n".join(
        [
            f"table inet {table}",
            f"delete table inet {table}",
            f"table inet {table} {{",
            f'\tcomment "{digest(rules)}"',
            *_set(RECEIVED, "ipv4_addr", map(str, rules.peers), "counter"),
            *_set(SENT, "ipv4_addr", map(str, rules.peers), "counter"),
            *_set("ends", "ipv6_addr", map(str, rules.ends)),
            *(line for v in (4, 6) for line in _sets(rules, v)),
            *guard_gateways.lines(rules, _MARKED),
            *_chains(rules),
            "}",
            "",
        ]
    )


def _sets(rules: TunnelGuard, version: int) -> Iterator[str]:
    kind = f"ipv{version}_addr"
    yield from _set(f"halves{version}", kind, [str(a) for a in rules.halves if a.version == version])
    siblings = [f"{group:#x} . {a}" for group, a in rules.siblings if a.version == version]
    yield from _set(f"siblings{version}", f"devgroup . {kind}", siblings)
    yield from _set(f"here{version}", kind, [str(a) for a in rules.here if a.version == version])
    yield from _set(f"own{version}", kind, _ranges(rules.inside, version), "flags interval")
    yield from _set(f"carried{version}", kind, _ranges(rules.carried, version), "flags interval")
    yield from _set(f"forged{version}", kind, _ranges((*rules.forged, *_NOBODY), version), "flags interval")


def _chains(rules: TunnelGuard) -> Iterator[str]:
    yield from _chain(
        "arriving",
        "type filter hook prerouting priority raw; policy accept;",
        f'iifname "{TUNNEL}" jump inside',
        f"{_FROM_LINK} goto sent",
        "ip daddr @halves4 notrack accept",
        "ip6 daddr @halves6 notrack accept",
        f"udp dport {rules.port} ip daddr {rules.own} notrack",
    )
    yield from _chain(
        "sent",  # by an instance
        # but for answers to this host's own probes
        "ip saddr @halves4 fib daddr type != local notrack",
        "ip6 saddr @halves6 fib daddr type != local notrack",
        "ip daddr @halves4 notrack accept",
        "ip6 daddr @halves6 notrack accept",
        # from an anycast address nothing goes there: the answer would come to anybody who has it
        f"iifgroup . ip daddr @siblings4 ip saddr @own4 {_MARKED}",
        f"iifgroup . ip6 daddr @siblings6 ip6 saddr @own6 {_MARKED}",
        *guard_gateways.sent(rules),
    )
    yield from _chain(
        "inside",
        f"ip6 saddr @ends ip6 daddr {rules.end} return",
        "ip6 saddr fe80::/10 counter drop",
        *guard_gateways.inside(rules),
        "ip saddr @forged4 counter drop",
        "ip6 saddr @forged6 counter drop",
        "ip saddr @here4 counter drop",
        "ip6 saddr @here6 counter drop",
    )
    yield from _chain(
        "input",
        "type filter hook input priority filter - 20; policy accept;",
        f'iifname "{TUNNEL}" goto speakers',
        f"udp dport {rules.port} goto outside",
    )
    yield from _chain("outside", f"ip daddr {rules.own} ip saddr @{RECEIVED} accept", "counter drop")
    yield from _chain(
        "speakers",
        "ip6 saddr != @ends counter drop",
        f"ip6 daddr != {rules.end} counter drop",
        "tcp dport 179 accept",
        "tcp sport 179 accept",
        "udp dport 3784 accept",
        "icmpv6 type { destination-unreachable, packet-too-big, echo-request, echo-reply } accept",
        "counter drop",
    )
    yield from _chain(
        "output",
        "type filter hook output priority raw; policy accept;",
        f"udp dport {rules.port} ip daddr @{SENT} notrack",
    )
    yield from _chain(
        "forward",
        "type filter hook forward priority mangle; policy accept;",
        f'iifname "{TUNNEL}" goto coming',
        f"{_SYN} jump clamp",
    )
    yield from _chain(
        "coming",
        *guard_gateways.coming(rules, _MARKED),
        # the mark tells the firewall that it comes from a sibling
        f"oifgroup . ip saddr @siblings4 ip daddr @own4 {_MARKED} accept",
        f"oifgroup . ip6 saddr @siblings6 ip6 daddr @own6 {_MARKED} accept",
        "ip daddr @own4 counter drop",
        "ip6 daddr @own6 counter drop",
        f"{_TO_LINK} accept",
        "counter drop",
    )
    yield from _chain(
        "clamp",
        f'oifname "{TUNNEL}" jump cut',
        f"{_FROM_LINK} ip saddr @carried4 jump cut",
        f"{_FROM_LINK} ip6 saddr @carried6 jump cut",
    )
    yield from _chain("cut", *(_cut(version, rules.mtu - _HEADERS[version]) for version in (4, 6)))


def _cut(version: int, size: int) -> str:
    return f"meta nfproto ipv{version} tcp option maxseg size > {size} tcp option maxseg size set {size}"


def _ranges(prefixes: Iterable[Prefix], version: int) -> list[str]:
    own = {p for p in prefixes if p.version == version}
    return [str(p) for p in collapse_addresses(own)]  # type: ignore[type-var]


def _chain(name: str, *rules: str) -> list[str]:
    return [f"\tchain {name} {{", *(f"\t\t{rule}" for rule in rules), "\t}"]


def _set(name: str, kind: str, elements: Iterable[str], *more: str) -> list[str]:
    found = list(elements)
    lines = [f"\tset {name} {{", f"\t\ttype {kind}", *(f"\t\t{word}" for word in more)]
    if found:
        lines.append(f"\t\telements = {{ {(',' + chr(10) + chr(9) * 3).join(found)} }}")
    return [*lines, "\t}"]
