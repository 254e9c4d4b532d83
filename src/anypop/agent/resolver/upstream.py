"""The operator's resolvers, asked for names that are not the platform's.

In: a question, and whom to ask: what the order says, or the host's own resolv.conf, read anew when it changes. Out: an
answer to this very question from who was asked, or None. Each question leaves by a port and under a number of its own,
without the asker's options; who does not answer is passed over, and asked last until it answers again. Nothing is
kept: the upstream has a cache, and one here would tell an instance what others have asked.
"""

import socket
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import dns.asyncbackend
import dns.asyncquery
import dns.exception
import dns.flags
import dns.message

from anypop.agent.naming import RESOLVER4, RESOLVER6

PATIENCE_S, AT_MOST = 2.0, 3
"""How long one of them is waited for, and how many are asked: resolvers of an instance give up after 5 s, and ask
again.
"""

HOST_FILE = Path("/etc/resolv.conf")
_OURSELVES = {RESOLVER4, RESOLVER6}


def addresses_in(text: str) -> list[str]:
    """The name servers of a resolv.conf, without ourselves."""
    found = []
    for line in text.splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == "nameserver":
            with suppress(ValueError):
                if ip_address(words[1].partition("%")[0]) not in _OURSELVES:
                    found.append(words[1])
    return found


class Upstreams:
    """`ordered`: as in `Around`."""

    def __init__(self, host_file: Path = HOST_FILE) -> None:
        self._file = host_file
        self._seen: tuple[int, int] | None = None
        self._hosts: list[str] = []
        self.ordered: tuple[str, ...] | None = None
        self._silent: set[str] = set()

    def whom(self) -> list[str]:
        """Those to ask, in turn."""
        found = list(self.ordered) if self.ordered is not None else self._of_host()
        return sorted(found, key=lambda one: one in self._silent)[:AT_MOST]

    async def ask(self, query: dns.message.Message, *, tcp: bool) -> dns.message.Message | None:
        """`tcp`: as the asker came: a truncated answer by UDP is given on, and the asker comes again."""
        (asked,) = query.question
        own = dns.message.make_query(asked.name, asked.rdtype, use_edns=0, payload=1232, want_dnssec=False)
        own.ednsflags = query.ednsflags & dns.flags.DO if query.edns >= 0 else 0
        own.flags = query.flags & (dns.flags.RD | dns.flags.CD | dns.flags.AD)
        for where in self.whom():
            try:
                answer = await _asked(own, where, tcp=tcp)
            except (dns.exception.DNSException, OSError, EOFError):
                self._silent.add(where)
                continue
            self._silent.discard(where)
            return answer
        return None

    def _of_host(self) -> list[str]:
        try:
            stat = self._file.stat()
            seen = stat.st_ino, stat.st_mtime_ns
            if seen != self._seen:
                self._hosts, self._seen = addresses_in(self._file.read_text(errors="replace")), seen
        except OSError:
            self._hosts, self._seen = [], None
        return self._hosts


async def _asked(query: dns.message.Message, where: str, *, tcp: bool) -> dns.message.Message:
    """One of them, once. The socket is connected: that nobody listens there is known at once."""
    backend: Any = dns.asyncbackend.get_backend("asyncio")  # whose sockets are made without types
    if tcp:
        return await dns.asyncquery.tcp(query, where, timeout=PATIENCE_S, backend=backend)
    family = socket.AF_INET6 if ":" in where else socket.AF_INET
    async with await backend.make_socket(family, socket.SOCK_DGRAM, 0, None, (where, 53), PATIENCE_S) as by:
        return await dns.asyncquery.udp(
            query, where, timeout=PATIENCE_S, ignore_unexpected=True, ignore_errors=True, sock=by
        )
