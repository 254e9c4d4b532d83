"""/anypop/v1/.../log-sinks: where lines of logs and traces of deployments are sent, for the whole platform and for a
stack.

In: lists of receivers. Out: the same without their secrets, with what each host (of traces: control) has sent, lost and
holds back. It checks what is written; where a name leads, those who send look at each time they connect.
"""

import asyncio
import hashlib
from ipaddress import ip_address
from typing import Annotated, Any

from fastapi import APIRouter, Depends

from anypop.api.bodies import JsonObject, model_of
from anypop.api.context import CallerStack, OperatorAccount, Platform, PlatformDep
from anypop.api.documentation import answers
from anypop.api.models.log_sinks import LogSinkRequest, LogSinksAnswer, LogSinksRequest
from anypop.control.log_sinks import PLATFORM, inside
from anypop.model import registries
from anypop.model.errors import Invalid, Problem
from anypop.model.log_sinks import TRACES, LogSink, problems

router = APIRouter(prefix="/anypop/v1", tags=["workloads"])

Body = Annotated[dict[str, Any], Depends(JsonObject(LogSinksRequest))]


@router.get("/log-sinks")
@answers(LogSinksAnswer)
async def get_platform_log_sinks(_: OperatorAccount, platform: PlatformDep) -> dict[str, Any]:
    """Get where the lines of all logs are sent."""
    return await _shown(platform, PLATFORM)


@router.put("/log-sinks")
@answers(LogSinksAnswer)
async def replace_platform_log_sinks(_: OperatorAccount, platform: PlatformDep, body: Body) -> dict[str, Any]:
    """Set where the lines of all logs are sent."""
    return await _replaced(platform, PLATFORM, body)


@router.get("/stacks/{stack_id}/log-sinks")
@answers(LogSinksAnswer)
async def get_log_sinks(stack: CallerStack, platform: PlatformDep) -> dict[str, Any]:
    """Get where the lines of a stack's logs are sent."""
    return await _shown(platform, stack.id)


@router.put("/stacks/{stack_id}/log-sinks")
@answers(LogSinksAnswer)
async def replace_log_sinks(stack: CallerStack, platform: PlatformDep, body: Body) -> dict[str, Any]:
    """Set where the lines of a stack's logs are sent.

    Never to an address inside of the platform, nor to a private one: hosts look at where the name leads each time.
    """
    return await _replaced(platform, stack.id, body)


async def _replaced(platform: Platform, stack: str, body: dict[str, Any]) -> dict[str, Any]:
    asked = model_of(LogSinksRequest, body).sinks
    before = {one.name: one for one in platform.log_sinks.of(stack)}
    sinks = [_sink(one, stack, before.get(one.name)) for one in asked]
    found = [p for n, sink in enumerate(sinks) for p in problems(sink, f"sinks[{n}]")]
    if not found and stack:
        found = [p for n, sink in enumerate(sinks) for p in _inside(platform, sink, f"sinks[{n}]")]
    names = [sink.name for sink in sinks]
    found += [
        Problem(path=f"sinks[{n}].name", message="is there twice") for n, name in enumerate(names) if name in names[:n]
    ]
    if found:
        raise Invalid(found)
    await asyncio.to_thread(platform.log_sinks.put, stack, sinks)
    return await _shown(platform, stack)


def _sink(asked: LogSinkRequest, stack: str, before: LogSink | None) -> LogSink:
    same = before is not None and (before.kind, before.address) == (asked.kind, asked.address)
    kept = before.authorization if before is not None and same else ""
    identity = hashlib.sha256("\n".join((stack, asked.name, asked.kind, asked.address)).encode()).hexdigest()[:16]
    return LogSink(
        id=identity, name=asked.name, stack=stack, kind=asked.kind, address=asked.address, level=asked.level,
        tenant=asked.tenant, ca=asked.ca,
        authorization=kept if asked.authorization is None else asked.authorization,
    )  # fmt: skip


def _inside(platform: Platform, sink: LogSink, path: str) -> list[Problem]:
    """Of a tenant's that is written as an address; a name is looked at by the hosts."""
    _, host, _ = sink.place
    if host == "localhost" or host.endswith(".localhost"):
        return [Problem(path=f"{path}.address", message="is this machine itself")]
    try:
        address = ip_address(host)
    except ValueError:
        return []
    why = registries.refusal(address)
    if not why and any(address in n for n in inside(platform.core.state.network) if n.version == address.version):
        why = "an address of this platform"
    return [Problem(path=f"{path}.address", message=f"{host} is {why}: no logs are sent there")] if why else []


async def _shown(platform: Platform, stack: str) -> dict[str, Any]:
    sinks = platform.log_sinks.of(stack)
    state = platform.core.state
    hosts = platform.hosts()
    if stack:
        mine = {d.id for d in state.workloads.values() if d.stack_id == stack}
        hosts = [h for h in hosts if any(p.incarnation.workload_id in mine for p in state.incarnations_on(h).values())]
    counted, deaf = await platform.log_sinks.tell(hosts)
    answer = []
    for sink in sinks:
        rows: list[dict[str, Any]] = []
        if sink.kind == TRACES:
            told = platform.traces.counted(sink.id)
            rows.append({"host": "control", "sent": told.sent, "lost": told.lost, "message": told.error})
        for host in hosts if sink.kind != TRACES else ():
            found = next((one for one in counted.get(host, ()) if one.id == sink.id), None)
            if found is None:
                rows.append({"host": host, "message": deaf.get(host, "it has not said anything of it yet")})
            else:
                figures = {"sent": found.sent, "lost": found.lost, "behind_bytes": found.behind}
                rows.append({"host": host, **figures, "message": found.error})
        one: dict[str, Any] = {"name": sink.name, "kind": sink.kind, "address": sink.address, "tenant": sink.tenant}
        if sink.level is not None:
            one["level"] = sink.level
        answer.append({**one, "authorized": bool(sink.authorization), "ca": sink.ca, "hosts": rows})
    return {"sinks": answer}
