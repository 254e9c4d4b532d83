"""What was stored lies in the past: the state that a start reads back, with no moment of it later than now.

In: the stored state and the time at which control starts. Out: the same state, where the machine's clock was set back
meanwhile with every moment of the future moved to now. Otherwise a report from "an hour ahead" would be believed for
that hour, a place would rest and a deadline wait as long. Pure; within one life of control its clock never jumps.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from anypop.control.decide import ANYCAST_REST_S
from anypop.control.state import State
from anypop.judge.judged import Memory
from anypop.model.drain import Drain
from anypop.model.rollout import Rollout
from anypop.model.scaling import Scaled
from anypop.model.table import with_entries

K = TypeVar("K")
V = TypeVar("V")


def in_the_past(state: State, now: float) -> State:
    """The state as control may go on from it at `now`. The very same one where no clock was set back."""
    latest = now + ANYCAST_REST_S  # nothing rests for longer
    return replace(
        state,
        reports=_with(state.reports, {h: replace(r, at=now) for h, r in state.reports.items() if r.at > now}),
        rests=_with(state.rests, {what: latest for what, until in state.rests.items() if until > latest}),
        evicted=_with(state.evicted, {host: now for host, at in state.evicted.items() if at > now}),
        rollouts=_with(
            state.rollouts, {k: moved for k, r in state.rollouts.items() if (moved := _rollout(r, now)) is not r}
        ),
        drains=_with(state.drains, {k: _drain(d, now) for k, d in state.drains.items()}),
        scaled=_with(
            state.scaled, {k: _scaled(s, now) for k, s in state.scaled.items() if s.acted_at > now or s.since > now}
        ),
        allocations=_with(
            state.allocations,
            {k: replace(a, idle_since=now) for k, a in state.allocations.items() if (a.idle_since or 0.0) > now},
        ),
        claims=_with(
            state.claims,
            {k: replace(c, idle_since=now) for k, c in state.claims.items() if (c.idle_since or 0.0) > now},
        ),
        history=_memory(state.history, now),
    )


def _scaled(one: Scaled, now: float) -> Scaled:
    return replace(one, acted_at=min(one.acted_at, now), since=min(one.since, now))


def _drain(one: Drain, now: float) -> Drain:
    """When it is to come back by itself stays as a person said it."""
    return replace(
        one,
        created_at=min(one.created_at, now),
        began_at=min(one.began_at, now),
        stage_at=min(one.stage_at, now),
        well_since=None if one.well_since is None else min(one.well_since, now),
        ended_at=None if one.ended_at is None else min(one.ended_at, now),
        seen_at=None if one.seen_at is None else min(one.seen_at, now),
        traffic=None if one.traffic is None else replace(one.traffic, at=min(one.traffic.at, now)),
    )


def _with(entries: Mapping[K, V], changed: Mapping[K, V]) -> Mapping[K, V]:
    return with_entries(entries, changed) if changed else entries


def _rollout(one: Rollout, now: float) -> Rollout:
    times = (one.created_at, one.wave_at, one.well_since, one.ended_at, one.seen_at)
    marks = (*one.watched, *one.failing)
    if all(at is None or at <= now for at in times) and all(at <= now for _, at in marks):
        return one
    return replace(
        one,
        created_at=min(one.created_at, now),
        wave_at=min(one.wave_at, now),
        well_since=None if one.well_since is None else min(one.well_since, now),
        ended_at=None if one.ended_at is None else min(one.ended_at, now),
        seen_at=None if one.seen_at is None else min(one.seen_at, now),
        watched=tuple((uid, min(at, now)) for uid, at in one.watched),
        failing=tuple((uid, min(at, now)) for uid, at in one.failing),
        patient_until=min(one.patient_until, now),
    )


def _memory(memory: Memory, now: float) -> Memory:
    prefixes = {
        prefix: replace(m, bad=tuple(replace(b, since=min(b.since, now)) for b in m.bad))
        for prefix, m in memory.prefixes.items()
        if any(b.since > now for b in m.bad)
    }
    workloads = {
        w: replace(
            m,
            nowhere=None if m.nowhere is None else min(m.nowhere, now),
            mute=tuple((version, min(at, now)) for version, at in m.mute),
        )
        for w, m in memory.workloads.items()
        if (m.nowhere is not None and m.nowhere > now) or any(at > now for _, at in m.mute)
    }
    if not prefixes and not workloads:
        return memory
    return Memory(prefixes=memory.prefixes.put(prefixes), workloads=memory.workloads.put(workloads))
