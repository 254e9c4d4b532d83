"""The rules for newcomers in a real kernel, without an agent: which flows go beside the buckets, and that they stay
where they are while rules come and go. By TCP and UDP, in both families.
"""

import asyncio
import socket
from collections import Counter
from collections.abc import Iterator

import pytest

from anypop.agent.act.network import newcomer_ways, newcomers
from anypop.agent.act.network.netlink import Netlink
from anypop.agent.decide.elements import Entry, Joining
from anypop.agent.naming import AWAY_MARK, NEWCOMER_SLOTS
from anypop.host import process
from tests.drain_lab import ANYCAST, BOTH, CLIENT, PORT, PREFIX, Client, balance, fresh, made_in, serving, wired

pytestmark = pytest.mark.lab
SLOT = NEWCOMER_SLOTS.start
EACH = 60  # a half of them is 30, give or take 4
OLD, NEW = BOTH


@pytest.fixture(scope="module")
def place() -> Iterator[None]:
    with wired():
        yield


@pytest.fixture
def net(place: None) -> Iterator[Netlink]:
    """One instance has all buckets, the other a way."""
    with fresh() as net:
        balance(net, OLD)
        for v in (4, 6):
            newcomer_ways.lead(net, ANYCAST[v], SLOT, NEW.hop(v))
        yield net
        newcomers.remove(net, PREFIX)


async def load(net: Netlink, part: int, *, learns: bool = False) -> None:
    parts = ((SLOT, part),) if part else ()
    both = (
        Joining(address=a, entry=Entry.CLIENTS, slots=(SLOT,), parts=parts, learns=learns) for a in ANYCAST.values()
    )
    await newcomers.load(net, tuple(both), PREFIX)


class Talk:
    """A flow of UDP: the same ports each time."""

    def __init__(self, version: int) -> None:
        self.sock = made_in(CLIENT, socket.AF_INET if version == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
        self.there = (str(ANYCAST[version]), PORT)

    async def ask(self) -> str:
        loop = asyncio.get_running_loop()
        await loop.sock_sendto(self.sock, b"who", self.there)
        async with asyncio.timeout(3):
            return (await loop.sock_recv(self.sock, 100)).decode()


@pytest.mark.parametrize("version", [4, 6])
def test_a_half_goes_to_the_newcomer_and_stays_there(net: Netlink, version: int) -> None:
    """Of new flows alone; when none is to go there any more those that do go on, until the way is taken away."""

    async def scenario() -> None:
        async with serving(old=OLD.space, new=NEW.space):
            stood = [await Client(ANYCAST[version]).open() for _ in range(10)]
            early = Talk(version)
            assert await early.ask() == "old"
            await load(net, 5000, learns=True)
            assert await early.ask() == "old", "who is not known is taken for an old one, by UDP"
            learnt = [Talk(version) for _ in range(EACH)]
            assert {await talk.ask() for talk in learnt} == {"old"}
            await load(net, 5000)
            flows = [await Client(ANYCAST[version]).open() for _ in range(EACH)]
            talks = [Talk(version) for _ in range(EACH)]
            names = [await talk.ask() for talk in talks]
            for found in (Counter(flow.server for flow in flows), Counter(names)):
                assert EACH / 4 <= found["new"] <= 3 * EACH / 4, found
            assert await early.ask() == "old"
            assert newcomers.remembered(PREFIX) == {(a, SLOT): a.version == version for a in ANYCAST.values()}
            for part in (9000, 0):
                await load(net, part)
                assert [await talk.ask() for talk in talks] == names, part
                assert all([await flow.is_whole() for flow in (*stood, *flows)]), part
            last = [await Client(ANYCAST[version]).open() for _ in range(20)]
            assert {flow.server for flow in last} == {"old"}
            newcomer_ways.drop(net, ANYCAST[version], SLOT)
            broken = [flow for flow in (*stood, *flows) if not await flow.is_whole()]
            assert {flow.server for flow in broken} == {"new"}, "it was the way that led them"
            for sock in (flow.sock for flow in (*stood, *flows, *last)):
                sock.close()
            for sock in (talk.sock for talk in (early, *learnt, *talks)):
                sock.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("version", [4, 6])
def test_what_was_learnt_before_the_newcomer_came_stays(net: Netlink, version: int) -> None:
    """Of UDP, while nobody had a way yet; whoever speaks first when the newcomer is there is new."""

    async def scenario() -> None:
        async with serving(old=OLD.space, new=NEW.space):
            await newcomers.load(net, (Joining(address=ANYCAST[version], entry=Entry.CLIENTS, learns=True),), PREFIX)
            stood, talk, late = await Client(ANYCAST[version]).open(), Talk(version), Talk(version)
            assert (stood.server, await talk.ask()) == ("old", "old")
            await load(net, 10_000)
            assert (await talk.ask(), await late.ask()) == ("old", "new")
            assert await stood.is_whole()
            for sock in (stood.sock, talk.sock, late.sock):
                sock.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("version", [4, 6])
def test_of_what_leaves_by_a_dial_the_newcomer_gets_its_part(net: Netlink, version: int) -> None:
    """Here the clients' ports say what leaves: of that a half goes to the newcomer among the takers, and stays there;
    of the rest nothing.
    """
    leaves = f"tcp sport >= 50000 meta mark set meta mark & 0x00ffffff | {AWAY_MARK:#010x}"
    dial = f"table inet dial {{ chain c {{ type filter hook prerouting priority dstnat - 5; {leaves}; }}; }}"

    async def opened(first: int) -> list[Client]:
        return [await Client(ANYCAST[version], port=first + n).open() for n in range(EACH)]

    async def scenario() -> None:
        async with serving(old=OLD.space, new=NEW.space):
            process.run(["nft", dial])
            both = (
                Joining(address=a, entry=Entry.AWAY, slots=(SLOT,), parts=((SLOT, 5000),)) for a in ANYCAST.values()
            )
            await newcomers.load(net, tuple(both), PREFIX)
            gone, kept = await opened(50_000), await opened(45_000)
            assert EACH / 4 <= sum(flow.server == "new" for flow in gone) <= 3 * EACH / 4
            assert {flow.server for flow in kept} == {"old"}
            assert all([await flow.is_whole() for flow in (*gone, *kept)])
            for flow in (*gone, *kept):
                flow.sock.close()

    try:
        asyncio.run(scenario())
    finally:
        process.run(["nft", "delete table inet dial"])


@pytest.mark.parametrize("version", [4, 6])
def test_the_port_of_an_ended_connection_leads_nobody_to_one_that_leaves(net: Netlink, version: int) -> None:
    """Who gets no new flows may be leaving: a connection from a port that it served before is new like any other. Where
    it gets them, the next one from there goes where that one went; and what has not ended stays in any case.
    """
    ports = (41001, 41002, 41003)

    async def scenario() -> None:
        async with serving(old=OLD.space, new=NEW.space):
            await load(net, 10_000)
            stays, again, leaves = [await Client(ANYCAST[version], port=port).open() for port in ports]
            await again.end()
            await leaves.end()
            again = await Client(ANYCAST[version], port=ports[1]).open()
            await load(net, 0)
            later = await Client(ANYCAST[version], port=ports[2]).open()
            assert [c.server for c in (stays, again, leaves, later)] == ["new", "new", "new", "old"]
            assert all([await flow.is_whole() for flow in (stays, again, later)])
            for flow in (stays, again, later):
                await flow.end()
            last = [await Client(ANYCAST[version], port=port).open() for port in ports]
            assert {flow.server for flow in last} == {"old"}
            for flow in last:
                flow.sock.close()

    asyncio.run(scenario())


def test_what_was_loaded_is_known_again_and_goes_without_a_trace(net: Netlink) -> None:
    """Also a rule or a chain that somebody has taken away is missed."""

    async def scenario() -> None:
        await load(net, 5000)
        both = tuple(
            Joining(address=a, entry=Entry.CLIENTS, slots=(SLOT,), parts=((SLOT, 5000),)) for a in ANYCAST.values()
        )
        assert await newcomers.holds(net, both, PREFIX)
        assert not await newcomers.holds(net, both[:1], PREFIX)
        newcomer_ways.unrule(net, SLOT)
        assert not await newcomers.holds(net, both, PREFIX)
        await newcomers.load(net, (), PREFIX)
        assert await newcomers.holds(net, (), PREFIX)

    asyncio.run(scenario())
    assert not newcomers.is_there(PREFIX)
    assert newcomer_ways.ruled(net) == []
    assert newcomers.remembered(PREFIX) == {}
