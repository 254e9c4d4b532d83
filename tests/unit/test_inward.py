"""Instances without public addresses (`enableOneToOneNat: false`): what they are given, told and made from."""

from dataclasses import replace

from anypop.agent.act.network.firewall_rules import digest, elements, render
from anypop.agent.decide.firewall import firewall_for
from anypop.agent.decide.inside import inside_for
from anypop.model import codec
from anypop.model.order import InstanceOrder, Order, Removal
from anypop.model.order_read import OrderReader
from anypop.model.order_text import OrderWriter
from anypop.model.reasons import Reason
from anypop.model.workload import Port, Protocol
from anypop.plan.fields import instance_fields
from anypop.plan.planner import plan
from anypop.plan.template import template_of
from tests.agent_world import FakeHost, instance, order, settle, web
from tests.unit.test_parse import put, read, terraform
from tests.unit.test_plan_hosts import announced, world
from tests.worlds import KEY, LHR, workload


def inward(one: InstanceOrder) -> InstanceOrder:
    (link,) = one.links
    return replace(one, links=(replace(link, addresses=tuple(replace(a, external=None) for a in link.addresses)),))


def test_it_is_asked_for_by_the_interface_and_makes_another_template() -> None:
    """An upgrade changes no template of those that say nothing of it, or that they want one."""
    plain = workload(cities=[LHR])
    assert template_of(replace(plain, external=False), KEY) != template_of(plain, KEY)
    for said, wanted in ((None, True), (True, True), (False, False)):
        made = read(put(terraform(), "spec.networkInterfaces.0.enableOneToOneNat", said))
        assert made.workload.external is wanted
        assert made.document["spec"]["networkInterfaces"][0].get("enableOneToOneNat") is said


def test_it_has_private_addresses_alone_and_nobody_is_told_of_others() -> None:
    """Not the edge router, not the instance itself, not the API."""
    given = world(replace(workload(cities=[LHR], replicas=2), external=False, anycast=False))
    planned = plan(given)
    orders = [i for part in planned.hosts.values() for i in part.instances]
    assert len(orders) == 2 and not any(True for o in orders for _ in o.externals())
    assert all(not announced(given, name) for name in ("LHR-1", "LHR-2"))
    shown = instance_fields(orders[0], planned.incarnations[0], given.workloads[0])
    assert "ipAddress" in shown and not {"externalIpAddress", "externalIpv6Address"} & shown.keys()


def test_orders_travel_with_it() -> None:
    ordered = order(1, inward(instance(0)), instance(1))
    text = OrderWriter().order(ordered)
    assert text.encode() == codec.to_json(ordered)
    assert OrderReader().order(text) == ordered == codec.from_json(Order, text)


def test_it_is_taken_down_though_no_address_leads_to_it() -> None:
    """There is nothing to pin: others of its network have as long as they would have with it."""
    one = replace(inward(instance(0)), anycast=())
    host = FakeHost()
    host.obey(replace(order(1), instances=(one,)))
    settle(host)
    assert host.links and not host.pins
    gone = Removal(name=one.name, uid=one.uid, reason=Reason.WORKLOAD_DELETED)
    host.obey(replace(order(2), removed=(gone,)))
    settle(host)
    assert not host.links and not host.pins
    words = [type(step).__name__ for step in host.applied]
    assert words.count("BeginDrain") == 1 and words.index("BeginDrain") < words.index("DeleteNamespace")


def test_what_it_sends_from_its_private_address_stays_inside() -> None:
    """One such instance makes the rule, and the next is an element; without any there is no such rule."""
    plain, first, second = instance(0), inward(instance(1)), inward(instance(2))
    none, one, two = (
        firewall_for(order(1, *some), some) for some in ((plain,), (plain, first), (plain, first, second))
    )
    assert "inward" not in render(none, "x") and "iifname @inward ip saddr @hidden4 counter drop" in render(one, "x")
    assert digest(none) != digest(one) == digest(two)
    assert sum(len(now - elements(one)[place]) for place, now in elements(two).items() if place[1] == "inward") == 1
    udp = replace(web(), ports=(Port(name="dns", port=53, protocol=Protocol.UDP),))
    (four,) = (f for f in inside_for(inward(instance(3, containers=(udp,)))).udp if f.private.version == 4)
    assert four.external == four.private
