"""An instance that joins while every bucket of its group is busy: it gets its share of the new connections all the
same, and none that stands notices anything.
"""

import os
import signal
from collections import Counter
from collections.abc import Sequence

import pytest

from anypop.agent.act.network import newcomer_ways, rtnl
from anypop.agent.act.network.netlink import Netlink
from anypop.agent.naming import ROUTE_PROTOCOL, link_of
from anypop.host import netns
from anypop.model.announce import Address
from anypop.model.order import InstanceOrder
from tests.agent_lab import ANYCAST4, ANYCAST6, Flow, PopLab, container_pids
from tests.agent_load import pour
from tests.agent_pop import fresh, shell
from tests.wait import wait_until

pytestmark = pytest.mark.lab
ECHO = "nc -ll -p 80 -e /bin/sh -c 'hostname; exec cat' &"
BOTH = (ANYCAST4, ANYCAST6)
NEW = 120  # connections of each family; a newcomer that is due a third gets 40 of them, give or take 5


def test_a_newcomer_gets_its_share_under_load_and_moves_nobody(clean: PopLab) -> None:
    """Every bucket is busy when two join, one after the other: by the buckets they get next to nothing, by their ways
    their share. Who has a connection keeps it: also while the agent is dead, and when one of the newcomers dies.
    """
    first = [fresh(n, shell(ECHO)) for n in range(2)]
    clean.give(*first)
    clean.wait_running(*(i.name for i in first))
    for address in BOTH:
        wait_until(lambda a=address: _name(clean, a), timeout_s=10, reason=f"{address} is reached")  # type: ignore[misc]
    old = [Flow(clean, a) for a in BOTH * 20]
    third, fourth = (fresh(n, shell(ECHO)) for n in (2, 3))
    pour(clean.upstreams.namespace("one"), BOTH)
    clean.give(*first, third)
    _wait_led(clean, third)
    flows = _connections(clean, NEW)
    for version in (4, 6):
        assert _buckets(clean, third, version) < 0.02, "the load keeps no bucket busy: nothing is shown"
    _assert_share(flows, third, 3)
    clean.kill_agent()
    flows += _connections(clean, NEW)
    _assert_share(flows, third, 3)
    _assert_live(old, flows)
    clean.start_agent()
    pour(clean.upstreams.namespace("one"), BOTH)
    clean.give(*first, third, fourth)
    _wait_led(clean, fourth)
    later = _connections(clean, NEW)
    for one in (third, fourth):
        _assert_share(later, one, 4)
    _assert_live(old, flows, later)
    os.kill(container_pids(clean)[third.name], signal.SIGKILL)
    wait_until(lambda: not _led(clean, third), timeout_s=9, reason="nothing leads to the dead one")
    after = [_name(clean, a) or _name(clean, a) for a in BOTH * 40]  # once more: this machine may be busy
    assert "" not in after, "a new connection met the dead one"
    assert fourth.name in after
    _assert_live(old, [f for f in flows + later if f.host != third.name])
    for flow in (*old, *flows, *later):
        flow.close()


def _led(pop: PopLab, one: InstanceOrder) -> int:
    """Ways of its own that lead to an instance, of both families."""
    with netns.inside(pop.router), Netlink() as net:
        return sum(
            route.interface == _index(net, one) or hops.get(route.nexthop) == _index(net, one)
            for hops in [{hop.id: hop.interface for hop in rtnl.nexthops(net, ROUTE_PROTOCOL)}]
            for slot in newcomer_ways.ruled(net)
            for route in rtnl.routes(net, ROUTE_PROTOCOL, newcomer_ways.table_of(slot))
        )


def _index(net: Netlink, one: InstanceOrder) -> int:
    return next((link.index for link in rtnl.links(net) if link.name == link_of(one.uid)), -1)


def _wait_led(pop: PopLab, one: InstanceOrder) -> None:
    """Until new connections of both families reach it."""
    pop.wait_running(one.name)
    for address in BOTH:
        wait_until(
            lambda a=address: any(_name(pop, a) == one.name for _ in range(20)),  # type: ignore[misc]
            timeout_s=10, reason=f"new connections to {address} reach {one.name}",
        )  # fmt: skip


def _name(pop: PopLab, address: Address) -> str:
    try:
        flow = Flow(pop, address)
    except OSError:
        return ""
    flow.close()
    return flow.host


def _connections(pop: PopLab, each: int) -> list[Flow]:
    return [Flow(pop, a) for a in BOTH for _ in range(each)]


def _assert_share(flows: Sequence[Flow], one: InstanceOrder, members: int) -> None:
    """At least half of what is due to one of so many members."""
    counts = Counter(flow.host for flow in flows)
    assert counts[one.name] >= len(flows) / members / 2, counts


def _assert_live(*those: Sequence[Flow]) -> None:
    broken = Counter(flow.host for flows in those for flow in flows if not flow.lives())
    assert not broken, f"broken by instance: {broken}"


def _buckets(pop: PopLab, one: InstanceOrder, version: int) -> float:
    """The part of the buckets that lead to an instance."""
    with netns.inside(pop.router), Netlink() as net:
        hops = {hop.id: hop for hop in rtnl.nexthops(net, ROUTE_PROTOCOL)}
        (group,) = (
            hop for hop in hops.values()
            if hop.group and all(hops[n].version == version for n, _ in hop.group if n in hops)
        )  # fmt: skip
        own = [n for n, _ in group.group if n in hops and hops[n].interface == _index(net, one)]
        return sum(rtnl.bucket_count(net, group.id, n) for n in own) / group.buckets
