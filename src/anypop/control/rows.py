"""Nouns to rows of the store and back: one pair of functions for each table. Pure; knows nothing of connections.

A workload's secrets are cut out of its row here and put back here, so that no other code has to think of it.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

from sqlalchemy import RowMapping

from anypop.control.state import Declaration, Issued, Placed, Tombstone
from anypop.judge.verdict import Received
from anypop.model import codec
from anypop.model.announce import Scope, ScopeRule
from anypop.model.names import CityCode, InstanceName, WorkloadId
from anypop.model.order import Order
from anypop.model.plan import AnycastAddress, Slot
from anypop.model.report import Report
from anypop.model.workload import Workload
from anypop.plan.parse import Secret

Row = dict[str, Any]
SecretKey = tuple[WorkloadId, str]


def of_declaration(declaration: Declaration) -> Row:
    return {
        "id": declaration.id,
        "stack_id": declaration.stack_id,
        "slug": declaration.workload.slug,
        "document": json.dumps(declaration.document),
        "workload": codec.to_json(_with_secrets(declaration.workload, lambda path: "")).decode(),
        "version": declaration.version,
        "created_at": declaration.created_at,
        "updated_at": declaration.updated_at,
        "delete_requested_at": declaration.delete_requested_at,
    }


def secrets_of(declaration: Declaration) -> dict[SecretKey, str]:
    return {(declaration.id, secret.path): secret.value for secret in declaration.secrets}


def to_declaration(row: RowMapping, secrets: tuple[Secret, ...]) -> Declaration:
    """`secrets`: those of this workload."""
    values = {secret.path: secret.value for secret in secrets}
    return Declaration(
        workload=_with_secrets(codec.from_json(Workload, row["workload"]), lambda path: values[path]),
        document=json.loads(row["document"]),
        secrets=secrets,
        version=row["version"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        delete_requested_at=row["delete_requested_at"],
    )


def _with_secrets(workload: Workload, value: Callable[[str], str]) -> Workload:
    """The workload with each secret's value as `value` gives it for the path where the client wrote it."""
    return replace(
        workload,
        containers=tuple(
            replace(c, secrets=tuple((name, value(f"spec.containers.{c.name}.env.{name}.secretValue")) for name, _ in c.secrets))
            for c in workload.containers
        ),
    )


def _of_slot(slot: Slot) -> Row:
    return {
        "uid": slot.uid,
        "workload_id": slot.workload_id,
        "target": slot.target,
        "pop": slot.pop,
        "ordinal": slot.ordinal,
        "name": slot.name,
        "place": slot.index,
    }


def _to_slot(row: RowMapping) -> Slot:
    return Slot(
        workload_id=WorkloadId(row["workload_id"]),
        target=row["target"],
        pop=CityCode(row["pop"]),
        ordinal=row["ordinal"],
        name=InstanceName(row["name"]),
        index=row["place"],
        uid=row["uid"],
    )


def of_placed(placed: Placed) -> Row:
    return {**_of_slot(placed.slot), "created_at": placed.created_at}


def to_placed(row: RowMapping) -> Placed:
    return Placed(slot=_to_slot(row), created_at=row["created_at"])


def of_tombstone(stone: Tombstone) -> Row:
    return {**_of_slot(stone.slot), "reason": stone.reason, "created_at": stone.created_at, "asked_at": stone.asked_at}


def to_tombstone(row: RowMapping) -> Tombstone:
    return Tombstone(slot=_to_slot(row), reason=row["reason"], created_at=row["created_at"], asked_at=row["asked_at"])


def of_anycast(held: AnycastAddress) -> Row:
    return {
        "workload_id": held.workload_id,
        "address4": str(held.address4),
        "prefix4": str(held.prefix4),
        "address6": str(held.address6),
        "prefix6": str(held.prefix6),
    }


def to_anycast(row: RowMapping) -> AnycastAddress:
    return AnycastAddress(
        workload_id=WorkloadId(row["workload_id"]),
        address4=IPv4Address(row["address4"]),
        prefix4=IPv4Network(row["prefix4"]),
        address6=IPv6Address(row["address6"]),
        prefix6=IPv6Network(row["prefix6"]),
    )


def of_rule(rule: ScopeRule) -> Row:
    return {
        "workload_id": rule.workload_id,
        "pop": rule.pop,
        "upstream": rule.upstream,
        "scope": codec.to_json(rule.scope).decode(),
        "note": rule.note,
    }


def to_rule(row: RowMapping) -> ScopeRule:
    return ScopeRule(
        workload_id=WorkloadId(row["workload_id"]),
        pop=CityCode(row["pop"]),
        upstream=row["upstream"],
        scope=codec.from_json(Scope, row["scope"]),
        note=row["note"],
    )


def of_issued(issued: Issued) -> Row:
    return {"pop": issued.order.pop, "generation": issued.order.generation, "body": issued.body.decode(), "at": issued.at}


def to_issued(row: RowMapping) -> Issued:
    return Issued(order=codec.from_json(Order, row["body"]), body=row["body"].encode(), at=row["at"])


def of_received(received: Received) -> Row:
    return {"pop": received.report.pop, "at": received.at, "body": codec.to_json(received.report).decode()}


def to_received(row: RowMapping) -> Received:
    return Received(report=codec.from_json(Report, row["body"]), at=row["at"])
