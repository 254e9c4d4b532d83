"""What a pass of the agent costs follows how much there is on its host: four times as many instances, members of a
group or announcements are four times the work at most, counted in calls.
"""

from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

import pytest

from anypop.agent.decide.converge import converge
from anypop.agent.decide.elements import Entry
from anypop.agent.decide.facts import Facts
from anypop.agent.decide.report import report_of
from anypop.agent.naming import short
from anypop.model.announce import Announcement, Scope
from tests import agent_world
from tests.counted import calls

FEW, MANY = 30, 120


def instances_of_one_address(count: int) -> agent_world.FakeHost:
    return _settled(count)


def members_without_buckets(count: int) -> agent_world.FakeHost:
    """A group that the kernel could not balance yet: each member is asked whether it lacks buckets."""
    host = _settled(count)
    assert host.page is not None
    instances = host.page.order.instances
    (address,) = instances[0].anycast
    host.buckets = {(address, Entry.CLIENTS): {(short(i.uid), None): 1024 // count for i in instances}}
    return host


def announcements(count: int) -> agent_world.FakeHost:
    """Many prefixes, each told to all upstreams."""
    host = agent_world.FakeHost()
    order = agent_world.order(1, agent_world.instance(0))
    more = tuple(
        Announcement(prefix=IPv4Network((int(IPv4Address("198.18.0.0")) + 256 * n, 24)), upstream=u.name, scope=Scope())
        for n in range(count)
        for u in order.upstreams
    )
    host.obey(replace(order, announcements=(*order.announcements, *more)))
    agent_world.settle(host)
    return host


def _settled(count: int) -> agent_world.FakeHost:
    host = agent_world.FakeHost()
    host.obey(agent_world.order(1, *(agent_world.instance(n) for n in range(count))))
    agent_world.settle(host)
    return host


@pytest.mark.parametrize("of", [instances_of_one_address, members_without_buckets, announcements])
def test_four_times_as_much_is_four_times_the_work(of: Callable[[int], agent_world.FakeHost]) -> None:
    few, many = (_pass(of(count)) for count in (FEW, MANY))
    assert few > 20 * FEW  # it is looked at each of them
    assert many < 4.2 * few


def test_a_pass_that_has_nothing_to_do_asks_a_few_hundred_things_of_an_instance() -> None:
    """It was 550 calls for each of 400 when members were compared with each other, and 290 when routes were looked up
    by prefix; it is some 200.
    """
    few, many = (_pass(_settled(count)) for count in (FEW, MANY))
    assert (many - few) / (MANY - FEW) < 250


def _pass(host: agent_world.FakeHost) -> int:
    """The calls of one pass: decided, and told."""
    observed, now = host.observe(), host.now
    assert host.page is not None
    order = host.page.order

    def work() -> None:
        facts = Facts(order, observed)
        converge(facts, now)
        report_of(
            facts, pop=agent_world.POP, host=agent_world.HOST, generation=1, at=now, refused=None, drift=(), errors=()
        )

    work()  # what is kept for long is paid for here
    return calls(work)
