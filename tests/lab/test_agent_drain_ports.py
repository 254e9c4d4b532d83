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
from tests.drain_lab import (
    ACK,
    BOTH,
    CLIENT,
    CLIENTS,
    EXTERNAL,
    FIN,
    OLD,
    PORT,
    PREFIX,
    PSH,
    Client,
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
