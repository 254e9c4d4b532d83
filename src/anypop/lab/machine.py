"""Namespaces and links of a lab on this machine: what of a plan is missing, and making just that.

Between the plan and the daemons (`build` calls it). It works by what is there, so it finishes what a killed `up` began
and repairs what somebody took away. Few processes: one `ip -batch` for the namespaces, one for the veth pairs, one in
each namespace that lacks something.
"""

import contextlib
import os
import socket
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from anypop.host import ip, netns
from anypop.lab.address import End, LabPlan, Link, Role
from anypop.lab.topology import MTU
from anypop.model.errors import WorldError
from anypop.model.network import Upstream

T = TypeVar("T")
R = TypeVar("R")

BRIDGE = "br0"
LAST_METRIC = 100_000  # behind BGP's routes in the kernel, which have a thousand
# Before any interface exists, so that each is born with them. IPv6 addresses count at once (no duplicate address
# detection: the plan is without duplicates), routers forward, and a packet may leave by another way than it came.
_SYSCTLS = {
    "net/ipv4/ip_forward": "1",
    "net/ipv4/conf/all/rp_filter": "0",
    "net/ipv4/conf/default/rp_filter": "0",
    # a cable that is out at its far end takes its routes along, as it does at a router
    "net/ipv4/conf/all/ignore_routes_with_linkdown": "1",
    "net/ipv4/conf/default/ignore_routes_with_linkdown": "1",
    "net/ipv6/conf/all/ignore_routes_with_linkdown": "1",
    "net/ipv6/conf/default/ignore_routes_with_linkdown": "1",
    "net/ipv6/conf/all/disable_ipv6": "0",
    "net/ipv6/conf/default/disable_ipv6": "0",
    "net/ipv6/conf/default/accept_dad": "0",
    "net/ipv6/conf/default/dad_transmits": "0",
    "net/ipv6/conf/default/accept_ra": "0",
    "net/ipv6/conf/default/router_solicitations": "0",
    "net/ipv6/conf/default/addr_gen_mode": "0",
    "net/ipv6/conf/all/forwarding": "1",
    "net/ipv4/fib_multipath_hash_fields": "55",
    "net/ipv6/fib_multipath_hash_fields": "55",
    "net/ipv4/fib_multipath_hash_policy": "3",
    "net/ipv6/fib_multipath_hash_policy": "3",
}


def in_parallel(work: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """`work` of each item, in threads of their own: for waiting on programs and for entering namespaces."""
    with ThreadPoolExecutor(max_workers=2 * (os.cpu_count() or 1)) as pool:
        return list(pool.map(work, items))


def interfaces(namespace: str) -> frozenset[str] | None:
    """The names of its interfaces; None where there is no such namespace (or only the file that was to become one)."""
    if not netns.exists(namespace):
        return None
    try:
        with netns.inside(namespace):
            return frozenset(name for _, name in socket.if_nameindex())
    except WorldError:
        return None


def missing(plan: LabPlan) -> dict[str, frozenset[str]]:
    """For each namespace of the plan that is not whole: the interfaces it lacks."""
    wanted: dict[str, set[str]] = {name: {"lo"} for name in plan.namespaces()}
    wanted[plan.management].add(BRIDGE)
    for link in plan.links:
        for end in (link.a, link.b):
            wanted[end.netns].add(end.interface)
    there = dict(zip(wanted, in_parallel(interfaces, wanted), strict=True))
    return {
        name: frozenset(wanted[name] - (there[name] or frozenset()))
        for name in wanted
        if (there[name] or frozenset()) < wanted[name]
    }


def make(plan: LabPlan) -> bool:
    """Make what is missing. True when there was something to make."""
    lacking = missing(plan)
    if not lacking:
        return False
    born = [name for name, interfaces in lacking.items() if "lo" in interfaces]
    # half made by an `up` that was killed
    ip.batch([f"netns del {name}" for name in born if netns.exists(name)], force=True)
    ip.batch(f"netns add {name}" for name in born)
    in_parallel(_prepare, born)
    ip.batch(_pair(link) for link in plan.links if not link.wired and link.a.interface in lacking.get(link.a.netns, ()))
    touched = set(lacking) | {
        far.netns for name in lacking for _, own, far in plan.links_of(name) if own.interface in lacking[name]
    }
    in_parallel(
        lambda name: ip.batch(_settings(plan, name, lacking.get(name, frozenset())), netns=name), sorted(touched)
    )
    return True


def resize(plan: LabPlan, before: LabPlan) -> None:
    """Give links that stand the MTU that they have in `plan`, where it was another one `before`."""
    was = {(link.a.netns, link.a.interface): link.mtu for link in before.links}
    for link in plan.links:
        if was.get((link.a.netns, link.a.interface), link.mtu) != link.mtu:
            for end in (link.a, link.b):
                ip.batch([_sized(end, link)], netns=end.netns)


def _sized(end: End, link: Link) -> str:
    return f"link set {end.interface} mtu {link.mtu}"


def remove(names: Iterable[str]) -> None:
    """Delete namespaces; their interfaces go with them. Those that are gone already are no matter."""
    ip.batch([f"netns del {name}" for name in names], force=True)


def _prepare(name: str) -> None:
    with netns.inside(name):
        for key, value in _SYSCTLS.items():
            with contextlib.suppress(FileNotFoundError):  # a kernel without IPv6 or without one of these
                Path("/proc/sys", key).write_text(value)


def _pair(link: Link) -> str:
    a, b = link.a, link.b
    macs = (f" address {a.mac}", f" address {b.mac}") if a.mac else ("", "")
    return f"link add {a.interface} netns {a.netns}{macs[0]} type veth peer name {b.interface} netns {b.netns}{macs[1]}"


def _settings(plan: LabPlan, name: str, lacking: frozenset[str]) -> list[str]:
    """Everything about one namespace but its veth pairs, in lines that may be run again."""
    lines = ["link set lo up"]
    if name == plan.management:
        if BRIDGE in lacking:
            lines.append(f"link add {BRIDGE} type bridge")
        lines += [f"addr replace {plan.control_address} dev {BRIDGE}", f"link set {BRIDGE} up"]
    for router in plan.routers:
        if router.netns == name:
            lines += [f"addr replace {router.loopback4}/32 dev lo", f"addr replace {router.loopback6}/128 dev lo"]
    for link, own, far in plan.links_of(name):
        if link.wired and own.interface in lacking:
            lines += [f"tuntap add dev {own.interface} mode tap", f"link set {own.interface} address {own.mac}"]
        lines += [f"addr replace {address} dev {own.interface}" for address in own.addresses]
        if link.role is Role.MANAGEMENT and name == plan.management:
            lines.append(f"link set {own.interface} master {BRIDGE}")
        if link.mtu != MTU:
            lines.append(_sized(own, link))
        lines.append(f"link set {own.interface} up")
        lines += _neighbours(own, far)
    for site in plan.sites:
        if site.netns == name:
            lines += _last_resorts(site.upstreams)
        elif site.edge is not None:
            lines += [
                line for place in site.hosts if place.netns == name for line in _last_resorts(place.host.upstreams)
            ]
    for host in plan.vantages:
        if host.netns == name:
            lines += [f"route replace default via {gateway}" for gateway in (host.gateway4, host.gateway6)]
    return lines


def _last_resorts(upstreams: Iterable[Upstream]) -> list[str]:
    """A PoP's or a host's default routes, as a hosting provider sets them, behind all that BGP tells: answers find a
    way out in the moment between a session's return and its first routes, and tunnels between hosts find one always.
    The first upstream's counts while its link is up, then the next one's.
    """
    return [
        f"route replace default via {address} dev {upstream.interface} metric {LAST_METRIC + number}"
        for number, upstream in enumerate(upstreams)
        for address in (upstream.neighbor4, upstream.neighbor6)
        if address is not None
    ]


def _neighbours(own: End, far: End) -> list[str]:
    """The far end's hardware address, for good: no question over a long link before the first packet, and no share in
    the kernel's table of 1024 learnt neighbours, which all namespaces of the machine have in common.
    """
    if not far.mac:
        return []
    addresses = [text.partition("/")[0] for text in far.addresses] + [str(far.link_local)]
    return [f"neigh replace {address} lladdr {far.mac} dev {own.interface} nud permanent" for address in addresses]
