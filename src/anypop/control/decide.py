"""One step of control: from the state before and what was changed in it to the next state, orders included.

Pure: it strings the pure functions together (rollouts, plan, check, judge, order_for) and keeps the books of what they
imply: tombstones, rests, generations, workloads whose deletion is complete. It does no I/O and takes no decision that
one of those functions should take.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from anypop.control.losses import with_losses
from anypop.control.rolling import rolled
from anypop.control.state import Issued, Placed, State, Tombstone, link_name, place_name
from anypop.judge.verdict import judge
from anypop.model import codec
from anypop.model.names import HostName, WorkloadId
from anypop.model.network import Capacity
from anypop.model.plan import Plan
from anypop.plan.check import check
from anypop.plan.orders import order_for
from anypop.plan.planner import plan

K = TypeVar("K")
V = TypeVar("V")

# A released place or link (external and private addresses) rests for longer than TCP's TIME-WAIT on Linux (60 s), so
# that no packet of an old connection reaches a new tenant.
PLACE_REST_S = 90.0
# An anycast address stands in DNS: it rests for longer than the usual time to live of a record (300 s).
ANYCAST_REST_S = 600.0


def decide(
    before: State,
    draft: State,
    *,
    now: float,
    confirmed: frozenset[WorkloadId] = frozenset(),
    floors: Mapping[HostName, int] | None = None,
) -> State:
    """`draft` with rollouts, plan, verdict and orders that follow from it.

    `before`: the last decided state. `confirmed`: workloads that a person deleted or shrank in this step. `floors`: generations that hosts
    say they have obeyed; an order below its host's is issued anew above it. Raises `Unsafe`: then nothing may be kept of `draft`.
    """
    draft = _without_expired_rests(draft, now)
    draft = with_losses(rolled(draft, now), now)
    if draft.plan is None or _inputs_changed(before, draft):
        draft = _planned(draft, now, confirmed)
        while (finished := _without_finished(draft, now)) is not draft:
            draft = _planned(finished, now, confirmed)
    planned = draft.plan
    assert planned is not None
    generations = {host: issued.order.generation for host, issued in draft.orders.items()}
    verdict, history = judge(planned, draft.reports, now=now, history=draft.history, generations=generations)
    draft = replace(draft, verdict=verdict, history=history if history != draft.history else draft.history)
    return replace(draft, orders=_ordered(draft, planned, now, floors or {}))


def _inputs_changed(before: State, draft: State) -> bool:
    names = ("network", "workloads", "revisions", "rollouts", "incarnations", "anycast", "tombstones", "rests", "rules", "lost", "moves")
    return any(getattr(before, name) is not getattr(draft, name) for name in names) or _capacities(before) != _capacities(draft)


def _capacities(state: State) -> dict[HostName, Capacity | None]:
    return {host: received.report.capacity for host, received in state.reports.items()}


def _planned(draft: State, now: float, confirmed: frozenset[WorkloadId]) -> State:
    draft = replace(draft, serial=draft.serial + 1)
    planned = plan(draft.world())
    leaving = frozenset(d.id for d in draft.workloads.values() if d.workload.deleting)
    check(planned, tuple(p.incarnation for p in draft.incarnations.values()), confirmed=confirmed | leaving)
    incarnations = {}
    for incarnation in planned.incarnations:
        was = draft.incarnations.get(incarnation.uid)
        same = was is not None and was.incarnation == incarnation
        incarnations[incarnation.uid] = (
            was if was is not None and same else Placed(incarnation=incarnation, created_at=was.created_at if was else now)
        )
    tombstones = {}
    for _, removal in planned.removals:
        stone = draft.tombstones.get(removal.uid)
        if stone is None:
            placed = draft.incarnations[removal.uid]
            stone = Tombstone(
                incarnation=placed.incarnation,
                reason=removal.reason,
                detail=removal.detail,
                created_at=placed.created_at,
                asked_at=now,
            )
        tombstones[removal.uid] = stone
    anycast = {held.workload_id: held for held in planned.anycast}
    rests = dict(draft.rests)
    for workload_id, held in draft.anycast.items():
        if workload_id not in anycast:
            rests[str(held.address4)] = now + ANYCAST_REST_S
    return replace(
        draft,
        plan=planned,
        incarnations=_kept(draft.incarnations, incarnations),
        tombstones=_kept(draft.tombstones, tombstones),
        anycast=_kept(draft.anycast, anycast),
        rests=_kept(draft.rests, rests),
    )


def without_gone(state: State, gone: frozenset[str], now: float) -> State:
    """The state after hosts reported these incarnations gone: no tombstone any more, and their links rest. A slot's place rests only when
    nobody lives there.
    """
    done = {uid: stone for uid, stone in state.tombstones.items() if uid in gone}
    if not done:
        return state
    left = {uid: stone for uid, stone in state.tombstones.items() if uid not in done}
    held = {(p.incarnation.host, p.incarnation.index) for p in state.incarnations.values()}
    held |= {(stone.incarnation.host, stone.incarnation.index) for stone in left.values()}
    rests = dict(state.rests)
    for stone in done.values():
        incarnation = stone.incarnation
        rests[link_name(incarnation)] = now + PLACE_REST_S
        if (incarnation.host, incarnation.index) not in held:
            rests[place_name(incarnation)] = now + PLACE_REST_S
    return replace(state, tombstones=left, rests=rests)


def _without_finished(draft: State, now: float) -> State:
    """Forget workloads whose deletion was asked for and of which nothing is left anywhere. `draft` itself when there are none."""
    busy = {p.incarnation.workload_id for p in draft.incarnations.values()}
    busy |= {t.incarnation.workload_id for t in draft.tombstones.values()}
    done = {d.id for d in draft.workloads.values() if d.workload.deleting and d.id not in busy}
    if not done:
        return draft
    released = {str(held.address4): now + ANYCAST_REST_S for key, held in draft.anycast.items() if key in done}
    return replace(
        draft,
        workloads={key: value for key, value in draft.workloads.items() if key not in done},
        revisions={key: value for key, value in draft.revisions.items() if key[0] not in done},
        rollouts={key: value for key, value in draft.rollouts.items() if value.workload_id not in done},
        anycast={key: value for key, value in draft.anycast.items() if key not in done},
        rules={key: value for key, value in draft.rules.items() if key[0] not in done},
        rests={**draft.rests, **released},
    )


def _without_expired_rests(draft: State, now: float) -> State:
    if all(until > now for until in draft.rests.values()):
        return draft
    return replace(draft, rests={what: until for what, until in draft.rests.items() if until > now})


def _ordered(draft: State, planned: Plan, now: float, floors: Mapping[HostName, int]) -> Mapping[HostName, Issued]:
    """A new order for each host whose order has changed in content, or that has already obeyed a generation as high as ours or higher.

    Orders of hosts that have left the network stay, so that generations go on where they were if the host returns.
    """
    orders = dict(draft.orders)
    for host in planned.hosts:
        last = orders.get(host)
        generation = last.order.generation if last is not None else 0
        floor = floors.get(host, 0)
        wanted = order_for(planned, host, generation, draft.verdict)
        if last is not None and wanted == last.order and floor <= generation:
            continue
        wanted = replace(wanted, generation=max(generation, floor) + 1)
        orders[host] = Issued(order=wanted, body=codec.to_json(wanted), at=now)
    return _kept(draft.orders, orders)


def _kept(old: Mapping[K, V], new: Mapping[K, V]) -> Mapping[K, V]:
    """The old mapping where nothing in it changed: its identity says so to everyone later in the flow."""
    same = len(old) == len(new) and all(old.get(key) is value or old.get(key) == value for key, value in new.items())
    return old if same else new
