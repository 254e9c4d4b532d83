"""ICMP echoes as octets (RFC 792, RFC 4443), and the keyed ones by which catchments are measured. Pure.

In: what to ask, or what came. Out: octets, or what they say. An answer that counts carries a token of a key that only
control and the agents of one measurement know, made for the very address that answers: who was not asked cannot answer,
nor in somebody else's name.
"""

import hmac
import struct
from hashlib import sha256
from ipaddress import IPv4Address, IPv6Address

from anypop.model.announce import Address

HEAD = struct.Struct(">BBHHH")  # type, code, checksum, identifier, sequence
ASKS, SAYS = {4: 8, 6: 128}, {4: 0, 6: 129}
ICMP = {4: 1, 6: 58}  # protocol numbers
_TOKEN = 16


def request(version: int, identifier: int, payload: bytes) -> bytes:
    """An echo request. Of IPv6 the kernel reckons the checksum."""
    head = HEAD.pack(ASKS[version], 0, 0, identifier, 1)
    total = checksum(head + payload) if version == 4 else 0
    return HEAD.pack(ASKS[version], 0, total, identifier, 1) + payload


def answer(message: bytes, version: int) -> tuple[int, bytes] | None:
    """The identifier and the payload of an echo reply; None: it is none."""
    if len(message) < HEAD.size:
        return None
    kind, _, _, identifier, _ = HEAD.unpack_from(message)
    return (identifier, message[HEAD.size :]) if kind == SAYS[version] else None


def identifier_of(key: bytes) -> int:
    """Of all echoes of one measurement, so that the kernel can pick them out."""
    return int.from_bytes(sha256(key).digest()[:2])


def token(key: bytes, target: Address) -> bytes:
    """What an echo to `target` carries."""
    return hmac.digest(key, target.packed, "sha256")[:_TOKEN]


def answers_from(packet: bytes, key: bytes, source: Address) -> Address | None:
    """Who answers with this packet, which begins with its IP header, to `source`; None: it is no answer that counts."""
    version = source.version
    if version == 4:
        if len(packet) < 20 or packet[16:20] != source.packed:
            return None
        sender: Address = IPv4Address(packet[12:16])
        message = packet[(packet[0] & 0xF) * 4 :]
    else:
        if len(packet) < 40 or packet[24:40] != source.packed:
            return None
        sender, message = IPv6Address(packet[8:24]), packet[40:]
    told = answer(message, version)
    if told is None or told[0] != identifier_of(key) or not hmac.compare_digest(told[1][:_TOKEN], token(key, sender)):
        return None
    return sender


def checksum(data: bytes) -> int:
    """RFC 1071."""
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
