"""Which allocation a claim means: by its name, or by labels and city.

In: a draft of control's state and a claim. Out: the draft with the claim's allocation, or with the reason in words why
it has none; whether a claim that is there fits a slot. Pure.
"""

from dataclasses import replace

from anypop.control.allocation_pins import Slot, allocation_by_slug, claim_on, claims_of, slots_of
from anypop.control.allocation_places import place_of
from anypop.control.state import State
from anypop.model.allocation import CITY, Allocation, AllocationClaim, Assignment
from anypop.model.names import CityCode, HostName, WorkloadId
from anypop.model.table import grouped, with_entries


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
    slot_city = city_of_holder(draft, claim)
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
    mine = places_held(draft, claim)
    first = min(
        fitting,
        key=lambda a: (a.place is not None and (a.place.host, a.place.number) not in mine, a.slug),
        default=None,
    )
    return (
        first if first is not None else f"no free allocation{f' in {slot_city}' if slot_city else ''} fits its selector"
    )


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
    return all(
        allocation.place == place_of(draft, life, allocation.spec.kind, allocation.spec.version) for life in lives
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


def places_held(draft: State, claim: AllocationClaim) -> set[tuple[HostName, int]]:
    """Those of the other claims of its slot."""
    if claim.holder is None:
        return set()
    beside = (
        c
        for c in claims_of(draft, claim.holder.workload_id)
        if c.holder is not None and c.holder.instance == claim.holder.instance
    )
    allocations = (draft.allocations.get(c.allocation_id) for c in beside)
    return {(a.place.host, a.place.number) for a in allocations if a is not None and a.place is not None}


def city_of_holder(draft: State, claim: AllocationClaim) -> CityCode | None:
    """Where the slot is that holds it."""
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
