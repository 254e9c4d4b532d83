"""Control groups of our own making, for programs that no container runtime starts: one for each, with its limits.

In: a name, limits. Out: the group in every hierarchy that this machine has (version 1, 2, or both at once: whichever
holds a controller), the files by which a process joins it, and its end. What a machine does not count is not limited,
and that is told. Nothing here starts or ends a process.
"""

import contextlib
import errno
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from anypop.model.errors import WorldError

ROOT = Path("/sys/fs/cgroup")
PARENT = "anypop"
_PERIOD_US, _SHARES_OF_A_CORE, _WEIGHT_OF_A_CORE = 100_000, 1024, 100  # the kernel's defaults
_LEAST_QUOTA_US = 1000
_LOOK_S = 0.01
LEAVES_S = 2.0
"""By then a process that is dead has left its group."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Up to where, in thousandths of a core, bytes and processes (threads count as such); `share_millis`: what it is
    sure of where all want more than there is.
    """

    cpu_millis: int
    share_millis: int
    memory_bytes: int
    processes: int


def make(name: str, limits: Limits) -> tuple[Path, ...]:
    """The group with these limits, whatever was there; by which files a process joins it. Raises `WorldError`."""
    joined = []
    try:
        for controllers, top in _hierarchies():
            folder = top / PARENT / name
            if controllers is None:
                _open_below(top)
                folder.mkdir(exist_ok=True)
                _write(folder, _version2(limits))
            else:
                folder.mkdir(parents=True, exist_ok=True)
                _write(folder, _version1(limits, controllers))
            joined.append(folder / "cgroup.procs")
    except OSError as error:
        raise WorldError(f"make the control group {name}", f"{error.strerror} at {error.filename}") from error
    return tuple(joined)


def remove(name: str, within_s: float = 0) -> bool:
    """Whether nothing is left of it; one that still has processes stays. The kernel takes a dead one out of its group
    a moment after others were told of its death: so long it is tried again.
    """
    until = time.monotonic() + within_s
    while not (gone := _remove(name)) and time.monotonic() < until:
        time.sleep(_LOOK_S)
    return gone


def _remove(name: str) -> bool:
    gone = True
    for _, top in _hierarchies():
        try:
            (top / PARENT / name).rmdir()
        except FileNotFoundError:
            continue
        except OSError as error:
            if error.errno not in (errno.EBUSY, errno.ENOTEMPTY):
                raise
            gone = False
    return gone


def names() -> frozenset[str]:
    """All that are there."""
    found = set()
    for _, top in _hierarchies():
        with contextlib.suppress(OSError):
            found |= {entry.name for entry in (top / PARENT).iterdir() if entry.is_dir()}
    return frozenset(found)


def _hierarchies() -> Iterator[tuple[frozenset[str] | None, Path]]:
    """The controllers of each with its folder, those of version 1 that limit something; None: version 2."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        first, _, second = line.partition(" - ")
        kind, _, options = second.split()[:3]
        # one that shows a part of the hierarchy alone is somebody's container
        root, point = first.split()[3:5]
        if root != "/":
            continue
        if kind == "cgroup2":
            if _controllers(Path(point)):
                yield None, Path(point)
        elif kind == "cgroup":
            controllers = frozenset(options.split(",")) & {"cpu", "cpuacct", "memory", "pids"}
            if controllers:
                yield controllers, Path(point)


def _controllers(top: Path) -> set[str]:
    """Those of version 2 that limit something here."""
    with contextlib.suppress(OSError):
        return set((top / "cgroup.controllers").read_text().split()) & {"cpu", "memory", "pids"}
    return set()


def _open_below(top: Path) -> None:
    """Let groups below have what this hierarchy has."""
    words = " ".join(f"+{name}" for name in sorted(_controllers(top)))
    (top / "cgroup.subtree_control").write_text(words)
    (top / PARENT).mkdir(exist_ok=True)
    (top / PARENT / "cgroup.subtree_control").write_text(words)


def _version2(limits: Limits) -> Mapping[str, str]:
    quota = max(_LEAST_QUOTA_US, limits.cpu_millis * _PERIOD_US // 1000)
    return {
        "cpu.max": f"{quota} {_PERIOD_US}",
        "cpu.weight": str(min(10_000, max(1, limits.share_millis * _WEIGHT_OF_A_CORE // 1000))),
        "memory.max": str(limits.memory_bytes),
        "memory.swap.max": "0",
        "pids.max": str(limits.processes),
    }


def _version1(limits: Limits, controllers: frozenset[str]) -> Mapping[str, str]:
    found: dict[str, str] = {}
    if "cpu" in controllers:
        found["cpu.cfs_period_us"] = str(_PERIOD_US)
        found["cpu.cfs_quota_us"] = str(max(_LEAST_QUOTA_US, limits.cpu_millis * _PERIOD_US // 1000))
        found["cpu.shares"] = str(max(2, limits.share_millis * _SHARES_OF_A_CORE // 1000))
    if "memory" in controllers:
        found["memory.limit_in_bytes"] = str(limits.memory_bytes)
        found["memory.memsw.limit_in_bytes"] = str(limits.memory_bytes)
    if "pids" in controllers:
        found["pids.max"] = str(limits.processes)
    return found


def _write(folder: Path, values: Mapping[str, str]) -> None:
    for name, value in values.items():
        # a kernel that does not count this (swap, say) has no file for it
        if (folder / name).exists():
            (folder / name).write_text(value)
