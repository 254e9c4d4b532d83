"""The inside of an instance's namespace: answers by UDP from the address that was asked, TCP's search for the MTU, and
the address from which a gateway speaks to the outside for others.

In: what `decide.inside` says. Out: an nftables table and kernel settings in the namespace, or whether they are there.
A server on a wildcard socket lets the kernel choose the source of its answers: that of the default route, which is the
external address. So what comes to a wildcard socket at an anycast address is translated to the external one, and
connection tracking turns the answer back. TCP and sockets bound to an address are neither translated nor
tracked, but for instances that pass on for others.
"""

import hashlib
from pathlib import Path

from anypop.agent.act.network import inside_ways, nftables
from anypop.agent.act.network.netlink import NETFILTER, Netlink
from anypop.agent.act.network.nft import nft
from anypop.agent.act.network.nftables import Kind
from anypop.agent.decide.inside import Inside, Outward, UdpFamily
from anypop.agent.naming import INSIDE_TABLE, inside_name, namespace_of
from anypop.host import netns
from anypop.model.announce import Address
from anypop.model.errors import WorldError

_NET = Path("/proc/sys/net")
_PROBING = {
    # where no ICMP error arrives at all, TCP finds the MTU of the way out by itself, after some 7 s
    "ipv4/tcp_mtu_probing": "1",
}
_TRACKING = {
    # A question and its answer take an entry for so long: 262,144 entries are 26,000 questions a second. A server that
    # takes longer to answer does so from its external address. Who talks on (QUIC) is kept for the usual 2 minutes.
    "netfilter/nf_conntrack_udp_timeout": "10",
}


def render(wanted: Inside) -> str:
    """The nft script that makes the table anew, where there is anything for it."""
    head = f"table inet {INSIDE_TABLE}\ndelete table inet {INSIDE_TABLE}\n"
    lines = [f"table inet {INSIDE_TABLE} {{"]
    raw, back, first = [], [], []
    for one in wanted.udp:
        first += answers_kept(one)
        if one.anycast:
            ip, any_ = _IP[one.private.version], _set(one.anycast)
            raw += [f"{ip} daddr {any_} socket wildcard 1 accept", f"{ip} daddr {any_} notrack"]
            back.append(f"{ip} saddr {any_} notrack")
    if wanted.outward:
        lines += _chain(_OUTWARD, "type nat hook postrouting priority srcnat;", *map(_translated, wanted.outward))
    if wanted.udp:
        lines += _udp(wanted, raw, back, first)
    lines += [f"\tchain {_mark(wanted)} {{", "\t}", "}", ""]
    return head + "\n".join(lines)


def answers_kept(one: UdpFamily) -> list[str]:
    """Rules, where addresses of destination are translated, for what a socket on a wildcard gets."""
    ip, asked = _IP[one.private.version], "meta l4proto udp socket wildcard 1"
    # who asks from the link itself (this host: its probes) is answered from the link's own address
    every = _set((*one.anycast, one.external))
    rules = [f"{ip} saddr {one.gateway} {ip} daddr {every} {asked} dnat {ip} to {one.private}"]
    if one.anycast:
        rules.append(f"{ip} daddr {_set(one.anycast)} {asked} dnat {ip} to {one.external}")
    return rules


def _set(addresses: tuple[Address, ...]) -> str:
    return f"{{ {', '.join(map(str, addresses))} }}"


def _translated(one: Outward) -> str:
    """Nobody else may send from where it comes from; an answer is led back by connection tracking."""
    ip, own = _IP[one.external.version], [*map(str, one.own), *(["fe80::/10"] if one.external.version == 6 else [])]
    inside = f"{ip} daddr != {{ {', '.join(map(str, one.inside))} }} " if one.inside else ""
    return f'oifname "{inside_name(0)}" {ip} saddr != {{ {", ".join(own)} }} {inside}snat {ip} to {one.external}'


def _udp(wanted: Inside, raw: list[str], back: list[str], first: list[str]) -> list[str]:
    # one that passes on for others may translate for them, by connection tracking
    other = () if wanted.passes else ("meta l4proto != udp notrack",)
    lines = _chain("arriving", "type filter hook prerouting priority raw;", *other, *raw)
    lines += _chain("leaving", "type filter hook output priority raw;", *other, *back)
    return [*lines, *_chain("translated", "type nat hook prerouting priority dstnat;", *first)]


def is_right(prefix: str, uid: str, wanted: Inside) -> bool:
    """Whether all of it is there. False as well where the namespace is gone."""
    try:
        with netns.inside(namespace_of(prefix, uid)), Netlink(NETFILTER) as net:
            settings = _PROBING | (_TRACKING if wanted.udp else {})
            if any((_NET / path).read_text().strip() != value for path, value in settings.items()):
                return False
            there = set(nftables.names(net, INSIDE_TABLE, Kind.CHAIN))
            if not inside_ways.are_right(wanted):
                return False
    except (WorldError, OSError):
        return False
    return there == _chains(wanted)


async def set_inside(prefix: str, uid: str, wanted: Inside) -> None:
    """Make it so. What is right already is left: who asks right now loses no answer."""
    if is_right(prefix, uid, wanted):
        return
    name = namespace_of(prefix, uid)
    with netns.inside(name), Netlink(NETFILTER) as net:
        for path, value in _PROBING.items():
            (_NET / path).write_text(value)
        inside_ways.have(wanted)
        if not wanted.udp and not wanted.outward:
            nftables.delete_table(net, INSIDE_TABLE)
            return
    await nft("say from where packets leave an instance", "-f", "-", stdin=render(wanted), namespace=name)
    with netns.inside(name):  # the settings are there once connection tracking is
        for path, value in (_TRACKING if wanted.udp else {}).items():
            (_NET / path).write_text(value)


def _chains(wanted: Inside) -> set[str]:
    found = {*(_CHAINS if wanted.udp else ()), *([_OUTWARD] if wanted.outward else [])}
    return found | ({_mark(wanted)} if found else set())


_OUTWARD = "outward"
_CHAINS = ("arriving", "leaving", "translated")
_IP = {4: "ip", 6: "ip6"}


def _mark(wanted: Inside) -> str:
    """The name of a chain without rules, by which a look at names tells for which addresses the table is."""
    text = " ".join(f"{one.anycast} {one.external} {one.private} {one.gateway}" for one in wanted.udp)
    text += f" {wanted.outward}" if wanted.passes else ""
    return f"is_{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _chain(name: str, *lines: str) -> list[str]:
    return [f"\tchain {name} {{", *(f"\t\t{line}" for line in lines), "\t}"]
