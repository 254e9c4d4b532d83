"""Virtual machines: from the POST to guests that answer, and what the platform adds to QEMU.

The floor is measured in the same run: the same number of the same guests, started by hand with the same arguments of
QEMU (`vm_floor`), until they answer. Under translation (TCG) a boot is processor time alone, so both are as slow as the
machine is busy; they take turns.
"""

import contextlib
import io
import os
import select
import signal
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.guest_image import guest_image

from anypop.agent.act.instances.machines.place import Place, places
from anypop.agent.act.network import rtnl
from anypop.agent.act.network.netlink import Netlink
from anypop.agent.naming import ROUTE_PROTOCOL
from anypop.cli import views, watch
from anypop.cli.call import Call, Root
from anypop.cli.screen import Format
from anypop.host import netns, process
from anypop.lab import build, platform
from anypop.lab.address import VantageHost, host_netns
from anypop.lab.vantage import probe
from anypop.model.machine import MachineImage
from bench import vm_moves
from bench.harness import Row, row
from bench.vm_floor import ANSWERS_S, boot_by_hand

TOPOLOGY = Path(__file__).parents[1] / "topologies" / "article.yaml"
RUNS, SLUG, FAMILY, TAG = 2, "bench", "guest", "1"
MEMORY_MB = 128
_PIECE, _LONGEST_S = 4 << 20, 180.0
# of the guest that was the last to serve: what its console said at the end of each part, but for the first and the last
SPLIT = {
    "host": "",
    "firmware_and_kernel": "kernel ready",
    "seed": "vendor data done",
    "service": "serving as",
    "led": "",
}


def rows() -> Iterable[Row]:
    """Those of each part, one after the other."""
    return [one for part in PARTS.values() for one in part()]


def boots() -> Iterable[Row]:
    """Rows `create_to_running`, `create_to_serving` (own and anycast addresses, each from one vantage), in seconds;
    `memory_beside_qemu_mb`, of one host with one guest; `qemu_death_known_ms`, until its routes have
    changed, of which `qemu_gone_ms` until the kernel tells it; and where
    the time until all serve went.
    """
    prefix = f"b{os.getpid() % 46656:x}"
    image, files = guest_image()
    with tempfile.TemporaryDirectory(prefix="anyp-", dir="/tmp") as folder:
        state = Path(folder) / "s"
        try:
            place = platform.up(TOPOLOGY, state=state, prefix=prefix, api_port=0, registry_port=0, progress=print)
            with contextlib.redirect_stderr(io.StringIO()):  # the live table is for people
                return _measure(place, image, files)
        finally:
            platform.down(state, progress=print, purge=True)


def _measure(place: platform.Platform, image: MachineImage, files: dict[str, Path]) -> list[Row]:
    call = Call(Root(), output=Format.JSON, state=place.state, stack="")
    vantages = build.attach(place.state / "lab").plan.vantages
    reference = _upload(call, image, files)
    running, serving, floor_run, floor, memory = [], [], [], [], []
    deaths: list[tuple[float, float]] = []
    splits: list[dict[str, float]] = []
    for number in range(RUNS + 1):
        began, posted = time.monotonic(), time.time()
        made, found = _create(call, reference)
        ran = time.monotonic() - began
        addresses = [str(one["externalIpAddress"]) for one in found] + [views.anycast_of(made)[0].split("/")[0]]
        _until_serving(vantages, addresses)
        served = time.monotonic() - began
        split = _split(call, [str(one["name"]) for one in found], posted, served)
        host, home = next((h, p) for h in place.hosts for p in places(place.home(h) / "machines").values() if p.pid())
        memory.append(_beside(place, host, home))
        deaths.append(_death_ms(place, host, home))
        call.client.call("DELETE", call.workload_path(SLUG), what=SLUG)
        watch.until_gone(call, str(made["id"]), timeout_s=60)
        with tempfile.TemporaryDirectory(prefix="anyp-", dir="/tmp") as folder:
            hand_ran, hand_served = boot_by_hand(
                Path(folder), f"{place.prefix}f", image, files, count=len(found), memory_bytes=MEMORY_MB << 20
            )  # fmt: skip
        print(f"run {number}: serving {served:.1f} s, by hand {hand_served:.1f} s", flush=True)
        if number > 0:  # the first round brings the image to the hosts
            running.append(ran)
            serving.append(served)
            floor_run.append(hand_ran)
            floor.append(hand_served)
            splits.append(split)
    against = "the same guests by hand, no platform"
    return [
        row("create_to_running", running, unit="s", against=against, floor=floor),
        row("create_to_serving", serving, unit="s", against=against, floor=floor, ratio_below=1.2),
        row("by_hand_started", floor_run, unit="s"),
        *(row(f"split_{part}", [split[part] for split in splits], unit="s") for part in SPLIT),
        row("memory_beside_qemu_mb", memory, unit="MB", below=30),
        row("qemu_gone_ms", [gone for gone, _ in deaths], unit="ms"),
        row("qemu_death_known_ms", [known for _, known in deaths], unit="ms", below=10),
    ]


def _upload(call: Call, image: MachineImage, files: dict[str, Path]) -> str:
    """The image by the API, in pieces; its reference once it is ready."""
    stack = call.stack_path("workload")
    path = f"{stack}/images/{FAMILY}/{TAG}"
    parts = {part.name: {"size": str(part.size), "sha256": part.sha256} for part in image.parts}
    body = {"firmware": image.firmware, "board": image.board, "cmdline": image.cmdline, "parts": parts}
    call.client.call("POST", path, what=FAMILY, body={"image": body})
    for name, file in files.items():
        content = file.read_bytes()
        for offset in range(0, len(content), _PIECE):
            where = f"{call.stack_path('anypop')}/images/{FAMILY}/{TAG}/parts/{name}?offset={offset}"
            kind = {"Content-Type": "application/octet-stream", "Authorization": f"Bearer {call.client._bearer(name)}"}
            call.client._http.put(where, content=content[offset : offset + _PIECE], headers=kind).raise_for_status()
    while (told := call.client.call("GET", path, what=FAMILY)["image"])["status"] != "READY":
        if told["status"] == "FAILED":
            raise SystemExit(f"the image failed: {told}")
        time.sleep(0.05)
    return f"{stack.rsplit('/', 1)[-1]}/{FAMILY}"


def _create(call: Call, reference: str) -> tuple[dict[str, Any], watch.Instances]:
    vm = {
        "image": reference,
        "ports": {"http": {"port": 80, "enableImplicitNetworkPolicy": True}},
        "resources": {"requests": {"cpu": "1", "memory": f"{MEMORY_MB}Mi"}},
    }

    def target(*cities: str) -> dict[str, Any]:
        selector = {"key": "cityCode", "operator": "in", "values": list(cities)}
        return {"spec": {"deploymentScope": "cityCode", "deployments": {"minReplicas": "1", "selectors": [selector]}}}

    workload = {
        "name": SLUG, "slug": SLUG, "metadata": {"annotations": {"anycast.platform.stackpath.net": "true"}},
        "spec": {"networkInterfaces": [{"network": "default"}], "virtualMachines": {"vm": vm}},
        "targets": {"na1": target("JFK", "LAX"), "eu1": target("AMS", "LHR")},
    }  # fmt: skip
    path = f"{call.stack_path('workload')}/workloads"
    made = call.client.call("POST", path, what=SLUG, body={"workload": workload})["workload"]
    return made, watch.until_running(call, SLUG, 4, timeout_s=240)


def _split(call: Call, names: Sequence[str], posted: float, served: float) -> dict[str, float]:
    """Where the time of the slowest guest went, in seconds: until its QEMU was started, by its host's timeline; then as
    its console said it, which a line reaches within a tenth of a second; and until all were answered.
    """
    told = call.client.get(f"{call.workload_path(SLUG, 'anypop')}/timeline", what="timeline")
    starts = {one["name"]: _started(one) for one in told["instances"]}
    found = []
    for name in names:
        query = {"timestamps": "true"}
        with call.client.stream(f"{call.workload_path(SLUG)}/instances/{name}/logs", what=name, **query) as pieces:
            text = b"".join(pieces).decode(errors="replace")
        at = [starts[name]]
        for words in filter(None, SPLIT.values()):
            line = next(line for line in text.splitlines() if words in line)
            at.append(datetime.fromisoformat(line.split()[0].replace("Z", "+00:00")).timestamp() - posted)
        found.append(at)
    slowest = max(found, key=lambda at: at[-1])
    moments = [0.0, *slowest, served]
    return {part: max(0.0, moments[n + 1] - moments[n]) for n, part in enumerate(SPLIT)}


def _started(told: dict[str, Any]) -> float:
    """When its host had started its QEMU, in seconds since the declaration was accepted."""
    return next(float(one["after_ms"]) / 1000 for one in told["steps"] if one["step"] == "started")


def _until_serving(vantages: Sequence[VantageHost], addresses: Sequence[str]) -> None:
    """Returns when every address has answered, each asked from one vantage: an emulated guest that is asked by all of
    them at once has nothing left to start with.
    """
    asked = [(vantages[number % len(vantages)], address) for number, address in enumerate(addresses)]

    def answers(one: tuple[VantageHost, str]) -> None:
        deadline = time.monotonic() + _LONGEST_S
        while not probe(one[0], one[1], port=80, requests=1, timeout_s=ANSWERS_S)[0].ok:
            if time.monotonic() > deadline:
                raise SystemExit(f"{one[1]} did not answer within {_LONGEST_S:g} s")
            time.sleep(0.02)

    with ThreadPoolExecutor(len(asked)) as pool:
        list(pool.map(answers, asked))


def _beside(place: platform.Platform, host: str, home: Place) -> float:
    """MB of what a host has for its guests alone: who waits for QEMU, and who stays with the consoles."""
    pids = [process.alive(home.file("keeper.pid")), process.alive(place.home(host) / "guests" / "guests.pid")]
    return sum(_megabytes(pid) for pid in pids if pid is not None)


def _megabytes(pid: int) -> float:
    """What is its own, and its part of what it shares."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def _death_ms(place: platform.Platform, host: str, home: Place) -> tuple[float, float]:
    """From SIGKILL until the kernel tells that QEMU is gone, with its memory, and until the router's next hops have
    changed. Looking costs a tenth of a millisecond.
    """
    pid, gone = home.pid(), 0.0
    assert pid is not None
    with netns.inside(host_netns(place.prefix, host)), Netlink() as net, os.fdopen(os.pidfd_open(pid), "rb") as death:
        before = rtnl.nexthops(net, ROUTE_PROTOCOL)
        began = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        while rtnl.nexthops(net, ROUTE_PROTOCOL) == before and time.monotonic() - began < 5:
            if gone:
                time.sleep(0.0002)
            elif select.select([death], [], [], 0.0002)[0]:
                gone = time.monotonic() - began
        return gone * 1000, (time.monotonic() - began) * 1000


PARTS: Mapping[str, Callable[[], Iterable[Row]]] = {"boots": boots, "migration": vm_moves.moves}
