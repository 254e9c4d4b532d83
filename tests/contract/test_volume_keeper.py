"""What the agent's decisions rely on of volumes, held by the fake of the unit tests and by real files, mounts and loop
devices alike.
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import pytest

from anypop.agent.act.volumes import mounts
from anypop.agent.act.volumes.keeper import Keeper
from anypop.agent.decide.steps import (
    AttachVolume,
    DeleteVolume,
    DetachVolumes,
    DropSnapshot,
    RestoreVolume,
    TakeSnapshot,
    VolumeStep,
)
from anypop.agent.decide.volumes_seen import VolumesSeen
from anypop.agent.naming import short
from anypop.host import inventory
from anypop.host.shared_mounts import volumes_top
from anypop.model.errors import WorldError
from anypop.model.order import InstanceOrder
from anypop.model.volume import Restore, VolumeOrder, VolumeRemoval
from tests.agent_lab import instance
from tests.agent_volumes import FakeVolumes
from tests.agent_world import order

SIZE = 32 << 20
ONE, OTHER = instance(0, uid="a" * 32), instance(1, uid="b" * 32)
VOLUME = VolumeOrder(id="c" * 16, workload_id=ONE.workload_id, instance=ONE.name, claim="data", size_bytes=SIZE)
TOKEN = VolumeRemoval(id=VOLUME.id)


class Kept(Protocol):
    def do(self, step: VolumeStep) -> None: ...

    def seen(self) -> VolumesSeen: ...


class Fake:
    def __init__(self) -> None:
        self._all = FakeVolumes()

    def do(self, step: VolumeStep) -> None:
        """What must never be is refused by an assertion there."""
        try:
            self._all.apply(step, set())
        except AssertionError as error:
            raise WorldError("do a step", str(error)) from error

    def seen(self) -> VolumesSeen:
        return self._all.seen()


class Real:
    """In a folder, without a Podman."""

    def __init__(self, state: Path) -> None:
        self.state, self._keeper = state, Keeper(state, None)

    def do(self, step: VolumeStep) -> None:
        asyncio.run(self._keeper.perform(step))

    def seen(self) -> VolumesSeen:
        return self._keeper.look(replace(order(1), volumes=(VOLUME,), volumes_removed=(TOKEN,)))

    @property
    def inside(self) -> Path:
        return mounts.place(volumes_top(self.state), ONE.uid, VOLUME.id)

    def close(self) -> None:
        for point in inventory.mounts_below(self.state):
            mounts.thaw(Path(point))
            mounts._unmount(Path(point))


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.lab)])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kept]:
    if request.param == "fake":
        yield Fake()
        return
    real = Real(tmp_path)
    try:
        yield real
        assert mounts.devices_of(tmp_path / "volumes" / "standard" / VOLUME.id / "data.img") == []
    finally:
        real.close()


def attach(of: InstanceOrder = ONE, volume: VolumeOrder = VOLUME) -> AttachVolume:
    return AttachVolume(instance=of, volume=volume, confinement=None, lane="x")


def detach(of: InstanceOrder = ONE) -> DetachVolumes:
    return DetachVolumes(uid=of.uid, lane="x")


DELETE = DeleteVolume(id=VOLUME.id, path="", lane="x")


def refused(act: Callable[[], None]) -> None:
    with pytest.raises(WorldError):
        act()


def test_one_has_it_and_everything_may_be_done_twice(kept: Kept) -> None:
    for _ in range(2):
        kept.do(attach())
    assert kept.seen().mounted == {short(ONE.uid): frozenset([VOLUME.id])}
    refused(lambda: kept.do(attach(OTHER)))
    refused(lambda: kept.do(DELETE))
    for _ in range(2):
        kept.do(detach())
    assert kept.seen().mounted == {}
    assert kept.seen().there[VOLUME.id].size_bytes == SIZE
    kept.do(attach(OTHER))
    kept.do(detach(OTHER))
    for _ in range(2):
        kept.do(DELETE)
    assert kept.seen() == VolumesSeen()
    refused(lambda: kept.do(attach(volume=replace(VOLUME, made=True))))


def test_a_snapshot_is_there_until_it_is_dropped_and_a_restore_is_counted(kept: Kept) -> None:
    kept.do(attach())
    if isinstance(kept, Real):
        (kept.inside / "then").write_text("then")
    kept.do(TakeSnapshot(volume=VOLUME, name="early", lane="x"))
    assert [s.name for s in kept.seen().there[VOLUME.id].snapshots] == ["early"]
    if isinstance(kept, Real):
        (kept.inside / "later").write_text("later")
    restore = RestoreVolume(volume=replace(VOLUME, restore=Restore(count=1, snapshot="early")), lane="x")
    refused(lambda: kept.do(restore))
    kept.do(detach())
    kept.do(restore)
    assert kept.seen().there[VOLUME.id].restored == 1
    larger = replace(VOLUME, size_bytes=2 * SIZE)
    if isinstance(kept, Real):
        kept.do(attach(volume=larger))
        assert sorted(p.name for p in kept.inside.iterdir()) == ["then"]
        kept.do(detach())
        assert kept.seen().there[VOLUME.id].size_bytes == 2 * SIZE
    kept.do(DropSnapshot(volume=VOLUME, name="early", lane="x"))
    assert kept.seen().there[VOLUME.id].snapshots == ()
    kept.do(DELETE)
