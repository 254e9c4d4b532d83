"""The judge: what we make of all reports at one moment.

In: the plan, the last report of each PoP with the time it arrived, the time now, and the memory of earlier judgements. Out: a verdict
(what every face shows, with the grants that go into orders) and the new memory. Pure; it must not trust a report older than 15 s.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace

from anypop.judge.governor import Cause, Standing, floor_of, govern
from anypop.judge.memory import History, Leave, Where, still_out, turned
from anypop.model.announce import Mode, Prefix
from anypop.model.names import CityCode, WorkloadId
from anypop.model.order import Grant
from anypop.model.plan import Plan, PopVerdict, PrefixVerdict, Verdict
from anypop.model.reasons import Reason
from anypop.model.report import PrefixReport, Report

__all__ = ["FRESH_S", "History", "Received", "is_fresh", "judge"]

FRESH_S = 15.0  # three heartbeats of 5 s: one may be lost and one late
WINDOW_S = 60.0  # failures of one cause come close together; what is minutes apart has causes of its own
START_GRACE_S = 30.0  # a newcomer in a shared prefix gets this long to start before its silence counts against the others

_ALARMS = (Reason.LAST_ANNOUNCER, Reason.SUSPECT_MONITOR, Reason.FLOOR_HOLDS, Reason.NOWHERE_BETTER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A report and when it arrived, in seconds of control's own clock (the same clock as `now`)."""

    report: Report
    at: float


def is_fresh(received: Received | None, now: float) -> bool:
    """Whether a report may be believed."""
    return received is not None and now - received.at <= FRESH_S


def judge(
    plan: Plan,
    reports: Mapping[CityCode, Received],
    *,
    now: float,
    history: History,
    generations: Mapping[CityCode, int],
) -> tuple[Verdict, History]:
    """The verdict and the memory for the next one. `generations`: of the newest order made for each PoP, sent or not."""
    fresh = {pop: r.report for pop in plan.pops if (r := reports.get(pop)) is not None and is_fresh(r, now)}
    seen = _Seen(plan, fresh)
    good = frozenset(w for w in seen.announcing if not seen.prefixes[w].wants_withdraw)
    bad = turned(history, good=good, entitled=seen.gates, now=now)
    served = _served(plan, history, seen)
    nowhere = _nowhere(plan, history, seen, now)
    leaves = still_out(
        tuple(leave for leave in history.leaves if leave.pop in plan.pops),
        recovered=lambda where: where in good or where not in seen.entitled,
        obeyed={pop: report.generation for pop, report in fresh.items()},
        generations=generations,
    )
    grants: dict[CityCode, list[Grant]] = {pop: [] for pop in plan.pops}
    prefixes = []
    entitled, announcing, wanting = _by_prefix(seen.entitled), _by_prefix(seen.announcing), _by_prefix(seen.wanting)
    since_when: dict[Prefix, dict[CityCode, float]] = defaultdict(dict)
    for b in bad:
        since_when[b.prefix][b.pop] = b.since
    for prefix in sorted(entitled, key=lambda p: (p.version, p)):
        since = since_when[prefix]
        leaving = frozenset(leave.pop for leave in leaves if leave.prefix == prefix)
        others = frozenset(announcing[prefix] - leaving)
        causes = {
            pop: _cause(seen, (pop, prefix), others - {pop}, served=served, waiting_s=now - since.get(pop, now))
            for pop in sorted(wanting[prefix], key=lambda p: (since.get(p, now), p))
        }
        standing = Standing(
            prefix=prefix,
            entitled=frozenset(entitled[prefix]),
            announcing=frozenset(announcing[prefix]),
            leaving=leaving,
            turned_bad=sum(now - at <= WINDOW_S and causes.get(pop) is not Cause.STARTING for pop, at in since.items()),
            requests=tuple(causes.items()),
        )
        answers = govern(standing)
        leaves = _with_given(leaves, prefix, answers)
        for pop in sorted(standing.entitled):
            if any(leave.pop == pop and leave.prefix == prefix and leave.revoked_after is None for leave in leaves):
                grants[pop].append(Grant(prefix=prefix, allowed=True, reason=Reason.GRANTED))
            elif pop in answers and causes[pop] is not Cause.STARTING:  # silence holds as well, and costs no PoP an order for each start
                grants[pop].append(answers[pop])
        lost = not standing.announcing and bool(since)
        prefixes.append(
            PrefixVerdict(
                prefix=prefix,
                announcing=tuple(sorted(standing.announcing)),
                entitled=tuple(sorted(standing.entitled)),
                floor=floor_of(len(standing.entitled)),
                alarm=_alarm(answers, lost=lost),
            )
        )
    verdict = Verdict(
        pops={pop: _of_pop(plan, pop, reports.get(pop), pop in fresh, tuple(grants[pop])) for pop in plan.pops},
        prefixes=tuple(prefixes),
        idle=frozenset(workload for workload, since in nowhere if now - since > START_GRACE_S),
    )
    memory = History(
        leaves=leaves,
        good=tuple(w for w in seen.gates if w in good),
        bad=bad,
        served=tuple(sorted(served)),
        nowhere=nowhere,
    )
    return verdict, memory


class _Seen:
    """What fresh reports say of the plan's anycast prefixes (those with gates: a PoP's own external prefixes ask nobody)."""

    def __init__(self, plan: Plan, fresh: Mapping[CityCode, Report]) -> None:
        self.gates: dict[Where, frozenset[WorkloadId]] = {}
        owners = {a.address4: a.workload_id for a in plan.anycast} | {a.address6: a.workload_id for a in plan.anycast}
        for pop, part in plan.pops.items():
            for told in part.announcements:
                if told.gates and told.scope.mode is Mode.ANNOUNCE and (pop, told.prefix) not in self.gates:
                    self.gates[pop, told.prefix] = frozenset(owners[g] for g in told.gates if g in owners)
        self.entitled: frozenset[Where] = frozenset(self.gates)
        self.prefixes: dict[Where, PrefixReport] = {
            (pop, p.prefix): p for pop, report in fresh.items() for p in report.prefixes if (pop, p.prefix) in self.entitled
        }
        self.announcing: frozenset[Where] = frozenset(w for w, p in self.prefixes.items() if _is_heard(p, fresh[w[0]]))
        self.wanting: frozenset[Where] = frozenset(w for w, p in self.prefixes.items() if p.wants_withdraw)
        workload_of = {s.uid: s.workload_id for s in plan.slots}
        self.healthy: dict[CityCode, frozenset[WorkloadId]] = {
            pop: frozenset(workload_of[i.uid] for i in report.instances if i.healthy and i.uid in workload_of)
            for pop, report in fresh.items()
        }


def _is_heard(prefix: PrefixReport, report: Report) -> bool:
    """Whether some neighbour surely has the prefix: it is exported to one whose session stands."""
    family = prefix.prefix.version
    up = {s.upstream for s in report.sessions if s.family == family and s.state == "established"}
    return prefix.announced and not up.isdisjoint(prefix.upstreams)


def _cause(
    seen: _Seen, where: Where, others: frozenset[CityCode], *, served: frozenset[tuple[CityCode, WorkloadId]], waiting_s: float
) -> Cause:
    """What stands behind a request. A prefix may leave for the sake of one of its addresses only where that one is better off elsewhere:
    in `others`, who announce and stay.
    """
    pop, _ = where
    failing = seen.gates[where] - seen.healthy.get(pop, frozenset())
    if not failing:
        return Cause.BROKEN  # the instances are well, so the way to them is not: the PoP knows best
    if waiting_s <= START_GRACE_S:
        failing = frozenset(w for w in failing if (pop, w) in served)
    if not failing:
        return Cause.STARTING
    elsewhere = {w for p in others for w in seen.healthy.get(p, frozenset())}
    return Cause.BROKEN if failing & elsewhere else Cause.NOWHERE_BETTER


def _served(plan: Plan, history: History, seen: _Seen) -> frozenset[tuple[CityCode, WorkloadId]]:
    """Which workload has been healthy in which PoP, forgotten with its last slot there."""
    known = {(s.pop, s.workload_id) for s in plan.slots}
    return frozenset(known & ({*history.served} | {(pop, w) for pop, ws in seen.healthy.items() for w in ws}))


def _nowhere(plan: Plan, history: History, seen: _Seen, now: float) -> tuple[tuple[WorkloadId, float], ...]:
    """Which workload works in none of its PoPs, and since when. Begun only when each of them says so: silence proves nothing."""
    homes: dict[WorkloadId, set[CityCode]] = defaultdict(set)
    for slot in plan.slots:
        homes[slot.workload_id].add(slot.pop)
    known = dict(history.nowhere)
    return tuple(
        (workload, known.get(workload, now))
        for workload, pops in sorted(homes.items())
        if not any(workload in seen.healthy.get(pop, ()) for pop in pops) and (workload in known or pops <= seen.healthy.keys())
    )


def _with_given(leaves: tuple[Leave, ...], prefix: Prefix, answers: Mapping[CityCode, Grant]) -> tuple[Leave, ...]:
    """The leaves that are out after these answers; one that was being revoked stands again when its PoP asks anew."""
    given = {pop for pop, grant in answers.items() if grant.allowed}
    again = tuple(replace(v, revoked_after=None) if v.prefix == prefix and v.pop in given else v for v in leaves)
    new = given - {v.pop for v in leaves if v.prefix == prefix}
    return again + tuple(Leave(pop=pop, prefix=prefix) for pop in sorted(new))


def _alarm(answers: Mapping[CityCode, Grant], *, lost: bool) -> Reason | None:
    """The gravest thing to tell a person about a prefix. `lost`: nobody announces it and somebody did."""
    reasons = {answer.reason for answer in answers.values()}
    found = next((alarm for alarm in _ALARMS if alarm in reasons), None)
    return found or (Reason.NO_HEALTHY_INSTANCE if lost else None)


def _of_pop(plan: Plan, pop: CityCode, received: Received | None, trusted: bool, grants: tuple[Grant, ...]) -> PopVerdict:
    return PopVerdict(pop=pop, trusted=trusted, reason=_why(plan, pop, received, trusted), grants=grants)


def _why(plan: Plan, pop: CityCode, received: Received | None, trusted: bool) -> Reason:
    """The first thing that is wrong with a PoP, or RUNNING."""
    if received is None:
        return Reason.NO_REPORT
    if not trusted:
        return Reason.REPORT_STALE
    report = received.report
    if report.refused is not None:
        return report.refused
    if report.sessions and not any(s.state == "established" for s in report.sessions):
        return Reason.SESSION_DOWN
    if report.drift or report.orphans:
        return Reason.DRIFTED
    wanted = {i.uid for i in plan.pops[pop].instances}
    if wanted and not any(i.healthy for i in report.instances if i.uid in wanted):
        return Reason.NO_HEALTHY_INSTANCE
    return Reason.RUNNING


def _by_prefix(where: frozenset[Where]) -> Mapping[Prefix, set[CityCode]]:
    found: dict[Prefix, set[CityCode]] = defaultdict(set)
    for pop, prefix in where:
        found[prefix].add(pop)
    return found
