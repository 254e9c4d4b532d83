"""The inside of an instance's namespace: answers by UDP from the address that was asked, and TCP's search for the MTU.

In: what `decide.inside` says. Out: an nftables table and kernel settings in the namespace, or whether they are there.
A server on a wildcard socket lets the kernel choose the source of its answers: that of the default route, which is the
external address. So what comes to a wildcard socket at an anycast address is translated to the external one, and
connection tracking turns the answer back. TCP and sockets bound to an address are neither translated nor tracked.
"""

import hashlib
from pathlib import Path

from anypop.agent.act.network import inside_ways, nftables
from anypop.agent.act.network.netlink import NETFILTER, Netlink
from anypop.agent.act.network.nft import nft
from anypop.agent.act.network.nftables import Kind
from anypop.agent.decide.inside import Inside
from anypop.agent.naming import INSIDE_TABLE, namespace_of
from anypop.host import netns
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
    """The nft script that makes the table anew, for at least one family."""
    head = f"table inet {INSIDE_TABLE}\ndelete table inet {INSIDE_TABLE}\n"
    lines = [f"table inet {INSIDE_TABLE} {{"]
    raw, back, first = [], [], []
    for one in wanted.udp:
        version = one.private.version
        ip, every = _IP[version], ", ".join(str(a) for a in (*one.anycast, one.external))
        asked = "meta l4proto udp socket wildcard 1"
        # who asks from the link itself (this host: its probes) is answered from the link's own address
        first.append(f"{ip} saddr {one.gateway} {ip} daddr {{ {every} }} {asked} dnat {ip} to {one.private}")
        if one.anycast:
            any_ = f"{{ {', '.join(map(str, one.anycast))} }}"
            raw += [f"{ip} daddr {any_} socket wildcard 1 accept", f"{ip} daddr {any_} notrack"]
            back.append(f"{ip} saddr {any_} notrack")
            first.append(f"{ip} daddr {any_} {asked} dnat {ip} to {one.external}")
    lines += _chain("arriving", "type filter hook prerouting priority raw;", "meta l4proto != udp notrack", *raw)
    lines += _chain("leaving", "type filter hook output priority raw;", "meta l4proto != udp notrack", *back)
    lines += _chain("translated", "type nat hook prerouting priority dstnat;", *first)
    lines += [f"\tchain {_mark(wanted)} {{", "\t}", "}", ""]
    return head + "\n".join(lines)


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
    return there == ({*_CHAINS, _mark(wanted)} if wanted.udp else set())


async def set_inside(prefix: str, uid: str, wanted: Inside) -> None:
    """Make it so. What is right already is left: who asks right now loses no answer."""
    if is_right(prefix, uid, wanted):
        return
    name = namespace_of(prefix, uid)
    with netns.inside(name), Netlink(NETFILTER) as net:
        for path, value in _PROBING.items():
            (_NET / path).write_text(value)
        inside_ways.have(wanted)
        if not wanted.udp:
            nftables.delete_table(net, INSIDE_TABLE)
            return
    await nft("keep answers by UDP to the address that was asked", "-f", "-", stdin=render(wanted), namespace=name)
    with netns.inside(name):  # the settings are there once connection tracking is
        for path, value in _TRACKING.items():
            (_NET / path).write_text(value)


_CHAINS = ("arriving", "leaving", "translated")
_IP = {4: "ip", 6: "ip6"}


def _mark(wanted: Inside) -> str:
    """The name of a chain without rules, by which a look at names tells for which addresses the table is."""
    text = " ".join(f"{one.anycast} {one.external} {one.private} {one.gateway}" for one in wanted.udp)
    return f"is_{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _chain(name: str, *lines: str) -> list[str]:
    return [f"\tchain {name} {{", *(f"\t\t{line}" for line in lines), "\t}"]
