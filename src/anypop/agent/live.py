"""Begin the agent of a host: its priority, its folder, its lock, what it is made of.

In: what the command line says. Out: an agent that runs until this process is killed. One on each state folder.
"""

import asyncio
import fcntl
import gc
import os
import signal
import time
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from anypop.agent.act.instances.gate import written_addresses
from anypop.agent.act.instances.image_cache import ImageCache
from anypop.agent.act.instances.machines.machines import Machines
from anypop.agent.act.instances.podman import Podman
from anypop.agent.act.instances.runtimes import Runtimes
from anypop.agent.act.volumes.keeper import Keeper
from anypop.agent.between_hosts import reach
from anypop.agent.captures import Captures
from anypop.agent.control_client import ControlClient
from anypop.agent.image_hosts import ImageHosts
from anypop.agent.moving import Moving
from anypop.agent.run import CAPTURES, KEPT_LOGS, MACHINE_IMAGES, MACHINES, Agent
from anypop.host.priority import run_before
from anypop.host.shared_mounts import volumes_top
from anypop.model.errors import WorldError
from anypop.model.names import CityCode, HostName
from anypop.model.steady import SteadyClock

NICE = -10  # who takes the dead out of traffic waits for no tenant; BIRD and BFD go before it


def live(
    *,
    prefix: str,
    pop: CityCode,
    host: HostName,
    state: Path,
    podman: Path,
    control: Sequence[str],
    ca: Path | None,
    token_file: Path | None,
    joins: bool,
) -> None:
    """Run the agent of `host`, which stands in `pop`, one on each state folder, until it is killed. `podman`: the
    service's socket; `joins`: it gets a certificate by itself. Raises `WorldError` when another agent runs on the
    folder.
    """
    asyncio.run(
        _live(
            prefix=prefix, pop=pop, host=host, state=state, podman=podman, control=(control, ca, token_file),
            joins=joins,
        )
    )  # fmt: skip


async def _live(
    *,
    prefix: str,
    pop: CityCode,
    host: HostName,
    state: Path,
    podman: Path,
    control: tuple[Sequence[str], Path | None, Path | None],
    joins: bool,
) -> None:
    run_before(NICE)
    state.mkdir(parents=True, exist_ok=True, mode=0o700)  # noqa: ASYNC240 - nothing else runs in this loop yet
    lock = os.open(state / "agent.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # held until this process ends, however it ends
    except BlockingIOError as error:
        raise WorldError(f"start the agent in {state}", "another agent runs there") from error
    (url, *others), ca, token_file = control
    whole = state.resolve()  # noqa: ASYNC240 - nothing else runs in this loop yet
    volumes = volumes_top(whole)
    client = ControlClient(
        host=host, control=url, others=others, ca=ca, token_file=token_file, state=state, joins=joins
    )
    clock = SteadyClock(time.time, time.monotonic)
    moved, ways = Counter[str](), partial(reach, state, ca) if ca is not None else None
    hosts = ImageHosts(whole / MACHINE_IMAGES, client, ways, moved) if ways is not None else None
    images = ImageCache(
        whole / MACHINE_IMAGES, client.image_file, others=hosts.sources if hosts is not None else None, wall=clock,
        moved=moved,
    )  # fmt: skip
    if hosts is not None:
        hosts.coming = images.coming
    machines = Machines(whole / MACHINES, prefix=prefix, pop=pop, images=images, volumes=volumes, ways=ways)
    agent = Agent(
        prefix=prefix, pop=pop, host=host, state=state,
        runtime=Runtimes(
            Podman(
                podman, prefix=prefix, pop=pop, forbidden=written_addresses(url, *others), kept=state / KEPT_LOGS,
                volumes=volumes,
            ),
            machines,
        ),
        moving=Moving(state, ca, machines, hosts) if ca is not None else None,
        captures=Captures(whole / CAPTURES, machines, wall=clock),
        image_bytes=moved,
        keeper=Keeper(whole, podman),
        control=client,
        clock=clock,
    )  # fmt: skip
    # an operator's wish for a full look now
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, agent.look_now)
    gc.freeze()  # what start-up made lives to the end: the collector need not walk over it again
    await agent.run()
