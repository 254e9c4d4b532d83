"""What somebody else does to learnt routes and to policy rules, as it happens.

In: the speaker's process. Out: one call for each burst of learnt routes that were deleted by another process than the
speaker (an operator's `ip route flush`), one for each burst of changed rules. The speaker's own withdrawals, thousands
in a minute under a full table, are dropped by the kernel (a classic BPF program on the message's type, its protocol and
its sender), as are deletions by the kernel itself: a link that is gone is the speaker's to notice.
"""

import asyncio
import re
import socket
import struct
from collections.abc import Callable
from pathlib import Path

from anypop.agent.observe.kernel_monitor import attach_filter, listen

_ROUTE4, _ROUTE6, _RULE4, _RULE6 = 7, 11, 8, 19
_BIRD, _DELETED = 12, 25  # RTPROT_BIRD, RTM_DELROUTE
_TYPE_AT, _SENDER_AT, _PROTOCOL_AT = 4, 12, 16 + 5
_LOAD_BYTE, _LOAD_WORD, _JUMP_EQUAL, _RETURN = 0x30, 0x20, 0x15, 0x06  # linux/filter.h
_SETTLE_S = 0.1  # a flush is a burst: one answer for all of it
_RULES_SETTLE_S = 0.02  # rules are few, and packets go astray while one is missing


class LearntMonitor:
    """Listens in the network namespace of the thread that makes it; calls in the event loop's thread."""

    def __init__(self, *, deleted: Callable[[], None], ruled: Callable[[], None]) -> None:
        self._routes, self._rules = listen(_ROUTE4, _ROUTE6), listen(_RULE4, _RULE6)
        self._speaker: tuple[int | None, frozenset[int]] = (None, frozenset())
        self._due: set[Callable[[], None]] = set()
        attach_filter(self._routes, [(_RETURN, 0, 0, 0)])  # without a speaker nothing is learnt
        loop = asyncio.get_running_loop()
        loop.add_reader(self._routes, self._readable, self._routes, deleted, _SETTLE_S)
        loop.add_reader(self._rules, self._readable, self._rules, ruled, _RULES_SETTLE_S)

    def follow(self, pid: int | None) -> None:
        """The speaker's process is this one now. Cheap where it is the same as before."""
        if pid == self._speaker[0] and self._speaker[1]:
            return
        ports = netlink_ports(pid) if pid is not None else frozenset()
        self._speaker = pid, ports
        attach_filter(self._routes, _deletions_by_others(sorted(ports)) if ports else [(_RETURN, 0, 0, 0)])

    def close(self) -> None:
        for sock in (self._routes, self._rules):
            asyncio.get_running_loop().remove_reader(sock)
            sock.close()

    def _readable(self, sock: socket.socket, call: Callable[[], None], settle_s: float) -> None:
        try:
            while sock.recv(1 << 16):
                pass
        except OSError:
            pass  # nothing more, or more than fits: it is enough that something happened
        if call not in self._due:
            self._due.add(call)
            asyncio.get_running_loop().call_later(settle_s, self._call, call)

    def _call(self, call: Callable[[], None]) -> None:
        self._due.discard(call)
        call()


def netlink_ports(pid: int) -> frozenset[int]:
    """The netlink addresses of a process's sockets in our namespace: what its messages carry as their sender."""
    try:
        opened = {str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()}
        rows = [row.split() for row in Path("/proc/self/net/netlink").read_text().splitlines()[1:]]
    except OSError:
        return frozenset()
    sockets = {match[1] for text in opened if (match := re.fullmatch(r"socket:\[(\d+)\]", text))}
    return frozenset(int(row[2]) for row in rows if row[1] == "0" and row[-1] in sockets)


def _deletions_by_others(ports: list[int]) -> list[tuple[int, int, int, int]]:
    """Accept deletions of the speaker's routes by anybody but these senders and the kernel (0)."""
    senders = [0, *ports]
    refuse = len(senders) + 1  # instructions from the first comparison of the sender to the refusal
    program = [
        (_LOAD_BYTE, 0, 0, _TYPE_AT),
        (_JUMP_EQUAL, 0, refuse + 3, _DELETED),
        (_LOAD_BYTE, 0, 0, _PROTOCOL_AT),
        (_JUMP_EQUAL, 0, refuse + 1, _BIRD),
        (_LOAD_WORD, 0, 0, _SENDER_AT),
    ]
    for number, port in enumerate(senders):
        # a word is loaded in network order, and the sender stands in the machine's own
        (value,) = struct.unpack(">I", struct.pack("=I", port))
        program.append((_JUMP_EQUAL, len(senders) - number, 0, value))
    return [*program, (_RETURN, 0, 0, 0xFFFF), (_RETURN, 0, 0, 0)]
