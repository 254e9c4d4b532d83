"""A guest that moves while it runs: how long its clients hear nothing, beside a move made by hand.

Both have the same two routers and the same client, the same guest with the same arguments of QEMU, its disk mirrored
while it is written to, the same limits of speed, of stillness, of processor and memory. By hand there are two QEMUs
and what an operator would type into them: no certificates, nobody who writes down whose guest it is; and it has the
same addresses on both sides, so nothing is changed on its link. They take turns.
"""

import asyncio
import json
import os
import socket
import tempfile
from collections.abc import Awaitable, Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.guest_image import guest_image
from tests.moving_flows import Silence, Street
from tests.moving_hosts import Process, free_port, serving
from tests.wait import wait_until

from anypop.agent.act.instances.machines import migration
from anypop.agent.act.instances.machines.arguments import TRANSLATED_MB, has_root
from anypop.agent.act.instances.machines.place import QMP
from anypop.agent.naming import namespace_of
from anypop.host import limited_groups, netns
from anypop.host.limited_groups import Limits
from anypop.model.machine import OVERHEAD_BYTES, MachineImage
from bench.harness import Row, row
from bench.vm_floor import begun

RUNS = 3
_LONGEST_S = 120.0
_BESIDE_BYTES = OVERHEAD_BYTES + (TRANSLATED_MB << 20)  # of QEMU, as it is limited here


def moves() -> Iterable[Row]:
    """Row `migration_silence_ms`: the longest time between two answers to a client that asks every 2 ms."""
    image, files = guest_image()
    ours, by_hand = list[float](), list[float]()
    for number in range(RUNS):
        for name, move, found in (("moved", _by_anypop, ours), ("by hand", _by_hand, by_hand)):
            with tempfile.TemporaryDirectory(prefix="anyp-", dir="/tmp") as folder:
                found.append(move(Path(folder), f"b{os.getpid() % 46656:x}", image, files))
            print(f"run {number}: {name}, silent for {found[-1]:.0f} ms", flush=True)
    return [
        row(
            "migration_silence_ms", ours, unit="ms", against="two QEMUs by hand, no platform", floor=by_hand,
            ratio_below=1.3,
        )
    ]  # fmt: skip


def _by_anypop(top: Path, prefix: str, image: MachineImage, files: dict[str, Path]) -> float:
    street = Street(top, prefix, image, files)
    first, second = street.hosts
    with street.laid():
        try:
            with netns.inside(first.router):
                asyncio.run(first.begin())
            port = free_port()
            receiver = serving(second, port, takes_from=first.name, came=lambda _: street.turn_to(1))
            try:
                return _silence(street, lambda: first.send(second, port))
            finally:
                receiver.kill()
        finally:
            for host in street.hosts:
                with netns.inside(host.router):
                    asyncio.run(host.clear())


def _by_hand(top: Path, prefix: str, image: MachineImage, files: dict[str, Path]) -> float:
    street = Street(top, prefix, image, files, numbers=(0, 0))
    with street.laid(), ExitStack() as ended:
        homes = (top / "hand-0", top / "hand-1")
        for number, (home, host) in enumerate(zip(homes, street.hosts, strict=True)):
            namespace = namespace_of(host.prefix, host.order.uid)
            memory = host.order.containers[0].most_memory_bytes
            group = f"{host.prefix}-hand"
            ended.callback(limited_groups.remove, group, limited_groups.LEAVES_S)
            limits = Limits(cpu_millis=1000, share_millis=1000, memory_bytes=memory + _BESIDE_BYTES, processes=129)
            qemu = begun(
                home, namespace, host.order, files, memory_bytes=memory, arriving=number == 1,
                groups=limited_groups.make(group, limits),
            )  # fmt: skip
            ended.enter_context(qemu)

        async def move() -> None:
            _move(*homes, lambda: street.turn_to(1), has_disk=has_root(image))

        return _silence(street, move)


def _silence(street: Street, move: Callable[[], Awaitable[None]]) -> float:
    """Milliseconds, while it moves. The guest serves before, and at the same address afterwards. The measure begins
    with answers of the one QEMU and ends with answers of the other, or there is none: a move by hand stops its guest so
    soon that it could have been still before its first answer was heard, and the silence was not seen.
    """
    street.connected(within_s=_LONGEST_S).close()
    with Silence(street) as silence:
        mover = Process(street.hosts[0], move)
        wait_until(lambda: mover.code() is not None, timeout_s=_LONGEST_S, reason="the guest has moved")
        if mover.code() != 0:
            raise SystemExit(f"the guest did not move: {mover.code()}")
        wait_until(lambda: silence.answered_by(1) > 0, timeout_s=_LONGEST_S, reason="it answers where it has come")
        street.connected(within_s=_LONGEST_S).close()
    try:
        return silence.moved_ms()
    except ValueError as error:
        raise SystemExit(f"the silence was not measured: {error}") from error


class Monitor:
    """QMP by hand: a line for a command, a line for its answer, and events between."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(_LONGEST_S)
        self._socket.connect(str(path))
        self._lines = self._socket.makefile("rb")
        self._lines.readline()
        self.events = list[dict[str, Any]]()
        self.ask("qmp_capabilities")

    def ask(self, command: str, **arguments: object) -> Any:
        given = {name.replace("_", "-"): value for name, value in arguments.items()}
        self._socket.sendall(json.dumps({"execute": command, "arguments": given}).encode() + b"\n")
        while "event" in (said := json.loads(self._lines.readline())):
            self.events.append(said)
        if "error" in said:
            raise SystemExit(f"{command}: {said['error']['desc']}")
        return said["return"]

    def until(self, name: str, status: str = "") -> None:
        """An event of that name, with that status where one is named."""
        while True:
            for event in self.events:
                if event["event"] == name and (not status or event["data"].get("status") == status):
                    self.events.remove(event)
                    return
            self.events.append(json.loads(self._lines.readline()))


def _move(first: Path, second: Path, turn: Callable[[], None], *, has_disk: bool) -> None:
    """By their folders."""
    old, new = Monitor(first / QMP), Monitor(second / QMP)
    wanted = ("events", "return-path", "pause-before-switchover", "auto-converge")
    for monitor in (old, new):
        on = [{"capability": name, "state": True} for name in wanted]
        monitor.ask("migrate-set-capabilities", capabilities=on)
        monitor.ask(
            "migrate-set-parameters", downtime_limit=migration.STILL_MS, max_bandwidth=migration.MOST_PER_S
        )  # fmt: skip
    if has_disk:
        disk = str(second / "disk.sock")
        new.ask("nbd-server-start", addr={"type": "unix", "data": {"path": disk}})
        new.ask("block-export-add", type="nbd", id="root", node_name="root", name="root", writable=True)
        old.ask("blockdev-add", driver="nbd", node_name="there", server={"type": "unix", "path": disk}, export="root")
        old.ask(
            "blockdev-mirror", job_id="move", device="root", target="there", sync="top", copy_mode="write-blocking"
        )  # fmt: skip
        old.until("BLOCK_JOB_READY")
    translated = not old.ask("query-kvm")["enabled"]
    if translated:  # as Anypop does: QEMU does not see all that such a guest writes
        old.ask("stop")
    memory = f"unix:{second / 'memory.sock'}"
    new.ask("migrate-incoming", uri=memory)
    old.ask("migrate", uri=memory)
    old.until("MIGRATION", "pre-switchover")
    if has_disk:
        old.ask("block-job-cancel", device="move")
        old.until("BLOCK_JOB_COMPLETED")
    old.ask("migrate-continue", state="pre-switchover")
    new.until("MIGRATION", "completed")
    if translated:
        new.ask("cont")
    else:
        new.until("RESUME")
    turn()
