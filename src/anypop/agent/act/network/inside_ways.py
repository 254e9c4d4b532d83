"""Inside an instance's namespace: routes to where the gateways of its networks lead, and whether it passes on itself.

In: what `decide.inside` says; the calling thread is in the namespace. Out: routes with a protocol number of their own,
beside those that the namespace was born with, and the kernel's switches; or whether they are so. Both may change under
a process that runs.
"""

import contextlib
from pathlib import Path

from anypop.agent.act.network import rtnl
from anypop.agent.act.network.netlink import Netlink
from anypop.agent.decide.inside import Inside
from anypop.agent.naming import WAYS_PROTOCOL, inside_name

_NET = Path("/proc/sys/net")
_SWITCHES = ("ipv4/ip_forward", "ipv6/conf/all/forwarding")


def are_right(wanted: Inside) -> bool:
    if wanted.passes is not None and any(now != _value(wanted.passes) for now in _switches()):
        return False
    with Netlink() as net:
        names = {link.index: link.name for link in rtnl.links(net)}
        there = {(route.prefix, names.get(route.interface, "")) for route in rtnl.routes(net, WAYS_PROTOCOL)}
    return there == {(way.prefix, inside_name(way.interface)) for way in wanted.ways}


def have(wanted: Inside) -> None:
    """Make it so. What its networks lead to no more goes."""
    if wanted.passes is not None:
        for path in _SWITCHES:
            with contextlib.suppress(FileNotFoundError):  # a kernel without IPv6
                (_NET / path).write_text(_value(wanted.passes))
    with Netlink() as net:
        index = {link.name: link.index for link in rtnl.links(net)}
        kept = {way.prefix for way in wanted.ways}
        for route in rtnl.routes(net, WAYS_PROTOCOL):
            if route.prefix not in kept:
                rtnl.delete_route(net, route.prefix, WAYS_PROTOCOL)
        for way in wanted.ways:
            if (number := index.get(inside_name(way.interface))) is not None:
                rtnl.set_route(
                    net, way.prefix, WAYS_PROTOCOL, gateway=way.gateway, interface=number, source=way.source
                )  # fmt: skip


def _switches() -> list[str]:
    found = []
    for path in _SWITCHES:
        with contextlib.suppress(FileNotFoundError):
            found.append((_NET / path).read_text().strip())
    return found


def _value(passes: bool) -> str:
    return "1" if passes else "0"
