"""The flows that the router's connection tracking knows of an instance whose sockets are not ours to see: those of a
virtual machine are in its guest (nfnetlink_conntrack; linux/netfilter/nfnetlink_conntrack.h).

In: addresses, and the number of the instance's link. Out: flows that somebody opened to these addresses and that have
not ended, as `sockets` tells them. A flow to an anycast address has the link's number as its mark (`error_rules`); a
public address leads to one incarnation at a time, and its flows have none. What came by a tunnel is not tracked: of
that only what passes while it is pinned is known.
"""

import socket
import struct
from collections.abc import Collection, Iterator
from ipaddress import ip_address

from anypop.agent.act.network import netlink as nl
from anypop.agent.act.network.netlink import Netlink
from anypop.agent.act.network.sockets import Connection
from anypop.model.announce import Address

_GET = 1 << 8 | 1  # NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_GET
_HEADER = struct.Struct(">BBH")
_ORIGINAL, _PROTOCOL_INFO, _MARK = 1, 4, 8  # CTA_TUPLE_ORIG, CTA_PROTOINFO, CTA_MARK
_IP, _PROTOCOL = 1, 2  # of a tuple
_SOURCE, _TARGET = {4: 1, 6: 3}, {4: 2, 6: 4}  # CTA_IP_V4_SRC and so on
_NUMBER, _SOURCE_PORT, _TARGET_PORT = 1, 2, 3
_TCP_INFO = _STATE = 1
_OPEN = range(2, 7)  # from the answer to the SYN to the last acknowledgement (TCP_CONNTRACK_SYN_RECV to LAST_ACK)
_SAID_ALL = range(5, 7)
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}


def flows(net: Netlink, addresses: Collection[Address], link: int) -> list[Connection]:
    """Those to `addresses` that are open. `net`: speaks NETFILTER in the router's namespace; `link`: the number of the
    instance's link there.
    """
    wanted = frozenset(addresses)
    found = list[Connection]()
    for version in sorted({address.version for address in wanted}):
        dump = net.dump("list tracked connections", _GET, _HEADER.pack(_FAMILIES[version], 0, 0))
        found += [one for payload in dump for one in _flow(nl.attributes(payload[_HEADER.size :]), version, link)]
    return [one for one in found if one.local in wanted]


def _flow(told: dict[int, bytes], version: int, link: int) -> Iterator[Connection]:
    mark = int.from_bytes(told.get(_MARK, b""), "big")
    if mark not in (0, link):
        return
    pair = nl.attributes(told.get(_ORIGINAL, b""))
    ends, protocol = nl.attributes(pair.get(_IP, b"")), nl.attributes(pair.get(_PROTOCOL, b""))
    if _TARGET[version] not in ends or _TARGET_PORT not in protocol:
        return
    number = protocol[_NUMBER][0]
    if number not in (socket.IPPROTO_TCP, socket.IPPROTO_UDP):
        return
    info = nl.attributes(nl.attributes(told.get(_PROTOCOL_INFO, b"")).get(_TCP_INFO, b""))
    state = info.get(_STATE, b"\0")[0]
    is_udp = number == socket.IPPROTO_UDP
    if not is_udp and state not in _OPEN:
        return
    yield Connection(
        udp=is_udp, local=ip_address(ends[_TARGET[version]]), local_port=int.from_bytes(protocol[_TARGET_PORT], "big"),
        peer=ip_address(ends[_SOURCE[version]]), peer_port=int.from_bytes(protocol[_SOURCE_PORT], "big"),
        inbound=True, said_all=not is_udp and state in _SAID_ALL, pending=True,
    )  # fmt: skip
