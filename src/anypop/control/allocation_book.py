"""The book of addresses that last: which slot holds which claim, which claim which allocation, and when each goes.

In: a draft of control's state, before and after a plan. Out: the draft with claims made for new slots, or found again;
with addresses where slots got their places; and without what nobody holds and nobody wants to keep. All of it is part
of the one step that plans, so no address is ever held by two. Pure.
"""

import uuid
from collections.abc import Iterable
from dataclasses import replace

from anypop.control.allocation_ends import released, without_the_idle
from anypop.control.allocation_matches import city_of_holder, may_hold, places_held, resolved
from anypop.control.allocation_pins import (
    Slot,
    allocation_by_slug,
    by_slug,
    claim_on,
    claim_slug,
    claims_of,
    grouped_names,
    slots_of,
)
from anypop.control.allocation_places import free_place, place_of
from anypop.control.ground import touched_between
from anypop.control.state import State
from anypop.model.allocation import AddressSpec, Allocation, AllocationClaim, Assignment, Holder, Mode
from anypop.model.names import WorkloadId
from anypop.model.plan import Incarnation
from anypop.model.table import differing, grouped, with_entries
from anypop.model.workload import Workload
from anypop.plan.planned import Touched
from anypop.plan.sites import Sites

_IDS = uuid.UUID("a8d4b6d0-7a1e-4a0f-9d0b-6f1f0b5c2e11")  # keeps these names apart from others' of version 5


def new_id(*parts: object) -> str:
    return str(uuid.uuid5(_IDS, "/".join(map(str, parts))))


def with_claims(before: State, draft: State, now: float) -> State:
    """Before a plan: what is over goes, slots get their claims, and claims their allocations. Looks at workloads that
    were declared anew or scaled, and at stacks in which an allocation or a claim differs from `before`.
    """
    draft = without_the_idle(draft, now)
    stacks = {
        one.stack_id
        for tables in ((before.allocations, draft.allocations), (before.claims, draft.claims))
        for key in differing(*tables)
        for table in tables
        if (one := table.get(key)) is not None
    }
    wanted = {
        *differing(before.workloads, draft.workloads),
        *(key[0] for key in differing(before.scaled, draft.scaled)),
    }
    wanted = {w for w in wanted if w in draft.workloads}
    for stack in stacks:
        wanted |= {d.id for d in draft.in_stack(stack) if d.workload.assignments}
        for claim in sorted(grouped(draft.claims, "stack", stack).values(), key=lambda c: (c.created_at, c.slug)):
            draft = resolved(draft, claim, now)
    for workload in sorted(wanted, key=lambda w: (draft.workloads[w].created_at, w)):
        draft = bound(draft, workload, now)
    return draft


def is_waiting(state: State) -> bool:
    """Whether an allocation has no address yet."""
    return bool(grouped(state.allocations, "waiting", True))


def with_places(before: State, draft: State, now: float, *, anew: bool) -> tuple[State, Touched]:
    """What is touched since `before`; and with that, or where all is planned `anew`, allocations that wait for an
    address have one if there is one by now.
    """
    touched = touched_between(before, draft)
    if not is_waiting(draft) or not (touched or anew):
        return draft, touched
    waiting = sorted(grouped(draft.allocations, "waiting", True).values(), key=lambda a: (a.created_at, a.id))
    for one in waiting:
        claim = claim_on(draft, one)
        if claim is not None and claim.is_beside:
            made = _placed_beside(draft, one, claim, now)
        elif claim is None or claim.made_for is None:
            made = placed(draft, one, now)
        else:
            continue  # a slot's own gets the place of the slot
        draft = replace(draft, allocations=with_entries(draft.allocations, {one.id: made}))
    return draft, touched_between(before, draft)


def placed(draft: State, one: Allocation, now: float) -> Allocation:
    """With an address, or with the reason why it has none."""
    found = free_place(draft, one.stack_id, one.spec)
    if isinstance(found, str):
        return replace(one, waits=found)
    return replace(one, place=found, placed_at=now, waits="")


def _made_for(draft: State, claim: AllocationClaim, template: AddressSpec, now: float) -> Allocation:
    """A slot's own allocation, which has no place yet; called like its claim where nothing else is."""
    slug = claim.slug
    if allocation_by_slug(draft, claim.stack_id, slug) is not None:
        slug = f"{slug[:54].rstrip('-')}-{claim.id[:8]}"
    return Allocation(
        id=new_id(claim.id, slug, now), stack_id=claim.stack_id, account_id=claim.account_id, slug=slug, name=slug,
        spec=template, labels=claim.labels, created_at=now,
    )  # fmt: skip


def _with_allocation_beside(draft: State, claim: AllocationClaim, now: float) -> State:
    """With the address that a slot is to have beside its own. That follows from no place of the slot, so it is there
    before the slot is placed.
    """
    template = claim.source.template
    if template is None or claim.allocation_id or not claim.is_beside:
        return draft
    made = _placed_beside(draft, _made_for(draft, claim, template, now), claim, now)
    return replace(
        draft,
        allocations=with_entries(draft.allocations, {made.id: made}),
        claims=with_entries(draft.claims, {claim.id: replace(claim, allocation_id=made.id)}),
    )


def _placed_beside(draft: State, one: Allocation, claim: AllocationClaim, now: float) -> Allocation:
    """As `placed`, in the city of the slot, and on a host of its other addresses where there is room."""
    near = frozenset(host for host, _ in places_held(draft, claim))
    found = free_place(draft, one.stack_id, one.spec, city=city_of_holder(draft, claim), near=near, alone=True)
    return replace(one, waits=found) if isinstance(found, str) else replace(one, place=found, placed_at=now, waits="")


def bound(draft: State, workload: WorkloadId, now: float) -> State:
    """Each slot of a workload holds a claim for each assignment, as far as there are any to hold."""
    declared = draft.workloads[workload].workload
    if declared.deleting or not declared.assignments:
        return draft
    held = {(c.holder.instance, c.holder.assignment): c for c in claims_of(draft, workload) if c.holder is not None}
    for slot in slots_of(draft, declared):
        for assignment in declared.assignments:
            there = held.get((slot.name, assignment.slug))
            draft = (
                _bind(draft, declared, slot, assignment, now)
                if there is None
                else _as_declared(draft, there, assignment, now)
            )
    return draft


def _bind(draft: State, workload: Workload, slot: Slot, assignment: Assignment, now: float) -> State:
    beside = assignment.mode is Mode.ADDITIONAL
    holder = Holder(workload_id=workload.id, instance=slot.name, assignment=assignment.slug, beside=beside)
    own = claim_slug(assignment, slot)
    for slug in dict.fromkeys((assignment.base, own)):
        claim = by_slug(draft.claims, workload.stack_id, slug) if slug else None
        if claim is not None and may_hold(draft, claim, assignment, slot, workload.id):
            taken = replace(claim, holder=holder, idle_since=None)
            draft = replace(draft, claims=with_entries(draft.claims, {claim.id: taken}))
            return _with_allocation_beside(resolved(draft, taken, now), taken, now)
    if not assignment.source.is_there or by_slug(draft.claims, workload.stack_id, own) is not None:
        return draft  # the slot waits: `allocation_pins` says for what
    made = AllocationClaim(
        id=new_id(workload.stack_id, own, now), stack_id=workload.stack_id, account_id=workload.account_id, slug=own,
        name=own, ip_version=assignment.ip_version, reclaim=assignment.reclaim, source=assignment.source,
        labels=assignment.labels, annotations=assignment.annotations, made_for=workload.id, created_at=now,
        holder=holder,
    )  # fmt: skip
    draft = replace(draft, claims=with_entries(draft.claims, {made.id: made}))
    return _with_allocation_beside(resolved(draft, made, now), made, now)


def _as_declared(draft: State, claim: AllocationClaim, assignment: Assignment, now: float) -> State:
    """A slot's own claim follows what its workload says now of how it is kept."""
    template = assignment.source.template
    if claim.made_for is None or (claim.reclaim == assignment.reclaim and claim.source == assignment.source):
        return draft
    if claim.source != assignment.source and (template is None or claim.source.template is None):
        return draft
    made = replace(
        claim, reclaim=assignment.reclaim, source=assignment.source, version=claim.version + 1, updated_at=now
    )
    draft = replace(draft, claims=with_entries(draft.claims, {claim.id: made}))
    allocation = draft.allocations.get(claim.allocation_id)
    if allocation is None or template is None:
        return draft
    spec = replace(allocation.spec, reclaim=template.reclaim)
    changed = replace(allocation, spec=spec, version=allocation.version + 1, updated_at=now)
    return replace(draft, allocations=with_entries(draft.allocations, {allocation.id: changed}))


def with_addresses(draft: State, sites: Sites, workloads: Iterable[WorkloadId], now: float) -> State:
    """After these workloads were planned: slots that got a place have an address, and those that are gone let go."""
    holding = {*grouped_names(draft.claims, "workload")}
    for workload in holding.intersection(workloads):
        lives: dict[str, list[Incarnation]] = {}
        for known in draft.incarnations_of(WorkloadId(workload)).values():
            lives.setdefault(known.incarnation.name, []).append(known.incarnation)
        left = {t.incarnation.name for t in draft.tombstones_of(WorkloadId(workload)).values()} | lives.keys()
        declared = draft.workloads.get(WorkloadId(workload))
        if declared is not None and not declared.workload.deleting:
            left |= {slot.name for slot in slots_of(draft, declared.workload)}
        for claim in sorted(claims_of(draft, WorkloadId(workload)), key=lambda c: c.slug):
            assert claim.holder is not None, "it is in that group"
            if claim.holder.instance not in left:
                draft = released(draft, claim, now)
            elif len(there := lives.get(claim.holder.instance, [])) == 1:  # of two one is about to go
                draft = _addressed(draft, sites, claim, there[0], now)
    return draft


def _addressed(draft: State, sites: Sites, claim: AllocationClaim, life: Incarnation, now: float) -> State:
    """A claim that was made for its slot has the address that the slot got."""
    template, allocation = claim.source.template, draft.allocations.get(claim.allocation_id)
    site = sites.hosts.get(life.host)
    if template is None or site is None or claim.made_for is None:
        return draft
    if claim.is_beside or (allocation is not None and not claim.moves):
        return draft
    place = place_of(draft, life, template.kind, template.version)
    if place is None or (allocation is not None and allocation.place == place):
        return draft
    for other in grouped(draft.allocations, "host", life.host).values():
        same = other.key == (place.host, template.kind, place.number) and other.spec.version == template.version
        if same and other.id != claim.allocation_id:
            waits = replace(claim, waits=f"its instance has the address of allocation {other.slug}")
            return draft if waits == claim else replace(draft, claims=with_entries(draft.claims, {claim.id: waits}))
    if allocation is not None:
        made = replace(allocation, place=place, placed_at=now)
    else:
        made = replace(_made_for(draft, claim, template, now), place=place, placed_at=now)
    return replace(
        draft,
        allocations=with_entries(draft.allocations, {made.id: made}),
        claims=with_entries(draft.claims, {claim.id: replace(claim, allocation_id=made.id, waits="")}),
    )
