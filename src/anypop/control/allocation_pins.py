"""Where slots have to live for the sake of the addresses that they claim, and which numbers of hosts are kept for them.

In: control's tables. Out: a pin for each slot that holds a claim, or ought to hold one and cannot; and the numbers that
nobody else may get. Pure; it decides nothing.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from anypop.model.allocation import AddressClass, Allocation, AllocationClaim, Assignment, Pin, PlaceKey
from anypop.model.names import CityCode, InstanceName, WorkloadId, host_label, instance_name
from anypop.model.table import grouped
from anypop.model.workload import Workload
from anypop.plan.scaling import ordinals_of

if TYPE_CHECKING:
    from anypop.control.state import State

Pins = Mapping[tuple[WorkloadId, InstanceName], Pin]


class Slot(NamedTuple):
    """One that a workload asks for, or that still lives. `tail`: its name without the workload's."""

    name: InstanceName
    city: CityCode
    tail: str


def slots_of(state: "State", workload: Workload) -> list[Slot]:
    """All slots of a workload, those that it asks for first, in their order."""
    found: dict[InstanceName, Slot] = {}
    for target in workload.targets:
        for city in dict.fromkeys(target.cities):
            for ordinal in ordinals_of(target, state.scaled.get((workload.id, target.name, city))):
                name = instance_name(workload.slug, target.name, city, ordinal)
                found[name] = Slot(name, city, f"{target.name}-{city.lower()}-{ordinal}")
    for placed in state.incarnations_of(workload.id).values():
        life = placed.incarnation
        tail = f"{life.target}-{life.pop.lower()}-{life.ordinal}"
        found.setdefault(life.name, Slot(life.name, life.pop, tail))
    return list(found.values())


def claim_slug(assignment: Assignment, slot: Slot) -> str:
    """How the claim of a slot is called: after what the assignment says, else after the slot itself."""
    return host_label(f"{assignment.base}-{slot.tail}" if assignment.base else f"{assignment.slug}-{slot.name}")


def pins(state: "State") -> Pins:
    """Of all workloads."""
    holding = {WorkloadId(w) for w in grouped_names(state.claims, "workload")}
    asking = {w for w, d in state.workloads.items() if d.workload.assignments}
    return {(w, name): pin for w in sorted(holding | asking) for name, pin in pins_of(state, w).items()}


def pins_of(state: "State", workload: WorkloadId) -> dict[InstanceName, Pin]:
    """By instance; one that is not named may live anywhere."""
    found: dict[InstanceName, Pin] = {}
    held: set[tuple[str, str]] = set()
    for claim in sorted(claims_of(state, workload), key=lambda c: c.slug):
        assert claim.holder is not None, "it is in that group"
        held.add((claim.holder.instance, claim.holder.assignment))
        if not claim.moves and (pin := _pin(state, claim)) is not None:
            there = found.get(claim.holder.instance)
            found[claim.holder.instance] = pin if there is None else _both(there, pin)
    declared = state.workloads.get(workload)
    if declared is None or declared.workload.deleting:
        return found
    for slot in slots_of(state, declared.workload) if declared.workload.assignments else ():
        for assignment in declared.workload.assignments:
            if (slot.name, assignment.slug) not in held:
                found[slot.name] = Pin(waits=_why_none(state, declared.workload, assignment, slot))
    return found


def _pin(state: "State", claim: AllocationClaim) -> Pin | None:
    allocation = state.allocations.get(claim.allocation_id)
    if allocation is None:
        # one that is made from a template gets the place that its slot gets
        return None if claim.source.template is not None else Pin(waits=f"claim {claim.slug}: {claim.waits}")
    if allocation.place is None:
        return Pin(waits=f"claim {claim.slug}: {allocation.waits}")
    if allocation.spec.kind is AddressClass.PRIVATE:
        return Pin(host=allocation.place.host, link=allocation.place.number)
    if claim.is_beside:
        return Pin(beside=(allocation.place,))
    return Pin(own=(allocation.place,), apart=_is_shared(state, claim, allocation))


def _is_shared(state: "State", claim: AllocationClaim, allocation: Allocation) -> bool:
    """Whether the address of the other family that has the same number is another slot's, or had beside another."""
    assert allocation.place is not None and claim.holder is not None, "it has a place, and a slot has it"
    on_host = grouped(state.allocations, "host", allocation.place.host).values()
    claims = (claim_on(state, other) for other in on_host if other.key == allocation.key and other is not allocation)
    holders = (c.holder for c in claims if c is not None)
    slot = claim.holder.workload_id, claim.holder.instance
    return any(h is not None and (h.beside or (h.workload_id, h.instance) != slot) for h in holders)


def _both(one: Pin, other: Pin) -> Pin:
    if one.waits or other.waits:
        return one if one.waits else other
    for a, b in ((one.host, other.host), (one.link, other.link)):
        if a is not None and b is not None and a != b:
            return Pin(waits="the addresses that it claims are not at one place of one host: claim those that are")
    return Pin(
        host=one.host if one.host is not None else other.host,
        link=one.link if one.link is not None else other.link,
        own=(*one.own, *other.own),
        beside=(*one.beside, *other.beside),
        apart=one.apart or other.apart,
    )


def _why_none(state: "State", workload: Workload, assignment: Assignment, slot: Slot) -> str:
    """Why a slot does not hold a claim that it ought to."""
    for slug in (assignment.base, claim_slug(assignment, slot)):
        claim = by_slug(state.claims, workload.stack_id, slug) if slug else None
        if claim is None:
            continue
        if claim.holder is not None:
            return f"claim {slug} is held by {claim.holder.instance}"
        if claim.delete_requested_at is not None:
            return f"claim {slug} is being deleted"
        return f"claim {slug} is of another kind, family or city than assignment {assignment.slug} of {slot.name}"
    return f"there is no claim {assignment.base}"


def claims_of(state: "State", workload: WorkloadId) -> list[AllocationClaim]:
    return list(grouped(state.claims, "workload", workload).values())


def by_slug(table: Mapping[str, "AllocationClaim"], stack: str, slug: str) -> AllocationClaim | None:
    return next(iter(grouped(table, "slug", (stack, slug)).values()), None)


def allocation_by_slug(state: "State", stack: str, slug: str) -> Allocation | None:
    return next(iter(grouped(state.allocations, "slug", (stack, slug)).values()), None)


def claim_on(state: "State", allocation: Allocation) -> AllocationClaim | None:
    """The claim that holds it."""
    return next(iter(grouped(state.claims, "allocation", allocation.id).values()), None)


def grouped_names(table: Mapping[str, AllocationClaim], group: str) -> Iterable[str]:
    names: Iterable[str] = table.group_names(group)  # type: ignore[attr-defined]
    return names


def reserved(allocations: Iterable[Allocation]) -> frozenset[PlaceKey]:
    return frozenset(key for one in allocations if (key := one.key) is not None)


def numbers(keys: Iterable[PlaceKey]) -> tuple[Iterator[int], Iterator[int]]:
    """Those of external addresses, and those of links."""
    every = list(keys)
    return (
        (n for _, kind, n in every if kind is AddressClass.UNICAST),
        (n for _, kind, n in every if kind is AddressClass.PRIVATE),
    )
