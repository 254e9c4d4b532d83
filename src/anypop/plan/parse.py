"""From the Workload API's JSON to a workload: where the flow begins.

In: the object inside `{"workload": ...}`, with the ids that control gave it and the cities that exist. Out: the
workload for the planner, the document that may be shown to clients, and the secrets apart from it. Raises `Invalid`
with all problems at once, each with its path as the client wrote it. It must not fill in defaults that clients would
see as drift.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import ValidationError

from anypop.model import codec, limits
from anypop.model.confinement import PLAIN_RULES, InstanceRules
from anypop.model.errors import Invalid, Problem
from anypop.model.names import CityCode, StackId, WorkloadId, is_slug, slug_of
from anypop.model.workload import Target, Workload
from anypop.plan import assignments, claims, declare, interfaces, life, machines, surroundings
from anypop.plan.document import document_of, document_with_anycast
from anypop.plan.fields import ANYCAST, LOCAL_ONLY, SUBNETS
from anypop.plan.schema import FIELD_NAMES, WorkloadBody, every_container
from anypop.plan.security import refusals
from anypop.plan.target_schema import Deployments
from anypop.plan.unacted import unacted

__all__ = ["Parsed", "Secret", "document_with_anycast", "parse", "without_effect"]

# A plan is made anew at each change, in time linear in all instances: more than this from one workload would keep
# everyone waiting.
_MOST_INSTANCES = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """A value that is never shown: `path` is where the client wrote it
    (`spec.containers.web.env.TOKEN.secretValue`).
    """

    path: str
    value: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """`document` has stackId, id, name, slug, metadata (labels, annotations), spec and targets; control adds status,
    metadata.version and times. `workload` holds env secrets too (its PoPs need them): store it as carefully as
    `secrets`. `unacted`: what was accepted and has no effect yet, as path and explanation.
    """

    workload: Workload
    document: dict[str, Any]
    secrets: tuple[Secret, ...] = ()
    unacted: tuple[Problem, ...] = ()


def parse(
    body: Mapping[str, Any],
    *,
    workload_id: WorkloadId,
    stack_id: StackId,
    stack_slug: str,
    cities: Collection[CityCode],
    rules: InstanceRules = PLAIN_RULES,
) -> Parsed:
    """`body` as a workload. `rules`: what the operator lets instances have. Raises `Invalid`."""
    limits.check(body)  # alone, since what breaks them can hardly be answered about
    data = _without_nulls(body)
    problems = list(_between_fields(data))
    try:
        checked = WorkloadBody.model_validate(data, context={"cities": frozenset(cities)})
    except ValidationError as error:
        raise Invalid([*codec.in_words(error.errors(), FIELD_NAMES, WorkloadBody), *problems]) from error
    problems += [
        *_across(checked, cities),
        *_local_only(checked),
        *_anycast(checked),
        *refusals(checked, rules),
        *surroundings.refusals(checked),
        *life.refusals(checked),
        *machines.refusals(checked),
        *interfaces.refusals(checked),
    ]
    problems += claims.refusals(checked, rules)
    problems += assignments.refusals(checked, stack=(stack_id, stack_slug), targets=declare.targets(checked, cities))
    if problems:
        raise Invalid(problems)

    name = checked.name or checked.slug or ""
    slug = checked.slug or slug_of(name)
    annotations = dict((checked.metadata and checked.metadata.annotations) or {})
    annotations.pop(SUBNETS, None)  # the server's own, which clients send back as they read it
    workload = Workload(
        id=workload_id,
        stack_id=stack_id,
        stack_slug=stack_slug,
        slug=slug,
        name=name,
        containers=declare.containers(checked) or declare.machines(checked),
        init=declare.init_containers(checked),
        grace_s=life.grace_of(checked),
        shared_processes=life.shares_processes(checked),
        targets=declare.targets(checked, cities),
        anycast=ANYCAST in annotations,
        local_only=LOCAL_ONLY in annotations,
        dual_stack=declare.dual_stack(checked),
        volumes=claims.claims(checked),
        external=declare.has_external(checked),
        network=declare.network(checked),
        vpc=declare.vpc(checked),
        families=declare.families(checked),
        further=interfaces.further(checked),
        assignments=assignments.assignments(checked),
        labels=tuple(sorted(((checked.metadata and checked.metadata.labels) or {}).items())),
        annotations=tuple(sorted(annotations.items())),
        around=surroundings.surroundings_of(checked),
    )
    workload, lost = declare.with_provable_fields(workload, checked)
    if lost:
        raise Invalid(lost)
    document = {"stackId": stack_id, "id": workload_id} | document_of(checked, name=name, slug=slug)
    return Parsed(
        workload=workload, document=document, secrets=tuple(_secrets(checked)), unacted=tuple(unacted(checked))
    )


def with_declared_scales(workload: Workload, document: Mapping[str, Any]) -> Workload:
    """A workload with what its document says of its load: an earlier version kept the document, and did nothing by it.
    What today would be refused of that stays without effect.
    """
    declared = _object(document, "targets")
    found = [t if t.scale is not None else _with_scale(t, declared) for t in workload.targets]
    same = all(one is t for one, t in zip(found, workload.targets, strict=True))
    return workload if same else replace(workload, targets=tuple(found))


def _with_scale(target: Target, declared: Mapping[str, Any]) -> Target:
    data = _object(_object(_object(declared, target.name), "spec"), "deployments")
    if "scaleSettings" not in data:
        return target
    try:
        scale = declare.scale_of(Deployments.model_validate(data))
    except ValidationError:
        return target
    return target if scale is None else replace(target, scale=scale)


def without_effect(document: Mapping[str, Any]) -> tuple[Problem, ...]:
    """What of a kept document was accepted and has no effect: what its `Parsed` said, or would say today. One that an
    earlier version took and this one would refuse is told as that; it runs as it did.
    """
    try:
        return tuple(unacted(WorkloadBody.model_validate(document)))
    except ValidationError as error:
        return tuple(codec.in_words(error.errors(), FIELD_NAMES, WorkloadBody))


def _without_nulls(value: Any) -> Any:
    """Null means absent, as in protobuf's JSON."""
    if isinstance(value, Mapping):
        return {k: _without_nulls(v) for k, v in value.items() if v is not None}
    return [_without_nulls(v) for v in value] if isinstance(value, list) else value


def _between_fields(data: Any) -> Iterator[Problem]:
    """What no single field can tell, read from the raw data so that it is found also beside other problems."""
    if not isinstance(data, dict):
        return
    name, slug = data.get("name"), data.get("slug")
    if not name and not slug:
        yield Problem(path="name", message="is required (or slug)")
    elif not slug and isinstance(name, str) and not is_slug(slug_of(name)):
        yield Problem(path="name", message=f"no slug can be made of {name!r}; give a slug")
    containers, vms = (_object(_object(data, "spec"), kind) for kind in ("containers", "virtualMachines"))
    yield from machines.mixed(containers, vms)
    if isinstance(data.get("spec"), dict) and not containers and not data["spec"].get("virtualMachines"):
        yield Problem(path="spec.containers", message="is required: at least one container, or a virtual machine")
    units = [("containers", name, unit) for name, unit in containers.items()]
    units += [("virtualMachines", name, unit) for name, unit in vms.items()]
    holder: dict[tuple[int, str], str] = {}
    for kind, unit_name, unit in units:
        for port_name, port in _object(unit, "ports").items():
            path = f"spec.{kind}.{unit_name}.ports.{port_name}.port"
            number = _object({"port": port}, "port").get("port")
            if not re.fullmatch("[0-9]{1,5}", str(number)):
                continue
            protocol = declare.protocol(str(port.get("protocol", "")))
            other = holder.setdefault((int(str(number)), protocol), path)
            if other != path:
                yield Problem(
                    path=path,
                    message=f"{number}/{protocol} is also {other}; an instance's containers share one address",
                )


def _object(data: Any, key: str) -> dict[str, Any]:
    inner = data.get(key) if isinstance(data, dict) else None
    return inner if isinstance(inner, dict) else {}


def _across(body: WorkloadBody, known: Collection[CityCode]) -> Iterator[Problem]:
    """What needs all fields to be right first."""
    asked = sum(
        max(t.spec.deployments.replicas, t.spec.deployments.max_replicas or 0)
        * len(declare.cities(t.spec.deployments, known))
        for t in body.targets.values()
    )
    if asked > _MOST_INSTANCES:
        yield Problem(path="targets", message=f"ask for {asked} instances; one workload may have {_MOST_INSTANCES}")
    for target, wanted in body.targets.items():
        deployments = wanted.spec.deployments
        path = f"targets.{target}.spec.deployments"
        cities = declare.cities(deployments, known)
        if not cities:
            yield Problem(path=f"{path}.selectors", message="no city fits all of them")


def _anycast(body: WorkloadBody) -> Iterator[Problem]:
    annotations = (body.metadata and body.metadata.annotations) or {}
    if ANYCAST in annotations and declare.families(body) == (6,):
        message = "an anycast address has IPv4 too: say [IPv4, IPv6], or leave the annotation for it out"
        yield Problem(path="spec.networkInterfaces[0].ipFamilies", message=message)


def _local_only(body: WorkloadBody) -> Iterator[Problem]:
    annotations = (body.metadata and body.metadata.annotations) or {}
    path = f"metadata.annotations.{LOCAL_ONLY}"
    if LOCAL_ONLY in annotations and annotations[LOCAL_ONLY] != "true":
        yield Problem(path=path, message="must be true; leave it out for an address that is carried")
    if LOCAL_ONLY in annotations and ANYCAST not in annotations:
        yield Problem(path=path, message=f"is about an anycast address, and {ANYCAST} does not ask for one")


def _secrets(body: WorkloadBody) -> Iterator[Secret]:
    for path, container in every_container(body):
        for variable, value in (container.env or {}).items():
            if value.secret_value:
                yield Secret(path=f"{path}.env.{variable}.secretValue", value=value.secret_value)
    for n, credentials in enumerate(body.spec.image_pull_credentials or ()):
        if credentials.docker_registry.password:
            path = f"spec.imagePullCredentials[{n}].dockerRegistry.password"
            yield Secret(path=path, value=credentials.docker_registry.password)
