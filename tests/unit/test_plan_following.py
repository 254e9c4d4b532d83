"""An external address that is kept follows its slot to another host of its PoP: where it may, what hosts are told, and
that it never has two owners.
"""

from dataclasses import replace
from typing import Any

import pytest

from anypop.model.allocation import AddressClass, Assignment, Mode, Pin, Place
from anypop.model.drain import Drain, DrainKind, DrainStage
from anypop.model.names import HostName, InstanceName
from anypop.model.network import Host, Network, Pop, UpstreamKind
from anypop.model.order import InstanceOrder
from anypop.model.plan import Plan, World
from anypop.model.reasons import Reason
from anypop.model.workload import Workload
from anypop.plan.check import check, contradictions
from anypop.plan.following import why_it_stays
from anypop.plan.planner import plan
from anypop.plan.sites import Sites
from tests.worlds import LHR, after, host, network, upstream, workload

ONE, TWO = HostName("LHR-1"), HostName("LHR-2")
SLOT = InstanceName("web-all-lhr-0")
EDGE = replace(upstream("edge", 33438), kind=UpstreamKind.EDGE)


def two_hosts(*, direct: bool = False) -> Network:
    """One PoP of two hosts behind an edge router; `direct`: one of them has a session with another network besides."""
    both: list[Host] = [replace(host(name, n + 1), upstreams=(EDGE,)) for n, name in enumerate((ONE, TWO))]
    if direct:
        both[0] = replace(both[0], upstreams=(EDGE, upstream("telia", 1299)))
    return replace(network([LHR]), pops=(Pop(city=LHR, hosts=tuple(both), edge=(upstream("telia", 1299),)),))


def place(of: Network, number: int, version: int = 4, name: HostName = ONE) -> Place:
    there = of.host(name)
    assert there is not None
    whole: Any = there.external4 if version == 4 else there.external6
    return Place(host=name, number=number, address=whole[1 + number])


def claiming(**more: Any) -> Workload:
    kept = Assignment(slug="a", mode=Mode.ONE_TO_ONE_NAT, ip_version=4)
    return workload(cities=[LHR], replicas=1, anycast=False, assignments=(kept,), **more)


def world(of: Network, *places: Place, **more: Any) -> World:
    """One slot, which claims these."""
    wanted = claiming()
    return World(
        network=of,
        workloads=(wanted,),
        pins={(wanted.id, SLOT): Pin(own=places)},
        reserved=frozenset((p.host, AddressClass.UNICAST, p.number) for p in places),
        **more,
    )


def instance(planned: Plan, name: HostName) -> InstanceOrder | None:
    return planned.hosts[name].instances[-1] if planned.hosts[name].instances else None


def externals(planned: Plan, name: HostName) -> list[str]:
    found = instance(planned, name)
    return [str(a) for a in found.externals()] if found is not None else []


def told(planned: Plan, name: HostName) -> set[str]:
    return {str(a.prefix) for a in planned.hosts[name].announcements}


def test_at_home_an_address_follows_from_its_number() -> None:
    of = two_hosts()
    planned = plan(world(of, place(of, 5)))
    assert externals(planned, ONE) == ["198.19.0.6", "2001:db8:2::6"]
    assert [i.index for i in planned.incarnations] == [5]


def test_it_follows_its_slot_when_the_host_is_lost() -> None:
    """The new life has the old address and a number of its own, whose other address it has; its host tells both to the
    edge router, and the check finds nothing wrong. What may still run on the lost host is told to go.
    """
    of = two_hosts()
    first = plan(world(of, place(of, 5)))
    (life,) = first.incarnations
    lost = after(world(of, place(of, 5)), first, lost=frozenset({ONE}), moves=frozenset({life.uid}))
    moved = plan(lost)
    assert externals(moved, TWO) == ["198.19.0.6", "2001:db8:3::1"]
    assert {"198.19.0.6/32", "2001:db8:3::1/128"} <= told(moved, TWO)
    assert "198.20.0.1/32" not in told(moved, TWO), "nobody has that one"
    assert [(h, r.reason) for h, r in moved.removals] == [(ONE, Reason.HOST_LOST)]
    check(moved, lost.incarnations)
    # and stays there when the host returns
    back = plan(after(lost, moved, lost=frozenset(), moves=frozenset()))
    assert externals(back, TWO) == ["198.19.0.6", "2001:db8:3::1"] and not externals(back, ONE)


def test_a_drain_of_its_host_takes_it_along() -> None:
    """A successor on the other host has the same address beside the old one, which goes when that one is ready."""
    of = two_hosts()
    first = plan(world(of, place(of, 5), place(of, 5, 6)))
    (life,) = first.incarnations
    drain = Drain(
        id="d", kind=DrainKind.HOST, pop=LHR, host=ONE, stage=DrainStage.EMPTYING, created_at=0, began_at=0, stage_at=0
    )  # fmt: skip
    eased = after(world(of, place(of, 5), place(of, 5, 6)), first, eases=frozenset({life.uid}), drains=(drain,))
    both = plan(eased)
    assert externals(both, ONE) == externals(both, TWO) == ["198.19.0.6", "2001:db8:2::6"]
    check(both, eased.incarnations)


@pytest.mark.parametrize("direct", [False, True])
def test_where_the_world_is_led_to_its_host_it_waits(direct: bool) -> None:
    """With a session of its own that host tells the world the whole prefix, so what comes would still go there."""
    of = two_hosts(direct=direct)
    planned = plan(world(of, place(of, 5), lost=frozenset({ONE})))
    if direct:
        (note,) = planned.notes
        assert (note.reason, note.detail) == (
            Reason.WAITS_FOR_ADDRESS,
            "its address is on LHR-1, which is lost or given up; LHR-1 has BGP sessions of its own (telia), by which "
            "the world is led to it for the whole of its prefix; behind an edge router of the PoP the address would "
            "follow its instance",
        )  # fmt: skip
    assert externals(planned, TWO) == ([] if direct else ["198.19.0.6", "2001:db8:3::1"])


def test_one_that_stays_says_why() -> None:
    """To who asks beforehand, and where a drain would have its instance elsewhere."""
    both = two_hosts()
    alone = replace(both, pops=(replace(both.pops[0], hosts=both.pops[0].hosts[:1]),))
    for of, why in (
        (both, ""),
        (two_hosts(direct=True), "LHR-1 has BGP sessions of its own (telia), by which"),
        (alone, "LHR has no other host"),
    ):
        (home, *_) = of.hosts()
        found = why_it_stays(Sites.of(of), place(of, 5, name=home[1].name))
        assert found.startswith(why) and bool(found) == bool(why)
    of = two_hosts(direct=True)
    first = plan(world(of, place(of, 5)))
    (life,) = first.incarnations
    (note,) = plan(after(world(of, place(of, 5)), first, eases=frozenset({life.uid}))).notes
    assert note.reason is Reason.ADDRESS_STAYS and note.detail.startswith("LHR-1 has it: LHR-1 has BGP sessions")


def test_two_addresses_of_one_host_need_not_have_one_number() -> None:
    of = two_hosts()
    planned = plan(world(of, place(of, 5), place(of, 7, 6)))
    assert externals(planned, ONE) == ["198.19.0.6", "2001:db8:2::8"]
    # nor one host, where both may follow
    apart = plan(world(of, place(of, 5), place(of, 7, 6, TWO)))
    assert sorted((*externals(apart, ONE), *externals(apart, TWO))) == ["198.19.0.6", "2001:db8:3::8"]


def test_a_number_of_which_another_slot_has_one_address_is_nobodys() -> None:
    """The address of the other family stays that slot's."""
    of = two_hosts()
    asked = world(of, place(of, 5, 6))
    ((key, pin),) = asked.pins.items()
    planned = plan(replace(asked, pins={key: replace(pin, apart=True)}))
    assert externals(planned, ONE) == ["198.19.0.1", "2001:db8:2::6"]


def test_an_address_with_two_owners_is_found() -> None:
    """As it would be if two slots claimed one."""
    of = two_hosts()
    first, other = claiming(), claiming(id="id-b", slug="b")
    pin = Pin(own=(place(of, 5),), apart=True)
    pins = {(first.id, SLOT): pin, (other.id, InstanceName("b-all-lhr-0")): pin}
    planned = plan(World(network=of, workloads=(first, other), pins=pins))
    problems = [p.message for p in contradictions(planned, Sites.of(of))]
    assert any("198.19.0.6 would belong to both" in message for message in problems)


def with_one_beside(of: Network, there: Place) -> World:
    """One slot with an address beside its own."""
    asked = world(of)
    ((key, _),) = asked.pins.items()
    reserved = frozenset({(there.host, AddressClass.UNICAST, there.number)})
    return replace(asked, pins={key: Pin(beside=(there,))}, reserved=reserved)


def test_an_address_beside_is_had_anywhere_in_the_pop() -> None:
    """Behind an edge router its slot lives where there is room; the host tells the own address and that one."""
    of = two_hosts()
    planned = plan(with_one_beside(of, place(of, 5, name=TWO)))
    (life,) = planned.incarnations
    assert externals(planned, life.host)[-1] == "198.20.0.6" and life.index == 0
    assert {"198.20.0.6/32", f"{externals(planned, life.host)[0]}/32"} <= told(planned, life.host)
    check(planned, ())


def test_without_an_edge_router_its_slot_lives_where_it_is_from() -> None:
    of = two_hosts()
    plain = replace(of, pops=(replace(of.pops[0], hosts=tuple(replace(h, upstreams=()) for h in of.pops[0].hosts)),))
    for name in (ONE, TWO):
        planned = plan(with_one_beside(plain, place(plain, 5, name=name)))
        assert [i.host for i in planned.incarnations] == [name]


def test_an_address_beside_is_nobody_elses() -> None:
    """As it would be if it was another slot's own."""
    of = two_hosts()
    first, other = claiming(), claiming(id="id-b", slug="b")
    there = place(of, 5)
    pins = {
        (first.id, SLOT): Pin(beside=(there,)),
        (other.id, InstanceName("b-all-lhr-0")): Pin(own=(there,), apart=True),
    }
    planned = plan(World(network=of, workloads=(first, other), pins=pins))
    assert any("198.19.0.6 would belong to both" in p.message for p in contradictions(planned, Sites.of(of)))
