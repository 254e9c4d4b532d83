"""Ports that are used again while an incarnation drains, on a real kernel: a connection that has ended leaves nothing
behind by which the next one from its port would be led to who leaves.
"""

import asyncio
import socket
import struct
from collections.abc import Iterator

import pytest

from anypop.agent.act.network.drain import Drains
from anypop.agent.act.network.netlink import Netlink
from anypop.agent.act.network.sockets import connections
from anypop.host import netns, process
from tests.drain_lab import (
    ACK,
    ANYCAST,
    BOTH,
    CLIENT,
    CLIENTS,
    EXTERNAL,
    FIN,
    NEW,
    OLD,
    PORT,
    PREFIX,
    PSH,
    Client,
    balance,
    dropped,
    fresh,
    own,
    segment,
    serving,
    wired,
)

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def place() -> Iterator[None]:
    with wired():
        yield


@pytest.fixture
def net(place: None) -> Iterator[Netlink]:
    with fresh() as net:
        yield net


@pytest.mark.parametrize("version", [4, 6])
def test_the_port_of_a_connection_that_its_client_has_reset_is_free(net: Netlink, version: int) -> None:
    """As when a client's process is killed: the server says no last word then, and a connection that is led to it would
    end with it.
    """

    async def scenario() -> list[str]:
        async with serving(old=BOTH[0].space, new=BOTH[1].space):
            client = await Client(EXTERNAL[version], port=40011).open()
            await Drains(net, PREFIX).pin(OLD, BOTH[0].behind)
            own(net, BOTH[1])
            client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.sock.close()
            again = await Client(EXTERNAL[version], port=40011).open()
            served = [client.server, again.server, await again.ask()]
            again.sock.close()
            return served

    assert asyncio.run(scenario()) == ["old", "new", "new"]


@pytest.mark.parametrize("version", [4, 6])
def test_a_connection_whose_client_is_gone_takes_no_flow_of_another(net: Netlink, version: int) -> None:
    """Its reset was lost, so the old one takes it for open; its port was used again, by a connection to the newer one.
    That goes on while the old one drains, and so does one that is only quiet. Without a look at the others it breaks.
    """
    ports = (40031, 40032)

    async def scenario(beside: tuple[str, ...]) -> list[bool]:
        async with serving(old=BOTH[0].space, new=BOTH[1].space):
            balance(net, BOTH[0])
            gone, quiet = [await Client(ANYCAST[version], port=port).open() for port in ports]
            gone.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            with dropped("tcp flags & rst != 0 drop"):
                gone.sock.close()
            balance(net, BOTH[1])
            again = await Client(ANYCAST[version], port=ports[0]).open()
            assert (gone.server, again.server) == ("old", "new")
            while silence(quiet) < 1.2:  # noqa: ASYNC110 - time alone changes it
                await asyncio.sleep(0.05)
            assert await again.is_whole()
            await Drains(net, PREFIX).pin(OLD, BOTH[0].behind, beside)
            found = [await again.is_whole(), await quiet.is_whole()]
            again.sock.close()
            quiet.sock.close()
            return found

    def silence(client: Client) -> float:
        here = client.sock.getsockname()[1]
        return next(
            c.silent_s for c in connections(BOTH[0].space, [ANYCAST[version]], heard=True) if c.peer_port == here
        )

    assert asyncio.run(scenario((NEW,))) == [True, True]
    asyncio.run(Drains(net, PREFIX).unpin(OLD))
    for space in (CLIENT, *(one.space for one in BOTH)):
        process.run(netns.command(space, "ss", "-KHt"))
    assert asyncio.run(scenario(())) == [False, True]


@pytest.mark.parametrize("version", [4, 6])
def test_last_words_make_no_flow(net: Netlink, version: int) -> None:
    """What ended while the pin was made has no socket any more, but its last packets pass: the next connection from
    that port reaches the newer one. The control: who asks makes a flow.
    """
    ports = {"acknowledged": 40021, "ended": 40022, "told of the end": 40023, "asks": 40024}
    old, (client, external) = BOTH[0].space, (CLIENTS[version], EXTERNAL[version])

    async def scenario() -> dict[str, str]:
        async with serving(old=old, new=BOTH[1].space):
            await Drains(net, PREFIX).pin(OLD, BOTH[0].behind)
            resets = "tcp flags & rst != 0 drop"
            with dropped(resets), dropped(resets, space=old):
                segment(CLIENT, (client, ports["acknowledged"]), (external, PORT), ACK)
                segment(CLIENT, (client, ports["ended"]), (external, PORT), FIN | ACK)
                segment(old, (external, PORT), (client, ports["told of the end"]), FIN | ACK)
                segment(CLIENT, (client, ports["asks"]), (external, PORT), PSH | ACK, b"who")
            own(net, BOTH[1])
            served = {}
            for name, port in ports.items():
                one = await Client(external, port=port).open()
                served[name] = one.server
                one.sock.close()
            return served

    assert asyncio.run(scenario()) == {"acknowledged": "new", "ended": "new", "told of the end": "new", "asks": "old"}
