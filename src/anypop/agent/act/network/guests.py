"""The network of a virtual machine: a bridge in the instance's namespace joins the link to the router with the tap of
the guest. The guest has the instance's addresses, the namespace none of them.

In: the instance's order. Out: the bridge, a tap that stays while nobody has it open, and the one address of the
metadata service, which only the guest has a way to. Everything at the router's end is as with containers: what a guest
forges is dropped there. Made twice it is made once.
"""

import fcntl
import os
import socket
import struct
from ipaddress import ip_network
from pathlib import Path

from anypop.agent.act.network import rtnl
from anypop.agent.act.network.netlink import Netlink
from anypop.agent.naming import METADATA4, ROUTE_PROTOCOL, inside_mac, inside_name, namespace_of, port_mac
from anypop.host import netns
from anypop.model.announce import Address
from anypop.model.errors import WorldError
from anypop.model.order import InstanceOrder

BRIDGE, TAP = "br0", "tap0"
_TUN = Path("/dev/net/tun")
# linux/if_tun.h
_SET_INTERFACE, _SET_PERSISTENT = 0x400454CA, 0x400454CB
_TAP_MODE, _NO_PACKET_INFO, _WITH_OFFLOADS = 0x0002, 0x1000, 0x4000
_REQUEST = struct.Struct("16sH22x")


def furnish(prefix: str, order: InstanceOrder) -> None:
    """All of it, in the namespace of an instance whose link is there."""
    wire = inside_name(0)
    with netns.inside(namespace_of(prefix, order.uid)), Netlink() as net:
        if all(link.name != TAP for link in rtnl.links(net)):  # else a guest may have it open, and nobody else gets it
            os.close(_open(TAP, persistent=True))
        rtnl.add_bridge(net, BRIDGE, _bridge_mac(order.uid))
        for name in (wire, TAP, BRIDGE):
            _write(f"ipv6/conf/{name}/disable_ipv6", "1")  # before it is up: not even a link-local address
        _write("ipv4/ip_forward", "0")
        _write(f"ipv4/conf/{BRIDGE}/rp_filter", "1")
        _write(f"ipv4/conf/{BRIDGE}/arp_ignore", "1")
        index = {link.name: link.index for link in rtnl.links(net)}
        for name in (wire, TAP):
            rtnl.set_port(net, index[name], index[BRIDGE])
        for name in ("lo", BRIDGE, wire, TAP):
            rtnl.set_up(net, index[name])
        rtnl.add_address(net, index[BRIDGE], METADATA4, METADATA4.max_prefixlen)
        for address in _asking(order):
            rtnl.set_route(net, ip_network(address), ROUTE_PROTOCOL, interface=index[BRIDGE])
            rtnl.set_neighbor(net, index[BRIDGE], address, inside_mac(order.uid))


def open_tap(namespace: str) -> int:
    """The guest's end of its network as an open file, for QEMU. The caller closes it. Raises `WorldError`."""
    with netns.inside(namespace):
        return _open(TAP, persistent=False)


def abstract_socket(namespace: str, name: str) -> socket.socket:
    """A UNIX socket without a file, which is found in that network namespace alone. The caller closes it."""
    with netns.inside(namespace):
        made = socket.socket(socket.AF_UNIX)
    try:
        made.bind(f"\0{name}")
    except OSError:
        made.close()
        raise
    return made


def _asking(order: InstanceOrder) -> list[Address]:
    """From where a guest may ask the metadata service: its addresses on the card."""
    return [a for one in order.links[0].addresses for a in (one.private, one.vpc) if a is not None and a.version == 4]


def _open(name: str, *, persistent: bool) -> int:
    what = f"open the network of a guest ({name})"
    try:
        handle = os.open(_TUN, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise WorldError(what, f"{_TUN}: {error.strerror}") from error
    try:
        flags = _TAP_MODE | _NO_PACKET_INFO | _WITH_OFFLOADS
        fcntl.ioctl(handle, _SET_INTERFACE, _REQUEST.pack(name.encode(), flags))
        if persistent:
            fcntl.ioctl(handle, _SET_PERSISTENT, 1)
    except OSError as error:
        os.close(handle)
        raise WorldError(what, error.strerror or str(error)) from error
    return handle


def _bridge_mac(uid: str) -> bytes:
    """Neither the link's nor the guest's: the ten digits with a first byte of their own."""
    return bytes([0x0E]) + port_mac(uid)[1:]


def _write(path: str, value: str) -> None:
    try:
        Path("/proc/sys/net", path).write_text(value)
    except FileNotFoundError:
        return  # a kernel without IPv6
