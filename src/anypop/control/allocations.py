"""Allocations and their claims as people ask for them: made, changed, deleted; and what they were told of it.

In: what a request brings. Out: the `alter` step for `Core.change`, which checks against what is there inside the step,
and leaves an operation that says what was done. What follows for slots and hosts is `allocation_book`'s and the
planner's. Pure.
"""

import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from anypop.control.accounts import Stack
from anypop.control.allocation_book import placed
from anypop.control.allocation_ends import without_allocation, without_claim
from anypop.control.allocation_matches import may_hold, resolved
from anypop.control.allocation_pins import allocation_by_slug, by_slug, claim_on, claim_slug, slots_of
from anypop.control.refusals import Exists, NotFound, Precondition
from anypop.control.state import State
from anypop.control.versions import check_version
from anypop.model.allocation import (
    Allocation,
    AllocationClaim,
    Assignment,
    Mode,
    Operation,
    Reclaim,
    ReclaimAction,
)
from anypop.model.errors import Invalid
from anypop.model.names import StackId
from anypop.model.table import grouped, with_entries, without_keys
from anypop.model.workload import Workload
from anypop.plan.allocation_read import AllocationWish, Change, ClaimWish

Alter = Callable[[State, float], State]
K = TypeVar("K", Allocation, AllocationClaim)

MOST = 1_000  # allocations, and claims, of a stack
OPERATIONS_KEPT = 100  # of a stack
_ASSIGNMENTS = "spec.networkInterfaces[0].assignments"


def new_operation() -> str:
    """A name that nobody guesses; clients look for `operation-` and hexadecimal digits."""
    return f"operation-{uuid.uuid4().hex}"


def create_allocation(wish: AllocationWish, stack: Stack, operation: str) -> Alter:
    """Add an allocation, with an address where there is one now. The step raises `Exists` and `Precondition`."""

    def step(state: State, now: float) -> tuple[State, str]:
        if allocation_by_slug(state, stack.id, wish.slug) is not None:
            raise Exists(f"allocation with slug {wish.slug} already exists on stack")
        _check_count(state, stack.id)
        made = placed(state, _allocation(wish, stack, now), now)
        return _with_allocation(state, made), wish.slug

    return _told(stack.id, operation, "create", "allocations", step)


def create_claim(wish: ClaimWish, stack: Stack, operation: str) -> Alter:
    """Add a claim. One that has a template gets an allocation of its own, by the claim's slug. The step raises `Exists`
    and `Precondition`.
    """

    def step(state: State, now: float) -> tuple[State, str]:
        if by_slug(state.claims, stack.id, wish.slug) is not None:
            raise Exists(f"allocation claim with slug {wish.slug} already exists on stack")
        _check_count(state, stack.id)
        made = AllocationClaim(
            id=str(uuid.uuid4()), stack_id=stack.id, account_id=stack.account_id, slug=wish.slug, name=wish.name,
            ip_version=wish.ip_version, reclaim=wish.reclaim, source=wish.source, labels=wish.labels or (),
            annotations=wish.annotations or (), created_at=now, idle_since=_idle_from(wish.reclaim.action, now),
        )  # fmt: skip
        template = wish.source.template
        if template is not None:
            if allocation_by_slug(state, stack.id, wish.slug) is not None:
                raise Exists(f"allocation with slug {wish.slug} already exists on stack: claim it by its name")
            own = AllocationWish(name=wish.name, slug=wish.slug, spec=template, labels=wish.labels, annotations=None)
            allocation = placed(state, replace(_allocation(own, stack, now), idle_since=None), now)
            state, made = _with_allocation(state, allocation), replace(made, allocation_id=allocation.id)
        return resolved(_with_claim(state, made), made, now), wish.slug

    return _told(stack.id, operation, "create", "allocation_claims", step)


def change_allocation(stack: StackId, slug: str, change: Change, operation: str) -> Alter:
    """Another name, other labels, another policy. What changes nothing is no new version. The step raises `NotFound`
    and `VersionConflict`.
    """

    def step(state: State, now: float) -> tuple[State, str]:
        there = allocation_of(state, stack, slug)
        reclaim = change.reclaim or there.spec.reclaim
        made = replace(_reworded(there, change), spec=replace(there.spec, reclaim=reclaim))
        if made != there:
            free = claim_on(state, there) is None
            state = _with_allocation(state, replace(made, **_renewed(there, reclaim, now, free=free)))
        return state, there.slug

    return _told(stack, operation, "update", "allocations", step)


def change_claim(stack: StackId, slug: str, change: Change, operation: str) -> Alter:
    """As `change_allocation`, of a claim."""

    def step(state: State, now: float) -> tuple[State, str]:
        there = claim_of(state, stack, slug)
        reclaim = change.reclaim or there.reclaim
        made = replace(_reworded(there, change), reclaim=reclaim)
        if made != there:
            free = there.holder is None
            state = _with_claim(state, replace(made, **_renewed(there, reclaim, now, free=free)))
        return state, there.slug

    return _told(stack, operation, "update", "allocation_claims", step)


def delete_allocation(stack: StackId, slug: str, operation: str) -> Alter:
    """Let an address go. One whose claim is being deleted goes with that. The step raises `NotFound`, and
    `Precondition` while it is claimed.
    """

    def step(state: State, now: float) -> tuple[State, str]:
        there = allocation_of(state, stack, slug)
        claim = claim_on(state, there)
        if claim is None:
            return without_allocation(state, there, now), there.slug
        if claim.delete_requested_at is None:
            raise Precondition(f"allocation {there.slug} is held by claim {claim.slug}: delete that one first")
        return _with_allocation(state, _leaving(there, now)), there.slug

    return _told(stack, operation, "delete", "allocations", step)


def delete_claim(stack: StackId, slug: str, operation: str) -> Alter:
    """Take a claim away. One that an instance holds whose workload is being deleted goes with that. The step raises
    `NotFound`, and `Precondition` while an instance holds it.
    """

    def step(state: State, now: float) -> tuple[State, str]:
        there = claim_of(state, stack, slug)
        holder = there.holder
        if holder is None:
            return without_claim(state, there, now), there.slug
        declared = state.workloads.get(holder.workload_id)
        if declared is not None and not declared.workload.deleting:
            raise Precondition(
                f"allocation claim {there.slug} is held by {holder.instance}: delete workload {declared.workload.slug} "
                "first, or scale it down"
            )
        return _with_claim(state, _leaving(there, now)), there.slug

    return _told(stack, operation, "delete", "allocation_claims", step)


def delete_operation(stack: StackId, name: str) -> Alter:
    """Forget what was told of a change. The step raises `NotFound`."""

    def alter(state: State, now: float) -> State:
        return replace(state, operations=without_keys(state.operations, [operation_of(state, stack, name).name]))

    return alter


def allocations_in(state: State, stack: StackId) -> list[Allocation]:
    """A stack's, oldest first."""
    return sorted(grouped(state.allocations, "stack", stack).values(), key=lambda a: (a.created_at, a.slug))


def claims_in(state: State, stack: StackId) -> list[AllocationClaim]:
    """A stack's, oldest first."""
    return sorted(grouped(state.claims, "stack", stack).values(), key=lambda c: (c.created_at, c.slug))


def allocation_of(state: State, stack: StackId, ref: str) -> Allocation:
    """By slug or id. Raises `NotFound`."""
    found = allocation_by_slug(state, stack, ref) or state.allocations.get(ref)
    if found is None or found.stack_id != stack:
        raise NotFound(f"no allocation {ref} on stack")
    return found


def claim_of(state: State, stack: StackId, ref: str) -> AllocationClaim:
    """By slug or id. Raises `NotFound`."""
    found = by_slug(state.claims, stack, ref) or state.claims.get(ref)
    if found is None or found.stack_id != stack:
        raise NotFound(f"no allocation claim {ref} on stack")
    return found


def operation_of(state: State, stack: StackId, name: str) -> Operation:
    """Raises `NotFound`."""
    found = state.operations.get(name)
    if found is None or found.stack_id != stack:
        raise NotFound(f"no operation {name} on stack")
    return found


def check_assignments(state: State, before: Workload, after: Workload) -> None:
    """Between two revisions of a workload: its slots have the addresses that they have. Raises `Invalid`, and
    `Precondition` where a claim that is there has another address than the slot that would hold it.
    """
    was, now = _by_kind(before), _by_kind(after)
    for key, old in was.items():
        new = now.get(key)
        if new is None or _identity(old) != _identity(new):
            raise Invalid.one(
                _ASSIGNMENTS,
                f"{old.slug} cannot be changed or left out: instances have their addresses for life, and only how "
                "these are kept may change; create another workload",
            )
    for key, new in now.items():
        if key in was:
            continue
        if new.source.template is None or new.mode is Mode.ADDITIONAL:
            message = f"{new.slug} names an address that instances do not have; create another workload for it"
            raise Invalid.one(_ASSIGNMENTS, message)
        for slot in slots_of(state, before):
            for slug in (new.base, claim_slug(new, slot)):
                claim = by_slug(state.claims, after.stack_id, slug) if slug else None
                if claim is not None and not may_hold(state, claim, new, slot, after.id):
                    raise Precondition(f"claim {slug} is there already, and is not for the address of {slot.name}")


def check_claimable(workload: Workload) -> None:
    """Raises `Invalid` where a claim is for an address that its instances do not have."""
    for n, one in enumerate(workload.assignments):
        path = f"{_ASSIGNMENTS}[{n}]"
        if one.ip_version not in workload.families:
            raise Invalid.one(path, f"instances have no IPv{one.ip_version} address")
        if one.mode is Mode.PRIMARY and workload.vpc.subnets:
            raise Invalid.one(path, "a private address in a subnet follows from its instance: leave it out")


def addresses_kept(state: State, stack: StackId) -> int:
    """How many addresses a stack has asked for: allocations, and claims that have none yet."""
    waiting = sum(not c.allocation_id for c in grouped(state.claims, "stack", stack).values())
    return len(grouped(state.allocations, "stack", stack)) + waiting


def _by_kind(workload: Workload) -> dict[object, Assignment]:
    """An instance has one address of each kind and family; of those beside it may have several."""
    return {(a.mode, a.ip_version, a.slug if a.mode is Mode.ADDITIONAL else ""): a for a in workload.assignments}


def _identity(one: Assignment) -> object:
    source = one.source
    template = source.template is not None
    return one.slug, one.base, source.name, source.selector_kind, source.selectors, template


def _allocation(wish: AllocationWish, stack: Stack, now: float) -> Allocation:
    return Allocation(
        id=str(uuid.uuid4()), stack_id=stack.id, account_id=stack.account_id, slug=wish.slug, name=wish.name,
        spec=wish.spec, labels=wish.labels or (), annotations=wish.annotations or (), created_at=now,
        idle_since=_idle_from(wish.spec.reclaim.action, now),
    )  # fmt: skip


def _told(stack: StackId, name: str, verb: str, kind: str, step: Callable[[State, float], tuple[State, str]]) -> Alter:
    """A step that also leaves what was told of it, by its `name`; "": nobody asks. `step`: to the state after it, and
    the slug of what it was about.
    """

    def alter(state: State, now: float) -> State:
        state, slug = step(state, now)
        if not name:
            return state
        return _noted(state, Operation(name=name, stack_id=stack, verb=verb, kind=kind, slug=slug, at=now))

    return alter


def _with_allocation(state: State, made: Allocation) -> State:
    return replace(state, allocations=with_entries(state.allocations, {made.id: made}))


def _with_claim(state: State, made: AllocationClaim) -> State:
    return replace(state, claims=with_entries(state.claims, {made.id: made}))


def _reworded(there: K, change: Change) -> K:
    """With the name and the words that a change brings. Raises `VersionConflict`."""
    check_version(change.version, there.version, there.slug)
    return replace(
        there,
        name=change.name or there.name,
        labels=there.labels if change.labels is None else change.labels,
        annotations=there.annotations if change.annotations is None else change.annotations,
    )


def _renewed(there: Allocation | AllocationClaim, reclaim: Reclaim, now: float, *, free: bool) -> dict[str, Any]:
    """What follows from any change: a version, and for one that nobody holds the moment from which its time counts."""
    since = there.idle_since
    if free and since is None:
        since = _idle_from(reclaim.action, now)
    return {"version": there.version + 1, "updated_at": now, "idle_since": since}


def _leaving(there: K, now: float) -> K:
    """It goes when who holds it does."""
    return replace(there, delete_requested_at=there.delete_requested_at or now)


def _idle_from(action: ReclaimAction, now: float) -> float | None:
    """What was never held does not go for that; only the time of who is kept for a while begins at once."""
    return now if action is ReclaimAction.RETAIN_FOR_IDLE_PERIOD else None


def _noted(state: State, made: Operation) -> State:
    """With what was told of a change, and without the oldest of them."""
    stack, name = made.stack_id, made.name
    mine = sorted(grouped(state.operations, "stack", stack).values(), key=lambda o: (o.at, o.name))
    old = [o.name for o in mine[: max(0, len(mine) + 1 - OPERATIONS_KEPT)]]
    return replace(state, operations=with_entries(without_keys(state.operations, old), {name: made}))


def _check_count(state: State, stack: StackId) -> None:
    if max(len(grouped(state.allocations, "stack", stack)), len(grouped(state.claims, "stack", stack))) >= MOST:
        raise Precondition(f"a stack may have {MOST} allocations and claims")
