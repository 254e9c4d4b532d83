"""Catchments measured with pings, on a real kernel: who was asked and answers is heard, whoever forges is not."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest

from anypop.agent.act.network import pings, rtnl
from anypop.agent.act.network.netlink import Netlink
from anypop.agent.decide import echo
from anypop.agent.naming import LEARNT_TABLE, PING_MARK, ROUTE_PROTOCOL
from anypop.agent.observe.echoes import Echoes
from anypop.host import ip, netns
from anypop.model.announce import Address
from tests.wait import wait_until

NAME = f"e{os.getpid() % 46656:x}"
HOST, OTHER = f"{NAME}-host", f"{NAME}-other"
KEY = bytes(range(16))
SOURCE: dict[int, Address] = {4: IPv4Address("192.0.2.1"), 6: IPv6Address("2001:db8:a::1")}
THERE: dict[int, list[Address]] = {
    4: [IPv4Address("198.51.100.1"), IPv4Address("198.51.100.2")],
    6: [IPv6Address("2001:db8:b::1"), IPv6Address("2001:db8:b::2")],
}
SILENT: dict[int, Address] = {4: IPv4Address("198.51.100.9"), 6: IPv6Address("2001:db8:b::9")}


@pytest.fixture(scope="module")
def place() -> Iterator[None]:
    """A host with one upstream, behind which are some addresses that answer; the way there is in the table of what
    neighbours told, and nowhere else.
    """
    try:
        ip.batch([f"netns add {space}" for space in (HOST, OTHER)])
        for space in (HOST, OTHER):
            with netns.inside(space):
                Path("/proc/sys/net/ipv6/conf/default/accept_dad").write_text("0")
        ip.batch([f"link add up0 netns {HOST} type veth peer name eth0 netns {OTHER}"])
        ip.batch(
            [
                "link set lo up", "addr add 203.0.113.1/31 dev up0", "addr add 2001:db8:c::/127 dev up0 nodad",
                "link set up0 up",
                f"route add 198.51.100.0/24 via 203.0.113.0 table {LEARNT_TABLE}",
                f"route add 2001:db8:b::/48 via 2001:db8:c::1 table {LEARNT_TABLE}",
            ],
            netns=HOST,
        )  # fmt: skip
        ip.batch(
            [
                "link set lo up", "addr add 203.0.113.0/31 dev eth0", "addr add 2001:db8:c::1/127 dev eth0 nodad",
                "link set eth0 up",
                *(f"addr add {a} dev lo {'nodad' if v == 6 else ''}" for v in (4, 6) for a in THERE[v]),
                f"route add {SOURCE[4]} via 203.0.113.1", f"route add {SOURCE[6]} via 2001:db8:c::",
            ],
            netns=OTHER,
        )  # fmt: skip
        with netns.inside(HOST), Netlink() as net:
            for version in (4, 6):
                rule = rtnl.Rule(version=version, preference=32_702, table=LEARNT_TABLE, mark=PING_MARK)
                rtnl.add_rule(net, rule, ROUTE_PROTOCOL)
                assert rule in rtnl.rules(net, ROUTE_PROTOCOL, range(32_700, 32_710))
        yield
    finally:
        ip.batch([f"netns del {space}" for space in (HOST, OTHER)], force=True)


def forged(version: int, source: Address, payload: bytes) -> None:
    """An echo reply with the measurement's number that nobody asked for."""
    message = bytearray(echo.request(version, echo.identifier_of(KEY), payload))
    message[0] = echo.SAYS[version]
    if version == 4:
        message[2:4] = b"\0\0"
        message[2:4] = echo.checksum(bytes(message)).to_bytes(2)
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    with netns.inside(OTHER), socket.socket(family, socket.SOCK_RAW, echo.ICMP[version]) as sock:
        sock.bind((str(source), 0))
        sock.sendto(bytes(message), (str(SOURCE[version]), 0))


@pytest.mark.parametrize("version", [4, 6])
def test_who_was_asked_is_heard_once_and_nobody_who_forges(place: None, version: int) -> None:
    """In each family: no interface has the address that asks. A token is good for its own address and key alone."""
    asked = [*THERE[version][:1], SILENT[version]]

    async def measure() -> tuple[tuple[int, int], tuple[Address, ...]]:
        with contextlib.closing(Echoes(KEY, SOURCE[version], ["up0", "up0"])) as echoes:
            own, other = THERE[version]
            forged(version, other, b"x" * 16)
            forged(version, other, echo.token(KEY, own))
            forged(version, other, echo.token(b"another key", other))
            told = await pings.send(KEY, SOURCE[version], [*asked, *asked], 200)
            await asyncio.to_thread(wait_until, lambda: len(echoes.heard) == 1, timeout_s=10, reason="one answers")
            await pings.send(KEY, SOURCE[version], [other], 200)  # what came before is read by then
            await asyncio.to_thread(wait_until, lambda: other in echoes.heard, timeout_s=10, reason="the other too")
            return told, echoes.heard

    with netns.inside(HOST):
        told, heard = asyncio.run(measure())
    assert told == (4, 0) and heard == tuple(THERE[version])


def test_pings_are_no_faster_than_told_and_what_cannot_be_sent_is_counted(place: None) -> None:
    """Forty a second: nine take at least a fifth of a second. There is no way to some."""

    async def send() -> tuple[tuple[int, int], float]:
        began = asyncio.get_running_loop().time()
        told = await pings.send(KEY, SOURCE[4], [*THERE[4] * 4, IPv4Address("10.0.0.1")], 40)
        return told, asyncio.get_running_loop().time() - began

    with netns.inside(HOST):
        told, took = asyncio.run(send())
    assert told == (8, 1) and took >= 0.2
