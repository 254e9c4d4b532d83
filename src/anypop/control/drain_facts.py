"""What control knows about a drain: what its hosts really export and get, who else announces, and who lives there
still.

In: a draft of control's state, drains, the time. Out: what `plan.drain` decides by. Only fresh reports count, and of
what was ordered only what the newest order says. Pure; it decides nothing.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from anypop.control.returns import serving_on
from anypop.control.state import State
from anypop.judge.verdict import is_fresh
from anypop.model.announce import Address, Announcement, Mode, Prefix, Scope
from anypop.model.drain import Drain, DrainKind, DrainStage
from anypop.model.machine import Power
from anypop.model.names import CityCode, HostName, InstanceName, WorkloadId
from anypop.model.network import Host, Pop, Upstream, UpstreamKind
from anypop.model.order import Order
from anypop.model.plan import Incarnation
from anypop.model.reasons import Reason
from anypop.model.report import InstanceReport, PrefixReport, Report
from anypop.model.scopes import scope_says
from anypop.model.table import grouped
from anypop.plan.drain import Found, Standing, Way, concerns, emptied_by
from anypop.plan.edge_scopes import beyond_edge
from anypop.plan.moves import is_carried, resting

_NAMED = 4  # of those that are told by name in what a drain waits for


@dataclass(frozen=True, slots=True, kw_only=True)
class Teller:
    """A host, what it was ordered, and what it says of that; `report` None: it is silent."""

    pop: Pop
    host: Host
    order: Order
    report: Report | None

    @property
    def prefixes(self) -> Mapping[Prefix, PrefixReport]:
        return {p.prefix: p for p in self.report.prefixes} if self.report is not None else {}


def tellers_at(state: State, drain: Drain, now: float) -> list[Teller]:
    """The hosts that a drain concerns and that have an order."""
    pop = state.pop(drain.pop)
    if pop is None:
        return []
    hosts = (h for h in pop.hosts if drain.kind is not DrainKind.HOST or h.name == drain.host)
    return [teller for host in hosts if (teller := _teller(state, pop, host, now)) is not None]


def _teller(state: State, pop: Pop, host: Host, now: float) -> Teller | None:
    issued, received = state.orders.get(host.name), state.reports.get(host.name)
    if issued is None:
        return None
    report = received.report if received is not None and is_fresh(received, now) else None
    return Teller(pop=pop, host=host, order=issued.order, report=report)


def told_by(state: State, drain: Drain, teller: Teller) -> list[Announcement]:
    """The announcements of covering prefixes over which it stands."""
    covering = {*state.network.anycast4, *state.network.anycast6}
    return [
        told
        for told in teller.order.announcements
        if told.prefix in covering
        and any(concerns(drain, teller.pop.city, teller.host.name, u.name) for u, _ in heard_by(state, teller, told))
    ]


def heard_by(state: State, teller: Teller, told: Announcement) -> Iterator[tuple[Upstream, Scope]]:
    """Who in other networks hears an announcement, and with which scope."""
    for own in teller.host.upstreams:
        if own.name != told.upstream:
            continue
        if own.kind is not UpstreamKind.EDGE or not teller.pop.edge:
            yield own, told.scope
            continue
        asn, family = state.network.asn, told.prefix.version
        yield from ((u, beyond_edge(asn, told.scope, u)) for u in teller.pop.edge if u.has_session(family))


def standing_of(state: State, prefixes: Collection[Prefix], now: float) -> dict[Prefix, Standing]:
    """Each prefix on the whole platform."""
    stopping = {uid for rollout in state.active_rollouts() for uid in rollout.may_stop_first}
    told: dict[Prefix, set[CityCode]] = {prefix: set() for prefix in prefixes}
    ways: dict[Prefix, set[Way]] = {prefix: set() for prefix in prefixes}
    for teller in _who_tells(state, prefixes, now):
        reported, wells = teller.prefixes, _Wells(state, teller, stopping, now)
        for one in teller.order.announcements:
            if one.prefix not in told:
                continue
            announces = one.scope.mode is Mode.ANNOUNCE
            if announces or one.drains:
                told[one.prefix].add(teller.pop.city)
            if not announces or not _goes_out(teller, one, reported.get(one.prefix)) or not wells.answers(one):
                continue
            ways[one.prefix] |= {
                Way(pop=teller.pop.city, host=teller.host.name, upstream=u.name)
                for u, scope in heard_by(state, teller, one)
                if scope.mode is Mode.ANNOUNCE
            }
    return {p: Standing(told=frozenset(told[p]), ways=frozenset(ways[p])) for p in told}


def _who_tells(state: State, prefixes: Collection[Prefix], now: float) -> Iterator[Teller]:
    plan = state.plan
    names = {h for p in prefixes for h in plan.tellers(p)} if plan is not None else None
    for pop in state.network.pops:
        for host in pop.hosts:
            if (names is None or host.name in names) and (teller := _teller(state, pop, host, now)) is not None:
                yield teller


def _goes_out(teller: Teller, told: Announcement, seen: PrefixReport | None) -> bool:
    if teller.report is None or seen is None or seen.wants_withdraw or told.upstream not in seen.upstreams:
        return False
    family = told.prefix.version
    return any(
        s.upstream == told.upstream and s.family == family and s.state == "established" for s in teller.report.sessions
    )


class _Wells:
    """Who answers at a host, or beyond it, and is not about to go."""

    def __init__(self, state: State, teller: Teller, stopping: Collection[str], now: float) -> None:
        self._state, self._stopping, self._now = state, stopping, now
        self._lost = teller.host.name in state.lost
        self._here = _well_on(state, teller.host.name, stopping, now)
        report = teller.report
        self._carried = {c.address for c in report.carried if c.shares} if report is not None else set()
        self._shut = {a for p in report.prefixes for a in p.shut} if report is not None else set()

    def answers(self, told: Announcement) -> bool:
        """Whether every address that counts in the prefix has somebody here, or is carried to somebody."""
        return not self._lost and all(self._has(gate) for gate in told.gates)

    def _has(self, gate: Address) -> bool:
        owner = _owner_of(self._state, gate)
        if owner is None or gate in self._shut:
            return False
        if any(gate.version in families for families in self._here.get(owner, ())):
            return True
        hosts = (
            {p.incarnation.host for p in self._state.incarnations_of(owner).values()} if gate in self._carried else ()
        )
        wells = (_well_on(self._state, host, self._stopping, self._now).get(owner, ()) for host in hosts)
        return any(gate.version in families for well in wells for families in well)


def _owner_of(state: State, address: Address) -> WorkloadId | None:
    return next(iter(grouped(state.anycast, f"address{address.version}", address)), None)


def _well_on(
    state: State, host: HostName, stopping: Collection[str], now: float
) -> Mapping[WorkloadId, list[frozenset[int]]]:
    """Of each workload with healthy instances there, the families in which each answers."""
    received, lives = state.reports.get(host), state.incarnations_on(host)
    found: dict[WorkloadId, list[frozenset[int]]] = defaultdict(list)
    if received is None or not is_fresh(received, now):
        return found
    for one in received.report.instances:
        placed = lives.get(one.uid)
        if placed is not None and one.uid not in stopping:
            families = frozenset(v for v in (4, 6) if one.healthy_in(v))
            found[placed.incarnation.workload_id].append(families)
    return found


def found_of(state: State, drain: Drain, now: float) -> Found:
    """See `Found`."""
    if drain.kind is DrainKind.INSTANCE:
        lives = slot_of(state, drain)
        gone = drain.uid not in state.incarnations and drain.uid not in state.tombstones
        wait = "its successor is not healthy yet" if len(lives) > 1 else "there is no room for its successor yet"
        leaving = drain.uid not in state.incarnations
        if len(lives) == 1 and not lives[0].serves:
            wait = "it stays with its disk while it is off or mended"
        return Found(gone=gone, left=(f"{drain.instance}: {'its flows end' if leaving else wait}",))
    tellers = tellers_at(state, drain, now)
    silent = [f"{t.host.name} is silent" for t in tellers if t.report is None]
    announced = {t.host.name: told_by(state, drain, t) for t in tellers}
    missing = [words for t in tellers if t.report is not None for words in _missing(t, announced[t.host.name])]
    unwell = [words for t in tellers if t.report is not None for words in _unwell(t, announced[t.host.name])]
    return Found(
        missing=(*silent, *dict.fromkeys(missing)),
        unwell=tuple(dict.fromkeys(unwell)),
        left=_left(state, drain),
        empty=not any(announced.values()),
    )


def _missing(teller: Teller, announced: Iterable[Announcement]) -> Iterator[str]:
    name, report, seen = teller.host.name, teller.report, teller.prefixes
    if report is None or report.generation < teller.order.generation:
        yield f"{name} has not obeyed its newest order yet"
        return
    for told in announced:
        found = seen.get(told.prefix)
        if found is None or told.upstream not in found.upstreams:
            continue  # nothing of it goes out, whatever it would say
        if told.scope.mode is Mode.WITHHOLD:
            yield f"{name} still tells {told.upstream} of {told.prefix}"
            continue
        really = next((e for e in found.exported if e.upstream == told.upstream), None)
        if really is None:
            yield f"{name} does not say how it tells {told.upstream} of {told.prefix}"
            continue
        scope = Scope(
            prepend=really.prepend,
            communities=really.communities,
            large_communities=really.large_communities,
            extended_communities=really.extended_communities,
        )
        if _sorted(scope) != _sorted(told.scope):
            yield f"{name} tells {told.upstream} '{scope_says(scope)}' of {told.prefix}, not '{scope_says(told.scope)}'"


def _sorted(scope: Scope) -> tuple[object, ...]:
    return scope.prepend, sorted(set(scope.every_community))


def _unwell(teller: Teller, announced: Iterable[Announcement]) -> Iterator[str]:
    seen = teller.prefixes
    for told in announced:
        found = seen.get(told.prefix)
        if told.scope.mode is Mode.ANNOUNCE and (found is None or found.reason is not Reason.ANNOUNCED):
            why = found.reason.says if found is not None else "nothing is known of it yet"
            yield f"{teller.host.name}: {told.prefix} {why}"


def _left(state: State, drain: Drain) -> Sequence[str]:
    """What of a host's is to live elsewhere and does not yet. Where its PoP has no other host in use, all stays."""
    pop = state.pop(drain.pop)
    if drain.kind is not DrainKind.HOST or pop is None:
        return ()
    away = {host for d in state.active_drains() if (host := emptied_by(d)) is not None} | state.lost | {drain.host}
    if all(host.name in away for host in pop.hosts):
        return ()
    count = len(state.incarnations_on(drain.host)) + len(state.tombstones_on(drain.host))
    here = [p.incarnation for p in state.incarnations_on(drain.host).values()]
    stays = _named("those that are off or mended are where their disks are", (i for i in here if not i.serves))
    anew = _named("with a new root disk begin elsewhere", (i for i in here if i.serves and _begins_anew(state, i)))
    return (f"{count} instances are on it still{stays}{anew}",) if count else ()


def _named(words: str, lives: Iterable[Incarnation]) -> str:
    names = sorted(i.name for i in lives)
    more = f" and {len(names) - _NAMED} more" if names[_NAMED:] else ""
    return f"; {words}: {', '.join(names[:_NAMED])}{more}" if names else ""


def _begins_anew(state: State, life: Incarnation) -> bool:
    """Whether it is a virtual machine that does not move while it runs, and has no volume that keeps it here."""
    declared = state.workloads.get(life.workload_id)
    made_from = declared.workload if declared is not None else None
    if made_from is None or not made_from.is_machine or made_from.volumes:
        return False
    return state.network.backbone is None or not is_carried(made_from)


def slot_of(state: State, drain: Drain) -> list[Incarnation]:
    """The living incarnations of a drained instance's slot."""
    found = (p.incarnation for p in state.incarnations_of(drain.workload_id).values())
    return sorted((i for i in found if i.name == drain.instance), key=lambda i: i.life)


def eases_of(state: State, now: float) -> frozenset[str]:
    """For whom a successor is to be placed now: of each workload in each PoP one at a time, and the next when that one
    is ready and the one before it has gone. They are on hosts that a drain empties, or serve on one that was given up.
    Those that are to have traffic come first: one that is off or is mended may stay, and holds up no other.
    """
    found: set[str] = set()
    hosts = {host for d in state.active_drains() if (host := emptied_by(d)) is not None}
    stranded = [p.incarnation for host in hosts for p in state.incarnations_on(host).values()]
    serving = serving_on(state, state.evicted, now)
    stranded += [state.incarnations[uid].incarnation for uid in sorted(serving) if uid in state.incarnations]
    single = {d.uid for d in state.active_drains() if d.stage is DrainStage.REPLACING}
    stranded += [state.incarnations[uid].incarnation for uid in single if uid in state.incarnations]
    where: dict[tuple[WorkloadId, CityCode], list[Incarnation]] = defaultdict(list)
    for life in stranded:
        where[life.workload_id, life.pop].append(life)
    for (workload, pop), lives in where.items():
        here = [p.incarnation for p in state.incarnations_of(workload).values() if p.incarnation.pop == pop]
        slots: dict[InstanceName, int] = defaultdict(int)
        for life in here:
            slots[life.name] += 1
        if all(count == 1 for count in slots.values()):
            found.add(min(lives, key=lambda i: (not i.serves, i.name, i.life)).uid)
    return frozenset(found)


def arrived_of(state: State, now: float) -> frozenset[str]:
    """Who is healthy now in place of one that is on a host which was given up; and of two of which the newer is to take
    the root disk of the older, who surely has it: the newer one whose host tells so, or the older one that runs.
    """
    lives = [p.incarnation for host in state.evicted for p in state.incarnations_on(host).values()]
    found: set[str] = set()
    for workload, slots in {i.workload_id: {j.slot for j in lives} for i in lives}.items():
        here = [p.incarnation for p in state.incarnations_of(workload).values()]
        others = [i for i in here if i.slot in slots and i.host not in state.evicted]
        for host in {i.host for i in others}:
            found |= _healthy_on(state, host, now) & {i.uid for i in others}
    for placed in state.incarnations_off().values():
        new = placed.incarnation
        pair = resting([i for i in _lives(state, new.workload_id) if i.slot == new.slot])
        if pair is not None and pair[1] == new:
            found |= {i.uid for i in pair if _has_disk(state, i, now)}
            found |= {new.uid} if _has_none(state, pair[0], now) else set()
    return frozenset(found)


def _lives(state: State, workload: WorkloadId) -> list[Incarnation]:
    return [placed.incarnation for placed in state.incarnations_of(workload).values()]


def _told_of(state: State, life: Incarnation, now: float) -> InstanceReport | None:
    received = state.reports.get(life.host)
    if received is None or not is_fresh(received, now):
        return None
    return next((i for i in received.report.instances if i.uid == life.uid), None)


def _has_none(state: State, life: Incarnation, now: float) -> bool:
    """It was never made where it is off: nothing of it can be carried."""
    told = _told_of(state, life, now)
    return told is not None and (told.reason, told.template) == (Reason.POWERED_OFF, "")


def _has_disk(state: State, life: Incarnation, now: float) -> bool:
    told = _told_of(state, life, now)
    if told is None:
        return False
    if life.serves:
        return told.healthy
    # one that is off has a template only where something of it was made, and what has not come whole moves
    return life.power is Power.OFF and told.reason is Reason.POWERED_OFF and told.template == life.template


def ready_of(state: State, drain: Drain, now: float) -> frozenset[str]:
    """The uids of successors that are healthy, as their hosts say now or once said."""
    if drain.kind is DrainKind.INSTANCE:
        names = {(drain.workload_id, drain.instance)}
    elif drain.kind is DrainKind.HOST:
        names = {p.incarnation.slot for p in state.incarnations_on(drain.host).values()}
    else:
        return frozenset()
    lives = [p.incarnation for w in {w for w, _ in names} for p in state.incarnations_of(w).values()]
    mine = [i for i in lives if i.slot in names and i.uid != drain.uid and i.host != emptied_by(drain)]
    known = {i.uid for i in mine}
    healthy: set[str] = set()
    for host in {i.host for i in mine}:
        healthy |= _healthy_on(state, host, now)
    return frozenset((drain.ready & known) | (healthy & known))


def _healthy_on(state: State, host: HostName, now: float) -> set[str]:
    received = state.reports.get(host)
    if received is None or not is_fresh(received, now):
        return set()
    return {i.uid for i in received.report.instances if i.healthy}


def drains_over(state: State, pop: CityCode, host: HostName) -> list[Drain]:
    """The drains that concern a host as a whole."""
    return [d for d in state.drains_at(pop) if concerns(d, pop, host, "")]


def is_drained(drains: Sequence[Drain]) -> bool:
    """Whether all traffic is taken away there: nothing is held back by a floor, and nothing is on its way."""
    return any(d.stage in (DrainStage.EMPTYING, DrainStage.DRAINED) and not d.held for d in drains)


def drain_words(drains: Sequence[Drain]) -> str:
    """`LHR drained`, `LHR/level3 decaying: 12 of 480 packets/s still arrive`."""
    return "; ".join(f"{d.target} {d.stage.value}" + (f": {d.message}" if d.message else "") for d in drains)
