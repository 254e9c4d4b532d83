"""What the agent calls things in the world: so that it finds them again after its own death.

In: the platform's prefix and an instance's uid. Out: names of namespaces, links, containers, tables. Nothing here
touches the world.
"""

import hashlib
import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network

from anypop.model.gateway_route import MOST_LED

ROUTE_PROTOCOL = 158
"""The routing-protocol number on all our kernel routes and next hops. Free in /etc/iproute2/rt_protos (BIRD has 12,
BGP 186).
"""

COVER_METRIC = 4_000_000
"""Metric of the unreachable covers: any real route for the same prefix wins, whatever daemon made it."""

DRAIN_MARK_SHIFT, DRAIN_MARK_MASK, DRAIN_SLOTS = 24, 0xFF00_0000, 255
"""Firewall marks of pinned flows: the highest byte, 1 to 255, no other bit (Tailscale has 0x00ff0000, Kubernetes
0xc000, Cilium 0x0f00).
"""

DRAIN_TABLES = 158_000
"""Routing tables of pinned flows: this number plus the mark's byte, 158001 to 158255."""

DRAIN_PREFERENCE = 58
"""Preference of the rules that lead there: after the kernel's local table (0), before whatever sends packets by where
they came from.
"""

LEARNT_TABLE = 158_400
"""Routing table of what BGP neighbours told: looked into for what is forwarded, never before the operator's own routes
for what this host sends itself.
"""

LEARNT_PREFERENCE, LEARNT_LAST_PREFERENCE = 32_700, 32_780
"""Preferences of the rules that lead there: just before the main table (32766), after the operator's own rules; and
just behind it.
"""

PROBE_MARK, PROBE_TABLE, PROBE_PREFERENCE, PROBE_PROTOCOL = 158, 158_256, 57, 159
"""How probes find their link: their mark (that very number), the routing table with a route to each address over each
link, the preference of the rule that leads there, and the protocol number of those routes (they come and go with links
and are no change that anybody waits for).
"""

PING_MARK = 160
"""The mark of pings by which catchments are measured: they leave by what neighbours told, whatever way out the host
has for itself.
"""

DEVICE_GROUPS, DEVICE_GROUP_MASK = 0x5000_0000, 0xF000_0000
"""Device groups of instances' links: these four bits, and below them a number for the stack. A link is born with its
group, so the rules know it for one of ours before it is up, and what they do not know of it they drop.
"""

TUNNEL, TUNNEL_NUMBER, TUNNEL_LABEL = "anypop-vx", 158, "lo:anypop"
"""The device of the backbone's tunnels, the number of its packets on the wire (VXLAN's VNI), and the label of the
host's own end of the tunnels where we have put that address on `lo`.
"""

TUNNEL_TABLE, SERVED_TABLE, TARGETS_TABLE, SIBLINGS_TABLE = 158_500, 158_501, 158_502, 158_503
"""Routing tables of the backbone: for what comes in by the tunnel; what this host serves, for the speaker to tell;
the other hosts as next hops, for what is sent by the tunnel on purpose; instances at other hosts, of stacks that have
some here.
"""

SIBLING_MARK, SIBLING_PREFERENCE = 0xFF00_0000, 64
"""The firewall mark of what goes between two instances of one stack by the tunnel, under the mask of the drains' marks
(it is the last of them, which no drain gets where there is a backbone), and the preference of the rule that leads
there.
"""

VPC_TABLE, VPC_PREFERENCE = 158_505, 56
"""How instances here are reached at their addresses in subnets of their stacks' networks: the routing table with a way
to each, and the preference of the rules that lead there: what goes between two instances of one network (with the mark
of siblings), and what comes by the tunnel. Nothing else ever looks into it, so whatever ranges tenants choose, the
host's own routes are not changed by it.
"""

AWAY_TABLE, AWAY_PREFERENCE, AWAY_MARK = 158_504, 65, 0xFE00_0000
"""How flows leave by a dial: the routing table with a way for each address, the preference of the rule that leads there
(behind those of the tunnels: what came by one never leaves by a dial), and the mark, the last but one of the drains'.
"""

NEWCOMER_TABLES, NEWCOMER_PREFERENCE = 158_600, 59
"""How new flows reach members that have not got their share of a group's buckets: a routing table for each mark (this
number plus the mark's byte), and the preference of the rules that lead there: behind those of drains, and before those
of the tunnels, since what came by one goes to a newcomer of this host as well.
"""

NEWCOMER_SLOTS = range(0xC0, 0xF0)
"""The bytes of those marks, under the mask of the drains' marks; no drain gets one of them. An address has as many
newcomers at once as there are of these.
"""

GATEWAY_SLOTS = range(0xFE - MOST_LED, 0xFE)
"""The bytes of the marks of networks whose routes lead through gateways, under the mask of the drains' marks; no drain
gets one of them. So many such networks a host can have.
"""

GATEWAY_TABLES, GATEWAY_PREFERENCE = 159_000, 55
"""The routing tables of these networks: this number plus the mark's byte, and the preference of the rules that lead
there: not one between those of the tunnels, which are made anew as a whole.
"""

COMING_TABLES, COMING_PREFERENCE = 159_256, 52
"""The same for what other hosts send by the tunnels to gateways of this one: tables with ways to these alone, and the
preference of the first of three rules: to these tables; else it is lost; and what comes from gateways of other hosts
goes to instances of this host, never to a gateway again.
"""

GATEWAY_TUNNEL_NUMBER = 159
"""The number on the wire of what goes by a tunnel to a gateway (VXLAN's VNI): all else that looks like it was sent by
a gateway, and goes to whom it names.
"""

GATEWAY_KEYS = IPv6Network("fd8b:3f17:a19f::/48")
"""Where hosts tell each other how many of their gateways lead to a destination of a network: nobody's address, and no
packet is ever routed by it.
"""

WAYS_PROTOCOL = 161
"""The routing-protocol number, in instances' own namespaces, of routes to where gateways lead."""

TUNNEL_PREFERENCE = 60
"""Preference of the first of the rules that lead there, just behind those of drains: a flow that is pinned stays so."""

SERVED_PROTOCOL = 160
"""The routing-protocol number of what this host serves: it is not routed by, so no change that anybody waits for."""

RESOLVER4, RESOLVER6 = IPv4Address("169.254.158.53"), IPv6Address("fd8b:3f17:a19e::53")
"""Where instances ask their host for names: the same on every host, on `lo`, and no route leads there from outside. Not
one of a link's own addresses: a host may have a name server of its own on all of these.
"""

METADATA4 = IPv4Address("169.254.169.254")
"""Where a guest asks who it is: in the namespace of its instance, which nobody else has a way to."""

LABEL = "anypop."
_OWN_FILES = "/run/anypop"  # gone at a reboot
_HEX = re.compile(r"[0-9a-f]{10}")
_LINK = re.compile(r"i([0-9a-f]{10})")
_FURTHER = re.compile(r"i([0-9a-f]{10})x[1-9]")


@lru_cache(maxsize=1 << 16)  # asked for each instance many times in a pass
def short(uid: str) -> str:
    """Ten hex digits that stand for a uid in names of at most 15 characters: its own first ten, or of its hash where
    it is not hex.
    """
    plain = uid.replace("-", "").lower()[:10]
    return plain if _HEX.fullmatch(plain) else hashlib.sha256(uid.encode()).hexdigest()[:10]


def namespace_of(prefix: str, uid: str) -> str:
    return f"{prefix}-i-{short(uid)}"


def link_of(uid: str, interface: int = 0) -> str:
    """The router's end of an instance's veth pair, of its first interface or of a further one."""
    return f"i{short(uid)}x{interface}" if interface else f"i{short(uid)}"


def short_of_link(link: str) -> str | None:
    """The ten hex digits of one of our links; None for anybody else's interface."""
    match = _LINK.fullmatch(link)
    return match[1] if match else None


def short_of_further(link: str) -> str | None:
    """The same of a further interface's link."""
    match = _FURTHER.fullmatch(link)
    return match[1] if match else None


def inside_name(interface: int) -> str:
    """What an interface is called inside."""
    return f"eth{interface}"


@lru_cache(maxsize=1 << 12)
def device_group_of(stack_id: str) -> int:
    """The device group of the links of a stack's instances; that of "" is nobody's. Two stacks may have one: who
    makes the rules looks out for it.
    """
    number = int.from_bytes(hashlib.sha256(stack_id.encode()).digest()[:4], "big") & ~DEVICE_GROUP_MASK
    return DEVICE_GROUPS | (max(number, 1) if stack_id else 0)


SIBLING_NUMBERS = 1 << 31
"""Where the numbers of stacks begin: what hosts tell below that counts instances."""


UNWELL = 1 << 63
"""Beside the number of a stack, and apart from its two parts: this instance does not serve at the moment. A host of an
earlier version neither says nor hears it.
"""


@lru_cache(maxsize=1 << 12)
def sibling_number(stack_id: str) -> int:
    """By what hosts tell each other whose an address is: 62 bits of the stack's hash, the lower 30 (and one that is
    never set) apart from the upper 32, as they travel in two numbers.
    """
    digest = int.from_bytes(hashlib.sha256(b"sibling " + stack_id.encode()).digest()[:8], "big")
    return max(digest >> 32, 1) * SIBLING_NUMBERS | digest & 0x3FFF_FFFF


@lru_cache(maxsize=1 << 12)
def gateway_key(domain: str, prefix: str) -> IPv6Address:
    """By what hosts tell each other of a network's gateways that lead to a prefix."""
    number = int.from_bytes(hashlib.sha256(f"gateway {domain} {prefix}".encode()).digest()[:10], "big")
    return GATEWAY_KEYS[number]


def is_device_group(group: int) -> bool:
    return group & DEVICE_GROUP_MASK == DEVICE_GROUPS


def inside_mac(uid: str, interface: int = 0) -> bytes:
    """The fixed hardware address of the instance's end of a link: locally administered, with the interface's number,
    then the ten hex digits.
    """
    return bytes([interface << 4 | 0x02]) + bytes.fromhex(short(uid))


def router_mac(uid: str, interface: int = 0) -> bytes:
    """The same of the router's end."""
    return bytes([interface << 4 | 0x06]) + bytes.fromhex(short(uid))


def port_mac(uid: str, interface: int = 0) -> bytes:
    """The same of the instance's end of a link where a virtual machine is behind it: `inside_mac` is then that of the
    card that the guest sees.
    """
    return bytes([interface << 4 | 0x0A]) + bytes.fromhex(short(uid))


def own_files_of(prefix: str, uid: str) -> str:
    """The host's folder for the files that an instance's containers get as their own."""
    return f"{_OWN_FILES}/{prefix}/{short(uid)}"


def disk_serial(claim: str) -> str:
    """The serial number by which a guest knows the disk of a volume. A virtio disk tells twenty letters of it (virtio
    1.2, 5.2.6), so a longer name has its beginning and eight digits of its hash: two never share one.
    """
    return claim if len(claim) <= 20 else f"{claim[:11]}-{hashlib.sha256(claim.encode()).hexdigest()[:8]}"


def container_of(prefix: str, uid: str, container: str) -> str:
    return f"{prefix}-{short(uid)}-{container}"


def firewall_table(prefix: str) -> str:
    return f"anypop_{prefix}"


def drain_table(prefix: str) -> str:
    """The nftables table that marks the flows of incarnations that drain."""
    return f"anypop_{prefix}_drain"


def arrivals_table(prefix: str) -> str:
    """The nftables table that counts what comes in for prefixes that are drained; there only while some are."""
    return f"anypop_{prefix}_arrivals"


def sources_table(prefix: str) -> str:
    """The nftables table that samples whose connections come in; there only where the operator wants it."""
    return f"anypop_{prefix}_sources"


def traffic_table(prefix: str) -> str:
    """The nftables table that counts what is led to instances and into the tunnels, by link and address."""
    return f"anypop_{prefix}_traffic"


def dials_table(prefix: str) -> str:
    """The nftables table that marks the flows which leave by dials; there only while some do."""
    return f"anypop_{prefix}_dials"


def newcomers_table(prefix: str) -> str:
    """The nftables table that marks the flows of newcomers; there only while one of them has too few buckets, or has
    such flows still.
    """
    return f"anypop_{prefix}_newcomers"


INSIDE_TABLE, MOVED_TABLE = "anypop_udp", "anypop_moved"
"""The nftables tables in an instance's own namespace, where nobody else has any; the second, of the bridge, where a
virtual machine moved here.
"""


def errors_table(prefix: str) -> str:
    """The nftables tables (one for each family) that lead ICMP errors to the instance whose packet they quote."""
    return f"anypop_{prefix}_errors"


def tunnels_table(prefix: str) -> str:
    """The nftables table of what goes and comes by tunnels."""
    return f"anypop_{prefix}_tunnels"


def tunnel_end(router_id: IPv4Address) -> IPv6Address:
    """A host's own address inside the tunnels, where its speaker listens: a link-local one that follows from its router
    id.
    """
    return IPv6Address(0xFE80 << 112 | int(router_id))


LOWEST_PEER_TABLE = 1 << 24


def peer_table(router_id: IPv4Address) -> int:
    """The routing table in which the speaker writes down what another host tells: its router id as a number. Below
    1.0.0.0 there are no router ids, and above that nobody numbers tables.
    """
    return int(router_id)
