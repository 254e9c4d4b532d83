"""Placement and numbering: who gets which place, and that nobody else moves."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from anypop.model.names import CityCode, HostName
from anypop.model.order import InstanceOrder
from anypop.model.plan import Plan, World
from anypop.model.reasons import Reason
from anypop.model.workload import Target, Workload
from anypop.plan.check import check
from anypop.plan.planner import plan
from tests.worlds import AMS, CITIES, JFK, LAX, LHR, after, network, part_of, workload

some_cities = st.lists(st.sampled_from(CITIES), min_size=1, unique=True)
some_workloads = st.lists(
    st.tuples(st.integers(0, 5), some_cities, st.integers(0, 4), st.booleans(), st.booleans()),
    max_size=6,
    unique_by=lambda row: row[0],
).map(lambda rows: [workload(f"w{n}", cities=c, replicas=r, deleting=d, anycast=a) for n, c, r, d, a in rows])


def lives(planned: Plan) -> dict[str, InstanceOrder]:
    return {i.uid: i for part in planned.hosts.values() for i in part.instances}


def addresses(order: InstanceOrder) -> list[tuple[str, str, str]]:
    """Gateway, private and external address of each family."""
    return [(str(a.gateway), str(a.private), str(a.external)) for a in order.addresses()]


def test_instances_are_named_and_numbered_by_their_place() -> None:
    """An instance is `<workload>-<target>-<city>-<n>`, and its addresses follow from its index."""
    wanted = workload("fun", targets=(Target(name="na1", cities=(JFK, LAX), replicas=2),))
    planned = plan(World(network=network(), workloads=(wanted,)))
    assert [s.name for s in planned.incarnations] == ["fun-na1-jfk-0", "fun-na1-jfk-1", "fun-na1-lax-0", "fun-na1-lax-1"]
    first, second = part_of(planned, JFK).instances
    assert addresses(first)[0] == ("10.2.0.0", "10.2.0.1", "198.20.0.1")
    assert addresses(second)[0] == ("10.2.0.2", "10.2.0.3", "198.20.0.2")
    assert addresses(second)[1] == ("fd00:2::2", "fd00:2::3", "2001:db8:3::2")
    assert first.hosts_domain == "fun.edgeengine.internal"


@settings(deadline=None)
@given(some_workloads, some_workloads)
def test_no_two_instances_ever_share_an_address(first: list[Workload], second: list[Workload]) -> None:
    """Whatever was wanted before and is wanted now, each address has one owner, and all lie inside their prefixes."""
    world = World(network=network(), workloads=tuple(first))
    planned = plan(world)
    check(planned, (), confirmed=frozenset())
    again = plan(after(world, planned, workloads=tuple(second)))
    check(again, (), confirmed=frozenset())


@settings(deadline=None)
@given(some_workloads)
def test_a_plan_of_its_own_outcome_changes_nothing(workloads: list[Workload]) -> None:
    """Planning again from the stored plan gives the same plan."""
    world = World(network=network(), workloads=tuple(workloads))
    planned = plan(world)
    again = plan(after(world, planned))
    assert again.hosts == planned.hosts
    assert (again.incarnations, again.anycast, again.removals) == (planned.incarnations, planned.anycast, planned.removals)


@settings(deadline=None)
@given(some_workloads, some_workloads)
def test_what_one_asks_for_moves_nobody_else(workloads: list[Workload], others: list[Workload]) -> None:
    """Whoever is wanted before and after keeps name, uid and every address, whatever comes or goes beside it."""
    world = World(network=network(), workloads=tuple(workloads))
    planned = plan(world)
    fixed = {w.slug for w in workloads}
    joined = tuple(workloads) + tuple(w for w in others if w.slug not in fixed)
    again = plan(after(world, planned, workloads=joined))
    now = lives(again)
    assert all(now[uid] == order for uid, order in lives(planned).items())


@settings(deadline=None)
@given(some_workloads, some_workloads)
def test_an_instance_leaves_only_by_an_explicit_removal(first: list[Workload], second: list[Workload]) -> None:
    """Every slot of before is either still there or named, with its uid, among the removals of its PoP."""
    world = World(network=network(), workloads=tuple(first))
    planned = plan(world)
    again = plan(after(world, planned, workloads=tuple(second)))
    still = {s.uid for s in again.incarnations}
    removed = {(host, r.name, r.uid) for host, r in again.removals}
    for slot in planned.incarnations:
        assert (slot.uid in still) != ((slot.host, slot.name, slot.uid) in removed)


@settings(deadline=None)
@given(some_workloads, some_cities)
def test_a_pop_that_returns_loses_no_instance_that_is_still_wanted(workloads: list[Workload], left: list[CityCode]) -> None:
    """PoPs may vanish from the network and return: the same instances are ordered there as before."""
    world = World(network=network(), workloads=tuple(workloads))
    planned = plan(world)
    without = after(world, planned, network=network(left))
    meanwhile = plan(without)
    assert not meanwhile.removals
    returned = plan(after(without, meanwhile, network=network()))
    assert {h: p.instances for h, p in returned.hosts.items()} == {h: p.instances for h, p in planned.hosts.items()}


def test_a_name_that_returns_is_a_new_incarnation_at_a_new_place() -> None:
    """Scaled down and up again: new uid, and an index that nobody uses until the old one is gone and has rested."""
    world = World(network=network(), workloads=(workload(cities=[LHR], replicas=2),))
    two = plan(world)
    fewer = after(world, two, workloads=(workload(cities=[LHR], replicas=1),))
    one = plan(fewer)
    ((_, removal),) = one.removals
    assert (removal.name, removal.uid, removal.index) == ("web-all-lhr-1", two.incarnations[1].uid, 1)
    assert removal.reason is Reason.SCALED_DOWN
    assert removal.detail == "1 in each city of target all"
    more = after(fewer, one, workloads=world.workloads)
    again = plan(more)
    assert again.incarnations[1].uid != removal.uid
    assert again.incarnations[1].index == 2
    gone = plan(replace(more, removals=(), resting_indexes=frozenset({(HostName(LHR), 1)})))
    assert gone.incarnations[1].index == 2
    rested = plan(replace(more, removals=()))
    assert rested.incarnations[1].index == 1
    assert rested.incarnations[1].uid != removal.uid


def test_a_full_pop_says_so_and_all_others_go_on() -> None:
    """A PoP with four places takes four instances, notes the rest, and lets later workloads have the other cities."""
    small = network(external_bits=29)  # six addresses
    world = World(network=small, workloads=(workload("big", cities=[LHR], replicas=7), workload("late", cities=[LHR, AMS], replicas=1)))
    planned = plan(world)
    assert [i.name for i in part_of(planned, LHR).instances] == [f"big-all-lhr-{n}" for n in range(6)]
    assert [i.name for i in part_of(planned, AMS).instances] == ["late-all-ams-0"]
    full = [n for n in planned.notes if n.reason is Reason.POP_FULL]
    assert [n.subject for n in full] == ["big-all-lhr-6", "late-all-lhr-0"]
    assert "all 6 addresses of LHR are taken" in full[0].detail


def test_a_city_without_a_pop_is_noted_once() -> None:
    """A target that names a city nobody runs is told so, and its other cities are served."""
    planned = plan(World(network=network([AMS]), workloads=(workload(cities=[AMS, LHR], replicas=2),)))
    assert len(part_of(planned, AMS).instances) == 2
    (note,) = planned.notes
    assert (note.subject, note.reason) == ("web", Reason.NO_SUCH_POP)


def test_deleting_a_workload_buries_exactly_its_instances() -> None:
    """Deletion turns each slot of the workload into a removal with its reason, and touches no other."""
    world = World(network=network(), workloads=(workload("a"), workload("b")))
    planned = plan(world)
    again = plan(after(world, planned, workloads=(replace(workload("a"), deleting=True), workload("b"))))
    assert {s.workload_id for s in again.incarnations} == {"id-b"}
    assert {r.reason for _, r in again.removals} == {Reason.WORKLOAD_DELETED}
    assert len(again.removals) == 8
    assert all(len(part.removed) == 2 for part in again.hosts.values())


def test_two_stacks_may_use_the_same_slug() -> None:
    """Equal names in two stacks are two instances with two uids and two places."""
    mine, yours = workload("web", cities=[LHR], replicas=1), workload("web", cities=[LHR], replicas=1, id="other", stack_id="stack-2")
    planned = plan(World(network=network(), workloads=(mine, yours)))
    assert len({s.uid for s in planned.incarnations}) == len({s.index for s in planned.incarnations}) == 2
    check(planned, (), confirmed=frozenset())


def test_a_workload_nobody_can_place_harms_nobody() -> None:
    """A workload without cities, one with a thousand replicas and one in no city leave the fourth as it is alone."""
    fine = workload("fine")
    poison = (
        workload("empty", targets=()),
        workload("huge", replicas=1000, cities=[LHR]),
        workload("nowhere", cities=[CityCode("XXX")]),
    )
    alone = plan(World(network=network(), workloads=(fine,)))
    beside = plan(World(network=network(), workloads=(fine, *poison)))
    assert [i for i in lives(beside).values() if i.workload_id == fine.id] == list(lives(alone).values())
