"""Saving: what differs between two states, written into the tables of an open transaction.

In: a connection in a transaction, the state that the tables hold, and the one that they are to hold. Out: rows removed,
changed and put in, those that differ and no others; of orders the difference to the one before. It begins and ends no
transaction, and decides nothing: that is the store's and the core's.
"""

from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any

from sqlalchemy import Connection, Table, bindparam, delete, func, insert, select, update

from anypop.control import allocation_rows, allocation_tables, rows, schema
from anypop.control.rows import Row
from anypop.control.state import Revision, RevisionKey, State
from anypop.control.statements import insertion, overwriting, send, the_one
from anypop.control.vault import Vault
from anypop.model import codec
from anypop.model.names import HostName, WorkloadId
from anypop.model.order_text import OrderWriter
from anypop.model.table import differing

_ABSENT = object()
USAGE_KEPT = "usage_months"  # the setting that says until when months of usage are kept
ORDERS_KEPT = 20  # per host: enough to see what led to an incident, while a busy host stays at a few hundred kilobytes


def save_difference(link: Connection, before: State, after: State, vault: Vault) -> None:
    """Bring the tables from `before` to `after`, but for the keys of secrets."""
    if before.network is not after.network:
        put_setting(link, "network", codec.to_json(after.network).decode())
    if before.serial != after.serial:
        put_setting(link, "serial", str(after.serial))
    if before.template_key != after.template_key:
        put_setting(link, "template_key", vault.seal_setting(after.template_key.hex()))
    revisions_before, revisions_after = _changed_revisions(before, after)
    secrets_before, secrets_after = _secrets(revisions_before), _secrets(revisions_after)
    was, now = before.history, after.history
    changes = [
        _Change(schema.workloads, before.workloads, after.workloads, lambda k, v: rows.of_declaration(v)),
        _Change(schema.revisions, revisions_before, revisions_after, lambda k, v: rows.of_revision(v)),
        _Change(schema.workload_secrets, secrets_before, secrets_after, partial(_secret_row, vault)),
        _Change(schema.rollouts, before.rollouts, after.rollouts, lambda k, v: rows.of_rollout(v)),
        _Change(schema.anycast, before.anycast, after.anycast, lambda k, v: rows.of_anycast(v)),
        _Change(schema.rules, before.rules, after.rules, lambda k, v: rows.of_rule(v)),
        _Change(schema.incarnations, before.incarnations, after.incarnations, lambda k, v: rows.of_placed(v)),
        _Change(schema.tombstones, before.tombstones, after.tombstones, lambda k, v: rows.of_tombstone(v)),
        _Change(schema.rests, before.rests, after.rests, lambda k, v: {"what": k, "until": v}),
        _Change(schema.drains, before.drains, after.drains, lambda k, v: rows.of_drain(v)),
        _Change(schema.dials, before.dials, after.dials, lambda k, v: rows.of_dial(v)),
        _Change(schema.network_policies, before.policies, after.policies, lambda k, v: rows.of_policy(v)),
        _Change(schema.volumes, before.volumes, after.volumes, lambda k, v: rows.of_volume(v)),
        _Change(schema.scaled, before.scaled, after.scaled, lambda k, v: rows.of_scaled(v)),
        _Change(schema.networks, before.networks, after.networks, lambda k, v: rows.of_network(v)),
        _Change(
            allocation_tables.allocations,
            before.allocations,
            after.allocations,
            lambda k, v: allocation_rows.of_allocation(v),
        ),
        _Change(
            allocation_tables.allocation_claims, before.claims, after.claims, lambda k, v: allocation_rows.of_claim(v)
        ),
        _Change(
            allocation_tables.operations,
            before.operations,
            after.operations,
            lambda k, v: allocation_rows.of_operation(v),
        ),
        _Change(schema.evicted, before.evicted, after.evicted, lambda k, v: {"host": k, "at": v}),
        _Change(schema.reports, before.reports, after.reports, lambda k, v: rows.of_received(v)),
        _Change(schema.traffic, before.traffic, after.traffic, lambda k, v: rows.of_traffic(v)),
        _Change(
            schema.memories,
            was.prefixes,
            now.prefixes,
            rows.of_prefix_memory,
            key=lambda prefix: ("prefix", str(prefix)),
        ),
        _Change(
            schema.memories,
            was.workloads,
            now.workloads,
            rows.of_workload_memory,
            key=lambda workload: ("workload", workload),
        ),
    ]
    changes = [change for change in changes if change.gone or change.new or change.changed]
    # What goes, goes first, the referring before the referred: a place is free before it is taken anew.
    for change in reversed(changes):
        change.remove(link)
    for change in changes:
        change.put(link)
    _save_orders(link, before, after, vault)


def save_meters(link: Connection, before: State, after: State, at: float) -> None:
    """What ended is written as that and stays; what began, or goes on with other amounts, is a new row."""
    table = schema.usage
    changed = sorted(differing(before.meters, after.meters))
    if not changed:
        return
    _forget_months_since(link, min([at, *(after.meters[key].begun_at for key in changed if key in after.meters)]))
    ended = [{"w": w, "i": item, "n": name} for w, item, name in changed if (w, item, name) in before.meters]
    if ended:
        of_it = (table.c.workload_id == bindparam("w"), table.c.item == bindparam("i"), table.c.name == bindparam("n"))
        link.execute(update(table).where(*of_it, table.c.ended_at.is_(None)).values(ended_at=at), ended)
    begun = [rows.of_meter(after.meters[key]) for key in changed if key in after.meters]
    if begun:
        send(link, insertion(table, tuple(begun[0]), link.dialect), begun)


def _forget_months_since(link: Connection, at: float) -> None:
    """What is written now is of a time that is kept: the clock was set back."""
    if usage_kept_until(link) > at:
        put_setting(link, USAGE_KEPT, None)


def usage_kept_until(link: Connection) -> float:
    """The end of the last month of usage that is kept; 0: none is."""
    settings = schema.settings
    kept = link.execute(select(settings.c.value).where(settings.c.key == USAGE_KEPT)).scalar_one_or_none()
    return float(kept or 0.0)


class _Change:
    """The difference of one mapping, and the table it belongs to. The table's primary key is the mapping's key, in
    column order, or what `key` makes of it.
    """

    def __init__(
        self,
        table: Table,
        before: Mapping[Any, Any],
        after: Mapping[Any, Any],
        row: Callable[[Any, Any], Row],
        *,
        key: Callable[[Any], Any] = lambda key: key,
    ) -> None:
        self.table = table
        self.gone: list[Any] = []
        self.new: list[Row] = []
        self.changed: list[Row] = []
        if before is after:
            return
        for k in differing(before, after):
            if (value := after.get(k, _ABSENT)) is _ABSENT:
                self.gone.append(key(k))
            else:
                (self.changed if k in before else self.new).append(row(k, value))

    @property
    def keys(self) -> list[str]:
        return [column.name for column in self.table.primary_key.columns]

    def remove(self, link: Connection) -> None:
        if self.gone:
            keys = [key if isinstance(key, tuple) else (key,) for key in self.gone]
            names = self.keys
            gone = [{f"the_{name}": part for name, part in zip(names, key, strict=True)} for key in keys]
            link.execute(delete(self.table).where(*the_one(self.table)), gone)

    def put(self, link: Connection) -> None:
        if self.changed:
            names = self.keys
            changed = [row | {f"the_{name}": row[name] for name in names} for row in self.changed]
            send(link, overwriting(self.table, link.dialect), changed)
        if self.new:
            send(link, insertion(self.table, tuple(self.new[0]), link.dialect), self.new)


def save_keys(link: Connection, gone: Collection[WorkloadId], vault: Vault) -> None:
    """The keys of workloads whose secrets this step sealed first. With a workload its key goes: what older orders hold
    of its secrets opens no more.
    """
    table = schema.secret_keys
    for workload in gone:
        link.execute(delete(table).where(table.c.workload_id == workload))
    new = [{"workload_id": w, "sealed": text} for w, text in vault.new.items() if w not in gone]
    if new:
        link.execute(insert(table), new)


def _save_orders(link: Connection, before: State, after: State, vault: Vault) -> None:
    table = schema.orders
    writer = OrderWriter(vault.seal)
    found = [after.orders[host] for host in differing(before.orders, after.orders) & after.orders.keys()]
    if found:
        link.execute(
            insert(table), [rows.of_issued(issued, before.orders.get(issued.order.host), writer) for issued in found]
        )
    for issued in found:
        order = issued.order
        # only then something is too old: what is kept must reach back to a whole one
        if issued.whole == order.generation:
            old = table.c.generation < _oldest_to_keep(link, order.host, order.generation)
            link.execute(delete(table).where(table.c.host == order.host, old))


def _oldest_to_keep(link: Connection, host: HostName, generation: int) -> int:
    """The newest whole order that all the kept ones can be made from."""
    table = schema.orders
    reaches = table.c.generation <= max(generation - ORDERS_KEPT + 1, 1)
    query = select(func.max(table.c.generation)).where(table.c.host == host, table.c.base.is_(None), reaches)
    return link.execute(query).scalar_one() or 0


def _changed_revisions(before: State, after: State) -> tuple[dict[RevisionKey, Revision], dict[RevisionKey, Revision]]:
    """Before and after, the newest and the older ones of each workload of which something differs; the others are as
    they were.
    """
    workloads = differing(before.workloads, after.workloads) | {
        key[0] for key in differing(before.revisions, after.revisions)
    }
    was: dict[RevisionKey, Revision] = {}
    now: dict[RevisionKey, Revision] = {}
    for state, found in ((before, was), (after, now)):
        for workload in workloads:
            found.update(state.revisions_of(workload))
            if (declared := state.workloads.get(workload)) is not None:
                found[workload, declared.version] = declared.newest
    return was, now


def _secrets(revisions: Mapping[RevisionKey, Revision]) -> dict[rows.SecretKey, str]:
    return {key: value for revision in revisions.values() for key, value in rows.secrets_of(revision).items()}


def _secret_row(vault: Vault, key: rows.SecretKey, value: str) -> Row:
    return {"workload_id": key[0], "revision": key[1], "path": key[2], "value": vault.seal(key[0], value)}


def put_setting(link: Connection, key: str, value: str | None) -> None:
    link.execute(delete(schema.settings).where(schema.settings.c.key == key))
    if value is not None:
        link.execute(insert(schema.settings), {"key": key, "value": value})
