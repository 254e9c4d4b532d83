"""The store: SQLite in the state folder, or PostgreSQL where ANYPOP_DATABASE_URL names one. Everything that must
outlive control.

In: two states, before and after; out: one transaction that holds exactly the difference, on disk when `save`
returns. It decides nothing, and it is called from the core's one writer thread or at start, never from the event
loop.
"""

import json
import logging
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from operator import attrgetter
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from sqlalchemy import Connection, Engine, Table, delete, func, select
from sqlalchemy.exc import InterfaceError, OperationalError

from anypop.control import acts, allocation_rows, allocation_tables, audit, rows, schema
from anypop.control.acts import Act
from anypop.control.audit import Noted
from anypop.control.database import (
    address_of,
    connected,
    in_words,
    mark_used,
    migrate,
    refuse_a_lost_one,
    schema_of,
)
from anypop.control.excerpt import Excerpt
from anypop.control.lease import Lease
from anypop.control.rows import Row
from anypop.control.saving import ORDERS_KEPT, put_setting, save_difference, save_keys, save_meters
from anypop.control.seals import seal_what_is_clear
from anypop.control.state import NO_NETWORK, State
from anypop.control.statements import insertion, send
from anypop.control.vault import Vault, open_vault
from anypop.model import codec
from anypop.model.errors import WorldError
from anypop.model.events import Event
from anypop.model.names import HostName, WorkloadId
from anypop.model.network import Network
from anypop.model.order_read import OrderReader
from anypop.model.table import Table as Entries
from anypop.model.table import differing
from anypop.plan.parse import Secret

SCHEMA_HEAD = "0029"  # the newest module under migrations/versions; a test compares
EVENTS_KEPT = 5000
_TOLD_ANEW = frozenset(
    {"reports", "traffic", "history", "plan", "verdict", "awaited", "stirred", "decided_at", "looks", "looked_at"}
)
_LASTING = attrgetter(*(f.name for f in fields(State) if f.name not in _TOLD_ANEW))
EVENTS_PRUNED_EVERY = 100  # so many more may be there for a while
ROOM = 1 << 20  # bytes that must be there before a store that was full counts as writable again
LOOKED_AT_EVERY_S = 5.0  # hosts report as often, so a store that works has been written since

log = logging.getLogger("anypop.control")

K = TypeVar("K")
V = TypeVar("V")


class Store:
    """An open, migrated database.

    `reading` and `writing` are the only ways in. On SQLite a writing transaction takes the write lock at its
    beginning: one that reads first and writes later could find the database changed in between, and would fail at
    once instead of waiting its turn.
    """

    def __init__(self, engine: Engine, vault: Vault, lease: Lease | None = None) -> None:
        self._engine = engine
        self._vault = vault
        self.lease = lease
        self.trouble = ""
        """Why nothing can be written, in words; empty while it can."""
        self._wrote_at = time.monotonic()
        self._reader = engine.execution_options(anypop_reading=True)
        if lease is not None:  # what is read by several questions is of one moment, whoever writes meanwhile
            self._reader = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        self._unwaiting = engine.execution_options(anypop_synchronous="NORMAL")
        self._unpruned = EVENTS_PRUNED_EVERY

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection that only reads. Raises `WorldError`."""
        with in_words("read the store"), self._reader.connect() as link:
            yield link

    @contextmanager
    def writing(self, *, synchronous: bool = True, noted: Noted | None = None) -> Iterator[Connection]:
        """A transaction: on disk at the end of the block, or undone when it raises. Raises `WorldError`.

        Where somebody acts (`acts`) it holds the row of the audit log too; `noted` says more than what was asked.

        Not `synchronous`: the block ends before the disk has it. A power cut can take the transaction as a whole, the
        end of this process cannot.
        """
        try:
            with in_words("write to the store"), (self._engine if synchronous else self._unwaiting).begin() as link:
                if self.lease is not None:
                    if not synchronous:
                        link.exec_driver_sql("SET LOCAL synchronous_commit = off")
                    self.lease.fence(link)
                yield link
                act = acts.current()
                if act is not None and act.operation:
                    audit.write(link, act, [noted] if noted is not None else [], at=act.at)
        except WorldError as error:
            if isinstance(error.__cause__, OperationalError | InterfaceError):
                if not self.trouble:
                    log.error("the store cannot be written, reads go on: %s", error)
                self.trouble = str(error)
            raise
        if self.trouble:
            log.info("the store can be written again")
        self.trouble, self._wrote_at = "", time.monotonic()

    def note(self, noted: Noted) -> None:
        """Put into the audit log what somebody does now that changes nothing here. Raises `WorldError`."""
        with self.writing(noted=noted):
            pass

    def tell(self, events: Sequence[Event], *, at: float) -> None:
        """Append events that are of no step of the state. Raises `WorldError`."""
        with self.writing() as link:
            _append(link, events, at, "")

    def prepare(self, folder: Path) -> None:
        """Migrate, and seal what an earlier version left readable: the work of the active control alone. Raises
        `WorldError`.
        """
        with in_words(f"open the database {self._engine.url.render_as_string()}"):
            if self.lease is None or self.lease.try_lock():
                with self._engine.begin() as link:
                    refuse_a_lost_one(link, folder)
                    migrate(link, SCHEMA_HEAD, folder)
                if self.lease is not None:
                    self.lease.begin()
                seal_what_is_clear(self._engine, self._vault)
                mark_used(folder)
                return
            with self.reading() as link:
                found = schema_of(link)
        if found != SCHEMA_HEAD:
            raise WorldError(
                "stand by for the active control",
                f"its database has schema {found or 'none'}, and this version needs {SCHEMA_HEAD}: bring both to one "
                "version, this one first where it is the newer, once the other has ended",
            )

    def ask_whether_it_can_be_written(self) -> str:
        """Why not, in words; empty when it can. Writes only where nothing was written just now."""
        if self.trouble or time.monotonic() - self._wrote_at > LOOKED_AT_EVERY_S:
            try:
                # a little may fit where the next step does not
                self.put_setting("last_look", " " * (ROOM if self.trouble else 1))
                self.put_setting("last_look", None)
            except WorldError as error:
                return str(error)
        return self.trouble

    def close(self) -> None:
        self._engine.dispose()
        if self.lease is not None:
            self.lease.close()

    def setting(self, key: str) -> str | None:
        with self.reading() as link:
            return link.execute(
                select(schema.settings.c.value).where(schema.settings.c.key == key)
            ).scalar_one_or_none()

    def put_setting(self, key: str, value: str | None) -> None:
        with self.writing(noted=Noted(subject=key, was=self.setting(key), became=value)) as link:
            put_setting(link, key, value)

    def sealed_setting(self, key: str) -> str | None:
        """As `setting`, of what is itself a secret."""
        text = self.setting(key)
        return None if text is None else self._vault.open_setting(text)

    def put_sealed_setting(self, key: str, value: str) -> None:
        with self.writing(noted=Noted(subject=key)) as link:
            put_setting(link, key, self._vault.seal_setting(value))

    def load(self) -> State:
        """The last saved state; an empty one where nothing was saved yet."""
        with self.reading() as link:
            settings = {r["key"]: r["value"] for r in _all(link, schema.settings)}
            vault = self._vault
            if "template_key" in settings:
                settings["template_key"] = vault.open_setting(settings["template_key"])
            vault.read({WorkloadId(r["workload_id"]): r["sealed"] for r in _all(link, schema.secret_keys)})
            secrets: dict[tuple[str, int], list[Secret]] = defaultdict(list)
            for row in _all(link, schema.workload_secrets):
                value = vault.unseal(WorkloadId(row["workload_id"]), row["value"])
                secrets[row["workload_id"], row["revision"]].append(Secret(path=row["path"], value=value))
            accounts = {r["id"]: r["account_id"] for r in _all(link, schema.stacks)}
            revisions = {
                (r["workload_id"], r["number"]): rows.to_revision(
                    r, tuple(secrets[r["workload_id"], r["number"]]), accounts
                )
                for r in _all(link, schema.revisions)
            }
            declared = [
                rows.to_declaration(r, revisions.pop((r["id"], r["version"]))) for r in _all(link, schema.workloads)
            ]
            placed = [rows.to_placed(r) for r in _all(link, schema.incarnations)]
            stones = [rows.to_tombstone(r) for r in _all(link, schema.tombstones)]
            held = [rows.to_anycast(r) for r in _all(link, schema.anycast)]
            ruled = [rows.to_rule(r) for r in _all(link, schema.rules)]
            rolling = [rows.to_rollout(r) for r in _all(link, schema.rollouts)]
            ids = {declaration.id for declaration in declared}

            def reveal(workload: WorkloadId, text: str) -> str:
                """Of a workload that is gone an old order may still speak; its secrets nobody needs, or can read."""
                return vault.unseal(workload, text) if workload in ids else ""

            reader = OrderReader(reveal)
            issued = [rows.to_issued(found, reader) for found in _orders(link)]
            received = [rows.to_received(r) for r in _all(link, schema.reports)]
            memory = rows.to_memory(_all(link, schema.memories))
            rests = {r["what"]: r["until"] for r in _all(link, schema.rests)}
            dials = [rows.to_dial(r) for r in _all(link, schema.dials)]
            scaled = [rows.to_scaled(r) for r in _all(link, schema.scaled)]
            networks = [rows.to_network(r) for r in _all(link, schema.networks)]
            policies = [rows.to_policy(r) for r in _all(link, schema.network_policies)]
            kept = [rows.to_volume(r) for r in _all(link, schema.volumes)]
            allocations = [allocation_rows.to_allocation(r) for r in _all(link, allocation_tables.allocations)]
            claims = [allocation_rows.to_claim(r) for r in _all(link, allocation_tables.allocation_claims)]
            operations = [allocation_rows.to_operation(r) for r in _all(link, allocation_tables.operations)]
            drained = [rows.to_drain(r) for r in _all(link, schema.drains)]
            evicted = {HostName(r["host"]): r["at"] for r in _all(link, schema.evicted)}
            carried = [rows.to_traffic(r) for r in _all(link, schema.traffic)]
            open_now = select(schema.usage).where(schema.usage.c.ended_at.is_(None))
            metered = [rows.to_meter(r) for r in link.execute(open_now).mappings()]
        return State(
            network=codec.from_json(Network, settings["network"]) if "network" in settings else NO_NETWORK,
            workloads={d.id: d for d in declared},
            revisions=revisions,
            rollouts={r.id: r for r in rolling},
            incarnations={p.incarnation.uid: p for p in placed},
            anycast={a.workload_id: a for a in held},
            tombstones={s.incarnation.uid: s for s in stones},
            rests=rests,
            rules={(r.workload_id, r.pop, r.upstream): r for r in ruled},
            evicted=evicted,
            traffic={(t.host, t.month): t for t in carried},
            meters={m.key: m for m in metered},
            drains={d.id: d for d in drained},
            dials={(d.pop, d.workload_id): d for d in dials},
            scaled={s.key: s for s in scaled},
            networks={n.id: n for n in networks},
            policies={p.policy.id: p for p in policies},
            volumes={(v.host, v.id): v for v in kept},
            allocations={a.id: a for a in allocations},
            claims={c.id: c for c in claims},
            operations={o.name: o for o in operations},
            orders={i.order.host: i for i in issued},
            reports={r.report.host: r for r in received},
            history=memory,
            template_key=bytes.fromhex(settings.get("template_key", "")),
            serial=int(settings.get("serial", "0")),
        )

    def save(self, before: State, after: State, events: Sequence[Event], *, at: float, act: Act | None = None) -> None:
        """Bring the store from `before` to `after`, and append `events` and what `act` changed to the audit log, in one
        transaction. Raises `WorldError` and changes nothing.
        """
        with self.writing(synchronous=act is not None or not _only_reports(before, after)) as link:
            if act is not None:
                audit.write(link, act, list(audit.changes_between(before, after)), at=at)
            gone = differing(before.workloads, after.workloads) - after.workloads.keys()
            save_difference(link, before, after, self._vault)
            save_meters(link, before, after, at)
            save_keys(link, gone, self._vault)
            if events:
                _append(link, events, at, act.shown if act is not None else "")
                self._unpruned += len(events)
                if self._unpruned >= EVENTS_PRUNED_EVERY:
                    _prune(link)
                    self._unpruned = 0
        self._vault.stored(gone)  # not before it is on disk: a step that fails has changed nothing

    def events(
        self,
        *,
        after: int = 0,
        limit: int = 100,
        stacks: Collection[str] | None = None,
        first: bool = False,
        excerpt: Excerpt | None = None,
        kind: str = "",
    ) -> list[Row]:
        """The newest `limit` events with an id above `after` (`first`: the oldest ones), oldest first; with `stacks`
        only theirs. `excerpt`: in place of the three, what of them.
        """
        table = schema.events
        wanted = excerpt or Excerpt(after=after, limit=limit, first=first)
        query = select(table)
        if stacks is not None:
            query = query.where(table.c.stack_id.in_(stacks))
        if kind:
            query = query.where(table.c.kind == kind)
        query = wanted.of(query, table, [table.c.subject, table.c.message, table.c.actor])
        with self.reading() as link:
            found = link.execute(query).mappings().all()
        return [{**row, "fields": json.loads(row["fields"])} for row in wanted.ordered([dict(row) for row in found])]

    def audit_log(
        self,
        *,
        after: int = 0,
        limit: int = 100,
        filters: Mapping[str, str] | None = None,
        own: tuple[str, Collection[str]] | None = None,
        excerpt: Excerpt | None = None,
    ) -> list[Row]:
        """Rows of the audit log, see `audit.read`. `excerpt`: in place of `after` and `limit`."""
        wanted = excerpt or Excerpt(after=after, limit=limit)
        with self.reading() as link:
            return audit.read(link, wanted, filters=filters or {}, own=own)

    def prune_audit(self, cut_at: float, *, by: str, at: float) -> int:
        """Let go of rows of the audit log older than `cut_at`. How many there were."""
        with self.writing(noted=Noted(subject="audit", became={"before": cut_at})) as link:
            return audit.prune(link, cut_at, by=by, at=at)

    def order_history(self, host: HostName) -> list[Row]:
        """The kept generations of a host, newest first: whole orders, and what differs from the one before (`base`)."""
        table = schema.orders
        query = select(table).where(table.c.host == host).order_by(table.c.generation.desc()).limit(ORDERS_KEPT)
        with self.reading() as link:
            return [dict(row) for row in link.execute(query).mappings()]


def open_store(folder: Path, url: str | None = None, *, answers_at: str = "") -> Store:
    """Connect, and migrate unless another control is the active one there. `url`: SQLAlchemy's; default: `anypop.db` in
    `folder`. `answers_at`: this control's own address. Raises `WorldError` when it cannot be reached or used.
    """
    address = address_of(folder, url)
    what = f"open the database {address.render_as_string()}"  # the password is left out
    with in_words(what):
        name = f"anypop {uuid4()}"  # all connections of this process have it
        engine = connected(address, name)
        lease = None if engine.dialect.name == "sqlite" else Lease(address, name, answers_at)
        store = Store(engine, open_vault(folder), lease)
        try:
            store.prepare(folder)
        except BaseException:
            store.close()
            raise
    return store


def _only_reports(before: State, after: State) -> bool:
    """Whether a step holds nothing but reports and what is made of them: hosts report again every few seconds."""
    for was, now in zip(_LASTING(before), _LASTING(after), strict=True):
        if was is not now and (isinstance(now, Entries) or was != now):
            return False
    return True


def _orders(link: Connection) -> Iterator[list[Any]]:
    """Of each host the newest row that tells all of its order, and those after it."""
    table = schema.orders
    query = select(table.c.host, func.max(table.c.generation)).where(table.c.base.is_(None)).group_by(table.c.host)
    for host, whole in link.execute(query).all():
        found = select(table).where(table.c.host == host, table.c.generation >= whole).order_by(table.c.generation)
        yield list(link.execute(found).mappings())


def _append(link: Connection, events: Sequence[Event], at: float, actor: str) -> None:
    found: list[Row] = [
        {
            "at": at,
            "kind": e.kind.value,
            "subject": e.subject[:255],
            "message": e.message,
            "fields": json.dumps(e.fields),
            "stack_id": e.stack_id,
            "actor": actor,
        }
        for e in events
    ]
    send(link, insertion(schema.events, tuple(found[0]), link.dialect), found)


def _prune(link: Connection) -> None:
    table = schema.events
    newest = link.execute(select(func.max(table.c.id))).scalar_one()
    link.execute(delete(table).where(table.c.id <= newest - EVENTS_KEPT))


def _all(link: Connection, table: Table) -> Iterable[Any]:
    return link.execute(select(table).order_by(*table.primary_key.columns)).mappings().all()
