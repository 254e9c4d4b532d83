"""The checker: what may not go out, and what it says about it."""

from dataclasses import replace
from ipaddress import IPv4Network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anypop.model.announce import Announcement, Scope
from anypop.model.names import HostName
from anypop.model.plan import Plan, World
from anypop.model.workload import Workload
from anypop.plan.check import Unsafe, check
from anypop.plan.planner import plan
from tests.unit.test_plan_placement import some_workloads
from tests.worlds import CITIES, JFK, LHR, after, network, workload

HOST = HostName(LHR)
NOBODY: frozenset[str] = frozenset()


def planned_of(*workloads: object) -> Plan:
    return plan(World(network=network(), workloads=workloads))  # type: ignore[arg-type]


def test_losing_a_workload_nobody_deleted_is_refused_with_numbers_and_a_way_out() -> None:
    """A store that comes back empty must not take everything down."""
    before = planned_of(workload("a"), workload("b"))
    emptied = plan(after(World(network=network(), workloads=()), before))
    with pytest.raises(Unsafe) as caught:
        check(emptied, before.incarnations)
    assert "16 of 16 instances would be taken down" in str(caught.value)
    assert "confirm" in str(caught.value)
    assert len(caught.value.problems) == 1
    check(emptied, before.incarnations, confirmed=frozenset({workload("a").id, workload("b").id}))


@settings(deadline=None)
@given(st.integers(1, 12), st.integers(0, 12))
def test_more_than_a_third_needs_a_token_and_a_third_does_not(had: int, keeps: int) -> None:
    """The line is at a third: one of three may go, two of five may not."""
    before = plan(World(network=network(), workloads=(workload(cities=[LHR], replicas=had),)))
    now = plan(after(World(network=network(), workloads=(workload(cities=[LHR], replicas=min(keeps, had)),)), before))
    lost = had - min(keeps, had)
    if 3 * lost > had:
        with pytest.raises(Unsafe):
            check(now, before.incarnations)
    else:
        check(now, before.incarnations)
    check(now, before.incarnations, confirmed=frozenset({workload().id}))


def test_a_confirmed_loss_hides_no_other() -> None:
    """Deleting a by name gives no leave to lose b as well."""
    before = planned_of(workload("a"), workload("b"))
    emptied = plan(after(World(network=network(), workloads=()), before))
    with pytest.raises(Unsafe, match="8 of 8"):
        check(emptied, before.incarnations, confirmed=frozenset({workload("a").id}))


def test_emptying_one_pop_is_refused_though_it_is_a_small_part_of_all() -> None:
    """A quarter of all instances, and all that LHR has."""
    before = planned_of(workload())
    now = plan(after(World(network=network(), workloads=(workload(cities=[c for c in CITIES if c != LHR]),)), before))
    with pytest.raises(Unsafe, match="PoP LHR: 2 of 2"):
        check(now, before.incarnations)


def test_a_planner_that_gave_one_address_twice_is_caught() -> None:
    """Two orders with one external address, two slots with one index: refused, both owners named."""
    good = planned_of(workload())
    first, second = good.hosts[HOST].instances
    shared = tuple(
        replace(mine, external=other.external)
        for mine, other in zip(second.addresses(), first.addresses(), strict=True)
    )
    doubled = replace(
        good.hosts[HOST], instances=(first, replace(second, links=(replace(second.links[0], addresses=shared),)))
    )
    with pytest.raises(Unsafe, match=r"198\.19\.0\.1 would belong to both"):
        check(replace(good, hosts={**good.hosts, HOST: doubled}), ())
    slots = (
        good.incarnations[0],
        replace(good.incarnations[1], index=good.incarnations[0].index),
        *good.incarnations[2:],
    )
    with pytest.raises(Unsafe, match="index 0 would belong to both"):
        check(replace(good, incarnations=slots), ())


def test_a_prefix_that_is_not_ours_never_goes_out() -> None:
    """Neither a stranger's prefix nor another PoP's own, nor a gate outside its prefix."""
    good = planned_of(workload())
    for prefix in (IPv4Network("8.8.8.0/24"), network().pops[2].hosts[0].external4):
        stray = Announcement(prefix=prefix, upstream="telia", scope=Scope())
        bad = replace(good.hosts[HOST], announcements=(*good.hosts[HOST].announcements, stray))
        with pytest.raises(Unsafe, match="is not ours"):
            check(replace(good, hosts={**good.hosts, HOST: bad}), ())
    stray = Announcement(
        prefix=network().anycast4[1], upstream="telia", scope=Scope(), gates=(good.anycast[0].address4,)
    )
    bad = replace(good.hosts[HOST], announcements=(stray,))
    with pytest.raises(Unsafe, match="which is not in it"):
        check(replace(good, hosts={**good.hosts, HOST: bad}), ())


def test_a_network_that_shrank_under_its_tenants_is_refused() -> None:
    """An operator who takes away a covering prefix in use, or a PoP's external prefix, is told who still lives
    there.
    """
    before = planned_of(workload())
    fewer = replace(network(), anycast4=network().anycast4[1:])
    with pytest.raises(Unsafe, match="no longer both in the network"):
        check(plan(after(World(network=fewer, workloads=(workload(),)), before)), before.incarnations)
    moved = [
        replace(p, hosts=(replace(p.hosts[0], external4=IPv4Network("198.51.100.0/32")),)) if p.city == JFK else p
        for p in network().pops
    ]
    with pytest.raises(Unsafe, match="outside the host's prefixes"):
        check(
            plan(after(World(network=replace(network(), pops=tuple(moved)), workloads=(workload(),)), before)),
            before.incarnations,
        )


def test_a_workload_that_vanishes_without_a_deletion_is_refused_however_small_it_is() -> None:
    """One instance of seventeen, and all that its workload has."""
    small = workload("small", cities=[LHR], replicas=1)
    before = planned_of(workload("a"), workload("b"), small)
    now = plan(after(World(network=network(), workloads=(workload("a"), workload("b"))), before))
    with pytest.raises(Unsafe, match="workload id-small: 1 of 1"):
        check(now, before.incarnations)
    check(now, before.incarnations, confirmed=frozenset({small.id}))


@settings(deadline=None)
@given(st.integers(0, 3), some_workloads)
def test_what_one_workload_changes_takes_no_announcement_from_another(sharing: int, changes: list[Workload]) -> None:
    """From some that share a prefix on, one workload after the other is created, changed or deleted, each confirmed by
    name alone: a plan that passes the check leaves every other workload's addresses announced where they were.
    """
    world = World(network=network(), workloads=tuple(workload(f"w{n}") for n in range(sharing)))
    before = plan(world)
    for change in changes:
        others = tuple(w for w in world.workloads if w.id != change.id)
        changed = after(world, before, workloads=(*others, change))
        now = plan(changed)
        try:
            check(now, before.incarnations, confirmed=frozenset({change.id}))
        except Unsafe:
            continue
        assert all(told(before, w) <= told(now, w) for w in others)
        world, before = changed, now


def told(planned: Plan, whose: Workload) -> set[tuple[str, object]]:
    addresses = {a.address4 for a in planned.anycast if a.workload_id == whose.id}
    return {
        (city, g) for city, part in planned.hosts.items() for a in part.announcements for g in a.gates if g in addresses
    }


def test_leaving_a_city_may_not_silence_a_neighbour_in_the_same_prefix() -> None:
    """b leaves LHR, asked for by name; a, in the same covering prefix, would lose LHR, and nobody asked a. On its
    own b may leave.
    """
    a, b, smaller = workload("a"), workload("b"), workload("b", cities=[c for c in CITIES if c != LHR])
    before = planned_of(a, b)
    now = plan(after(World(network=network(), workloads=(a, smaller)), before))
    with pytest.raises(
        Unsafe, match=r"workload id-a: would no longer be announced at LHR, since workload id-b .* leaves"
    ) as caught:
        check(now, before.incarnations, confirmed=frozenset({b.id}))
    assert len(caught.value.problems) == 1
    check(now, before.incarnations, confirmed=frozenset({a.id, b.id}))
    alone = planned_of(b)
    check(
        plan(after(World(network=network(), workloads=(smaller,)), alone)),
        alone.incarnations,
        confirmed=frozenset({b.id}),
    )
    deleted = plan(after(World(network=network(), workloads=(a, replace(b, deleting=True))), before))
    check(deleted, before.incarnations, confirmed=frozenset({b.id}))
    grown = plan(
        after(World(network=network(), workloads=(a, replace(b, targets=(replace(b.targets[0], replicas=3),)))), before)
    )
    check(grown, before.incarnations)
