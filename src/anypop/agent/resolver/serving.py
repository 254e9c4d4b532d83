"""Questions as they come, and their answers: by UDP and TCP, to instances of this host alone.

In: the sockets, what the agent has written, questions. Out: answers. Who asks is known by the link, and a source
that is not that link's own gets nothing. What was asked before in the very same bytes is answered from a small memory,
until the names change. It decides nothing of what a name means.
"""

import asyncio
import contextlib
import random
import socket
import time
from collections.abc import Callable
from pathlib import Path

import dns.message
import dns.rcode
import dns.rdatatype

from anypop.agent.resolver import files, sockets
from anypop.agent.resolver.answers import PLAIN, answer_of, question_of, refusal, relayed, room, trouble_with
from anypop.agent.resolver.limits import Limits
from anypop.agent.resolver.upstream import Upstreams
from anypop.agent.resolver.wanted import NO_SUFFIX, Asker, Called
from anypop.agent.resolver.zone import Elsewhere, Found, Zone

_IN_ONE_GO = 64  # datagrams before others have their turn
_KEPT = 2048  # answers for a link
_WAYS = 16  # orders in which an answer with equals is kept: to write it anew each time costs ten times as much
_IDLE_S, _MOST_BY_TCP = 10.0, 100  # of a connection: between two questions, and questions altogether


class _Kept(list[bytes]):
    """An answer without its number, in some orders of its records."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most


class Serving:
    """One host's. `begin` and `read` are called in the event loop."""

    def __init__(self, folder: Path, opened: sockets.Sockets, upstreams: Upstreams | None = None) -> None:
        self._folder, self._sockets = folder, opened
        self._upstreams, self._limits = upstreams or Upstreams(), Limits()
        self._askers: dict[str, Asker] = {}
        self._zones: dict[str, Zone] = {}
        self._kept: dict[str, dict[bytes, _Kept]] = {}
        self._files: dict[Path, tuple[tuple[int, int], str]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def read(self) -> None:
        """Know what the agent has written; of domains those that differ."""
        around = files.read_around(self._folder)
        self._askers = dict(around.askers)
        self._upstreams.ordered = around.upstreams
        self._limits.keep(set(self._askers))
        there = files.domain_files(self._folder)
        for file in set(self._files) - set(there):
            _, domain = self._files.pop(file)
            self._zones.pop(domain, None)
        for file, seen in there.items():
            if file in self._files and self._files[file][0] == seen:
                continue
            if (called := files.read_domain(file)) is not None:
                self._zones[called.domain] = Zone(called)
                self._files[file] = seen, called.domain
        self._kept.clear()

    async def begin(self) -> None:
        loop = asyncio.get_running_loop()
        for one in self._sockets.datagrams:
            loop.add_reader(one.fileno(), self._datagrams, one)
        for one in self._sockets.listening:
            await asyncio.start_server(self._connection, sock=one, limit=1 << 16)

    def who(self, interface: int, source: str) -> tuple[str, Asker] | None:
        """The link and who lives there; None: nobody who may ask."""
        try:
            link = socket.if_indextoname(interface)
        except OSError:
            return None
        asker = self._askers.get(link)
        return (link, asker) if asker is not None and source in asker.own else None

    def _datagrams(self, by: socket.socket) -> None:
        for _ in range(_IN_ONE_GO):
            try:
                data, interface, source = sockets.receive(by)
            except OSError:
                return  # there is no more, or an error of an answer that went nowhere
            who = self.who(interface, source[0])
            if who is None:
                continue
            link, asker = who

            def reply(answer: bytes, interface: int = interface, source: tuple[str, int] = source) -> None:
                with contextlib.suppress(OSError):  # the link is gone, or its queue is full: it asks again
                    sockets.send(by, answer, interface, source)

            kept = self._kept.setdefault(link, {})
            if (known := kept.get(data[2:])) is not None and len(known) == known.most:
                reply(data[:2] + random.choice(known))
                continue
            self._question(link, asker, data, reply)

    def _question(self, link: str, asker: Asker, data: bytes, reply: Callable[[bytes], None]) -> None:
        query = question_of(data)
        if query is None:
            return
        answer = self._answer(asker, query, tcp=False)
        if isinstance(answer, tuple):
            wire, ways = answer
            kept = self._kept.setdefault(link, {})
            if ways and (data[2:] in kept or len(kept) < _KEPT):
                kept.setdefault(data[2:], _Kept(ways)).append(wire[2:])
            reply(wire)
        elif self._limits.begin(link, time.monotonic()):
            task = asyncio.get_running_loop().create_task(self._elsewhere(link, query, reply, tcp=False))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            reply(refusal(query, dns.rcode.REFUSED))

    def _answer(self, asker: Asker, query: dns.message.Message, *, tcp: bool) -> tuple[bytes, int] | None:
        """The platform's own answer, and in how many ways it is to be kept; None: somebody else is to be asked."""
        if (trouble := trouble_with(query)) is not None:
            return refusal(query, trouble), 0
        asked = query.question[0]
        zone = self._zones.get(asker.domain) or Zone(Called(domain=asker.domain, suffix=NO_SUFFIX))
        name, kind = asked.name.to_text(omit_final_dot=True).lower(), dns.rdatatype.to_text(asked.rdtype)
        meaning = zone.meaning(name, kind, asker)
        if isinstance(meaning, Elsewhere):
            return None
        ways = _WAYS if isinstance(meaning, Found) and meaning.equal > 1 else 1
        return answer_of(query, meaning, room(query, tcp=tcp)), ways

    async def _elsewhere(
        self, link: str, query: dns.message.Message, reply: Callable[[bytes], None], *, tcp: bool
    ) -> None:
        try:
            if not self._upstreams.whom():
                reply(refusal(query, dns.rcode.REFUSED))
                return
            answer = await self._upstreams.ask(query, tcp=tcp)
            most = room(query, tcp=tcp)
            reply(relayed(query, answer, most) if answer is not None else refusal(query, dns.rcode.SERVFAIL))
        finally:
            self._limits.end(link)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        made = writer.get_extra_info("socket")
        who = self.who(sockets.interface_of(made), writer.get_extra_info("peername")[0])
        if who is None or not self._limits.connect(who[0], time.monotonic()):
            writer.transport.abort()
            return
        link, asker = who
        try:
            for _ in range(_MOST_BY_TCP):
                async with asyncio.timeout(_IDLE_S):
                    length = int.from_bytes(await reader.readexactly(2), "big")
                    data = await reader.readexactly(length)
                if (query := question_of(data)) is None:
                    break
                answer = self._answer(asker, query, tcp=True)

                def reply(wire: bytes) -> None:
                    writer.write(len(wire).to_bytes(2, "big") + wire)

                if isinstance(answer, tuple):
                    reply(answer[0])
                elif self._limits.begin(link, time.monotonic()):
                    await self._elsewhere(link, query, reply, tcp=True)
                else:
                    reply(refusal(query, dns.rcode.REFUSED))
                async with asyncio.timeout(_IDLE_S):
                    await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError):
            pass  # it is gone, or slow: it comes again
        finally:
            self._limits.disconnect(link)
            writer.transport.abort() if writer.transport.get_write_buffer_size() > PLAIN else writer.close()
