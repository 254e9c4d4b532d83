"""A step of control in the obvious way: everything is planned, judged and cut anew. What `control.decide` must be equal
to, step by step.

In: the last such step and a draft of the next state. Out: the state, with the plan, verdict and memory of the judge
that belong to it. It is for tests alone, and as slow as it is plain.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from anypop.control.decide import ANYCAST_REST_S
from anypop.control.draining import with_drains
from anypop.control.ground import planned_by
from anypop.control.returns import gets_no_order, serving_on, undecided, with_returns
from anypop.control.rolling import rolled, swept
from anypop.control.state import Issued, Placed, State, Tombstone
from anypop.judge.memory import History
from anypop.judge.verdict import is_fresh, judge
from anypop.model.names import HostName, WorkloadId
from anypop.model.order_since import as_understood
from anypop.model.plan import Plan, Verdict
from anypop.model.policy import HostRules
from anypop.plan.check import check
from anypop.plan.evacuation import losses, movable
from anypop.plan.ground import WorldGround
from anypop.plan.orders import order_for
from anypop.plan.planner import plan
from anypop.plan.policies import whole as rules_of_all
from anypop.plan.sites import Sites

_INPUTS = (
    "network",
    "workloads",
    "revisions",
    "rollouts",
    "incarnations",
    "anycast",
    "tombstones",
    "rests",
    "rules",
    "lost",
    "moves",
    "eases",
    "arrived",
    "evicted",
    "scaled",
)


@dataclass(frozen=True, kw_only=True)
class Whole:
    """A decided state. `state` has no plan, verdict or memory of its own: they stand beside it."""

    state: State
    plan: Plan | None = None
    verdict: Verdict = field(default_factory=Verdict)
    history: History = field(default_factory=History)


def decide_whole(
    before: Whole, draft: State, *, now: float, confirmed: frozenset[WorkloadId], floors: Mapping[HostName, int]
) -> Whole:
    """Raises `Unsafe`."""
    was = before.state
    rests = {what: until for what, until in draft.rests.items() if until > now}
    draft = replace(draft, rests=rests)
    draft = with_returns(draft, list(draft.reports), now)
    draft = _with_losses(rolled(was, draft, (), now), now)  # a state without a plan: every rollout is looked at
    draft = with_drains(draft, now)
    planned = before.plan
    changed = any(getattr(was, name) != getattr(draft, name) for name in _INPUTS)
    changed = changed or _capacities(was) != _capacities(draft) or _drains(was) != _drains(draft)
    if planned is None or changed:
        draft, planned = _planned(draft, now, confirmed)
        while (finished := _without_finished(draft, now)) is not draft:
            draft, planned = _planned(finished, now, confirmed)
    elif was.policies != draft.policies:
        planned = replace(planned, ruled=_ruled(draft, planned))  # nobody is placed otherwise for it
    generations = {host: issued.order.generation for host, issued in draft.orders.items()}
    verdict, history = judge(planned, draft.reports, now=now, history=before.history, generations=generations)
    draft = swept(draft, list(draft.workloads))
    orders = dict(draft.orders)
    for host in planned.hosts:
        if gets_no_order(draft, host, now):
            continue
        last = orders.get(host)
        generation, floor = last.order.generation if last is not None else 0, floors.get(host, 0)
        wanted = order_for(planned, host, generation, verdict)
        wanted = as_understood(wanted, last.order if last is not None else None, draft.understands(host))
        if last is None or wanted != last.order or floor > generation:
            wanted = replace(wanted, generation=max(generation, floor) + 1)
            orders[host] = Issued(order=wanted, at=now)
    return Whole(state=replace(draft, orders=orders), plan=planned, verdict=verdict, history=history)


def _ruled(draft: State, planned: Plan) -> Mapping[HostName, HostRules]:
    ground = WorldGround(draft.world())
    return rules_of_all(
        ground,
        Sites.of(draft.network).hosts,
        draft.world().policies,
        networks=draft.world().networks,
        workloads=ground.workload_ids(),
        kept=lambda workload: [i for i in planned.incarnations if i.workload_id == workload],
        removals=ground.removals_of,
    )


def _capacities(state: State) -> dict[HostName, object]:
    told = {host: received.report.capacity for host, received in state.reports.items()}
    return {
        host: (capacity, state.runs_machines(host), state.understands(host))
        for host, capacity in told.items()
        if capacity is not None or state.runs_machines(host) or state.understands(host)
    }


def _drains(state: State) -> dict[str, object]:
    return {key: found for key, drain in state.drains.items() if (found := planned_by(drain)) is not None}


def _planned(draft: State, now: float, confirmed: frozenset[WorkloadId]) -> tuple[State, Plan]:
    draft = replace(draft, serial=draft.serial + 1)
    planned = plan(draft.world())
    leaving = frozenset(d.id for d in draft.workloads.values() if d.workload.deleting)
    check(planned, tuple(p.incarnation for p in draft.incarnations.values()), confirmed=confirmed | leaving)
    incarnations = {}
    for incarnation in planned.incarnations:
        had = draft.incarnations.get(incarnation.uid)
        incarnations[incarnation.uid] = Placed(
            incarnation=incarnation, created_at=had.created_at if had is not None else now
        )
    tombstones = dict(draft.tombstones)
    for _, removal in planned.removals:
        if removal.uid not in tombstones:
            placed = draft.incarnations[removal.uid]
            tombstones[removal.uid] = Tombstone(
                incarnation=placed.incarnation,
                reason=removal.reason,
                detail=removal.detail,
                created_at=placed.created_at,
                asked_at=now,
            )
    anycast = {held.workload_id: held for held in planned.anycast}
    rests = dict(draft.rests)
    rests |= {str(held.address4): now + ANYCAST_REST_S for w, held in draft.anycast.items() if w not in anycast}
    return replace(draft, incarnations=incarnations, tombstones=tombstones, anycast=anycast, rests=rests), planned


def _without_finished(draft: State, now: float) -> State:
    busy = {p.incarnation.workload_id for p in draft.incarnations.values()} | {
        t.incarnation.workload_id for t in draft.tombstones.values()
    }
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


def _with_losses(draft: State, now: float) -> State:
    silent: dict[HostName, float] = {}
    for _, host in draft.network.hosts():
        received = draft.reports.get(host.name)
        heard = received is None or is_fresh(received, now)
        silent[host.name] = 0.0 if heard or received is None else now - max(received.at, draft.started_at)
    found = losses(silent, draft.evicted, draft.network.lost_after_s)
    fresh = [r.report for r in draft.reports.values() if is_fresh(r, now)]
    fresh_hosts = {host for host, r in draft.reports.items() if is_fresh(r, now)}
    lost = found.lost | undecided(draft, fresh_hosts, now)
    moves = movable(
        lost,
        (p.incarnation for p in draft.incarnations.values()),
        ((t.incarnation.host, t.removal) for t in draft.tombstones.values()),
        frozenset(i.uid for report in fresh for i in report.instances if i.healthy),
        serving_on(draft, draft.evicted, now),
    )
    return replace(draft, lost=lost, moves=moves, losses_frozen=found.frozen)


def normal(history: History) -> History:
    """The same memory with each part sorted: what it remembers, whatever the order in which it was learned."""
    return History(
        leaves=tuple(sorted(history.leaves, key=lambda v: (v.prefix.version, v.prefix, v.host))),
        good=tuple(sorted(history.good, key=lambda where: (where[1].version, where[1], where[0]))),
        bad=tuple(sorted(history.bad, key=lambda b: (b.prefix.version, b.prefix, b.host))),
        served=tuple(sorted(history.served)),
        unserved=tuple(sorted(history.unserved)),
        nowhere=tuple(sorted(history.nowhere)),
        spoke=tuple(sorted(history.spoke)),
        mute=tuple(sorted(history.mute)),
    )
