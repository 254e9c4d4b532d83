"""The network of a guest that began its life on another host, and moved here while it ran: nobody can tell it that its
link has other addresses now.

In: the instance's uid and link, and as whom the guest began. Out: what it sends has this instance's own addresses
before it leaves the instance's namespace, and what comes for these has the ones that the guest knows: one for one, no
state. Its anycast addresses are the same everywhere, so nothing is done to them and their flows go on. What an ICMP
error quotes is not changed: it is understood for anycast addresses alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from anypop.agent.act.network import rtnl
from anypop.agent.act.network.guests import tap_of
from anypop.agent.act.network.netlink import Netlink
from anypop.agent.act.network.nft import nft
from anypop.agent.naming import MOVED_TABLE, inside_mac, link_of, namespace_of, router_mac
from anypop.model.announce import Address
from anypop.model.errors import WorldError
from anypop.model.order import InstanceLink, LinkAddress

_IP = {4: "ip", 6: "ip6"}
_TAP = tap_of(0)  # what has several interfaces does not move


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """As whom a guest began its life, on another host: the uid from which its hardware addresses follow, the addresses
    of its link, and the UUID of its system. It keeps them wherever it moves.
    """

    uid: str
    addresses: tuple[LinkAddress, ...]
    system: str


def rules(uid: str, link: InstanceLink, born: Identity) -> str:
    """The nft script that makes the table anew. Pure."""
    pairs = list(_pairs(link, born))
    lines = [
        f"table bridge {MOVED_TABLE}",
        f"delete table bridge {MOVED_TABLE}",
        f"table bridge {MOVED_TABLE} {{",
        "\tchain leaving {",
        "\t\ttype filter hook prerouting priority -300; policy accept;",
        f'\t\tiifname "{_TAP}" {_led("daddr", router_mac(born.uid), router_mac(uid))}',
        *(
            f'\t\tiifname "{_TAP}" {_IP[old.version]} saddr {old} {_IP[old.version]} saddr set {new}'
            for old, new in pairs
        ),
        "\t}",
        "\tchain arriving {",
        "\t\ttype filter hook postrouting priority 300; policy accept;",
        f'\t\toifname "{_TAP}" {_led("daddr", inside_mac(uid), inside_mac(born.uid))}',
        *(
            f'\t\toifname "{_TAP}" {_IP[old.version]} daddr {new} {_IP[old.version]} daddr set {old}'
            for old, new in pairs
        ),
        "\t}",
        "}",
        "",
    ]
    return "\n".join(lines)


async def adopt(prefix: str, uid: str, link: InstanceLink, born: Identity) -> None:
    """In the router's namespace, with the instance's link made. The router answers for the gateways that the guest
    knows as well. Made twice it is made once.
    """
    with Netlink() as net:
        index = next((one.index for one in rtnl.links(net) if one.name == link_of(uid)), None)
        if index is None:
            raise WorldError("lead what goes to a guest that moved", "its link is gone")
        for address in born.addresses:
            rtnl.add_address(net, index, address.gateway, address.gateway.max_prefixlen - 1)
    name = namespace_of(prefix, uid)
    await nft("lead what goes to a guest that moved", "-f", "-", stdin=rules(uid, link, born), namespace=name)


async def forget(namespace: str) -> None:
    """Another guest comes, which is told what is."""
    script = f"table bridge {MOVED_TABLE}\ndelete table bridge {MOVED_TABLE}\n"
    await nft("lead what goes to a guest", "-f", "-", stdin=script, namespace=namespace)


def _led(field: str, old: bytes, new: bytes) -> str:
    return f"ether {field} {old.hex(':')} ether {field} set {new.hex(':')}"


def _pairs(link: InstanceLink, born: Identity) -> Iterator[tuple[Address, Address]]:
    """Each address that the guest knows, with the one that it has here."""
    for old in born.addresses:
        new = link.of(old.private.version)
        if new is not None:
            for theirs, ours in ((old.private, new.private), (old.external, new.external), (old.vpc, new.vpc)):
                if theirs is not None and ours is not None and theirs != ours:
                    yield theirs, ours
