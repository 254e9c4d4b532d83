"""The book of drains: each one moved on, and what follows from that for what is planned.

In: a draft of control's state that has listened to the reports, and the time. Out: the draft with its drains as they
stand now, which prefixes they let go, and for whom successors are wanted. The decisions are `plan.drain`'s, the facts
`drain_facts`'. Pure.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from anypop.control.drain_facts import (
    Teller,
    arrived_of,
    eases_of,
    found_of,
    ready_of,
    slot_of,
    standing_of,
    tellers_at,
    told_by,
)
from anypop.control.state import State, Tombstone
from anypop.model.announce import AnyCommunity, Prefix
from anypop.model.drain import Count, Drain, DrainKind
from anypop.model.network import Pop
from anypop.model.plan import Incarnation
from anypop.model.reasons import Reason
from anypop.model.table import with_entries, without_keys
from anypop.plan.drain import START_S, advance, emptied_by, measured, moments, settle
from anypop.plan.moves import takes_disk
from anypop.routing.lowering import lowest_first

DRAINS_KEPT = 50  # ended ones, for people who look back
# Two reports closer together than this say little about a rate.
SHORTEST_S = 0.5


def with_drains(draft: State, now: float) -> State:
    """The draft with every drain moved on as far as it goes now; the draft itself where none stands and no host that
    was given up has to be emptied."""
    active = draft.active_drains()
    arrived = arrived_of(draft, now)
    if arrived != draft.arrived:
        draft = replace(draft, arrived=arrived)
    if not active:
        eases = eases_of(draft, now) if draft.evicted else frozenset[str]()
        return replace(draft, eases=eases) if eases != draft.eases else draft
    moved = [_moved(draft, drain, now) for drain in active]
    here = {d.id: _told_at(draft, d, now) for d in moved}
    prefixes = frozenset(p for told in here.values() for p in told)
    calm = now >= draft.started_at + START_S
    settled = settle(moved, here, standing_of(draft, prefixes, now), calm=calm)
    changed = {d.id: d for was, d in zip(active, settled, strict=True) if d != was}
    if changed:
        draft = replace(draft, drains=with_entries(draft.drains, changed))
        for was, now_ in zip(active, settled, strict=True):
            if was.stage.leaves and not now_.stage.leaves:
                draft = without_successors(draft, was, now)
    return swept_of_drains(replace(draft, eases=eases_of(draft, now)))


def _moved(draft: State, drain: Drain, now: float) -> Drain:
    drain = replace(drain, lows=lows_at(draft.pop(drain.pop)) or drain.lows, ready=ready_of(draft, drain, now))
    drain = _counted(drain, draft, now)
    if drain.stage_at >= now:
        return drain  # it has just begun: no host has its order yet
    return advance(drain, found_of(draft, drain, now), now)


def lows_at(pop: Pop | None) -> tuple[tuple[int, tuple[AnyCommunity, ...]], ...]:
    """By which communities the PoP's neighbours prefer a route less."""
    asns = sorted({u.asn for u in pop.upstreams}) if pop is not None else ()
    return tuple((asn, low) for asn in asns if (low := lowest_first(asn)))


def _told_at(draft: State, drain: Drain, now: float) -> frozenset[Prefix]:
    return frozenset(a.prefix for t in tellers_at(draft, drain, now) for a in told_by(draft, drain, t))


def _counted(drain: Drain, draft: State, now: float) -> Drain:
    """With what has arrived since the last measure. The rate of the whole is told once every host has one."""
    if not drain.stage.leaves or drain.kind is DrainKind.INSTANCE:
        return drain
    known: Mapping[str, Count] = {c.host: c for c in drain.counts}
    counts: dict[str, Count] = {}
    news = False
    for teller in tellers_at(draft, drain, now):
        told = told_by(draft, drain, teller)
        if not told or teller.report is None:
            continue
        fresh, was = _arrived(drain, teller, {a.prefix for a in told}), known.get(teller.host.name)
        if fresh is None:
            return drain
        if was is None or fresh.at <= was.at or fresh.packets < was.packets or fresh.octets < was.octets:
            counts[fresh.host] = fresh if was is None or fresh.at > was.at else was
        elif fresh.at < was.at + SHORTEST_S:
            counts[fresh.host] = was
        else:
            seconds = fresh.at - was.at
            rates = (fresh.packets - was.packets) / seconds, (fresh.octets - was.octets) / seconds
            counts[fresh.host], news = replace(fresh, rates=rates), True
    found = tuple(counts[host] for host in sorted(counts))
    if not news or any(c.rates is None for c in found):
        return replace(drain, counts=found)
    packets = sum(c.rates[0] for c in found if c.rates is not None)
    octets = sum(c.rates[1] for c in found if c.rates is not None)
    return replace(drain, counts=found, traffic=measured(drain.traffic, packets, octets, now))


def _arrived(drain: Drain, teller: Teller, prefixes: Collection[Prefix]) -> Count | None:
    """What a host has counted; None where it does not count, or cannot tell it from other traffic (an upstream beyond
    an edge router, or one that shares an interface with another).
    """
    if teller.report is None:
        return None
    mine = [p for p in teller.report.prefixes if p.prefix in prefixes]
    by_upstream = drain.kind is DrainKind.UPSTREAM
    if not mine or any(p.arrived is None for p in mine):
        return None
    if by_upstream and not all(any(a.upstream == drain.upstream for a in p.arrived or ()) for p in mine):
        return None
    found = [a for p in mine for a in p.arrived or () if not by_upstream or a.upstream == drain.upstream]
    return Count(
        host=teller.host.name,
        # the count of before, told once more, is no measure: it would say that nothing arrives
        at=max((a.at for a in found), default=0.0) or teller.report.at,
        packets=sum(a.packets for a in found),
        octets=sum(a.octets for a in found),
    )


def without_successors(draft: State, drain: Drain, now: float) -> State:
    """The draft when a drain turns back: successors that are not ready go again, and whoever was there stays."""
    if drain.kind is DrainKind.INSTANCE:
        slots = [slot_of(draft, drain)]
    elif (host := emptied_by(drain)) is not None:
        lives: dict[object, list[Incarnation]] = {p.incarnation.slot: [] for p in draft.incarnations_on(host).values()}
        for workload in {p.incarnation.workload_id for p in draft.incarnations_on(host).values()}:
            for placed in draft.incarnations_of(workload).values():
                if placed.incarnation.slot in lives:
                    lives[placed.incarnation.slot].append(placed.incarnation)
        slots = list(lives.values())
    else:
        return draft
    going = [i for slot in slots for i in _unready(slot, drain) if len(slot) > 1]
    stones = {
        i.uid: Tombstone(
            incarnation=i, reason=Reason.REVERTED, created_at=draft.incarnations[i.uid].created_at, asked_at=now
        )
        for i in going
    }
    return replace(
        draft,
        incarnations=without_keys(draft.incarnations, stones),
        tombstones=with_entries(draft.tombstones, stones),
    )


def _unready(slot: Iterable[Incarnation], drain: Drain) -> list[Incarnation]:
    """Successors made for a drain that have not become ready: newer than the one drained, from the same template. Not
    one that waits for a disk: it may be the only one that has it.
    """
    lives = sorted(slot, key=lambda i: i.life)
    old = next((i for i in lives if drain.uid == i.uid or (not drain.uid and i.host == drain.host)), None)
    if old is None:
        return []
    newer = [i for i in lives if i.life > old.life and i.template == old.template]
    return [i for i in newer if i.uid not in drain.ready and not takes_disk(old, i)]


def swept_of_drains(draft: State) -> State:
    """Without ended drains that are too old to be asked for."""
    ended = sorted((d for d in draft.drains.values() if not d.active), key=lambda d: (d.ended_at or 0.0, d.id))
    old = [d.id for d in ended[:-DRAINS_KEPT]]
    return replace(draft, drains=without_keys(draft.drains, old)) if old else draft


def next_drain_due(state: State, now: float) -> float | None:
    """The moment at which some drain may say something else although nothing happens; None: never."""
    found = [moment for d in state.active_drains() for moment in moments(d)]
    if state.active_drains():
        found.append(state.started_at + START_S)
    return min((moment for moment in found if moment > now), default=None)
