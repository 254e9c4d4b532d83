"""The device of the tunnels as netlink messages (linux/if_link.h), and addresses that carry our label.

In: plain values. Out: one change each, or what is there. One device serves any number of tunnels: whom a packet goes to
stands in its next hop (`rtnl.set_tunnel_hop`), so it is "external", and it carries packets without an Ethernet header
(VXLAN-GPE). It takes from everybody: who may send to its port is the firewall's.
"""

import socket
import struct
from dataclasses import dataclass
from ipaddress import ip_address

from anypop.agent.act.network import netlink as nl
from anypop.agent.act.network import rtnl
from anypop.agent.act.network.netlink import Netlink
from anypop.model.announce import Address
from anypop.model.errors import WorldError

_LINK = struct.Struct("=BxHiII")
_ADDRESS = struct.Struct("=BBBBI")
_UP = 0x1


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """`fit`: it is such a device as `add` makes."""

    index: int
    up: bool
    mtu: int
    port: int
    fit: bool


def find(net: Netlink, name: str) -> Device | None:
    """The device of that name, whatever it is."""
    for payload in net.dump("list links", rtnl.GET_LINK, _LINK.pack(0, 0, 0, 0, 0)):
        attributes = nl.attributes(payload[16:])
        if attributes[3].rstrip(b"\0").decode() == name:  # IFLA_IFNAME
            _, _, index, flags, _ = _LINK.unpack_from(payload)
            info = nl.attributes(attributes.get(18, b""))  # IFLA_LINKINFO
            kind, data = info.get(1, b"").rstrip(b"\0"), nl.attributes(info.get(2, b""))
            # IFLA_VXLAN_COLLECT_METADATA, GPE, PORT
            fit = kind == b"vxlan" and data.get(25, b"\0") != b"\0" and 27 in data
            port = int.from_bytes(data.get(15, b""), "big") if kind == b"vxlan" else 0
            mtu = int.from_bytes(attributes.get(4, b""), "little")
            return Device(index=index, up=bool(flags & _UP), mtu=mtu, port=port, fit=fit)
    return None


def add(net: Netlink, name: str, port: int) -> None:
    """Make it, not yet up, and without addresses that the kernel thinks of."""
    data = nl.attribute(25, b"\1") + nl.attribute(27, b"") + nl.attribute(7, b"\0")
    data += nl.attribute(15, struct.pack(">H", port))
    info = nl.nested(18, nl.text(1, "vxlan"), nl.nested(2, data))
    try:
        net.change(
            f"add link {name}", rtnl.NEW_LINK, nl.CREATE | nl.EXCL, _LINK.pack(0, 0, 0, 0, 0) + nl.text(3, name) + info
        )
    except WorldError as error:
        if not nl.is_there(error):
            raise


def set_up(net: Netlink, index: int, mtu: int) -> None:
    # IFLA_AF_SPEC, IFLA_INET6_ADDR_GEN_MODE: none
    mode = nl.nested(26, nl.nested(socket.AF_INET6, nl.attribute(8, b"\1")))
    head = _LINK.pack(0, 0, index, 0, 0)
    net.change(f"set link {index}", rtnl.NEW_LINK, 0, head + nl.u32(4, mtu) + mode)
    net.change(f"set link {index} up", rtnl.NEW_LINK, 0, _LINK.pack(0, 0, index, _UP, _UP))


def add_labelled(net: Netlink, index: int, address: Address, label: str) -> None:
    """An IPv4 address that is known for ours by its label."""
    body = nl.attribute(2, address.packed) + nl.attribute(1, address.packed) + nl.text(3, label)
    head = _ADDRESS.pack(socket.AF_INET, 32, 0, 0, index)
    net.change(f"add address {address}", rtnl.NEW_ADDRESS, nl.CREATE | nl.REPLACE, head + body)


def labelled(net: Netlink, label: str) -> set[Address]:
    """The IPv4 addresses with this label."""
    found = set[Address]()
    for payload in net.dump("list addresses", rtnl.GET_ADDRESS, _ADDRESS.pack(socket.AF_INET, 0, 0, 0, 0)):
        attributes = nl.attributes(payload[8:])
        if attributes.get(3, b"").rstrip(b"\0").decode() == label:
            found.add(ip_address(attributes[2]))
    return found


def remove_labelled(net: Netlink, index: int, address: Address, label: str) -> None:
    """Harmless when it is gone."""
    body = nl.attribute(2, address.packed) + nl.text(3, label)
    try:
        head = _ADDRESS.pack(socket.AF_INET, 32, 0, 0, index)
        net.change(f"remove address {address}", rtnl.DEL_ADDRESS, 0, head + body)
    except WorldError as error:
        if not nl.is_gone(error):
            raise
