"""The governor's table, its reasons, and the floor that no sequence of events may break."""

from ipaddress import IPv4Network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from anypop.judge.governor import Cause, Standing, govern
from anypop.judge.memory import History
from anypop.judge.verdict import CARRY_PATIENCE_S, Received, judge, judge_prefix
from anypop.model.names import CityCode, HostName
from anypop.model.order import Order
from anypop.model.plan import Verdict, World, floor_of
from anypop.model.reasons import Reason
from anypop.plan.orders import order_for
from anypop.plan.planner import plan
from tests.examples import examples
from tests.worlds import CITIES, HOSTS, network, report, workload

PREFIX = IPv4Network("203.0.113.0/24")
AMS, LHR, JFK, LAX = HOSTS
ALL = frozenset(HOSTS)
CITY = dict(zip(HOSTS, CITIES, strict=True))


def bad(count: int) -> frozenset[CityCode]:
    """So many PoPs turned bad."""
    return frozenset(CITIES[:count])


def standing(**more: object) -> Standing:
    facts: dict[str, object] = {
        "entitled": CITY,
        "announcing": ALL,
        "leaving": frozenset(),
        "turned_bad": bad(1),
        "requests": ((LHR, Cause.BROKEN),),
    }
    return Standing(prefix=PREFIX, **(facts | more))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({}, Reason.GRANTED),
        ({"announcing": ALL - {AMS}}, Reason.GRANTED),
        ({"announcing": frozenset({LHR, JFK})}, Reason.FLOOR_HOLDS),
        ({"leaving": frozenset({AMS, JFK})}, Reason.FLOOR_HOLDS),
        ({"announcing": frozenset({LHR})}, Reason.LAST_ANNOUNCER),
        ({"announcing": frozenset()}, Reason.LAST_ANNOUNCER),
        ({"entitled": {LHR: CITY[LHR]}, "announcing": frozenset({LHR})}, Reason.LAST_ANNOUNCER),
        ({"turned_bad": bad(3)}, Reason.SUSPECT_MONITOR),
        ({"turned_bad": bad(2)}, Reason.GRANTED),
        ({"requests": ((LHR, Cause.NOWHERE_BETTER),)}, Reason.NOWHERE_BETTER),
        ({"requests": ((LHR, Cause.STARTING),)}, Reason.PROBE_PENDING),
        ({"announcing": frozenset({LHR, JFK}), "requests": ((LHR, Cause.VACANT),)}, Reason.GRANTED),
        ({"turned_bad": bad(4), "requests": ((LHR, Cause.VACANT),)}, Reason.GRANTED),
        ({"announcing": frozenset({LHR}), "requests": ((LHR, Cause.VACANT),)}, Reason.LAST_ANNOUNCER),
        ({"leaving": frozenset({LHR, AMS}), "turned_bad": bad(4)}, Reason.GRANTED),
    ],
)
def test_each_answer_has_its_reason(facts: dict[str, object], reason: Reason) -> None:
    """One line for each row of the decision; a leave once given is not taken back by asking again."""
    answer = govern(standing(**facts))[LHR]
    assert answer.reason == reason
    assert answer.allowed == (reason is Reason.GRANTED)


def test_two_that_ask_together_never_both_get_the_last_leave() -> None:
    """Of three that announce (floor two) and all ask, one may go, and it is the one that has waited longest."""
    asks = tuple((c, Cause.BROKEN) for c in (LAX, AMS, JFK))
    answers = govern(standing(announcing=frozenset({AMS, JFK, LAX}), requests=asks, turned_bad=bad(2)))
    assert {c: a.allowed for c, a in answers.items()} == {LAX: True, AMS: False, JFK: False}


def test_a_host_whose_pop_goes_on_by_another_takes_no_pop_away() -> None:
    """Floors are counted in PoPs: two of three must stay, whichever hosts they stand on."""
    london = tuple(HostName(f"LHR-{n}") for n in range(1, 4))
    pops = {**dict.fromkeys(london, CityCode("LHR")), AMS: CITY[AMS], JFK: CITY[JFK]}
    out = frozenset({*london, AMS})
    asks = ((AMS, Cause.BROKEN), *((host, Cause.BROKEN) for host in london))
    answers = govern(standing(entitled=pops, announcing=out, requests=asks, turned_bad=bad(1)))
    assert [answers[h].reason for h in (AMS, *london)] == [
        Reason.FLOOR_HOLDS,
        Reason.GRANTED,
        Reason.GRANTED,
        Reason.FLOOR_HOLDS,
    ]
    alone = dict.fromkeys(london[:2], CityCode("LHR"))
    answers = govern(standing(entitled=alone, announcing=frozenset(alone), requests=asks[1:3], turned_bad=bad(0)))
    assert [answers[h].reason for h in alone] == [Reason.GRANTED, Reason.LAST_ANNOUNCER]


sets_of_hosts = st.frozensets(st.sampled_from(HOSTS))


@settings(deadline=None)
@given(
    st.tuples(sets_of_hosts, sets_of_hosts, sets_of_hosts),
    st.permutations(HOSTS),
    st.integers(0, 4),
    st.sampled_from([cause for cause in Cause if cause is not Cause.VACANT]),
)
def test_no_set_of_answers_falls_below_the_floor(
    sets: tuple[frozenset[HostName], frozenset[HostName], frozenset[HostName]],
    asks: list[HostName],
    ill: int,
    cause: Cause,
) -> None:
    """Whoever announces and holds no leave after the answers is at least the floor, or as many as before if that was
    fewer.
    """
    entitled, hears, out = sets
    facts = standing(
        entitled={h: CITY[h] for h in entitled},
        announcing=hears & entitled,
        leaving=out,
        turned_bad=bad(ill),
        requests=tuple((c, cause) for c in asks if c in entitled),
    )
    answers = govern(facts)
    new = {c for c, a in answers.items() if a.allowed} - out
    left_before = (hears & entitled) - out
    assert len(left_before - new) >= min(len(left_before), facts.floor)
    if 2 * ill > len(entitled) or cause is not Cause.BROKEN:
        assert not new


@settings(deadline=None)
@given(st.permutations(HOSTS), sets_of_hosts, sets_of_hosts)
def test_nobody_takes_the_last_announcer_away_however_empty_the_hosts_are(
    asks: list[HostName], hears: frozenset[HostName], out: frozenset[HostName]
) -> None:
    """Below the floor, all asking at once: one at least stays, or as many as there were."""
    answers = govern(
        standing(announcing=hears, leaving=out, requests=tuple((c, Cause.VACANT) for c in asks), turned_bad=bad(4))
    )
    new = {c for c, a in answers.items() if a.allowed} - out
    assert len((hears - out) - new) >= min(len(hears - out), 1)


def test_the_floor_is_half_and_at_least_one() -> None:
    """Half, rounded up."""
    assert [floor_of(n) for n in range(6)] == [1, 1, 1, 2, 2, 3]


class ManyPopsAndOneGovernor(RuleBasedStateMachine):
    """Agents that lose and find their health, reports and orders that arrive late or not for a while, and a control
    that judges.

    Each agent does as real ones do: it withdraws only with a leave in the order it obeys, and returns as soon as it is
    healthy.
    """

    @initialize(count=st.sampled_from([2, 4, 1, 3]))
    def start(self, count: int) -> None:
        self.plan = plan(
            World(network=network(CITIES[:count]), workloads=(workload(cities=CITIES[:count], dual_stack=False),))
        )
        self.pops = list(self.plan.hosts)
        self.prefix = self.plan.anycast[0].prefix4
        self.now = 0.0
        self.history = History()
        self.orders: dict[HostName, Order] = {c: order_for(self.plan, c, 1, Verdict()) for c in self.pops}
        self.obeyed = dict(self.orders)
        self.healthy = dict.fromkeys(self.pops, True)
        self.out = dict.fromkeys(self.pops, True)
        self.arrived: dict[HostName, Received] = {}
        for host in self.pops:
            self.tell(host)
        self.decide()

    def tell(self, host: HostName) -> None:
        ill, out = not self.healthy[host], self.out[host]
        seen = report(
            self.plan,
            host,
            generation=self.obeyed[host].generation,
            unhealthy={workload().id} if ill else (),
            withdrawn=() if out else (self.prefix,),
            wants=(self.prefix,) if ill and out else (),
        )
        self.arrived[host] = Received(report=seen, at=self.now)

    def decide(self) -> None:
        verdict, self.history = judge(
            self.plan,
            self.arrived,
            now=self.now,
            history=self.history,
            generations={c: o.generation for c, o in self.orders.items()},
        )
        for host in self.pops:
            wanted = order_for(self.plan, host, self.orders[host].generation, verdict)
            if wanted != self.orders[host]:
                self.orders[host] = order_for(self.plan, host, self.orders[host].generation + 1, verdict)

    @rule(n=st.integers(0, 3))
    def falls_ill(self, n: int) -> None:
        """The last instance of a PoP fails."""
        self.healthy[self.pops[n % len(self.pops)]] = False

    @rule(n=st.integers(0, 3))
    def recovers(self, n: int) -> None:
        """An instance of a PoP answers again."""
        self.healthy[self.pops[n % len(self.pops)]] = True

    @rule(n=st.integers(0, 3))
    def acts(self, n: int) -> None:
        """An agent does what its health and the order it obeys allow."""
        host = self.pops[n % len(self.pops)]
        if self.healthy[host]:
            self.out[host] = True
        elif any(g.allowed and g.prefix == self.prefix for g in self.obeyed[host].grants):
            self.out[host] = False

    @rule(n=st.integers(0, 3))
    def receives(self, n: int) -> None:
        """The newest order arrives."""
        host = self.pops[n % len(self.pops)]
        self.obeyed[host] = self.orders[host]

    @rule(n=st.integers(0, 3))
    def reports(self, n: int) -> None:
        """A report arrives; nobody has judged it yet."""
        self.tell(self.pops[n % len(self.pops)])

    @rule(seconds=st.sampled_from([0.1, 5.0, 61.0]))
    def judges(self, seconds: float) -> None:
        """Time passes and control judges what it has."""
        self.now += seconds
        self.decide()

    @rule(n=st.integers(0, 3))
    def relapses_unseen(self, n: int) -> None:
        """A PoP falls ill again and uses whatever leave it still holds, before anybody hears of it."""
        self.falls_ill(n)
        self.acts(n)

    @rule(n=st.integers(0, 3))
    def returns_while_orders_are_late(self, n: int) -> None:
        """A PoP recovers, announces and is seen to; the order without its leave is still under way."""
        self.recovers(n)
        self.acts(n)
        self.reports(n)
        self.judges(0.1)

    @rule(n=st.integers(0, 3))
    def falls_ill_and_is_answered(self, n: int) -> None:
        """Illness, then a prompt round."""
        self.falls_ill(n)
        self.a_prompt_round(n)

    @rule(n=st.integers(0, 3))
    def a_prompt_round(self, n: int) -> None:
        """Report, judgement, order and act without delay: what happens nearly always."""
        self.reports(n)
        self.judges(0.1)
        self.receives(n)
        self.acts(n)
        self.reports(n)

    @invariant()
    def never_below_the_floor(self) -> None:
        """However late anything arrives, half of the PoPs, and at least one, announce."""
        if hasattr(self, "out"):
            assert sum(self.out.values()) >= floor_of(len(self.pops))


ManyPopsAndOneGovernor.TestCase.settings = settings(max_examples=examples(60), stateful_step_count=50, deadline=None)
test_many_pops_and_one_governor = ManyPopsAndOneGovernor.TestCase


@pytest.mark.parametrize(
    ("waited_s", "carried", "cause", "granted"),
    [
        (0.5, True, Cause.BROKEN, False),
        (CARRY_PATIENCE_S, True, Cause.BROKEN, True),
        (0.5, True, Cause.VACANT, True),
        (0.5, False, Cause.BROKEN, True),
    ],
)
def test_what_a_host_cannot_carry_for_a_moment_takes_its_prefix_nowhere(
    waited_s: float, cause: Cause, *, carried: bool, granted: bool
) -> None:
    """Neighbours in the prefix are well there, and tunnels that are lost for a moment come back. Where nothing runs, or
    nothing is carried, there is nothing to wait for.
    """
    found = judge_prefix(
        PREFIX,
        entitled=CITY,
        announcing=ALL,
        wanting=[LHR],
        vacant=[LHR] if cause is Cause.VACANT else [],
        leaves=(),
        since={LHR: 1000.0},
        cause=lambda *_: cause,
        heard_at=(lambda _: 1000.1) if carried else None,
        now=1000.0 + waited_s,
    )
    answer = found.grants.get(LHR)
    assert (answer is not None and answer.allowed) is granted
    assert granted or answer is None, "silence holds as well, and costs no order"
