"""What people ask of single instances by way of control: logs, commands run inside, connections to ports, and what
they use now; and the host's metrics, also those of before.

In: one connection to control that is always open, on which control asks; what runs here. Out: for each thing asked a
connection of its own to control, on which it is answered until either side has enough. The agent opens all of them, so
a host needs no open port. Nothing of this touches what the order wants; without control there is nobody who asks.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path
from typing import Protocol, TypeVar

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import WebSocketException

from anypop.agent import log_streams
from anypop.agent.act.instances.console import ConsoleConnection
from anypop.agent.act.instances.kept_logs import place_of
from anypop.agent.act.instances.runtime import InstanceRuntime, Running
from anypop.agent.act.network.forward import PortConnection
from anypop.agent.captures import Captures
from anypop.agent.catchment_streams import CatchmentStreams, heard
from anypop.agent.decide.back_off import BackOff
from anypop.agent.decide.elements import ContainerSeen, ContainerState
from anypop.agent.log_names import LOG
from anypop.agent.log_shipping import LogShipping
from anypop.agent.naming import namespace_of
from anypop.agent.observe.log_reader import read_log
from anypop.agent.observe.usage import Usage
from anypop.agent.samples import answer
from anypop.agent.samples.tiers import Points, TooMuch
from anypop.model.codec import from_json, to_json
from anypop.model.errors import Invalid, WorldError
from anypop.model.streams import (
    LARGEST_FRAME,
    USED_IN_FRAME,
    CaptureOverRequest,
    CaptureRequest,
    CommandRequest,
    ConsoleRequest,
    EchoesRequest,
    FindRequest,
    LogRequest,
    MetricsRequest,
    Opened,
    PasswordRequest,
    PingsRequest,
    PortRequest,
    Refusal,
    RoutesRequest,
    SamplesRequest,
    ShippingRequest,
    ShippingTold,
    StreamRequest,
    Used,
    UseRequest,
    WatchLogsRequest,
)

log = logging.getLogger("anypop.agent")
W = TypeVar("W")
R = TypeVar("R")
MOST = 64  # at once; each costs a connection, and a command a process
# Codes of the end (RFC 6455, section 7.4.1): all was said, or what is lacking nobody will say.
SAID_ALL, FAULT = 1000, 1011
_REST = BackOff(first_s=0.1, longest_s=5)


class Refused(Exception):  # noqa: N818 - it reads as a verdict where it is raised
    """No stream is opened. `why`: for control; the message is for whoever asked."""

    def __init__(self, why: Refusal, message: str) -> None:
        super().__init__(message)
        self.why = why


class Dials(Protocol):
    """How a connection to control is opened."""

    def connect(self, what: str) -> AbstractAsyncContextManager[ClientConnection]:
        """Raises `OSError`, `TimeoutError` and `WebSocketException` when it is entered."""
        ...


class Streams:
    """`containers`: those that are here now. `logs_in`: the folder of a container's log, by its id; `kept`: that of the
    logs of earlier lives. `usage`: tells what incarnations use; `shipping`: sends logs to receivers; `console_of`:
    where a machine's console is attached, by its uid; `take_password`: the first one that its guest told;
    `metrics`: the text of all metrics; `samples`: those that are kept; `routes`: what the speaker answers;
    `catchments`: measured with pings; `captures`: copies disks of virtual machines. `prefix`: of the names of their
    namespaces.
    """

    def __init__(
        self,
        control: Dials,
        runtime: InstanceRuntime,
        *,
        containers: Callable[[], Sequence[ContainerSeen]],
        logs_in: Callable[[str], Path | None],
        kept: Path,
        usage: Usage,
        shipping: LogShipping,
        console_of: Callable[[str], Path | None],
        take_password: Callable[[str], bytes | None],
        metrics: Callable[[], Awaitable[bytes]],
        samples: Callable[[SamplesRequest], Awaitable[list[Points]]],
        routes: Callable[[RoutesRequest], Awaitable[str]],
        catchments: CatchmentStreams,
        prefix: str,
        captures: Captures | None = None,
    ) -> None:
        self._control, self._runtime, self._prefix = control, runtime, prefix
        self._known_captures = captures
        self._containers, self._logs_in, self._kept = containers, logs_in, kept
        self._usage, self._metrics, self._samples, self._shipping = usage, metrics, samples, shipping
        self._catchments = catchments
        self._routes, self._console_of, self._take_password = routes, console_of, take_password
        self._open: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Listen for ever."""
        failures = 0
        while True:
            with contextlib.suppress(OSError, WebSocketException, TimeoutError):
                async with self._control.connect("streams") as channel:
                    failures = 0
                    async for message in channel:
                        with contextlib.suppress(Invalid):  # of a newer control, say: it hears nothing of us in time
                            self._begin(from_json(StreamRequest, message))
            await asyncio.sleep(_REST.wait_s(failures))
            failures += 1

    def _begin(self, asked: StreamRequest) -> None:
        task = asyncio.create_task(self._serve(asked, crowded=len(self._open) >= MOST))
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def _serve(self, asked: StreamRequest, *, crowded: bool) -> None:
        # else nobody waits for it any more
        with contextlib.suppress(OSError, WebSocketException, TimeoutError):
            async with self._control.connect(f"streams/{asked.id}") as stream:
                code = FAULT
                try:
                    if await self._answer(stream, asked, crowded=crowded):
                        code = SAID_ALL
                finally:
                    await stream.close(code)

    async def _answer(self, stream: ClientConnection, asked: StreamRequest, *, crowded: bool) -> bool:
        """Whether all was said."""
        try:
            if crowded:
                raise Refused(Refusal.BROKEN, f"{MOST} streams are open on this host")
            match asked.wanted:
                case LogRequest():
                    await self._log(stream, asked.wanted)
                case CommandRequest():
                    await self._command(stream, asked.wanted)
                case PortRequest():
                    await self._port(stream, asked.wanted)
                case ConsoleRequest():
                    await self._console(stream, asked.wanted)
                case PasswordRequest():
                    await self._send_all(stream, cut(self._password(asked.wanted)))
                case CaptureRequest():
                    await self._send_all(stream, self._captures().answer(asked.wanted))
                case CaptureOverRequest():
                    self._captures().drop(asked.wanted.id)
                    await self._send_all(stream, cut(b""))
                case UseRequest():
                    used = await self._usage.read(asked.wanted.uids)
                    await self._send_all(stream, pieces_of(used))
                case FindRequest():
                    await self._send_all(stream, log_streams.find(asked.wanted, self._folders))
                case ShippingRequest():
                    await self._send_all(stream, _cut(ShippingTold(sinks=self._shipping.asked(asked.wanted))))
                case WatchLogsRequest():
                    await self._send_all(stream, log_streams.watch(asked.wanted, self._folders))
                case RoutesRequest():
                    await self._send_all(stream, cut(await self._told_of_routes(asked.wanted)))
                case EchoesRequest():
                    with contextlib.closing(self._asked_of_catchments(self._catchments.listen, asked.wanted)) as echoes:
                        await self._send_all(stream, heard(echoes, asked.wanted.listen_s))
                case PingsRequest():
                    await self._send_all(stream, self._asked_of_catchments(self._catchments.send, asked.wanted))
                case SamplesRequest():
                    await self._send_all(stream, answer.frames(await self._asked_for(asked.wanted)))
                case MetricsRequest():
                    await self._send_all(stream, cut(await self._metrics()))
        except Refused as refused:
            await stream.send(to_json(Opened(refusal=refused.why, message=str(refused))), text=True)
        except WebSocketException:
            pass  # whoever asked has enough
        except Exception:
            log.exception("a stream of %s ended early", type(asked.wanted).__name__)
            return False
        return True

    async def _asked_for(self, wanted: SamplesRequest) -> list[Points]:
        try:
            return await self._samples(wanted)
        except (TooMuch, WorldError) as error:
            raise Refused(Refusal.BROKEN, str(error)) from error

    async def _told_of_routes(self, wanted: RoutesRequest) -> bytes:
        try:
            return (await self._routes(wanted)).encode()
        except WorldError as error:
            raise Refused(Refusal.NOT_YET, str(error)) from error

    @staticmethod
    def _asked_of_catchments(ask: Callable[[W], R], wanted: W) -> R:
        try:
            return ask(wanted)
        except WorldError as error:
            raise Refused(Refusal.NOT_YET, str(error)) from error

    async def _log(self, stream: ClientConnection, wanted: LogRequest) -> None:
        if wanted.previous:
            folder, pid, none = place_of(self._kept, wanted.uid, wanted.container), 0, "has had no life before this one"
        else:
            seen = self._container(wanted.uid, wanted.container)
            found = self._logs_in(seen.id)
            if found is None:
                raise Refused(Refusal.NOT_YET, "the logs of this host are not known yet")
            folder, pid, none = found, seen.pid, "has not been started yet"
        if not (folder / LOG).exists():
            raise Refused(Refusal.NOT_YET, f"container {wanted.container} {none}")
        with contextlib.suppress(FileNotFoundError):  # it went at this moment
            await self._send_all(stream, read_log(folder, wanted, pid))

    def _folders(self, uids: frozenset[str]) -> dict[tuple[str, str], list[Path]]:
        """Where the logs of these incarnations' containers are: of their lives now, and of those before."""
        here = [(c.key, self._logs_in(c.id)) for c in self._containers() if c.key[0] in uids]
        return {key: [folder, place_of(self._kept, *key)] for key, folder in here if folder is not None}

    async def _port(self, stream: ClientConnection, wanted: PortRequest) -> None:
        self._running(wanted.uid, wanted.container)
        try:
            there = await PortConnection.begin(namespace_of(self._prefix, wanted.uid), wanted.port)
        except WorldError as error:
            raise Refused(Refusal.NOT_YET, str(error)) from error
        await self._talk(stream, there)

    async def _console(self, stream: ClientConnection, wanted: ConsoleRequest) -> None:
        self._container(wanted.uid, wanted.container)
        where = self._console_of(wanted.uid)
        if where is None:
            raise Refused(Refusal.NOT_THERE, f"{wanted.container} is no virtual machine: it has no console")
        try:
            there = await ConsoleConnection.begin(where)
        except WorldError as error:
            raise Refused(Refusal.NOT_YET, str(error)) from error
        await self._talk(stream, there)

    def _captures(self) -> Captures:
        if self._known_captures is None:
            raise Refused(Refusal.NOT_THERE, "this host runs no virtual machines")
        return self._known_captures

    def _password(self, wanted: PasswordRequest) -> bytes:
        found = self._take_password(wanted.uid)
        if found is None:
            raise Refused(Refusal.NOT_THERE, "its guest has told no password, or it was shown already")
        return found

    async def _command(self, stream: ClientConnection, wanted: CommandRequest) -> None:
        seen = self._running(wanted.uid, wanted.container)
        try:
            running = await self._runtime.begin(seen.key, wanted)
        except WorldError as error:
            raise Refused(Refusal.NOT_THERE, str(error)) from error
        await self._talk(stream, running)

    async def _talk(self, stream: ClientConnection, running: Running) -> None:
        """Both ways, until it has said all, or nobody listens any more."""
        taking = asyncio.create_task(self._take(stream, running.take))
        try:
            await self._send_all(stream, running.frames())
        finally:
            taking.cancel()
            await running.close()

    @staticmethod
    async def _take(stream: ClientConnection, take: Callable[[bytes], Awaitable[None]]) -> None:
        with contextlib.suppress(WebSocketException):
            async for frame in stream:
                if isinstance(frame, bytes):
                    await take(frame)

    @staticmethod
    async def _send_all(stream: ClientConnection, pieces: AsyncGenerator[bytes | str, None]) -> None:
        """Until they end or nobody reads them any more."""

        async def send() -> None:
            async with contextlib.aclosing(pieces):
                await stream.send(to_json(Opened()), text=True)
                async for piece in pieces:
                    await stream.send(piece)

        sending, gone = asyncio.create_task(send()), asyncio.create_task(stream.wait_closed())
        try:
            await asyncio.wait((sending, gone), return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
        finally:
            for task in (sending, gone):
                task.cancel()
            await asyncio.gather(sending, gone, return_exceptions=True)

    def _running(self, uid: str, name: str) -> ContainerSeen:
        seen = self._container(uid, name)
        if seen.state is not ContainerState.RUNNING:
            raise Refused(Refusal.NOT_YET, f"container {name} does not run")
        return seen

    def _container(self, uid: str, name: str) -> ContainerSeen:
        found = next((c for c in self._containers() if c.key == (uid, name)), None)
        if found is None:
            raise Refused(Refusal.NOT_YET, f"container {name} is not there yet, or not any more")
        return found


async def _cut(told: ShippingTold) -> AsyncGenerator[bytes, None]:
    text = to_json(told)
    for first in range(0, len(text), LARGEST_FRAME):
        yield text[first : first + LARGEST_FRAME]


async def pieces_of(used: Used) -> AsyncGenerator[bytes, None]:
    """As many frames as it needs."""
    for first in range(0, len(used.instances), USED_IN_FRAME):
        yield to_json(replace(used, instances=used.instances[first : first + USED_IN_FRAME]))


async def cut(text: bytes) -> AsyncGenerator[bytes, None]:
    """The same."""
    for first in range(0, len(text), LARGEST_FRAME):
        yield text[first : first + LARGEST_FRAME]
