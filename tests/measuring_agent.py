"""The agent's own meter and streams on one host of a served world: what `tests.measured` plays, really counted.

In: a served world, a host's name, a folder. Out: an agent of which nothing else runs: it counts each second, keeps its
tiers in the folder, and answers control. The process of each of its instances is one that sleeps, in a control group of
its own. Root: the kernel counts for it.
"""

import asyncio
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from websockets.asyncio.client import connect

from anypop.agent.decide.elements import ContainerSeen, ContainerState
from anypop.agent.naming import traffic_table
from anypop.agent.observe.meter import Meter
from anypop.agent.observe.metering import Known
from anypop.agent.streams import Streams
from anypop.host import limited_groups, process
from anypop.host.limited_groups import LEAVES_S, Limits
from anypop.model.errors import WorldError
from anypop.model.order import Order
from tests.served import Served
from tests.wait import wait_until

LIMITS = Limits(cpu_millis=500, share_millis=500, memory_bytes=64 << 20, processes=20)


class _ToControl:
    """See `anypop.agent.control_client`; without TLS."""

    def __init__(self, there: Served, host: str) -> None:
        token = (there.world.folder / "agents" / f"{host}.token").read_text().strip()
        self._path = f"ws://{there.address}/anypop/v1/agents/{host}/"
        self._headers = {"authorization": f"Bearer {token}"}

    def connect(self, what: str) -> connect:
        return connect(self._path + what, additional_headers=self._headers, proxy=None)


@contextmanager
def _sleeping(name: str) -> Iterator[int]:
    """A process in a control group of that name."""
    sleeper = subprocess.Popen(["sleep", "600"])
    try:
        for file in limited_groups.make(name, LIMITS):
            file.write_text(str(sleeper.pid))
        yield sleeper.pid
    finally:
        sleeper.kill()
        sleeper.wait()
        assert limited_groups.remove(name, LEAVES_S)


@contextmanager
def measuring_agent(there: Served, host: str, order: Order, folder: Path, *, prefix: str) -> Iterator[Meter]:
    """Until the end of the block. `prefix`: of the kernel's table, and of the control group."""
    group = f"{prefix}-measured"
    with (
        _sleeping(group) as pid,
        _agent(there, host, order, folder, prefix=prefix, group=group, pid=pid) as meter,
    ):
        yield meter


@contextmanager
def _agent(
    there: Served, host: str, order: Order, folder: Path, *, prefix: str, group: str, pid: int
) -> Iterator[Meter]:
    containers = [
        ContainerSeen(id=group, instance=one.name, uid=one.uid, container="web", state=ContainerState.RUNNING, pid=pid)
        for one in order.instances
    ]
    known = Known(order=order, instances=order.instances, containers=containers)
    meter = Meter(pop=order.pop, host=host, prefix=prefix, known=lambda: known, clock=time.time, folder=folder)
    rest: Any = None  # of an agent: nobody asks for it
    streams = Streams(
        _ToControl(there, host), rest, containers=lambda: containers, logs_in=lambda _: None, kept=folder, usage=rest,
        shipping=rest, console_of=lambda _: None, take_password=lambda _: None, metrics=meter.text,
        samples=meter.samples, routes=rest, catchments=rest, prefix=prefix,
    )  # fmt: skip
    loop, over = asyncio.new_event_loop(), asyncio.Event()

    async def live() -> None:
        tasks = [asyncio.create_task(one) for one in (meter.run(), streams.run())]
        await over.wait()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    thread = threading.Thread(target=loop.run_until_complete, args=(live(),))
    thread.start()
    connected = there.world.platform.streams
    try:
        wait_until(lambda: host in connected.connected, timeout_s=10, reason=f"{host} is connected")
        yield meter
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(20)
        meter.close()
        loop.close()
        with suppress(WorldError):  # it had not begun to count
            process.run(["nft", "delete", "table", "inet", traffic_table(prefix)])
