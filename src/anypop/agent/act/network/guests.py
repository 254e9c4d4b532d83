"""The network of a virtual machine: for each of its interfaces a bridge in the instance's namespace joins the link to
the router with a tap of the guest. The guest has the instance's addresses, the namespace none of them.

In: the instance's order. Out: bridges, taps that stay while nobody has them open, and by the first bridge the one
address of the metadata service, which only the guest has a way to. Everything at the router's end is as with
containers: what a guest forges is dropped there. Made twice it is made once.
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

_TUN = Path("/dev/net/tun")
# linux/if_tun.h
_SET_INTERFACE, _SET_PERSISTENT = 0x400454CA, 0x400454CB
_TAP_MODE, _NO_PACKET_INFO, _WITH_OFFLOADS = 0x0002, 0x1000, 0x4000
_REQUEST = struct.Struct("16sH22x")


def furnish(prefix: str, order: InstanceOrder) -> None:
    """That of its first interface, in the namespace of an instance whose link is there."""
    with netns.inside(namespace_of(prefix, order.uid)), Netlink() as net:
        _write("ipv4/ip_forward", "0")
        bridge = _join(net, order.uid, 0)
        rtnl.add_address(net, bridge, METADATA4, METADATA4.max_prefixlen)
        for address in _asking(order):
            rtnl.set_route(net, ip_network(address), ROUTE_PROTOCOL, interface=bridge)
            rtnl.set_neighbor(net, bridge, address, inside_mac(order.uid))


def furnish_further(prefix: str, uid: str, interface: int) -> None:
    """That of a further one. The guest alone has an address there."""
    with netns.inside(namespace_of(prefix, uid)), Netlink() as net:
        _join(net, uid, interface)


def _join(net: Netlink, uid: str, interface: int) -> int:
    """A link that is there is joined with the guest's card; the number of their bridge. All of it may be there."""
    wire, tap, bridge = inside_name(interface), tap_of(interface), f"br{interface}"
    if all(link.name != tap for link in rtnl.links(net)):  # one that QEMU has is open once and no more
        os.close(_open(tap, persistent=True))
    rtnl.add_bridge(net, bridge, _bridge_mac(uid, interface))
    for name in (wire, tap, bridge):
        _write(f"ipv6/conf/{name}/disable_ipv6", "1")  # before it is up: not even a link-local address
    _write(f"ipv4/conf/{bridge}/rp_filter", "1")
    _write(f"ipv4/conf/{bridge}/arp_ignore", "1")
    index = {link.name: link.index for link in rtnl.links(net)}
    for name in (wire, tap):
        rtnl.set_port(net, index[name], index[bridge])
    for name in ("lo", bridge, wire, tap):
        rtnl.set_up(net, index[name])
    return index[bridge]


def tap_of(interface: int) -> str:
    """What the guest's end of an interface is called in the namespace of its instance."""
    return f"tap{interface}"


def open_taps(namespace: str, count: int) -> list[int]:
    """The guest's ends of so many interfaces as open files, for QEMU. The caller closes them. Raises `WorldError`."""
    found = list[int]()
    try:
        with netns.inside(namespace):
            found += [_open(tap_of(interface), persistent=False) for interface in range(count)]
    except BaseException:
        for handle in found:
            os.close(handle)
        raise
    return found


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


def _bridge_mac(uid: str, interface: int) -> bytes:
    """Neither the link's nor the guest's: the ten digits with a first byte of their own."""
    return bytes([interface << 4 | 0x0E]) + port_mac(uid)[1:]


def _write(path: str, value: str) -> None:
    try:
        Path("/proc/sys/net", path).write_text(value)
    except FileNotFoundError:
        return  # a kernel without IPv6
