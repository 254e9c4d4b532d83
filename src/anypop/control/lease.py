"""The lease: of all controls on one PostgreSQL exactly one is active, and no other can write.

In: the database's address, and under which address this control answers. Out: whether it holds the lease. An advisory
lock on a connection that is held for nothing else makes one the holder, and is free the moment its process or machine
is gone. Each holder has an epoch of its own, and every transaction that writes asks whether it is still the newest, so
one that was overtaken (frozen, cut off) changes nothing more. SQLite needs none of this: its folder has a lock.
"""

import contextlib
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import URL, Connection, NullPool, create_engine, select, text, update
from sqlalchemy.exc import SQLAlchemyError

from anypop.control import schema
from anypop.control.database import in_words
from anypop.model.errors import WorldError

log = logging.getLogger("anypop.control")

_LOCK = 0x616E79706F70  # of the database; "anypop" in ASCII
_NAME = "control"
_BEAT = "beat"  # a row of its own: the other one is held by every transaction that writes
BEAT_S = 1.0
# A holder that has not beaten for so long is frozen or cut off. Its connections are ended, and with them its lock.
STUCK_S = 6.0
# A server that hears nothing from the holder's machine ends the connection after 5 + 3 x 2 seconds.
_KEEPALIVE = (("idle", 5), ("interval", 2), ("count", 3))


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who is active, as the database says."""

    epoch: int
    name: str
    address: str
    beat: int


class Lease:
    """One control's. Called from one thread at a time."""

    def __init__(self, url: URL, name: str, address: str) -> None:
        options: dict[str, object] = {"application_name": name, "connect_timeout": 5, "keepalives": 1}
        options |= {f"keepalives_{key}": value for key, value in _KEEPALIVE}
        self._engine = create_engine(
            url, poolclass=NullPool, isolation_level="AUTOCOMMIT", hide_parameters=True, connect_args=options
        )
        self._link: Connection | None = None
        self._name = name
        self._address = address
        self._watched: tuple[Holder, float] | None = None
        self.epoch = 0
        """Of this control's holding; 0: it is not the active one."""
        self.locked = False

    def try_lock(self) -> bool:
        """Take the lock if it is free. Holding it is not yet being active: `begin` is."""
        with self._asking("ask for the lease"):
            if not self.locked:
                self.locked = bool(self._held().exec_driver_sql(f"SELECT pg_try_advisory_lock({_LOCK})").scalar())
            return self.locked

    def begin(self) -> None:
        """Be the active one, in a new epoch: after this nobody who held it before can write."""
        with self._asking("take the lease"):
            raised = text(
                "INSERT INTO leases (name, epoch, holder, address, beat) VALUES (:name, 1, :holder, :address, 0) "
                "ON CONFLICT (name) DO UPDATE SET epoch = leases.epoch + 1, holder = :holder, address = :address "
                "RETURNING epoch"
            )
            values = {"holder": self._name, "address": self._address}
            self.epoch = self._held().execute(raised, {"name": _NAME, **values}).scalar_one()
            self._held().execute(raised, {"name": _BEAT, **values})

    def holds(self) -> bool:
        """Whether this control is still the active one, told to the others. False when another has taken over; raises
        `WorldError` while the database does not answer, when nobody can be.
        """
        table = schema.leases
        mine = (table.c.name == _BEAT) & (table.c.holder == self._name)
        with self._asking("keep the lease"):
            told = self._held().execute(update(table).where(mine).values(beat=table.c.beat + 1))
            return told.rowcount == 1 and self.try_lock()

    def holder(self) -> Holder | None:
        """Who is active. One that is stuck is put out, so that the lock comes free."""
        table = schema.leases
        with self._asking("look at the lease"):
            row = self._held().execute(select(table).where(table.c.name == _BEAT)).mappings().one_or_none()
            if row is None:
                return None
            found = Holder(epoch=row["epoch"], name=row["holder"], address=row["address"], beat=row["beat"])
            now = time.monotonic()
            if self._watched is None or self._watched[0] != found:
                self._watched = found, now
            elif now - self._watched[1] > STUCK_S:
                log.warning("the active control at %s has been silent for %g s: put out", found.address, STUCK_S)
                ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = :name"
                self._held().execute(text(ended), {"name": found.name})
                self._watched = found, now
            return found

    def fence(self, link: Connection) -> None:
        """Within a transaction that writes: raises `WorldError` where another control is active. The row is held until
        the end, so that nobody takes over in the middle.
        """
        table = schema.leases
        held = link.execute(select(table.c.epoch).where(table.c.name == _NAME).with_for_update(read=True)).scalar()
        if not self.epoch or held != self.epoch:
            raise WorldError("write to the store", "another control is the active one")

    def close(self) -> None:
        self._drop()
        self._engine.dispose()

    @contextlib.contextmanager
    def _asking(self, what: str) -> Iterator[None]:
        """A connection that failed once is not asked again: the lock went with it."""
        try:
            with in_words(what):
                yield
        except WorldError:
            self._drop()
            raise

    def _held(self) -> Connection:
        if self._link is None:
            self.locked = False
            self._link = self._engine.connect()
            for key, value in _KEEPALIVE:
                self._link.exec_driver_sql(f"SET tcp_keepalives_{key} = {value}")
        return self._link

    def _drop(self) -> None:
        if self._link is not None:
            with contextlib.suppress(SQLAlchemyError):
                self._link.invalidate()
                self._link.close()
        self._link = None
        self.locked = False
