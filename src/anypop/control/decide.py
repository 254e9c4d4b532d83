"""One step of control: from the state before and what was changed in it to the next state, orders included.

Pure: it strings the pure functions together (plan, check, judge, order_for) and keeps the books of what they imply: tombstones, rests,
generations, workloads whose deletion is complete. It does no I/O and takes no decision that one of those functions should take.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from anypop.control.state import Issued, Placed, State, Tombstone, place_name
from anypop.judge.verdict import judge
from anypop.model import codec
from anypop.model.names import CityCode, WorkloadId
from anypop.model.plan import Plan
from anypop.plan.check import check
from anypop.plan.orders import order_for
from anypop.plan.planner import plan

K = TypeVar("K")
V = TypeVar("V")

# A released place (private and external addresses) rests for longer than TCP's TIME-WAIT on Linux (60 s), so that no packet of an old
# connection reaches a new tenant.
PLACE_REST_S = 90.0
# An anycast address stands in DNS: it rests for longer than the usual time to live of a record (300 s).
ANYCAST_REST_S = 600.0


def decide(
    before: State,
    draft: State,
    *,
    now: float,
    confirmed: frozenset[WorkloadId] = frozenset(),
    floors: Mapping[CityCode, int] | None = None,
) -> State:
    """`draft` with plan, verdict and orders that follow from it.

    `before`: the last decided state. `confirmed`: workloads that a person deleted or shrank in this step. `floors`: generations that PoPs
    say they have obeyed; an order below its PoP's is issued anew above it. Raises `Unsafe`: then nothing may be kept of `draft`.
    """
    draft = _without_expired_rests(draft, now)
    if draft.plan is None or _inputs_changed(before, draft):
        draft = _planned(draft, now, confirmed)
        while (finished := _without_finished(draft, now)) is not draft:
            draft = _planned(finished, now, confirmed)
    planned = draft.plan
    assert planned is not None
    generations = {pop: issued.order.generation for pop, issued in draft.orders.items()}
    verdict, history = judge(planned, draft.reports, now=now, history=draft.history, generations=generations)
    draft = replace(draft, verdict=verdict, history=history if history != draft.history else draft.history)
    return replace(draft, orders=_ordered(draft, planned, now, floors or {}))


def _inputs_changed(before: State, draft: State) -> bool:
    names = ("network", "workloads", "slots", "anycast", "tombstones", "rests", "rules")
    return any(getattr(before, name) is not getattr(draft, name) for name in names)


def _planned(draft: State, now: float, confirmed: frozenset[WorkloadId]) -> State:
    draft = replace(draft, incarnation=draft.incarnation + 1)
    planned = plan(draft.world())
    leaving = frozenset(d.id for d in draft.workloads.values() if d.workload.deleting)
    check(planned, tuple(p.slot for p in draft.slots.values()), confirmed=confirmed | leaving)
    slots = {}
    for slot in planned.slots:
        was = draft.slots.get(slot.uid)
        slots[slot.uid] = was if was is not None and was.slot == slot else Placed(slot=slot, created_at=was.created_at if was else now)
    tombstones = {}
    for _, removal in planned.removals:
        stone = draft.tombstones.get(removal.uid)
        if stone is None:
            placed = draft.slots[removal.uid]
            stone = Tombstone(slot=placed.slot, reason=removal.reason, created_at=placed.created_at, asked_at=now)
        tombstones[removal.uid] = stone
    anycast = {held.workload_id: held for held in planned.anycast}
    rests = dict(draft.rests)
    for workload_id, held in draft.anycast.items():
        if workload_id not in anycast:
            rests[str(held.address4)] = now + ANYCAST_REST_S
    return replace(
        draft,
        plan=planned,
        slots=_kept(draft.slots, slots),
        tombstones=_kept(draft.tombstones, tombstones),
        anycast=_kept(draft.anycast, anycast),
        rests=_kept(draft.rests, rests),
    )


def without_gone(state: State, gone: frozenset[str], now: float) -> State:
    """The state after PoPs reported these incarnations gone: no tombstone any more, and their places rest."""
    done = {uid: stone for uid, stone in state.tombstones.items() if uid in gone}
    if not done:
        return state
    return replace(
        state,
        tombstones={uid: stone for uid, stone in state.tombstones.items() if uid not in done},
        rests={**state.rests, **{place_name(stone.slot): now + PLACE_REST_S for stone in done.values()}},
    )


def _without_finished(draft: State, now: float) -> State:
    """Forget workloads whose deletion was asked for and of which nothing is left anywhere. `draft` itself when there are none."""
    busy = {p.slot.workload_id for p in draft.slots.values()} | {t.slot.workload_id for t in draft.tombstones.values()}
    done = {d.id for d in draft.workloads.values() if d.workload.deleting and d.id not in busy}
    if not done:
        return draft
    released = {str(held.address4): now + ANYCAST_REST_S for key, held in draft.anycast.items() if key in done}
    return replace(
        draft,
        workloads={key: value for key, value in draft.workloads.items() if key not in done},
        anycast={key: value for key, value in draft.anycast.items() if key not in done},
        rules={key: value for key, value in draft.rules.items() if key[0] not in done},
        rests={**draft.rests, **released},
    )


def _without_expired_rests(draft: State, now: float) -> State:
    if all(until > now for until in draft.rests.values()):
        return draft
    return replace(draft, rests={what: until for what, until in draft.rests.items() if until > now})


def _ordered(draft: State, planned: Plan, now: float, floors: Mapping[CityCode, int]) -> Mapping[CityCode, Issued]:
    """A new order for each PoP whose order has changed in content, or that has already obeyed a generation as high as ours or higher.

    Orders of PoPs that have left the network stay, so that generations go on where they were if the PoP returns.
    """
    orders = dict(draft.orders)
    for pop in planned.pops:
        last = orders.get(pop)
        generation = last.order.generation if last is not None else 0
        floor = floors.get(pop, 0)
        wanted = order_for(planned, pop, generation, draft.verdict)
        if last is not None and wanted == last.order and floor <= generation:
            continue
        wanted = replace(wanted, generation=max(generation, floor) + 1)
        orders[pop] = Issued(order=wanted, body=codec.to_json(wanted), at=now)
    return _kept(draft.orders, orders)


def _kept(old: Mapping[K, V], new: Mapping[K, V]) -> Mapping[K, V]:
    """The old mapping where nothing in it changed: its identity says so to everyone later in the flow."""
    same = len(old) == len(new) and all(old.get(key) is value or old.get(key) == value for key, value in new.items())
    return old if same else new
