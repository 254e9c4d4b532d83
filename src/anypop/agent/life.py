"""The agent's process once its command line has been read: one on each state folder, until it is killed.

In: the command line's values. Out: never; raises `WorldError` when another agent runs on the folder. Apart from `__main__`, which also ends
a PoP and then needs none of what is loaded here.
"""

import asyncio
import fcntl
import os
import signal
from pathlib import Path

from anypop.agent.courier import Courier
from anypop.agent.loop import Agent
from anypop.agent.runtime.podman import Podman
from anypop.model.errors import WorldError
from anypop.model.names import CityCode, HostName


def live(*, prefix: str, pop: CityCode, host: HostName, state: Path, podman: Path, control: str, ca: Path | None, token_file: Path | None) -> None:
    """Run the agent of `host`, which stands in `pop`. `podman`: the service's socket."""
    asyncio.run(_live(prefix=prefix, pop=pop, host=host, state=state, podman=podman, courier=(control, ca, token_file)))


async def _live(
    *, prefix: str, pop: CityCode, host: HostName, state: Path, podman: Path, courier: tuple[str, Path | None, Path | None]
) -> None:
    state.mkdir(parents=True, exist_ok=True, mode=0o700)  # noqa: ASYNC240 - nothing else runs in this loop yet
    lock = os.open(state / "agent.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # held until this process ends, however it ends
    except BlockingIOError as error:
        raise WorldError(f"start the agent in {state}", "another agent runs there") from error
    control, ca, token_file = courier
    agent = Agent(
        prefix=prefix, pop=pop, host=host, state=state, runtime=Podman(podman, prefix=prefix, pop=pop),
        courier=Courier(host=host, control=control, ca=ca, token_file=token_file),
    )  # fmt: skip
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, agent.look_now)  # an operator's wish for a full look now
    await agent.run()
