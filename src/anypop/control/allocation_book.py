"""The book of addresses that last: which slot holds which claim, which claim which allocation, and when each goes.

In: a draft of control's state, before and after a plan. Out: the draft with claims made for new slots, or found again;
with addresses where slots got their places; and without what nobody holds and nobody wants to keep. All of it is part
of the one step that plans, so no address is ever held by two. Pure.
"""

import uuid
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

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
from anypop.control.allocation_places import address_at, free_place, rest_of
from anypop.control.ground import touched_between
from anypop.control.state import State
from anypop.model.allocation import (
    CITY,
    AddressClass,
    Allocation,
    AllocationClaim,
    Assignment,
    Holder,
    Place,
    ReclaimAction,
)
from anypop.model.names import CityCode, HostName, WorkloadId
from anypop.model.plan import Incarnation
from anypop.model.table import differing, grouped, with_entries, without_keys
from anypop.model.workload import Workload
from anypop.plan.planned import Touched
from anypop.plan.sites import Sites

_IDS = uuid.UUID("a8d4b6d0-7a1e-4a0f-9d0b-6f1f0b5c2e11")  # keeps these names apart from others' of version 5
REST_S = 90.0  # as of a slot's place: see `decide.PLACE_REST_S`


def new_id(*parts: object) -> str:
    return str(uuid.uuid5(_IDS, "/".join(map(str, parts))))


def with_claims(before: State, draft: State, now: float) -> State:
    """Before a plan: what is over goes, slots get their claims, and claims their allocations. Looks at workloads that
    were declared anew or scaled, and at stacks in which an allocation or a claim differs from `before`.
    """
    draft = _without_the_idle(draft, now)
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
        if claim is None or claim.made_for is None:  # a slot's own gets the place of the slot
            draft = replace(draft, allocations=with_entries(draft.allocations, {one.id: placed(draft, one, now)}))
    return draft, touched_between(before, draft)


def placed(draft: State, one: Allocation, now: float) -> Allocation:
    """With an address, or with the reason why it has none."""
    found = free_place(draft, one.stack_id, one.spec)
    if isinstance(found, str):
        return replace(one, waits=found)
    return replace(one, place=found, placed_at=now, waits="")


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
    holder = Holder(workload_id=workload.id, instance=slot.name, assignment=assignment.slug)
    own = claim_slug(assignment, slot)
    for slug in dict.fromkeys((assignment.base, own)):
        claim = by_slug(draft.claims, workload.stack_id, slug) if slug else None
        if claim is not None and may_hold(draft, claim, assignment, slot, workload.id):
            taken = replace(claim, holder=holder, idle_since=None)
            draft = replace(draft, claims=with_entries(draft.claims, {claim.id: taken}))
            return resolved(draft, taken, now)
    if not assignment.source.is_there or by_slug(draft.claims, workload.stack_id, own) is not None:
        return draft  # the slot waits: `allocation_pins` says for what
    made = AllocationClaim(
        id=new_id(workload.stack_id, own, now), stack_id=workload.stack_id, account_id=workload.account_id, slug=own,
        name=own, ip_version=assignment.ip_version, reclaim=assignment.reclaim, source=assignment.source,
        labels=assignment.labels, annotations=assignment.annotations, made_for=workload.id, created_at=now,
        holder=holder,
    )  # fmt: skip
    draft = replace(draft, claims=with_entries(draft.claims, {made.id: made}))
    return resolved(draft, made, now)


def may_hold(draft: State, claim: AllocationClaim, assignment: Assignment, slot: Slot, workload: WorkloadId) -> bool:
    """Whether a claim that is there is one for a slot, which holds none yet."""
    if claim.holder is not None or claim.delete_requested_at is not None or claim.ip_version != assignment.ip_version:
        return False
    allocation = draft.allocations.get(claim.allocation_id)
    if allocation is None:
        kind = claim.source.selector_kind or (claim.source.template.kind if claim.source.template else None)
        return kind in (None, assignment.mode.kind)
    if allocation.spec.kind is not assignment.mode.kind:
        return False
    return allocation.place is None or (
        city_of(draft, allocation.place.host) in (None, slot.city)
        and _is_where_it_lives(draft, workload, slot, allocation)
    )


def _is_where_it_lives(draft: State, workload: WorkloadId, slot: Slot, allocation: Allocation) -> bool:
    """A slot that lives already has its addresses: it takes no others."""
    every = (p.incarnation for p in draft.incarnations_of(workload).values())
    lives = [life for life in every if life.name == slot.name]
    return all(allocation.place == _place(draft, life, allocation.spec.kind, allocation.spec.version) for life in lives)


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


def resolved(draft: State, claim: AllocationClaim, now: float) -> State:
    """A claim that names an allocation, or selects one, with it; or with the reason why there is none."""
    current = draft.claims.get(claim.id)
    if current is None or current.allocation_id or current.source.template is not None:
        return draft
    found = allocation_for(draft, current)
    if isinstance(found, str):
        waits = replace(current, waits=found)
        return draft if waits == current else replace(draft, claims=with_entries(draft.claims, {current.id: waits}))
    return replace(
        draft,
        claims=with_entries(draft.claims, {current.id: replace(current, allocation_id=found.id, waits="")}),
        allocations=with_entries(draft.allocations, {found.id: replace(found, idle_since=None)}),
    )


def allocation_for(draft: State, claim: AllocationClaim) -> Allocation | str:
    """The allocation that a claim's name or selector means, and nobody has; or why there is none."""
    slot_city = _city_of_holder(draft, claim)
    if claim.source.name:
        one = allocation_by_slug(draft, claim.stack_id, claim.source.name)
        if one is None:
            return f"there is no allocation {claim.source.name}"
        if (other := claim_on(draft, one)) is not None:
            return f"allocation {one.slug} is held by claim {other.slug}"
        if one.delete_requested_at is not None:
            return f"allocation {one.slug} is being deleted"
        if one.spec.version != claim.ip_version:
            return f"allocation {one.slug} is of the other family"
        if (problem := _unlike(draft, claim, one)) is not None:
            return problem
        city = city_of(draft, one.place.host) if one.place is not None else None
        if city is not None and slot_city not in (None, city):
            return f"allocation {one.slug} is in {city}, not in {slot_city}"
        return one
    fitting = [
        a
        for a in grouped(draft.allocations, "stack", claim.stack_id).values()
        if a.spec.kind is claim.source.selector_kind
        and a.spec.version == claim.ip_version
        and a.place is not None
        and a.delete_requested_at is None
        and claim_on(draft, a) is None
        and slot_city in (None, city_of(draft, a.place.host))
        and _unlike(draft, claim, a) is None
        and _selected(draft, claim, a)
    ]
    mine = _places_held(draft, claim)
    first = min(
        fitting,
        key=lambda a: (a.place is not None and (a.place.host, a.place.number) not in mine, a.slug),
        default=None,
    )
    return (
        first if first is not None else f"no free allocation{f' in {slot_city}' if slot_city else ''} fits its selector"
    )


def _unlike(draft: State, claim: AllocationClaim, one: Allocation) -> str | None:
    """What its slot could not do with that allocation."""
    if claim.holder is None:
        return None
    declared = draft.workloads.get(claim.holder.workload_id)
    asked = (a for a in declared.workload.assignments if a.slug == claim.holder.assignment) if declared else iter(())
    assignment = next(asked, None)
    if assignment is not None and assignment.mode.kind is not one.spec.kind:
        return f"allocation {one.slug} is {one.spec.kind}, and {assignment.slug} is to be {assignment.mode.kind}"
    return None


def _selected(draft: State, claim: AllocationClaim, one: Allocation) -> bool:
    city = city_of(draft, one.place.host) if one.place is not None else None
    labels: dict[str, str | None] = {**dict(one.labels), CITY: city}
    return all(selector.holds(labels.get(selector.key)) for selector in claim.source.selectors)


def _places_held(draft: State, claim: AllocationClaim) -> set[tuple[HostName, int]]:
    """Of the other claims of its slot."""
    if claim.holder is None:
        return set()
    beside = (
        c
        for c in claims_of(draft, claim.holder.workload_id)
        if c.holder is not None and c.holder.instance == claim.holder.instance
    )
    allocations = (draft.allocations.get(c.allocation_id) for c in beside)
    return {(a.place.host, a.place.number) for a in allocations if a is not None and a.place is not None}


def _city_of_holder(draft: State, claim: AllocationClaim) -> CityCode | None:
    if claim.holder is None:
        return None
    declared = draft.workloads.get(claim.holder.workload_id)
    if declared is None:
        return None
    return next((s.city for s in slots_of(draft, declared.workload) if s.name == claim.holder.instance), None)


def city_of(state: State, host: HostName) -> CityCode | None:
    """None where the network has no such host any more."""
    found = state.plan.sites.hosts.get(host) if state.plan is not None else None
    if found is not None and state.plan is not None and state.plan.network is state.network:
        return found.pop.city
    return next((pop.city for pop, one in state.network.hosts() if one.name == host), None)


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
    if allocation is not None and not claim.moves:
        return draft
    place = _place(draft, life, template.kind, template.version)
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
        slug = claim.slug
        if allocation_by_slug(draft, claim.stack_id, slug) is not None:
            slug = f"{slug[:54].rstrip('-')}-{claim.id[:8]}"
        made = Allocation(
            id=new_id(claim.id, slug, now), stack_id=claim.stack_id, account_id=claim.account_id, slug=slug, name=slug,
            spec=template, labels=claim.labels, created_at=now, place=place, placed_at=now,
        )  # fmt: skip
    return replace(
        draft,
        allocations=with_entries(draft.allocations, {made.id: made}),
        claims=with_entries(draft.claims, {claim.id: replace(claim, allocation_id=made.id, waits="")}),
    )


def _place(draft: State, life: Incarnation, kind: AddressClass, version: int) -> Place | None:
    host = draft.network.host(life.host)
    if host is None:
        return None
    number = life.link if kind is AddressClass.PRIVATE else life.index
    return Place(host=life.host, number=number, address=address_at(host, kind, version, number))


def released(draft: State, claim: AllocationClaim, now: float) -> State:
    """No slot holds the claim any more: it goes, or stays for the next."""
    if claim.delete_requested_at is not None or claim.reclaim.action is ReclaimAction.DELETE:
        return without_claim(draft, claim, now)
    made = replace(claim, holder=None, idle_since=now)
    return replace(draft, claims=with_entries(draft.claims, {claim.id: made}))


def without_claim(draft: State, claim: AllocationClaim, now: float) -> State:
    """A claim goes; its allocation stays, or goes with it."""
    draft = replace(draft, claims=without_keys(draft.claims, [claim.id]))
    allocation = draft.allocations.get(claim.allocation_id)
    if allocation is None:
        return draft
    if allocation.delete_requested_at is not None or allocation.spec.reclaim.action is ReclaimAction.DELETE:
        return without_allocation(draft, allocation, now)
    made = replace(allocation, idle_since=now)
    return replace(draft, allocations=with_entries(draft.allocations, {allocation.id: made}))


def without_allocation(draft: State, allocation: Allocation, now: float) -> State:
    """An allocation goes; its place rests, unless an instance still lives there, or one has left it a moment ago."""
    draft = replace(draft, allocations=without_keys(draft.allocations, [allocation.id]))
    if allocation.place is None:
        return draft
    what = rest_of(allocation.place, allocation.spec.kind)
    until = max(now + REST_S, draft.rests.get(what, 0.0))
    return replace(draft, rests=with_entries(draft.rests, {what: until}))


def _without_the_idle(draft: State, now: float) -> State:
    """Without what was to be kept for a while that is over."""
    for claim in _over(grouped(draft.claims, "idle", True), now):
        draft = without_claim(draft, claim, now)
    for allocation in grouped(draft.allocations, "idle", True).values():
        ends = allocation.spec.reclaim.ends_at(allocation.idle_since or 0.0)
        if ends is not None and ends <= now:
            draft = without_allocation(draft, allocation, now)
    return draft


def _over(claims: Mapping[str, AllocationClaim], now: float) -> Collection[AllocationClaim]:
    return [c for c in claims.values() if (ends := c.reclaim.ends_at(c.idle_since or 0.0)) is not None and ends <= now]


def next_end(state: State) -> float | None:
    """When the next of them goes by itself."""
    claims = grouped(state.claims, "idle", True).values()
    allocations = grouped(state.allocations, "idle", True).values()
    moments = [c.reclaim.ends_at(c.idle_since or 0.0) for c in claims]
    moments += [a.spec.reclaim.ends_at(a.idle_since or 0.0) for a in allocations]
    return min((at for at in moments if at is not None), default=None)
