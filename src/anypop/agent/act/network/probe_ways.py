"""The way of a probe to an address over one link, whatever other routes there are to it, and before there is any.

In: a link, the address, the private address behind the link. Out: a route in a table of its own, which sockets with the
probes' mark look into; of several routes to an address the kernel takes the one over the interface that the socket is
bound to. Routes go with their links: what went with one that was made anew, or was taken away by somebody, is made
again after a question has failed, so one that is answered costs no look at links.
"""

import socket
from ipaddress import ip_network

from anypop.agent.act.network import rtnl
from anypop.agent.act.network.netlink import Netlink
from anypop.agent.act.network.rtnl import MarkRule
from anypop.agent.naming import PROBE_MARK, PROBE_PREFERENCE, PROBE_PROTOCOL, PROBE_TABLE
from anypop.model.announce import Address

_EVERY_BIT = 0xFFFF_FFFF


class ProbeWays:
    """Those of the network namespace of `net`."""

    def __init__(self, net: Netlink) -> None:
        self._net = net
        self._open: set[tuple[str, Address]] = set()
        self._ruled: set[int] = set()

    def open(self, link: str, address: Address, via: Address) -> None:
        """Have the way. OSError where there is no such link."""
        if address == via or (link, address) in self._open:
            return  # the link itself leads there, or a route does
        index = socket.if_nametoindex(link)
        if address.version not in self._ruled:
            rtnl.add_mark_rule(self._net, rule(address.version))
            self._ruled.add(address.version)
        rtnl.set_route(
            self._net,
            ip_network(address),
            PROBE_PROTOCOL,
            gateway=via,
            interface=index,
            metric=index,
            table=PROBE_TABLE,
        )
        self._open.add((link, address))

    def doubt(self, link: str, address: Address) -> None:
        """Perhaps somebody has taken it away."""
        self._open.discard((link, address))
        self._ruled.discard(address.version)


def rule(version: int) -> MarkRule:
    return MarkRule(
        version=version,
        preference=PROBE_PREFERENCE,
        table=PROBE_TABLE,
        mark=PROBE_MARK,
        mask=_EVERY_BIT,
        protocol=PROBE_PROTOCOL,
    )


def close_all(net: Netlink) -> None:
    """Take rules and routes away. Harmless when there are none."""
    for version in (4, 6):
        rtnl.delete_mark_rule(net, rule(version))
    for route in rtnl.routes(net, PROBE_PROTOCOL, PROBE_TABLE):
        rtnl.delete_route(net, route.prefix, PROBE_PROTOCOL, route.metric, PROBE_TABLE)
