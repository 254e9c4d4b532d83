"""A process that counts 100 instances each second, as an agent does, or reads the same files of the kernel and no more.

In: which of both, for how long, a folder for samples, and `id:pid` of each instance. Out: on standard output, how much
of a core it took, in percent, three times. It runs in the network namespace that has the links.
"""

import asyncio
import sys
import time
from pathlib import Path

from tests.agent_lab import ANYCAST4, ANYCAST6, instance

from anypop.agent.act.network import traffic
from anypop.agent.act.network.nft import nft
from anypop.agent.decide.elements import ContainerSeen, ContainerState
from anypop.agent.naming import link_of, traffic_table
from anypop.agent.observe import groups, interfaces
from anypop.agent.observe.meter import Meter
from anypop.agent.observe.metering import Known

PREFIX, ROUNDS = "bmh", 3


async def main(what: str, seconds: float, folder: Path, pairs: list[tuple[str, int]]) -> None:
    ones = tuple(instance(n, uid=id_) for n, (id_, _) in enumerate(pairs))
    containers = tuple(
        ContainerSeen(
            id=id_, instance=one.name, uid=one.uid, container="web", state=ContainerState.RUNNING, pid=pid,
        )
        for one, (id_, pid) in zip(ones, pairs, strict=True)
    )  # fmt: skip
    known = Known(
        order=None, instances=ones, containers=containers, took_us={one.uid: 200 + n for n, one in enumerate(ones)}
    )
    if what == "counted":
        meter = Meter(pop="LHR", host="LHR", prefix=PREFIX, known=lambda: known, clock=time.time, folder=folder)
        running = asyncio.create_task(meter.run())
        await traffic.keep(PREFIX)
        for version, address in ((4, ANYCAST4), (6, ANYCAST6)):  # as if each had got packets to both addresses
            members = ", ".join(f'"{link_of(one.uid)}" . {address}' for one in ones)
            for kind in ("led", "began"):
                await nft(
                    "count", "add", "element", "inet", traffic_table(PREFIX), f"{kind}{version}", f"{{ {members} }}"
                )
    else:
        running = asyncio.create_task(read([(id_, pid) for id_, pid in pairs]))
    await asyncio.sleep(2)
    for _ in range(ROUNDS):
        before, began = time.process_time(), time.monotonic()
        await asyncio.sleep(seconds)
        print(100 * (time.process_time() - before) / (time.monotonic() - began), flush=True)
    running.cancel()
    if what == "counted":
        latest = meter.latest
        assert latest is not None and sum(value is not None for value in latest.row.values) > 14 * len(ones)


async def read(places: list[groups.Place]) -> None:
    kept = groups.Groups()
    while True:
        kept.read(places)
        interfaces.read()
        await asyncio.sleep(1)


if __name__ == "__main__":
    asyncio.run(
        main(sys.argv[1], float(sys.argv[2]), Path(sys.argv[3]),
             [(id_, int(pid)) for id_, pid in (word.split(":") for word in sys.argv[4:])])
    )  # fmt: skip
