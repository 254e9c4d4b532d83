"""The metadata service of one guest: HTTP at 169.254.169.254, in the network namespace of its instance.

In: connections, which nobody but that guest can open, since the address is nowhere else and the namespace is its own.
Out: answers. Each connection is one request; size, time and number are bounded. A namespace that was made anew is
entered anew.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from dataclasses import replace

import h11

from anypop.agent.guests.metadata import Answer, Asked
from anypop.host import netns
from anypop.model.errors import WorldError

ADDRESS, PORT = "169.254.169.254", 80
LARGEST_HEAD, LARGEST_BODY = 8 << 10, 16 << 10
LONGEST_S = 10.0
MOST_AT_ONCE = 16
LOOKED_AT_EVERY_S = 2.0  # whether the namespace is the same
_IP_FREEBIND = 15  # linux/in.h: the bridge may get its address later


class Service:
    """`run` until cancelled. `answer`: to a request."""

    def __init__(self, namespace: str, answer: Callable[[Asked], Answer]) -> None:
        self._namespace, self._answer = namespace, answer
        self._open = 0

    async def run(self) -> None:
        known: tuple[int, int] | None = None
        server: asyncio.Server | None = None
        try:
            while True:
                found = _sign(self._namespace)
                if found != known:
                    if server is not None:
                        server.close()
                    server, known = None, None
                    # it is not there yet, or going at this moment
                    with contextlib.suppress(OSError, WorldError):
                        server = await asyncio.start_server(self._connection, sock=_listening(self._namespace))
                        known = found
                await asyncio.sleep(LOOKED_AT_EVERY_S if known is not None else 0.1)
        finally:
            if server is not None:
                server.close()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._open >= MOST_AT_ONCE:
            writer.transport.abort()
            return
        self._open += 1
        try:
            async with asyncio.timeout(LONGEST_S):
                await serve(reader, writer, self._answer)
        except (OSError, TimeoutError):
            writer.transport.abort()
        finally:
            self._open -= 1
            writer.close()


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: Callable[[Asked], Answer]) -> None:
    """One request, and its answer."""
    http = h11.Connection(h11.SERVER, max_incomplete_event_size=LARGEST_HEAD)
    try:
        asked, body = None, b""
        while True:
            event = http.next_event()
            if event is h11.NEED_DATA:
                http.receive_data(await reader.read(LARGEST_HEAD))
                if http.they_are_waiting_for_100_continue:
                    writer.write(http.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")
            elif isinstance(event, h11.Request):
                asked = _asked(event)
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > LARGEST_BODY:
                    given = Answer(status=413, body=b"too much\n")
                    break
            elif isinstance(event, h11.EndOfMessage) and asked is not None:
                given = answer(replace(asked, body=body))
                break
            else:
                return  # it has gone
    except h11.RemoteProtocolError as error:
        given = Answer(status=error.error_status_hint, body=b"this is no request\n")
    headers = {"content-type": "text/plain", "content-length": str(len(given.body)), "connection": "close"}
    head = h11.Response(status_code=given.status, headers=list((headers | dict(given.headers)).items()))
    for part in (head, h11.Data(data=given.body), h11.EndOfMessage()):
        writer.write(http.send(part) or b"")
    await writer.drain()


def _asked(request: h11.Request) -> Asked:
    return Asked(
        method=request.method.decode("ascii"),
        path=request.target.decode("latin-1"),
        headers={name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers},
    )


def _listening(namespace: str) -> socket.socket:
    with netns.inside(namespace):  # a socket stays where it was made
        made = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
        made.bind((ADDRESS, PORT))
    except OSError:
        made.close()
        raise
    return made


def _sign(namespace: str) -> tuple[int, int] | None:
    """While it is the same, so is the namespace."""
    try:
        found = netns.path_of(namespace).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
