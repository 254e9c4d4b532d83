"""The warm standby: a control that reads what the active one has stored, and takes over when that is gone.

In: the store, its lease, and the core and the book of accounts that the API reads from. Out: both as the active control
stored them a moment ago; the end of `follow` when the lease is this control's and its core has started. It writes
nothing before. What is read is decided in memory alone: plan and verdict are never stored by anybody.
"""

import asyncio
import logging
import time
from collections.abc import Callable

from anypop.control.accounts import Accounts
from anypop.control.core import Core
from anypop.control.lease import BEAT_S, Lease
from anypop.model.errors import WorldError
from anypop.plan.check import Unsafe

log = logging.getLogger("anypop.control")

LOOK_S = 0.25  # how often the lock is asked for: so long is nobody active
# How often the store is read anew: not more than a tenth of the time, whatever the size of the platform.
READ_S = 2.0
READING_PART = 0.1


class Standby:
    """`active_at`: where the active control answers, as far as it is known; empty: not known."""

    def __init__(self, core: Core, accounts: Accounts, lease: Lease) -> None:
        self._core = core
        self._accounts = accounts
        self._lease = lease
        self.active_at = ""

    async def follow(self, prepare: Callable[[], None]) -> None:
        """Until this control is the active one. `prepare`: migrates, and takes the lease in a new epoch."""
        due = 0.0
        while not await asyncio.to_thread(self._may_begin):
            if time.monotonic() >= due:
                took = await self._read()
                due = time.monotonic() + max(READ_S, took / READING_PART)
            await asyncio.sleep(LOOK_S)
        await asyncio.to_thread(prepare)
        await asyncio.to_thread(self._accounts.read)
        await self._core.take_over()

    def _may_begin(self) -> bool:
        try:
            holder = self._lease.holder()
            self.active_at = holder.address if holder is not None else ""
            return self._lease.try_lock()
        except WorldError as error:
            log.warning("the standby cannot ask for the lease: %s", error)
            return False

    async def _read(self) -> float:
        """Seconds that it took. What cannot be read or planned leaves what is known as it is."""
        began = time.monotonic()
        try:
            await asyncio.to_thread(self._accounts.read)
            await self._core.follow()
        except (WorldError, Unsafe) as error:
            log.warning("the standby goes on with what it knew: %s", error)
        return time.monotonic() - began


async def keep(lease: Lease, deposed: Callable[[], None]) -> None:
    """Beat for as long as this control is the active one; then `deposed`. A database that does not answer is no news:
    nobody can write to it meanwhile, and when it is back it says who is active.
    """
    told = False
    while True:
        try:
            if not await asyncio.to_thread(lease.holds):
                log.error("another control has become the active one: this one stands by")
                deposed()
                return
            told = False
        except WorldError as error:
            if not told:
                log.error("the lease cannot be kept for now: %s", error)
            told = True
        await asyncio.sleep(BEAT_S)
