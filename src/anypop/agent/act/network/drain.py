"""Pinning the live flows of an incarnation that drains to it, so that it can leave groups and routes and loses none
of them.

In: its uid and its addresses. Out: its flows recorded in an nftables table of its own, which marks their packets;
mark, rule and routing table lead them over the old link (`pins`). No connection tracking; both families, TCP and UDP;
a flow is client, port, address, port. Order counts: packets are recorded first, then sockets are read (they know the
quiet flows), and only then may the caller move anything.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from anypop.agent.act.network import nftables, pins, rtnl
from anypop.agent.act.network.netlink import NETFILTER, Netlink
from anypop.agent.act.network.nft import nft
from anypop.agent.act.network.sockets import Connection, connections
from anypop.agent.naming import DRAIN_MARK_MASK, drain_table, link_of, namespace_of, short
from anypop.model.announce import Address

_FLOWS = 1 << 20  # most flows of one kind that are recorded; memory is used as they come
_UDP_S = 120  # a UDP flow that is silent for longer is over (what connection tracking takes for one, too)
_TALKING_S = 1
_AT_ONCE = 1000  # elements in one line for nft
_REST = ~DRAIN_MARK_MASK & 0xFFFF_FFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveFlows:
    """What would be cut if the incarnation went now: TCP connections by who opened them, and whether UDP passed in
    the last second.
    """

    inbound: int
    outbound: int
    udp: bool


async def pin(net: Netlink, prefix: str, uid: str, behind: Mapping[Address, Address]) -> int:
    """Pin what lives on the addresses that are keys of `behind` (the private address of the same family is the value).

    Returns how many flows its sockets had. Made twice it is made once, and nothing recorded is lost; whatever part is
    missing is added.
    """
    slot = pins.reserve(net, prefix, uid, dict(behind))
    name = drain_table(prefix, short(uid))
    await nft(f"pin the flows of {link_of(uid)}", "-f", "-", stdin=render(name, link_of(uid), slot, behind))
    flows = connections(namespace_of(prefix, uid), behind)
    if flows:
        await nft(f"pin the flows of {link_of(uid)}", "-f", "-", stdin="\n".join(_elements(name, flows)) + "\n")
    for version in {address.version for address in behind}:
        rtnl.add_mark_rule(net, pins.rule_of(slot, version))
    return len(flows)


def live_flows(prefix: str, uid: str, addresses: Collection[Address]) -> LiveFlows:
    """What still lives on these addresses: TCP by the sockets in its namespace, UDP by what passed while it was
    pinned.
    """
    pending = [c for c in connections(namespace_of(prefix, uid), addresses) if c.pending and not c.udp]
    with Netlink(NETFILTER) as tables:
        udp = nftables.has_elements(tables, drain_table(prefix, short(uid)), "talking")
    inbound = sum(c.inbound for c in pending)
    return LiveFlows(inbound=inbound, outbound=len(pending) - inbound, udp=udp)


def render(name: str, link: str, slot: int, addresses: Iterable[Address]) -> str:
    """The nft script: makes the table, or makes its rules anew and keeps the flows recorded in it. One transaction."""
    known = list(addresses)
    own = {v: ", ".join(str(a) for a in sorted(known, key=int) if a.version == v) for v in (4, 6)}
    versions = [v for v in (4, 6) if own[v]]
    ip = {4: "ip", 6: "ip6"}
    return "\n".join(
        [
            f'table inet {name} {{ comment "{slot}"; }}',  # a comment is taken from who makes the table, never later
            f"flush table inet {name}",
            f"table inet {name} {{",
            *(line for v in versions for line in _sets(v)),
            "\tset talking {",
            "\t\ttype inet_proto",
            "\t\tsize 16",
            "\t\tflags dynamic,timeout",
            f"\t\ttimeout {_TALKING_S}s",
            "\t}",
            "\tchain prerouting {",
            "\t\ttype filter hook prerouting priority dstnat - 10; policy accept;",  # late: what others mark before is kept
            *(f'\t\tiifname "{link}" {ip[v]} saddr {{ {own[v]} }} goto sent{v}' for v in versions),
            *(f"\t\t{ip[v]} daddr {{ {own[v]} }} goto arriving{v}" for v in versions),
            "\t}",
            "\tchain output {",
            "\t\ttype route hook output priority mangle; policy accept;",  # clients on the host itself
            *(f"\t\t{ip[v]} daddr {{ {own[v]} }} goto arriving{v}" for v in versions),
            "\t}",
            "\tchain postrouting {",
            "\t\ttype filter hook postrouting priority mangle; policy accept;",  # behind every firewall: only what arrives is recorded
            *(f'\t\toifname "{link}" {ip[v]} daddr {{ {own[v]} }} goto delivered{v}' for v in versions),
            "\t}",
            *(line for v in versions for line in _chains(v, ip[v], pins.mark_of(slot))),
            "}",
            "",
        ]
    )


def _sets(version: int) -> list[str]:
    flow = f"\t\ttype ipv{version}_addr . inet_service . ipv{version}_addr . inet_service"
    lines = []
    for name in ("tcp", "closed"):  # no timeout: a connection may be quiet for days, and the agent may be dead
        lines += [f"\tset {name}{version} {{", flow, f"\t\tsize {_FLOWS}", "\t\tflags dynamic", "\t}"]
    return [*lines, f"\tset udp{version} {{", flow, f"\t\tsize {_FLOWS}", "\t\tflags dynamic,timeout", f"\t\ttimeout {_UDP_S}s", "\t}"]


def _chains(v: int, ip: str, mark: int) -> list[str]:
    """What arrives is marked; what is delivered or sent is recorded.

    `closed`: flows in which the incarnation has said its last. A SYN in one of them is a new connection that uses an
    old port again: it is forgotten here and goes where new ones go. A SYN of any other recorded flow is sent again by
    a client whose connection is half open.
    """
    tcp, back = f"{ip} saddr . tcp sport . {ip} daddr . tcp dport", f"{ip} daddr . tcp dport . {ip} saddr . tcp sport"
    udp, udp_back = tcp.replace("tcp", "udp"), back.replace("tcp", "udp")
    marked = f"meta mark set meta mark & {_REST:#010x} | {mark:#010x}"
    again = f"delete @tcp{v} {{ {tcp} }} delete @closed{v} {{ {tcp} }}"
    return [
        f"\tchain arriving{v} {{",
        f"\t\ttcp flags & (fin | syn | rst | ack) == syn {tcp} @closed{v} {again} return",
        f"\t\t{tcp} @tcp{v} {marked}",
        f"\t\t{udp} @udp{v} {marked}",
        "\t}",
        f"\tchain delivered{v} {{",
        f"\t\tmeta l4proto tcp add @tcp{v} {{ {tcp} }}",
        f"\t\tmeta l4proto udp update @udp{v} {{ {udp} }} update @talking {{ meta l4proto }}",
        "\t}",
        f"\tchain sent{v} {{",
        f"\t\tmeta l4proto tcp add @tcp{v} {{ {back} }}",
        f"\t\ttcp flags & (fin | rst) != 0 add @closed{v} {{ {back} }}",
        f"\t\tmeta l4proto udp update @udp{v} {{ {udp_back} }} update @talking {{ meta l4proto }}",
        "\t}",
    ]


def _elements(table: str, flows: Iterable[Connection]) -> Iterable[str]:
    by_set: dict[str, list[str]] = {}
    for flow in flows:
        key = f"{flow.peer} . {flow.peer_port} . {flow.local} . {flow.local_port}"
        by_set.setdefault(f"{'udp' if flow.udp else 'tcp'}{flow.local.version}", []).append(key)
        if flow.said_all:
            by_set.setdefault(f"closed{flow.local.version}", []).append(key)
    for name, keys in by_set.items():
        for at in range(0, len(keys), _AT_ONCE):
            yield f"add element inet {table} {name} {{ {', '.join(keys[at : at + _AT_ONCE])} }}"
