"""Verdicts: what is believed, what is granted, what is shown."""

from collections import Counter
from dataclasses import replace
from itertools import product

from anypop.judge.governor import Cause
from anypop.judge.instances import counted, shown
from anypop.judge.memory import History
from anypop.judge.verdict import FRESH_S, Received, cause, judge, to_blame
from anypop.model.announce import Address, Announcement, Mode, Prefix, Scope, ScopeRule
from anypop.model.names import CityCode, HostName, WorkloadId
from anypop.model.plan import Plan, Verdict, World
from anypop.model.reasons import Reason
from anypop.model.report import FamilyReport, Phase, Report
from anypop.plan.orders import Counting, order_for
from anypop.plan.planner import plan
from tests.worlds import CITIES, HOSTS, after, network, report, workload

AMS, LHR, JFK, LAX = HOSTS
PLAN = plan(World(network=network(), workloads=(workload(dual_stack=False),)))
PREFIX = PLAN.anycast[0].prefix4
WEB = workload().id
FIRST = dict.fromkeys(HOSTS, 1)


def ill(
    planned: Plan,
    host: HostName,
    *,
    generation: int = 1,
    workload_id: str = WEB,
    out: bool = True,
    vacant: bool = False,
) -> Report:
    return report(
        planned,
        host,
        generation=generation,
        unhealthy=[workload_id],
        wants=[PREFIX] if out else [],
        vacant=vacant,
        withdrawn=[] if out else [PREFIX],
    )


class Control:
    """A control that receives reports and judges; its clock is ours to move."""

    def __init__(self, planned: Plan = PLAN) -> None:
        self.plan = planned
        self.now = 1000.0
        self.history = History()
        self.reports: dict[HostName, Received] = {}
        self.generations = dict(FIRST)
        self.verdict = Verdict()
        self.receive(*(report(planned, host) for host in planned.hosts))

    def receive(self, *reports: Report) -> Verdict:
        for one in reports:
            self.reports[one.host] = Received(report=one, at=self.now)
        self.verdict, self.history = judge(
            self.plan, self.reports, now=self.now, history=self.history, generations=self.generations
        )
        return self.verdict

    def answer(self, host: HostName) -> tuple[bool, str] | None:
        return next(((g.allowed, g.reason) for g in self.verdict.hosts[host].grants if g.prefix == PREFIX), None)

    def everyone_else_reports(self, *but: HostName) -> None:
        self.receive(*(report(self.plan, c, generation=self.generations[c]) for c in self.plan.hosts if c not in but))


def test_a_silent_pop_is_unknown_and_never_healthy() -> None:
    """Fresh for 15 s, then unknown; one that never reported says so."""
    control = Control()
    assert control.verdict.hosts[LHR].reason is Reason.RUNNING
    control.now += FRESH_S
    control.everyone_else_reports(LHR)
    assert control.verdict.hosts[LHR].trusted
    control.now += 0.1
    control.everyone_else_reports(LHR)
    assert (control.verdict.hosts[LHR].trusted, control.verdict.hosts[LHR].reason) == (False, Reason.REPORT_STALE)
    assert CityCode(LHR) not in control.verdict.prefixes[0].announcing
    nobody, _ = judge(PLAN, {}, now=0, history=History(), generations={})
    assert {v.reason for v in nobody.hosts.values()} == {Reason.NO_REPORT}


def test_a_pop_counts_as_announcing_only_with_an_established_session() -> None:
    """Its own word that it exports is not enough."""
    control = Control()
    assert control.verdict.prefixes[0].announcing == tuple(sorted(CITIES))
    control.receive(report(PLAN, LHR, sessions="active"))
    assert control.verdict.prefixes[0].announcing == tuple(sorted(CityCode(h) for h in (AMS, JFK, LAX)))
    assert control.verdict.hosts[LHR].reason is Reason.SESSION_DOWN


def test_a_sick_pop_is_granted_until_it_returns_and_the_leave_counts_until_its_revocation_is_obeyed() -> None:
    """The life of a leave, order by order."""
    control = Control()
    control.receive(ill(PLAN, LHR))
    assert control.answer(LHR) == (True, Reason.GRANTED)
    control.generations[LHR] = 2
    control.receive(ill(PLAN, LHR, generation=2, out=False))
    assert control.answer(LHR) == (True, Reason.GRANTED)
    control.receive(report(PLAN, LHR, generation=2))
    assert control.answer(LHR) is None
    assert [leave.revoked_after for leave in control.history.leaves] == [2]
    control.generations[LHR] = 3
    control.receive(ill(PLAN, AMS))
    assert control.answer(AMS) == (True, Reason.GRANTED)
    control.receive(ill(PLAN, JFK))
    assert control.answer(JFK) == (False, Reason.FLOOR_HOLDS)
    control.receive(report(PLAN, LHR, generation=3))
    assert [leave.host for leave in control.history.leaves] == [AMS, JFK]
    assert control.answer(JFK) == (True, Reason.GRANTED)


def test_when_most_turn_bad_at_once_nobody_withdraws_until_the_window_is_over() -> None:
    """Three of four within a minute: the monitor is suspect. A minute later the floor alone decides."""
    control = Control()
    control.now += 1
    for host in (LHR, AMS, JFK):
        control.reports[host] = Received(report=ill(PLAN, host), at=control.now)
    control.receive()
    assert {control.answer(c) for c in (LHR, AMS, JFK)} == {(False, Reason.SUSPECT_MONITOR)}
    assert control.verdict.prefixes[0].alarm is Reason.SUSPECT_MONITOR
    control.now += 61
    control.receive(report(PLAN, LAX), *(ill(PLAN, c) for c in (LHR, AMS, JFK)))
    assert [control.answer(c) for c in (AMS, JFK, LHR)] == [
        (True, Reason.GRANTED),
        (True, Reason.GRANTED),
        (False, Reason.FLOOR_HOLDS),
    ]


def test_silence_counts_as_turning_bad() -> None:
    """Two of four fall silent, then one falls ill: it is not granted, since this looks like our own blindness."""
    control = Control()
    control.now += FRESH_S + 1
    control.receive(report(PLAN, LHR), report(PLAN, AMS))
    control.receive(ill(PLAN, LHR))
    assert control.answer(LHR) == (False, Reason.SUSPECT_MONITOR)


def test_the_last_announcer_holds_and_alarms() -> None:
    """One PoP in all: a sick answer is better than none, and a person is told."""
    alone = plan(
        World(network=network([CityCode(LHR)]), workloads=(workload(cities=[CityCode(LHR)], dual_stack=False),))
    )
    control = Control(alone)
    control.receive(ill(alone, LHR))
    assert control.answer(LHR) == (False, Reason.LAST_ANNOUNCER)
    assert control.verdict.prefixes[0].alarm is Reason.LAST_ANNOUNCER


def test_where_no_other_pop_is_healthy_nobody_moves() -> None:
    """A bad image everywhere: withdrawing would move the clients and heal nobody."""
    control = Control()
    control.receive(*(ill(PLAN, c) for c in (AMS, JFK)))
    control.now += 70
    control.receive(
        *(replace(report(PLAN, c), instances=ill(PLAN, c).instances) for c in (LHR, LAX)),
        *(ill(PLAN, c) for c in (AMS, JFK)),
    )
    fresh = Control()
    fresh.now += 1
    fresh.receive(
        *(replace(report(PLAN, c), instances=ill(PLAN, c).instances) for c in (LHR, LAX, JFK)), ill(PLAN, AMS)
    )
    assert fresh.answer(AMS) == (False, Reason.NOWHERE_BETTER)


def test_where_nothing_runs_the_prefix_goes_past_the_floor_while_somebody_is_well() -> None:
    """Three of four PoPs lose every process within a minute: a fact, so neither the floor (two) nor the suspicion of
    the monitor holds them. The one that is well stays, also when it loses its own later; and who only fails its probes
    is held as ever.
    """
    control = Control()
    control.receive(*(ill(PLAN, c, vacant=True) for c in (LHR, AMS, JFK)))
    assert {control.answer(c) for c in (LHR, AMS, JFK)} == {(True, Reason.GRANTED)}
    control.receive(ill(PLAN, LAX, vacant=True))
    assert control.answer(LAX) == (False, Reason.LAST_ANNOUNCER)
    doubtful = Control()
    doubtful.receive(*(ill(PLAN, c, vacant=c != JFK) for c in (LHR, AMS, JFK)))
    assert doubtful.answer(LHR) == doubtful.answer(AMS) == (True, Reason.GRANTED)
    assert doubtful.answer(JFK) == (False, Reason.SUSPECT_MONITOR)


def test_where_nothing_runs_the_prefix_stays_while_nobody_else_is_well() -> None:
    """LHR runs nothing and all others fail their probes: leaving would heal nobody. Nor does it count on one that asks
    to leave itself, although it is well.
    """
    control = Control()
    control.receive(*(ill(PLAN, c, vacant=c == LHR) for c in HOSTS))
    assert control.answer(LHR) == (False, Reason.SUSPECT_MONITOR)
    two = [CityCode(LHR), CityCode(AMS)]
    pair = plan(World(network=network(two), workloads=(workload(cities=two, dual_stack=False),)))
    control = Control(pair)
    control.receive(ill(pair, LHR, vacant=True), report(pair, AMS, wants=[PREFIX]))
    answers = [control.answer(LHR), control.answer(AMS)]
    assert [a for a in answers if a is not None and a[0]] != [(True, Reason.GRANTED)] * 2
    control.receive(ill(pair, LHR, vacant=True), report(pair, AMS))
    assert control.answer(LHR) == (True, Reason.GRANTED)
    control.receive(ill(pair, LHR, vacant=True), report(pair, AMS, wants=[PREFIX]))
    assert control.answer(AMS) == (False, Reason.LAST_ANNOUNCER)


def test_a_pop_that_is_on_its_way_out_is_nowhere_to_go() -> None:
    """LHR may leave for the sake of a and is the only one where b is well: AMS keeps b, sick as it is."""
    both = plan(World(network=network(), workloads=(workload("a", dual_stack=False), workload("b", dual_stack=False))))
    a, b = workload("a").id, workload("b").id
    control = Control(both)
    control.receive(ill(both, LHR, workload_id=a))
    assert control.answer(LHR) == (True, Reason.GRANTED)
    control.receive(*(report(both, c, unhealthy=[b]) for c in (JFK, LAX)), ill(both, AMS, workload_id=b))
    assert control.answer(AMS) == (False, Reason.NOWHERE_BETTER)


def test_a_newcomer_in_a_shared_prefix_takes_it_from_nobody() -> None:
    """b starts in the prefix of a: no PoP withdraws for its sake, no alarm sounds, however long it takes in LHR. Once
    it has served there, and fails, it counts like any other.
    """
    world = World(network=network(), workloads=(workload("a", dual_stack=False),))
    first = plan(world)
    a, b = workload("a").id, workload("b").id
    control = Control(first)
    both = plan(after(world, first, workloads=(*world.workloads, workload("b", dual_stack=False))))
    control.plan = both
    control.receive(*(ill(both, c, workload_id=b) for c in HOSTS))
    assert {control.answer(c) for c in HOSTS} == {None}, "an answer would cost every PoP two orders for each start"
    assert control.verdict.prefixes[0].alarm is None
    control.receive(*(report(both, c) for c in (AMS, JFK, LAX)))
    assert control.answer(LHR) is None
    for _ in range(3):
        control.now += 31
        control.receive(*(report(both, c) for c in (AMS, JFK, LAX)), ill(both, LHR, workload_id=b))
        assert control.answer(LHR) is None
        assert control.verdict.prefixes[0].alarm is None
    assert control.verdict.late == {(CityCode(LHR), b)} == control.verdict.newcomers
    assert (CityCode(LHR), a) in control.history.served
    control.receive(report(both, LHR))
    assert not control.verdict.late
    control.receive(ill(both, LHR, workload_id=b))
    assert control.answer(LHR) == (True, Reason.GRANTED)


def test_a_pop_waits_for_who_has_served_there_and_not_for_newcomers_beside_it() -> None:
    """The gates in LHR's order: both while neither has served; a alone once it has, however long b takes, also when a
    fails and comes back meanwhile; both for good once b has. What has served counts on when it fails.
    """
    both = plan(World(network=network(), workloads=(workload("a", dual_stack=False), workload("b", dual_stack=False))))
    a, b = (next(x for x in both.anycast if x.workload_id == workload(slug).id) for slug in ("a", "b"))
    control = Control(both)
    control.history = History()

    def gates(*unhealthy: str) -> set[Address]:
        control.now += 1
        others = (report(both, c, unhealthy=[b.workload_id] if c != AMS else []) for c in (AMS, JFK, LAX))
        control.receive(report(both, LHR, unhealthy=unhealthy), *others)
        order = order_for(both, LHR, 2, control.verdict)
        return {g for told in order.announcements if told.prefix == a.prefix4 for g in told.gates}

    neither = {a.workload_id, b.workload_id}
    assert gates(*neither) == {a.address4, b.address4}
    assert gates(b.workload_id) == {a.address4}
    control.now += 100
    assert gates(b.workload_id) == {a.address4}
    assert gates(*neither) == {a.address4}
    assert gates(b.workload_id) == {a.address4}
    assert gates() == {a.address4, b.address4}
    assert gates(b.workload_id) == {a.address4, b.address4}


def test_what_has_never_served_here_is_to_blame_only_where_nobody_else_is_well() -> None:
    """The decision alone. Without the rule, as if everybody had served, the newcomer takes the others along."""
    a, b, c = (WorkloadId(x) for x in "abc")
    everyone, served = frozenset({a, b, c}), {a, c}.__contains__
    assert to_blame(everyone, frozenset({a, c}), served) == frozenset()
    assert to_blame(everyone, frozenset({a}), served) == {c}
    assert to_blame(everyone, frozenset(), served) == {a, c}
    assert to_blame(frozenset({b}), frozenset(), served) == {b}
    assert to_blame(everyone, frozenset({a, c}), lambda _: True) == {b}, "the rule taken out"
    elsewhere = [frozenset({b})]
    asked = {"others": elsewhere, "waiting_s": 600.0}
    assert cause(everyone, frozenset({a, c}), has_served=served, **asked) is Cause.STARTING  # type: ignore[arg-type]
    without = cause(everyone, frozenset({a, c}), has_served=lambda _: True, **asked)  # type: ignore[arg-type]
    assert without is Cause.BROKEN, "the rule taken out"


def test_who_has_served_is_remembered_while_it_stands_there_with_its_address_and_no_longer() -> None:
    """Through silence of all hosts and another judgement that knows nothing but the memory; gone with the instance,
    and with the address; a workload without an address is never in it.
    """
    world = World(network=network(), workloads=(workload("a", dual_stack=False), workload("n", anycast=False)))
    planned = plan(world)
    a = workload("a").id
    control = Control(planned)
    assert {w for _, w in control.history.served} == {a}
    kept = control.history
    control.now += 3600
    _, kept = judge(planned, {}, now=control.now, history=kept, generations={})
    verdict, kept = judge(planned, {}, now=control.now, history=kept, generations={})
    assert kept.served == control.history.served
    assert not verdict.newcomers
    smaller = plan(after(world, planned, workloads=(workload("a", dual_stack=False, cities=[CityCode(AMS)]),)))
    _, kept = judge(smaller, {}, now=control.now, history=kept, generations={})
    assert kept.served == ((CityCode(AMS), a),)
    _, kept = judge(replace(smaller, anycast=()), {}, now=control.now, history=kept, generations={})
    assert (kept.served, kept.unserved) == ((), ())


def test_one_that_works_nowhere_keeps_nobody_from_coming_back() -> None:
    """b is poison in every PoP: after half a minute no order waits for it any more, so a PoP that was away announces
    a's prefix again; silence of a PoP starts no such count, one healthy instance anywhere ends it, and alone in its
    prefix b goes on being waited for.
    """
    both = plan(World(network=network(), workloads=(workload("a", dual_stack=False), workload("b", dual_stack=False))))
    a, b = (next(x for x in both.anycast if x.workload_id == workload(slug).id) for slug in ("a", "b"))
    control = Control(both)

    def gates() -> set[Address]:
        order = order_for(both, LHR, 2, control.verdict)
        return {g for told in order.announcements if told.prefix == a.prefix4 for g in told.gates}

    control.receive(*(report(both, c, unhealthy=[b.workload_id]) for c in HOSTS))
    assert gates() == {a.address4, b.address4}
    control.now += 31
    control.receive(*(report(both, c, unhealthy=[b.workload_id]) for c in HOSTS))
    assert gates() == {a.address4}
    control.now += FRESH_S + 1
    control.receive(report(both, LHR, unhealthy=[b.workload_id]))
    assert gates() == {a.address4}, "the silence of others is no news"
    control.receive(report(both, AMS))
    assert gates() == {a.address4, b.address4}
    control.receive(report(both, AMS, unhealthy=[b.workload_id]))
    control.now += 31
    control.receive(report(both, AMS, unhealthy=[b.workload_id]))
    assert gates() == {a.address4, b.address4}, "it was never known of all"
    everyone = [a.workload_id, b.workload_id]
    for _ in range(2):
        control.now += 31
        control.receive(*(report(both, c, unhealthy=everyone) for c in HOSTS))
    assert gates() == {a.address4, b.address4}, "nothing is announced before anything works"


def test_who_answers_nowhere_in_a_family_is_mute_in_it() -> None:
    """At once where it never has, after half a minute where it had; one answer in any PoP ends both, and the silence of
    PoPs begins and ends nothing.
    """
    both = plan(World(network=network(), workloads=(workload("a", cities=[CityCode(AMS), CityCode(LHR)]),)))
    a = workload("a").id
    control = Control(both)
    control.history = History()

    def hear(**six: bool) -> set[int]:
        """Reports of the hosts named here, by whether IPv6 answers there."""
        control.now += 1
        control.receive(*(_by_family(report(both, HostName(h)), {4: True, 6: well}) for h, well in six.items()))
        return {version for workload_id, version in control.verdict.mute if workload_id == a}

    assert hear(AMS=False, LHR=False) == {6}
    assert hear(AMS=False, LHR=True) == set()
    assert hear(AMS=False, LHR=False) == set()
    control.now += 29
    assert hear(AMS=False, LHR=False) == set()
    control.now += 1
    assert hear(AMS=False, LHR=False) == {6}
    control.now += 60
    assert hear(AMS=False) == {6}, "the silence of LHR is no news"
    assert hear(LHR=True) == set()
    control.now += 60
    assert hear(AMS=False) == set(), "nobody knows what LHR would say"
    control.now += 60
    assert hear(AMS=False) == set()
    nothing = replace(both, anycast=())
    _, kept = judge(nothing, {}, now=control.now, history=control.history, generations={})
    assert (kept.spoke, kept.mute) == ((), ())


def _by_family(plain: Report, healthy: dict[int, bool]) -> Report:
    families = tuple(
        FamilyReport(version=v, healthy=well, reason=Reason.PROBE_PASSED if well else Reason.PROBE_FAILED)
        for v, well in healthy.items()
    )
    return replace(plain, instances=tuple(replace(i, families=families) for i in plain.instances))


def test_a_pop_withheld_by_the_operator_is_not_entitled() -> None:
    """It is neither counted in the floor nor missed."""
    rules = tuple(
        ScopeRule(workload_id=WEB, pop=CityCode(LAX), upstream=u, scope=Scope(mode=Mode.WITHHOLD))
        for u in ("telia", "qwest")
    )
    ruled = plan(World(network=network(), workloads=(workload(dual_stack=False),), rules=rules))
    verdict, _ = judge(ruled, {}, now=0, history=History(), generations={})
    assert verdict.prefixes[0].entitled == tuple(sorted(CityCode(h) for h in (AMS, JFK, LHR)))
    assert verdict.prefixes[0].floor == 2


def test_judging_the_same_again_changes_nothing() -> None:
    """The memory is stable while nothing happens, so control writes nothing."""
    control = Control()
    control.receive(ill(PLAN, LHR))
    before, verdict = control.history, control.verdict
    control.now += 1
    assert control.receive() == verdict
    assert control.history == before


def test_a_pop_says_the_first_thing_that_is_wrong_with_it() -> None:
    """Refused orders before drift, drift before ill health."""
    control = Control()
    plain = report(PLAN, LHR)
    for changed, reason in (
        (replace(plain, refused=Reason.SHRINKS_WITHOUT_TOKEN, drift=("x",)), Reason.SHRINKS_WITHOUT_TOKEN),
        (replace(plain, drift=("route missing",)), Reason.DRIFTED),
        (replace(plain, orphans=("web-all-lhr-9",)), Reason.DRIFTED),
        (ill(PLAN, LHR), Reason.NO_HEALTHY_INSTANCE),
        (plain, Reason.RUNNING),
    ):
        assert control.receive(changed).hosts[LHR].reason is reason


def test_an_instance_is_shown_as_its_pop_saw_it_and_unknown_when_it_is_silent() -> None:
    """SCHEDULING before the first report, the report's phase after it, nothing claimed of a silent PoP."""
    received = Received(report=report(PLAN, LHR), at=100)
    found = received.report.instances[0]
    assert shown(None, None, now=100).phase is Phase.SCHEDULING
    seen = shown(found, received, now=110)
    assert (seen.phase, seen.healthy, seen.word) == (Phase.RUNNING, True, "RUNNING")
    silent = shown(found, received, now=116)
    assert (silent.phase, silent.healthy, silent.word) == (None, False, "INSTANCE_PHASE_UNSPECIFIED")
    assert shown(None, received, now=110).phase is Phase.SCHEDULING
    going = shown(found, received, now=110, removing=True)
    assert (going.phase, going.healthy) == (Phase.DELETING, False)


def test_many_instances_are_counted_as_each_of_them_is_shown() -> None:
    """In any phase and health, leaving or not, under another life's uid; of a host that is silent or unheard of."""
    said = report(PLAN, LHR)
    one = said.instances[0]
    ways = list(product((None, *Phase), (True, False), (True, False), (True, False), range(2)))
    told = tuple(
        replace(one, uid=f"u{n}", phase=phase, healthy=healthy)
        for n, (phase, healthy, *_) in enumerate(ways)
        if phase is not None
    )
    slots = [((one.name, f"u{n}" if own else f"x{n}"), gone) for n, (_, _, gone, own, _) in enumerate(ways)]
    placed, leaving = ([slot for slot, gone in slots if gone is going] for going in (False, True))
    heard = Received(report=replace(said, instances=told), at=100)
    for received, now in ((None, 100), (heard, 110), (heard, 116)):
        known = {(i.name, i.uid): i for i in told} if received is not None else {}
        each = [shown(known.get(slot), received, now=now, removing=gone) for slot, gone in slots]
        found = counted(placed, leaving, received, now=now)
        assert found.phases == Counter(s.word for s in each)
        assert (found.total, found.healthy) == (len(each), sum(s.healthy for s in each))


def test_gates_are_counted_once_for_all_hosts_only_where_they_count_the_same() -> None:
    """Hosts of two PoPs may share the gates of an announcement: who is new in one PoP is left out there alone, but for
    a prefix that is carried, where being new is no matter of a PoP.
    """
    old, new = PREFIX[1], PREFIX[2]
    told = Announcement(prefix=PREFIX, upstream="one", scope=Scope(), gates=(old, new))
    owners: dict[Address, WorkloadId] = {old: WorkloadId("old"), new: WorkloadId("new")}
    asked: list[str] = []

    def is_new(_: Prefix, workload: WorkloadId | None, pop: CityCode) -> bool:
        asked.append(pop)
        return workload == "new" and pop == CityCode(AMS)

    for carried, wanted in ((frozenset[Prefix](), (old, new)), (frozenset({PREFIX}), (old,))):
        counting = Counting(owner_of=owners.get, is_idle=lambda prefix, workload: False, is_new=is_new, carried=carried)
        found = [counting.of(told, CityCode(pop)).gates for pop in (AMS, LHR, AMS)]
        assert found == [(old,), wanted, (old,)]
        assert counting.of(told, CityCode(AMS)).gates is found[0]
    assert len(asked) == 3 * 2  # twice for the two PoPs, once for what is carried
