"""Drains: which stage follows, and what may be withdrawn, given what is exported, announced elsewhere, and the time.

In: a drain as it is stored, and what was found out about it (`Found`). Out: the drain as it stands after that. The
planner then tells what `easing` makes of it. Nothing here starts, stops or announces anything, and every step can be
taken again from what is stored. Pure.

Two things are never traded for each other: a stage is through only when what it asks is really exported; and what
nobody else announces in health is not withdrawn, whatever the deadline says.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from anypop.model.announce import Prefix
from anypop.model.drain import (
    COMING_BACK,
    Drain,
    DrainKind,
    DrainStage,
    Held,
    Landings,
    Level,
    StageResult,
    Traffic,
)
from anypop.model.names import CityCode, HostName
from anypop.model.plan import floor_of
from anypop.model.reasons import Reason

# After a start of control what hosts said before counts as old until each has reported again (heartbeats are 5 s
# apart): nothing is taken for dead in that time.
START_S = 20.0
# Below so many packets in a second nobody's traffic is left: what remains are scans, which every address gets.
QUIET_PACKETS = 2.0
# Or where so little is left of what there was: resolvers and long routes hold on to some for hours.
QUIET_SHARE = 0.02
# A stage that has just begun is looked at again after this time: by then its orders are out.
LOOK_S = 0.2
# A stuck route is looked for so long after the withdrawal: BGP's own path hunting takes a minute or two.
STUCK_S = 180.0

# How much arrives before anything changes is waited for so long; a host that counts nothing delays no drain.
COUNT_S = 5.0

_NEXT = {
    DrainStage.COUNTING: (DrainStage.LOWERING, Reason.LOWERED),
    DrainStage.LOWERING: (DrainStage.DECAYING, Reason.DECAYING),
    DrainStage.DECAYING: (DrainStage.WITHDRAWING, Reason.NOT_EXPORTED),
    DrainStage.WITHDRAWING: (DrainStage.EMPTYING, Reason.EMPTYING),
    DrainStage.EMPTYING: (DrainStage.DRAINED, Reason.DRAINED),
    DrainStage.REPLACING: (DrainStage.OVER, Reason.DRAINED),
    DrainStage.RETURNING: (DrainStage.RAISING, Reason.RETURNING),
    DrainStage.RAISING: (DrainStage.RESTORING, Reason.RETURNING),
    DrainStage.RESTORING: (DrainStage.OVER, Reason.UNDRAINED),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One host's session by which a prefix goes out, in health, as its host reports."""

    pop: CityCode
    host: HostName
    upstream: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A prefix on the whole platform. `told`: the PoPs that would announce it if nothing were drained; `ways`: by
    which it really goes out now, in health, and by nobody's doing is about to stop.
    """

    told: frozenset[CityCode]
    ways: frozenset[Way]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What was found out about one drain. `missing`: what its hosts do not do as asked yet, in words; `unwell`: what
    must be well before more traffic comes back. `left`: instances that are to live elsewhere still, in words; `gone`:
    the incarnation that was drained is there no more. `empty`: nothing is told where it stands.
    """

    missing: Sequence[str] = ()
    unwell: Sequence[str] = ()
    left: Sequence[str] = ()
    gone: bool = False
    empty: bool = False


def concerns(drain: Drain, pop: CityCode, host: HostName, upstream: str) -> bool:
    """Whether a way is one of those that it takes."""
    match drain.kind:
        case DrainKind.POP:
            return drain.pop == pop
        case DrainKind.HOST:
            return drain.host == host
        case DrainKind.UPSTREAM:
            return drain.pop == pop and drain.upstream == upstream
        case DrainKind.INSTANCE:
            return False


def level_at(drain: Drain, prefix: Prefix) -> Level:
    """How much less of a prefix is told where the drain stands."""
    level = drain.stage.level
    if level is Level.WITHHELD and any(held.prefix == prefix for held in drain.held):
        return Level.LOWERED
    return level


def emptied_by(drain: Drain) -> HostName | None:
    """The host whose instances are to live elsewhere, and where none is placed anew."""
    return drain.host if drain.kind is DrainKind.HOST and drain.stage.leaves else None


def supports(drains: Collection[Drain], pop: CityCode, host: HostName, upstreams: Collection[str]) -> bool:
    """Whether others may count on an instance there: not while its PoP or its host is being drained, or all of the
    PoP's `upstreams`, however far that has come.
    """
    leaving = [d for d in drains if d.stage.leaves]
    return not any(concerns(d, pop, host, "") for d in leaving) and not (
        leaving and all(any(concerns(d, pop, host, name) for d in leaving) for name in upstreams)
    )


def advance(drain: Drain, found: Found, now: float) -> Drain:
    """The drain's next state, one stage at most. What may be withdrawn is `settle`'s to say, for all drains at once."""
    if drain.until is not None and now >= drain.until and drain.stage.leaves:
        return returned(drain, now)
    late = now >= _deadline(drain)
    if drain.stage in (DrainStage.OVER, DrainStage.DRAINED):
        return drain
    if drain.stage is DrainStage.REPLACING:
        if found.gone:
            return _onward(drain, "", now)
        if late:
            over = replace(drain, results=(*drain.results, _result(drain, "; ".join(found.left), now)))
            message = "; ".join(found.left)
            return replace(
                over, stage=DrainStage.OVER, reason=Reason.DEADLINE_PASSED, message=message, stage_at=now, ended_at=now
            )
        return replace(drain, message="; ".join(found.left))
    if drain.stage in COMING_BACK:
        return _back(drain, (*found.missing, *found.unwell), late, now)
    differs = _waits_for(drain, found, late, now)
    if differs:
        return replace(drain, reason=_why(drain), message="; ".join(differs), well_since=None)
    unmet = (*found.missing, *found.left) if late else ()
    return _onward(drain, "; ".join(unmet), now)


def _waits_for(drain: Drain, found: Found, late: bool, now: float) -> Sequence[str]:
    """What keeps a stage of leaving from being through. Its deadline ends every wait but those for the withdrawal
    itself: that nothing is exported any more, and for those prefixes that nobody else announces.
    """
    match drain.stage:
        case DrainStage.COUNTING:
            counted = found.empty or drain.traffic is not None or drain.stage_at + COUNT_S <= now
            return () if late or counted else ("its traffic is not measured yet",)
        case DrainStage.LOWERING:
            return () if late else found.missing
        case DrainStage.DECAYING:
            return () if late or found.empty or _is_quiet(drain) else (_traffic(drain),)
        case DrainStage.WITHDRAWING:
            if drain.kind is DrainKind.HOST and not found.missing:
                return ()  # its instances may go elsewhere meanwhile, and that is what a held prefix waits for
            return (*found.missing, *(f"{h.prefix}: {h.reason.says}" for h in drain.held))
        case _:
            held = tuple(f"{h.prefix}: {h.reason.says}" for h in drain.held)
            quiet = () if held or found.empty or _is_quiet(drain) else (_traffic(drain),)
            return (*found.missing, *held, *(() if late else (*found.left, *quiet)))


def _why(drain: Drain) -> Reason:
    if drain.held and drain.stage in (DrainStage.WITHDRAWING, DrainStage.EMPTYING):
        return drain.held[0].reason
    return {
        DrainStage.COUNTING: Reason.COUNTING,
        DrainStage.LOWERING: Reason.NOT_EXPORTED,
        DrainStage.DECAYING: Reason.DECAYING,
        DrainStage.WITHDRAWING: Reason.NOT_EXPORTED,
    }.get(drain.stage, Reason.EMPTYING)


def _back(drain: Drain, differs: Sequence[str], late: bool, now: float) -> Drain:
    """A stage of the return is through once all is as asked for the calm time, or its deadline has passed: a tenant
    whose instances are ill must not keep the others' traffic away.
    """
    if differs and not late:
        return replace(drain, reason=Reason.RETURNING, message="; ".join(differs), well_since=None)
    since = drain.well_since if drain.well_since is not None else now
    if not late and now < since + drain.calm_s:
        return replace(drain, reason=Reason.RETURNING, message="", well_since=since)
    return _onward(drain, "; ".join(differs), now)


def _onward(drain: Drain, differs: str, now: float) -> Drain:
    stage, reason = _NEXT[drain.stage]
    moved = replace(drain, results=(*drain.results, _result(drain, differs, now)))
    moved = replace(moved, stage=stage, reason=reason, message="", stage_at=now, well_since=None)
    if stage is DrainStage.WITHDRAWING:
        return replace(moved, withdrawn=frozenset(), held=())
    return replace(moved, ended_at=now) if stage is DrainStage.OVER else moved


def _result(drain: Drain, differs: str, now: float) -> StageResult:
    return StageResult(stage=drain.stage, seconds=max(now - drain.stage_at, 0.0), differs=differs)


def returned(drain: Drain, now: float) -> Drain:
    """The drain on its way back, whatever state it is in. One that withheld nothing yet, or changed nothing, need not
    begin at the lowest preference.
    """
    if not drain.stage.leaves:
        return drain
    moved = replace(drain, results=(*drain.results, _result(drain, "", now)), until=None)
    if drain.kind is DrainKind.INSTANCE:
        return replace(moved, stage=DrainStage.OVER, reason=Reason.UNDRAINED, message="", stage_at=now, ended_at=now)
    stage = {Level.WITHHELD: DrainStage.RETURNING, Level.LOWERED: DrainStage.RAISING}.get(
        drain.stage.level, DrainStage.RESTORING
    )
    return replace(
        moved, stage=stage, reason=Reason.RETURNING, message="", began_at=now, stage_at=now, well_since=None,
        withdrawn=frozenset(), held=(), stuck=(),
    )  # fmt: skip


def again(drain: Drain, *, until: float | None, deadline_s: float, calm_s: float, now: float) -> Drain:
    """A drain that stands, asked for once more: on its way back it turns round; the new times count."""
    drain = replace(drain, until=until, deadline_s=deadline_s, calm_s=calm_s)
    if drain.stage.leaves:
        return drain
    results = (*drain.results, _result(drain, "", now))
    return replace(
        drain, stage=DrainStage.LOWERING, reason=Reason.LOWERED, message="", began_at=now, stage_at=now,
        well_since=None, results=results, traffic=None, counts=(), withdrawn=frozenset(), held=(),
    )  # fmt: skip


def settle(
    drains: Sequence[Drain], here: Mapping[str, frozenset[Prefix]], standing: Mapping[Prefix, Standing], *, calm: bool
) -> list[Drain]:
    """Which prefixes may be withdrawn where, for all drains at once, the older first. `here`: by drain, what is told
    where it stands. `calm` False: control has just begun and nobody is taken for dead.

    Let go is what enough other PoPs announce in health (`floor_of`), or this PoP by another way. What was let go and
    has nobody left comes back, at the lowest preference. What has never been anywhere else (a new workload's) waits.
    """
    found = list(drains)
    gone = {(d.id, p) for d in found if d.stage.level is Level.WITHHELD for p in d.withdrawn}
    for index, drain in enumerate(found):
        if drain.stage.level is not Level.WITHHELD:
            continue
        withdrawn, held = set(drain.withdrawn & here[drain.id]), {h.prefix: h for h in drain.held}
        first = not drain.withdrawn and not drain.held and drain.stage is DrainStage.WITHDRAWING
        for prefix in sorted(here[drain.id], key=lambda p: (p.version, p)):
            mine = standing[prefix]
            ways = frozenset(
                w
                for w in mine.ways
                if not any(p == prefix and concerns(_by_id(found, d), w.pop, w.host, w.upstream) for d, p in gone)
            )
            left = frozenset(w for w in ways if not concerns(drain, w.pop, w.host, w.upstream))
            pops = frozenset(w.pop for w in left)
            floor = floor_of(len(mine.told))
            if prefix in withdrawn:
                if not pops and calm:
                    withdrawn.discard(prefix)
                    held[prefix] = Held(prefix=prefix, reason=Reason.LAST_ANNOUNCER, left=0, floor=floor)
                continue
            if drain.pop in pops or len(pops) >= floor:
                held.pop(prefix, None)
                withdrawn.add(prefix)
                gone.add((drain.id, prefix))
            elif prefix in held or first:
                reason = Reason.FLOOR_HOLDS if pops else Reason.LAST_ANNOUNCER
                held[prefix] = Held(prefix=prefix, reason=reason, left=len(pops), floor=floor)
        kept = tuple(held[p] for p in sorted(held, key=lambda p: (p.version, p)) if p in here[drain.id])
        found[index] = replace(drain, withdrawn=frozenset(withdrawn), held=kept)
    return found


def _by_id(drains: Sequence[Drain], identity: str) -> Drain:
    return next(d for d in drains if d.id == identity)


def _deadline(drain: Drain) -> float:
    return (drain.stage_at if drain.stage in COMING_BACK else drain.began_at) + drain.deadline_s


def _is_quiet(drain: Drain) -> bool:
    """Whether the traffic has gone, by a measure of this stage. Without any measure nobody knows."""
    told = drain.traffic
    if told is None or told.at < drain.stage_at:
        return False
    return told.packets <= max(QUIET_PACKETS, told.first_packets * QUIET_SHARE)


def _traffic(drain: Drain) -> str:
    told = drain.traffic
    if told is None:
        return "its traffic is not measured yet"
    share = f" of {told.first_packets:.0f}" if told.first_packets else ""
    return f"{told.packets:.0f}{share} packets/s still arrive"


def measured(before: Traffic | None, packets: float, octets: float, at: float) -> Traffic:
    """The traffic after one more measure, in packets and bytes a second."""
    return Traffic(
        first_packets=max(packets, before.first_packets if before is not None else 0.0),
        first_octets=max(octets, before.first_octets if before is not None else 0.0),
        packets=packets,
        octets=octets,
        at=at,
    )


def moments(drain: Drain) -> list[float]:
    """When an active drain may say something else although nothing happens."""
    found = [drain.stage_at + LOOK_S]
    if drain.stage is DrainStage.COUNTING:
        found.append(drain.stage_at + COUNT_S)
    if drain.until is not None and drain.stage.leaves:
        found.append(drain.until)
    if drain.stage is not DrainStage.DRAINED:
        found.append(_deadline(drain))
    if drain.well_since is not None:
        found.append(drain.well_since + drain.calm_s)
    return found


def wants_look(drain: Drain, now: float) -> bool:
    """Whether vantages are to be looked at for it: once after the withdrawal, and again while a route is stuck."""
    if drain.stage not in (DrainStage.EMPTYING, DrainStage.DRAINED) or not drain.baseline:
        return False
    if drain.seen_at is None or drain.seen_at < drain.began_at:
        return True
    return bool(drain.stuck) and now < drain.stage_at + STUCK_S


def looked(drain: Drain, seen: Sequence[Landings], began_at: float) -> Drain:
    """The drain after a look that began then. Stuck is who still lands in a PoP that has withdrawn the prefix."""
    stuck = tuple(
        f"{look.vantage} ({landings.prefix})"
        for landings in seen
        for look in landings.looks
        if drain.kind is DrainKind.POP and look.pop == drain.pop and landings.prefix in drain.withdrawn
    )
    return replace(drain, seen=tuple(seen), seen_at=began_at, stuck=stuck)
