"""WebSockets (RFC 6455): agents that wait for what is asked of their hosts, and commands that people run in instances,
connections to ports of theirs, and consoles.

In: connections. Out: those that may be here, tied together by `control.streams`; the others are answered as any request
is, before there is a stream. Each stands in the audit log before it begins. It reads nothing of what goes by.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from anypop.api import errors, lasting, running
from anypop.api.context import Platform, agents_own, known
from anypop.control.accounts import Caller, Stack
from anypop.control.audit import Noted
from anypop.control.refusals import Precondition, Unauthenticated
from anypop.control.streams import Socket
from anypop.model import limits
from anypop.model.errors import Invalid, Problem
from anypop.model.names import HostName
from anypop.model.streams import CommandRequest, ConsoleRequest, PortRequest

OF_AGENTS = "/anypop/v1/agents/{host}/streams"
_INSTANCE = "/anypop/v1/stacks/{stack_id}/workloads/{workload_id}/instances/{name}"
COMMAND, PORT, CONSOLE = f"{_INSTANCE}/exec", f"{_INSTANCE}/port-forward", f"{_INSTANCE}/console"
REMOTE = "workload.platform.stackpath.net/remote-management"
"""Of a workload: with the value "false" its virtual machines have no console."""
LONGEST_COMMAND = 64  # words
LARGEST_SIDE = 1000  # rows or columns of a terminal
LAST_PORT = 65535
# Codes of the end (RFC 6455, section 7.4.1): as it should be, by a fault, since who asked may not go on.
NORMAL, FAULT, NOT_ALLOWED = 1000, 1011, 1008
GOODBYE_S = 2.0  # a client that does not read is cut off without


class WebSocketEnd:
    """A `control.streams.Socket`."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket
        self.said_all = False

    async def receive(self) -> bytes | str | None:
        try:
            message = await self._socket.receive()
        except (RuntimeError, WebSocketDisconnect):
            return None
        if message["type"] != "websocket.receive":
            self.said_all = message.get("code") == NORMAL
            return None
        data = message.get("bytes")
        return data if data is not None else message.get("text")

    async def send(self, message: bytes | str) -> None:
        with contextlib.suppress(RuntimeError, WebSocketDisconnect, OSError):
            if isinstance(message, str):
                await self._socket.send_text(message)
            else:
                await self._socket.send_bytes(message)


def routes(platform: Platform) -> list[WebSocketRoute]:
    """Where streams begin."""
    served: dict[str, Callable[[Platform, WebSocket], Awaitable[None]]] = {
        OF_AGENTS: _listen, f"{OF_AGENTS}/{{stream}}": _arrived, COMMAND: _command, PORT: _port,
        CONSOLE: _console,
    }  # fmt: skip
    return [WebSocketRoute(path, partial(_answered, platform, serve)) for path, serve in served.items()]


async def _answered(
    platform: Platform, serve: Callable[[Platform, WebSocket], Awaitable[None]], socket: WebSocket
) -> None:
    """What is refused before the stream begins is answered like a request; a stream that ends says why, if anything."""
    code, reason = NORMAL, ""
    try:
        limits.check({**socket.path_params, **socket.query_params}, longest=limits.LONGEST_PARAMETER)
        await serve(platform, socket)
    except Exception as error:
        request = Request({**socket.scope, "type": "http", "method": "GET"})
        answer = await errors.answer_to(error, request)
        if socket.application_state is WebSocketState.CONNECTING:
            await socket.send_denial_response(answer)
            return
        code = NOT_ALLOWED if isinstance(error, Unauthenticated) else FAULT
        reason = str(error)[:100]
    with contextlib.suppress(RuntimeError, WebSocketDisconnect, OSError, TimeoutError):
        async with asyncio.timeout(GOODBYE_S):
            await socket.close(code, reason)


async def _listen(platform: Platform, socket: WebSocket) -> None:
    host = await _own(platform, socket)
    await socket.accept()
    asyncio.get_running_loop().call_soon(lambda: platform.log_sinks.news(host, came=True))
    await platform.streams.listen(host, WebSocketEnd(socket))


async def _arrived(platform: Platform, socket: WebSocket) -> None:
    host = await _own(platform, socket)
    platform.streams.check(host, socket.path_params["stream"])
    await socket.accept()
    await platform.streams.arrived(host, socket.path_params["stream"], WebSocketEnd(socket))


async def _own(platform: Platform, socket: WebSocket) -> HostName:
    return await agents_own(socket, socket.path_params["host"], platform)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """Who asks, and for which container of an instance of theirs."""

    caller: Caller
    stack: Stack
    container: running.Running
    annotations: Mapping[str, str]


async def _command(platform: Platform, socket: WebSocket) -> None:
    asked = _asked(platform, socket, "run_command")
    wanted = _wanted(socket, asked.container)
    became = {"container": asked.container.name, "command": list(wanted.command), "terminal": wanted.terminal}
    await _tied(platform, socket, asked, wanted, became)


async def _port(platform: Platform, socket: WebSocket) -> None:
    asked = _asked(platform, socket, "forward_port")
    text = socket.query_params.get("port", "")
    if not (text.isascii() and text.isdigit() and len(text) < 6 and 0 < int(text) <= LAST_PORT):
        raise Invalid.one("port", f"must be a whole number from 1 to {LAST_PORT}")
    wanted = PortRequest(uid=asked.container.uid, container=asked.container.name, port=int(text))
    await _tied(platform, socket, asked, wanted, {"port": wanted.port})


async def _console(platform: Platform, socket: WebSocket) -> None:
    asked = _asked(platform, socket, "open_console")
    if asked.annotations.get(REMOTE, "").lower() == "false":
        raise Precondition(f"the workload's annotation {REMOTE} is false: there is no console")
    wanted = ConsoleRequest(uid=asked.container.uid, container=asked.container.name)
    await _tied(platform, socket, asked, wanted, {"container": wanted.container})


def _asked(platform: Platform, socket: WebSocket, operation: str) -> _Asked:
    caller = known(socket, platform, operation)
    stack = platform.accounts.stack(caller.account.id, socket.path_params["stack_id"])
    declared = platform.workload(stack, socket.path_params["workload_id"])
    name = socket.query_params.get("container_name", "")
    found = running.container(platform, declared, socket.path_params["name"], name)
    annotations = declared.newest.document.get("metadata", {}).get("annotations", {})
    return _Asked(caller=caller, stack=stack, container=found, annotations=annotations)


async def _tied(
    platform: Platform,
    socket: WebSocket,
    asked: _Asked,
    wanted: CommandRequest | PortRequest | ConsoleRequest,
    became: dict[str, Any],
) -> None:
    """The host's end and this one, tied together until either is over, or access ends. `became`: for the audit log.
    Raises `Unauthenticated` in the last case.
    """
    instance = asked.container.instance
    await asyncio.to_thread(
        platform.core.store.note, Noted(subject=instance, stack_id=asked.stack.id, became=became)
    )  # fmt: skip
    async with (
        lasting.held(platform, asked.caller, subject=instance) as over,
        platform.streams.ask(asked.container.host, wanted, asked.caller.account.id) as there,
    ):
        lasting.refuse_what_is_over(over)
        await socket.accept()
        here = WebSocketEnd(socket)
        ways = [asyncio.create_task(_carry(here, there)), asyncio.create_task(_carry(there, here))]
        try:
            waited: list[asyncio.Future[Any]] = [*ways, over]
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
        lasting.refuse_what_is_over(over)


async def _carry(source: Socket, to: Socket) -> None:
    while (message := await source.receive()) is not None:
        if isinstance(message, bytes):
            await to.send(message)


def _wanted(socket: WebSocket, container: running.Running) -> CommandRequest:
    """What the query asks for. Raises `Invalid` with all that is wrong."""
    query, problems = socket.query_params, list[Problem]()
    command = tuple(query.getlist("command"))
    if not command or not command[0]:
        problems.append(Problem(path="command", message="is required: the program, then its arguments, one each"))
    if len(command) > LONGEST_COMMAND:
        problems.append(
            Problem(path="command", message=f"has {len(command)} words, at most {LONGEST_COMMAND} are taken")
        )
    sides = {"rows": 24, "columns": 80}
    for side in sides:
        text = query.get(side, "")
        if text and not (text.isascii() and text.isdigit() and len(text) < 5 and 0 < int(text) <= LARGEST_SIDE):
            problems.append(Problem(path=side, message=f"must be a whole number from 1 to {LARGEST_SIDE}"))
        elif text:
            sides[side] = int(text)
    terminal = running.flag(query.get("tty", ""), "tty", problems)
    if problems:
        raise Invalid(problems)
    return CommandRequest(
        uid=container.uid, container=container.name, command=command, terminal=terminal,
        rows=sides["rows"], columns=sides["columns"],
    )  # fmt: skip
