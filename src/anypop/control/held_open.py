"""What is held open for somebody: logs and events that go on, commands, connections to ports. Each ends with what let
it in.

In: who asks, and for what; news of access that has ended (`ends`). Out: for each that is open a future, done with the
words for its client when it may be open no longer: at once for what is taken away, by a timer for what ends by itself.
That goes into the audit log. It knows no HTTP and closes nothing: who holds a connection open watches its future.
Only from the event loop, but for the news.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from anypop.control import acts
from anypop.control.accounts import Accounts, Caller
from anypop.control.acts import Act
from anypop.control.audit import Noted
from anypop.control.ends import End
from anypop.control.refusals import Refused
from anypop.control.store import Store
from anypop.control.tokens import Grant
from anypop.model.errors import WorldError

OPERATION = "end_stream"  # as the audit log has it
SESSION_OVER = "this session is over: sign in again"
CREDENTIAL_OVER = "this credential has ended"

log = logging.getLogger("anypop.control")


@dataclass(frozen=True, slots=True, eq=False)
class _Held:
    grant: Grant
    operation: str
    over: "asyncio.Future[str]"


class HeldOpen:
    """All of this control's. `allowed`: raises `Refused` where a caller may not do an operation (any more)."""

    def __init__(
        self,
        accounts: Accounts,
        store: Store,
        clock: Callable[[], float],
        allowed: Callable[[Caller, str], None],
    ) -> None:
        self._accounts, self._store, self._clock, self._allowed = accounts, store, clock, allowed
        self._open: set[_Held] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        accounts.ends.listen(self._hear)

    def __len__(self) -> int:
        return len(self._open)

    @asynccontextmanager
    async def hold(
        self, caller: Caller, operation: str, subject: str, *, with_token: bool = False
    ) -> "AsyncIterator[asyncio.Future[str]]":
        """The future of one that opens now; at the end of the block it is closed, whoever wanted that. `with_token`: it
        ends with the token too, where nobody here would hear of its credential's end.

        A token of a credential lasts for an hour and is renewed by whoever has the secret; what is open goes on to the
        end of the credential.
        """
        grant, self._loop = caller.grant, asyncio.get_running_loop()
        held = _Held(grant, operation, self._loop.create_future())
        self._open.add(held)
        ends_at: float | None = grant.expires_at
        why = SESSION_OVER
        if grant.client_id and not with_token:
            ends_at, why = grant.ends_at, CREDENTIAL_OVER
        timer = None
        if ends_at is not None:
            timer = self._loop.call_later(max(0.0, ends_at - self._clock()), _finish, held, why)
        self._look(held, None)  # it may have ended since it was asked for
        act = replace(acts.current() or Act(), operation=OPERATION, subject=subject)
        try:
            yield held.over
        finally:
            self._open.discard(held)
            if timer is not None:
                timer.cancel()
            if held.over.done():
                noted = Noted(subject=subject, account_id=grant.account_id,
                              became={"of": operation, "why": held.over.result()})  # fmt: skip
                await asyncio.shield(asyncio.to_thread(self._note, act, noted))

    def _note(self, act: Act, noted: Noted) -> None:
        with contextlib.suppress(WorldError), acts.acting(replace(act, at=self._clock())):
            self._store.note(noted)

    def _hear(self, end: End | None) -> None:
        if self._loop is not None and self._open:
            with contextlib.suppress(RuntimeError):  # the loop is closed: so is everything that it held
                self._loop.call_soon_threadsafe(self._look_at_all, end)

    def _look_at_all(self, end: End | None) -> None:
        for held in tuple(self._open):
            self._look(held, end)

    def _look(self, held: _Held, end: End | None) -> None:
        grant = held.grant
        if end is not None and end.means(
            token=grant.token, client_id=grant.client_id, user_id=grant.user_id, account_id=grant.account_id
        ):
            _finish(held, end.why)
            return
        try:
            self._allowed(self._accounts.still(grant), held.operation)
        except Refused as refused:
            _finish(held, refused.message)


def _finish(held: _Held, why: str) -> None:
    if not held.over.done():
        held.over.set_result(why)
