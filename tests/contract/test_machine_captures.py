"""A disk of a machine becomes a file for an image: QEMU really copies it beside its guest, and `qemu-img` where the
machine is off. Its guest is empty, and writes by our hand.
"""

import asyncio
import hashlib
import json
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from anypop.agent.act.instances.machines import capture, monitor
from anypop.agent.act.instances.machines.machines import Machines
from anypop.agent.act.instances.machines.place import CAPTURING, FROZEN
from anypop.agent.act.network.namespaces import make_namespace, remove_name
from anypop.agent.act.volumes import mounts
from anypop.agent.act.volumes.keeper import Keeper
from anypop.agent.captures import Captures
from anypop.agent.decide.steps import AttachVolume, CreateContainer, PowerOff, RemoveContainer, StartContainer
from anypop.agent.naming import namespace_of
from anypop.host import inventory, netns
from anypop.host.shared_mounts import volumes_top
from anypop.model.codec import from_json
from anypop.model.disk_header import HEAD_BYTES, check_part
from anypop.model.machine import DiskFormat
from anypop.model.order import Containers
from anypop.model.streams import Captured, CaptureRequest
from anypop.model.volume import LEAST_BYTES, Mount, VolumeOrder, volume_id
from tests.agent_lab import instance
from tests.empty_guests import DISK_BYTES, EmptyGuests
from tests.moving_hosts import Process
from tests.wait import until, wait_until

pytestmark = pytest.mark.lab
PREFIX, UID = f"cap{os.getpid()}", instance(0).uid
START = StartContainer(uid=UID, container="web", lane="")
OFF = PowerOff(uid=UID, container="web", grace_s=0, lane="")
REMOVE = RemoveContainer(uid=UID, container="web", lane="")
LAST = DISK_BYTES - (64 << 10)


@pytest.fixture
def guest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EmptyGuests]:
    """A machine that runs, with a root disk and a volume; nobody in it answers, and nobody waits long for that."""
    monkeypatch.setattr(monitor, "_FREEZE_S", 0.1)
    make_namespace(PREFIX, UID)
    top = volumes_top(tmp_path)
    try:
        made = EmptyGuests(tmp_path, prefix=PREFIX)
        (web,) = made.order.containers
        web = replace(web, mounts=(Mount(claim="data", path="/data"),))
        made.order = replace(made.order, payload=Containers(containers=(web,)))
        id_ = volume_id(made.order.workload_id, made.order.name, "data")
        volume = VolumeOrder(
            id=id_, workload_id=made.order.workload_id, instance=made.order.name, claim="data", size_bytes=LEAST_BYTES
        )  # fmt: skip

        async def begin() -> None:
            machines = made.machines(top)
            await Keeper(tmp_path, None).perform(
                AttachVolume(instance=made.order, volume=volume, confinement=None, lane="")
            )
            await machines.carry_out(CreateContainer(instance=made.order, container=web, generation=1, lane=""))
            await machines.carry_out(START)
            machines.close()

        asyncio.run(begin())
        yield made
    finally:
        asyncio.run(_off_and_gone(made.machines(top)))
        for point in inventory.mounts_below(tmp_path):
            mounts._unmount(Path(point))
        remove_name(netns.path_of(namespace_of(PREFIX, UID)))


async def _off_and_gone(machines: Machines) -> None:
    await machines.stop((UID, "web"), 0)
    await machines.carry_out(REMOVE)
    machines.close()


def captures(guest: EmptyGuests, tmp_path: Path) -> Captures:
    return Captures(tmp_path / "captures", guest.machines(volumes_top(tmp_path)), wall=time.time)


async def write(guest: EmptyGuests, node: str, pattern: int, at: int) -> None:
    """As its guest would."""
    device = {"root": "/machine/peripheral-anon/device[0]", "volume0": "/machine/peripheral/volume0-disk"}[node]
    for words in (f"write -P {pattern} {at} 64k", "flush"):
        line: dict[str, Any] = {"command-line": f'qemu-io -d {device}/virtio-backend "{words}"'}
        said = await monitor.ask(guest.place, "human-monitor-command", **line)
        assert not said, said


async def begins(guest: EmptyGuests) -> None:
    """Until a copy is made."""
    await until(lambda: monitor.ask(guest.place, "query-jobs"), "a copy has begun")


async def answered(all_: Captures, asked: CaptureRequest) -> tuple[list[Captured], bytes]:
    told, data = [], bytearray()
    async for frame in all_.answer(asked):
        if isinstance(frame, str):
            told.append(from_json(Captured, frame))
        else:
            data += frame
    return told, bytes(data)


async def captured(all_: Captures, tmp_path: Path, claim: str = "") -> Path:
    """The file that control gets; it is what was told, and control lets it pass."""
    told, data = await answered(all_, CaptureRequest(id=str(uuid4()), uid=UID, claim=claim))
    assert told[-1] == Captured(percent=100, size=len(data), sha256=hashlib.sha256(data).hexdigest()), told
    disk = check_part("disk", data[:HEAD_BYTES], len(data))
    assert disk is not None
    assert (disk.format, disk.virtual_bytes) == (DiskFormat.QCOW2, LEAST_BYTES if claim else DISK_BYTES)
    file = tmp_path / f"got-{claim or 'root'}.qcow2"
    file.write_bytes(data)
    return file


def reads(file: Path, pattern: int, at: int) -> bool:
    words = ["qemu-io", "-r", "-f", "qcow2", "-c", f"read -P {pattern} {at} 64k", str(file)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return "verification failed" not in done.stdout + done.stderr


def nodes(guest: EmptyGuests) -> set[str]:
    told = asyncio.run(monitor.ask(guest.place, "query-named-block-nodes"))
    return {str(one["node-name"]) for one in told}


def test_a_disk_is_copied_as_it_was_when_the_copy_began(
    guest: EmptyGuests, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root disk and volume, while the machine runs, and whole by itself: what is written while it is copied is not in
    it, and nothing of the copying stays in QEMU.
    """
    all_ = captures(guest, tmp_path)

    async def test() -> tuple[Path, Path]:
        await write(guest, "root", 0x5A, LAST)
        await write(guest, "volume0", 0x5B, 0)
        monkeypatch.setattr(capture, "MOST_PER_S", 512 << 10)
        task = asyncio.create_task(captured(all_, tmp_path))
        await begins(guest)
        await write(guest, "root", 0x77, LAST)
        await monitor.ask(guest.place, "block-job-set-speed", device="capture", speed=0)
        root = await task
        monkeypatch.setattr(capture, "MOST_PER_S", 128 << 20)
        return root, await captured(all_, tmp_path, "data")

    root, volume = asyncio.run(test())
    assert reads(root, 0x5A, LAST) and reads(volume, 0x5B, 0)
    assert not {name for name in nodes(guest) if name.startswith("capture")}
    assert not guest.place.file(CAPTURING).exists() and not guest.place.file(FROZEN).exists()
    info = json.loads(subprocess.check_output(["qemu-img", "info", "--output=json", str(root)]))
    assert "backing-filename" not in info


def test_a_machine_that_is_off_is_captured_too(guest: EmptyGuests, tmp_path: Path) -> None:
    """Both disks, and it stays off; one that ended by itself is refused, with the reason."""
    all_, machines = captures(guest, tmp_path), guest.machines(volumes_top(tmp_path))

    async def test() -> tuple[Path, Path]:
        await write(guest, "root", 0x5A, LAST)
        await write(guest, "volume0", 0x5B, 0)
        await machines.carry_out(OFF)
        found = await captured(all_, tmp_path), await captured(all_, tmp_path, "data")
        assert guest.place.pid() is None and guest.place.is_off()
        guest.place.unmark("off")
        told, data = await answered(all_, CaptureRequest(id=str(uuid4()), uid=UID))
        assert not data and "neither runs nor is powered off" in told[-1].why
        return found

    root, volume = asyncio.run(test())
    assert reads(root, 0x5A, LAST) and reads(volume, 0x5B, 0)


def test_a_copy_that_an_agents_death_cut_off_is_made_anew(
    guest: EmptyGuests, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next agent lets go of what the dead one had begun in QEMU and on the disk; asked with the same id, it makes
    the copy, and tells that it is another one. What is whole is sent on from where it was cut, also by a later agent,
    until nobody needs it.
    """
    asked = CaptureRequest(id=str(uuid4()), uid=UID)

    class Here:
        router = None

    async def work() -> None:
        await answered(captures(guest, tmp_path), asked)

    with monkeypatch.context() as slow:
        slow.setattr(capture, "MOST_PER_S", 64 << 10)
        dying = Process(Here, work)  # type: ignore[arg-type]
        wait_until(
            lambda: asyncio.run(monitor.ask(guest.place, "query-jobs")), timeout_s=20, reason="the copy has begun"
        )
        dying.kill()
    assert guest.place.file(CAPTURING).exists()
    half = tmp_path / "captures" / f"{asked.id}.half"
    assert half.exists() and asyncio.run(monitor.ask(guest.place, "query-jobs")), "QEMU goes on by itself"
    asyncio.run(guest.machines().seen())
    assert not guest.place.file(CAPTURING).exists() and not asyncio.run(monitor.ask(guest.place, "query-jobs"))
    assert not {name for name in nodes(guest) if name.startswith("capture")}
    captures(guest, tmp_path).collect()
    assert not half.exists(), "it may be as large as the disk, and nobody goes on with it"

    told, data = asyncio.run(answered(captures(guest, tmp_path), asked))
    assert (told[-1].sha256, told[-1].anew) == (hashlib.sha256(data).hexdigest(), 1)
    later = captures(guest, tmp_path)
    again, rest = asyncio.run(answered(later, replace(asked, sha256=told[-1].sha256, offset=1000)))
    assert (again[-1].begins, rest) == (1000, data[1000:])
    another, whole = asyncio.run(answered(later, replace(asked, sha256="0" * 64, offset=1000)))
    assert (another[-1].begins, whole) == (0, data)
    later.drop(asked.id)
    assert not list((tmp_path / "captures").iterdir())
    for id_ in ("../order", "x" * 36):
        (refused,), none = asyncio.run(answered(later, replace(asked, id=id_)))
        assert refused.why and not none


def test_whose_machine_began_anew_gives_no_copy_of_another_disk(
    guest: EmptyGuests, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that begins anew has a new root disk: what was asked for is gone. One whose QEMU dies while it is
    copied says so.
    """
    all_, asked = captures(guest, tmp_path), CaptureRequest(id=str(uuid4()), uid=UID)

    async def test() -> None:
        monkeypatch.setattr(capture, "MOST_PER_S", 64 << 10)
        task = asyncio.create_task(answered(all_, asked))
        await begins(guest)
        await guest.machines().stop((UID, "web"), 0)
        told, data = await task
        assert told[-1].why and not data
        assert not list((tmp_path / "captures").iterdir())
        (tmp_path / "captures" / f"{asked.id}.json").write_text('{"life": "another", "size": 0, "sha256": ""}')
        told, data = await answered(all_, asked)
        assert "begun anew" in told[-1].why and not data

    asyncio.run(test())
