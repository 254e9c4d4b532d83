"""Whose connections come in, as this kernel samples them: who completes a connection counts, who forges his address
does not.
"""

import asyncio
import socket
from collections.abc import Iterator
from ipaddress import IPv4Address, ip_address, ip_network

import pytest

from anypop.agent.act.network import sources
from anypop.agent.act.network.netlink import NETFILTER, Netlink
from anypop.agent.act.network.sources import Sample, Seen
from anypop.agent.naming import sources_table
from anypop.agent.observe.sources import SourceSample
from anypop.host import ip, netns, process
from anypop.model.errors import WorldError
from anypop.model.sources import Sources
from tests.drain_lab import ACK, ANYCAST, BOTH, CLIENT, CLIENTS, PORT, PREFIX, PSH, ROUTER, Client, made_in, segment

from tests.drain_lab import fresh, serving, wired  # isort: skip

SYN = 0x02
FORGED = IPv4Address("198.51.103.9")
OURS = {4: ip_network("192.0.2.0/24"), 6: ip_network("2001:db8:a::/48")}
THEIRS = {4: ip_network("203.0.113.0/24"), 6: ip_network("2001:db8:c::/48")}
EVERY = Sample(1, frozenset({"up-c"}), frozenset(OURS.values()))
TABLE = sources_table(PREFIX)


@pytest.fixture(scope="module")
def place() -> Iterator[None]:
    with wired():
        ip.batch([f"addr add {FORGED}/32 dev lo"], netns=CLIENT)
        ip.batch([f"route add {FORGED}/32 via {CLIENTS[4]}"], netns=ROUTER)
        yield


@pytest.fixture(autouse=True)
def inside(place: None) -> Iterator[None]:
    with fresh():
        yield
        sources.end(TABLE)


def seen(sample: Sample = EVERY) -> Seen:
    with Netlink(NETFILTER) as net:
        return {prefix: those for prefix, those in sources.read(net, TABLE, sample).items() if those}


def tables() -> str:
    return process.run(netns.command(ROUTER, "nft", "list", "tables"))


async def ask(*versions: int) -> None:
    for version in versions:
        client = await Client(ANYCAST[version]).open(60)
        await client.end()


async def talk(version: int) -> None:
    """A datagram, and its answer."""
    with made_in(CLIENT, socket.AF_INET if version == 4 else socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        await asyncio.get_running_loop().sock_sendto(sock, b"who", (str(ANYCAST[version]), PORT))
        async with asyncio.timeout(60):
            await asyncio.get_running_loop().sock_recv(sock, 100)


def test_who_completes_a_connection_counts_as_a_network_and_no_finer() -> None:
    """In both families, once however often; what was read is forgotten, and what comes then counts anew."""

    async def story() -> None:
        await sources.keep(TABLE, EVERY)
        async with serving(old=BOTH[0].space, new=BOTH[1].space):
            await ask(4, 6, 4, 6)
            first = seen()
            assert first == {OURS[v]: {THEIRS[v]} for v in (4, 6)}
            with Netlink(NETFILTER) as net:
                sources.forget(net, TABLE, {OURS[4]: first[OURS[4]]})
            assert seen() == {OURS[6]: {THEIRS[6]}}
            await ask(4)
            assert seen() == first
            text = process.run(netns.command(ROUTER, "nft", "list", "table", "inet", TABLE))
            assert str(CLIENTS[4]) not in text and str(CLIENTS[6]) not in text, "no address stays behind its answer"

    asyncio.run(story())


def test_a_forged_source_and_udp_do_not_count() -> None:
    """A SYN, then an acknowledgement with data by somebody who does not know the number that was sent to the forged
    address. The control: the same address, when it does complete a connection, counts.
    """

    async def story() -> None:
        await sources.keep(TABLE, EVERY)
        async with serving(old=BOTH[0].space, new=BOTH[1].space):
            for port in range(20_000, 20_020):
                segment(CLIENT, (FORGED, port), (ANYCAST[4], PORT), SYN)
                segment(CLIENT, (FORGED, port), (ANYCAST[4], PORT), ACK | PSH, b"who\n")
            for version in (4, 6):
                await talk(version)
            await ask(6)  # behind those
            assert seen() == {OURS[6]: {THEIRS[6]}}
            honest = Client(ANYCAST[4])
            honest.sock.bind((str(FORGED), 0))
            await (await honest.open(60)).end()
            assert seen()[OURS[4]] == {ip_network("198.51.103.0/24")}

    asyncio.run(story())


def test_what_comes_in_elsewhere_or_for_other_prefixes_does_not_count() -> None:
    """By an interface that is no upstream's, or for a prefix that is not announced."""

    async def story() -> None:
        async with serving(old=BOTH[0].space, new=BOTH[1].space):
            for sample in (
                EVERY._replace(interfaces=frozenset({"up-x"})),
                EVERY._replace(prefixes=frozenset({ip_network("198.18.0.0/24")})),
            ):
                await sources.keep(TABLE, sample)
                await ask(4, 6)
                assert seen(sample) == {}

    asyncio.run(story())


def test_what_control_does_not_take_is_told_again_and_off_leaves_no_rule() -> None:
    """A look tells and forgets; one that fails forgets nothing; a table that somebody took away comes back; off, the
    kernel has none, also that of an agent before.
    """
    told: list[Sources] = []
    hears = [True]

    async def tell(message: Sources) -> None:
        if not hears[0]:
            raise WorldError("tell", "nobody hears")
        told.append(message)

    def networks() -> set[str]:
        found = {str(source) for message in told for one in message.seen for source in one.sources}
        told.clear()
        return found

    async def story() -> None:
        looks = SourceSample(PREFIX, tell, lambda: 0.0)
        async with serving(old=BOTH[0].space, new=BOTH[1].space):
            await looks.look(EVERY)
            assert networks() == set() and TABLE in tables()
            await ask(4, 6)
            hears[0] = False
            await looks.look(EVERY)
            hears[0] = True
            await looks.look(EVERY)
            assert networks() == {str(one) for one in THEIRS.values()}
            await looks.look(EVERY)
            assert networks() == set()
            sources.end(TABLE)
            await looks.look(EVERY)
            await ask(4)
            await looks.look(EVERY)
            assert networks() == {str(THEIRS[4])}
            await SourceSample(PREFIX, tell, lambda: 0.0).look(None)
            assert TABLE not in tables()

    asyncio.run(story())


def test_so_many_as_are_asked_for_are_looked_at() -> None:
    """Of 400 connections one in two: some, and not all; by chance alone wrong once in 2^399 runs."""

    async def story() -> None:
        await sources.keep(TABLE, EVERY._replace(one_of=2))
        for port in range(30_000, 30_400):
            segment(CLIENT, (ip_address(FORGED), port), (ANYCAST[4], PORT), SYN)
        asked = process.run(netns.command(ROUTER, "nft", "list", "set", "inet", TABLE, "asked4")).count("expires")
        assert 0 < asked < 400

    asyncio.run(story())
