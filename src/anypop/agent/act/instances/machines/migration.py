"""What QEMU does for a move, on both sides: the disk is mirrored, the memory follows, the guest is still for a moment.

In: a conversation with each QEMU, the open ends of two streams between them. Out: on the side that sends, a guest that
is still and whole on the other side; on the other side, a guest that goes on by our word and never by itself. Until
that word `undo` lets it go on where it was. Who says it, and to which side, is not decided here (see `leaving`).
"""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any

from anypop.agent.act.instances.machines.place import MOVE_DISK, MOVE_MEMORY
from anypop.agent.act.instances.machines.talk import Talk
from anypop.model.errors import WorldError

_ROOT, _JOB, _THERE = "root", "move", "move-there"
# The guest may be still for so long (its part that is memory): what is left then has to fit. QEMU's default is 300.
STILL_MS = 100
# Of all hosts' network no more than this, in bytes a second; QEMU's default.
MOST_PER_S = 128 << 20
_ENDED = ("completed", "failed", "cancelled", "none")
_OVER = ("BLOCK_JOB_COMPLETED", "BLOCK_JOB_CANCELLED")
_UNDONE_S = 10.0


async def send(talk: Talk, *, has_root: bool, memory: int, disk_at: str) -> None:
    """Returns when all of the guest is on the other side, and still on both. `memory`: an open end of the stream for
    it; `disk_at`: the abstract name of the socket by which the other side's disk is reached. Raises `WorldError`: then
    `undo` has to follow.
    """
    await _prepare(talk)
    if has_root:
        server = {"type": "unix", "path": disk_at, "abstract": True}
        await talk.ask("blockdev-add", driver="nbd", node_name=_THERE, server=server, export=_ROOT)
        # what the guest writes from now on is on both sides before it counts: little is left when it is still
        await talk.ask(
            "blockdev-mirror", job_id=_JOB, device=_ROOT, target=_THERE, sync="top", copy_mode="write-blocking"
        )  # fmt: skip
        await _job(talk, "BLOCK_JOB_READY")
    await talk.lend("memory", memory)
    if not (await talk.ask("query-kvm"))["enabled"]:
        # a translated guest writes what QEMU does not see, and would begin anew over there with torn memory
        await talk.ask("stop")
    await talk.ask("migrate", uri="fd:memory")
    await _comes_to(talk, "pre-switchover")
    if has_root:
        await talk.ask("block-job-cancel", device=_JOB)  # of one that is ready this is its good end
        await _job(talk, "BLOCK_JOB_COMPLETED")  # its target stays: it goes with this QEMU, or by `undo`
    await talk.ask("migrate-continue", state="pre-switchover")
    await _comes_to(talk, "completed")


async def undo(talk: Talk) -> None:
    """Nothing of a move is left, and the guest goes on here, however far it had come. Raises `WorldError` where it does
    not.
    """
    try:
        async with asyncio.timeout(_UNDONE_S):
            await _undo(talk)
    except TimeoutError as error:
        raise WorldError("take back the move of a machine", f"it took more than {_UNDONE_S:g} s") from error


async def _undo(talk: Talk) -> None:
    await talk.ask("migrate_cancel")
    if (await talk.ask("query-migrate")).get("status", "none") not in _ENDED:
        await talk.hears(lambda name, data: name == "MIGRATION" and data["status"] in _ENDED)
    with contextlib.suppress(WorldError):  # there is none
        await talk.ask("block-job-cancel", device=_JOB, force=True)
    if await talk.ask("query-block-jobs"):
        await talk.hears(lambda name, data: name in _OVER and data.get("device") == _JOB)
    with contextlib.suppress(WorldError):
        await talk.ask("blockdev-del", node_name=_THERE)
    if not (await talk.ask("query-status"))["running"]:
        try:
            await talk.ask("cont")
        except WorldError:  # QEMU is about to do it
            await talk.hears(lambda name, _: name == "RESUME")


async def receive(talk: Talk, *, has_root: bool) -> None:
    """From now on QEMU takes in, by two sockets in its folder, what `send` sends."""
    await _prepare(talk)
    if has_root:
        await talk.ask("nbd-server-start", addr={"type": "unix", "data": {"path": MOVE_DISK}}, max_connections=1)
        await talk.ask("block-export-add", type="nbd", id=_ROOT, node_name=_ROOT, name=_ROOT, writable=True)
    await talk.ask("migrate-incoming", uri=f"unix:{MOVE_MEMORY}")


async def is_whole(talk: Talk) -> bool:
    """Whether all of a guest has come."""
    return bool((await talk.ask("query-status"))["status"] != "inmigrate")


async def go_on(talk: Talk) -> None:
    """Let the guest run that has come, and then nobody else writes to its disk. Harmless where it does."""
    await talk.ask("cont")
    with contextlib.suppress(WorldError):  # it was stopped before, or never begun: there is no disk
        await talk.ask("nbd-server-stop")


async def _prepare(talk: Talk) -> None:
    # the other side says that it has all of it before this side believes so; and a guest that writes faster than it is
    # sent is slowed down
    wanted = ("events", "return-path", "pause-before-switchover", "auto-converge")
    await talk.ask("migrate-set-capabilities", capabilities=[{"capability": name, "state": True} for name in wanted])
    await talk.ask("migrate-set-parameters", downtime_limit=STILL_MS, max_bandwidth=MOST_PER_S)


async def _comes_to(talk: Talk, wanted: str) -> None:
    def is_it(name: str, data: Mapping[str, Any]) -> bool:
        return name == "MIGRATION" and data["status"] in (wanted, *_ENDED)

    _, told = await talk.hears(is_it)
    if told["status"] != wanted:
        why = (await talk.ask("query-migrate")).get("error-desc", f"it has {told['status']}")
        raise WorldError("send the memory of a machine", why)


async def _job(talk: Talk, wanted: str) -> None:
    said = ("BLOCK_JOB_READY", *_OVER)
    name, told = await talk.hears(lambda name, data: name in said and data.get("device") == _JOB)
    if name != wanted or "error" in told:
        raise WorldError("mirror the disk of a machine", str(told.get("error", f"the job ended with {name}")))
