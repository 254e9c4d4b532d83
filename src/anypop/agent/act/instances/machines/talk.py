"""A conversation with one QEMU that lasts, for a move: commands, and what it tells by itself, in order.

In: the folder of a machine. Out: answers, events, or `WorldError`. The library's one task reads; the end of the
connection is told to whoever waits, and is never waited out. It has a socket of its own, so that questions of others
are answered meanwhile.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from anypop.agent.act.instances.machines import monitor
from anypop.agent.act.instances.machines.place import MOVE_QMP, Place
from anypop.model.errors import WorldError


class Talk:
    """`open_talk` makes one."""

    def __init__(self, place: Place, client: Any) -> None:
        self._place, self._client = place, client

    async def ask(self, command: str, /, *, within_s: float = monitor.ANSWER_S, **arguments: Any) -> Any:
        """The answer. Names of arguments have `_` for `-`."""
        given = {name.replace("_", "-"): value for name, value in arguments.items()}
        async with monitor.answering(self._place, command, within_s):
            return await self._client.execute(command, given or None)

    async def lend(self, name: str, handle: int) -> None:
        """Give it an open file under a name; ours may be closed afterwards."""
        self._client.send_fd_scm(handle)
        await self.ask("getfd", fdname=name)

    async def hears(self, is_it: Callable[[str, Mapping[str, Any]], bool]) -> tuple[str, Mapping[str, Any]]:
        """The next event of which `is_it` is true, with its data; those before it are passed over. Waits as long as the
        conversation lasts: raises `WorldError` at its end.
        """
        while True:
            event = await self._next()
            if is_it(name := event["event"], data := event.get("data", {})):
                return name, data

    async def _next(self) -> Mapping[str, Any]:
        from qemu.qmp import Runstate  # noqa: PLC0415 - no host needs it that has no machine

        heard = asyncio.ensure_future(self._client.events.get())
        over = asyncio.ensure_future(self._client.runstate_changed())
        try:
            if self._client.runstate is Runstate.RUNNING:
                await asyncio.wait({heard, over}, return_when=asyncio.FIRST_COMPLETED)
            else:
                await asyncio.sleep(0)
            if heard.done():
                return heard.result()  # type: ignore[no-any-return]
        finally:
            heard.cancel()
            over.cancel()
        raise WorldError(f"listen to the machine {self._place.uid}", "QEMU has ended")


@contextlib.asynccontextmanager
async def open_talk(place: Place) -> AsyncIterator[Talk]:
    """Raises `WorldError` where nobody answers: QEMU has ended, or was begun by a version that could not move it."""
    from qemu.qmp import QMPError  # noqa: PLC0415 - as above

    async with contextlib.AsyncExitStack() as opened:
        try:
            async with asyncio.timeout(monitor.ANSWER_S):
                client = await opened.enter_async_context(monitor.conversation(place, MOVE_QMP))
        except (QMPError, OSError, EOFError, TimeoutError) as error:
            raise WorldError(f"speak to the machine {place.uid}", str(error) or type(error).__name__) from error
        yield Talk(place, client)
