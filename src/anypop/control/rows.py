"""Nouns to rows of the store and back: one pair of functions for each table. Pure; knows nothing of connections.

A workload's secrets are cut out of its row here and put back here, so that no other code has to think of it.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Any

from sqlalchemy import RowMapping

from anypop.control.meters import Meter
from anypop.control.state import Declaration, DeclaredPolicy, Issued, Placed, Revision, Tombstone, Traffic
from anypop.judge.judged import Memory, PrefixMemory, WorkloadMemory
from anypop.judge.verdict import Received
from anypop.model import codec
from anypop.model.announce import Prefix, Scope, ScopeRule
from anypop.model.dial import Dial
from anypop.model.drain import Drain
from anypop.model.machine import MachineImage, Power
from anypop.model.names import CityCode, HostName, InstanceName, StackId, WorkloadId
from anypop.model.order_delta import apply, delta, written
from anypop.model.order_read import OrderReader
from anypop.model.order_text import OrderWriter
from anypop.model.plan import AnycastAddress, Incarnation
from anypop.model.policy import NetworkPolicy
from anypop.model.reasons import Reason
from anypop.model.report import Report
from anypop.model.rollout import Rollout, Strategy
from anypop.model.scaling import Scaled
from anypop.model.stack_network import StackNetwork
from anypop.model.table import Table
from anypop.model.volume import Volume
from anypop.model.workload import Workload
from anypop.plan.parse import Secret, with_declared_scales

Row = dict[str, Any]
SecretKey = tuple[WorkloadId, int, str]


def of_declaration(declaration: Declaration) -> Row:
    return {
        "id": declaration.id,
        "stack_id": declaration.stack_id,
        "slug": declaration.workload.slug,
        "version": declaration.version,
        "good": declaration.good,
        "strategy": codec.to_json(declaration.strategy).decode(),
        "created_at": declaration.created_at,
        "updated_at": declaration.updated_at,
        "delete_requested_at": declaration.delete_requested_at,
    }


def to_declaration(row: RowMapping, newest: Revision) -> Declaration:
    return Declaration(
        newest=newest,
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        delete_requested_at=row["delete_requested_at"],
        good=row["good"],
        strategy=codec.from_json(Strategy, row["strategy"]),
    )


def of_revision(revision: Revision) -> Row:
    return {
        "workload_id": revision.workload.id,
        "number": revision.number,
        "document": json.dumps(revision.document),
        "workload": codec.to_json(_with_secrets(revision.workload, lambda path: "")).decode(),
        "created_at": revision.created_at,
        "note": revision.note,
    }


def secrets_of(revision: Revision) -> dict[SecretKey, str]:
    return {(revision.workload.id, revision.number, secret.path): secret.value for secret in revision.secrets}


def to_revision(row: RowMapping, secrets: tuple[Secret, ...], accounts: Mapping[str, str]) -> Revision:
    """`secrets`: those of this revision. `accounts`: whose each stack is; an older version did not write it down."""
    values = {secret.path: secret.value for secret in secrets}

    def value(path: str) -> str:
        # a login may stand there without a password
        return values.get(path, "") if path.startswith("spec.imagePullCredentials") else values[path]

    document = json.loads(row["document"])
    workload = _with_secrets(codec.from_json(Workload, row["workload"]), value)
    return Revision(
        workload=with_declared_scales(replace(workload, account_id=accounts.get(workload.stack_id, "")), document),
        document=document,
        secrets=secrets,
        created_at=row["created_at"],
        note=row["note"],
    )


def _with_secrets(workload: Workload, value: Callable[[str], str]) -> Workload:
    """The workload with each secret's value as `value` gives it for the path where the client wrote it."""
    main, init = (
        tuple(
            replace(c, secrets=tuple((name, value(f"{path}.{c.name}.env.{name}.secretValue")) for name, _ in c.secrets))
            if c.secrets
            else c
            for c in all_
        )
        for path, all_ in (("spec.containers", workload.containers), ("spec.initContainers", workload.init))
    )
    around = workload.around
    if around.logins:
        logins = tuple(
            replace(one, password=value(f"spec.imagePullCredentials[{n}].dockerRegistry.password"))
            for n, one in enumerate(around.logins)
        )
        around = replace(around, logins=logins)
    return replace(workload, containers=main, init=init, around=around)


def of_rollout(rollout: Rollout) -> Row:
    return {
        "id": rollout.id,
        "workload_id": rollout.workload_id,
        "created_at": rollout.created_at,
        "body": codec.to_json(rollout).decode(),
    }


def to_rollout(row: RowMapping) -> Rollout:
    return codec.from_json(Rollout, row["body"])


def of_drain(drain: Drain) -> Row:
    return {"id": drain.id, "created_at": drain.created_at, "body": codec.to_json(drain).decode()}


def to_drain(row: RowMapping) -> Drain:
    return codec.from_json(Drain, row["body"])


def of_dial(dial: Dial) -> Row:
    return {"pop": dial.pop, "workload_id": dial.workload_id, "body": codec.to_json(dial).decode()}


def of_scaled(one: Scaled) -> Row:
    body = codec.to_json(one).decode()
    return {"workload_id": one.workload_id, "target": one.target, "pop": one.pop, "body": body}


def to_scaled(row: RowMapping) -> Scaled:
    return codec.from_json(Scaled, row["body"])


def to_dial(row: RowMapping) -> Dial:
    return codec.from_json(Dial, row["body"])


def of_policy(declared: DeclaredPolicy) -> Row:
    return {
        "id": declared.policy.id,
        "stack_id": declared.policy.stack_id,
        "slug": declared.policy.slug,
        "version": declared.version,
        "updated_at": declared.updated_at,
        "policy": codec.to_json(declared.policy).decode(),
        "document": json.dumps(declared.document),
    }


def to_policy(row: RowMapping) -> DeclaredPolicy:
    return DeclaredPolicy(
        policy=codec.from_json(NetworkPolicy, row["policy"]),
        document=json.loads(row["document"]),
        version=row["version"],
        updated_at=row["updated_at"],
    )


def of_network(network: StackNetwork) -> Row:
    return {
        "id": network.id,
        "stack_id": network.stack_id,
        "slug": network.slug,
        "body": codec.to_json(network).decode(),
    }


def to_network(row: RowMapping) -> StackNetwork:
    return codec.from_json(StackNetwork, row["body"])


def _of_incarnation(incarnation: Incarnation) -> Row:
    return {
        "uid": incarnation.uid,
        "workload_id": incarnation.workload_id,
        "target": incarnation.target,
        "pop": incarnation.pop,
        "host": incarnation.host,
        "ordinal": incarnation.ordinal,
        "name": incarnation.name,
        "place": incarnation.index,
        "link": incarnation.link,
        "further": ",".join(map(str, incarnation.further)),
        "life": incarnation.life,
        "template": incarnation.template,
        "revision": incarnation.revision,
    }


def _to_incarnation(row: RowMapping) -> Incarnation:
    return Incarnation(
        workload_id=WorkloadId(row["workload_id"]),
        target=row["target"],
        pop=CityCode(row["pop"]),
        host=HostName(row["host"]),
        ordinal=row["ordinal"],
        name=InstanceName(row["name"]),
        index=row["place"],
        uid=row["uid"],
        link=row["link"],
        further=tuple(map(int, filter(None, row["further"].split(",")))),
        life=row["life"],
        template=row["template"],
        revision=row["revision"],
    )


def of_placed(placed: Placed) -> Row:
    incarnation = placed.incarnation
    return {
        **_of_incarnation(incarnation),
        "restarts": incarnation.restarts,
        "power": incarnation.power.value,
        "rescue": None if incarnation.rescue is None else codec.to_json(incarnation.rescue).decode(),
        "created_at": placed.created_at,
    }


def to_placed(row: RowMapping) -> Placed:
    incarnation = replace(
        _to_incarnation(row),
        restarts=row["restarts"],
        power=Power(row["power"]),
        rescue=None if row["rescue"] is None else codec.from_json(MachineImage, row["rescue"]),
    )
    return Placed(incarnation=incarnation, created_at=row["created_at"])


def of_tombstone(stone: Tombstone) -> Row:
    return {
        **_of_incarnation(stone.incarnation),
        "reason": stone.reason.value,
        "detail": stone.detail,
        "created_at": stone.created_at,
        "asked_at": stone.asked_at,
    }


def to_tombstone(row: RowMapping) -> Tombstone:
    return Tombstone(
        incarnation=_to_incarnation(row),
        reason=Reason(row["reason"]),
        detail=row["detail"],
        created_at=row["created_at"],
        asked_at=row["asked_at"],
    )


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


def of_issued(issued: Issued, base: Issued | None, writer: OrderWriter) -> Row:
    """`base`: the order before it, of which the row tells the difference; without one, and where the whole is to be
    stored, it tells all.
    """
    order = issued.order
    row: Row = {"host": order.host, "generation": order.generation, "at": issued.at}
    if base is None or issued.whole == order.generation:
        return {**row, "base": None, "body": writer.order(order)}
    return {**row, "base": base.order.generation, "body": written(delta(base.order, order), writer)}


def to_issued(found: Sequence[RowMapping], reader: OrderReader) -> Issued:
    """`found`: the newest row of a host that tells all, and those after it, in their order. `reader`: one for all
    hosts, which knows how to open what is stored of a secret.
    """
    order = reader.order(found[0]["body"])
    for row in found[1:]:
        order = apply(order, reader.change(row["body"]))
    return Issued(order=order, at=found[-1]["at"], whole=found[0]["generation"])


def of_prefix_memory(prefix: Prefix, memory: PrefixMemory) -> Row:
    return {"kind": "prefix", "key": str(prefix), "body": codec.to_json(memory).decode()}


def of_workload_memory(workload: WorkloadId, memory: WorkloadMemory) -> Row:
    return {"kind": "workload", "key": workload, "body": codec.to_json(memory).decode()}


def to_memory(found: Iterable[RowMapping]) -> Memory:
    """The judge's memory out of all its pieces."""
    prefixes: dict[Prefix, PrefixMemory] = {}
    workloads: dict[WorkloadId, WorkloadMemory] = {}
    for row in found:
        if row["kind"] == "prefix":
            prefixes[ip_network(row["key"])] = codec.from_json(PrefixMemory, row["body"])
        else:
            workloads[WorkloadId(row["key"])] = codec.from_json(WorkloadMemory, row["body"])
    return Memory(prefixes=Table(prefixes), workloads=Table(workloads))


def of_meter(meter: Meter) -> Row:
    return {
        "account_id": meter.account_id,
        "stack_id": meter.stack_id,
        "workload_id": meter.workload_id,
        "slug": meter.slug,
        "item": meter.item,
        "name": meter.name,
        "cpu_millis": meter.cpu_millis,
        "memory_bytes": meter.memory_bytes,
        "begun_at": meter.begun_at,
    }


def to_meter(row: RowMapping) -> Meter:
    return Meter(
        workload_id=WorkloadId(row["workload_id"]),
        stack_id=StackId(row["stack_id"]),
        account_id=row["account_id"],
        slug=row["slug"],
        item=row["item"],
        name=row["name"],
        cpu_millis=row["cpu_millis"],
        memory_bytes=row["memory_bytes"],
        begun_at=row["begun_at"],
    )


def of_volume(volume: Volume) -> Row:
    return {"host": volume.host, "id": volume.id, "body": codec.to_json(volume).decode()}


def to_volume(row: RowMapping) -> Volume:
    return codec.from_json(Volume, row["body"])


def of_traffic(traffic: Traffic) -> Row:
    return {"host": traffic.host, "month": traffic.month, "body": codec.to_json(traffic).decode()}


def to_traffic(row: RowMapping) -> Traffic:
    return codec.from_json(Traffic, row["body"])


def of_received(received: Received) -> Row:
    body = received.body or codec.to_json(received.report)
    return {"host": received.report.host, "at": received.at, "body": body.decode()}


def to_received(row: RowMapping) -> Received:
    return Received(report=codec.from_json(Report, row["body"]), at=row["at"])
