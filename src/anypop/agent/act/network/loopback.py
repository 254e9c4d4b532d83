"""The addresses on `lo` at which a host is asked for names by its instances.

In: nothing. Out: the addresses, there or gone. No route leads to them but inside the host, and only packets of
instances' links are answered there.
"""

import contextlib
import struct

from anypop.agent.act.network import netlink as nl
from anypop.agent.act.network import rtnl
from anypop.agent.act.network.netlink import Netlink
from anypop.agent.naming import RESOLVER4, RESOLVER6
from anypop.model.errors import WorldError

_BOTH = (RESOLVER4, RESOLVER6)
_HEADER = struct.Struct("=BBBBI")


def prepare(net: Netlink) -> None:
    """Have them. Harmless where they are there."""
    there = rtnl.addresses(net)
    for address in _BOTH:
        if address not in there:
            with contextlib.suppress(WorldError):  # a kernel without this family
                rtnl.add_address(net, _index(net), address, address.max_prefixlen)


def remove(net: Netlink) -> None:
    """Take them away. Harmless where there are none."""
    there = rtnl.addresses(net)
    for address in _BOTH:
        if address in there:
            head = _HEADER.pack(rtnl.family_of(address), address.max_prefixlen, 0, 0, _index(net))
            net.change(f"remove address {address}", rtnl.DEL_ADDRESS, 0, head + nl.attribute(2, address.packed))


def _index(net: Netlink) -> int:
    return next(link.index for link in rtnl.links(net) if link.name == "lo")
