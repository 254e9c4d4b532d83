"""Load from every vantage: a new connection every few milliseconds from each, in processes of their own.

Each asks on time whatever the answers do, with at most so many requests on their way: more than the machine can carry
would only measure the queues of its web servers. In: vantages and an address. Out: how many requests were asked, how
many failed, and of what.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from multiprocessing.connection import Connection

from anypop.lab.address import VantageHost
from bench.vantage_processes import VantageProcesses

# A SYN that found a full queue of the web server is sent again after 1, 3 and 7 s: that is the load's own doing. A
# broken flow is reset at once, or never answers.
PATIENCE_S = 10.0
# from each vantage: at 2 ms apart a round trip of 0.2 s, the longest in the lab, is always in flight
MOST_ON_THEIR_WAY = 100


class Load(VantageProcesses):
    """From `with` until its end. Then `asked` and `failed` count the requests of all vantages, and `errors` says
    what went wrong.
    """

    def __init__(self, vantages: Sequence[VantageHost], address: str, *, interval_s: float, port: int = 80) -> None:
        super().__init__(vantages, _run, address, port, interval_s)
        self.asked = self.failed = 0
        self.errors: list[str] = []

    def end(self) -> None:
        for link in self.links:
            link.send("stop")
        for link in self.links:
            if link.poll(30):
                asked, failed, errors = link.recv()
                self.asked += asked
                self.failed += failed
                self.errors += errors


def _run(link: Connection, address: str, port: int, interval_s: float) -> None:
    """Ready once it has had its first answer."""
    link.send(asyncio.run(_ask_on(link, address, port, interval_s)))


async def _ask_on(link: Connection, address: str, port: int, interval_s: float) -> tuple[int, int, list[str]]:
    results: list[str] = []
    asked = 0
    tasks: set[asyncio.Task[None]] = set()

    async def ask() -> None:
        results.append(await _request(address, port))

    for _ in range(1000):
        if not await _request(address, port):
            break
        await asyncio.sleep(0.05)  # nobody tells when a route has come
    link.send("ready")
    begun = time.monotonic()
    turn = 0
    while not link.poll():
        turn += 1
        if len(tasks) < MOST_ON_THEIR_WAY:
            task = asyncio.create_task(ask())
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            asked += 1
        await asyncio.sleep(max(0.0, begun + turn * interval_s - time.monotonic()))
    link.recv()
    if tasks:
        await asyncio.wait(tasks)
    failures = [result for result in results if result]
    return asked, len(failures), [f"{count} x {what}" for what, count in Counter(failures).most_common(10)]


async def _request(address: str, port: int) -> str:
    """Empty where it was answered well, else what went wrong."""
    writer = None
    try:
        async with asyncio.timeout(PATIENCE_S):
            reader, writer = await asyncio.open_connection(address, port)
            writer.write(b"GET / HTTP/1.0\r\n\r\n")
            answer = await reader.read()
            return "" if answer.startswith((b"HTTP/1.0 200", b"HTTP/1.1 200")) else f"answered {answer[:40]!r}"
    except TimeoutError:
        return "no answer in time"
    except OSError as error:
        return error.strerror or type(error).__name__
    finally:
        if writer is not None:
            writer.transport.abort()
