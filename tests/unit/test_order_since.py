"""What an agent of an older version does not know of an order is held back and told, never done by halves."""

from dataclasses import replace
from pathlib import Path

import pytest

from anypop.control.decide import decide
from anypop.control.declare import set_rules
from anypop.control.refusals import Precondition
from anypop.control.rollouts import change_scopes
from anypop.control.state import State
from anypop.judge.announced import announced
from anypop.judge.verdict import Received, why
from anypop.model import codec
from anypop.model.announce import Announcement, Mode, Prefix, Scope, ScopeRule
from anypop.model.machine import ImagePart, Power
from anypop.model.names import HostName, WorkloadId
from anypop.model.order import Grant, Move, Order
from anypop.model.order_since import SINCE, VERSION, as_understood, unknown_in, words_of_orders
from anypop.model.reasons import Reason
from anypop.model.rollout import ScopeChange, ScopeWave, Strategy
from anypop.plan.planner import plan
from tests.unit.test_control_decide import EXTENDED, a_network, action
from tests.unit.test_machine import DISK, a_machine, an_image
from tests.unit.test_plan_machines import a_world
from tests.worlds import KEY, LHR, workload

RECORDED = Path(__file__).parents[1] / "golden" / "order_words.txt"
VARIABLES = ImagePart(name="variables", sha256="e" * 64, size=1)


def test_each_field_of_an_order_is_as_old_as_orders_or_has_a_row() -> None:
    """Otherwise nobody knows which agents would pass over it: see what the module says about a new one."""
    rows = {
        f"{kind.__name__}.{name}" + (f"={came.value}" if came.value is not None else "")
        for (kind, name), came in SINCE.items()
    }
    assert {*words_of_orders()} - rows == {*RECORDED.read_text().split()}
    assert max(came.version for came in SINCE.values()) == VERSION


def played(understands: int) -> State:
    """A control whose hosts run a workload with a scope of LHR that has an extended community, before LHR's agent told
    that it knows `understands`.
    """
    now = 1_700_000_000.0
    state = State(network=a_network(0), template_key=KEY, started_at=now)
    state = decide(state, state, now=now)
    for kind, a, b in [(0, 15, 0), *[(3, 0, 0)] * 3, (10, 1, 12)]:
        now += 1
        state = decide(state, action(state, kind, 0, a, b)(state, now), now=now)
    received = state.reports[HostName("LHR")]
    told = Received(report=replace(received.report, understands=understands, at=now + 1), at=now + 1)
    draft = replace(state, reports={**state.reports, HostName("LHR"): told})
    return decide(state, draft, now=now + 1)


def told_to_telia(state: State) -> Announcement:
    order = state.orders[HostName("LHR")].order
    covering: set[Prefix] = {*state.network.anycast4}
    return next(a for a in order.announcements if a.prefix in covering and a.upstream == "telia")


def test_a_scope_that_an_agent_does_not_know_is_withheld_there_until_it_is_brought_up_to_date() -> None:
    """It was announced without the community: further than it was asked to go."""
    assert told_to_telia(played(VERSION)).scope.extended_communities == EXTENDED
    state = played(0)
    assert told_to_telia(state).scope.mode is Mode.WITHHOLD
    host = HostName("LHR")
    assert state.verdict.hosts[host].reason is Reason.OLDER_AGENT
    draft = replace(state, reports={**state.reports, host: played(VERSION).reports[host]})
    assert told_to_telia(decide(state, draft, now=state.decided_at + 1)).scope.extended_communities == EXTENDED


def test_nobody_asks_for_a_scope_that_a_host_could_not_obey() -> None:
    """At once and in waves it is refused with what is lacking, and nothing is withdrawn. Other scopes are set."""
    state = played(0)
    asked = Scope(extended_communities=((0, 2, 6939, 71),))
    rule = ScopeRule(workload_id=WorkloadId("id-0"), pop=LHR, upstream="telia", scope=asked)
    with pytest.raises(Precondition, match="LHR: its agent is of an older version and does not know extended comm"):
        set_rules(rule.workload_id, [rule], beside=True)(state, 0)
    wave = ScopeWave(changes=(ScopeChange(pop=LHR, upstream="telia", scope=asked),))
    with pytest.raises(Precondition, match="extended communities"):
        change_scopes(rule.workload_id, "one", [wave], by="", strategy=Strategy(), baseline=())(state, 0)
    plain = replace(rule, scope=Scope(prepend=1))
    assert set_rules(rule.workload_id, [plain], beside=True)(state, 0).rules[rule.workload_id, LHR, "telia"] == plain


def test_an_announcement_that_is_held_back_says_why_and_one_that_is_out_is_out() -> None:
    """What the operator withholds is withheld by the operator, whatever the agent knows."""
    state = played(0)
    host = HostName("LHR")
    assert state.plan is not None
    asked = next(a for a in state.plan.hosts[host].announcements if a.scope.extended_communities)
    report = replace(state.reports[host].report, prefixes=())
    assert announced(asked, asked.scope, state.verdict.hosts[host], report) == (False, Reason.OLDER_AGENT)
    withheld = replace(asked, scope=Scope(mode=Mode.WITHHOLD))
    assert announced(withheld, withheld.scope, state.verdict.hosts[host], report) == (False, Reason.WITHHELD)
    newer = replace(report, understands=VERSION)
    assert announced(asked, asked.scope, state.verdict.hosts[host], newer)[1] is not Reason.OLDER_AGENT


def test_a_machine_whose_image_an_agent_does_not_know_is_placed_on_no_such_host() -> None:
    """The whole order would be one that it cannot read, and everybody else on that host would wait with it."""
    image = an_image("my-stack/debian:12", DISK, VARIABLES)
    world = replace(a_world(LHR), workloads=(workload(cities=[LHR], replicas=1, containers=(a_machine(image),)),))
    waits = plan(world)
    assert not waits.incarnations and [n.reason for n in waits.notes] == [Reason.OLDER_AGENT]
    assert "does not know images with UEFI variables" in waits.notes[0].detail
    assert plan(replace(world, understands={HostName(LHR): VERSION})).incarnations
    assert plan(a_world(LHR)).incarnations, "other images go there as before"


def test_an_instance_that_stands_goes_on_as_it_is_and_one_that_is_new_does_not_begin() -> None:
    """Whoever leaves an instance out of an order has the order refused; whoever tells it half has it begun anew."""
    state = played(VERSION)
    order: Order = state.orders[HostName("LHR")].order
    assert len(order.instances) >= 1
    first = order.instances[0]
    move = Move(uid="other", host=HostName("AMS"), arrives=False, rests=True)
    asked = replace(order, instances=(replace(first, power=Power.OFF, move=move), *order.instances[1:]))
    assert as_understood(asked, order, 0).instances == order.instances
    assert as_understood(asked, None, 0).instances == order.instances[1:]
    assert as_understood(asked, order, VERSION) is asked
    assert unknown_in(replace(first, move=replace(move, rests=False)), 0) == (), "a move of one that runs is older"


def test_a_host_is_in_order_where_nothing_is_asked_that_its_agent_does_not_know() -> None:
    """An older agent is no fault as long as it does all that it is told."""
    state, host = played(VERSION), HostName("AMS")
    assert state.plan is not None
    received = state.reports[host]
    older = Received(report=replace(received.report, understands=0), at=received.at)
    assert why(state.plan.hosts[host], older, True) is why(state.plan.hosts[host], received, True)


def test_a_reason_of_a_newer_version_is_read_as_another_one() -> None:
    """An order, or a report, that gave a new reason was refused as a whole."""
    told = {"prefix": "203.0.113.0/24", "allowed": True, "reason": "moon-is-full"}
    assert codec.from_data(Grant, told).reason is Reason.OTHER
    assert codec.from_data(Grant, told | {"reason": "drained"}).reason is Reason.DRAINED
    with pytest.raises(ValueError):
        Reason("Moon\x1b[2J")


def test_a_host_that_was_never_heard_refuses_nobody() -> None:
    """What its agent knows is seen when it tells; until then its first order holds the announcement back."""
    state = played(0)
    silent = replace(state, reports={})
    asked = Scope(extended_communities=((0, 2, 6939, 71),))
    rule = ScopeRule(workload_id=WorkloadId("id-0"), pop=LHR, upstream="telia", scope=asked)
    assert set_rules(rule.workload_id, [rule])(silent, 0).rules[rule.workload_id, LHR, "telia"].scope == asked
