"""The nftables tables in front of instances, host and neighbours, as text for `nft`. Pure.

In: `Firewall`, and the networks that the kernel has on the interfaces towards upstreams. Out: one transaction, and
the elements of the sets that change with each instance, as keys of the kernel: rules stay the same while instances
come and go. A packet costs the same however many there are. A link is known by its device group, so what the sets do
not know is dropped. No other table is ever touched; what is accepted here may still be dropped by the operator's own.
"""

import hashlib
from collections.abc import Iterable, Iterator
from ipaddress import collapse_addresses, ip_address, ip_network

from anypop.agent.act.network import gateway_rules, policy_rules, sets, vpc_rules
from anypop.agent.act.network.sets import ARP, INET, Place
from anypop.agent.decide.elements import Firewall, Opening
from anypop.agent.naming import (
    DEVICE_GROUP_MASK,
    DEVICE_GROUPS,
    DRAIN_MARK_MASK,
    SIBLING_MARK,
    TUNNEL,
    firewall_table,
)
from anypop.model.announce import Address, Prefix
from anypop.model.workload import Protocol

_BGP, _BFD = 179, (3784, 3785, 4784)  # BFD: control and echo (RFC 5881), several hops (RFC 5883)
_NUMBERS = {Protocol.TCP: 6, Protocol.UDP: 17}
_KINDS = {
    (ARP, "own"): "ifname . ipv4_addr",
    **{(INET, f"own{v}"): f"ifname . ipv{v}_addr" for v in (4, 6)},
    (INET, "near6"): "ifname . ipv6_addr",
    **{(INET, f"{name}{v}"): f"ipv{v}_addr . inet_proto . inet_service" for name in ("open", "inside") for v in (4, 6)},
    (INET, "kin"): "devgroup . devgroup",
}
FIXED_SETS = (
    "uplinks",
    *(f"{n}{v}" for n in ("neighbors", "distant", "services", "ours", "hidden", "closed") for v in (4, 6)),
)  # fmt: skip
# What no instance may send to, whatever the routes say: this host, the link (there the metadata of clouds answer), and
# what is no single receiver (RFC 6890).
_NEVER = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3",
        "::/127", "::ffff:0:0/96", "fe80::/10", "ff00::/8",
    )
)  # fmt: skip


def render(rules: Firewall, prefix: str, networks: Iterable[Prefix] = ()) -> str:
    """The nft script: makes the tables if need be, deletes them with everything in them, makes them anew. One
    transaction. `networks`: those that are on the uplinks themselves.
    """
    table, near = firewall_table(prefix), tuple(networks)
    elements = _written(rules)
    return "\n".join(
        [
            *(f"table {family} {table}\ndelete table {family} {table}" for family in ("inet", "arp")),
            f"table arp {table} {{",
            *_set("own", _KINDS[ARP, "own"], elements[ARP, "own"]),
            "\tchain input {",
            "\t\ttype filter hook input priority filter; policy accept;",
            f"\t\t{_from_link()} jump own",
            "\t}",
            "\tchain own {",
            "\t\tiifname . arp saddr ip @own accept",
            "\t\tarp saddr ip 0.0.0.0 accept",
            "\t\tcounter drop",
            "\t}",
            "}",
            f"table inet {table} {{",
            f'\tcomment "{digest(rules, near)}"',
            *(
                line
                for (family, name), kind in _KINDS.items()
                if family == INET
                for line in _set(name, kind, elements[family, name])
            ),
            *_fixed_sets(rules, near),
            *(_set(INWARD, "ifname", _inward(rules)) if _has_inward(rules) else ()),
            *(_set(ASKING, "ifname", [], "size 65535", "flags dynamic") if rules.services else ()),
            *_chains(rules),
            *policy_rules.lines(rules),
            *vpc_rules.lines(rules),
            *gateway_rules.lines(rules),
            "}",
            "",
        ]
    )


def digest(rules: Firewall, networks: Iterable[Prefix] = ()) -> str:
    """A short name of all that is not an element: while it is the same, elements are enough."""
    fixed = (
        rules.uplinks,
        rules.neighbors,
        rules.ours,
        rules.hidden,
        rules.unreachable,
        rules.services,
        tuple(networks),
        _VERSION,
        *((True,) if rules.carries else ()),
        *policy_rules.fixed(rules),
        *vpc_rules.fixed(rules),
        *gateway_rules.fixed(rules),
        *((INWARD,) if _has_inward(rules) else ()),
    )
    return hashlib.sha256(repr(fixed).encode()).hexdigest()[:16]


ASKING = "asking"
ASKS_PER_SECOND, ASKS_AT_ONCE = 1_000, 1_000
"""Packets of one link to the services of its host: a name costs its host some 40 us, one that nobody has asked for
before up to 600, so that one instance takes a part of a core.
"""


def _offered(rules: Firewall) -> list[Address]:
    return list(dict.fromkeys(opening.address for opening in rules.services))


def _ip(address: Address) -> str:
    return "ip" if address.version == 4 else "ip6"


_VERSION = 2  # of the rules themselves
INWARD = "inward"
"""The set of links whose instances have no public addresses; there only while some have none."""


def _has_inward(rules: Firewall) -> bool:
    return any(link.inward for link in rules.links)


def elements(rules: Firewall) -> dict[Place, frozenset[bytes]]:
    """The elements of every set that changes with instances, as the kernel has them."""
    own = [(link.name, a) for link in rules.links for a in link.own]
    found: dict[Place, frozenset[bytes]] = {
        (ARP, "own"): frozenset(_at(name, a) for name, a in own if a.version == 4),
        (INET, "near6"): frozenset(_at(link.name, _link_local(link.mac)) for link in rules.links if link.mac),
        (INET, "kin"): frozenset(sets.group_key(group) * 2 for group in rules.kin),
    }
    for v in (4, 6):
        found[INET, f"own{v}"] = frozenset(_at(name, a) for name, a in own if a.version == v)
        found[INET, f"open{v}"] = frozenset(_port(o) for o in rules.openings if o.address.version == v)
        found[INET, f"inside{v}"] = frozenset(_port(o) for o in rules.inside if o.address.version == v)
    if _has_inward(rules):
        found[INET, INWARD] = frozenset(sets.name_key(link.name) for link in rules.links if link.inward)
    return found | policy_rules.elements(rules) | vpc_rules.elements(rules)


def _written(rules: Firewall) -> dict[Place, list[str]]:
    """The same as text."""
    own = [(link.name, a) for link in rules.links for a in link.own]
    found = {
        (ARP, "own"): [f'"{name}" . {a}' for name, a in own if a.version == 4],
        (INET, "near6"): [f'"{link.name}" . {_link_local(link.mac)}' for link in rules.links if link.mac],
        (INET, "kin"): [f"{group:#x} . {group:#x}" for group in rules.kin],
    }
    for v in (4, 6):
        found[INET, f"own{v}"] = [f'"{name}" . {a}' for name, a in own if a.version == v]
        found[INET, f"open{v}"] = [_opening(o) for o in rules.openings if o.address.version == v]
        found[INET, f"inside{v}"] = [_opening(o) for o in rules.inside if o.address.version == v]
    return found


def _inward(rules: Firewall) -> list[str]:
    return [f'"{link.name}"' for link in rules.links if link.inward]


def _fixed_sets(rules: Firewall, networks: Iterable[Prefix]) -> Iterator[str]:
    yield from _set("uplinks", "ifname", [f'"{name}"' for name in rules.uplinks])
    for v in (4, 6):
        here = [f'"{name}" . {a}' for name, a in rules.neighbors if name and a.version == v]
        yield from _set(f"neighbors{v}", f"ifname . ipv{v}_addr", here)
        distant = [str(a) for name, a in rules.neighbors if not name and a.version == v]
        yield from _set(f"distant{v}", f"ipv{v}_addr", distant)
        offered = [_opening(o) for o in rules.services if o.address.version == v]
        yield from _set(f"services{v}", f"ipv{v}_addr . inet_proto . inet_service", offered)
        yield from _networks(f"ours{v}", v, rules.ours)
        yield from _networks(f"hidden{v}", v, rules.hidden)
        closed = (*_NEVER, *networks, *rules.unreachable, *(ip_network(a) for _, a in rules.neighbors))
        yield from _networks(f"closed{v}", v, closed)


def _chains(rules: Firewall) -> Iterator[str]:
    yield from _chain(
        "sources",
        "type filter hook prerouting priority raw; policy accept;",
        # what a host is asked for fills no table of its connections, however often it is asked
        *(f"{_ip(a)} daddr {a} notrack" for a in _offered(rules)),
        f"{_from_link()} jump own",
    )
    if rules.services:
        yield from _chain(
            "answers",
            "type filter hook output priority raw; policy accept;",
            *(f"{_ip(a)} saddr {a} notrack" for a in _offered(rules)),
        )
    yield from _chain(
        "own",
        "iifname . ip saddr @own4 accept",
        "iifname . ip6 saddr @own6 accept",
        *gateway_rules.own(rules),
        "iifname . ip6 saddr @near6 icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept",
        "ip6 saddr :: icmpv6 type nd-neighbor-solicit accept",
        # what every kernel says when a link comes up, and nobody here listens to
        "ip6 saddr { ::, fe80::/10 } icmpv6 type { nd-router-solicit, mld-listener-report, mld2-listener-report } drop",
        "counter drop",
    )
    yield from _chain(
        "input",
        "type filter hook input priority filter - 10; policy accept;",
        f"{_from_link()} goto host",
        f"tcp dport {_BGP} jump speaker",
        f"udp dport {{ {', '.join(map(str, _BFD))} }} jump speaker",
    )
    yield from _chain(
        "host",
        # what the host itself asked: probes, and errors about them
        "ct direction reply ct state established,related accept",
        "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept",
        # each link its own share: who asks without end fills nobody else's queue
        *(
            f"{_ip(a)} daddr {a} update @{ASKING} "
            f"{{ iifname limit rate over {ASKS_PER_SECOND}/second burst {ASKS_AT_ONCE} packets }} counter drop"
            for a in _offered(rules)
        ),
        "ip daddr . meta l4proto . th dport @services4 accept",
        "ip6 daddr . meta l4proto . th dport @services6 accept",
        "counter drop",
    )
    yield from _chain(
        "speaker",
        "iifname . ip saddr @neighbors4 accept",
        "iifname . ip6 saddr @neighbors6 accept",
        "ip saddr @distant4 accept",
        "ip6 saddr @distant6 accept",
        "counter drop",
    )
    yield from _chain(
        "forward",
        "type filter hook forward priority filter; policy accept;",
        f"{_from_link()} jump leaving",
        f"{_group('oifgroup')} jump arriving",
        "iifname @uplinks jump transit",
    )
    yield from _chain(
        "leaving",
        *gateway_rules.leaving(rules),
        *vpc_rules.leaving(rules),
        f"{_group('oifgroup')} return",
        "ct direction reply ct state established,related accept",  # an answer goes wherever it was asked from
        *(
            # and one of a flow that is not tracked, by TCP: see the table of the tunnels
            f"ct state untracked {ip} saddr . meta l4proto . th sport @open{v} tcp flags & (syn | ack) != syn return"
            for ip, v in (("ip", 4), ("ip6", 6))
            if rules.carries
        ),
        *([f'oifname "{TUNNEL}" return'] if rules.carries else []),  # to whom it leads decides what it lets in
        "oifname != @uplinks counter drop",
        *(
            # nobody out there could answer to a private address
            f"iifname @{INWARD} {ip} saddr @hidden{v} counter drop"
            for ip, v in (("ip", 4), ("ip6", 6))
            if _has_inward(rules)
        ),
        "ip daddr @closed4 counter drop",
        "ip6 daddr @closed6 counter drop",
    )
    yield from _chain(
        "arriving",
        *(["oifname vmap @ingress"] if rules.rulings else []),
        "ct state established,related accept",
        "iifgroup . oifgroup @kin jump kin",
        *(
            [f'iifname "{TUNNEL}" meta mark & {DRAIN_MARK_MASK:#x} == {SIBLING_MARK:#x} jump kin']
            if rules.carries
            else []
        ),
        *gateway_rules.arriving(rules),
        "ip daddr @hidden4 counter drop",
        "ip6 daddr @hidden6 counter drop",
        "meta l4proto { icmp, ipv6-icmp } accept",
        "ip daddr . meta l4proto . th dport @open4 accept",
        "ip6 daddr . meta l4proto . th dport @open6 accept",
        "counter drop",
    )
    yield from _chain(
        "kin",
        "meta l4proto { icmp, ipv6-icmp } accept",
        "ip daddr . meta l4proto . th dport @inside4 accept",
        "ip6 daddr . meta l4proto . th dport @inside6 accept",
    )
    yield from _chain(
        "transit",
        # what this host asked for others, or publishes of others, by rules of the operator's own (a NAT)
        "ct state established,related return",
        "ct status dnat return",
        "ip daddr @ours4 return",
        "ip6 daddr @ours6 return",
        "counter drop",
    )


def _from_link() -> str:
    return _group("iifgroup")


def _group(word: str) -> str:
    return f"{word} & {DEVICE_GROUP_MASK:#x} == {DEVICE_GROUPS:#x}"


def _chain(name: str, *rules: str) -> list[str]:
    return [f"\tchain {name} {{", *(f"\t\t{rule}" for rule in rules), "\t}"]


def _set(name: str, kind: str, elements: list[str], *more: str) -> list[str]:
    lines = [f"\tset {name} {{", f"\t\ttype {kind}", *(f"\t\t{word}" for word in more)]
    if elements:
        lines.append(f"\t\telements = {{ {(',' + chr(10) + chr(9) * 3).join(elements)} }}")
    return [*lines, "\t}"]


def _networks(name: str, version: int, prefixes: Iterable[Prefix]) -> list[str]:
    """A set of ranges: they must not overlap."""
    own = {ip_network(p) for p in prefixes if p.version == version}
    return _set(name, f"ipv{version}_addr", [str(p) for p in collapse_addresses(own)], "flags interval")  # type: ignore[type-var]


def _opening(opening: Opening) -> str:
    return f"{opening.address} . {opening.protocol.lower()} . {opening.port}"


def _at(name: str, address: Address) -> bytes:
    return sets.name_key(name) + sets.address_key(address)


def _port(opening: Opening) -> bytes:
    return sets.address_key(opening.address) + sets.port_key(_NUMBERS[opening.protocol], opening.port)


def _link_local(mac: bytes) -> Address:
    """The address that a kernel makes of a hardware address (RFC 4291, appendix A)."""
    return ip_address(b"\xfe\x80" + bytes(6) + bytes([mac[0] ^ 2, *mac[1:3], 0xFF, 0xFE, *mac[3:]]))
