"""One step of control: from the state before and what was changed in it to the next state, orders included.

Pure: it strings the pure functions together (rollouts, plan, check, judge, order_for) and keeps the books of what they
imply: tombstones, rests, generations, workloads whose deletion is complete. It does no I/O and takes no decision that
one of those functions should take. Its cost follows what differs between the two states.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from anypop.control.allocation_book import with_addresses, with_claims, with_places
from anypop.control.allowance import NO_LIMITS, Limits
from anypop.control.draining import with_drains
from anypop.control.ground import StateGround, touched_between
from anypop.control.losses import with_losses
from anypop.control.meters import with_meters
from anypop.control.policies import ruled_between
from anypop.control.rests import link_names, place_name
from anypop.control.returns import gets_no_order, is_left_with, with_returns
from anypop.control.rolling import rolled, swept
from anypop.control.scaling import measured_on, shrunk, with_scaling, within_bounds
from anypop.control.shedding import with_shedding
from anypop.control.stack_names import named_between, names_for
from anypop.control.state import Issued, Placed, State, Tombstone
from anypop.control.strangers import met
from anypop.control.traffic import with_traffic
from anypop.control.volume_book import ordered, with_told, with_volumes
from anypop.judge.judged import Judged, Memory
from anypop.judge.rejudge import listened, rejudge
from anypop.judge.verdict import Received
from anypop.model.announce import Prefix
from anypop.model.names import CityCode, HostName, WorkloadId
from anypop.model.order_since import as_understood
from anypop.model.table import differing, with_entries, without_keys
from anypop.plan.orders import Counting, cut
from anypop.plan.planned import Planned, Touched
from anypop.plan.recheck import recheck
from anypop.plan.replan import Replanned, replan
from anypop.plan.sites import Sites

# A released place or link (external and private addresses) rests for longer than TCP's TIME-WAIT on Linux (60 s), so
# that no packet of an old connection reaches a new tenant.
PLACE_REST_S = 90.0
# An anycast address stands in DNS: it rests for longer than the usual time to live of a record (300 s).
ANYCAST_REST_S = 600.0
# So many generations of an order are stored as differences before a whole one: a start reads no more of them for each
# host.
STORED_WHOLE_EVERY = 20
# Orders that an agent may have when it asks for the next: several can be made while one answer is on its way.
EARLIER_KEPT = 4


@dataclass(slots=True)
class _Changed:
    """What the plans of one step changed."""

    hosts: set[HostName] = field(default_factory=set)
    workloads: set[WorkloadId] = field(default_factory=set)

    def add(self, before: Planned | None, made: Replanned) -> None:
        """`before`: the plan from which `made` was made. Hosts that have left the network have changed too."""
        self.hosts |= made.hosts
        self.workloads |= made.workloads
        if made.whole and before is not None:
            self.hosts |= before.hosts.keys() | made.plan.hosts.keys()
            self.workloads |= before.placed.keys()


def decide(
    before: State,
    draft: State,
    *,
    now: float,
    confirmed: frozenset[WorkloadId] = frozenset(),
    floors: Mapping[HostName, int] | None = None,
    limits: Limits = NO_LIMITS,
) -> State:
    """`draft` with rollouts, plan, verdict and orders that follow from it.

    `before`: the last decided state. `confirmed`: workloads that a person deleted or shrank in this step. `floors`:
    generations that hosts say they have obeyed; an order below its host's is issued anew above it. `limits`: the quotas
    in force. Raises `Unsafe`:
    then nothing may be kept of `draft`.
    """
    standing = draft.plan
    sites = standing.sites if standing is not None and standing.network is draft.network else Sites.of(draft.network)
    judged = draft.verdict if standing is not None else Judged()
    news = set(draft.reports) if standing is None else differing(before.reports, draft.reports)
    heard = listened(judged, draft.reports, news, now)
    turned = {host for host in differing(judged.fresh, heard.fresh) if (host in judged.fresh) != (host in heard.fresh)}
    draft = replace(draft, verdict=heard, rests=without_keys(draft.rests, draft.rests_over(now)))
    draft = with_returns(draft, news, now)
    draft = within_bounds(before, draft, now, begins=standing is None)
    draft = within_bounds(before, rolled(before, draft, news | turned, now), now, begins=False)
    draft = with_losses(before, draft, sites.hosts.keys(), news, now)
    draft = with_scaling(with_shedding(with_drains(draft, now), now), now, limits)
    confirmed = confirmed | shrunk(before, draft)
    draft = with_claims(before, draft, now)
    changed = _Changed()
    anew = standing is None or sites is not standing.sites
    draft, touched = with_places(before, draft, now, anew=anew)
    planned_anew = anew or bool(touched)
    if planned_anew:
        draft = _planned(draft, sites, touched, confirmed=confirmed, changed=changed, now=now)
        seen = before
        while (finished := with_claims(seen, _without_finished(draft, now), now)) is not draft:
            seen = finished
            draft = _planned(
                finished, sites, touched_between(draft, finished), confirmed=confirmed, changed=changed, now=now
            )
    planned = draft.plan
    assert planned is not None
    verdict, memory = rejudge(
        judged,
        heard,
        draft.history,
        planned,
        draft.reports,
        news=news,
        hosts=changed.hosts,
        workloads=changed.workloads,
        generation_of=lambda host: issued.order.generation if (issued := draft.orders.get(host)) is not None else 0,
        now=now,
    )
    ruled = ruled_between(before, draft, planned, changed.workloads)
    named, named_counts, renamed = named_between(before, draft, planned, changed.workloads)
    ruled_hosts = {host for _, host in differing(draft.ruled, ruled)}
    stirred = changed.workloads | (touched_between(before, draft) if planned_anew else touched).workloads
    draft = replace(
        draft, ruled=ruled, named=named, named_counts=named_counts, verdict=verdict, history=memory,
        stirred=frozenset(stirred), decided_at=now,
    )  # fmt: skip
    draft = swept(draft, stirred if standing is not None else draft.workloads)
    draft = with_meters(before, draft, news, now, begins=standing is None)
    ahead = {
        host
        for host, floor in (floors or {}).items()
        if (last := draft.orders.get(host)) is None or floor > last.order.generation
    }
    draft = met(draft, news)
    estranged = {h for h in {*before.strangers, *draft.strangers} if before.strangers.get(h) != draft.strangers.get(h)}
    proven = _proven_otherwise(before.history, memory, differing(judged.newcomers, verdict.newcomers))
    waited = {h for h in news if is_left_with(draft, h) or before.understands(h) != draft.understands(h)}
    concerned = (
        changed.hosts
        | ruled_hosts
        | renamed
        | waited
        | ahead
        | estranged
        | _answered_otherwise(judged, verdict, planned, proven)
    )
    concerned |= {host for host, _ in differing(before.volumes, draft.volumes)}
    if before.scaled is not draft.scaled:
        keys = differing(before.scaled, draft.scaled)
        rescaled = {key[0] for key in keys if (key in before.scaled) != (key in draft.scaled)}
        concerned |= {p.incarnation.host for w in rescaled for p in draft.incarnations_of(w).values()}
    may_differ = differing(before.dials, draft.dials) or (draft.dials and before.anycast is not draft.anycast)
    if may_differ and before.dialled() != draft.dialled():
        concerned |= planned.hosts.keys()  # each has to know who takes what another does not keep
    return draft.settled(before, orders=_ordered(draft, planned, concerned, floors or {}, now))


def _planned(
    draft: State, sites: Sites, touched: Touched, *, confirmed: frozenset[WorkloadId], changed: _Changed, now: float
) -> State:
    """The draft as it is planned now. What the plan changed is added to `changed`."""
    draft = replace(draft, serial=draft.serial + 1)
    ground = StateGround(draft, sites)
    made = replan(draft.plan, sites, ground, touched)
    recheck(draft.plan, made, ground, confirmed=confirmed.union(draft.being_deleted()))
    changed.add(draft.plan, made)
    placed: dict[str, Placed] = {}
    gone: list[str] = []
    stones: dict[str, Tombstone] = {}
    for workload in made.workloads:
        settled = made.plan.placed.get(workload)
        old = draft.incarnations_of(workload)
        kept = {i.uid: i for i in settled.kept} if settled is not None else {}
        for uid, incarnation in kept.items():
            was = old.get(uid)
            if was is None or was.incarnation != incarnation:
                placed[uid] = Placed(incarnation=incarnation, created_at=was.created_at if was is not None else now)
        gone += [uid for uid in old if uid not in kept]
        for _, removal in settled.removals if settled is not None else ():
            going = old[removal.uid]
            stones[removal.uid] = Tombstone(
                incarnation=going.incarnation,
                reason=removal.reason,
                detail=removal.detail,
                created_at=going.created_at,
                asked_at=now,
            )
    released = {
        w: held for w in made.workloads if (held := draft.anycast.get(w)) is not None and w not in made.plan.anycast
    }
    given = {w: held for w in made.workloads if (held := made.plan.anycast.get(w)) is not None}
    draft = replace(
        draft,
        plan=made.plan,
        incarnations=with_entries(without_keys(draft.incarnations, gone), placed),
        tombstones=with_entries(draft.tombstones, stones),
        anycast=with_entries(without_keys(draft.anycast, released), given),
        rests=with_entries(draft.rests, {str(held.address4): now + ANYCAST_REST_S for held in released.values()}),
    )
    draft = with_volumes(draft, made.workloads, now)
    return with_addresses(draft, sites, made.workloads, now)


def with_reports(
    state: State, reports: Mapping[HostName, Received], gone: Mapping[HostName, frozenset[str]], now: float
) -> State:
    """The state after these reports came in. `gone`: what each host said is gone, in any of its reports."""
    for host, uids in gone.items():
        state = without_gone(state, host, uids, now)
    for received in reports.values():
        state = with_told(state, received.report)
    state = with_traffic(state, reports, now)
    return replace(state, reports=with_entries(state.reports, reports))


def without_gone(state: State, host: HostName, gone: frozenset[str], now: float) -> State:
    """The state after a host reported these of its incarnations gone: no tombstone any more, and their links rest. A
    slot's place rests only when nobody lives there. Of another host's incarnations it has nothing to say.
    """
    stones = state.tombstones_on(host)
    done = {uid: stone for uid in gone if (stone := stones.get(uid)) is not None}
    if not done:
        return state
    state = replace(state, tombstones=without_keys(state.tombstones, done))
    rests: dict[str, float] = {}
    for stone in done.values():
        incarnation = stone.incarnation
        rests |= dict.fromkeys(link_names(incarnation), now + PLACE_REST_S)
        living = (p.incarnation for p in state.incarnations_of(incarnation.workload_id).values())
        dying = (t.incarnation for t in state.tombstones_of(incarnation.workload_id).values())
        held = {(i.host, i.index) for i in (*living, *dying)}
        if (incarnation.host, incarnation.index) not in held:
            rests[place_name(incarnation)] = now + PLACE_REST_S
    return replace(state, rests=with_entries(state.rests, rests))


def _without_finished(draft: State, now: float) -> State:
    """Forget workloads whose deletion was asked for and of which nothing is left anywhere. `draft` itself when there
    are none.
    """
    done = [
        w
        for w in draft.being_deleted()
        if not draft.incarnations_of(w) and not draft.tombstones_of(w) and not draft.volumes_of(w)
    ]
    if not done:
        return draft
    released = {str(held.address4): now + ANYCAST_REST_S for w in done if (held := draft.anycast.get(w)) is not None}
    return replace(
        draft,
        workloads=without_keys(draft.workloads, done),
        revisions=without_keys(draft.revisions, [key for w in done for key in draft.revisions_of(w)]),
        rollouts=without_keys(draft.rollouts, [key for w in done for key in draft.rollouts_of(w)]),
        anycast=without_keys(draft.anycast, done),
        rules=without_keys(draft.rules, [key for w in done for key in draft.rules_of(w)]),
        dials=without_keys(draft.dials, [key for w in done for key in draft.dials_of(w)]),
        rests=with_entries(draft.rests, released),
    )


def _ordered(
    draft: State, planned: Planned, hosts: Collection[HostName], floors: Mapping[HostName, int], now: float
) -> Mapping[HostName, Issued]:
    """A new order for each of `hosts` whose order has changed in content, or that has already obeyed a generation as
    high as ours or higher. A host that may be all that answers gets none: see `returns`.

    Orders of hosts that have left the network stay, so that generations go on where they were if the host returns.
    """
    if not hosts:
        return draft.orders
    orders: dict[HostName, Issued] = {}
    dials, told = draft.dialled(), names_for(draft, planned)
    counting = Counting(
        owner_of=planned.owner_of,
        is_idle=_is_idle(draft, planned),
        is_new=_is_new(draft, planned),
        carried=planned.carried,
    )
    for host in hosts:
        if host not in planned.hosts or gets_no_order(draft, host, now):
            continue
        last = draft.orders.get(host)
        generation = last.order.generation if last is not None else 0
        floor = floors.get(host, 0)
        kept, dropped = ordered(draft, host)
        wanted = cut(
            planned.network,
            planned.sites.hosts[host].host,
            planned.hosts[host],
            generation,
            ours=planned.sites.ours,
            grants=draft.verdict.hosts[host].grants,
            counting=counting,
            rules=planned.network.instances,
            dials=dials,
            ruled=draft.ruled_on(host),
            names=told(host),
        )
        if kept or dropped:
            wanted = replace(wanted, volumes=kept, volumes_removed=dropped)
        if measured := measured_on(draft, host):
            wanted = replace(wanted, measured=measured, measure_s=planned.network.scale_look_s)
        if strangers := draft.strangers.get(host):
            wanted = replace(wanted, removed=(*wanted.removed, *strangers))
        wanted = as_understood(wanted, last.order if last is not None else None, draft.understands(host))
        if last is not None and wanted == last.order and floor <= generation:
            continue
        wanted = replace(wanted, generation=max(generation, floor) + 1)
        earlier = (last.order, *last.earlier[: EARLIER_KEPT - 1]) if last is not None else ()
        orders[host] = Issued(order=wanted, at=now, whole=_whole(last, wanted.generation), earlier=earlier)
    return with_entries(draft.orders, orders)


def _is_new(draft: State, planned: Planned) -> Callable[[Prefix, WorkloadId | None, CityCode], bool]:
    """Whether a workload is a newcomer in a PoP; in a prefix that is carried, whether it has served nowhere."""
    newcomers, memory = draft.verdict.newcomers, draft.history.workloads

    def is_new(prefix: Prefix, workload: WorkloadId | None, pop: CityCode) -> bool:
        if workload is None:
            return False
        if prefix in planned.carried:
            return (known := memory.get(workload)) is None or not known.served
        return pop in newcomers.get(workload, ())

    return is_new


def _is_idle(draft: State, planned: Planned) -> Callable[[Prefix, WorkloadId | None], bool]:
    """Whether a workload works nowhere; in a prefix that is carried, whether it answers nowhere in that family."""
    idle, mute = draft.verdict.idle, draft.verdict.mute

    def is_idle(prefix: Prefix, workload: WorkloadId | None) -> bool:
        if workload is None:
            return False
        return workload in idle or (prefix in planned.carried and prefix.version in mute.get(workload, ()))

    return is_idle


def _whole(last: Issued | None, generation: int) -> int:
    """The generation that is the newest to be stored as a whole, once this one is stored."""
    return last.whole if last is not None and generation < last.whole + STORED_WHOLE_EVERY else generation


def _proven_otherwise(before: Memory, after: Memory, workloads: Iterable[WorkloadId]) -> frozenset[WorkloadId]:
    """Those of whom it is news that they have served somewhere, or nowhere any more."""

    def has_served(memory: Memory, workload: WorkloadId) -> bool:
        return (known := memory.workloads.get(workload)) is not None and bool(known.served)

    return frozenset(w for w in workloads if has_served(before, w) != has_served(after, w))


def _answered_otherwise(
    before: Judged, after: Judged, planned: Planned, proven: Collection[WorkloadId]
) -> set[HostName]:
    """The hosts whose order may differ since the judge says something else: to their requests, of who is idle, of who
    is mute, or of who has served where. `proven`: of whom it is news that they have served anywhere at all.
    """
    hosts = set()
    for host in differing(before.hosts, after.hosts):
        was, now = before.hosts.get(host), after.hosts.get(host)
        if (was.grants if was is not None else ()) != (now.grants if now is not None else ()):
            hosts.add(host)
    for workload in differing(before.idle, after.idle):
        if (held := planned.anycast.get(workload)) is not None:
            hosts |= {*planned.tellers(held.prefix4), *planned.tellers(held.prefix6)}
    for workload in differing(before.mute, after.mute):
        if (held := planned.anycast.get(workload)) is not None:
            hosts |= {*planned.tellers(held.prefix4), *planned.tellers(held.prefix6)}
    for workload in differing(before.newcomers, after.newcomers):
        if (held := planned.anycast.get(workload)) is not None:
            pops = before.newcomers.get(workload, _NOWHERE) ^ after.newcomers.get(workload, _NOWHERE)
            for prefix in (held.prefix4, held.prefix6):
                everywhere = prefix in planned.carried and workload in proven
                hosts |= {h for h in planned.tellers(prefix) if everywhere or planned.sites.pop_of(h) in pops}
    return hosts


_NOWHERE = frozenset[CityCode]()
