"""Questions by UDP from every vantage, one every few milliseconds from each, that a lost packet loses for good.

TCP would send again and hide a loss of less than a second. Each vantage is a process of its own with a fixed number of
flows, asked in turn, so that every instance has some of each. A question that has no answer within `PATIENCE_S` has
failed. What is told is by the time at which questions were sent.
"""

import contextlib
import select
import socket
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from statistics import median

from anypop.lab.address import VantageHost
from bench.vantage_processes import VantageProcesses

PATIENCE_S = 1.0
FLOWS = 64
_NUMBER = struct.Struct(">Q")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What all vantages saw of a time. `outage_ms`: at the worst of them from the first question that failed to the
    last, less what was on its way when the fault came (the time of one round trip).
    """

    asked: int
    failed: int
    outage_ms: float


class UdpLoad(VantageProcesses):
    """Asks while the block runs."""

    def __init__(self, vantages: Sequence[VantageHost], address: str, *, port: int, interval_s: float) -> None:
        super().__init__(vantages, _run, address, port, interval_s)

    def end(self) -> None:
        for link in self.links:
            with contextlib.suppress(OSError):
                link.send(None)

    def seen(self, since: float, until: float) -> Seen:
        """Of the questions sent in between (seconds of the monotonic clock). Returns when each has had its time."""
        time.sleep(max(0.0, until + PATIENCE_S - time.monotonic()))
        for link in self.links:
            link.send((since, until))
        rows = [link.recv() for link in self.links]
        return Seen(
            asked=sum(asked for asked, _, _ in rows),
            failed=sum(failed for _, failed, _ in rows),
            outage_ms=1000 * max(outage for _, _, outage in rows),
        )


def _run(link: Connection, address: str, port: int, interval_s: float) -> None:
    poll = select.epoll()
    flows = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(FLOWS)]
    by_handle = {flow.fileno(): flow for flow in flows}
    for flow in flows:
        flow.setblocking(False)
        flow.connect((address, port))
        poll.register(flow, select.EPOLLIN)
    sent: list[float] = []
    trips: dict[int, float] = {}
    link.send("ready")
    begun = time.monotonic()
    while True:
        number = len(sent)
        with contextlib.suppress(OSError):
            flows[number % FLOWS].send(_NUMBER.pack(number))
        sent.append(time.monotonic())
        due = begun + (number + 1) * interval_s
        while (left_s := due - time.monotonic()) > 0:
            for handle, _ in poll.poll(left_s):
                with contextlib.suppress(OSError):
                    found = _NUMBER.unpack(by_handle[handle].recv(64))[0]
                    trips[found] = time.monotonic() - sent[found]
        if link.poll():
            wanted = link.recv()
            if wanted is None:
                return
            since, until = wanted
            link.send(_told(sent, trips, since, until, interval_s))


def _told(
    sent: Sequence[float], trips: dict[int, float], since: float, until: float, interval_s: float
) -> tuple[int, int, float]:
    """How many were asked, how many failed, and the length of the outage in seconds."""
    asked = [number for number, at in enumerate(sent) if since <= at < until]
    failed = [number for number in asked if trips.get(number, PATIENCE_S) >= PATIENCE_S]
    if not failed:
        return len(asked), 0, 0.0
    before = [trips[n] for n in asked if n < failed[0] and n in trips]
    lasted = sent[failed[-1]] - sent[failed[0]] + interval_s - (median(before) if before else 0.0)
    return len(asked), len(failed), max(lasted, interval_s)
