"""Streams between who asks control for something of a single instance, and the host where it runs.

In: hosts' agents, each with one connection that waits for what is asked (a `Socket`), and one more for each thing that
it answers. Out: to who asks, the host's end of a stream. Nothing is stored, and no state is changed by it; a host
that is not connected is told as such after `PATIENCE_S`, since it may be about to be. It knows no HTTP.
"""

import asyncio
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Protocol

from anypop.control.refusals import Busy, NotFound, Precondition
from anypop.model.codec import from_json, to_json
from anypop.model.errors import WorldError
from anypop.model.names import HostName
from anypop.model.streams import Opened, Refusal, StreamRequest, Wanted

PATIENCE_S = 3.0
MOST_OF_ACCOUNT = 32
DEAF_S = 20.0  # one that did not answer is not waited for again so soon by whoever asks many
MOST_OF_HOST = 48  # below what its agent serves, so that those of before a restart of control fit too

NO_ANSWER = "its agent does not answer now; see `anypop host list`"


class Socket(Protocol):
    """A connection that carries messages both ways."""

    @property
    def said_all(self) -> bool:
        """After its end: the other side has ended it, since it had said all."""
        ...

    async def receive(self) -> bytes | str | None:
        """The next message; None at its end."""
        ...

    async def send(self, message: bytes | str) -> None:
        """Waits while the other side is slow. After its end: nothing happens."""
        ...


class _Stream:
    """One that is asked for: `arrived` is set by the host, `over` by who asked."""

    def __init__(self, host: HostName) -> None:
        self.host = host
        self.arrived: asyncio.Future[Socket] = asyncio.get_running_loop().create_future()
        self.over = asyncio.Event()


class Streams:
    """All of this control's. Only from its event loop, which is `loop` once a host listens. `on_arrival`: is told of
    each host that begins to.
    """

    def __init__(self, patience_s: float = PATIENCE_S) -> None:
        self.patience_s = patience_s
        self._channels: dict[HostName, Socket] = {}
        self._connected = asyncio.Condition()
        self._asked: dict[str, _Stream] = {}
        self._of_accounts: Counter[str] = Counter()
        self._deaf: dict[HostName, tuple[Socket, float]] = {}
        self.loop: asyncio.AbstractEventLoop | None = None
        self.on_arrival: list[Callable[[HostName], None]] = []

    @property
    def connected(self) -> frozenset[HostName]:
        """The hosts that may be asked now."""
        return frozenset(self._channels)

    @property
    def open(self) -> int:
        """How many there are."""
        return len(self._asked)

    async def listen(self, host: HostName, channel: Socket) -> None:
        """Ask `host` over `channel` from now on, until it ends. A newer one takes its place."""
        self.loop = asyncio.get_running_loop()
        async with self._connected:
            self._channels[host] = channel
            self._connected.notify_all()
        for told in self.on_arrival:
            told(host)
        try:
            while await channel.receive() is not None:
                pass
        finally:
            if self._channels.get(host) is channel:
                del self._channels[host]

    def check(self, host: HostName, identity: str) -> None:
        """Raises `NotFound` where nobody waits for this stream of this host."""
        stream = self._asked.get(identity)
        if stream is None or stream.host != host or stream.arrived.done():
            raise NotFound("nobody waits for this stream")

    async def arrived(self, host: HostName, identity: str, socket: Socket) -> None:
        """The host answers: its end is lent to who asked, until that has enough. Raises `NotFound`."""
        self.check(host, identity)
        stream = self._asked[identity]
        self._deaf.pop(host, None)
        stream.arrived.set_result(socket)
        await stream.over.wait()

    @asynccontextmanager
    async def ask(
        self, host: HostName, wanted: Wanted, account: str, *, one_of_many: bool = False
    ) -> AsyncIterator[Socket]:
        """The host's end of a stream that has begun. Raises `Refused` where the host opens none or too many are open,
        and `WorldError` where it does not answer. `one_of_many`: others are asked the same, and whoever asks counts
        them: a host that is known not to answer is not waited for.
        """
        if one_of_many:
            self.check_hears(host)
        elif self._of_accounts[account] >= MOST_OF_ACCOUNT:
            raise Busy(f"{MOST_OF_ACCOUNT} streams of this account are open: end one first")
        if sum(s.host == host for s in self._asked.values()) >= MOST_OF_HOST:
            raise Busy(f"{MOST_OF_HOST} streams of host {host} are open")
        identity, stream = secrets.token_hex(16), _Stream(host)
        self._asked[identity] = stream
        self._of_accounts[account] += not one_of_many
        try:
            yield await self._begun(stream, StreamRequest(id=identity, wanted=wanted))
        finally:
            stream.over.set()
            del self._asked[identity]
            self._of_accounts[account] -= not one_of_many
            if not self._of_accounts[account]:
                del self._of_accounts[account]

    def check_hears(self, host: HostName) -> None:
        """For whoever asks many. Raises `WorldError` for one that is not connected, or did not answer lately."""
        channel, (deaf, since) = self._channels.get(host), self._deaf.get(host, (None, 0.0))
        if channel is None or (channel is deaf and asyncio.get_running_loop().time() < since + DEAF_S):
            raise WorldError(f"reach host {host}", NO_ANSWER)

    async def _answered(self, stream: _Stream, asked: str) -> Socket:
        """The host's end. Asked again over each channel that takes the place of one: what was sent over a connection
        that had ended is lost, and nothing tells.
        """
        channel: Socket | None = None

        async def another() -> Socket:
            async with self._connected:
                await self._connected.wait_for(lambda: self._channels.get(stream.host) not in (None, channel))
            return self._channels[stream.host]

        while not stream.arrived.done():
            newer = asyncio.create_task(another())
            try:
                await asyncio.wait((stream.arrived, newer), return_when=asyncio.FIRST_COMPLETED)
                if newer.done() and not stream.arrived.done():
                    channel = newer.result()
                    await channel.send(asked)
            finally:
                newer.cancel()
        return stream.arrived.result()

    async def _begun(self, stream: _Stream, asked: StreamRequest) -> Socket:
        host = stream.host
        try:
            async with asyncio.timeout(self.patience_s):
                socket = await self._answered(stream, to_json(asked).decode())
                first = await socket.receive()
        except TimeoutError as error:
            if (channel := self._channels.get(host)) is not None:
                self._deaf[host] = channel, asyncio.get_running_loop().time()
            raise WorldError(f"reach host {host}", NO_ANSWER) from error
        if first is None:
            raise WorldError(f"reach host {host}", "it ended the stream at once")
        opened = from_json(Opened, first)
        match opened.refusal:
            case None:
                return socket
            case Refusal.NOT_THERE:
                raise NotFound(opened.message)
            case Refusal.NOT_YET:
                raise Precondition(opened.message)
            case Refusal.BROKEN:
                raise WorldError(f"ask host {host}", opened.message)
