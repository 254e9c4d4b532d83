"""What a machine that runs is asked: QEMU by QMP, and the agent inside the guest by the same protocol.

In: its folder, one question. Out: the answer, or `WorldError`: each has a deadline, and the connection lasts for one
question. So nothing has to be found again after the death of this process, and an end of file is no more than an
answer that did not come. How a machine ends is known from its process, not from here.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

from anypop.agent.act.instances.machines.place import FROZEN, GUEST_AGENT, QMP, Place
from anypop.model.errors import WorldError

ANSWER_S = 5.0
_FREEZE_S = 2.0
_PAUSE_S = 0.05  # between two looks whether a command in the guest has ended: nobody tells


async def ask(place: Place, command: str, /, *, within_s: float = ANSWER_S, **arguments: Any) -> Any:
    """QEMU's answer. A whole conversation, greeting and all: some milliseconds."""
    return await _ask(place, QMP, command, arguments, within_s)


async def ask_guest(place: Place, command: str, /, *, within_s: float = ANSWER_S, **arguments: Any) -> Any:
    """The answer of the agent in the guest; one that is not there answers as little as one that hangs."""
    return await _ask(place, GUEST_AGENT, command, arguments, within_s)


async def _ask(place: Place, socket: str, command: str, arguments: Mapping[str, Any], within_s: float) -> Any:
    whose = "QEMU" if socket == QMP else "the guest's agent"
    async with answering(place, command, within_s, whose=whose), conversation(place, socket) as client:
        return await client.execute(command, dict(arguments) or None)


@contextlib.asynccontextmanager
async def answering(place: Place, command: str, within_s: float, *, whose: str = "QEMU") -> AsyncIterator[None]:
    """One question inside, with its deadline. Raises `WorldError` for whatever went wrong with it."""
    from qemu.qmp import QMPError  # noqa: PLC0415 - no host needs it that has no machine

    what = f"ask the machine {place.uid} for {command}"
    try:
        async with asyncio.timeout(within_s):
            yield
    except TimeoutError as error:
        raise WorldError(what, f"{whose} did not answer within {within_s:g} s") from error
    except (QMPError, OSError, EOFError) as error:
        raise WorldError(what, str(error) or type(error).__name__) from error


@contextlib.asynccontextmanager
async def conversation(place: Place, socket: str) -> AsyncIterator[Any]:
    from qemu.qmp import QMPClient  # noqa: PLC0415 - as above

    client = QMPClient(place.uid)
    if socket == GUEST_AGENT:  # it waits to be spoken to
        client.await_greeting = client.negotiate = False
    with place.reachable(socket) as path:
        await client.connect(path)
    try:
        yield client
    finally:
        with contextlib.suppress(Exception):  # whatever ended the connection has been told already
            await client.disconnect()


async def run_in_guest(place: Place, command: tuple[str, ...], timeout_s: float) -> int:
    """The exit code of a command that the guest's agent runs. What it says is not asked for. One that takes too long
    goes on inside, since the agent ends nobody.
    """
    what = f"run {' '.join(command[:1]) or 'nothing'} in the guest"
    if not command:
        raise WorldError(what, "there is no command")
    started = await ask_guest(place, "guest-exec", path=command[0], arg=list(command[1:]), within_s=timeout_s)
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                told = await ask_guest(place, "guest-exec-status", pid=started["pid"], within_s=timeout_s)
                if told["exited"]:
                    return int(told.get("exitcode", 128 + int(told.get("signal", 0))))
                await asyncio.sleep(_PAUSE_S)
    except TimeoutError as error:
        raise WorldError(what, "took too long") from error


async def ask_to_end(place: Place) -> None:
    """By the power button, and by the agent where the guest has one that answers. Raises `WorldError` where QEMU does
    not answer either.
    """
    pressed = ask(place, "system_powerdown")
    with contextlib.suppress(WorldError):
        await ask_guest(place, "guest-ping", within_s=0.5)
        with contextlib.suppress(WorldError):  # it does not answer to this where it succeeds
            await ask_guest(place, "guest-shutdown", mode="powerdown", within_s=0.5)
    await pressed


async def freeze(place: Place) -> None:
    """The guest's file systems are still from now on, where its agent can do that; else a copy of its disks is what a
    power cut would leave.
    """
    place.file(FROZEN).touch()
    with contextlib.suppress(WorldError):
        await ask_guest(place, "guest-fsfreeze-freeze", within_s=_FREEZE_S)


async def thaw(place: Place) -> None:
    """Let them go on. Nothing where nobody has held them still."""
    if place.file(FROZEN).exists():
        with contextlib.suppress(WorldError):
            await ask_guest(place, "guest-fsfreeze-thaw", within_s=_FREEZE_S)
        place.file(FROZEN).unlink(missing_ok=True)
