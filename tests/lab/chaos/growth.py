"""What a platform uses, counted: so that a long story can show that nothing grows.

In: a platform that is as declared. Out: numbers by name. It only looks.
"""

import os
import struct
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import httpx

from anypop.host import inventory, ip, netns, process
from anypop.lab.address import host_netns
from anypop.lab.platform import Platform
from anypop.model.errors import WorldError
from tests.lab.chaos import victims

_TICKS = os.sysconf("SC_CLK_TCK")
_COUNTED = ("control", "agent", "bird", "bfd", "podman", "supervisor")
IDLE_S = 5.0


def used(place: Platform) -> dict[str, float]:
    """Everything of the platform that could be left over or grow."""
    found: dict[str, float] = {}
    for kind in _COUNTED:
        pids = victims.of_kind(place, kind).values()
        found[f"file descriptors of {kind}"] = sum(map(_descriptors, pids))
        found[f"MB of {kind}"] = round(sum(map(_resident, pids)) / 1e6)
    for host in place.hosts:
        found["containers"] = found.get("containers", 0) + _containers(place, host)
        found["Podman's locks"] = found.get("Podman's locks", 0) + _locks(place.podman(host).locks)
        for name, count in _kernel(host_netns(place.prefix, host)).items():
            found[name] = found.get(name, 0) + count
    found["monitors"] = len(victims.of_kind(place, "conmon"))
    found["namespaces"] = len(netns.names(f"{place.prefix}-"))
    found["mounts"] = sum(_mounts(pid, place) for pid in victims.of_kind(place, "podman").values())
    found["processes"] = sum(
        any(os.fsencode(place.state) in word or os.fsencode(place.run) in word for word in words)
        for _, words in inventory.command_lines()
    )
    found["files"] = sum(len(files) for _, _, files in os.walk(place.run)) + sum(
        len(files) for path, _, files in os.walk(place.state) if "/podman/" not in path
    )
    return found


def idle(place: Platform) -> dict[str, float]:
    """Per cent of a core that each kind of program takes while nothing happens."""
    pids = {kind: list(victims.of_kind(place, kind).values()) for kind in _COUNTED}
    before = {kind: sum(map(_cpu_s, all_)) for kind, all_ in pids.items()}
    time.sleep(IDLE_S)
    return {
        f"idle % of a core, {kind}": round(100 * (sum(map(_cpu_s, all_)) - before[kind]) / IDLE_S, 1)
        for kind, all_ in pids.items()
    }


def grown(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, tuple[float, float]]:
    """Both, by name."""
    return {name: (before.get(name, 0.0), after.get(name, 0.0)) for name in sorted(before.keys() | after.keys())}


def _descriptors(pid: int) -> int:
    with suppress(OSError):
        return len(list(Path(f"/proc/{pid}/fd").iterdir()))
    return 0


def _resident(pid: int) -> int:
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def _mounts(pid: int, place: Platform) -> int:
    """Of the platform, as one Podman sees them: each has a mount namespace of its own."""
    with suppress(OSError):
        text = Path(f"/proc/{pid}/mountinfo").read_text()
        return sum(str(place.state) in line or str(place.run) in line for line in text.splitlines())
    return 0


def _cpu_s(pid: int) -> float:
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS
    return 0.0


def _containers(place: Platform, host: str) -> int:
    transport = httpx.HTTPTransport(uds=str(place.podman(host).socket))
    with httpx.Client(transport=transport, base_url="http://podman/v4.0.0/libpod", timeout=10) as http:
        return len(http.get("/containers/json", params={"all": "true"}).raise_for_status().json() or [])


def _locks(folder: Path) -> int:
    """Locks that Podman has given out: bits in its shared memory, one group of 32 locks after the other; files, where
    it keeps them so. Its words: a magic number, its own mutex, how many groups, how many locks.
    """
    try:
        data = (folder / "libpod_lock").read_bytes()
    except OSError:
        return sum(len(files) for _, _, files in os.walk(folder))
    count, mutex = 0, 40  # of a pthread_mutex_t on 64 bits
    head = 8 + mutex + 8
    group = 8 + 32 * mutex
    for at in range(head, len(data) - group + 1, group):
        count += struct.unpack_from("=I", data, at)[0].bit_count()
    return count


def _kernel(inside: str) -> dict[str, float]:
    """Of a host's own kernel."""
    tables = process.run(netns.command(inside, "nft", "list", "tables")).splitlines()
    found: dict[str, float] = {"nft tables": len(tables)}
    for name, words in {"links": ("link", "show"), "next hops": ("nexthop", "show")}.items():
        found[name] = len(ip.query(*words, netns=inside))
    for family in ("-4", "-6"):
        found["rules"] = found.get("rules", 0) + len(ip.query(family, "rule", "show", netns=inside))
        with suppress(WorldError):
            routes = ip.query(family, "route", "show", "table", "all", "proto", "158", netns=inside)
            found["routes"] = found.get("routes", 0) + len(routes)
    return found
