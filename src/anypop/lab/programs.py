"""The programs of a platform: each started once, found again by its record or by what it runs with, and ended.

Comes in: a platform's place and a program's name (`control`, `agent-lhr`, ...). Goes out: a running program, on record.
One that runs without a record (its pid file was lost) is never taken for ours to keep: it is ended before another one
starts. It knows command lines, and nothing of what the programs decide.
"""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from anypop.host import inventory, netns, process
from anypop.lab import address, daemons, metrics, podman, registry
from anypop.lab.build import attach
from anypop.lab.place import WIRE, Platform
from anypop.model.errors import WorldError

CONTROL_ADDRESS = "100.64.0.1"
CONTROL_PORT = 8443  # inside the management namespace, where nobody else listens

GRACE_S = 5.0  # for one whose record was lost, before it is killed
LATE_S = 3.0  # Podman's clean-up after a container's end takes a fraction of a second
_LATE = frozenset({b"podman", b"conmon", b"crun", b"bird", b"unshare", b"nsenter", b"prometheus"})
_OURS = frozenset({b"anypop.api", b"anypop.agent", b"anypop.lab.wire", b"anypop.lab.supervisor"})


def running(place: Platform, program: str) -> int | None:
    """The pid of a program that is on record, and is what the record says."""
    pid = process.alive(place.pid_file(program))
    return pid if pid is not None and _is(pid, _marks(place, program)) else None


def strays(place: Platform, program: str) -> list[int]:
    """Processes that are this program and are not on record."""
    known = process.alive(place.pid_file(program))
    marks = _marks(place, program)
    return [pid for pid, words in inventory.command_lines() if pid != known and marks <= {*words}]


def start(place: Platform, program: str) -> None:
    """Start one unless it runs; a stray one is ended first. Raises `WorldError` where it cannot be started."""
    if running(place, program) is not None:
        return
    end_all(strays(place, program))
    kind, _, host = program.partition("-")
    if kind == "control":
        process.spawn(_control(place), pid_file=place.pid_file(program), log=place.log(program))
    elif kind == "registry":
        registry.start(
            place.state / "registry", place.registry_port, pid_file=place.pid_file(program), log=place.log(program)
        )
    elif kind == "podman":
        podman.start(place.podman(host), pid_file=place.pid_file(program), log=place.log(program))
    elif kind == "agent":
        _start_agent(place, program, _named(place, host))
    elif kind == "metrics":
        process.spawn(metrics.command(place), pid_file=place.pid_file(program), log=place.log(program))
    elif kind == "supervisor":
        argv = [sys.executable, "-m", "anypop.lab.supervisor", "--state", str(place.state)]
        process.spawn(argv, pid_file=place.pid_file(program), log=place.log(program))
    else:
        lab = attach(place.state / "lab")
        daemons.start_wire(lab.plan, lab.folder, anew=False)


def end(place: Platform, program: str) -> None:
    """End one, on record or not."""
    process.end(place.pid_file(program))
    end_all(strays(place, program))


def end_all(pids: Iterable[int], *, grace_s: float = GRACE_S) -> None:
    """TERM, then KILL; back when all are gone. Raises `WorldError` for one that stays."""
    left = {pid: process.start_time(pid) for pid in pids}
    for number, wait_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, GRACE_S)):
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        deadline = time.monotonic() + wait_s
        while left and time.monotonic() < deadline:
            left = {pid: started for pid, started in left.items() if started and process.start_time(pid) == started}
            time.sleep(0.01 if left else 0)
    if left:
        raise WorldError("end what runs", f"processes {sorted(left)} do not end")


def end_late(place: Platform) -> None:
    """What still works in the platform's folders when all its programs have ended (Podman's clean-up after containers,
    what a killed `up` or `down` had begun) gets a moment to finish, and is then ended.
    """
    deadline = time.monotonic() + LATE_S
    while _late(place) and time.monotonic() < deadline:
        time.sleep(0.02)
    end_all(_late(place), grace_s=0)


def left(place: Platform) -> list[str]:
    """One line for each thing of the platform that is still on this machine, outside its state folder."""
    folders = (place.state, place.run)
    found = [f"process {pid}" for pid in _late(place)]
    found += [f"namespace {name}" for name in netns.names(f"{place.prefix}-")]
    return found + [f"mount {mount}" for mount in inventory.mounts_below(*folders)]


def _late(place: Platform) -> list[int]:
    folders = tuple(os.fsencode(folder) + b"/" for folder in (place.state, place.run))
    return [
        pid
        for pid, words in inventory.command_lines()
        if (Path(os.fsdecode(words[0])).name.encode() in _LATE or not _OURS.isdisjoint(words))
        and any(folder in word or word == folder[:-1] for word in words for folder in folders)
    ]


def _named(place: Platform, host: str) -> str:
    return next(name for name in place.hosts if name.lower() == host)


def _is(pid: int, marks: frozenset[bytes]) -> bool:
    try:
        told = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return not told or marks <= {*told.split(b"\0")}  # nothing: it is just becoming its program


def _marks(place: Platform, program: str) -> frozenset[bytes]:
    """Words that stand in the command line of this very program and of no other's."""
    kind, _, host = program.partition("-")
    words: dict[str, Callable[[], tuple[str, ...]]] = {
        "control": lambda: ("anypop.api", str(place.state / "control")),
        "registry": lambda: ("serve", str(place.state / "registry" / "config.yml")),
        "metrics": lambda: (metrics.mark(place),),
        "supervisor": lambda: ("anypop.lab.supervisor", str(place.state)),
        "podman": lambda: ("service", f"unix://{place.podman(host).socket}"),
        "agent": lambda: ("anypop.agent", str(place.home(host))),
        WIRE: lambda: ("anypop.lab.wire", str(place.state / "lab" / "wire.json")),
    }
    return frozenset(os.fsencode(word) for word in words[kind]())


def _control(place: Platform) -> list[str]:
    state = place.state
    argv = [sys.executable, "-m", "anypop.api", "--state", str(state / "control")]
    argv += ["--listen", f"127.0.0.1:{place.api_port}"]
    argv += ["--listen", f"netns={place.prefix}-mgmt,{CONTROL_ADDRESS}:{CONTROL_PORT}"]
    argv += ["--network", str(state / "network.yaml"), "--lab", str(state / "lab"), "--graph", str(state)]
    argv += [part for name in place.public_names for part in ("--public-name", name)]
    if place.certificate:
        argv += ["--certificate", place.certificate, "--key", place.key]
    if place.metrics_port:
        argv += ["--metrics", str(metrics.settings_file(place)), "--scrape-file", str(metrics.scrape_file(place))]
    return [*argv, "--client-file", str(state / "client.json")]


def _start_agent(place: Platform, program: str, host: str) -> None:
    if not netns.exists(address.host_netns(place.prefix, host)):
        raise WorldError(f"start the agent of {host}", "its router's namespace is gone; run `anypop up`")
    control = place.state / "control"
    more = ["--control", f"https://{CONTROL_ADDRESS}:{CONTROL_PORT}", "--ca", str(control / "ca.pem")]
    more += ["--token-file", str(control / "agents" / f"{host}.token"), "--join"]
    place.home(host).mkdir(parents=True, exist_ok=True)
    process.spawn(place.agent_command(host, *more), pid_file=place.pid_file(program), log=place.log(program))
