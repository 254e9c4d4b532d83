"""The programs of a lab: one BIRD in each router's namespace, and the wire. Started side by side, found again by pid
file.

Between the made machine and `settle`, which waits until they agree. Files are in the lab's folder: `wire.*`, and for
each router a folder with bird.conf, bird.ctl, bird.pid, bird.log.
"""

import contextlib
import json
import os
import signal
import sys
from collections.abc import Collection, Iterable
from functools import partial
from pathlib import Path

from anypop.host import birdc, inventory, netns, process
from anypop.host.priority import run_before
from anypop.lab import edge, edge_rules, routers
from anypop.lab.address import LabPlan, PopSite, Router
from anypop.lab.machine import in_parallel
from anypop.lab.until import until
from anypop.model.errors import WorldError
from anypop.model.route import Relationship

_NICE = -10
_QUICK_MS = 50  # where BFD is faster than that, a router that waits for its turn is already late
_LONGEST_SOCKET_PATH = 107  # sockaddr_un of Linux, less its closing zero


def control_socket(folder: Path, router: str) -> Path:
    """BIRD's control socket of a lab router, by its name (`as3356-lhr`)."""
    return folder / router / "bird.ctl"


def birds(plan: LabPlan) -> dict[str, str]:
    """The routers that the lab configures, by name, and the namespace of each: those of other networks, and our edge
    routers.
    """
    return {r.name: r.netns for r in plan.routers} | {s.name: s.netns for s in plan.sites if s.edge is not None}


def start_birds(plan: LabPlan, folder: Path, *, but: Collection[str] = ()) -> frozenset[str]:
    """Start the BIRDs that do not run, or run with another configuration or in a namespace that is gone. The names
    of those routers. `but`: routers that another program runs.
    """
    longest = max((str(control_socket(folder, name)) for name in birds(plan)), key=len)
    if len(longest) > _LONGEST_SOCKET_PATH:
        raise WorldError(
            "start the lab's routers", f"{longest} is too long for a UNIX socket; choose a shorter state folder"
        )
    works = [(r.name, r.netns, partial(routers.render, plan, r)) for r in plan.routers if r.name not in but]
    works += [(s.name, s.netns, partial(_edge_conf, plan, s)) for s in plan.sites if s.edge is not None]
    in_parallel(lambda site: _guard_edge(plan, site), [s for s in plan.sites if s.edge is not None])
    quick = plan.topology.own.bfd_ms < _QUICK_MS
    begun = in_parallel(lambda work: _start_bird(folder, work[0], work[1], work[2](), quick=quick), works)
    return frozenset(name for (name, _, _), anew in zip(works, begun, strict=True) if anew)


def _edge_conf(plan: LabPlan, site: PopSite) -> str:
    return edge.render(edge.config_of(plan, site))


def _guard_edge(plan: LabPlan, site: PopSite) -> None:
    """An edge router forwards for us alone, also before it knows any route."""
    text = edge_rules.render(edge.config_of(plan, site))
    process.run(netns.command(site.netns, "nft", "-f", "-"), stdin=text)


def renew_sessions(plan: LabPlan, folder: Path, *, started: frozenset[str], internal: bool) -> None:
    """Restart sessions whose other side forgot them, on the routers that were not started anew.

    A side whose peer died together with the link between them hears nothing of it, holds on for minutes, and refuses
    the peer's new connection meanwhile. `internal`: also all sessions inside ASes; after a silence of the wire TCP
    waits as long again before it repeats.
    """

    def renew(router: Router) -> None:
        stale = [
            f"restart {session.name}_v{family}"
            for session in routers.sessions(plan, router)
            if session.router in started or (internal and session.relationship is Relationship.INTERNAL)
            for family in session.families
        ]
        if stale:
            birdc.ask(control_socket(folder, router.name), *stale)

    in_parallel(renew, [router for router in plan.routers if router.name not in started])


def _start_bird(folder: Path, name: str, namespace: str, text: str, *, quick: bool) -> bool:
    home = folder / name
    home.mkdir(exist_ok=True)
    conf, pid_file = home / "bird.conf", home / "bird.pid"
    pid = process.alive(pid_file)
    if pid is not None and inside(pid, namespace) and conf.exists() and conf.read_text() == text:
        return False
    process.end(pid_file, grace_s=0)
    conf.write_text(text)
    (home / "bird.ctl").unlink(missing_ok=True)
    argv = ["bird", "-f", "-c", str(conf), "-s", str(control_socket(folder, name))]
    with netns.inside(namespace):  # a program starts in the namespace of the thread that starts it
        pid = process.spawn(argv, pid_file=pid_file, log=home / "bird.log")
    # BFD counts in hundredths of a second: what instances do must not make the networks around them late
    run_before(_NICE, pid)
    if quick:
        with contextlib.suppress(OSError):
            os.sched_setscheduler(pid, os.SCHED_RR, os.sched_param(1))
    return True


def start_wire(plan: LabPlan, folder: Path, *, anew: bool) -> bool:
    """Start the wire if it does not run, and wait until every long link has a carrier. True: it was started.

    `anew`: also when it runs, since it cannot know of devices that were made after it."""
    file, pid_file, ready = folder / "wire.json", folder / "wire.pid", folder / "wire.ready"
    if process.alive(pid_file) and ready.exists() and not anew:
        return False
    end_stray_wires(folder)
    ready.unlink(missing_ok=True)
    long_links = [link for link in plan.links if link.wired]
    rows = [
        {"a": [x.a.netns, x.a.interface], "b": [x.b.netns, x.b.interface], "one_way_ms": x.one_way_ms}
        for x in long_links
    ]
    file.write_text(json.dumps(rows))
    process.spawn([sys.executable, "-m", "anypop.lab.wire", str(file)], pid_file=pid_file, log=folder / "wire.log")
    until(lambda: ready.exists() or not process.alive(pid_file), timeout_s=20, what="the wire", log=folder / "wire.log")
    if not process.alive(pid_file):
        raise WorldError("the wire of the lab", f"ended at once; see {folder / 'wire.log'}")
    return True


def end_stray_wires(folder: Path) -> None:
    """End the wire of this lab, also one whose starter died before it wrote a pid file: it is known by its command
    line.
    """
    file = os.fsencode(folder / "wire.json")
    end_now(pid for pid, words in inventory.command_lines() if b"anypop.lab.wire" in words and file in words)
    (folder / "wire.pid").unlink(missing_ok=True)


def end_stray_birds(folder: Path) -> None:
    """End the BIRDs of this lab's routers wherever they are: one outlives the name of its namespace."""
    home = os.fsencode(folder) + b"/"
    end_now(
        pid
        for pid, words in inventory.command_lines()
        if words[0] == b"bird" and any(word.startswith(home) for word in words)
    )


def inside(pid: int, namespace: str) -> bool:
    """Whether a process is in the namespace that has this name now."""
    try:
        return Path(f"/proc/{pid}/ns/net").stat().st_ino == netns.path_of(namespace).stat().st_ino
    except OSError:
        return False


def end_inside(names: Iterable[str]) -> None:
    """End every program whose main thread is in one of these namespaces: BIRDs, with or without a pid file."""
    end_now(inventory.pids_inside(names))


def end_now(pids: Iterable[int]) -> None:
    """KILL, and wait until they are gone. The lab's programs have nothing to save."""
    handles = []
    for pid in pids:
        try:
            handle = os.pidfd_open(pid)
            signal.pidfd_send_signal(handle, signal.SIGKILL)
        except ProcessLookupError:
            continue
        handles.append((pid, handle))
    for pid, handle in handles:
        with os.fdopen(handle, "rb"):
            until(partial(_has_ended, pid), timeout_s=10, what=f"end of process {pid}")


def _has_ended(pid: int) -> bool:
    return process.start_time(pid) is None
