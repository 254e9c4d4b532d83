"""What a first plan costs follows how much is declared: so many calls of functions for each instance, and no more for
each of many than for each of few. And what metering costs of a report.
"""

from collections import Counter
from dataclasses import replace

from bench import scale

from anypop.control import declare
from anypop.control.accounts import Stack
from anypop.control.decide import decide, with_reports
from anypop.control.ground import StateGround
from anypop.control.meters import with_meters
from anypop.control.state import State
from anypop.judge.verdict import Received
from anypop.model.names import HostName, StackId, WorkloadId
from anypop.model.order_text import OrderWriter
from anypop.model.reasons import Reason
from anypop.model.workload import Workload
from anypop.plan.planner import Instances
from anypop.plan.sites import Sites
from tests.counted import calls

STACK = Stack(
    id=StackId("5" * 32),
    account_id="a" * 32,
    slug="bench",
    name="bench",
    status="ACTIVE",
    created_at=1.0,
    updated_at=1.0,
)
FEW, MANY = 10, 40  # hosts


def test_a_first_plan_costs_as_much_for_each_instance_however_many_there_are() -> None:
    few, many = (_first_plan(hosts) for hosts in (FEW, MANY))
    assert many < 1.15 * few


def test_a_first_plan_asks_a_few_hundred_things_for_each_instance() -> None:
    """It was 330 calls when names were worked out from all addresses of an instance, and removals asked for each."""
    _first_plan(FEW)  # what is kept for long is paid for here
    assert _first_plan(MANY) < 270


def test_a_declaration_costs_the_same_however_many_hosts_there_are() -> None:
    """It has no subnet, so no host has to be asked what it has of one."""
    few, many = (_declaration(hosts) for hosts in (FEW, 10 * MANY))
    assert many < 1.3 * few


def test_the_text_of_an_order_asks_less_than_a_hundred_things_for_each_instance() -> None:
    """Names included; each of their addresses alone was ten calls, written by the codec."""
    orders = [issued.order for issued in _planned(FEW).orders.values()]
    assert all(order.names for order in orders)
    OrderWriter().order(orders[0])  # what is kept for long is paid for here
    writer = OrderWriter()
    found = calls(lambda: [writer.order(order) for order in orders])
    assert found / sum(len(order.instances) for order in orders) < 100


def test_what_instances_are_made_from_is_asked_once_for_all_of_a_workload() -> None:
    asked = Counter[tuple[WorkloadId, int]]()

    class Ground(StateGround):
        def revision(self, workload: WorkloadId, number: int) -> Workload | None:
            asked[workload, number] += 1
            return super().revision(workload, number)

    state, draft = _declared(FEW)
    ground = Ground(decide(state, draft, now=2.0), Sites.of(draft.network))
    makes, workload = Instances(ground), next(iter(draft.workloads))
    lives = list(ground.incarnations_of(workload))
    assert len(lives) == scale.CITIES * scale.PER_CITY
    for life in lives:
        assert makes.order(life, ground.sites.hosts[life.host].numbers, None, None)
        assert makes.outside([life]) == ([(4, life.index), (6, life.index)], [])
    assert set(asked.values()) == {1}


def test_a_report_costs_the_same_however_many_hosts_there_are() -> None:
    """Of a host with a hundred instances, of which one has turned ill. It was 1,129 calls where there are 40 hosts, and
    one more for each PoP.
    """
    few, many = (_report(hosts) for hosts in (FEW, MANY))
    assert many - few < (MANY - FEW) / 2
    assert many < 1050


def test_metering_a_report_makes_no_call_for_each_instance_of_it() -> None:
    """Of a host with a hundred instances, of which one has turned ill."""
    begun, draft = _declared(MANY)
    state = decide(begun, draft, now=2.0)
    host = next(iter(state.orders))
    for now in (3.0, 4.0):
        state = decide(state, _told(state, host, now, ill=None), now=now)
    after = _told(state, host, 5.0, ill=0)
    assert calls(lambda: with_meters(state, after, [host], 5.0, begins=False)) < 100


def _report(hosts: int) -> int:
    """Calls of the step that a report leads to."""
    begun, draft = _declared(hosts)
    state = decide(begun, draft, now=2.0)
    host = next(iter(state.orders))
    for now in (3.0, 4.0):
        state = decide(state, _told(state, host, now, ill=None), now=now)
    after = _told(state, host, 5.0, ill=0)
    return calls(lambda: decide(state, after, now=5.0))


def _told(state: State, host: HostName, now: float, *, ill: int | None) -> State:
    report = scale.a_report(state.orders[host].order, now)
    assert len(report.instances) == 100
    if ill is not None:
        changed = replace(report.instances[ill], healthy=False, reason=Reason.PROBE_FAILED)
        report = replace(report, instances=(*report.instances[:ill], changed, *report.instances[ill + 1 :]))
    return with_reports(state, {host: Received(report=report, at=now)}, {}, now)


def _first_plan(hosts: int) -> float:
    """Calls for each instance of the step that plans all workloads of an empty platform."""
    begun, draft = _declared(hosts)
    made_of: list[State] = []
    found = calls(lambda: made_of.append(decide(begun, draft, now=2.0)))
    instances = len(made_of[0].incarnations)
    assert instances == hosts * scale.WORKLOADS_PER_HOST * scale.PER_CITY
    return found / instances


def _planned(hosts: int) -> State:
    begun, draft = _declared(hosts)
    return decide(begun, draft, now=2.0)


def _declaration(hosts: int) -> int:
    """Calls to declare one workload beside others."""
    begun, _ = _declared(hosts, 1)
    cities = [pop.city for pop in begun.network.pops]
    made = declare.parsed(scale.a_body(1, hosts), STACK, WorkloadId(f"{1:032d}"), cities)
    declare.create(made)(begun, 2.0)  # what is kept for long is paid for here
    return calls(lambda: declare.create(made)(begun, 2.0))


def _declared(hosts: int, most: int | None = None) -> tuple[State, State]:
    """An empty platform, and a draft with all its workloads, or `most` of them."""
    network = scale.a_network(hosts)
    begun = decide(State(), replace(State(), network=network), now=1.0)
    count = most or hosts * scale.WORKLOADS_PER_HOST // scale.CITIES
    cities = [pop.city for pop in network.pops]
    draft = begun
    for number in range(count):
        made = declare.parsed(scale.a_body(number, hosts), STACK, WorkloadId(f"{number:032d}"), cities)
        draft = declare.create(made)(draft, 2.0)
    return begun, draft
