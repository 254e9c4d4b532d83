"""Placement and numbering: who gets which place, who lives there, and that nobody else moves."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anypop.model.names import CityCode, HostName
from anypop.model.network import Capacity, Network, Pop
from anypop.model.order import InstanceOrder
from anypop.model.plan import Incarnation, Plan, World
from anypop.model.reasons import Reason
from anypop.model.rollout import Rollout, RolloutKind, RolloutPhase, Strategy
from anypop.model.workload import Container, Port, Probe, ProbeKind, Target, Workload
from anypop.plan.check import check
from anypop.plan.planner import plan
from anypop.plan.template import template_of
from tests.worlds import AMS, CITIES, JFK, KEY, LAX, LHR, after, host, network, part_of, workload

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
    assert [s.name for s in planned.incarnations] == [
        "fun-na1-jfk-0",
        "fun-na1-jfk-1",
        "fun-na1-lax-0",
        "fun-na1-lax-1",
    ]
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
    assert (again.incarnations, again.anycast, again.removals) == (
        planned.incarnations,
        planned.anycast,
        planned.removals,
    )


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
def test_a_pop_that_returns_loses_no_instance_that_is_still_wanted(
    workloads: list[Workload], left: list[CityCode]
) -> None:
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
    world = World(
        network=small,
        workloads=(workload("big", cities=[LHR], replicas=7), workload("late", cities=[LHR, AMS], replicas=1)),
    )
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
    mine, yours = (
        workload("web", cities=[LHR], replicas=1),
        workload("web", cities=[LHR], replicas=1, id="other", stack_id="stack-2"),
    )
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


# a slot and its incarnations

GIB = 1 << 30


def changed(before: Workload, **more: Any) -> Workload:
    """Another revision of it with another image, unless `more` says what else."""
    container = replace(before.containers[0], image=f"{before.containers[0].image}+")
    wanted = replace(before, revision=before.revision + 1, **(more or {"containers": (container,)}))
    return replace(wanted, template=template_of(wanted, KEY))


def update(to: Workload, *waves: Iterable[CityCode], **more: Any) -> Rollout:
    plain = Rollout(
        id="r",
        workload_id=to.id,
        kind=RolloutKind.UPDATE,
        revision=to.revision,
        previous=to.revision - 1,
        waves=tuple(tuple(w) for w in waves) or (CITIES,),
        created_at=0,
        wave_at=0,
    )
    return replace(plain, **more)


@dataclass
class Platform:
    """A world that goes on from plan to plan, each one checked before it is stored."""

    world: World
    planned: Plan = field(init=False)

    def __post_init__(self) -> None:
        self.planned = plan(self.world)
        check(self.planned, ())
        self.world = after(self.world, self.planned)

    def go(self, *, asked: Iterable[Workload] = (), **changes: Any) -> Plan:
        before = self.world.incarnations
        self.world = replace(self.world, **changes)
        self.planned = plan(self.world)
        check(self.planned, before, confirmed=frozenset(w.id for w in asked))
        self.world = after(self.world, self.planned)
        return self.planned

    def change(self, *waves: Iterable[CityCode], to: Workload | None = None, **rollout: Any) -> Workload:
        """Declare another revision of the only workload, and begin its rollout."""
        (old,) = self.world.workloads
        new = to or changed(old)
        self.go(
            workloads=(new,),
            revisions=(*self.world.revisions, old),
            rollouts=(update(new, *waves, **rollout),),
            ready=frozenset(),
        )
        return new

    def rollout(self, **changes: Any) -> Plan:
        (old,) = self.world.rollouts
        return self.go(rollouts=(replace(old, **changes),))

    def become_ready(self, *uids: str) -> Plan:
        return self.go(ready=self.world.ready | set(uids))

    def gone(self) -> Plan:
        """Every host reports its removals complete."""
        return self.go(removals=())

    def lives(self, name: str) -> list[Incarnation]:
        """The living incarnations of a slot, the older first."""
        return sorted((i for i in self.planned.incarnations if i.name == name), key=lambda i: i.life)

    def reasons(self) -> dict[str, str]:
        return {r.uid: r.reason for _, r in self.planned.removals}


def single(replicas: int = 1, **more: Any) -> Platform:
    return Platform(World(network=network([LHR]), workloads=(workload(cities=[LHR], replicas=replicas),), **more))


def test_a_new_incarnation_stands_beside_the_old_one_with_its_own_link_at_the_slots_place() -> None:
    """Same name, place and external addresses; another uid, link, private addresses, life, template and revision."""
    platform = single()
    new = platform.change()
    old, beside = platform.lives("web-all-lhr-0")
    assert (old.index, old.host, old.name) == (beside.index, beside.host, beside.name)
    assert old.uid != beside.uid and old.link != beside.link and old.life < beside.life
    assert (old.template, old.revision) != (beside.template, beside.revision) == (new.template, 2)
    one, two = part_of(platform.planned, LHR).instances
    assert [external for _, _, external in addresses(one)] == [external for _, _, external in addresses(two)]
    assert {private for _, private, _ in addresses(one)}.isdisjoint({private for _, private, _ in addresses(two)})
    assert (one.containers[0].image, two.containers[0].image) == ("registry.example/web:1", "registry.example/web:1+")
    assert (one.life, two.life, two.template, two.revision) == (old.life, beside.life, new.template, 2)
    assert one.anycast == two.anycast != ()
    assert not platform.planned.removals


def test_the_old_one_goes_when_the_new_one_has_been_healthy_and_not_before() -> None:
    """Its place stays with the slot, its link rests with it."""
    platform = single()
    platform.change()
    old, beside = platform.lives("web-all-lhr-0")
    platform.go()
    assert platform.lives("web-all-lhr-0") == [old, beside]
    platform.become_ready(beside.uid)
    assert platform.lives("web-all-lhr-0") == [beside]
    ((_, removal),) = platform.planned.removals
    assert (removal.uid, removal.reason, removal.index, removal.link) == (
        old.uid,
        Reason.SUPERSEDED,
        old.index,
        old.link,
    )
    (declared,) = platform.world.workloads
    platform.go(workloads=(replace(declared, targets=(replace(declared.targets[0], replicas=2),)),), rollouts=())
    assert platform.lives("web-all-lhr-1")[0].link not in (old.link, beside.link)
    platform.go(removals=(), resting_links=frozenset({(old.host, old.link)}))
    assert platform.lives("web-all-lhr-0") == [beside] and not platform.planned.removals
    platform.go(workloads=(replace(declared, targets=(replace(declared.targets[0], replicas=3),)),))
    assert platform.lives("web-all-lhr-2")[0].link != old.link
    platform.go(
        workloads=(replace(declared, targets=(replace(declared.targets[0], replicas=4),)),), resting_links=frozenset()
    )
    assert platform.lives("web-all-lhr-3")[0].link == old.link


def test_a_change_that_needs_no_process_makes_no_incarnation() -> None:
    """The same uid follows the new revision: its ports, probes and labels."""
    platform = single()
    (old,) = platform.lives("web-all-lhr-0")
    (declared,) = platform.world.workloads
    opened = replace(
        declared.containers[0], ports=(Port(name="http", port=8080),), readiness=Probe(kind=ProbeKind.TCP, port=8080)
    )
    new = changed(declared, containers=(opened,), labels=(("a", "b"),))
    platform.go(workloads=(new,), revisions=(declared,))
    assert platform.lives("web-all-lhr-0") == [replace(old, revision=2)]
    assert part_of(platform.planned, LHR).instances[0].containers == (opened,)
    assert not platform.planned.removals


def test_without_a_rollout_nothing_changes() -> None:
    """The old one goes on with its own revision: image, probes and all, whatever is declared; so it does while the
    rollout is paused.
    """
    platform = single()
    (old,) = platform.lives("web-all-lhr-0")
    (declared,) = platform.world.workloads
    new = changed(declared)
    for rollouts in ((), (update(new, phase=RolloutPhase.PAUSED),), (update(new, (AMS,), (LHR,)),)):
        platform.go(workloads=(new,), revisions=(declared,), rollouts=rollouts)
        assert platform.lives("web-all-lhr-0") == [old]
        assert part_of(platform.planned, LHR).instances[0].containers == declared.containers


def test_on_each_host_one_at_a_time_is_changed_and_more_where_the_strategy_says_so() -> None:
    """The next begins when the one before is through: beside, ready, old one gone."""
    platform = single(replicas=3)
    platform.change(strategy=Strategy(surge=1))
    assert [len(platform.lives(f"web-all-lhr-{n}")) for n in range(3)] == [2, 1, 1]
    platform.become_ready(platform.lives("web-all-lhr-0")[1].uid)
    platform.go()
    assert [len(platform.lives(f"web-all-lhr-{n}")) for n in range(3)] == [1, 1, 1], "the old one still drains"
    platform.gone()
    assert [len(platform.lives(f"web-all-lhr-{n}")) for n in range(3)] == [1, 2, 1]
    platform.rollout(strategy=Strategy(surge=5))
    assert [len(platform.lives(f"web-all-lhr-{n}")) for n in range(3)] == [1, 2, 2]


def test_each_host_has_a_surge_of_its_own() -> None:
    """Of two hosts in a PoP each changes one."""
    platform = Platform(World(network=two_hosts(), workloads=(workload(cities=[LHR], replicas=4),)))
    platform.change()
    double = [name for name in (f"web-all-lhr-{n}" for n in range(4)) if len(platform.lives(name)) == 2]
    assert sorted(platform.lives(name)[0].host for name in double) == ["LHR-1", "LHR-2"]


def test_a_change_taken_back_removes_the_newer_ones_at_once() -> None:
    """Where the old one still lives nothing else is needed."""
    platform = single(replicas=2)
    (good,) = platform.world.workloads
    bad = platform.change(strategy=Strategy(surge=2))
    olds = {platform.lives(f"web-all-lhr-{n}")[0] for n in range(2)}
    back = replace(good, revision=3)
    platform.go(workloads=(back,), revisions=(good, bad), rollouts=(update(back, previous=0),))
    assert {i for n in range(2) for i in platform.lives(f"web-all-lhr-{n}")} == {replace(i, revision=3) for i in olds}
    assert set(platform.reasons().values()) == {Reason.REVERTED}
    again = changed(bad)
    platform.go(workloads=(again,), revisions=(good, bad, back), rollouts=(update(again),))
    assert len(platform.planned.incarnations) == 2, "nothing is changed anew while what is taken back still goes"
    platform.gone()
    assert len(platform.planned.incarnations) == 3


def test_a_change_taken_back_keeps_a_newer_one_that_serves_until_the_older_does() -> None:
    """The one that is healthy is the only one that answers for the slot."""
    platform = single()
    (good,) = platform.world.workloads
    bad = platform.change()
    old, beside = platform.lives("web-all-lhr-0")
    back = replace(good, revision=3)
    platform.go(
        workloads=(back,), revisions=(good, bad), rollouts=(update(back, previous=0),), ready=frozenset({beside.uid})
    )
    assert len(platform.lives("web-all-lhr-0")) == 2 and not platform.planned.removals
    platform.become_ready(old.uid)
    assert platform.reasons() == {beside.uid: Reason.REVERTED}


def test_a_change_overtaken_by_another_is_reduced_to_the_one_that_serves() -> None:
    """The old one while the newer is not ready, else the newer; never a third beside two."""
    for ready in (False, True):
        platform = single()
        (first,) = platform.world.workloads
        second = platform.change()
        old, beside = platform.lives("web-all-lhr-0")
        third = changed(second)
        platform.go(
            workloads=(third,),
            revisions=(first, second),
            rollouts=(update(third),),
            ready=frozenset({beside.uid} if ready else ()),
        )
        stays, goes = (beside, old) if ready else (old, beside)
        assert platform.lives("web-all-lhr-0") == [stays]
        assert platform.reasons() == {goes.uid: Reason.SUPERSEDED}
        platform.gone()
        assert [i.template for i in platform.lives("web-all-lhr-0")] == [stays.template, third.template]


def test_a_scale_up_during_a_rollout_begins_on_the_previous_revision() -> None:
    """In a PoP that is not reached yet; where the change is under way a new slot begins with it."""
    platform = Platform(World(network=network(), workloads=(workload(replicas=1),)))
    new = platform.change([AMS], [LHR], [JFK, LAX])
    more = replace(new, targets=(replace(new.targets[0], replicas=2),))
    platform.go(workloads=(more,))
    assert platform.lives("web-all-ams-1")[0].template == new.template
    (late,) = platform.lives("web-all-lhr-1")
    assert (late.template, late.revision) == (platform.lives("web-all-lhr-0")[0].template, 1)
    assert [i.containers[0].image for i in part_of(platform.planned, LHR).instances] == ["registry.example/web:1"] * 2


def test_a_city_that_joins_during_a_rollout_begins_as_its_neighbours_are() -> None:
    """Its PoP is not proven yet either: it changes when its wave comes."""
    platform = Platform(World(network=network([AMS, LHR]), workloads=(workload(replicas=1),)))
    new = platform.change([AMS], [LHR, JFK, LAX])
    platform.go(network=network([AMS, LHR, JFK]))
    assert [i.template == new.template for i in platform.lives("web-all-jfk-0")] == [False]
    platform.rollout(wave=1)
    assert [i.template == new.template for i in platform.lives("web-all-jfk-0")] == [False, True]


def test_deleting_and_scaling_down_take_both_of_a_slot() -> None:
    """Each with its own token."""
    for wanted, reason in (
        ({"deleting": True}, Reason.WORKLOAD_DELETED),
        ({"targets": (Target(name="all", cities=(LHR,), replicas=0),)}, Reason.SCALED_DOWN),
        ({"targets": (Target(name="other", cities=(LHR,), replicas=1),)}, Reason.TARGET_REMOVED),
        ({"targets": (Target(name="all", cities=(AMS,), replicas=1),)}, Reason.CITY_REMOVED),
    ):
        platform = single()
        new = platform.change()
        uids = {i.uid for i in platform.lives("web-all-lhr-0")}
        platform.go(workloads=(replace(new, **wanted),), asked=(new,))
        assert platform.reasons() == dict.fromkeys(uids, reason)


def test_one_whose_template_is_not_known_yet_is_left_alone_until_its_host_tells() -> None:
    """Taken over from an older version: the same as declared is adopted, something else is changed like any other."""
    platform = single()
    (declared,) = platform.world.workloads
    (old,) = platform.lives("web-all-lhr-0")
    new = replace(declared, revision=2)
    rolling = (update(new),)
    unknown = (replace(old, template=""),)
    platform.go(workloads=(new,), revisions=(declared,), rollouts=rolling, incarnations=unknown)
    assert platform.lives("web-all-lhr-0") == list(unknown)
    assert part_of(platform.planned, LHR).instances[0].template == declared.template, (
        "its agent compares by the order's"
    )
    platform.go(incarnations=(replace(old, template=declared.template),))
    assert platform.lives("web-all-lhr-0") == [replace(old, revision=2)]
    platform.go(incarnations=(replace(old, template="unknown"),))
    assert [i.template for i in platform.lives("web-all-lhr-0")] == ["unknown", declared.template]


# room


def sized(cpu_millis: int, gib: int = 1, **more: Any) -> Workload:
    container = Container(name="app", image="x", cpu_millis=cpu_millis, memory_bytes=gib * GIB)
    return workload(containers=(container,), **more)


def room(cpu_millis: int = 1 << 20, memory: int = 1 << 20, disk: int = 1 << 20) -> Capacity:
    return Capacity(cpu_millis=cpu_millis, memory_bytes=memory * GIB, disk_bytes=disk * GIB)


@pytest.mark.parametrize(
    ("has", "words"),
    [
        (room(cpu_millis=3500), "needs 2 CPUs, 1.5 of 3.5 are free on LHR"),
        (room(memory=5), "needs 3 GiB of memory, 2 of 5 are free on LHR"),
        (room(disk=1), "needs 1 GiB of disk, 0 of 1 are free on LHR"),
    ],
    ids=["cpu", "memory", "disk"],
)
def test_what_finds_no_room_is_told_with_the_numbers(has: Capacity, words: str) -> None:
    """The first of two fits, the second does not; another city that has room goes on."""
    world = World(
        network=network([LHR, AMS]),
        workloads=(sized(2000, 3, cities=[LHR, AMS], replicas=2),),
        capacities={HostName(LHR): has},
    )
    planned = plan(world)
    (note,) = planned.notes
    assert (note.subject, note.reason) == ("web-all-lhr-1", Reason.NO_ROOM)
    assert note.detail == f"LHR: {words}"
    assert [len(part_of(planned, c).instances) for c in (LHR, AMS)] == [1, 2]


def test_who_has_a_place_keeps_it_when_the_room_shrinks() -> None:
    """An operator who takes capacity away moves nobody; what is new finds none."""
    platform = Platform(World(network=network([LHR]), workloads=(sized(2000, cities=[LHR], replicas=2),)))
    names = [i.uid for i in platform.planned.incarnations]
    platform.go(capacities={HostName(LHR): room(cpu_millis=1000)}, workloads=(sized(2000, cities=[LHR], replicas=3),))
    assert [i.uid for i in platform.planned.incarnations] == names
    assert [n.reason for n in platform.planned.notes] == [Reason.NO_ROOM]
    platform.go(capacities={HostName(LHR): room(cpu_millis=6000)})
    assert len(platform.planned.incarnations) == 3


def test_where_there_is_no_room_for_two_the_old_one_goes_first_only_with_leave() -> None:
    """Without leave it waits and says so with the numbers; with it, the new one is ordered when the old one is gone."""
    platform = Platform(
        World(
            network=network([LHR]),
            workloads=(sized(2000, cities=[LHR], replicas=2),),
            capacities={HostName(LHR): room(cpu_millis=5000)},
        )
    )
    (declared,) = platform.world.workloads
    new = platform.change()
    first, second = (platform.lives(f"web-all-lhr-{n}")[0] for n in range(2))
    assert len(platform.planned.incarnations) == 2
    assert {(n.subject, n.reason) for n in platform.planned.notes} == {
        (i.name, Reason.WAITS_FOR_ROOM) for i in (first, second)
    }
    assert "needs 2 CPUs, 1 of 5 are free on LHR" in platform.planned.notes[0].detail
    platform.rollout(may_stop_first=frozenset({first.uid}))
    assert platform.reasons() == {first.uid: Reason.REPLACED}
    (successor,) = platform.lives(first.name)
    assert (successor.template, successor.index) == (new.template, first.index)
    assert [i.uid for i in part_of(platform.planned, LHR).instances] == [second.uid], (
        "not ordered while the old one is there"
    )
    platform.rollout(may_stop_first=frozenset())
    assert [i.uid for i in part_of(platform.planned, LHR).instances] == [second.uid]
    platform.gone()
    assert {i.uid for i in part_of(platform.planned, LHR).instances} == {successor.uid, second.uid}
    assert declared.template == second.template


def test_one_that_would_make_too_little_room_does_not_go_for_nothing() -> None:
    """The new one needs more than the old one leaves: it waits, leave or not."""
    platform = Platform(
        World(
            network=network([LHR]),
            workloads=(sized(1000, cities=[LHR], replicas=2),),
            capacities={HostName(LHR): room(cpu_millis=3000)},
        )
    )
    (declared,) = platform.world.workloads
    (old,) = platform.lives("web-all-lhr-0")
    big = changed(declared, containers=(replace(declared.containers[0], cpu_millis=2500),))
    platform.change(to=big, may_stop_first=frozenset({old.uid}))
    assert platform.lives("web-all-lhr-0") == [old] and not platform.planned.removals
    assert {n.reason for n in platform.planned.notes} == {Reason.WAITS_FOR_ROOM}
    platform.change(
        to=changed(big, containers=(replace(declared.containers[0], cpu_millis=2000),)),
        may_stop_first=frozenset({old.uid}),
    )
    assert platform.reasons() == {old.uid: Reason.REPLACED}


def test_leave_to_stop_first_is_not_used_where_there_is_room_for_two() -> None:
    """Beside is always better."""
    platform = single()
    (old,) = platform.lives("web-all-lhr-0")
    platform.change(may_stop_first=frozenset({old.uid}))
    assert len(platform.lives("web-all-lhr-0")) == 2 and not platform.planned.removals


def test_a_smaller_revision_needs_the_room_of_the_smaller_one() -> None:
    """What stands is counted by the revision that it runs, what is new by its own."""
    platform = Platform(
        World(
            network=network([LHR]),
            workloads=(sized(3000, cities=[LHR], replicas=1),),
            capacities={HostName(LHR): room(cpu_millis=5000)},
        )
    )
    (declared,) = platform.world.workloads
    small = changed(declared, containers=(replace(declared.containers[0], cpu_millis=1000),))
    platform.change(to=small)
    platform.become_ready(platform.lives("web-all-lhr-0")[1].uid)
    platform.gone()
    big = changed(small, containers=(replace(declared.containers[0], cpu_millis=3500),))
    platform.change(to=big)
    assert not platform.planned.notes and len(platform.lives("web-all-lhr-0")) == 2
    platform.become_ready(platform.lives("web-all-lhr-0")[1].uid)
    platform.gone()
    platform.change(to=changed(big, containers=declared.containers))
    assert [n.detail for n in platform.planned.notes] == ["needs 3 CPUs, 1.5 of 5 are free on LHR"]


def test_where_all_links_are_taken_a_change_waits() -> None:
    """A /29 of private addresses has four links: three live, one is beside, and the next two wait until links have
    rested.
    """
    site = network([LHR]).pops[0]
    small = replace(site, hosts=(replace(site.hosts[0], private4=IPv4Network("10.1.0.0/29")),))
    platform = Platform(
        World(network=replace(network([LHR]), pops=(small,)), workloads=(workload(cities=[LHR], replicas=3),))
    )
    platform.change(strategy=Strategy(surge=3))
    assert [len(platform.lives(f"web-all-lhr-{n}")) for n in range(3)] == [2, 1, 1]
    assert {n.detail for n in platform.planned.notes} == {"all 4 private links of LHR are taken"}
    (declared,) = platform.world.workloads
    platform.go(workloads=(replace(declared, targets=(replace(declared.targets[0], replicas=4),)),))
    note = next(n for n in platform.planned.notes if n.subject == "web-all-lhr-3")
    assert (note.reason, note.detail) == (Reason.POP_FULL, "LHR: all 4 addresses of LHR are taken")


# hosts


def two_hosts(count: int = 2) -> Network:
    return replace(
        network([LHR]), pops=(Pop(city=LHR, hosts=tuple(host(HostName(f"LHR-{n}"), n) for n in range(1, count + 1))),)
    )


def test_instances_are_spread_over_the_hosts_of_a_pop() -> None:
    """Where the workload has fewest, then where fewest are, then the first by name."""
    planned = plan(
        World(
            network=two_hosts(3),
            workloads=(workload("a", cities=[LHR], replicas=4), workload("b", cities=[LHR], replicas=2)),
        )
    )
    where = {i.name: i.host for i in planned.incarnations}
    assert [where[f"a-all-lhr-{n}"] for n in range(4)] == ["LHR-1", "LHR-2", "LHR-3", "LHR-1"]  # type: ignore[index]
    assert [where[f"b-all-lhr-{n}"] for n in range(2)] == ["LHR-2", "LHR-3"]  # type: ignore[index]
    platform = Platform(
        World(
            network=two_hosts(),
            workloads=(workload("b", cities=[LHR], replicas=3),),
            lost=frozenset({HostName("LHR-1")}),
        )
    )
    platform.go(workloads=(*platform.world.workloads, workload("a", cities=[LHR], replicas=2)), lost=frozenset())
    assert [platform.lives(f"a-all-lhr-{n}")[0].host for n in range(2)] == ["LHR-1", "LHR-2"], (
        "beside three others, but not beside its own"
    )


def test_a_host_without_room_leaves_it_to_the_others() -> None:
    """And when none has room the note has the numbers of each."""
    capacities = {HostName("LHR-1"): room(cpu_millis=1500), HostName("LHR-2"): room(cpu_millis=3000)}
    planned = plan(
        World(network=two_hosts(), workloads=(sized(2000, cities=[LHR], replicas=2),), capacities=capacities)
    )
    assert [i.host for i in planned.incarnations] == ["LHR-2"]
    (note,) = planned.notes
    assert "1.5 of 1.5 are free on LHR-1" in note.detail and "1 of 3 are free on LHR-2" in note.detail


@settings(deadline=None)
@given(some_workloads, some_workloads, st.integers(1, 3), st.integers(1, 3))
def test_a_place_never_moves_by_itself(first: list[Workload], second: list[Workload], before: int, later: int) -> None:
    """Neither for a host that is empty and new, nor for one that is fuller than another, nor for what others ask
    for.
    """
    local = [replace(w, targets=(replace(w.targets[0], cities=(LHR,)),)) for w in (*first, *second)]
    once = {w.id: w for w in reversed(local)}
    world = World(network=two_hosts(before), workloads=tuple(w for w in local[: len(first)] if once[w.id] is w))
    planned = plan(world)
    again = plan(after(world, planned, network=two_hosts(max(before, later)), workloads=tuple(once.values())))
    kept = {i.uid: (i.host, i.index, i.link) for i in again.incarnations}
    gone = {r.uid for _, r in again.removals}
    assert all(kept[i.uid] == (i.host, i.index, i.link) for i in planned.incarnations if i.uid not in gone)


def test_what_a_lost_host_had_is_placed_elsewhere_with_other_addresses() -> None:
    """Name and anycast address go on; what may still run there keeps its own, and has its token for the day it
    returns.
    """
    platform = Platform(World(network=two_hosts(), workloads=(workload(cities=[LHR], replicas=2),)))
    stranded = next(i for i in platform.planned.incarnations if i.host == "LHR-1")
    was = next(o for o in platform.planned.hosts[HostName("LHR-1")].instances)
    platform.go(lost=frozenset({HostName("LHR-1")}), moves=frozenset({stranded.uid}))
    (moved,) = platform.lives(stranded.name)
    assert moved.host == "LHR-2" and moved.life > stranded.life
    assert [(h, r.uid, r.reason) for h, r in platform.planned.removals] == [("LHR-1", stranded.uid, Reason.HOST_LOST)]
    now = next(o for o in platform.planned.hosts[HostName("LHR-2")].instances if o.name == stranded.name)
    assert now.anycast == was.anycast
    assert {a.external for a in now.addresses()}.isdisjoint({a.external for a in was.addresses()})
    platform.go()
    assert platform.lives(stranded.name) == [moved]


def test_a_lost_host_gets_nothing_new() -> None:
    """Neither a new instance, nor a new incarnation beside an old one; and who has no leave to move stays."""
    platform = Platform(World(network=two_hosts(), workloads=(workload(cities=[LHR], replicas=2),)))
    (declared,) = platform.world.workloads
    new = changed(declared)
    platform.go(lost=frozenset({HostName("LHR-1")}))
    stands = {i.uid for i in platform.planned.incarnations}
    platform.go(workloads=(new,), revisions=(declared,), rollouts=(update(new),))
    assert {i.host for i in platform.planned.incarnations if i.uid not in stands} == {"LHR-2"}
    platform.go(workloads=(replace(new, targets=(replace(new.targets[0], replicas=4),)),))
    assert {i.host for i in platform.planned.incarnations if i.uid not in stands} == {"LHR-2"}
    assert not any(r.reason is Reason.HOST_LOST for _, r in platform.planned.removals)


def test_without_room_elsewhere_a_stranded_one_stays_where_it_is() -> None:
    """It may still serve there."""
    capacities = {HostName("LHR-1"): room(cpu_millis=2000), HostName("LHR-2"): room(cpu_millis=2000)}
    platform = Platform(
        World(network=two_hosts(), workloads=(sized(2000, cities=[LHR], replicas=2),), capacities=capacities)
    )
    stranded = next(i for i in platform.planned.incarnations if i.host == "LHR-1")
    platform.go(lost=frozenset({HostName("LHR-1")}), moves=frozenset({stranded.uid}))
    assert platform.lives(stranded.name) == [stranded]
    assert not platform.planned.removals
    assert [n.reason for n in platform.planned.notes] == [Reason.NO_ROOM]


def test_one_that_moved_waits_for_no_removal_on_the_lost_host() -> None:
    """Its predecessor was to make room there; elsewhere there is room already."""
    full = {HostName("LHR-1"): room(cpu_millis=1000)}
    platform = Platform(World(network=two_hosts(), workloads=(workload(cities=[LHR], replicas=2),), capacities=full))
    first = next(i for i in platform.planned.incarnations if i.host == "LHR-1")
    platform.change(may_stop_first=frozenset({first.uid}))
    assert platform.reasons() == {first.uid: Reason.REPLACED}
    (waiting,) = platform.lives(first.name)
    platform.go(lost=frozenset({HostName("LHR-1")}), moves=frozenset({waiting.uid}))
    assert first.name in {o.name for o in platform.planned.hosts[HostName("LHR-2")].instances}
