"""The judge: what we make of all reports at one moment.

In: the plan, the last report of each host with the time it arrived, the time now, and the memory of earlier
judgements. Out: a verdict (what every face shows, with the grants that go into orders) and the new memory. Pure; it
must not trust a report older than 15 s.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from anypop.judge.governor import Cause, Standing, govern
from anypop.judge.memory import History, Leave, Where, still_out, turned
from anypop.model.announce import Address, Mode, Prefix
from anypop.model.names import CityCode, HostName, WorkloadId
from anypop.model.order import Grant
from anypop.model.order_since import unknown_in
from anypop.model.plan import HostPlan, HostVerdict, Plan, PrefixVerdict, Verdict
from anypop.model.reasons import Reason
from anypop.model.report import PrefixReport, Report

__all__ = ["FRESH_S", "History", "Received", "is_fresh", "judge"]

FRESH_S = 15.0  # three heartbeats of 5 s: one may be lost and one late
WINDOW_S = 60.0  # failures of one cause come close together; what is minutes apart has causes of its own
# what has never worked yet gets this long to start before its silence means anything
START_GRACE_S = 30.0
# Sessions in tunnels that are lost for a moment are back within a second or two, and an instance to which others carry
# may fall and rise under what they send: whoever leaves for that takes the prefix of all its neighbours to and fro.
CARRY_PATIENCE_S = 2.0
FAMILIES = (4, 6)

_ALARMS = (Reason.LAST_ANNOUNCER, Reason.SUSPECT_MONITOR, Reason.FLOOR_HOLDS, Reason.NOWHERE_BETTER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A report and when it arrived, in seconds of control's own clock (the same clock as `now`). `body`: the JSON as
    which it came, if that is at hand.
    """

    report: Report
    at: float
    body: bytes = field(default=b"", compare=False, repr=False)


def is_fresh(received: Received | None, now: float) -> bool:
    """Whether a report may be believed."""
    return received is not None and now - received.at <= FRESH_S


def judge(
    plan: Plan,
    reports: Mapping[HostName, Received],
    *,
    now: float,
    history: History,
    generations: Mapping[HostName, int],
) -> tuple[Verdict, History]:
    """The verdict and the memory for the next one. `generations`: of the newest order made for each host, sent or
    not.
    """
    fresh = {host: r.report for host in plan.hosts if (r := reports.get(host)) is not None and is_fresh(r, now)}
    seen = _Seen(plan, fresh)
    good = frozenset(w for w in seen.announcing if not seen.prefixes[w].wants_withdraw)
    bad = turned(history, good=good, entitled=seen.gates, now=now)
    served = _served(plan, history, seen)
    anywhere = {workload for _, workload in served}
    unserved = _unserved(plan, history, seen, served, now)
    nowhere = _nowhere(plan, history, seen, now)
    families = _families(plan, history, seen, now)
    # nobody carries them, also who is not asked for them any more
    lost = {
        version: {w for w, _ in nowhere} | {w for w, (_, mute) in families.items() if version in mute}
        for version in FAMILIES
    }
    leaves = still_out(
        tuple(leave for leave in history.leaves if leave.host in plan.hosts),
        recovered=lambda where: where in good or where not in seen.entitled,
        obeyed={host: report.generation for host, report in fresh.items()},
        generations=generations,
    )
    grants: dict[HostName, list[Grant]] = {host: [] for host in plan.hosts}
    prefixes = []
    entitled, announcing, wanting = _by_prefix(seen.entitled), _by_prefix(seen.announcing), _by_prefix(seen.wanting)
    vacant = _by_prefix(seen.vacant)
    for prefix in sorted(entitled, key=lambda p: (p.version, p)):
        found = judge_prefix(
            prefix,
            entitled={host: plan.hosts[host].pop for host in sorted(entitled[prefix])},
            announcing=frozenset(announcing[prefix]),
            wanting=wanting[prefix],
            vacant=vacant[prefix],
            leaves=tuple(leave for leave in leaves if leave.prefix == prefix),
            since={b.host: b.since for b in bad if b.prefix == prefix},
            cause=lambda host, others, waiting_s, vacant, prefix=prefix: cause(  # type: ignore[misc]
                seen.gates[host, prefix],
                seen.well(host, prefix),
                others=(seen.well(other, prefix) - lost[prefix.version] for other in others),
                has_served=lambda w: w in anywhere if prefix in plan.carried else (seen.pop_of[host], w) in served,
                waiting_s=waiting_s,
                vacant=vacant,
            ),
            heard_at=(lambda host: reports[host].at) if prefix in plan.carried else None,
            now=now,
        )
        leaves = tuple(leave for leave in leaves if leave.prefix != prefix) + found.leaves
        for host, grant in found.grants.items():
            grants[host].append(grant)
        prefixes.append(found.verdict)
    verdict = Verdict(
        hosts={
            host: _of_host(plan, host, reports.get(host), host in fresh, tuple(grants[host])) for host in plan.hosts
        },
        prefixes=tuple(prefixes),
        idle=frozenset(workload for workload, since in nowhere if now - since > START_GRACE_S),
        newcomers=_stand(plan) - served,
        late=frozenset((pop, workload) for pop, workload, since in unserved if now - since > START_GRACE_S),
        mute=frozenset(
            (workload, version)
            for workload, (spoke, mute) in families.items()
            for version in silent_nowhere(served=workload in anywhere, spoke=spoke, mute=mute.items(), now=now)
        ),
    )
    memory = History(
        leaves=leaves,
        good=tuple(w for w in seen.gates if w in good),
        bad=bad,
        served=tuple(sorted(served)),
        unserved=unserved,
        nowhere=nowhere,
        spoke=tuple((w, version) for w, (spoke, _) in families.items() for version in sorted(spoke)),
        mute=tuple((w, *one) for w, (_, mute) in families.items() for one in sorted(mute.items())),
    )
    return verdict, memory


class _Seen:
    """What fresh reports say of the plan's anycast prefixes (those with gates: a host's own external prefixes ask
    nobody).
    """

    def __init__(self, plan: Plan, fresh: Mapping[HostName, Report]) -> None:
        self.gates: dict[Where, frozenset[WorkloadId]] = {}
        self.pop_of = {host: part.pop for host, part in plan.hosts.items()}
        covering = {*plan.network.anycast4, *plan.network.anycast6}
        owners: dict[Address, WorkloadId] = {a.address4: a.workload_id for a in plan.anycast}
        owners |= {a.address6: a.workload_id for a in plan.anycast}
        for host, part in plan.hosts.items():
            for told in part.announcements:
                if (
                    told.prefix in covering
                    and told.scope.mode is Mode.ANNOUNCE
                    and (host, told.prefix) not in self.gates
                ):
                    self.gates[host, told.prefix] = frozenset(owners[g] for g in told.gates if g in owners)
        self.entitled: frozenset[Where] = frozenset(self.gates)
        self.prefixes: dict[Where, PrefixReport] = {
            (host, p.prefix): p
            for host, report in fresh.items()
            for p in report.prefixes
            if (host, p.prefix) in self.entitled
        }
        self.carried: dict[Where, frozenset[WorkloadId]] = {
            where: self.gates[where] - {owners[a] for a in p.shut if a in owners}
            for where, p in self.prefixes.items()
            if where[1] in plan.carried
        }
        self.is_carried = plan.carried
        self.announcing: frozenset[Where] = frozenset(w for w, p in self.prefixes.items() if is_heard(p, fresh[w[0]]))
        self.wanting: frozenset[Where] = frozenset(w for w, p in self.prefixes.items() if p.wants_withdraw)
        self.vacant: frozenset[Where] = frozenset(w for w in self.wanting if self.prefixes[w].vacant)
        workload_of = {(i.host, i.uid): i.workload_id for i in plan.incarnations}
        self.healthy: dict[HostName, frozenset[WorkloadId]] = {
            host: frozenset(
                workload_of[host, i.uid] for i in report.instances if i.healthy and (host, i.uid) in workload_of
            )
            for host, report in fresh.items()
        }
        self.silent: dict[HostName, Silent] = {
            host: silent_in(report, {i.uid: w for i in report.instances if (w := workload_of.get((host, i.uid)))})
            for host, report in fresh.items()
        }

    def well(self, host: HostName, prefix: Prefix) -> frozenset[WorkloadId]:
        """Who is healthy at a host, and answers in the family of a prefix; where the prefix is carried, those whose
        traffic the host serves or carries: it says so itself, and the tunnels are its to judge.
        """
        if prefix in self.is_carried:
            return self.carried.get((host, prefix), frozenset())
        return answering(self.healthy.get(host, frozenset()), self.silent.get(host, frozenset()), prefix.version)


Silent = frozenset[tuple[WorkloadId, int]]
"""Workloads that are healthy at a host, and a family in which they do not answer there."""


def silent_in(report: Report, workload_of: Mapping[str, WorkloadId]) -> Silent:
    """What a report says of families. `workload_of`: by uid, of the incarnations that the plan has at that host."""
    well = [(workload_of[i.uid], i) for i in report.instances if i.healthy and i.uid in workload_of]
    told = {(w, f.version) for w, i in well for f in i.families if not f.healthy}
    return frozenset(told - {(w, version) for w, version in told for v, i in well if v == w and i.healthy_in(version)})


def speaking(
    was: frozenset[int], mute: Mapping[int, float], healthy_at: Collection[Silent], *, workload: WorkloadId,
    stands: bool, all_heard: bool, now: float,
) -> tuple[frozenset[int], dict[int, float]]:  # fmt: skip
    """In which families a workload has answered anywhere while it has an address and an instance, and in which it
    answers nowhere although it works, since when; both as they were (`was`, `mute`) after a look at the hosts where it
    is healthy (`healthy_at`: who is silent there). Begun only when each of its hosts says so: silence proves nothing.
    """
    if not stands:
        return frozenset(), {}
    heard = frozenset(v for v in FAMILIES if any((workload, v) not in silent for silent in healthy_at))
    silent = {
        v: mute.get(v, now) for v in FAMILIES if v not in heard and (v in mute or (bool(healthy_at) and all_heard))
    }
    return was | heard, silent


def silent_nowhere(
    *, served: bool, spoke: frozenset[int], mute: Iterable[tuple[int, float]], now: float
) -> frozenset[int]:
    """The families in which nobody waits for a workload: it works, and has never answered in them, or not for a while.
    A memory that knows of no family is older than that question.
    """
    never = frozenset(FAMILIES) - spoke if served and spoke else frozenset[int]()
    return never | {version for version, since in mute if now - since > START_GRACE_S}


def answering(healthy: frozenset[WorkloadId], silent: Silent, version: int) -> frozenset[WorkloadId]:
    """Who of the healthy answers in a family."""
    return healthy - {w for w, in_ in silent if in_ == version} if silent else healthy


def is_heard(prefix: PrefixReport, report: Report) -> bool:
    """Whether some neighbour surely has the prefix: it is exported to one whose session stands."""
    family = prefix.prefix.version
    up = {s.upstream for s in report.sessions if s.family == family and s.state == "established"}
    return prefix.announced and not up.isdisjoint(prefix.upstreams)


@dataclass(frozen=True, slots=True, kw_only=True)
class OfPrefix:
    """What is made of one prefix: its verdict, the answers to its hosts, and the leaves that are out."""

    verdict: PrefixVerdict
    grants: Mapping[HostName, Grant]
    leaves: tuple[Leave, ...]


def judge_prefix(
    prefix: Prefix,
    *,
    entitled: Mapping[HostName, CityCode],
    announcing: frozenset[HostName],
    wanting: Collection[HostName],
    vacant: Collection[HostName],
    leaves: tuple[Leave, ...],
    since: Mapping[HostName, float],
    cause: Callable[[HostName, frozenset[HostName], float, bool], Cause],
    heard_at: Callable[[HostName], float] | None,
    now: float,
) -> OfPrefix:
    """`vacant`: those who want to withdraw and run nothing for it. `since`: the hosts where it has turned bad, and
    when. `leaves`: those of this prefix. `cause`: of a host's request, by the host, by those who announce and stay, by
    how long it has waited, in seconds, and by whether the host is vacant: who leaves past every floor counts on those
    alone who ask for nothing. `heard_at`: of a prefix that is carried, when a host last reported: if the last instance
    anywhere dies, all hosts lose it at once and say so one after the other, so what another one said before a host
    turned bad is no reason for that host to leave. And who runs something is not answered before `CARRY_PATIENCE_S`:
    its neighbours in the prefix are well there, and what it cannot carry may be back by then.
    """
    leaving = frozenset(leave.host for leave in leaves)
    others = announcing - leaving
    staying = others - frozenset(wanting)

    def know(host: HostName, some: frozenset[HostName]) -> frozenset[HostName]:
        turned_at = since.get(host)
        if heard_at is None or turned_at is None:
            return some
        return frozenset(other for other in some if heard_at(other) > turned_at)

    def cause_of(host: HostName) -> Cause:
        waited_s = now - since.get(host, now)
        if host in vacant and (found := cause(host, know(host, staying), waited_s, True)) is Cause.VACANT:
            return found
        return cause(host, know(host, others - {host}), waited_s, False)

    causes = {host: cause_of(host) for host in sorted(wanting, key=lambda h: (since.get(h, now), h))}
    turned_bad = {h for h, at in since.items() if now - at <= WINDOW_S and causes.get(h) is not Cause.STARTING}
    early = {
        host
        for host, found in causes.items()
        if heard_at is not None and found is not Cause.VACANT and now - since.get(host, now) < CARRY_PATIENCE_S
    } - leaving
    standing = Standing(
        prefix=prefix,
        entitled=entitled,
        announcing=announcing,
        leaving=leaving,
        turned_bad=frozenset(entitled[host] for host in turned_bad),
        requests=tuple((host, found) for host, found in causes.items() if host not in early),
    )
    answers = govern(standing)
    leaves = _with_given(leaves, prefix, answers)
    standing_leaves = {leave.host for leave in leaves if leave.revoked_after is None}
    grants: dict[HostName, Grant] = {}
    for host in entitled:
        if host in standing_leaves:
            grants[host] = Grant(prefix=prefix, allowed=True, reason=Reason.GRANTED)
        elif host in answers and causes[host] is not Cause.STARTING:
            # silence holds as well, and costs no host an order for each start
            grants[host] = answers[host]
    verdict = PrefixVerdict(
        prefix=prefix,
        announcing=tuple(sorted(standing.pops(announcing))),
        entitled=tuple(sorted(standing.pops(entitled))),
        floor=standing.floor,
        alarm=_alarm(answers, lost=not announcing and bool(since)),
    )
    return OfPrefix(verdict=verdict, grants=grants, leaves=leaves)


def cause(
    gates: frozenset[WorkloadId],
    healthy: frozenset[WorkloadId],
    *,
    others: Iterable[frozenset[WorkloadId]],
    has_served: Callable[[WorkloadId], bool],
    waiting_s: float,
    vacant: bool = False,
) -> Cause:
    """What stands behind a request. A prefix may leave for the sake of one of its addresses only where that one is
    better off elsewhere.

    `gates`: whose addresses the prefix holds here; `healthy`: who is well here, or carried from here; `others`: who is
    so where it is announced and stays. `vacant`: nothing runs here for any of them.
    """
    if gates <= healthy:
        return Cause.BROKEN  # the instances are well, so the way to them is not: the host knows best
    failing = to_blame(gates, healthy, has_served)
    if waiting_s <= START_GRACE_S:
        failing = frozenset(w for w in failing if has_served(w))
    if not failing:
        return Cause.STARTING
    elsewhere = {w for well in others for w in well}
    if not failing & elsewhere:
        return Cause.NOWHERE_BETTER
    return Cause.VACANT if vacant and not gates & healthy else Cause.BROKEN


def to_blame(
    gates: frozenset[WorkloadId], healthy: frozenset[WorkloadId], has_served: Callable[[WorkloadId], bool]
) -> frozenset[WorkloadId]:
    """For whose sake a prefix may leave a PoP: those that fail there and have served there. What has never served
    there is no reason while others do: it takes nothing from them, and waits in the dark.
    """
    failing = gates - healthy
    known = frozenset(w for w in failing if has_served(w))
    return known if known or gates & healthy else failing


def _stand(plan: Plan) -> frozenset[tuple[CityCode, WorkloadId]]:
    """Which workload with an anycast address has an instance in which PoP."""
    held = {entry.workload_id for entry in plan.anycast}
    return frozenset((i.pop, i.workload_id) for i in plan.incarnations if i.workload_id in held)


def _served(plan: Plan, history: History, seen: _Seen) -> frozenset[tuple[CityCode, WorkloadId]]:
    """Which workload has been healthy in which PoP since it has its address, forgotten with its last instance there."""
    return _stand(plan) & (
        {*history.served} | {(seen.pop_of[host], w) for host, ws in seen.healthy.items() for w in ws}
    )


def _unserved(
    plan: Plan, history: History, seen: _Seen, served: frozenset[tuple[CityCode, WorkloadId]], now: float
) -> tuple[tuple[CityCode, WorkloadId, float], ...]:
    """Of which newcomers a PoP has told, and since when: silence proves nothing."""
    known = {(pop, workload): since for pop, workload, since in history.unserved}
    told = {(i.pop, i.workload_id) for i in plan.incarnations if i.host in seen.healthy}
    return tuple(
        (pop, workload, known.get((pop, workload), now))
        for pop, workload in sorted(_stand(plan) - served)
        if (pop, workload) in known or (pop, workload) in told
    )


def _nowhere(plan: Plan, history: History, seen: _Seen, now: float) -> tuple[tuple[WorkloadId, float], ...]:
    """Which workload works in none of its PoPs, and since when. Begun only when each of them says so: silence proves
    nothing.
    """
    homes: dict[WorkloadId, set[HostName]] = defaultdict(set)
    for incarnation in plan.incarnations:
        homes[incarnation.workload_id].add(incarnation.host)
    known = dict(history.nowhere)
    return tuple(
        (workload, known.get(workload, now))
        for workload, hosts in sorted(homes.items())
        if not any(workload in seen.healthy.get(host, ()) for host in hosts)
        and (workload in known or hosts <= seen.healthy.keys())
    )


def _families(
    plan: Plan, history: History, seen: _Seen, now: float
) -> dict[WorkloadId, tuple[frozenset[int], dict[int, float]]]:
    """Of each workload in which families it has answered, and in which it answers nowhere, since when."""
    homes, spoke = defaultdict[WorkloadId, set[HostName]](set), defaultdict[WorkloadId, set[int]](set)
    mute = defaultdict[WorkloadId, dict[int, float]](dict)
    for incarnation in plan.incarnations:
        homes[incarnation.workload_id].add(incarnation.host)
    for workload, version in history.spoke:
        spoke[workload].add(version)
    for workload, version, since in history.mute:
        mute[workload][version] = since
    held = {entry.workload_id for entry in plan.anycast}
    return {
        workload: speaking(
            frozenset(spoke[workload]),
            mute[workload],
            [seen.silent[host] for host in sorted(hosts) if workload in seen.healthy.get(host, ())],
            workload=workload,
            stands=workload in held,
            all_heard=hosts <= seen.healthy.keys(),
            now=now,
        )
        for workload, hosts in sorted(homes.items())
    }


def _with_given(leaves: tuple[Leave, ...], prefix: Prefix, answers: Mapping[HostName, Grant]) -> tuple[Leave, ...]:
    """The leaves that are out after these answers; one that was being revoked stands again when its host asks anew."""
    given = {host for host, grant in answers.items() if grant.allowed}
    again = tuple(replace(v, revoked_after=None) if v.prefix == prefix and v.host in given else v for v in leaves)
    new = given - {v.host for v in leaves if v.prefix == prefix}
    return again + tuple(Leave(host=host, prefix=prefix) for host in sorted(new))


def _alarm(answers: Mapping[HostName, Grant], *, lost: bool) -> Reason | None:
    """The gravest thing to tell a person about a prefix. `lost`: nobody announces it and somebody did."""
    reasons = {answer.reason for answer in answers.values()}
    found = next((alarm for alarm in _ALARMS if alarm in reasons), None)
    return found or (Reason.NO_HEALTHY_INSTANCE if lost else None)


def _of_host(
    plan: Plan, host: HostName, received: Received | None, trusted: bool, grants: tuple[Grant, ...]
) -> HostVerdict:
    part = plan.hosts[host]
    return HostVerdict(pop=part.pop, host=host, trusted=trusted, reason=why(part, received, trusted), grants=grants)


def why(part: HostPlan, received: Received | None, trusted: bool) -> Reason:
    """The first thing that is wrong with a host, or RUNNING."""
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
    wanted = {i.uid for i in part.instances if i.may_serve}
    if wanted and not any(i.healthy for i in report.instances if i.uid in wanted):
        return Reason.NO_HEALTHY_INSTANCE
    if unknown_in((part.announcements, part.instances), report.understands):
        return Reason.OLDER_AGENT
    return Reason.RUNNING


def _by_prefix(where: frozenset[Where]) -> Mapping[Prefix, set[HostName]]:
    found: dict[Prefix, set[HostName]] = defaultdict(set)
    for host, prefix in where:
        found[prefix].add(host)
    return found
