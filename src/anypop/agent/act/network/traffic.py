"""Counting what is led to instances and into the tunnels, in an nftables table of its own.

In: nothing but the platform's prefix: the rules are the same on every host and know no address. Out: packets and bytes
by link and address, and flows that began. Elements come by themselves with the first packet, and are taken away with
their link. It looks after the firewall has let a packet pass, decides nothing and changes none.

A flow that began is a connection's first SYN, or a packet of UDP that connection tracking has not met before. It is
kept away from addresses that another host answers for as well: of those a set remembers for a while who talks to whom.
"""

from collections.abc import Collection, Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from anypop.agent.act.network import nftables, sets
from anypop.agent.act.network.netlink import NETFILTER, Netlink
from anypop.agent.act.network.nft import nft
from anypop.agent.act.network.nftables import Kind
from anypop.agent.naming import DEVICE_GROUP_MASK, DEVICE_GROUPS, TUNNEL, traffic_table
from anypop.model.announce import Address

_NAME = 16  # bytes of an interface's name in a key
_MOST = 65_536  # elements: links times the addresses that are led to each; what comes after them is not counted
MOST_TALKS = 131_072  # of UDP that are remembered, some 16 MB when full: of what comes beyond no flow is counted
TALK_S = 10  # without a packet; then it is forgotten. So 13,000 questions a second to a server of names are counted
_VERSION = "counts3"  # of the rules, as the name of an empty chain: another version's table is made anew
_PASSED = "passed"  # the name of the counter of all packets
_ADDRESSES: dict[int, type[IPv4Address] | type[IPv6Address]] = {4: IPv4Address, 6: IPv6Address}


class Led(NamedTuple):
    """What was led to one place since the table was made."""

    packets: int = 0
    octets: int = 0
    flows: int = 0


Place = tuple[str, Address]
"""A link (or the tunnels' device), and the address that packets went to."""


def script(table: str) -> str:
    """The table anew, in one transaction."""
    return "\n".join(
        [
            f"table inet {table}",
            f"delete table inet {table}",
            f"table inet {table} {{",
            *(line for v in (4, 6) for kind in ("led", "began") for line in _set(f"{kind}{v}", v)),
            *(line for v in (4, 6) for line in _talks(v)),
            f"\tcounter {_PASSED} {{",
            "\t}",
            f"\tchain {_VERSION} {{",
            "\t}",
            "\tchain to_member {",
            *(f"\t\t{rule}" for v, ip in ((4, "ip"), (6, "ip6")) for rule in _rules(v, ip)),
            "\t}",
            "\tchain forward {",
            "\t\ttype filter hook forward priority filter + 20; policy accept;",
            f"\t\toifgroup & {DEVICE_GROUP_MASK:#x} == {DEVICE_GROUPS:#x} goto to_member",
            f'\t\toifname "{TUNNEL}" goto to_member',
            "\t}",
            "}",
            "",
        ]
    )


def _rules(version: int, ip: str) -> Iterator[str]:
    family, key = f"meta nfproto ipv{version}", f"{{ oifname . {ip} daddr }}"
    yield f"{family} tcp flags & (fin | syn | rst | ack) == syn update @began{version} {key}"
    yield f"{family} meta l4proto udp ct state new ct status & confirmed == 0 update @began{version} {key}"
    talk = f"{ip} saddr . {ip} daddr . udp sport . udp dport"
    told, untracked = f"{{ {talk} timeout {TALK_S}s }}", f"{family} meta l4proto udp ct state untracked"
    # a set that is full ends the rule at `add`
    yield f"{untracked} {talk} != @talks{version} add @talks{version} {told} update @began{version} {key}"
    yield f"{untracked} update @talks{version} {told}"
    # behind all of them: who sees that it has not moved has nothing new to read
    yield f'{family} update @led{version} {key} counter name "{_PASSED}" accept'


def _set(name: str, version: int) -> list[str]:
    words = (f"type ifname . ipv{version}_addr", f"size {_MOST}", "flags dynamic", "counter")
    return [f"\tset {name} {{", *(f"\t\t{word}" for word in words), "\t}"]


def _talks(version: int) -> list[str]:
    words = (
        f"type {' . '.join([f'ipv{version}_addr'] * 2 + ['inet_service'] * 2)}",
        f"size {MOST_TALKS}",
        "flags dynamic,timeout",
    )
    return [f"\tset talks{version} {{", *(f"\t\t{word}" for word in words), "\t}"]


async def keep(prefix: str) -> None:
    """Have the table. One that is there and of this version stays, with all that it has counted. Raises
    `WorldError`.
    """
    table = traffic_table(prefix)
    with Netlink(NETFILTER) as net:
        there = nftables.rule_counts(net, table)
    if _VERSION in there and there.get("to_member") == 10 and there.get("forward") == 2:
        return
    await nft("count what is led to instances", "-f", "-", stdin=script(table))


def read(net: Netlink, prefix: str) -> Mapping[Place, Led]:
    """What it has counted; nothing where there is no table. `net`: of nftables. Raises `WorldError`."""
    table, found = traffic_table(prefix), dict[Place, Led]()
    for version, address in _ADDRESSES.items():
        began = nftables.counted(net, table, f"began{version}")
        for key, (packets, octets) in nftables.counted(net, table, f"led{version}").items():
            place = key[:_NAME].rstrip(b"\0").decode(errors="replace"), address(key[_NAME:])
            found[place] = Led(packets, octets, began.get(key, (0, 0))[0])
    return found


def passed(net: Netlink, prefix: str) -> int | None:
    """How many packets it has counted, of all places together: as long as they are the same, so is what `read` says.
    None where there is no table. Raises `WorldError`.
    """
    return nftables.counter(net, traffic_table(prefix), _PASSED)


def forget(net: Netlink, prefix: str, places: Collection[Place]) -> None:
    """Take elements away whose links are gone. Raises `WorldError`."""
    for link, address in places:
        key = sets.name_key(link) + address.packed
        for kind in ("led", "began"):
            name = (sets.INET, f"{kind}{address.version}")
            if key in sets.keys(net, traffic_table(prefix), name):
                sets.change(net, traffic_table(prefix), gone={name: [key]}, new={})


def is_there(prefix: str) -> bool:
    with Netlink(NETFILTER) as net:
        return bool(nftables.names(net, traffic_table(prefix), Kind.CHAIN))
