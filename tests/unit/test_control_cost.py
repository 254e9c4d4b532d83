"""What a first plan costs follows how much is declared: so many calls of functions for each instance, and no more for
each of many than for each of few. And what a report costs.
"""

from dataclasses import replace

from bench import scale

from anypop.control import declare
from anypop.control.accounts import Stack
from anypop.control.decide import decide, with_reports
from anypop.control.state import State
from anypop.judge.verdict import Received
from anypop.model.names import HostName, StackId, WorkloadId
from anypop.model.reasons import Reason
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
    assert many < 320  # some 279, and 320 when each instance asked anew what its workload is made from


def test_a_report_costs_a_few_calls_for_each_instance_that_it_tells_of() -> None:
    """One of a host with a hundred instances, of which one has turned ill: some 1,070, and 200 more when metering had a
    call for each instance of this report and of the one before.
    """
    begun, draft = _declared(MANY)
    state = decide(begun, draft, now=2.0)
    host = next(iter(state.orders))
    for now in (3.0, 4.0):
        state = decide(state, _told(state, host, now, ill=None), now=now)
    after = _told(state, host, 5.0, ill=0)
    assert calls(lambda: decide(state, after, now=5.0)) < 1200


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


def _declared(hosts: int) -> tuple[State, State]:
    """An empty platform, and a draft with all its workloads."""
    network = scale.a_network(hosts)
    begun = decide(State(), replace(State(), network=network), now=1.0)
    count = hosts * scale.WORKLOADS_PER_HOST // scale.CITIES
    cities = [pop.city for pop in network.pops]
    draft = begun
    for number in range(count):
        made = declare.parsed(scale.a_body(number, hosts), STACK, WorkloadId(f"{number:032d}"), cities)
        draft = declare.create(made)(draft, 2.0)
    return begun, draft
