"""New flows by member, as this kernel counts them: of UDP that is tracked, and of UDP that is not, as where several
hosts serve an address.
"""

import asyncio
import socket
from collections.abc import Iterator

import pytest

from anypop.agent.act.network import traffic
from anypop.agent.act.network.netlink import NETFILTER, Netlink
from anypop.agent.naming import device_group_of, link_of, traffic_table
from anypop.host import ip, netns, process
from tests.drain_lab import BOTH, CLIENT, PREFIX, ROUTER, wired

ONE = BOTH[0]
TRACKED, UNTRACKED = 7, 9
# as the firewall has it for addresses that another host answers for too
RULES = f"""table inet t {{
	chain raw {{
		type filter hook prerouting priority raw
		udp dport {UNTRACKED} notrack
	}}
}}
"""


@pytest.fixture(scope="module")
def place() -> Iterator[None]:
    with wired():
        ip.batch([f"link set {link_of(ONE.uid)} group {device_group_of('')}"], netns=ROUTER)
        process.run(netns.command(ROUTER, "nft", "-f", "-"), stdin=RULES)
        with netns.inside(ROUTER):
            asyncio.run(traffic.keep(PREFIX))
        yield


def led(version: int) -> traffic.Led:
    with netns.inside(ROUTER), Netlink(NETFILTER) as net:
        return traffic.read(net, PREFIX).get((link_of(ONE.uid), ONE.private(version)), traffic.Led())


def send(version: int, port: int, *, flows: int, packets: int) -> traffic.Led:
    """What was led to the member of it: so many datagrams, one flow after the other, and then once more around."""
    before = led(version)
    with netns.inside(CLIENT):
        family = socket.AF_INET if version == 4 else socket.AF_INET6
        sockets = [socket.socket(family, socket.SOCK_DGRAM) for _ in range(flows)]
    for _ in range(packets):
        for sock in sockets:
            sock.sendto(b"x", (str(ONE.private(version)), port))
    for sock in sockets:
        sock.close()
    after = led(version)
    return traffic.Led(*(new - old for new, old in zip(after, before, strict=True)))


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("port", [TRACKED, UNTRACKED], ids=["tracked", "not tracked"])
def test_each_flow_of_udp_is_counted_once(place: None, version: int, port: int) -> None:
    """However many packets it has, and whoever remembers it."""
    found = send(version, port, flows=20, packets=3)
    assert (found.packets, found.flows) == (60, 20)


def test_a_flow_that_is_not_tracked_is_forgotten_by_itself(place: None) -> None:
    """So that strangers fill no memory for good; and a table that is whole stays with all that it has counted."""
    send(4, UNTRACKED, flows=5, packets=1)
    listed = process.run(netns.command(ROUTER, "nft", "list", "set", "inet", traffic_table(PREFIX), "talks4"))
    assert listed.count(f"timeout {traffic.TALK_S}s expires ") >= 5
    before = led(4)
    with netns.inside(ROUTER):
        asyncio.run(traffic.keep(PREFIX))
    assert led(4) == before and before.flows


def test_where_no_more_can_be_remembered_flows_are_not_counted_and_packets_are(
    place: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too few is told rather than too many: a flow of a hundred packets is never a hundred flows."""
    monkeypatch.setattr(traffic, "MOST_TALKS", 8)
    process.run(netns.command(ROUTER, "nft", "-f", "-"), stdin=traffic.script(traffic_table(PREFIX)))
    found = send(4, UNTRACKED, flows=20, packets=3)
    assert found.packets == 60 and 0 < found.flows <= 8


def test_as_long_as_no_packet_has_passed_nothing_is_new(place: None) -> None:
    """One number tells so for all places: it moves with each packet of either family that is counted; without a table
    there is none.
    """

    def passed(prefix: str = PREFIX) -> int | None:
        with netns.inside(ROUTER), Netlink(NETFILTER) as net:
            return traffic.passed(net, prefix)

    before = passed()
    assert before is not None and passed("none") is None
    for version, port in ((4, TRACKED), (6, UNTRACKED)):
        now = passed()
        assert now is not None and passed() == now
        assert send(version, port, flows=4, packets=2).packets == 8
        assert passed() == now + 8
