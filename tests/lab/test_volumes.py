"""Volumes of real containers: what is mounted inside, how much goes in, who survives what, and that nothing is left."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from anypop.agent.naming import short
from anypop.host import inventory
from anypop.host.shared_mounts import volumes_top
from anypop.model.order import InstanceOrder
from anypop.model.volume import Mount, Restore, VolumeOrder, VolumeRemoval, VolumeReport, volume_id
from tests.agent_lab import PopLab, container_pids, instance, tokens, web
from tests.podman_service import SERVE, STAY
from tests.wait import wait_until

pytestmark = pytest.mark.lab
SIZE = 48 << 20
# counts its lives in the volume, so that every start shows
COUNTS = f"echo life >> /srv/data/lives; {SERVE}; {STAY}"


@pytest.fixture(scope="module")
def lab() -> Iterator[PopLab]:
    lab = PopLab("vol")
    try:
        lab.start_agent()
        yield lab
    finally:
        lab.close()


def with_volume(uid: str = "a" * 32, *, life: int = 0, link: int = 0) -> InstanceOrder:
    box = web(command=("/bin/sh", "-c", COUNTS), mounts=(Mount(claim="data", path="/srv/data"),))
    return instance(0, uid=uid, life=life, link=link, containers=(box,))


ID = volume_id(with_volume().workload_id, with_volume().name, "data")


def ordered(**more: object) -> VolumeOrder:
    one = with_volume()
    made = VolumeOrder(id=ID, workload_id=one.workload_id, instance=one.name, claim="data", size_bytes=SIZE)
    return replace(made, **more)  # type: ignore[arg-type]


def told(lab: PopLab) -> VolumeReport | None:
    report = lab.control.report
    return next((v for v in report.volumes if v.id == ID), None) if report is not None else None


def inside(lab: PopLab, path: str) -> Path:
    """A path as the instance's process sees it."""
    pid = container_pids(lab)[with_volume().name]
    return Path(f"/proc/{pid}/root{path}")


def lives(lab: PopLab) -> int:
    """How often it has begun; -1 while it does not run."""
    with suppress(OSError, KeyError):
        return inside(lab, "/srv/data/lives").read_text().count("life")
    return -1


def new_process(lab: PopLab, old: int) -> bool:
    return container_pids(lab).get(with_volume().name, 0) not in (0, old)


def loops(lab: PopLab) -> list[str]:
    """Files of this lab that loop devices stand for."""
    files = [entry.read_text().strip() for entry in Path("/sys/block").glob("loop*/loop/backing_file")]
    return [file for file in files if file.startswith(str(lab.folder))]


def test_it_holds_its_size_inside_and_nothing_of_it_is_the_hosts(lab: PopLab) -> None:
    lab.give(with_volume(), volumes=(ordered(),))
    lab.wait_running(with_volume().name)
    pid = container_pids(lab)[with_volume().name]
    rows = [line.split() for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines()]
    row = next(words for words in rows if words[4] == "/srv/data")
    assert row[3] == "/data"  # a part of a file system of its own, without lost+found
    assert {"nosuid", "nodev", "rw"} <= set(row[5].split(","))
    assert row[row.index("-") + 1] == "ext4"
    assert row[row.index("-") + 2].startswith("/dev/loop")
    # by the process itself, as its own root
    fill = ["nsenter", f"--user=/proc/{pid}/ns/user", f"--mount=/proc/{pid}/ns/mnt", "--root", "--wd"]
    fill += ["-t", str(pid), "/bin/busybox"]
    done = subprocess.run([*fill, "dd", "if=/dev/zero", "of=/srv/data/big", "bs=1M", "count=64"], capture_output=True,
                          text=True, check=False)  # fmt: skip
    assert "No space left on device" in done.stderr
    written = inside(lab, "/srv/data/big").stat().st_size
    assert SIZE // 2 < written < SIZE
    room = os.statvfs(inside(lab, "/srv/data"))
    assert room.f_blocks * room.f_frsize <= SIZE
    # on the disk the file belongs to the instance's root, not to a user of the host
    inside(lab, "/srv/data/big").unlink()
    assert inside(lab, "/srv/data/lives").stat().st_uid >= 1 << 30
    image = lab.state / "volumes" / "standard" / ID / "data.img"
    assert image.stat().st_blocks * 512 >= SIZE  # reserved: a full host cannot break it
    assert image.stat().st_size == SIZE


def test_a_restart_in_place_keeps_what_is_in_it(lab: PopLab) -> None:
    before, pid = lives(lab), container_pids(lab)[with_volume().name]
    lab.give(replace(with_volume(), restarts=1), volumes=(ordered(made=True),))
    wait_until(lambda: new_process(lab, pid), timeout_s=20, reason="a new process")
    wait_until(lambda: lives(lab) == before + 1, timeout_s=10, reason="it has counted one life more")


def test_a_new_incarnation_waits_for_the_old_one_and_finds_its_files(lab: PopLab) -> None:
    """It has other users on the host, and is the files' owner all the same. An agent that is killed in the middle of it
    changes nothing.
    """
    old, new = replace(with_volume(), restarts=1), with_volume("b" * 32, life=1, link=1)
    before, pid = lives(lab), container_pids(lab)[old.name]
    owner = inside(lab, "/srv/data/lives").stat().st_uid
    lab.give(old, new, volumes=(ordered(made=True),))
    wait_until(lambda: (r := lab.reported_life(new.uid)) is not None and r.reason == "waits-for-volume",
               timeout_s=10, reason="it is told that it waits")  # fmt: skip
    assert container_pids(lab)[old.name] == pid
    lab.give(new, removed=tokens(old), volumes=(ordered(made=True),))
    lab.kill_agent()
    lab.start_agent()
    wait_until(lambda: (r := lab.reported_life(new.uid)) is not None and r.healthy, timeout_s=20, reason="it serves")
    wait_until(lambda: lives(lab) == before + 1, timeout_s=20, reason="it has counted its life")
    assert inside(lab, "/srv/data/lives").stat().st_uid == owner + (1 << 16)
    mounted = [point for point in inventory.mounts() if point.startswith(f"{volumes_top(lab.state)}/")]
    assert mounted == [f"{volumes_top(lab.state)}/{short(new.uid)}/{ID}"]
    assert len(loops(lab)) == 1


def test_a_snapshot_is_taken_while_it_writes_and_put_back_while_it_stands(lab: PopLab) -> None:
    one = with_volume("b" * 32, life=1, link=1)
    then = lives(lab)
    lab.give(one, volumes=(ordered(made=True, snapshots=("early",)),))
    wait_until(lambda: (v := told(lab)) is not None and [s.name for s in v.snapshots] == ["early"], timeout_s=20,
               reason="the snapshot is told")  # fmt: skip
    with inside(lab, "/srv/data/lives").open("a") as file:
        file.write("life\n" * 5)
    pid = container_pids(lab)[one.name]
    lab.give(one, volumes=(ordered(made=True, snapshots=("early",), restore=Restore(count=1, snapshot="early")),))
    wait_until(lambda: (v := told(lab)) is not None and v.restored == 1, timeout_s=20, reason="it is put back")
    wait_until(lambda: new_process(lab, pid), timeout_s=20, reason="a new process")
    wait_until(lambda: lives(lab) == then + 1, timeout_s=10, reason="it has what it had then, and one life more")
    lab.give(one, volumes=(ordered(made=True, dropped=("early",), restore=Restore(count=1, snapshot="early")),))
    wait_until(lambda: (v := told(lab)) is not None and not v.snapshots, timeout_s=10, reason="the snapshot is gone")


def test_an_order_that_forgets_it_deletes_nothing_and_its_token_everything(lab: PopLab) -> None:
    one = with_volume("b" * 32, life=1, link=1)
    image = lab.state / "volumes" / "standard" / ID / "data.img"
    before = lives(lab)
    lab.give(one)  # the order of a control that has lost its volumes
    generation = lab._generation
    wait_until(lambda: (r := lab.control.report) is not None and r.generation == generation, timeout_s=10,
               reason="it is obeyed")  # fmt: skip
    assert image.exists()
    assert lives(lab) == before
    # a token counts for a volume that nobody has
    lab.give(one, volumes_removed=(VolumeRemoval(id=ID),))
    generation = lab._generation
    wait_until(lambda: (r := lab.control.report) is not None and r.generation == generation, timeout_s=10,
               reason="it is obeyed")  # fmt: skip
    assert image.exists()
    lab.give(removed=tokens(one), volumes_removed=(VolumeRemoval(id=ID),))
    wait_until(lambda: (r := lab.control.report) is not None and r.volumes_gone == (ID,), timeout_s=20,
               reason="it is told that the volume is gone")  # fmt: skip
    assert not image.parent.exists()
    assert loops(lab) == []
    assert not [point for point in inventory.mounts() if point.startswith(f"{volumes_top(lab.state)}/")]


def test_one_that_was_there_is_never_made_anew(lab: PopLab) -> None:
    """A disk that was not mounted after a reboot looks like this: an empty volume would be taken for the truth."""
    one = with_volume("c" * 32, life=2, link=2)
    lab.give(one, volumes=(ordered(made=True),))
    wait_until(lambda: (r := lab.reported(one.name)) is not None and "nothing is made in its place" in r.message,
               timeout_s=10, reason="it is told")  # fmt: skip
    assert not (lab.state / "volumes" / "standard" / ID).exists()
    lab.give(removed=tokens(one))
