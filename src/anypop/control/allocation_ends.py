"""How addresses that last end: what is let go, what is kept for the next, and what goes when its time is over.

In: a draft of control's state, and a claim or an allocation that nobody holds any more. Out: the draft without it, or
with the moment from which its time counts. Pure.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace

from anypop.control.allocation_places import rest_of
from anypop.control.state import State
from anypop.model.allocation import Allocation, AllocationClaim, ReclaimAction
from anypop.model.table import grouped, with_entries, without_keys

REST_S = 90.0  # as of a slot's place: see `decide.PLACE_REST_S`


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


def without_the_idle(draft: State, now: float) -> State:
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
