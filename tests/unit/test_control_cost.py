"""What a first plan costs follows how much is declared: so many calls of functions for each instance, and no more for
each of many than for each of few.
"""

from dataclasses import replace

from bench import scale

from anypop.control import declare
from anypop.control.accounts import Stack
from anypop.control.decide import decide
from anypop.control.state import State
from anypop.model.names import StackId, WorkloadId
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


def _first_plan(hosts: int) -> float:
    """Calls for each instance of the step that plans all workloads of an empty platform."""
    network = scale.a_network(hosts)
    begun = decide(State(), replace(State(), network=network), now=1.0)
    count = hosts * scale.WORKLOADS_PER_HOST // scale.CITIES
    cities = [pop.city for pop in network.pops]
    draft = begun
    for number in range(count):
        made = declare.parsed(scale.a_body(number, hosts), STACK, WorkloadId(f"{number:032d}"), cities)
        draft = declare.create(made)(draft, 2.0)
    made_of: list[State] = []
    found = calls(lambda: made_of.append(decide(begun, draft, now=2.0)))
    instances = len(made_of[0].incarnations)
    assert instances == hosts * scale.WORKLOADS_PER_HOST * scale.PER_CITY
    return found / instances
