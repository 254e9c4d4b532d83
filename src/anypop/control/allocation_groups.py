"""By what the tables of allocations and claims are asked for. Pure."""

from anypop.model.allocation import Allocation, AllocationClaim, Reclaim, ReclaimAction
from anypop.model.table import Groups


def _idle(reclaim: Reclaim, since: float | None) -> bool | None:
    return True if since is not None and reclaim.action is not ReclaimAction.RETAIN else None


def _host(one: Allocation) -> str | None:
    return one.place.host if one.place is not None else None


def _holder(one: AllocationClaim) -> str | None:
    return one.holder.workload_id if one.holder is not None else None


ALLOCATION_GROUPS: Groups = {
    "stack": lambda _, a: a.stack_id,
    "slug": lambda _, a: (a.stack_id, a.slug),
    "host": lambda _, a: _host(a),
    "waiting": lambda _, a: True if a.place is None else None,
    "idle": lambda _, a: _idle(a.spec.reclaim, a.idle_since),
}
CLAIM_GROUPS: Groups = {
    "stack": lambda _, c: c.stack_id,
    "slug": lambda _, c: (c.stack_id, c.slug),
    "workload": lambda _, c: _holder(c),
    "allocation": lambda _, c: c.allocation_id or None,
    "idle": lambda _, c: _idle(c.reclaim, c.idle_since),
}


def names_of(allocation: Allocation | None, claim: AllocationClaim | None) -> dict[str, str]:
    """Both by slug; empty where there is none."""
    return {
        "allocation": allocation.slug if allocation is not None else "",
        "claim": claim.slug if claim is not None else "",
    }
