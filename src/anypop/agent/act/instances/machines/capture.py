"""A disk of one machine copied as it is at one moment, into a qcow2 file that stands for itself.

In: its folder, which disk, an open empty file. Out: the copy in that file, or `WorldError`. Of a guest that runs QEMU
makes it, beside the guest: its file systems are held still for the moment in which the copy begins, where its agent can
do that; what it writes afterwards is not in the copy. A move goes before it. What an agent's death left is let go by
`forget`. Of a machine that is off `qemu-img` makes it, as the user that QEMU runs as: what lies there may be a guest's
that has broken out.
"""

import asyncio
import contextlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from anypop.agent.act.instances.machines import launch, monitor
from anypop.agent.act.instances.machines.arguments import volume_node
from anypop.agent.act.instances.machines.place import (
    ARRIVING,
    CAPTURING,
    DISK,
    HANDED,
    LEAVING,
    QMP,
    ROOT,
    Place,
    Spec,
)
from anypop.model.errors import WorldError
from anypop.model.machine import DiskFormat, MachineImage

MOST_PER_S = 128 << 20
"""Bytes that are read in a second at most: the guest, and others on the host, want their disk too."""
_NODE, _FILE, _JOB = "capture", "capture-file", "capture"
_FDSET = 1000
"""Of its open file; those below are the machine's volumes."""
_LOOK_S = 0.25  # no event tells how far it is
_GONE_S = 30.0
# What QEMU holds in memory of a copy counts as the machine's, whose limit leaves it little: 1 MiB each.
_AT_ONCE = 4
_WHAT = "capture a disk"


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """`number`: of the volume among the machine's, None: its root disk; `size`: as its guest sees it, in bytes;
    `file`: what a volume lies in, open, -1 of a root disk.
    """

    number: int | None
    size: int
    file: int = -1


Told = Callable[[int], None]
"""Hears of how many percent are copied, and raises `WorldError` to end it."""


async def copy(
    place: Place, spec: Spec, disk: Disk, target: int, told: Told, *, begins: Callable[[], None] = lambda: None
) -> None:
    """`target`: an open file of qcow2, empty and as large as the disk; `begins`: called at the moment of which the copy
    is. Raises `WorldError`.
    """
    if any(place.marked(mark) is not None for mark in (ARRIVING, LEAVING, HANDED)):
        raise WorldError(_WHAT, "its machine moves to another host")
    if place.pid() is not None:
        await _beside_the_guest(place, _node(place, disk), target, told, begins)
    elif place.is_off():
        begins()
        await _at_rest(place, spec, disk, target, told)
    else:
        raise WorldError(_WHAT, "its machine neither runs nor is powered off")


def _node(place: Place, disk: Disk) -> str:
    if disk.number is not None:
        return volume_node(disk.number)
    return "own" if place.rescued_by() else "root"


async def _beside_the_guest(
    place: Place, node: str, target: int, told: Told, begins: Callable[[], None]
) -> None:  # fmt: skip
    await forget(place)
    place.mark(CAPTURING)
    try:
        await _lend(place, target)
        try:
            await monitor.freeze(place)
            begins()
            # what fails in the copy ends the copy, and is not told to the guest
            wanted: dict[str, Any] = {"job-id": _JOB, "device": node, "target": _NODE, "sync": "full"}
            wanted |= {"speed": MOST_PER_S, "auto-dismiss": False, "x-perf": {"max-workers": _AT_ONCE}}
            await monitor.ask(place, "blockdev-backup", **wanted)
        finally:
            await asyncio.shield(monitor.thaw(place))
        while (job := await _job(place))["status"] != "concluded":
            told(job["current-progress"] * 100 // max(1, job["total-progress"]))
            await asyncio.sleep(_LOOK_S)
        if "error" in job:
            raise WorldError(_WHAT, job["error"])
    finally:
        await asyncio.shield(forget(place))


async def forget(place: Place) -> None:
    """No copy of it is made any more, whoever began it, and its file is let go. Raises `WorldError` where QEMU does
    not do it.
    """
    if place.marked(CAPTURING) is None:
        return
    if place.pid() is not None:
        with contextlib.suppress(WorldError):  # there is none
            await monitor.ask(place, "job-cancel", id=_JOB)
        try:
            async with asyncio.timeout(_GONE_S):
                while True:
                    job = await _found(place)
                    if job is None or job["status"] == "concluded":
                        break
                    await asyncio.sleep(_LOOK_S / 5)
        except TimeoutError as error:
            raise WorldError("give up the copy of a disk", f"QEMU goes on with it after {_GONE_S:g} s") from error
        for command, given in (
            ("job-dismiss", {"id": _JOB}), ("blockdev-del", {"node-name": _NODE}),
            ("blockdev-del", {"node-name": _FILE}), ("remove-fd", {"fdset-id": _FDSET}),
        ):  # fmt: skip
            with contextlib.suppress(WorldError):
                await monitor.ask(place, command, **given)
    place.unmark(CAPTURING)


async def _lend(place: Place, target: int) -> None:
    """In one conversation: what nobody has opened is closed at its end."""
    number = {"fdset-id": _FDSET}
    file = {"driver": "file", "filename": f"/dev/fdset/{_FDSET}", "node-name": _FILE}
    over = {"driver": "qcow2", "file": _FILE, "node-name": _NODE, "backing": None}
    async with monitor.answering(place, "blockdev-add", monitor.ANSWER_S), monitor.conversation(place, QMP) as client:
        client.send_fd_scm(target)
        await client.execute("add-fd", number)
        await client.execute("blockdev-add", file)
        await client.execute("blockdev-add", over)


async def _job(place: Place) -> dict[str, Any]:
    if (found := await _found(place)) is None:
        why = "its machine moves to another host" if place.marked(LEAVING) is not None else "it was given up"
        raise WorldError(_WHAT, why if place.pid() is not None else "its machine has ended meanwhile")
    return found


async def _found(place: Place) -> dict[str, Any] | None:
    """None where QEMU has ended too."""
    try:
        jobs: list[dict[str, Any]] = await monitor.ask(place, "query-jobs")
    except WorldError:
        if place.pid() is None:
            return None
        raise
    return next((job for job in jobs if job["id"] == _JOB), None)


async def _at_rest(place: Place, spec: Spec, disk: Disk, target: int, told: Told) -> None:
    words = ["qemu-img", "convert", "-r", str(MOST_PER_S), "-O", "qcow2", "-n", "--target-is-zero"]
    out, handed = f"/proc/self/fd/{target}", [target]
    if disk.number is not None:
        argv = [*words, "-f", "raw", f"/proc/self/fd/{disk.file}", out]
        handed.append(disk.file)
    else:
        os.fchown(target, spec.user, spec.user)
        argv = launch.as_nobody(spec.namespace, spec.user, None, [*words, _root(spec.image), out])
    await _run(place, argv, handed, lambda: told(min(99, os.fstat(target).st_blocks * 51_200 // max(1, disk.size))))


def _root(image: MachineImage) -> str:
    """The root disk, in `qemu-img`'s words; what is behind it is said here, and not read from it."""
    root: dict[str, Any] = {"driver": "qcow2", "file": {"driver": "file", "filename": ROOT}, "backing": None}
    if image.part("disk") is not None:
        behind = {"driver": image.disk_format.lower(), "file": {"driver": "file", "filename": DISK}}
        root["backing"] = {**behind, **({"backing": None} if image.disk_format is DiskFormat.QCOW2 else {})}
    return f"json:{json.dumps(root)}"


async def _run(place: Place, argv: list[str], handed: Sequence[int], look: Callable[[], None]) -> None:
    try:
        program = await asyncio.create_subprocess_exec(
            *argv, cwd=place.own, pass_fds=tuple(handed), stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
    except OSError as error:
        raise WorldError(_WHAT, f"{argv[0]}: {error.strerror}") from error
    said = asyncio.ensure_future(program.communicate())
    try:
        while not (await asyncio.wait({said}, timeout=_LOOK_S))[0]:
            if place.pid() is not None or not place.is_off():
                raise WorldError(_WHAT, "its machine was powered on meanwhile")
            look()
        if program.returncode:
            raise WorldError(_WHAT, said.result()[1].decode(errors="replace").strip()[-500:])
    finally:
        if program.returncode is None:
            program.kill()
        await asyncio.gather(said, return_exceptions=True)
