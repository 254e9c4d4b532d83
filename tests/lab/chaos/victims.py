"""The programs of a platform that can be hit: found by pid file, by namespace and by what they run with.

In: a platform. Out: names and pids. It only looks; a program that ends meanwhile is left out.
"""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from anypop.host import inventory, netns, process
from anypop.lab.platform import Platform

_PATTERNS = {
    "control": ("run/control.pid",),
    "agent": ("run/agent-*.pid",),
    "podman": ("run/podman-*.pid",),
    "registry": ("run/registry.pid",),
    "supervisor": ("run/supervisor.pid",),
    "wire": ("lab/wire.pid",),
    "router": ("lab/*/bird.pid",),
    "bird": ("pops/*/bird/bird.pid",),
    "bfd": ("pops/*/bird/bfd/bfd.pid",),
}
KINDS = (*_PATTERNS, "bfd worker", "conmon", "instance")


def of_kind(place: Platform, kind: str) -> Mapping[str, int]:
    """Everything of one kind that runs now: pid by name, sorted by name."""
    if kind == "bfd worker":
        return {f"worker of {name}": pid for name, parent in of_kind(place, "bfd").items() for pid in _children(parent)}
    if kind == "conmon":
        return {f"conmon {pid}": pid for pid in _monitors(place)}
    if kind == "instance":
        return {f"process {pid} of an instance": pid for pid in _in_instances(place)}
    files = sorted(file for pattern in _PATTERNS[kind] for file in place.state.glob(pattern))
    return {str(f.relative_to(place.state)): pid for f in files if (pid := process.alive(f)) is not None}


def daemons(place: Platform) -> Mapping[str, int]:
    """All that has a pid file."""
    return {name: pid for kind in _PATTERNS for name, pid in of_kind(place, kind).items()}


def host_of(place: Platform, name: str, pid: int) -> str:
    """Whose program it is: by its name, else by what it runs with or on; empty where it is not one host's."""
    texts = [name.encode()]
    with suppress(OSError):
        texts += [Path(f"/proc/{pid}/{file}").read_bytes() for file in ("cmdline", "mountinfo")]
    for text in texts:
        for host in sorted(place.hosts, key=len, reverse=True):
            low = os.fsencode(host.lower())
            if b"-" + low + b".pid" in text or b"pops/" + low + b"/" in text:
                return host
    return ""


def _children(pid: int) -> list[int]:
    with suppress(OSError):
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def _monitors(place: Platform) -> list[int]:
    """Podman's monitors of the containers; those of commands inside them come and go."""
    home = os.fsencode(place.state / "pops") + b"/"
    return sorted(
        pid
        for pid, words in inventory.command_lines()
        if Path(os.fsdecode(words[0])).name == "conmon"
        and b"--exec-attach" not in words
        and any(word.startswith(home) for word in words)
    )


def _in_instances(place: Platform) -> list[int]:
    inodes = set()
    for name in netns.names(f"{place.prefix}-i-"):
        with suppress(OSError):
            inodes.add(netns.path_of(name).stat().st_ino)
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (entry / "ns/net").stat().st_ino in inodes:
                found.append(int(entry.name))
    return sorted(found)
