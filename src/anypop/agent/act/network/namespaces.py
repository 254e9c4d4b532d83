"""An instance's network namespace and its one link, all addresses in place before its process exists.

In: the instance's order. Out: a namespace under /run/netns, a veth pair, addresses, default routes, the route to its
external addresses. The router's end is set up last, so that it tells whether everything before it was done: a
half-made link is made again from the start.
"""

import contextlib
import ctypes
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from ipaddress import ip_network
from pathlib import Path

from anypop.agent.act.network import further_links, guests, links, rtnl
from anypop.agent.act.network.links import INSIDE
from anypop.agent.act.network.netlink import Netlink
from anypop.agent.naming import (
    RESOLVER4,
    RESOLVER6,
    ROUTE_PROTOCOL,
    device_group_of,
    inside_mac,
    link_of,
    namespace_of,
    port_mac,
    router_mac,
)
from anypop.host import netns
from anypop.model.announce import Address, Prefix
from anypop.model.errors import WorldError
from anypop.model.order import InstanceOrder, LinkAddress

# The namespace belongs to the host's users, not to the instance's: root inside has no power over it. So everybody may
# listen below 1024, and send an echo (ping) by a socket made for that; raw sockets stay closed. The groups are all that
# instances can have.
OPEN = {"net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": "0 2147483647"}
_BIND, _REC, _SHARED, _DETACH = 0x1000, 0x4000, 1 << 20, 2
_libc = ctypes.CDLL(None, use_errno=True)


def make_namespace(prefix: str, uid: str) -> None:
    """A named network namespace, as `ip netns add` makes it. Harmless when it is there."""
    path = netns.path_of(namespace_of(prefix, uid))
    if is_namespace(path):
        return
    _share_folder()
    path.touch(mode=0o444)
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _check(_libc.unshare(netns.CLONE_NEWNET), f"make network namespace {path.name}")
        try:
            # a point-to-point link: nobody to collide with
            Path("/proc/sys/net/ipv6/conf/default/accept_dad").write_text("0")
            # the second net of path MTU: where no ICMP error arrives at all, TCP finds out by itself after some 7 s
            Path("/proc/sys/net/ipv4/tcp_mtu_probing").write_text("1")
            _write(OPEN)
            _check(
                _libc.mount(b"/proc/thread-self/ns/net", bytes(path), b"none", _BIND, None),
                f"name network namespace {path.name}",
            )
        finally:
            _check(_libc.setns(home, netns.CLONE_NEWNET), "return to the router's namespace")
    finally:
        os.close(home)


def name_namespace(prefix: str, uid: str, pid: int) -> None:
    """Give the namespace in which an instance's process lives the name that it has lost. Raises `WorldError` where the
    process has ended, or lives elsewhere: the namespace is known by the hardware address of its end of the link.
    """
    path = netns.path_of(namespace_of(prefix, uid))
    try:
        home = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise WorldError(f"name network namespace {path.name}", f"process {pid} is gone") from error
    try:
        with netns.inside_path(Path(f"/proc/self/fd/{home}")), Netlink() as inside:
            if all(link.mac not in (inside_mac(uid), port_mac(uid)) for link in rtnl.links(inside)):
                raise WorldError(f"name network namespace {path.name}", f"process {pid} does not live in it")
        _share_folder()
        path.touch(mode=0o444)
        what = f"name network namespace {path.name}"
        _check(_libc.mount(b"/proc/self/fd/%d" % home, bytes(path), b"none", _BIND, None), what)
    finally:
        os.close(home)


def settle_sysctls(prefix: str, uid: str, asked: Iterable[tuple[str, str]]) -> None:
    """What an instance's network is set to before a process of it exists. `asked`: by its workload, over ours."""
    with netns.inside(namespace_of(prefix, uid)):
        _write(dict((*OPEN.items(), *asked)))


def _write(settings: Mapping[str, str]) -> None:
    for name, value in settings.items():
        try:
            Path("/proc/sys", *name.split(".")).write_text(value)
        except FileNotFoundError:
            continue  # a kernel without it: nothing to open
        except OSError as error:
            raise WorldError(f"set {name} to {value!r} in the instance's network", error.strerror or "") from error


def delete_namespace(net: Netlink, prefix: str, uid: str) -> None:
    """Take the link away at once, then the name. The kernel frees the namespace when its last process is gone."""
    rtnl.delete_link(net, link_of(uid))
    further_links.remove(net, uid)
    remove_name(netns.path_of(namespace_of(prefix, uid)))


def remove_name(path: Path) -> None:
    unmount(path)  # harmless where it is not mounted: then the file alone is left of an interrupted making
    path.unlink(missing_ok=True)


def unmount(path: Path) -> None:
    _libc.umount2(bytes(path), _DETACH)


def is_namespace(path: Path) -> bool:
    """Whether a namespace is bound to `path`, and not just an empty file left by an interrupted making."""
    try:
        return path.stat().st_dev != path.parent.stat().st_dev
    except FileNotFoundError:
        return False


def add_link(net: Netlink, prefix: str, order: InstanceOrder, known: Collection[LinkAddress] = ()) -> None:
    """The veth pair between router and instance, with all addresses and routes on both sides, and those of its further
    interfaces before it. `known`: what its guest knows of another link, whose gateways the router answers for too.
    """
    name = link_of(order.uid)
    if any(link.name == name for link in rtnl.links(net)):
        rtnl.delete_link(net, name)  # it is not up, or nobody would have asked: what is behind it is unknown
    if len(order.links) > 1:
        further_links.remove(net, order.uid)
    with netns.path_of(namespace_of(prefix, order.uid)).open() as handle:
        rtnl.add_veth(
            net,
            name,
            mac=router_mac(order.uid),
            group=device_group_of(order.domain),
            peer=INSIDE,
            peer_mac=inside_mac(order.uid) if order.machine is None else port_mac(order.uid),
            peer_namespace=handle.fileno(),
        )
    if order.machine is None:
        _furnish(prefix, order)
    else:
        guests.furnish(prefix, order)
    index = next(link.index for link in rtnl.links(net) if link.name == name)
    with contextlib.suppress(FileNotFoundError):  # a kernel without IPv6
        Path(f"/proc/sys/net/ipv6/conf/{name}/accept_dad").write_text("0")
    for address in (*order.links[0].addresses, *known):
        rtnl.add_address(net, index, address.gateway, address.gateway.max_prefixlen - 1)
    links.fit(net, prefix, order)
    rtnl.set_up(net, index)


def set_external_routes(net: Netlink, index: int, order: InstanceOrder) -> None:
    """External addresses go straight to their one instance."""
    for address in order.links[0].addresses:
        if address.external is not None:
            rtnl.set_route(net, ip_network(address.external), ROUTE_PROTOCOL, gateway=address.private, interface=index)
    for beside in order.beside:
        if (private := order.private(beside.version)) is not None:
            rtnl.set_route(net, ip_network(beside), ROUTE_PROTOCOL, gateway=private, interface=index)


def _furnish(prefix: str, order: InstanceOrder) -> None:
    with netns.inside(namespace_of(prefix, order.uid)), Netlink() as inside:
        by_name = {link.name: link.index for link in rtnl.links(inside)}
        loopback, wire = by_name["lo"], by_name[INSIDE]
        if order.links[0].of(6) is None:
            _write({f"net.ipv6.conf.{INSIDE}.disable_ipv6": "1"})  # before it is up: not even a link-local address
        rtnl.set_up(inside, loopback)
        for own in own_addresses(order):
            rtnl.add_address(inside, loopback, own, own.max_prefixlen)
        for address in order.links[0].addresses:
            if address.vpc is not None:  # first: it is what programs that ask for their address are to find
                rtnl.add_address(inside, wire, address.vpc, address.vpc.max_prefixlen)
            rtnl.add_address(inside, wire, address.private, address.private.max_prefixlen - 1)
        rtnl.set_up(inside, wire)
        for reached, address, source in ways_out(order):
            rtnl.set_route(inside, reached, ROUTE_PROTOCOL, gateway=address.gateway, interface=wire, source=source)


def ways_out(order: InstanceOrder) -> Iterator[tuple[Prefix, LinkAddress, Address]]:
    """Where an instance's routes lead, over which addresses of its link, and what it speaks from by them first."""
    first = order.links[0]
    for address in first.addresses:
        everywhere = ip_network("0.0.0.0/0" if address.private.version == 4 else "::/0")
        yield everywhere, address, address.external or address.private
        # asked from the private address: of two incarnations only one gets what comes for the external one
        yield ip_network(RESOLVER4 if address.private.version == 4 else RESOLVER6), address, address.private
    for subnet in first.reach:
        inside = first.of(subnet.version)
        if inside is not None and inside.vpc is not None:
            yield subnet, inside, inside.vpc


def own_addresses(order: InstanceOrder) -> list[Address]:
    """External and anycast addresses: those that stand on the instance's loopback."""
    return [*order.externals(), *order.anycast]


def _share_folder() -> None:
    """/run/netns as a shared mount, so that a namespace named later is seen in every mount namespace (what `ip netns
    add` does too).
    """
    netns.RUN.mkdir(parents=True, exist_ok=True)
    folder = bytes(netns.RUN)
    if _libc.mount(b"", folder, b"none", _SHARED | _REC, None) != 0:
        _check(_libc.mount(folder, folder, b"none", _BIND | _REC, None), "mount /run/netns")
        _check(_libc.mount(b"", folder, b"none", _SHARED | _REC, None), "share /run/netns")


def _check(code: int, what: str) -> None:
    if code != 0:
        number = ctypes.get_errno()
        raise WorldError(what, os.strerror(number))
