"""Volumes, decided: where a slot may live, what a host has room for, who may have a volume, and what takes it away."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anypop.agent.decide import volumes
from anypop.agent.decide.converge import converge
from anypop.agent.decide.elements import ContainerSeen, ContainerState
from anypop.agent.decide.facts import Facts
from anypop.agent.decide.observed import Observed
from anypop.agent.decide.steps import (
    AttachVolume,
    CreateContainer,
    DeleteVolume,
    DetachVolumes,
    RemoveContainer,
    RestoreVolume,
    Step,
    TakeSnapshot,
)
from anypop.agent.decide.volumes_seen import VolumeSeen, VolumesSeen
from anypop.agent.naming import short
from anypop.model.confinement import InstanceRules
from anypop.model.names import HostName
from anypop.model.network import Capacity, Network
from anypop.model.order import Containers, InstanceOrder
from anypop.model.plan import World
from anypop.model.reasons import Reason
from anypop.model.rollout import Rollout, RolloutKind, Strategy
from anypop.model.volume import (
    Claim,
    Mount,
    Restore,
    StorageClass,
    Volume,
    VolumeOrder,
    VolumeRemoval,
    problems,
    volume_id,
)
from anypop.model.workload import Workload
from anypop.plan.planner import plan
from anypop.plan.rooms import ROOT_DISK_BYTES
from tests.agent_volumes import FakeVolumes
from tests.agent_world import FakeHost, instance, order, settle
from tests.examples import examples
from tests.worlds import LHR, after, host, network, workload

GIB = 1 << 30
DATA = Claim(slug="data", size_bytes=4 * GIB)


# --- where it lives


def two_in_london(*, classes: tuple[StorageClass, ...] = ()) -> Network:
    """A London of two hosts."""
    plain = network((LHR,))
    hosts = tuple(host(HostName(f"LHR-{n}"), n) for n in (1, 2))
    pops = (replace(plain.pops[0], hosts=hosts),)
    return replace(plain, pops=pops, instances=InstanceRules(storage_classes=classes))


def db(*, replicas: int = 1, claim: Claim = DATA, **more: Any) -> Workload:
    plain = workload("db", cities=(LHR,), replicas=replicas, volumes=(claim,), **more)
    box = replace(plain.containers[0], mounts=(Mount(claim=claim.slug, path="/srv/data"),))
    return replace(plain, containers=(box,))


def kept(world: World, number: int = 0, *, on: str = "LHR-2", size: int = 4 * GIB) -> Volume:
    wanted = world.workloads[0]
    name = f"db-all-lhr-{number}"
    return Volume(
        id=volume_id(wanted.id, name, "data"),  # type: ignore[arg-type]
        host=HostName(on), pop=LHR, workload_id=wanted.id, stack_id=wanted.stack_id,
        instance=name, claim="data", size_bytes=size, created_at=0.0, made=True,  # type: ignore[arg-type]
    )  # fmt: skip


def homes(world: World) -> dict[str, str]:
    return {str(i.name): str(i.host) for i in plan(world).incarnations}


def test_a_slot_lives_where_its_volume_is_or_waits_for_it() -> None:
    """Without a volume it would live on the first host."""
    world = World(network=two_in_london(), workloads=(db(),))
    assert homes(world) == {"db-all-lhr-0": "LHR-1"}
    there = replace(world, volumes=(kept(world),))
    assert homes(there) == {"db-all-lhr-0": "LHR-2"}
    lost = replace(there, lost=frozenset([HostName("LHR-2")]))
    assert homes(lost) == {}
    assert [n.reason for n in plan(lost).notes] == [Reason.VOLUME_LOST]
    let_go = replace(lost, volumes=(replace(kept(world), doomed_at=1.0),))
    assert homes(let_go) == {"db-all-lhr-0": "LHR-1"}


def test_one_that_lives_is_not_moved_away_from_its_volume() -> None:
    """By a lost host it would be, and is once the volume was let go."""
    world = World(network=two_in_london(), workloads=(db(),))
    made = plan(world)
    (life,) = made.incarnations
    left = {"lost": frozenset([life.host]), "moves": frozenset([life.uid])}
    world = after(world, made, volumes=(kept(world, on=life.host),), **left)
    assert {i.host for i in plan(world).incarnations} == {life.host}
    assert [n.reason for n in plan(world).notes] == [Reason.VOLUME_LOST]
    free = replace(world, volumes=())
    assert {i.host for i in plan(free).incarnations} == {HostName("LHR-2")}


def test_a_host_has_room_for_what_is_claimed_kept_and_copied() -> None:
    """Disk for two instances with their volumes; a volume that is kept takes the place of one, and so does a snapshot;
    an instance that comes back to its own takes no more.
    """
    fits = 2 * (ROOT_DISK_BYTES + DATA.size_bytes)
    room = Capacity(cpu_millis=64_000, memory_bytes=256 * GIB, disk_bytes=fits)
    rooms = {HostName(f"LHR-{n}"): room for n in (1, 2)}
    world = World(network=two_in_london(), workloads=(db(replicas=5),), capacities=rooms)
    assert len(homes(world)) == 4
    assert len(homes(replace(world, volumes=(kept(world, 9),)))) == 3
    assert len(homes(replace(world, volumes=(kept(world, 0), kept(world, 1))))) == 4
    copied = replace(kept(world, 0), snapshots=("early",))
    assert len(homes(replace(world, volumes=(copied,)))) == 3


def test_a_storage_class_is_had_by_the_hosts_that_are_named() -> None:
    fast = StorageClass(name="fast", path="/srv/nvme", hosts=(HostName("LHR-2"),))
    wanted = db(replicas=2, claim=replace(DATA, storage_class="fast"))
    assert set(homes(World(network=two_in_london(classes=(fast,)), workloads=(wanted,))).values()) == {"LHR-2"}
    nowhere = World(network=two_in_london(), workloads=(wanted,))
    assert homes(nowhere) == {}
    assert {n.detail for n in plan(nowhere).notes} == {"LHR: no host in reach has the storage classes fast"}
    wrong = (replace(fast, name="standard"), replace(fast, path="srv"), fast)
    assert [p.path for p in problems(wrong, "c")] == ["c[0].name", "c[1].path", "c[2].name"]


@pytest.mark.parametrize("may", [False, True])
def test_an_update_takes_the_old_one_first_and_only_with_leave(may: bool) -> None:
    """The successor is planned, and told to its host when the old one is gone; never are two told for one volume."""
    old = db()
    made = plan(World(network=two_in_london(), workloads=(old,)))
    (life,) = made.incarnations
    new = replace(old, revision=2, template="new")
    rollout = Rollout(
        id="r", workload_id=old.id, kind=RolloutKind.UPDATE, revision=2, previous=1, strategy=Strategy(),
        waves=((LHR,),), by="", created_at=0.0, wave_at=0.0, may_stop_first=frozenset([life.uid] if may else []),
    )  # fmt: skip
    world = World(network=two_in_london(), workloads=(old,))
    world = after(world, made, workloads=(new,), revisions=(old,), rollouts=(rollout,))
    changed = plan(world)
    told = changed.hosts[life.host]
    if not may:
        assert [i.uid for i in told.instances] == [life.uid]
        assert [n.reason for n in changed.notes] == [Reason.WAITS_FOR_VOLUME]
        return
    assert (told.instances, [r.reason for r in told.removed]) == ((), [Reason.REPLACED])
    (successor,) = changed.incarnations
    gone = after(world, changed, removals=(), rollouts=(rollout,))
    assert [i.uid for i in plan(gone).hosts[life.host].instances] == [successor.uid]


# --- what its host does


def boxed(n: int = 0, **more: Any) -> InstanceOrder:
    """An instance that mounts a volume."""
    plain = instance(n, **more)
    box = replace(plain.containers[0], mounts=(Mount(claim="data", path="/srv/data"),))
    return replace(plain, payload=Containers(containers=(box,)))


ONE = boxed()
ID = volume_id(ONE.workload_id, ONE.name, "data")
KEPT = VolumeOrder(id=ID, workload_id=ONE.workload_id, instance=ONE.name, claim="data", size_bytes=GIB)
ON_DISK = VolumesSeen(there={ID: VolumeSeen(size_bytes=GIB)})
MOUNTED = replace(ON_DISK, mounted={short(ONE.uid): frozenset([ID])})


def container(of: InstanceOrder, state: ContainerState = ContainerState.RUNNING) -> ContainerSeen:
    return ContainerSeen(id="c", instance=of.name, uid=of.uid, container=of.containers[0].name, state=state, pid=7)


def asked(
    seen: VolumesSeen, *instances: InstanceOrder, there: tuple[ContainerSeen, ...] = (), **more: Any
) -> list[Step]:
    """What concerns volumes and containers among the steps for a host that has wired these instances."""
    fake = FakeHost()
    given = replace(order(1, *instances), **more)
    plain = [replace(i, payload=Containers(containers=tuple(replace(c, mounts=()) for c in i.containers)))
             for i in instances]  # fmt: skip
    fake.obey(replace(order(1, *plain)))
    settle(fake)
    observed = replace(fake.observe(), containers=there, volumes=seen)
    assert isinstance(observed, Observed)
    wanted = (AttachVolume, DetachVolumes, TakeSnapshot, RestoreVolume, DeleteVolume, CreateContainer, RemoveContainer)
    return [s for s in converge(Facts(given, observed), 100.0) if isinstance(s, wanted)]


def kinds(steps: list[Step]) -> list[str]:
    return [type(step).__name__ for step in steps]


def test_it_is_mounted_before_the_container_is_made() -> None:
    assert kinds(asked(VolumesSeen(), ONE, volumes=(KEPT,))) == ["AttachVolume", "CreateContainer"]
    assert kinds(asked(MOUNTED, ONE, volumes=(KEPT,))) == ["CreateContainer"]


def test_nothing_is_made_without_its_order_its_folder_or_what_was_there() -> None:
    """An order that forgot it, a disk that is not mounted, a file that is gone: an empty volume would be a lie."""
    assert asked(ON_DISK, ONE) == []
    assert asked(VolumesSeen(hidden=frozenset([ID])), ONE, volumes=(replace(KEPT, path="/srv/nvme"),)) == []
    assert asked(VolumesSeen(), ONE, volumes=(replace(KEPT, made=True),)) == []


@pytest.mark.parametrize("mounted", [False, True])
def test_never_do_two_have_it(mounted: bool) -> None:
    """Whoever is there first keeps it: by a mount that is left, or by a container in whatever state."""
    other = replace(boxed(), uid="f" * 32, life=9, links=boxed(3).links)
    seen = replace(ON_DISK, mounted={short(ONE.uid): frozenset([ID])}) if mounted else ON_DISK
    there = () if mounted else (container(ONE),)
    steps = asked(seen, ONE, other, there=there, volumes=(KEPT,))
    assert not [s for s in steps if isinstance(s, AttachVolume | CreateContainer) and s.instance.uid == other.uid]
    left = asked(VolumesSeen(there=ON_DISK.there), other, volumes=(KEPT,))
    assert kinds(left) == ["AttachVolume", "CreateContainer"]


def test_a_restore_waits_until_nobody_has_it() -> None:
    wanted = replace(KEPT, restore=Restore(count=1, snapshot="early"))
    running = asked(MOUNTED, ONE, there=(container(ONE),), volumes=(wanted,))
    assert kinds(running) == ["RemoveContainer", "DetachVolumes"]
    assert kinds(asked(MOUNTED, ONE, volumes=(wanted,))) == ["DetachVolumes"]
    assert kinds(asked(ON_DISK, ONE, volumes=(wanted,))) == ["RestoreVolume"]
    done = VolumesSeen(there={ID: VolumeSeen(size_bytes=GIB, restored=1)})
    assert kinds(asked(done, ONE, volumes=(wanted,))) == ["AttachVolume", "CreateContainer"]


@settings(deadline=None)
@given(st.booleans(), st.booleans(), st.booleans(), st.booleans())
def test_only_a_token_takes_it_away_and_only_when_nobody_needs_it(
    token: bool, runs: bool, is_mounted: bool, has_container: bool
) -> None:
    """In every combination of what is told and what is there."""
    instances = (ONE,) if runs else ()
    there = (container(ONE),) if has_container and runs else ()
    seen = MOUNTED if is_mounted else ON_DISK
    removed = (VolumeRemoval(id=ID),) if token else ()
    steps = asked(seen, *instances, there=there, volumes_removed=removed)
    assert any(isinstance(s, DeleteVolume) for s in steps) is (token and not runs and not is_mounted)


def test_what_is_gone_is_told_and_what_nobody_can_see_is_not() -> None:
    given = replace(order(1), volumes_removed=(VolumeRemoval(id=ID), VolumeRemoval(id="b" * 16, path="/srv/nvme")))
    seen = VolumesSeen(hidden=frozenset(["b" * 16]))
    assert volumes.gone(Facts(given, Observed(volumes=seen))) == (ID,)
    assert volumes.gone(Facts(given, Observed(volumes=replace(seen, there=ON_DISK.there)))) == ()


@settings(max_examples=examples(30), deadline=None)
@given(st.data())
def test_whatever_dies_meanwhile_nobody_ever_shares_it(data: st.DataObject) -> None:
    """Incarnations of one slot come, go, and are told together by mistake; restores and snapshots are asked for; the
    agent is killed after any step. The fake host refuses what must never be; in the end the one that stays has it.
    """
    host, standing, lives, restores = FakeHost(), list[InstanceOrder](), 0, 0
    kills = data.draw(st.frozensets(st.integers(1, 60), max_size=6))
    for generation in range(1, data.draw(st.integers(2, 5)) + 1):
        removed: list[InstanceOrder] = []
        for what in data.draw(st.lists(st.sampled_from(["come", "go", "restore"]), max_size=3)):
            if what == "come" and len(standing) < 2:
                lives += 1
                standing.append(boxed(0, life=lives, link=4 * lives))
            elif what == "go" and standing:
                removed.append(standing.pop(0))
            elif what == "restore":
                restores += 1
        kept = replace(KEPT, snapshots=("early",), restore=Restore(count=restores, snapshot="early"))
        host.obey(replace(order(generation, *standing, removed=tuple(removed)), volumes=(kept,)))
        settle(host, choose=lambda n: data.draw(st.integers(0, n - 1)), kill_after=kills)
        having = {key for key, ids in host.volumes.mounted.items() if ID in ids}
        assert len(having) == min(len(standing), 1)
        assert having <= {short(i.uid) for i in standing}
        if ID in host.volumes.there:
            assert host.volumes.there[ID].restored == restores
    last = replace(order(99, removed=tuple(standing)), volumes_removed=(VolumeRemoval(id=ID),))
    host.obey(last)
    settle(host, kill_after=kills)
    assert host.volumes == FakeVolumes()
