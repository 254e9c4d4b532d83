"""Allocations, claims and operations as the API shows them, with conditions that say how each stands.

In: control's state and a noun. Out: plain data. It decides nothing.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

from anypop.api.shapes import filled, moment
from anypop.control.allocation_pins import allocation_by_slug, by_slug, claim_on
from anypop.control.allocation_places import address_at
from anypop.control.state import State
from anypop.model.allocation import (
    AddressClass,
    AddressSpec,
    Allocation,
    AllocationClaim,
    Operation,
    Pin,
    Reclaim,
    ReclaimAction,
    Selector,
)
from anypop.plan import following
from anypop.plan.allocation_read import LENGTHS
from anypop.plan.drain import emptied_by

Data = dict[str, Any]


def allocation(state: State, one: Allocation) -> Data:
    """As clients know it."""
    holder, place, why = claim_on(state, one), one.place, unusable(state, one)
    told = partial(_condition, version=one.version)
    conditions = [
        told("Allocated", "Allocated", f"{place.host} has it", holds=True, since=one.placed_at)
        if place is not None
        else told("Allocated", "Pending", one.waits, holds=False, since=one.created_at)
    ]
    if why:
        conditions.append(told("Usable", "HostUnusable", why, holds=False))
    elif place is not None:
        conditions.append(
            told("Usable", "HostInUse", f"an instance on {usable_on(state, one)} can have it", holds=True)
        )
    if (stays := _stays(state, one)) is not None:
        follows = stays or "its instance may go to another host of its PoP, and the address with it"
        conditions.append(told("Follows", "BoundToHost" if stays else "EdgeRouter", follows, holds=not stays))
    if holder is not None:
        conditions.append(told("Claimed", "Claimed", f"claim {holder.slug} holds it", holds=True))
    else:
        free = f"no claim holds it{_ends(one.spec.reclaim, one.idle_since)}"
        conditions.append(told("Claimed", "Free", free, holds=False, since=one.idle_since))
    return {
        **_head("allocations", one),
        "spec": _spec(one.spec),
        "status": filled(
            {
                "prefix": f"{place.address}/{LENGTHS[one.spec.version]}" if place is not None else None,
                "conditions": conditions,
            }
        ),
    }


def claim(state: State, one: AllocationClaim) -> Data:
    """As clients know it."""
    held = state.allocations.get(one.allocation_id)
    place = held.place if held is not None else None
    waits = (held.waits if held is not None else one.waits) or "its instance has no place yet"
    told = partial(_condition, version=one.version)
    idle = f"no instance holds it{_ends(one.reclaim, one.idle_since)}"
    conditions = [
        told("Bound", "Bound", f"{place.host} has its address", holds=True)
        if place is not None
        else told("Bound", "Pending", waits, holds=False),
        told("InUse", "Held", f"{one.holder.instance} holds it", holds=True)
        if one.holder is not None
        else told("InUse", "Idle", idle, holds=False, since=one.idle_since),
    ]
    source: Data = {"name": one.source.written}
    if one.source.selector_kind is not None:
        selector = {
            "allocationClass": one.source.selector_kind.value,
            "matchExpressions": _selectors(one.source.selectors),
        }
        source = {"selector": filled(selector)}
    if one.source.template is not None:
        source = {"template": {"name": one.name, "spec": _spec(one.source.template)}}
    return {
        **_head("allocation_claims", one),
        "spec": {
            "ipFamily": f"IPv{one.ip_version}",
            "prefixLength": LENGTHS[one.ip_version],
            "reclaimPolicy": _reclaim(one.reclaim),
            "allocation": source,
        },
        "status": filled(
            {
                "prefix": f"{place.address}/{LENGTHS[one.ip_version]}" if place is not None else None,
                "allocation": f"stacks/{held.stack_id}/allocations/{held.slug}" if held is not None else None,
                "resourceBinding": {"type": "instance", "name": one.holder.instance}
                if one.holder is not None
                else None,
                "conditions": conditions,
            }
        ),
    }


def operation(state: State, one: Operation) -> Data:
    """With its object as it is now."""
    response: Data = {}
    if one.kind == "allocations" and (held := allocation_by_slug(state, one.stack_id, one.slug)) is not None:
        response = {"allocation": allocation(state, held)}
    if one.kind == "allocation_claims" and (made := by_slug(state.claims, one.stack_id, one.slug)) is not None:
        response = {"allocationClaim": claim(state, made)}
    return {
        "name": f"stacks/{one.stack_id}/operations/{one.name}",
        "done": True,
        "metadata": {
            "verb": one.verb,
            "target": f"stacks/{one.stack_id}/{one.kind}/{one.slug}",
            "createTime": moment(one.at),
        },
        "response": response,
    }


def unusable(state: State, one: Allocation) -> str:
    """Why nobody could use an address that is there; empty where somebody can."""
    place = one.place
    if place is None:
        return ""
    host = state.network.host(place.host)
    if host is None:
        return f"{place.host} is not in the network any more"
    if (now := address_at(host, one.spec.kind, one.spec.version, place.number)) != place.address:
        return f"{place.host} has other prefixes by now: in its place is {now}"
    if usable_on(state, one):
        return ""
    if place.host in state.lost or place.host in state.evicted:
        return f"{place.host} is lost or given up"
    return f"{place.host} is drained: an instance that has it stays, and none is placed there"


def usable_on(state: State, one: Allocation) -> str:
    """The host on which an instance may have an address now: its own, or another one of its PoP that it may follow its
    slot to; empty where there is none.
    """
    place = one.place
    if place is None:
        return ""
    closed = {*state.lost, *state.evicted, *(emptied_by(drain) for drain in state.active_drains())}
    if place.host not in closed:
        return place.host
    private = one.spec.kind is AddressClass.PRIVATE
    if private or state.plan is None:
        return ""
    sites = state.plan.sites
    pin = Pin(own=(place,))
    others = following.hosts_for(sites, pin, sites.pop_of(place.host))
    return next((host for host in others if host not in closed), "")


def _stays(state: State, one: Allocation) -> str | None:
    """Why an external address cannot follow its instance to another host; None where that is not asked."""
    if one.place is None or one.spec.kind is AddressClass.PRIVATE or state.plan is None:
        return None
    return following.why_it_stays(state.plan.sites, one.place)


def _ends(reclaim: Reclaim, idle_since: float | None) -> str:
    if reclaim.action is not ReclaimAction.RETAIN_FOR_IDLE_PERIOD or idle_since is None:
        return ""
    return f"; it goes at {moment(idle_since + reclaim.idle_s)}"


def _condition(kind: str, reason: str, message: str, *, holds: bool, version: int, since: float | None = None) -> Data:
    data = {
        "type": kind,
        "status": f"CONDITION_STATUS_{'TRUE' if holds else 'FALSE'}",
        "reason": reason,
        "message": message,
        "observedVersion": str(version),
        "lastTransitionTime": moment(since) if since is not None else None,
    }
    return {key: value for key, value in data.items() if value is not None}


def _head(kind: str, one: Allocation | AllocationClaim) -> Data:
    metadata = {
        "labels": dict(one.labels),
        "annotations": dict(one.annotations),
        "version": str(one.version),
        "createdAt": moment(one.created_at),
        "updatedAt": moment(one.updated_at) if one.updated_at is not None else None,
        "deleteRequestedAt": moment(one.delete_requested_at) if one.delete_requested_at is not None else None,
        "resourceName": f"stacks/{one.stack_id}/{kind}/{one.slug}",
    }
    return {"id": one.id, "stackId": one.stack_id, "name": one.name, "slug": one.slug, "metadata": filled(metadata)}


def _spec(spec: AddressSpec) -> Data:
    return filled(
        {
            "allocationClass": spec.kind.value,
            "ipFamily": f"IPv{spec.version}",
            "prefixLength": LENGTHS[spec.version],
            "reclaimPolicy": _reclaim(spec.reclaim),
            "selectors": _selectors(spec.selectors),
        }
    )


def _reclaim(reclaim: Reclaim) -> Data:
    return filled({"action": reclaim.action.value, "idleRetentionPeriod": reclaim.period})


def _selectors(selectors: tuple[Selector, ...]) -> list[Mapping[str, Any]]:
    return [filled({"key": s.key, "operator": s.operator, "values": list(s.values)}) for s in selectors]
