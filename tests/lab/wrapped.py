"""Packets wrapped as a tunnel between hosts wraps them, sent by anybody, for lab tests of what hosts let in."""

import socket
import struct
import time
from contextlib import closing, suppress
from ipaddress import IPv4Address

from anypop.agent.naming import TUNNEL_NUMBER, namespace_of
from anypop.host import netns
from anypop.model.announce import Address
from anypop.model.order import InstanceOrder
from tests.backbone_lab import BackboneLab, Host


class Wire:
    """An instance's end of its links, to see what arrives for an address out of wrapped packets."""

    def __init__(self, lab: BackboneLab, host: Host, instance: InstanceOrder, target: Address) -> None:
        self._lab, self._host, self._target, self._sent = lab, host, IPv4Address(str(target)), 0
        with netns.inside(namespace_of(host.prefix, instance.uid)):
            self._wire = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.ntohs(3))

    def __enter__(self) -> "Wire":
        return self

    def __exit__(self, *_: object) -> None:
        self._wire.close()

    def takes(
        self, source: IPv4Address, inner: IPv4Address, *, number: int = TUNNEL_NUMBER, within_s: float = 3
    ) -> bool:
        """Whether a packet from `inner` arrives that `source` has wrapped. `number`: of the tunnel."""
        self._sent += 1
        token = b"forged %d;" % self._sent
        echo = struct.pack(">BBHHH", 8, 0, 0, 1, 1) + token
        packet = packet_of(inner, self._target, socket.IPPROTO_ICMP, echo)
        wrapped = struct.pack(">BBBB", 0x0C, 0, 0, 1) + (number << 8).to_bytes(4, "big") + packet
        datagram = struct.pack(">HHHH", 4000, 4790, 8 + len(wrapped), 0) + wrapped
        outer = packet_of(source, self._host.address, socket.IPPROTO_UDP, datagram)
        raw = (socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        with netns.inside(self._lab.core), closing(socket.socket(*raw)) as sender:
            sender.sendto(outer, (str(self._host.address), 0))
        return arrives(self._wire, token, within_s=within_s)


def packet_of(source: IPv4Address, target: IPv4Address, protocol: int, data: bytes) -> bytes:
    """An IPv4 packet, its header with a checksum."""
    head = struct.pack(
        ">BBHHHBBH4s4s", 0x45, 0, 20 + len(data), 1, 0, 64, protocol, 0, source.packed, target.packed
    )  # fmt: skip
    total = sum(struct.unpack(">10H", head))
    total = (total >> 16) + (total & 0xFFFF)
    return head[:10] + struct.pack(">H", ~(total + (total >> 16)) & 0xFFFF) + head[12:] + data


def arrives(wire: socket.socket, token: bytes, *, within_s: float) -> bool:
    """Whether a packet with the token comes; others do all the while."""
    end = time.monotonic() + within_s
    while (left := end - time.monotonic()) > 0:
        wire.settimeout(left)
        with suppress(TimeoutError):
            if token in wire.recv(4096):
                return True
    return False
