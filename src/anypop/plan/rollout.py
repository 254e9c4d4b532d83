"""Rollouts: what may change now, given the plan, what hosts report, and the time.

In: a rollout as it is stored, the incarnations of its workload with what their hosts say of them, and the time. Out:
the rollout as it stands after that: changed incarnations that have become ready, the wave, and the end, good or bad.
The planner then changes what `changes_at` allows. Pure; it neither starts nor removes anything, and every step can be
taken again from what is stored.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from anypop.model.names import CityCode, InstanceName
from anypop.model.plan import Incarnation, floor_of
from anypop.model.reasons import Reason
from anypop.model.report import InstanceReport, Phase
from anypop.model.rollout import Rollout, RolloutKind, RolloutPhase
from anypop.plan import evidence, scope_waves

OUT_OF_SERVICE = "powered off, or in rescue"
_MADE_BADLY = frozenset({Reason.PULL_FAILED, Reason.CREATE_FAILED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One living incarnation and what its host says of it. `trusted` False: the host is silent, and nothing is
    known. `carries` False: a drain takes its traffic, so nobody may count on it. `has_volume`: its successor has its
    volume, so it has to go first.
    """

    incarnation: Incarnation
    trusted: bool
    report: InstanceReport | None = None
    carries: bool = True
    has_volume: bool = False

    @property
    def is_off(self) -> bool:
        """Its owner has taken it out of service: its health says nothing of what it is made from."""
        return not self.incarnation.serves

    @property
    def healthy(self) -> bool:
        return self.trusted and self.report is not None and self.report.healthy and self.report.phase is Phase.RUNNING

    def families(self, *, answered: bool) -> frozenset[int]:
        """Those in which it answers, or in which it does not."""
        told = self.report.families if self.trusted and self.report is not None else ()
        return frozenset(family.version for family in told if family.healthy is answered)


def waves_of(pops: Mapping[CityCode, int]) -> tuple[tuple[CityCode, ...], ...]:
    """The PoPs in waves: one first, then twice as many each time. `pops`: instances of the workload in each; the
    smallest comes first, since it risks least. Those that have none prove nothing, and come with the last ones.
    """
    order = sorted((city for city, count in pops.items() if count), key=lambda city: (pops[city], city))
    empty = sorted(city for city, count in pops.items() if not count)
    waves: list[tuple[CityCode, ...]] = []
    size = 1
    while order:
        waves.append(tuple(order[:size]))
        order = order[size:]
        size *= 2
    if empty:
        waves = [*waves[:-1], (*(waves[-1] if waves else ()), *empty)]
    return tuple(waves)


def changes_at(rollout: Rollout, city: CityCode) -> bool:
    """Whether instances in `city` may get the new template now."""
    if rollout.kind is not RolloutKind.UPDATE or rollout.phase is not RolloutPhase.RUNNING:
        return False
    return any(city in wave for wave in rollout.waves[: rollout.wave + 1])


def advance(
    rollout: Rollout, template: str, seen: Sequence[Seen], going: Collection[InstanceName], now: float
) -> Rollout:
    """An update's next state. `template`: the one it brings. `seen`: all living incarnations of its workload. `going`:
    slots of which an incarnation is being taken down. A rollout that ends badly is REVERTED with the reason; undoing is
    the caller's. One that has nothing to go back to goes on, and says what is wrong.
    """
    if rollout.phase is not RolloutPhase.RUNNING:
        return rollout
    changed = [s for s in seen if s.incarnation.template == template]
    families = [s.families(answered=True) for s in seen if s.incarnation.template != template]
    rollout = replace(rollout, families=rollout.families.union(*families))
    ready = rollout.ready & {s.incarnation.uid for s in changed if not _is_not_asked(s) and not s.is_off}
    ready |= {s.incarnation.uid for s in changed if s.healthy and not _lost(rollout, s)}
    # one that was there before is asked for its health only where it is to take over from another
    lives = Counter(s.incarnation.name for s in seen)
    judged = [s for s in changed if s.incarnation.uid not in rollout.held or lives[s.incarnation.name] > 1]
    judged = [s for s in judged if not s.is_off]
    waiting = [s for s in judged if s.trusted and s.incarnation.uid not in ready]
    rollout = replace(
        rollout,
        ready=ready,
        watched=_since(rollout.watched, (s.incarnation.uid for s in waiting), now),
        failing=_since(rollout.failing, (s.incarnation.uid for s in waiting if _is_made_badly(s)), now),
    )
    worse = next(_worse(rollout, judged, now), None)
    if worse is not None and rollout.previous:
        return replace(rollout, phase=RolloutPhase.REVERTED, reason=worse[0], message=worse[1], ended_at=now)
    moved = _onward(rollout, template, seen, going, now)
    if worse is not None and moved.phase is RolloutPhase.RUNNING:
        return replace(moved, reason=worse[0], message=worse[1])
    return moved


def _onward(
    rollout: Rollout, template: str, seen: Sequence[Seen], going: Collection[InstanceName], now: float
) -> Rollout:
    pending = _pending(rollout, template, seen, going)
    silent = sorted({s.incarnation.host for s in pending if not s.trusted})
    last = rollout.wave >= len(rollout.waves) - 1
    if any(s.trusted for s in pending) or (last and silent):
        waits = f"waits for {', '.join(silent)}: no report" if silent and not any(s.trusted for s in pending) else ""
        first = _may_stop_first(pending, template, seen) if not going else frozenset()
        price = waits or _out_of_service(pending, template, seen, first, going) or _price(seen)
        return replace(rollout, well_since=None, reason=Reason.ROLLING_OUT, message=price, may_stop_first=first)
    well_since = rollout.well_since if rollout.well_since is not None else now
    rollout = replace(rollout, well_since=well_since, reason=Reason.BAKING, message="", may_stop_first=frozenset())
    if now < well_since + rollout.strategy.bake_s:
        return rollout
    if rollout.baseline:
        looked = rollout.seen_at is not None and rollout.seen_at >= well_since
        worse = evidence.worse(rollout.baseline, rollout.seen) if looked else []
        unknown = not looked or _leaves_open(rollout)
        if unknown and not worse and now < well_since + rollout.strategy.deadline_s:
            return rollout  # they have not looked yet, or not all that could tell: that is neither well nor worse
        if worse and rollout.previous:
            return replace(
                rollout,
                phase=RolloutPhase.REVERTED,
                reason=Reason.VANTAGES_WORSE,
                message="; ".join(worse),
                ended_at=now,
            )
    moved = _next_wave(rollout, now)
    # a wave in which nothing has to change has begun to be well
    return _onward(moved, template, seen, going, now) if moved.phase is RolloutPhase.RUNNING else moved


def _next_wave(rollout: Rollout, now: float) -> Rollout:
    if rollout.wave >= len(rollout.waves) - 1:
        return replace(rollout, phase=RolloutPhase.DONE, reason=Reason.ROLLED_OUT, message="", ended_at=now)
    return replace(rollout, wave=rollout.wave + 1, wave_at=now, well_since=None, reason=Reason.ROLLING_OUT, message="")


def next_due(rollout: Rollout, now: float) -> float | None:
    """The moment at which `advance` may say something else although nothing happens; None: never."""
    if rollout.phase is not RolloutPhase.RUNNING:
        return None
    strategy = rollout.strategy
    moments = [since + strategy.deadline_s for _, since in rollout.watched]
    moments += [since + strategy.failing_s for _, since in rollout.failing]
    if rollout.well_since is not None:
        moments += [rollout.well_since + strategy.bake_s, rollout.well_since + strategy.deadline_s]
    if rollout.kind is RolloutKind.SCOPES:
        moments = scope_waves.moments(rollout)
    return min((moment for moment in moments if moment > now), default=None)


def wants_look(rollout: Rollout) -> bool | None:
    """Whether vantages are to be looked at for it now: True for the look before anything changed, False for a later
    one; None: not now.
    """
    if rollout.kind is RolloutKind.SCOPES:
        return False if scope_waves.wants_look(rollout) else None
    if rollout.phase is not RolloutPhase.RUNNING:
        return None
    if rollout.baseline:
        since, seen_at = rollout.well_since, rollout.seen_at
        unknown = since is not None and (seen_at is None or seen_at < since or _leaves_open(rollout))
        return False if unknown else None
    return True if not rollout.ready and rollout.wave == 0 and rollout.seen_at is None else None


def _leaves_open(rollout: Rollout) -> bool:
    """Whether the last look says neither that the vantages fare well nor that they do not."""
    seen = rollout.baseline, rollout.seen
    return evidence.silent(*seen) or evidence.in_doubt(*seen)


def progress(revision: int, incarnations: Iterable[Incarnation]) -> tuple[int, int]:
    """How many slots of a workload run `revision` alone, and how many slots there are."""
    slots: dict[InstanceName, set[int]] = defaultdict(set)
    for incarnation in incarnations:
        slots[incarnation.name].add(incarnation.revision)
    return sum(revisions == {revision} for revisions in slots.values()), len(slots)


def _since(before: tuple[tuple[str, float], ...], uids: Iterable[str], now: float) -> tuple[tuple[str, float], ...]:
    known = dict(before)
    return tuple(sorted((uid, known.get(uid, now)) for uid in uids))


def _is_made_badly(seen: Seen) -> bool:
    return seen.report is not None and seen.report.phase is Phase.FAILED and seen.report.reason in _MADE_BADLY


def _lost(rollout: Rollout, seen: Seen) -> frozenset[int]:
    """The families in which it does not answer, and those that it replaces do. Its agent sees that too where both stand
    side by side; where the old one has to go first, because of a volume, nobody on that host knows.
    """
    return seen.families(answered=False) & rollout.families


def _is_not_asked(seen: Seen) -> bool:
    """Whether nothing is known of its health: its host's agent was restarted, say. That is neither well nor worse, so
    it has to prove itself again, within the deadline.
    """
    report = seen.report
    if report is None or not seen.trusted or seen.healthy:
        return False
    return report.reason is Reason.PROBE_PENDING or (report.phase is not Phase.RUNNING and _is_restarted(report))


def _is_restarted(report: InstanceReport) -> bool:
    """Whether its last life ended since somebody asked for that: no fault of what it is made from."""
    return any((c.last_reason or c.reason) is Reason.RESTART_ASKED for c in report.every_container)


def _worse(rollout: Rollout, changed: Sequence[Seen], now: float) -> Iterator[tuple[Reason, str]]:
    """What got worse by the change, the worst first."""
    strategy = rollout.strategy
    failing, watched = dict(rollout.failing), dict(rollout.watched)
    for seen in changed:
        uid, name, report = seen.incarnation.uid, seen.incarnation.name, seen.report
        if not seen.trusted:
            continue
        said = f": {report.message}" if report is not None and report.message else ""
        own = uid not in rollout.held
        if (
            own
            and report is not None
            and not _is_restarted(report)
            and (ended := next((c for c in report.every_container if c.restarts or c.phase is Phase.FAILED), None))
        ):
            why = (ended.last_reason or ended.reason).says
            code = ended.last_exit_code if ended.last_exit_code is not None else ended.exit_code
            yield Reason.RESTARTS, f"{name}: {ended.name}: {why}" + (f" (exit code {code})" if code is not None else "")
        elif own and uid in failing and now >= failing[uid] + strategy.failing_s:
            yield Reason.DOES_NOT_START, f"{name}{said}"
        elif (
            own
            and uid in rollout.ready
            and not seen.healthy
            and report is not None
            and not _is_not_asked(seen)
            and report.phase is not Phase.DELETING
        ):
            yield Reason.DOES_NOT_BECOME_HEALTHY, f"{name} was healthy and is no longer: {report.reason.says}"
        elif uid in watched and now >= watched[uid] + strategy.deadline_s:
            why = report.reason.says if report is not None else "its host says nothing of it"
            if seen.healthy and (lost := _lost(rollout, seen)):
                told = " and ".join(f"IPv{version}" for version in sorted(lost))
                why = f"does not answer in {told}, in which those that it replaces do,"
            yield Reason.DOES_NOT_BECOME_HEALTHY, f"{name}: {why} after {strategy.deadline_s:g} s{said}"


def _pending(rollout: Rollout, template: str, seen: Sequence[Seen], going: Collection[InstanceName]) -> list[Seen]:
    """The incarnations in the waves so far whose slot is not through: not the new template alone, or not ready."""
    cities = {city for wave in rollout.waves[: rollout.wave + 1] for city in wave}
    proven = rollout.ready | rollout.held
    slots: dict[InstanceName, list[Seen]] = defaultdict(list)
    for one in seen:
        if one.incarnation.pop in cities:
            slots[one.incarnation.name].append(one)
    return [
        one
        for name, lives in slots.items()
        for one in lives
        if len(lives) > 1
        or name in going
        or one.incarnation.template != template
        or not (one.incarnation.uid in proven or one.is_off)
    ]


def _out_of_service(
    pending: Sequence[Seen],
    template: str,
    seen: Sequence[Seen],
    first: Collection[str],
    going: Collection[InstanceName],
) -> str:
    """Whom it waits for until their owners have them in service again, in words; empty: for nobody so. No deadline
    ends that, since their health says nothing of the change.
    """
    off = sorted({s.incarnation.name for s in seen if s.is_off})
    changed = [s for s in pending if s.incarnation.template == template]
    if names := sorted({s.incarnation.name for s in changed if s.is_off}):
        return f"waits for {', '.join(names)}: {OUT_OF_SERVICE}"
    if off and not (first or going or changed) and any(s.has_volume for s in seen):
        return f"waits until enough others serve, so that one may be stopped: {', '.join(off)}: {OUT_OF_SERVICE}"
    return ""


def _price(seen: Sequence[Seen]) -> str:
    """What it costs that instances have volumes, in words; empty: they have none."""
    if not any(s.has_volume for s in seen):
        return ""
    alone = len({s.incarnation.name for s in seen}) == 1
    return "each is stopped before its successor starts, since both have its volume" + (
        "; it is the only one, so nobody serves meanwhile" if alone else "; others serve meanwhile"
    )


def _may_stop_first(pending: Sequence[Seen], template: str, seen: Sequence[Seen]) -> frozenset[str]:
    """The one incarnation that may go before its successor is there, where a host has no room for two or both would
    have one volume: another instance of its PoP is healthy, or enough other PoPs are. Where the workload has a single
    one, with a volume, there is no other way. Only one at a time: none while another slot has two, or has its new
    one alone and that is not healthy yet.
    """
    names = [s.incarnation.name for s in seen]
    if len(names) != len(set(names)) or any(s.incarnation.template == template for s in pending):
        return frozenset()
    pops = {s.incarnation.pop for s in seen}
    healthy: dict[CityCode, int] = defaultdict(int)
    for one in seen:
        healthy[one.incarnation.pop] += one.healthy and one.carries
    for one in sorted(pending, key=lambda s: s.incarnation.name):
        if not one.trusted:
            continue
        pop = one.incarnation.pop
        left = {city for city, count in healthy.items() if count - (city == pop and one.healthy and one.carries) > 0}
        alone = one.has_volume and len(names) == 1
        if not one.healthy or pop in left or len(left) >= floor_of(len(pops)) or alone:
            return frozenset([one.incarnation.uid])
    return frozenset()
