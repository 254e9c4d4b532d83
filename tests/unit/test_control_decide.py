"""Deciding what changed is deciding everything: over random histories, each step of control is equal to one that plans,
judges and cuts all anew.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from anypop.control import policies
from anypop.control.core import Alter
from anypop.control.decide import decide, without_gone
from anypop.control.declare import delete, set_rules
from anypop.control.drains import begin, instance_of, site_of, undrain
from anypop.control.hosts import evict, readmit
from anypop.control.network import change_network
from anypop.control.refusals import NotFound, Precondition
from anypop.control.rolling import begun, with_declaration, with_revision
from anypop.control.rollouts import abort, change_scopes, pause, resume, roll_back
from anypop.control.state import Declaration, Revision, State
from anypop.judge.verdict import Received
from anypop.model.announce import Mode, PrefixPolicy, Scope, ScopeRule
from anypop.model.backbone import BackboneRules
from anypop.model.errors import Invalid
from anypop.model.names import CityCode, HostName, StackId, WorkloadId
from anypop.model.network import Capacity, Host, Network, Pop, UpstreamKind
from anypop.model.order import Order
from anypop.model.order_since import VERSION
from anypop.model.reasons import Reason
from anypop.model.report import (
    Arrived,
    Exported,
    FamilyReport,
    InstanceReport,
    Phase,
    PrefixReport,
    Report,
    SessionReport,
)
from anypop.model.rollout import ScopeChange, ScopeWave, Strategy
from anypop.model.workload import Container, Target, Workload
from anypop.plan.check import Unsafe
from anypop.plan.template import template_of
from tests.examples import examples
from tests.whole_decide import Whole, decide_whole, normal
from tests.worlds import AMS, JFK, KEY, LAX, LHR, host

CITIES = (AMS, LHR, JFK, LAX)
MOVES = 40
EXTENDED = ((0, 2, 6939, 70),)


def a_network(variant: int) -> Network:
    """Four PoPs: two with one host, one with two small hosts behind an edge router, one with two that may be lost.
    `variant` changes what an operator may change: a host more, other covering prefixes, another capacity, a backbone,
    and where a prefix may be announced.
    """
    small = Capacity(cpu_millis=4000, memory_bytes=8 << 30, disk_bytes=8 << 30)
    larger = Capacity(cpu_millis=6000, memory_bytes=64 << 30, disk_bytes=64 << 30)
    edge = [
        replace(host(HostName(f"JFK-{n}"), 10 + n, external_bits=29), capacity=larger if variant & 1 else small)
        for n in (1, 2)
    ]
    edge = [replace(h, upstreams=tuple(replace(u, kind=UpstreamKind.EDGE) for u in h.upstreams[:1])) for h in edge]
    twins: list[Host] = [
        host(HostName(f"LAX-{n}"), 20 + n, external_bits=29) for n in range(1, 4 if variant & 2 else 3)
    ]
    prefixes = 3 if variant & 4 else 2
    return Network(
        asn=33438,
        anycast4=tuple(IPv4Network(f"203.0.{113 + n}.0/29") for n in range(prefixes)),
        anycast6=tuple(IPv6Network(f"2001:db8:a{n:03x}::/48") for n in range(prefixes)),
        pops=(
            Pop(city=AMS, hosts=(host(HostName("AMS"), 1, external_bits=29),)),
            Pop(city=LHR, hosts=(host(HostName("LHR"), 2, external_bits=28),)),
            Pop(city=JFK, hosts=tuple(edge)),
            Pop(city=LAX, hosts=tuple(twins)),
        ),
        lost_after_s=40.0,
        backbone=BackboneRules() if variant & 8 else None,
        policies=(PrefixPolicy(prefix=IPv4Network("203.0.113.0/29"), pops=(AMS, JFK)),) if variant & 16 else (),
    )


def a_workload(number: int, a: int, b: int) -> Workload:
    cities = tuple(c for i, c in enumerate((*CITIES, CityCode("XXX"))) if (a >> i) & 1) or (AMS,)
    made = Workload(
        id=WorkloadId(f"id-{number}"),
        stack_id=StackId("stack"),
        stack_slug="fun",
        account_id="a" if number < 4 else "b",
        slug=f"w{number}",
        name=f"w{number}",
        containers=(Container(name="app", image=f"image:{b % 3}", cpu_millis=1000, memory_bytes=1 << 30),),
        targets=(Target(name="all", cities=cities, replicas=1 + b % 4),),
        anycast=number % 2 == 0,
        dual_stack=number % 4 == 0,
        local_only=bool(a & 16),
    )
    return replace(made, template=template_of(made, KEY))


def declared(number: int, a: int, b: int) -> Alter:
    """A new workload, or a new revision of it: another template begins a rollout, another scale does not."""

    def alter(state: State, now: float) -> State:
        made = a_workload(number, a, b)
        current = state.workloads.get(made.id)
        if current is None:
            newest = Revision(workload=made, document={}, created_at=now)
            return with_declaration(state, Declaration(newest=newest, created_at=now))
        if current.workload.deleting:
            return state
        strategy = Strategy(bake_s=1.0, deadline_s=20.0, failing_s=3.0, surge=1 + a % 2)
        state = with_declaration(state, replace(current, strategy=strategy))
        newest = Revision(workload=replace(made, revision=current.version + 1), document={}, created_at=now)
        state = with_revision(state, state.workloads[made.id], newest, now)
        return begun(state, made.id, previous=current.good, by="", strategy=strategy, now=now)

    return alter


def reported(hosts: Sequence[HostName], a: int, b: int) -> Alter:
    """Hosts obey, or nearly: `b` says what is amiss."""

    def alter(state: State, now: float) -> State:
        reports = {}
        for name in hosts:
            issued = state.orders.get(name)
            if issued is None:
                continue
            report = _report(state, issued.order, a, b, now)
            reports[name] = Received(report=report, at=now)
        for name, received in reports.items():
            state = without_gone(state, name, frozenset(received.report.gone), now)
        return replace(state, reports={**state.reports, **reports})

    return alter


def _families(b: int, ill: bool) -> tuple[FamilyReport, ...]:
    """Sometimes told, and then sometimes without IPv6."""
    six = not b & 128
    told = ((4, not ill), (6, not ill and six)) if b & 64 else ()
    return tuple(FamilyReport(version=v, healthy=well, reason=Reason.PROBE_PASSED) for v, well in told)


def _report(state: State, order: Order, a: int, b: int, now: float) -> Report:
    sick = f"id-{a % 6}" if b & 1 else ""
    wants, silent, failing = b & 2, b & 4, b & 8
    instances = tuple(
        InstanceReport(
            name=i.name,
            uid=i.uid,
            phase=Phase.FAILED if failing and i.workload_id == sick else Phase.RUNNING,
            healthy=i.workload_id != sick,
            reason=Reason.PULL_FAILED if failing and i.workload_id == sick else Reason.PROBE_PASSED,
            template=i.template,
            families=_families(b, i.workload_id == sick),
        )
        for i in order.instances
    )
    covering = {*state.network.anycast4, *state.network.anycast6}
    gates = {x.prefix: x.gates for x in order.announcements}
    prefixes = tuple(
        PrefixReport(
            prefix=p,
            announced=not silent,
            upstreams=tuple(
                x.upstream
                for x in order.announcements
                if x.prefix == p and (not a & 16 or x.scope.mode is Mode.ANNOUNCE)
            ),
            reason=Reason.ANNOUNCED,
            wants_withdraw=bool(wants),
            vacant=bool(wants and b & 256),
            shut=tuple(g for g in gates[p] if wants and (int(g) + b) % 3 == 0),
            exported=tuple(
                Exported(
                    upstream=x.upstream,
                    prepend=x.scope.prepend,
                    communities=x.scope.communities,
                    large_communities=x.scope.large_communities,
                    extended_communities=x.scope.extended_communities,
                )
                for x in order.announcements
                if x.prefix == p and x.drains
            ),
            arrived=tuple(Arrived(upstream=u.name, packets=int(now) * a, octets=0) for u in order.upstreams)
            if a & 16
            else None,
        )
        for p in {x.prefix for x in order.announcements if x.prefix in covering}
    )
    return Report(
        pop=order.pop,
        host=order.host,
        at=now,
        generation=order.generation if not b & 16 else max(0, order.generation - 1),
        instances=instances,
        sessions=tuple(
            SessionReport(upstream=u.name, family=f, state="established") for u in order.upstreams for f in (4, 6)
        ),
        prefixes=prefixes,
        gone=tuple(r.uid for r in order.removed) if b & 32 else (),
        capacity=Capacity(cpu_millis=3000 + 1000 * (a % 2), memory_bytes=64 << 30, disk_bytes=64 << 30)
        if order.host == "LHR"
        else None,
        understands=0 if b & 384 == 384 else VERSION,
    )


def ruled(number: int, a: int, b: int) -> Alter:
    modes = (Mode.ANNOUNCE, Mode.WITHHOLD)
    rule = ScopeRule(
        workload_id=WorkloadId(f"id-{number}"),
        pop=CITIES[a % 4],
        upstream="telia",
        scope=Scope(mode=modes[b % 2], prepend=b % 3, extended_communities=EXTENDED if b & 8 else ()),
    )
    return set_rules(rule.workload_id, [rule] if b & 4 else [])


def scoped(number: int, a: int, b: int) -> Alter:
    change = ScopeChange(
        pop=CITIES[a % 4],
        upstream="telia",
        scope=Scope(
            mode=Mode.WITHHOLD if b & 1 else Mode.ANNOUNCE,
            prepend=b % 3,
            extended_communities=EXTENDED if b & 8 else (),
        ),
    )
    return change_scopes(
        WorkloadId(f"id-{number}"),
        f"scopes-{number}-{a}-{b}",
        [ScopeWave(changes=(change,))],
        by="",
        strategy=Strategy(bake_s=1, deadline_s=9),
        baseline=(),
    )


def rolling(number: int, a: int, b: int) -> Alter:
    workload = WorkloadId(f"id-{number}")
    kinds: tuple[Callable[[], Alter], ...] = (
        lambda: pause(workload, ""),
        lambda: resume(workload, ""),
        lambda: abort(workload, ""),
        lambda: roll_back(workload, None, by=""),
    )
    return kinds[b % 4]()


def drained(number: int, a: int, b: int) -> Alter:
    def alter(state: State, now: float) -> State:
        aim = site_of(state, ("AMS", "LHR", "JFK", "LAX", "AMS/telia", "LHR/telia", "LAX-1", "JFK-2")[a % 8])
        lives = sorted(p.incarnation.name for p in state.incarnations.values())
        if (b & 3 == 3 and lives) or aim is None:
            aim = instance_of(state, lives[a % len(lives)] if lives else "none", None)
        until = now + 30 if b & 4 else None
        step = begin(aim, f"drain-{number}-{a}-{b}", by="", until=until, deadline_s=20.0 + b, calm_s=1.0)
        return step(state, now)

    return alter


def returned(a: int) -> Alter:
    def alter(state: State, now: float) -> State:
        standing = state.active_drains()
        return undrain(standing[a % len(standing)].id)(state, now) if standing else state

    return alter


def guarded(number: int, a: int, b: int) -> Alter:
    """A network policy that names workloads: made, changed, or taken away."""

    def alter(state: State, now: float) -> State:
        identity, stack = f"policy-{number}", StackId("stack")
        if b & 1 and identity in state.policies:
            return policies.delete(stack, identity)(state, now)
        slugs = [f"w{n}" for n in range(6) if (b >> n) & 2]
        named = [{"key": "workload.platform.stackpath.net/workload-slug", "operator": "In", "values": slugs or ["w0"]}]
        rules = [{"action": "ALLOW", "from": {"instanceSelectors": named}}]
        body = {
            "slug": identity,
            "spec": {
                "priority": 1 + number + 10 * a,
                "ingress": rules,
                **({"instanceSelectors": named} if a & 1 else {}),
            },
        }
        make = policies.replace_with if identity in state.policies else policies.create
        return make(body, stack, identity)(state, now)

    return alter


def action(state: State, kind: int, number: int, a: int, b: int) -> Alter:
    names = sorted(h.name for _, h in state.network.hosts())
    match kind:
        case 0 | 1 | 2:
            return declared(number, a, b)
        case 3 | 4 | 5 | 6:
            return reported(names, a, 32 | (b & 16))  # all obey, and all is well
        case 7 | 8:
            return reported(names[a % len(names) :], number, b)
        case 9:
            return delete(WorkloadId(f"id-{number}"))
        case 10:
            return ruled(number, a, b)
        case 11:
            return change_network(a_network(a), darken=bool(b & 1))
        case 12:
            return evict(names[a % len(names)]) if b & 1 else readmit(names[a % len(names)])
        case 13:
            return scoped(number, a, b)
        case 14:
            return rolling(number, a, b)
        case 16:
            return drained(number, a, b)
        case 17:
            return returned(a)
        case 18:
            return reported([names[number % len(names)]], a, b)  # one host alone
        case 19:
            return guarded(number, a, b)
    return lambda state, now: state  # time alone


steps = st.lists(
    st.tuples(
        st.sampled_from([*range(18), 19]),
        st.integers(0, 5),
        st.integers(0, 31),
        st.integers(0, 511),
        st.sampled_from([0.0, 0.5, 1.5, 4.0, 16.0, 45.0, 100.0, 700.0]),
    ),
    min_size=5,
    max_size=MOVES,
)


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from([0, 8, 24]), steps)
@example(0, [(0, 0, 15, 0, 0.5), *[(3, 0, 0, 0, 0.5)] * 3, (10, 0, 1, 12, 0.5), (7, 1, 0, 0, 0.5), (7, 1, 1, 384, 0.5)])
@example(0, [(0, 0, 15, 0, 0.5), *[(3, 0, 0, 0, 0.5)] * 2, *[(7, 0, 1, 3, 0.5)] * 3, (7, 0, 1, 3 | 256, 0.5)])
def test_what_is_decided_step_by_step_is_what_is_decided_as_a_whole(
    first: int, history: list[tuple[int, int, int, int, float]]
) -> None:
    """Declarations, scale, templates and rollouts, reports, deaths, deletions, rules, other networks, a backbone that
    comes and goes, lost hosts, rests that end: after each step plan, verdict, memory and orders are those of everything
    done anew, and what one refuses the other refuses in the same words.
    """
    play(first, history)


# three workloads in other cities, which share a prefix where there is a backbone; all is well, in two rounds
WELL = [(0, 0, 3, 0, 0.5), (0, 2, 4, 0, 0.5), (0, 4, 8, 0, 0.5), *[(3, 0, 0, 0, 0.5)] * 3]
SICK = [(18, 1, 2, 1, 0.5), (18, 2, 2, 1, 0.5)]  # one of them works nowhere
troubles = st.lists(
    st.tuples(
        st.sampled_from([18] * 8 + [3, 11, 15, 15]),
        st.integers(0, 5),
        st.sampled_from([0, 2, 4, 8, 9]),
        st.integers(0, 511),
        st.sampled_from([0.0, 0.5, 1.5, 4.0, 10.0, 40.0]),
    ),
    min_size=5,
    max_size=MOVES,
)


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(troubles)
@example([(16, 0, 1, 0, 0.5), (3, 0, 0, 0, 4.0), (17, 0, 1, 0, 4.0)])
@example([(18, 5, 0, 2, 0.5), *[(15, 0, 0, 0, 0.5)] * 2, (18, 0, 0, 32, 0.5)])
@example([*SICK, (18, 5, 0, 2, 0.5), (18, 0, 0, 32, 0.5), (18, 0, 0, 32, 0.5)])
@example([*SICK, (18, 5, 0, 34, 0.5), (18, 0, 0, 32, 0.5), (18, 0, 0, 32, 0.5)])
@example([*SICK, (18, 5, 0, 66, 0.5), (18, 0, 0, 32, 0.5), (18, 0, 0, 32, 0.5)])
def test_what_hosts_say_one_after_the_other_on_a_backbone_is_judged_as_a_whole(
    history: list[tuple[int, int, int, int, float]],
) -> None:
    """One host after the other tells what it can neither serve nor carry, who is sick, that it wants to leave, or that
    all is well again; and the backbone is turned off and on.
    """
    play(8, [*WELL, *history])


def play(first: int, history: list[tuple[int, int, int, int, float]]) -> None:
    """A history, step by step and as a whole, from a network of the variant `first`."""
    now = 1_700_000_000.0
    state = State(network=a_network(first), template_key=KEY, started_at=now)
    state = decide(state, state, now=now)
    empty = State(network=a_network(first), template_key=KEY, started_at=now)
    whole = decide_whole(Whole(state=empty), empty, now=now, confirmed=frozenset(), floors={})
    for kind, number, a, b, later in history:
        now += later
        alter = action(state, kind, number, a, b)
        confirmed = frozenset(state.workloads) if b % 5 == 0 else frozenset[WorkloadId]()
        try:
            draft = alter(state, now)
        except (NotFound, Precondition, Invalid):
            continue
        floors = {h: r.report.generation for h, r in draft.reports.items() if state.reports.get(h) is not r}
        try:
            expected = decide_whole(whole, alter(whole.state, now), now=now, confirmed=confirmed, floors=floors)
        except Unsafe as unsafe:
            try:
                decide(state, draft, now=now, confirmed=confirmed, floors=floors)
            except Unsafe as found:
                assert {(p.path, p.message) for p in found.problems} == {(p.path, p.message) for p in unsafe.problems}
                continue
            raise AssertionError("what is refused as a whole was decided step by step") from unsafe
        state, whole = decide(state, draft, now=now, confirmed=confirmed, floors=floors), expected
        assert_same(state, whole)


def assert_same(state: State, whole: Whole) -> None:
    assert state.plan is not None
    assert whole.plan is not None
    for name in (
        "workloads",
        "revisions",
        "rollouts",
        "incarnations",
        "tombstones",
        "anycast",
        "rests",
        "rules",
        "evicted",
        "drains",
        "reports",
    ):
        assert getattr(state, name) == getattr(whole.state, name), name
    for name in ("serial", "lost", "moves", "eases", "arrived", "losses_frozen", "network"):
        assert getattr(state, name) == getattr(whole.state, name), name
    made = state.plan.whole()
    for name in ("incarnations", "anycast", "removals", "notes", "hosts", "network", "carried"):
        assert getattr(made, name) == getattr(whole.plan, name), name
    assert dict(state.verdict.hosts) == whole.verdict.hosts
    assert sorted(state.verdict.prefixes.values(), key=lambda p: (p.prefix.version, p.prefix)) == list(
        whole.verdict.prefixes
    )
    assert frozenset(state.verdict.idle) == whole.verdict.idle
    for name in ("newcomers", "late"):
        found = {(pop, w) for w, pops in getattr(state.verdict, name).items() for pop in pops}
        assert found == getattr(whole.verdict, name), name
    assert frozenset((w, v) for w, versions in state.verdict.mute.items() for v in versions) == whole.verdict.mute
    assert state.history.whole() == normal(whole.history)
    assert {h: i.order for h, i in state.orders.items()} == {h: i.order for h, i in whole.state.orders.items()}
