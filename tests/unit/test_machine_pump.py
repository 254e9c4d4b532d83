"""What two agents pass on between two QEMUs: all of it, in order, both ways, by TLS as it really goes."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from anypop.agent.act.instances.machines.move_words import Opening, Part, Stream
from anypop.agent.act.instances.machines.pump import pump
from anypop.agent.between_hosts import Door, reach
from anypop.model.names import HostName
from tests.moving_hosts import HERE, joined

SENT = os.urandom(5 << 20)
LONG_S = 120


@asynccontextmanager
async def passed_on(tmp_path: Path) -> AsyncIterator[tuple[Stream, Stream, asyncio.Event]]:
    """The ends of two QEMUs, and an agent before each; the event is set once the receiver's has let go."""
    hosts = [HostName("LHR-1"), HostName("LHR-2")]
    for host in hosts:
        joined(tmp_path / host, host, tmp_path / "ca")
    pairs = [socket.socketpair() for _ in hosts]
    near, far = [[Stream(*await asyncio.open_connection(sock=pair[n])) for pair in pairs] for n in (0, 1)]
    over = asyncio.Event()

    async def take(stream: Stream, _: HostName) -> None:
        assert await stream.hear(Opening) is not None
        await pump(stream, far[1])
        over.set()

    ca = tmp_path / "ca" / "ca.pem"
    door = Door(tmp_path / hosts[1], ca, take)
    out = await reach(tmp_path / hosts[0], ca, hosts[1], HERE, await door.open(HERE, 0))
    await out.say(Opening(uid="1", part=Part.MEMORY))
    out.writer.write(SENT[:4096])  # what comes with the first line is not lost
    sender = asyncio.create_task(pump(far[0], out))
    try:
        async with asyncio.timeout(LONG_S):
            yield near[0], near[1], over
            await sender
    finally:
        sender.cancel()
        await asyncio.gather(sender, return_exceptions=True)
        for end in near:
            await end.end()
        await door.close()


def test_every_byte_arrives_in_order_and_so_does_the_end(tmp_path: Path) -> None:
    """Both ways at once, more than all buffers hold, and to a reader that begins late."""

    async def test() -> None:
        async with passed_on(tmp_path) as (first, second, over):
            first.writer.write(SENT[4096:])
            second.writer.write(SENT)
            assert await first.reader.readexactly(len(SENT)) == SENT
            assert await second.reader.readexactly(len(SENT)) == SENT
            first.writer.write_eof()
            assert await second.reader.read() == b""
            second.writer.write_eof()
            assert await first.reader.read() == b""
            await over.wait()

    asyncio.run(test())


@pytest.mark.parametrize("whose", [0, 1])
def test_where_one_is_gone_the_other_hears_the_end(tmp_path: Path, whose: int) -> None:
    """Without a word, and in the middle of what is sent."""

    async def test() -> None:
        async with passed_on(tmp_path) as (first, second, over):
            ends = (first, second)
            ends[1 - whose].writer.write(SENT)
            await ends[whose].reader.readexactly(1 << 16)
            ends[whose].writer.transport.abort()
            with suppress(ConnectionError):  # the kernel's word for the same
                await ends[1 - whose].reader.read()
            await over.wait()

    asyncio.run(test())
