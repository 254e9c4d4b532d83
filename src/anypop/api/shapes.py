"""The nouns as the Workload API's JSON has them: stacks, workloads, locations, instances.

In: control's state. Out: plain data. Null and empty values are left out, times are RFC 3339 in UTC, counts of 64 bits
are text. Pure; it must not add to a workload's document what its client would see as a difference from what it sent.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from anypop.api import slots
from anypop.api.slots import Life
from anypop.control.accounts import Stack
from anypop.control.drain_facts import drains_over, is_drained
from anypop.control.state import Declaration, Revision, State
from anypop.control.volume_book import phase_of_claim
from anypop.judge.instances import Shown
from anypop.model import codec
from anypop.model.names import HostName
from anypop.model.order import InstanceOrder
from anypop.model.plan import Incarnation, Quote
from anypop.model.reasons import Reason
from anypop.model.report import ContainerReport, Phase
from anypop.plan.document import document_with_anycast
from anypop.plan.fields import instance_fields


def moment(at: float) -> str:
    """RFC 3339 with microseconds, UTC."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def stack(found: Stack) -> dict[str, Any]:
    return {
        "id": found.id,
        "accountId": found.account_id,
        "slug": found.slug,
        "name": found.name,
        "createdAt": moment(found.created_at),
        "updatedAt": moment(found.updated_at),
        "status": found.status,
    }


def workload(state: State, declared: Declaration) -> dict[str, Any]:
    """The document as declared, with what the platform adds to it: anycast addresses, status, version and times."""
    held = state.anycast.get(declared.id)
    document = document_with_anycast(declared.document, held, dual_stack=declared.workload.dual_stack)
    metadata = {
        **document.get("metadata", {}),
        "version": str(declared.version),
        "createdAt": moment(declared.created_at),
    }
    if declared.updated_at is not None:
        metadata["updatedAt"] = moment(declared.updated_at)
    if declared.delete_requested_at is not None:
        metadata["deleteRequestedAt"] = moment(declared.delete_requested_at)
    return {**_with_phases(state, declared, document), "metadata": metadata, "status": "ACTIVE"}


def _with_phases(state: State, declared: Declaration, document: Mapping[str, Any]) -> dict[str, Any]:
    """With how the volumes of each claim are."""
    spec = document.get("spec", {})
    claims = spec.get("volumeClaimTemplates")
    if not claims:
        return dict(document)
    told = [{**claim, "phase": phase_of_claim(state, declared.id, claim["slug"])} for claim in claims]
    return {**document, "spec": {**spec, "volumeClaimTemplates": told}}


def instances(state: State, declared: Declaration, now: float) -> list[tuple[Incarnation, dict[str, Any]]]:
    """The instances of a workload by name: of each slot the incarnation that serves, or is on its way to; one that is
    being taken down only where no other lives in its slot.
    """
    return _each(state, declared, slots.slots(slots.lives(state, declared, now)))


def incarnations(state: State, declared: Declaration, now: float) -> list[tuple[Incarnation, dict[str, Any]]]:
    """All incarnations of a workload by name and age, those being taken down included."""
    return _each(state, declared, slots.lives(state, declared, now))


def _each(state: State, declared: Declaration, lives: Iterable[Life]) -> list[tuple[Incarnation, dict[str, Any]]]:
    show = instance_of(state, declared)
    return [(life.incarnation, show(life)) for life in lives]


def instance_of(state: State, declared: Declaration) -> Callable[[Life], dict[str, Any]]:
    """What the API shows of each life of a workload. The orders of a host are looked through when the first of its
    instances is shown.
    """
    orders: dict[HostName, dict[str, InstanceOrder]] = {}

    def order_of(life: Incarnation) -> InstanceOrder | None:
        if (there := orders.get(life.host)) is None:
            part = state.plan.hosts.get(life.host) if state.plan is not None else None
            there = {i.uid: i for i in part.instances if i.workload_id == declared.id} if part is not None else {}
            orders[life.host] = there
        return there.get(life.uid)

    def show(one: Life) -> dict[str, Any]:
        life, seen = one.incarnation, one.seen
        revision = state.revision(declared.id, life.revision) or declared.newest
        if seen.healthy and declared.id in state.anycast and is_drained(drains_over(state, life.pop, life.host)):
            seen = replace(seen, reason=Reason.DRAINED, message=f"{life.pop} is drained: it runs and gets no traffic")
        return _instance(revision, life, order_of(life), seen, created_at=one.created_at, asked_at=one.asked_at)

    return show


def _instance(
    revision: Revision,
    life: Incarnation,
    order: InstanceOrder | None,
    seen: Shown,
    *,
    created_at: float,
    asked_at: float | None,
) -> dict[str, Any]:
    """`revision`: the one whose containers it has, so that nothing is shown which does not run."""
    spec = revision.document.get("spec", {})
    machine = revision.workload.is_machine
    fields = instance_fields(order, life, revision.workload)
    data = {
        **fields,
        "metadata": {
            **_metadata(fields["metadata"], seen),
            "version": str(life.revision),
            "createdAt": moment(created_at),
        },
        "phase": seen.word,
        "healthy": seen.healthy,
        "reason": seen.reason.value,
        "message": seen.message or ("" if seen.phase is Phase.RUNNING else seen.reason.says),
        "createdAt": moment(created_at),
        "scheduledAt": moment(created_at),
        "startedAt": moment(seen.started_at) if seen.started_at is not None else None,
        "deletedAt": moment(asked_at) if asked_at is not None else None,
        "containers": spec.get("containers", {}),
        "initContainers": spec.get("initContainers", {}),
        "virtualMachines": spec.get("virtualMachines", {}),
        "containerStatuses": [] if machine else [container_status(c) for c in seen.containers],
        "virtualMachineStatuses": [machine_status(c) for c in seen.containers] if machine else [],
        "initContainerStatuses": [container_status(c) for c in seen.init],
        "runtime": spec.get("runtime", {}),
    }
    return filled(data)


def _metadata(metadata: Mapping[str, Any], seen: Shown) -> dict[str, Any]:
    """With what the host tells of each container that the API has no field for: how it is shut in, the digest of the
    image that runs, its logs, and how its process before this one ended.
    """
    told = {f"confinement.anypop/{c.name}": c.confinement.value for c in seen.containers if c.confinement is not None}
    told |= {f"image-digest.anypop/{c.name}": c.image_digest for c in seen.containers if c.image_digest}
    for c in seen.containers:
        if c.log_bytes is not None:
            told[f"log.anypop/{c.name}"] = f"{c.log_bytes} bytes, begun anew {c.log_turns} times"
    for c in (*seen.init, *seen.containers):
        if c.last_reason is not None and c.finished_at is None:
            told[f"last-end.anypop/{c.name}"] = _last_end(c)
    return {**metadata, "annotations": {**metadata.get("annotations", {}), **told}} if told else dict(metadata)


def _last_end(seen: ContainerReport) -> str:
    code = f"exit code {seen.last_exit_code}" if seen.last_exit_code is not None else ""
    at = str(moment(seen.last_finished_at)) if seen.last_finished_at is not None else ""
    reason = seen.last_reason.value if seen.last_reason is not None else ""
    return ", ".join(part for part in (reason, code, at, seen.last_message) if part)


def machine_status(seen: ContainerReport) -> dict[str, Any]:
    """As the API shows a virtual machine."""
    data = container_status(seen)
    why = data.get("terminated") or data.get("waiting") or {"reason": seen.reason.value, "message": seen.message}
    shown = {key: data.get(key) for key in ("name", "phase", "ready", "restartCount", "startedAt", "finishedAt")}
    return filled({**shown, "reason": why["reason"], "message": why.get("message")})


def container_status(seen: ContainerReport) -> dict[str, Any]:
    """As the API shows a container."""
    data: dict[str, Any] = {
        "name": seen.name,
        "phase": seen.phase.value,
        "ready": seen.ready,
        "restartCount": seen.restarts,
        "containerId": seen.container_id,
        "startedAt": moment(seen.started_at) if seen.started_at is not None else None,
        "finishedAt": moment(seen.finished_at) if seen.finished_at is not None else None,
    }
    match seen.phase:
        case Phase.RUNNING:
            data["running"] = {"startedAt": data["startedAt"]}
        case Phase.FAILED | Phase.STOPPED | Phase.COMPLETED:
            data["terminated"] = filled(
                {
                    "exitCode": seen.exit_code,
                    "reason": (seen.last_reason or seen.reason).value,
                    "message": seen.message,
                    "startedAt": data["startedAt"],
                    "finishedAt": data["finishedAt"],
                }
            )
            if seen.phase is Phase.FAILED:  # it is to be started anew
                data["waiting"] = {"reason": Reason.BACK_OFF.value, "message": Reason.BACK_OFF.says}
        case _:
            data["waiting"] = filled({"reason": seen.reason.value, "message": seen.message or seen.reason.says})
    return filled(data)


def quoted(price: Quote) -> dict[str, Any]:
    """A price as it is answered: what does not grow by itself has no most."""
    lines = [{k: v for k, v in codec.to_data(line).items() if v is not None} for line in price.lines]
    return {k: v for k, v in codec.to_data(price).items() if v is not None} | {"lines": lines}


def filled(data: Mapping[str, Any]) -> dict[str, Any]:
    """Without null and empty members; numbers and booleans stay, zero and false too."""
    return dict(_filled(data))


def _filled(data: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in data.items():
        if value is not None and value not in ("", {}, []):
            yield key, value
