"""Next hops that lead to other hosts by the tunnel, and their numbers.

In: a netlink socket, the tunnel's device, a host's end of the tunnels. Out: the id of a next hop, made where it was
missing. What a next hop leads to is told by the kernel itself (the target of its encapsulation), so numbers need not be
remembered.
"""

import zlib
from collections.abc import Mapping
from ipaddress import IPv4Address

from anypop.agent.act.network import rtnl
from anypop.agent.act.network.netlink import Netlink
from anypop.agent.naming import ROUTE_PROTOCOL, TUNNEL_NUMBER

_HOPS, _TWIN, _MASK = 0x3000_0000, 0x0800_0000, 0x03FF_FFFF


def number(known: Mapping[int, rtnl.NextHop], target: IPv4Address, version: int, *, twin: bool = False) -> int:
    """The id of the next hop to `target`, there or not; from its hash, or the next free one. `twin`: of the second one,
    see `hop_numbers.twin_number`.
    """
    place = zlib.crc32(target.packed) & _MASK
    while True:
        found = _HOPS | (_TWIN if twin else 0) | place << 1 | (version == 6)
        there = known.get(found)
        if there is None or there.target == target:
            return found
        place = (place + 1) & _MASK


def have(
    net: Netlink, known: dict[int, rtnl.NextHop], target: IPv4Address, version: int, *, device: int,
    source: IPv4Address, twin: bool = False,
) -> int:  # fmt: skip
    """The same, and it is there as it must be. Added to `known`."""
    found = number(known, target, version, twin=twin)
    there = known.get(found)
    if there is None or there.interface != device or there.source != source:
        rtnl.set_tunnel_hop(
            net, found, interface=device, version=version, source=source, target=target, tunnel=TUNNEL_NUMBER,
            protocol=ROUTE_PROTOCOL,
        )  # fmt: skip
        known[found] = rtnl.NextHop(id=found, interface=device, target=target, source=source, version=version)
    return found


def is_tunnel_hop(hop: rtnl.NextHop) -> bool:
    """Whether it is one of these, and not one to gateways."""
    return hop.target is not None and hop.id >= _HOPS
