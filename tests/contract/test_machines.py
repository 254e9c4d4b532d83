"""What holds of virtual machines alone: QEMU really runs, as nobody and within its limits, and is found again whatever
was killed on the way. Its guest is empty; what a guest does is the lab's.
"""

import asyncio
import os
import signal
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from anypop.agent.act.instances.machines import monitor
from anypop.agent.act.instances.machines.arguments import Handed, arguments
from anypop.agent.act.instances.machines.machines import Machines, answers
from anypop.agent.act.instances.machines.place import QMP, SEED, Place, Spec
from anypop.agent.act.network import guests
from anypop.agent.act.network.namespaces import make_namespace, remove_name
from anypop.agent.act.volumes import mounts
from anypop.agent.act.volumes.keeper import Keeper
from anypop.agent.decide.elements import ContainerSeen, ContainerState
from anypop.agent.decide.steps import (
    AttachVolume,
    CreateContainer,
    DetachVolumes,
    GrowVolume,
    PowerOff,
    RemoveContainer,
    StartContainer,
    TakeSnapshot,
)
from anypop.agent.live import NICE
from anypop.agent.naming import inside_mac, namespace_of
from anypop.agent.observe.deaths import DeathWatch
from anypop.agent.observe.groups import Group
from anypop.host import control_groups, inventory, ip, limited_groups, netns, process
from anypop.host.shared_mounts import volumes_top
from anypop.model.errors import WorldError
from anypop.model.machine import Acceleration, Board, Firmware
from anypop.model.order import Containers
from anypop.model.volume import LEAST_BYTES, Mount, VolumeOrder, volume_id
from tests.agent_lab import instance
from tests.agent_world import order as an_order
from tests.empty_guests import EmptyGuests, with_further

pytestmark = pytest.mark.lab
PREFIX, UID = f"agm{os.getpid()}", instance(0).uid
START = StartContainer(uid=UID, container="web", lane="")
REMOVE = RemoveContainer(uid=UID, container="web", lane="")


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmptyGuests]:
    """Machines with UEFI, whose firmware has a file of its own in each."""
    make_namespace(PREFIX, UID)
    try:
        yield EmptyGuests(tmp_path_factory.mktemp("guests"), prefix=PREFIX, firmware=Firmware.UEFI)
    finally:
        remove_name(netns.path_of(namespace_of(PREFIX, UID)))


def run(empty: EmptyGuests, test: Callable[[Machines, Place], Awaitable[None]], volumes: Path | None = None) -> None:
    """A test in its event loop; nothing is left of its machine."""

    async def whole() -> None:
        machines = empty.machines(volumes)
        try:
            await asyncio.wait_for(test(machines, empty.place), 60)
        finally:
            os.kill(pid, signal.SIGKILL) if (pid := empty.place.pid()) else None
            await machines.carry_out(REMOVE)
            machines.close()

    asyncio.run(whole())


def create(empty: EmptyGuests) -> CreateContainer:
    return CreateContainer(instance=empty.order, container=empty.order.containers[0], generation=1, lane="")


def test_qemu_runs_as_nobody_in_its_namespace_and_within_its_limits(empty: EmptyGuests) -> None:
    """By the kernel's word: no capability, no way to new ones, system calls filtered, a user of its own who cannot look
    into the host's folders, its group with its limits, no priority above others as the agent has; all gone with it.
    """

    async def test(machines: Machines, place: Place) -> None:
        await machines.carry_out(create(empty))
        before = os.getpriority(os.PRIO_PROCESS, 0)
        os.setpriority(os.PRIO_PROCESS, 0, NICE)
        try:
            await machines.carry_out(START)
        finally:
            os.setpriority(os.PRIO_PROCESS, 0, before)
        (seen,) = await machines.seen()
        assert os.getpriority(os.PRIO_PROCESS, seen.pid) == 0
        status = _status(seen.pid)
        spec = place.spec()
        assert spec is not None
        assert status["Uid"].split() == status["Gid"].split() == [str(spec.user)] * 4
        assert spec.user > 1 << 30
        assert {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
        assert (status["NoNewPrivs"], status["Seccomp"], status["Groups"].split()) == ("1", "2", [])
        assert inventory.is_inside(seen.pid, namespace_of(PREFIX, UID))
        assert control_groups.holds(seen.pid, seen.id)
        assert seen.id in limited_groups.names()
        used = Group(seen.pid, of=seen.id).read()
        assert used.cpu_us is not None, "it is measured as a container is"
        assert used.memory is not None
        (limit,) = _memory_limits(seen.id)
        assert 64 << 20 < limit < 256 << 20
        # what the next machine's user may not read: the folder above, this one's record, another's disk
        for path in (place.folder / "spec.json", place.own / "root.qcow2"):
            assert not _can_read(path, spec.user + 65536)
        os.kill(seen.pid, signal.SIGKILL)
        await machines.carry_out(REMOVE)
        assert seen.id not in limited_groups.names()
        assert not place.folder.exists()

    run(empty, test)


def _status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def _memory_limits(group: str) -> list[int]:
    files = [
        file
        for name in ("memory.max", "memory.limit_in_bytes")
        for file in Path("/sys/fs/cgroup").glob(f"**/anypop/{group}/{name}")
    ]
    return [int(file.read_text()) for file in files]


def _can_read(path: Path, user: int) -> bool:
    look = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "cat", str(path)]
    return subprocess.run(look, capture_output=True, check=False).returncode == 0


def test_another_agent_finds_it_and_its_death_is_seen_at_once(empty: EmptyGuests) -> None:
    """By its record, pid and start; nobody is its parent any more, and how it ended is known all the same."""

    async def test(machines: Machines, place: Place) -> None:
        await machines.carry_out(create(empty))
        await machines.carry_out(START)
        (seen,) = await machines.seen()
        later = empty.machines()
        try:
            assert list(await later.seen()) == [seen]
            await later.carry_out(START)
            assert place.pid() == seen.pid
            loop, died, changed = asyncio.get_running_loop(), asyncio.Event(), asyncio.create_task(_change(later))
            watch = DeathWatch(lambda *_: died.set(), lambda _, pid: control_groups.holds(pid, seen.id))
            watch.set({seen.key: seen.pid}, [seen.key])
            await asyncio.sleep(0)
            began = loop.time()
            os.kill(seen.pid, signal.SIGKILL)
            await asyncio.wait_for(died.wait(), 60)
            assert loop.time() - began < 1, "told by the kernel, not found by a look"
            watch.close()
            await asyncio.wait_for(changed, 60)
            (over,) = await later.seen()
            assert (over.state, over.exit_code, over.id) == (ContainerState.EXITED, 137, seen.id)
            assert over.finished_at is not None
        finally:
            later.close()

    run(empty, test)


async def _change(machines: Machines) -> None:
    await anext(aiter(machines.changes()))


def test_whatever_was_killed_on_the_way_the_next_try_comes_to_the_same(empty: EmptyGuests) -> None:
    """Half a folder; a record without a process; a process whose keeper was killed; a keeper whose process was."""

    async def test(machines: Machines, place: Place) -> None:
        place.own.mkdir(parents=True)
        (place.own / SEED).write_text("half")
        assert list(await machines.seen()) == [], "without its record nothing is there"
        await machines.carry_out(create(empty))
        (seen,) = await machines.seen()
        await machines.carry_out(create(empty))
        assert list(await machines.seen()) == [seen]
        await machines.carry_out(START)
        keeper = process.alive(place.folder / "keeper.pid")
        assert keeper is not None
        os.kill(keeper, signal.SIGKILL)
        assert (await _only(machines)).state is ContainerState.RUNNING
        await machines.carry_out(START)
        os.kill((await _only(machines)).pid, signal.SIGKILL)
        async with asyncio.timeout(60):
            seen = await _only(machines)
            while seen.state is not ContainerState.EXITED:
                await asyncio.sleep(0.01)
                seen = await _only(machines)
        assert seen.exit_code is None, "nobody is left who knows it"

    run(empty, test)


async def _only(machines: Machines) -> ContainerSeen:
    (seen,) = await machines.seen()
    return seen


def test_a_volume_is_a_disk_that_its_user_could_not_open_himself(empty: EmptyGuests, tmp_path: Path) -> None:
    """Lent by the keeper, handed over open, told by its claim's name; it lives on when the machine goes, and nobody
    else has it meanwhile. It grows under the guest. A guest without an agent is copied as it is, and is not waited for.
    """
    container = replace(empty.order.containers[0], mounts=(Mount(claim="data", path="/data"),))
    order = replace(empty.order, payload=Containers(containers=(container,)))
    id_ = volume_id(order.workload_id, order.name, "data")
    volume = VolumeOrder(
        id=id_, workload_id=order.workload_id, instance=order.name, claim="data", size_bytes=LEAST_BYTES
    )
    keeper = Keeper(tmp_path, None)

    async def test(machines: Machines, place: Place) -> None:
        with pytest.raises(WorldError, match="volume"):
            await machines.carry_out(CreateContainer(instance=order, container=container, generation=1, lane=""))
            await machines.carry_out(START)
        await keeper.perform(AttachVolume(instance=order, volume=volume, confinement=None, lane=""))
        await keeper.perform(AttachVolume(instance=order, volume=volume, confinement=None, lane=""))
        other = replace(order, uid="f" * 32)
        with pytest.raises(WorldError, match="still has it"):
            await keeper.perform(AttachVolume(instance=other, volume=volume, confinement=None, lane=""))
        await machines.carry_out(START)
        blocks = await monitor.ask(place, "query-block")
        (disk,) = (block for block in blocks if block["inserted"]["node-name"] == "volume0")
        assert disk["inserted"]["image"]["virtual-size"] == LEAST_BYTES
        assert not disk["inserted"]["ro"]
        larger = replace(volume, size_bytes=2 * LEAST_BYTES)
        grow = GrowVolume(volume=larger, uid=order.uid, lane="")
        await keeper.perform(grow)
        await machines.grown(order.uid, "data", larger.size_bytes)
        assert keeper.look(replace(an_order(1), volumes=(larger,))).there[id_].settled_bytes == LEAST_BYTES
        await keeper.settle(grow)
        assert keeper.look(replace(an_order(1), volumes=(larger,))).there[id_].settled_bytes == larger.size_bytes
        blocks = await monitor.ask(place, "query-named-block-nodes")
        sizes = {one["node-name"]: one["image"]["virtual-size"] for one in blocks}
        assert sizes["volume0"] == sizes["volume0-file"] == 2 * LEAST_BYTES
        await machines.grown(order.uid, "none", 1)
        async with machines.still(order.name):
            await keeper.perform(TakeSnapshot(volume=larger, name="one", lane=""))
        assert not (place.folder / "frozen").exists()
        os.kill((await _only(machines)).pid, signal.SIGKILL)
        await machines.carry_out(REMOVE)
        await keeper.perform(DetachVolumes(uid=order.uid, lane=""))
        assert not mounts.mounted(volumes_top(tmp_path))
        assert (tmp_path / "volumes" / "standard" / id_ / "snapshots" / "one.img").stat().st_size == 2 * LEAST_BYTES

    try:
        run(empty, test, volumes=volumes_top(tmp_path))
    finally:
        for point in inventory.mounts_below(tmp_path):
            mounts._unmount(Path(point))


def test_each_interface_is_a_card_of_its_own_and_may_be_joined_anew_under_a_guest(empty: EmptyGuests) -> None:
    """By QEMU's word, with the hardware address that the router knows; a link that somebody took away comes back while
    QEMU has its tap open.
    """
    two = with_further(empty.order)
    space = namespace_of(PREFIX, UID)
    ip.batch(["link add eth1 type veth peer name far1"], netns=space)
    guests.furnish_further(PREFIX, UID, 1)

    async def test(machines: Machines, place: Place) -> None:
        container = two.containers[0]
        await machines.carry_out(CreateContainer(instance=two, container=container, generation=1, lane=""))
        await machines.carry_out(START)
        cards = await monitor.ask(place, "query-rx-filter")
        assert {one["main-mac"] for one in cards} == {inside_mac(UID, n).hex(":") for n in range(2)}
        guests.furnish(PREFIX, two)
        guests.furnish_further(PREFIX, UID, 1)

    try:
        run(empty, test)
    finally:
        ip.batch(["link del eth1", "link del br1", "link del tap1"], netns=space)


def test_what_cannot_be_started_says_why_in_qemus_words(empty: EmptyGuests) -> None:
    """And one whose user has put something else in the place of its sockets is not spoken to."""

    async def test(machines: Machines, place: Place) -> None:
        await machines.carry_out(create(empty))
        (place.own / "root.qcow2").write_bytes(b"no disk at all")
        with pytest.raises(WorldError, match="root"):
            await machines.carry_out(START)
        (place.own / QMP).unlink(missing_ok=True)
        (place.own / QMP).symlink_to("/run/some.sock")
        with pytest.raises(WorldError):
            await monitor.ask(place, "query-status")

    run(empty, test)


def test_one_that_was_off_or_mended_has_its_own_disk_again(empty: EmptyGuests) -> None:
    """The very same file. Off it is one that was not started, also for an agent that was killed before it could say so;
    the image that mends has its own disk beside it, and leaves no file behind.
    """
    off = PowerOff(uid=UID, container="web", grace_s=0, lane="")
    machine = empty.order.machine
    assert machine is not None and machine.image is not None
    mended = replace(empty.order, rescue=replace(machine.image, id="e" * 64))

    async def disks(place: Place) -> dict[str, str]:
        found = await monitor.ask(place, "query-named-block-nodes")
        return {one["node-name"]: one["file"] for one in found if one["node-name"] in ("root", "own")}

    async def test(machines: Machines, place: Place) -> None:
        await machines.carry_out(create(empty))
        await machines.carry_out(START)
        first = await _only(machines)
        disk = (place.own / "root.qcow2").stat().st_ino
        await machines.carry_out(off)
        await machines.carry_out(off)
        seen = await _only(machines)
        assert (seen.state, seen.id, seen.exit_code) == (ContainerState.CREATED, first.id, None)
        assert (await _only(empty.machines())).state is ContainerState.CREATED
        await machines.carry_out(replace(START, rescue=mended))
        seen = await _only(machines)
        assert (seen.state, seen.rescue, seen.id) == (ContainerState.RUNNING, "e" * 64, first.id)
        names = await disks(place)
        assert (Path(names["root"]).name, Path(names["own"]).name) == ("rescue-root.qcow2", "root.qcow2")
        await machines.carry_out(off)
        await machines.carry_out(START)
        seen = await _only(machines)
        assert (seen.state, seen.rescue, seen.id) == (ContainerState.RUNNING, "", first.id)
        assert set(await disks(place)) == {"root"}
        assert (place.own / "root.qcow2").stat().st_ino == disk
        assert not list(place.own.glob("rescue-*"))
        os.kill(seen.pid, signal.SIGKILL)
        async with asyncio.timeout(60):
            async for _ in machines.changes():
                if (await _only(machines)).state is ContainerState.EXITED:
                    break  # one that fails is not taken for one that is off

    run(empty, test)


@pytest.mark.parametrize("firmware", [Firmware.BIOS, Firmware.UEFI])
@pytest.mark.parametrize("board", list(Board))
def test_the_program_takes_every_command_line(empty: EmptyGuests, board: Board, firmware: Firmware) -> None:
    """Those for KVM too, with what needs it taken out: it gets as far as a machine that has not begun."""
    if (board, firmware) == (Board.MICROVM, Firmware.UEFI):
        return  # it has no place for such firmware, and no image is so

    async def test(machines: Machines, place: Place) -> None:
        await machines.carry_out(create(empty))
        spec = place.spec()
        assert spec is not None
        spec = replace(spec, image=replace(spec.image, board=board, firmware=firmware))
        await _begins(place, spec)

    run(empty, test)


async def _begins(place: Place, spec: Spec) -> None:
    (tap,) = guests.open_taps(spec.namespace, 1)
    words = arguments(spec, accelerator=Acceleration.KVM, handed=Handed(taps=(tap,)))
    words = [{"kvm": "tcg", "host": "max"}.get(word, word) for word in words]
    qemu = await asyncio.create_subprocess_exec(*words, "-S", cwd=place.own, pass_fds=[tap])
    os.close(tap)
    os.chown(place.own, os.getuid(), os.getgid())  # it runs as ourselves
    try:
        await answers(place, lambda: qemu.returncode is None)
        assert (await monitor.ask(place, "query-status"))["status"] == "prelaunch"
    finally:
        qemu.kill()
        await qemu.wait()
