"""Declaring workloads: from a request's body to a draft of the next state. Create, replace, merge, delete, and their
rules.

Each function returns the `alter` step for `Core.change`; all checks against what is there happen inside the step, so
two requests for one slug cannot both win. Nothing here does I/O.
"""

import copy
import json
import uuid
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from anypop.control import versions
from anypop.control.accounts import Stack
from anypop.control.allocation_book import bound
from anypop.control.allocations import check_assignments, check_claimable
from anypop.control.core import Alter, Look
from anypop.control.refusals import Exists, NotFound, Precondition, VersionConflict
from anypop.control.restarts import restarts_beside
from anypop.control.rolling import begun, refuse_beside_waves, refuse_unknown_to_agents, with_revision, with_rules
from anypop.control.state import Declaration, Revision, State
from anypop.control.subnets import resolved
from anypop.model.announce import Scope, ScopeRule
from anypop.model.confinement import PLAIN_RULES, InstanceRules
from anypop.model.errors import Invalid
from anypop.model.machine import MachineImage, Power
from anypop.model.names import CityCode, WorkloadId
from anypop.model.table import with_entries
from anypop.model.volume import Claim
from anypop.model.workload import Container, Workload
from anypop.plan.claims import changed_badly
from anypop.plan.declare import unfilled
from anypop.plan.fields import LOCAL_ONLY
from anypop.plan.moves import is_carried, resting, same_elsewhere
from anypop.plan.parse import Parsed, Secret, parse
from anypop.plan.template import template_of


def new_id() -> WorkloadId:
    return WorkloadId(str(uuid.uuid4()))


def parsed(
    body: Mapping[str, Any],
    stack: Stack,
    workload_id: WorkloadId,
    cities: Collection[CityCode],
    rules: InstanceRules = PLAIN_RULES,
) -> Parsed:
    """The body of a request as a workload of `stack`. `rules`: the operator's for instances. Raises `Invalid`."""
    made = parse(body, workload_id=workload_id, stack_id=stack.id, stack_slug=stack.slug, cities=cities, rules=rules)
    return replace(made, workload=replace(made.workload, account_id=stack.account_id))


def redeclared(
    wanted: Mapping[str, Any],
    current: Declaration,
    stack: Stack,
    cities: Collection[CityCode],
    rules: InstanceRules = PLAIN_RULES,
) -> Parsed:
    """The body of a request that changes a workload, with what its client could not send: secrets it cannot read, and
    the slug, which lasts for the workload's life whatever name there is now. Raises `Invalid`.
    """
    if not wanted.get("slug"):
        wanted = {**wanted, "slug": current.workload.slug}
    return parsed(with_secrets(wanted, current), stack, current.id, cities, rules)


def unresolved(made: Parsed, before: Workload | None = None) -> tuple[Parsed, list[Container]]:
    """`made` with the images that its virtual machines had before, where they are named as they were, and those whose
    images are still to be found: an update of something else moves nothing to a newer image.
    """
    had = {c.image: c.machine.image for c in before.containers if c.machine is not None} if before is not None else {}
    made = with_images(made, {image: found for image, found in had.items() if found is not None})
    return made, [c for c in made.workload.containers if c.machine is not None and c.machine.image is None]


def with_images(made: Parsed, images: Mapping[str, MachineImage]) -> Parsed:
    """`made` with these images of virtual machines, by what it calls them."""
    workload = made.workload
    if not workload.is_machine:
        return made
    containers = tuple(
        replace(c, machine=replace(c.machine, image=images[c.image]))
        if c.machine is not None and c.image in images
        else c
        for c in workload.containers
    )
    return replace(made, workload=replace(workload, containers=containers))


def create(made: Parsed) -> Alter:
    """Add a workload. The step raises `Exists` when its slug is taken in its stack."""

    def alter(state: State, now: float) -> State:
        workload = made.workload
        if state.find(workload.stack_id, workload.slug) is not None:
            raise Exists(f"workload with slug {workload.slug} already exists on stack")
        revision = _revision(made, state, 1, now)
        declared = Declaration(newest=revision, created_at=now)
        return bound(replace(state, workloads=with_entries(state.workloads, {workload.id: declared})), workload.id, now)

    return alter


def refuse_without_address(workload_id: WorkloadId) -> Look:
    """For a creation: it is refused (`Precondition`) where the workload asks for an anycast address and there is none
    to give.
    """

    def look(state: State) -> None:
        note = state.plan.unserved.get(workload_id) if state.plan is not None else None
        if note is not None:
            raise Precondition(f"{note.reason.says}: {note.detail}. Nothing was created")

    return look


def replace_with(before: Declaration, made: Parsed, *, by: str = "") -> Alter:
    """Give a workload a new document, and begin a rollout where instances have to be made anew. `by`: who asks. The
    step raises `NotFound`, `Precondition` while it is being deleted, or `VersionConflict` when somebody else was
    faster; `Invalid` when it tries to change what lasts for the workload's life.
    """

    def alter(state: State, now: float) -> State:
        current = state.workloads.get(before.id)
        if current is None:
            raise NotFound(f"no workload {before.id}")
        if current.delete_requested_at is not None:
            raise Precondition(f"workload {current.workload.slug} is being deleted")
        if current.version != before.version:
            raise VersionConflict(
                f"workload {current.workload.slug} has version {current.version}, the change was made to "
                f"{before.version}"
            )
        if made.workload.slug != current.workload.slug:
            raise Invalid.one("slug", f"cannot be changed (it is {current.workload.slug})")
        if made.workload.anycast != current.workload.anycast:
            raise Invalid.one(
                "metadata.annotations",
                "anycast is asked for at creation and lasts for the workload's life; create another workload",
            )
        if made.workload.local_only != current.workload.local_only:
            raise Invalid.one(
                f"metadata.annotations.{LOCAL_ONLY}",
                "is asked for at creation and lasts for the workload's life, as its address does; create another "
                "workload",
            )
        kept = [
            Claim(slug=v.claim, size_bytes=v.size_bytes, storage_class=v.storage_class)
            for v in state.volumes_of(current.id).values()
            if v.doomed_at is None
        ]
        check_assignments(state, current.workload, made.workload)
        if wrong := list(changed_badly([*current.workload.volumes, *kept], made.workload)):
            raise Invalid(wrong)
        revision = _revision(made, state, current.version + 1, now, restarts=current.workload.restarts)
        if (
            revision.document == current.document
            and revision.secrets == current.secrets
            and _same_processes(made.workload, current.workload)
        ):
            return state  # nothing was changed, so nothing is declared anew
        state = bound(with_revision(state, current, revision, now), current.id, now)
        return begun(state, current.id, previous=current.good, by=by, strategy=current.strategy, now=now)

    return alter


def _same_processes(one: Workload, other: Workload) -> bool:
    """They differ with one document where an older version of Anypop kept a field that it did nothing for."""
    return one.containers == other.containers and one.around == other.around


def _revision(made: Parsed, state: State, number: int, now: float, *, restarts: int = 0) -> Revision:
    """Raises `Invalid` where its network, or a subnet of it, is not there."""
    workload = resolved(state, made.workload)
    if workload.restarts != restarts:
        workload = replace(workload, restarts=restarts)
    check_claimable(workload)
    if workload.families != made.workload.families and (lost := unfilled(workload, made.document)):
        raise Invalid(lost)
    workload = replace(workload, revision=number, template=template_of(workload, state.template_key))
    return Revision(workload=workload, document=made.document, secrets=_sorted(made.secrets), created_at=now)


def delete(workload_id: WorkloadId) -> Alter:
    """Ask for a workload's deletion; asking twice is harmless. It is gone when its PoPs have reported the last instance
    gone.
    """

    def alter(state: State, now: float) -> State:
        current = state.workloads.get(workload_id)
        if current is None or current.delete_requested_at is not None:
            return state
        newest = replace(current.newest, workload=replace(current.workload, deleting=True))
        leaving = replace(current, newest=newest, delete_requested_at=now, updated_at=now)
        return replace(state, workloads=with_entries(state.workloads, {workload_id: leaving}))

    return alter


def restart(uid: str) -> Alter:
    """Have the containers of an incarnation started anew, in its place and with its addresses. Those of one host are
    started one after the other by their agent. The step raises `Precondition` where another host of the PoP does so at
    this moment and nobody would be left there.
    """

    def alter(before: State, now: float) -> State:
        placed = before.incarnations.get(uid)
        if placed is None:
            raise Precondition("it is being taken down")
        life = placed.incarnation
        if life.power is Power.OFF:
            raise Precondition(f"{life.name} is powered off: power it on")
        if life.rescue is not None:
            raise Precondition(f"{life.name} is being mended with another image: power it on, and it starts as usual")
        if beside := restarts_beside(before, life, now):
            raise Precondition(
                f"{beside.name} on {beside.host} is being started anew at this moment, and no other instance serves in "
                f"{life.pop}: wait until that one serves"
            )
        again = replace(placed, incarnation=replace(life, restarts=life.restarts + 1))
        return replace(before, incarnations=with_entries(before.incarnations, {uid: again}))

    return alter


def power(uid: str, state: Power, rescue: MachineImage | None = None) -> Alter:
    """Have a virtual machine be off, or run: with its own root disk, or with `rescue`. What is so already stays. It
    keeps its place, its addresses and its disks. One whose root disk is on its way to a newer one is told as the older,
    and the newer follows once it has it; one that moves while it runs is off in both places. The step raises
    `Precondition` where it is going.
    """

    def alter(before: State, now: float) -> State:
        placed = before.incarnations.get(uid)
        if placed is None:
            raise Precondition("it is being taken down")
        life = placed.incarnation
        every = [p for p in before.incarnations_of(life.workload_id).values() if p.incarnation.slot == life.slot]
        pair = resting([p.incarnation for p in every])
        made_from = before.revision(life.workload_id, life.revision)
        carried = before.network.backbone is not None and is_carried(made_from.workload if made_from else None)
        if not carried:
            meant = {uid}
        elif state is Power.OFF:
            meant = {uid, *(p.incarnation.uid for p in every if same_elsewhere(p.incarnation, life))}
        else:
            meant = {pair[0].uid if pair is not None else uid}
        told = {
            p.incarnation.uid: replace(p, incarnation=replace(p.incarnation, power=state, rescue=rescue))
            for p in every
            if p.incarnation.uid in meant
        }
        if all(before.incarnations[one] == new for one, new in told.items()):
            return before
        return replace(before, incarnations=with_entries(before.incarnations, told))

    return alter


def set_rules(workload_id: WorkloadId, rules: Collection[ScopeRule], *, beside: bool = False) -> Alter:
    """Put these rules in place of the workload's rules: of all of them, or (`beside`) of those for the same PoP and
    upstream. One that says the default is none, unless somebody noted why. The step raises `Precondition` where scopes
    are being changed in waves, or where a host's agent is too old for them.
    """

    def alter(state: State, now: float) -> State:
        if workload_id not in state.workloads:
            raise NotFound(f"no workload {workload_id}")
        had = dict(state.rules_of(workload_id))
        found = had if beside else {}
        found = {**found, **{(workload_id, rule.pop, rule.upstream): rule for rule in rules}}
        found = {key: rule for key, rule in found.items() if rule.scope != Scope() or rule.note}
        if found == had:
            return state
        refuse_beside_waves(state, workload_id)
        refuse_unknown_to_agents(state, [rule for key, rule in found.items() if had.get(key) != rule])
        return with_rules(state, workload_id, found)

    return alter


def check_version(body: Mapping[str, Any], current: Declaration, *, required: bool) -> None:
    """`metadata.version` of a changing request against what is there, as `versions.check_version`."""
    versions.check_version(
        versions.version_in(body), current.version, f"workload {current.workload.slug}", required=required
    )


def merged(current: Declaration, patch: Mapping[str, Any]) -> dict[str, Any]:
    """The current document with `patch` laid over it (JSON Merge Patch, RFC 7396: null removes, lists are replaced)."""
    result: dict[str, Any] = _merge(json.loads(json.dumps(current.document)), patch)
    return result


def with_secrets(body: Mapping[str, Any], current: Declaration) -> dict[str, Any]:
    """`body` with the secrets that a client could not read and so could not send back: an env entry or a registry
    password that is there without any value keeps the one it had.
    """
    full: dict[str, Any] = copy.deepcopy(dict(body))
    spec = full.get("spec")
    if not isinstance(spec, dict):
        return full
    values = {secret.path: secret.value for secret in current.secrets}
    for kind in ("containers", "initContainers"):
        for name, container in _entries(spec.get(kind)):
            for variable, entry in _entries(container.get("env")):
                path = f"spec.{kind}.{name}.env.{variable}.secretValue"
                if path in values and not any(entry.get(key) for key in ("value", "secretValue", "valueFrom")):
                    entry["secretValue"] = values[path]
    passwords = _registry_passwords(current.document, values)
    pulls = spec.get("imagePullCredentials")
    for pull in pulls if isinstance(pulls, list) else []:
        registry = pull.get("dockerRegistry") if isinstance(pull, dict) else None
        if isinstance(registry, dict) and not registry.get("password") and _login(registry) in passwords:
            registry["password"] = passwords[_login(registry)]
    return full


def _registry_passwords(document: Mapping[str, Any], values: Mapping[str, str]) -> dict[tuple[str, str], str]:
    """Known passwords by registry and user, wherever in the list they stood: a password must never go to another
    registry.
    """
    found = {}
    for index, pull in enumerate(document.get("spec", {}).get("imagePullCredentials", ())):
        path = f"spec.imagePullCredentials[{index}].dockerRegistry.password"
        if path in values:
            found[_login(pull.get("dockerRegistry", {}))] = values[path]
    return found


def _login(registry: Mapping[str, Any]) -> tuple[str, str]:
    return str(registry.get("server") or ""), str(registry.get("username") or "")


def _entries(value: Any) -> list[tuple[str, dict[str, Any]]]:
    """The object members of an object; whatever else there is, the parser will complain about."""
    return (
        [(key, member) for key, member in value.items() if isinstance(member, dict)] if isinstance(value, dict) else []
    )


def _merge(old: Any, patch: Any) -> Any:
    if not isinstance(patch, Mapping):
        return patch
    base = dict(old) if isinstance(old, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            base.pop(key, None)
        else:
            base[key] = _merge(base.get(key), value)
    return base


def _sorted(secrets: tuple[Secret, ...]) -> tuple[Secret, ...]:
    return tuple(sorted(secrets, key=lambda secret: secret.path))
