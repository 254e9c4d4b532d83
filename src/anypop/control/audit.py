"""The audit log: who did what, when, from where, with what before and after. Rows are added and never changed.

In: the act behind a change (`acts`), and what changed. Out: rows, written by `store` in the very transaction of the
change, so that nothing is acknowledged without its row; and lists of them. The database itself refuses to change or
delete a row (triggers, see the migration), but for rows older than a moment that an operator has set. Secrets are not
in it: documents come without theirs, and members that are named like one are blanked.
"""

import hashlib
import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select

from anypop.control import rows, schema
from anypop.control.acts import Act
from anypop.control.excerpt import Excerpt
from anypop.control.rows import Row
from anypop.control.state import Declaration, State
from anypop.control.statements import insertion, send
from anypop.model import codec
from anypop.model.allocation import Allocation, AllocationClaim
from anypop.model.drain import Drain
from anypop.model.plan import Incarnation
from anypop.model.table import differing
from anypop.model.volume import Volume

DONE, REFUSED = "done", "refused"
# What can be asked for, each by its whole value.
FILTERS = ("account_id", "actor", "operation", "subject", "stack_id", "address", "request_id", "outcome")
LONGEST_OF_TENANTS = 16_384
BEGINNING = 1024
_SECRET = re.compile("secret|passw|token|private_key|sealed", re.IGNORECASE)
_HIDDEN = "(hidden)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """What changed. `subject`: its name; `was` and `became`: plain data, None where it was not there."""

    subject: str = ""
    stack_id: str | None = None
    was: Any = None
    became: Any = None
    outcome: str = DONE
    account_id: str | None = field(default=None)


def changes_between(before: State, after: State) -> Iterator[Noted]:
    """What somebody declared or took back between two states. What follows from it is told by events, not here."""
    if before.network is not after.network and before.network != after.network:
        yield Noted(
            subject="network", was=codec.to_data(before.network) if before.network.pops else None,
            became=codec.to_data(after.network),
        )  # fmt: skip
    declared = False
    for workload in sorted(differing(before.workloads, after.workloads)):
        was, now = before.workloads.get(workload), after.workloads.get(workload)
        if (one := now or was) is not None and _declared(was) != _declared(now):
            declared = True
            yield Noted(
                subject=one.workload.slug, stack_id=one.stack_id, was=_declared(was), became=_declared(now)
            )  # fmt: skip
    for key in sorted(differing(before.rules, after.rules)):
        old, new = before.rules.get(key), after.rules.get(key)
        owner = after.workloads.get(key[0]) or before.workloads.get(key[0])
        declared = True
        yield Noted(
            subject=f"{owner.workload.slug if owner else key[0]} {key[1]} {key[2]}",
            stack_id=owner.stack_id if owner else None,
            was=rows.of_rule(old) if old else None,
            became=rows.of_rule(new) if new else None,
        )
    for uid in sorted(differing(before.incarnations, after.incarnations)):
        placed, earlier = after.incarnations.get(uid), before.incarnations.get(uid)
        if placed and earlier and (life := placed.incarnation).restarts != earlier.incarnation.restarts:
            owner = after.workloads.get(life.workload_id)
            yield Noted(
                subject=life.name,
                stack_id=owner.stack_id if owner else None,
                was={"restarts": earlier.incarnation.restarts},
                became={"restarts": life.restarts},
            )
        if placed and earlier and _power(placed.incarnation) != _power(earlier.incarnation):
            mine = after.workloads.get(placed.incarnation.workload_id)
            yield Noted(
                subject=placed.incarnation.name,
                stack_id=mine.stack_id if mine else None,
                was=_power(earlier.incarnation),
                became=_power(placed.incarnation),
            )
    for host in sorted(differing(before.evicted, after.evicted)):
        yield Noted(
            subject=host, was={"evicted": host in before.evicted}, became={"evicted": host in after.evicted}
        )  # fmt: skip
    for identity in sorted(differing(before.drains, after.drains)):
        drain, asked = after.drains.get(identity), before.drains.get(identity)
        if drain is not None and _asked(asked) != _asked(drain):
            mine = after.workloads.get(drain.workload_id) if drain.workload_id else None
            declared = True
            yield Noted(
                subject=drain.target,
                stack_id=mine.stack_id if mine else None,
                was=_asked(asked),
                became=_asked(drain),
            )
    for dialled in sorted(differing(before.dials, after.dials)):
        was_dial, dial = before.dials.get(dialled), after.dials.get(dialled)
        if dial is None or (was_dial is not None and was_dial.version == dial.version):
            continue
        mine = after.workloads.get(dial.workload_id) if dial.workload_id else None
        declared = True
        yield Noted(
            subject=f"{mine.workload.slug} {dial.pop}" if mine else dial.pop,
            stack_id=mine.stack_id if mine else None,
            was=codec.to_data(was_dial) if was_dial else None,
            became=codec.to_data(dial),
        )
    for network in sorted(differing(before.networks, after.networks)):
        was_network, new_network = before.networks.get(network), after.networks.get(network)
        if (declared_one := new_network or was_network) is not None:
            yield Noted(
                subject=declared_one.slug,
                stack_id=declared_one.stack_id,
                was=codec.to_data(was_network) if was_network else None,
                became=codec.to_data(new_network) if new_network else None,
            )
    for policy in sorted(differing(before.policies, after.policies)):
        was_policy, new_policy = before.policies.get(policy), after.policies.get(policy)
        if (either := new_policy or was_policy) is not None:
            yield Noted(
                subject=either.policy.slug,
                stack_id=either.policy.stack_id,
                was=dict(was_policy.document) if was_policy else None,
                became=dict(new_policy.document) if new_policy else None,
            )
    for noted in allocations_noted(before, after):
        declared = True
        yield noted
    for place in sorted(differing(before.volumes, after.volumes)):
        had, has = before.volumes.get(place), after.volumes.get(place)
        if had is not None and has is not None and _wanted(had) != _wanted(has):
            declared = True
            subject = f"{has.instance}:{has.claim}"
            yield Noted(subject=subject, stack_id=has.stack_id, was=_wanted(had), became=_wanted(has))
    for rollout in sorted(differing(before.rollouts, after.rollouts)) if not declared else ():
        began, goes = before.rollouts.get(rollout), after.rollouts.get(rollout)
        workload_of = (goes or began).workload_id if (goes or began) is not None else None  # type: ignore[union-attr]
        owner = after.workloads.get(workload_of) if workload_of is not None else None
        yield Noted(
            subject=f"{owner.workload.slug if owner else ''} rollout {rollout}".strip(),
            stack_id=owner.stack_id if owner else None,
            was={"phase": began.phase.value} if began else None,
            became={"phase": goes.phase.value} if goes else None,
        )


def allocations_noted(before: State, after: State) -> Iterator[Noted]:
    """What a person asks of addresses that last. Who holds one follows from workloads."""
    for kind, was_table, new_table in (
        ("allocation", before.allocations, after.allocations),
        ("allocation claim", before.claims, after.claims),
    ):
        for key in sorted(differing(was_table, new_table)):
            was, new = was_table.get(key), new_table.get(key)
            one = new or was
            if one is not None and _kept(was) != _kept(new):
                subject = f"{kind} {one.slug}"
                yield Noted(subject=subject, stack_id=one.stack_id, was=_kept(was), became=_kept(new))
    told = sorted(differing(before.operations, after.operations))
    forgotten = [before.operations[name] for name in told if name not in after.operations]
    if len(forgotten) == len(told):  # else they made room for newer ones
        for operation in forgotten:
            yield Noted(subject=operation.name, stack_id=operation.stack_id, was=codec.to_data(operation))


def _kept(one: Allocation | AllocationClaim | None) -> dict[str, Any] | None:
    if one is None:
        return None
    return {
        "name": one.name,
        "labels": dict(one.labels),
        "annotations": dict(one.annotations),
        "reclaim": codec.to_data(one.spec.reclaim if isinstance(one, Allocation) else one.reclaim),
        "let_go": one.delete_requested_at is not None,
    }


def _asked(drain: Drain | None) -> dict[str, Any] | None:
    """What a person asked of a drain; its stages follow by themselves."""
    if drain is None:
        return None
    return {
        "drain": drain.id,
        "drained": drain.stage.leaves,
        "until": drain.until,
        "deadline_s": drain.deadline_s,
        "calm_s": drain.calm_s,
    }


def _wanted(volume: Volume) -> dict[str, Any]:
    """What a person asks of a volume."""
    return {
        "volume": volume.id,
        "host": volume.host,
        "snapshots": list(volume.snapshots),
        "restored": [volume.restore.count, volume.restore.snapshot],
        "let_go": volume.doomed_at is not None,
    }


def _power(life: Incarnation) -> dict[str, Any]:
    return {"power": life.power.value} | ({"rescue": life.rescue.reference} if life.rescue is not None else {})


def _declared(found: Declaration | None) -> dict[str, Any] | None:
    if found is None:
        return None
    data: dict[str, Any] = {
        "document": found.document,
        "version": found.version,
        "strategy": codec.to_data(found.strategy),
    }
    return data | ({"delete_requested_at": found.delete_requested_at} if found.delete_requested_at else {})


def write(link: Connection, act: Act, noted: Collection[Noted], *, at: float) -> None:
    """One row for each; one that says only what was asked where there is none."""
    found = [_row(act, one, at) for one in noted or (Noted(subject=act.subject),)]
    send(link, insertion(schema.audit, tuple(found[0]), link.dialect), found)


def _row(act: Act, noted: Noted, at: float) -> Row:
    return {
        "at": at,
        "account_id": noted.account_id or act.account_id,
        "actor": act.actor[:512],
        "operation": act.operation[:64],
        "subject": (noted.subject or act.subject)[:512],
        "stack_id": noted.stack_id,
        "address": act.address[:64],
        "request_id": act.request_id,
        "outcome": noted.outcome,
        "was": _text(noted.was, act),
        "became": _text(noted.became, act),
    }


def _text(data: Any, act: Act) -> str | None:
    """A tenant that sends as much as it may, as often as it may, must not fill the disk with what nobody can delete."""
    if data is None:
        return None
    text = json.dumps(blanked(data), separators=(",", ":"))
    if act.operator or len(text) <= LONGEST_OF_TENANTS:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()
    return json.dumps({"longer_than_is_kept": len(text), "sha256": digest, "begins": text[:BEGINNING]})


def blanked(data: Any) -> Any:
    """The same data; values whose name says that they are a secret are not in it."""
    if isinstance(data, Mapping):
        return {
            key: _HIDDEN if _SECRET.search(str(key)) and isinstance(value, str) and value else blanked(value)
            for key, value in data.items()
        }
    return [blanked(one) for one in data] if isinstance(data, list | tuple) else data


def read(
    link: Connection,
    wanted: Excerpt,
    *,
    filters: Mapping[str, str],
    own: tuple[str, Collection[str]] | None,
) -> list[Row]:
    """Those of the wanted rows that fit, oldest first. `own`: an account and its stacks; only what it did, and what was
    done to them.
    """
    table = schema.audit
    query = select(table)
    for name, value in filters.items():
        query = query.where(table.c[name] == value)
    if own is not None:
        query = query.where((table.c.account_id == own[0]) | table.c.stack_id.in_(own[1]))
    searched = [table.c.actor, table.c.operation, table.c.subject, table.c.address]
    found = link.execute(wanted.of(query, table, searched)).mappings().all()
    return [_shown(row) for row in wanted.ordered([dict(row) for row in found])]


def _shown(row: Row) -> Row:
    was, became = row.pop("was"), row.pop("became")
    return row | {"before": json.loads(was) if was else None, "after": json.loads(became) if became else None}


def prune(link: Connection, cut_at: float, *, by: str, at: float) -> int:
    """Delete what is older than `cut_at`; the moment itself is kept, and the database lets nothing younger go. How many
    rows went.
    """
    link.execute(insert(schema.audit_cuts), {"cut_at": cut_at, "at": at, "actor": by[:512]})
    older = schema.audit.c.at < cut_at
    count = link.execute(select(func.count()).select_from(schema.audit).where(older)).scalar_one()
    link.execute(delete(schema.audit).where(older))
    return int(count)
