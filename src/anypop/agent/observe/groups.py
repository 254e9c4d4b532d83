"""What control groups count: processor time, waiting for a limit, memory; in both versions of them.

In: the main process of a container. Out: the kernel's own figures of its group. The files stay open as long as the
container lives, since opening them costs more than reading; None is what this machine does not count, or what is gone.
"""

import os
import resource
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

ROOT = Path("/sys/fs/cgroup")
_LONGEST = 1 << 14  # memory.stat has some 2 KiB
_IDLE_EVERY = 10  # readings: for the part of the cache that could go the kernel sums up all its parts
_OPEN = 3  # files of one group


class Figures(NamedTuple):
    """Of one group; microseconds and bytes."""

    cpu_us: int | None = None
    throttled_us: int | None = None
    memory: int | None = None


NONE = Figures()


class _Source(NamedTuple):
    """Where a figure stands: a file, the word before it (empty: the file is the figure), what to divide it by. The file
    is a string, since it is looked up each second, and a path is ten times as dear to look up.
    """

    file: str
    word: bytes = b""
    divisor: int = 1


def _sources(pid: int, of: str) -> dict[str, _Source]:
    """Those of a process's group that are there. `of`: what its path has to have in it: where containers have no group
    of their own, that of all is nobody's.
    """
    found: dict[str, _Source] = {}
    with suppress(OSError, ValueError):
        for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
            _, listed, path = line.split(":", 2)
            controllers = listed.split(",") if of in path else ["none"]
            for name, source in _named(controllers, listed, path.lstrip("/")):
                if name not in found and os.path.exists(source.file):  # noqa: PTH110 - a string, see `_Source`
                    found[name] = source
    return found


def _named(controllers: Collection[str], listed: str, path: str) -> list[tuple[str, _Source]]:
    if controllers == [""]:  # version 2
        folder = ROOT / path
        return [
            ("cpu", _Source(f"{folder}/cpu.stat", b"usage_usec")),
            ("throttled", _Source(f"{folder}/cpu.stat", b"throttled_usec")),
            ("memory", _Source(f"{folder}/memory.current")),
            ("idle", _Source(f"{folder}/memory.stat", b"inactive_file")),
        ]
    found = []
    for name in dict.fromkeys((listed, *controllers)):  # version 1; where several are mounted as one, and where not
        folder = ROOT / name / path
        if "cpuacct" in controllers:
            found.append(("cpu", _Source(f"{folder}/cpuacct.usage", divisor=1000)))
        if "cpu" in controllers:
            found.append(("throttled", _Source(f"{folder}/cpu.stat", b"throttled_time", 1000)))
        if "memory" in controllers:
            found.append(("memory", _Source(f"{folder}/memory.usage_in_bytes")))
            found.append(("idle", _Source(f"{folder}/memory.stat", b"total_inactive_file")))
    return found


class Group:
    """That of one process. `of`: the container that it must be of, by its id. `keep`: its files stay open until
    `close`.
    """

    def __init__(self, pid: int, *, of: str = "", keep: bool = False) -> None:
        self._sources = _sources(pid, of)
        self._keep = keep
        self._files: dict[str, int] = {}
        self._reads = 0
        self._idle: int | None = None

    def read(self) -> Figures:
        """Its figures now. The cache that could go is looked at now and then."""
        texts: dict[str, bytes] = {}
        cpu, throttled = self._figure("cpu", texts), self._figure("throttled", texts)
        memory = self._figure("memory", texts)
        if memory is not None and self._reads % _IDLE_EVERY == 0:
            self._idle = self._figure("idle", texts)
        self._reads += 1
        if memory is not None and self._idle is not None:
            memory = max(0, memory - self._idle)
        return Figures(cpu, throttled, memory if self._idle is not None else None)

    def cpu_us(self) -> int | None:
        """Its processor time alone."""
        return self._figure("cpu", {})

    def close(self) -> None:
        for file in self._files.values():
            os.close(file)
        self._files = {}

    def _figure(self, name: str, texts: dict[str, bytes]) -> int | None:
        source = self._sources.get(name)
        if source is None:
            return None
        try:
            text = texts.get(source.file)
            if text is None:
                text = texts[source.file] = self._text(source.file)
            if source.word:
                start = text.index(source.word + b" ") if text.startswith(source.word) else text.index(
                    b"\n" + source.word + b" "
                ) + 1  # fmt: skip
                text = text[start + len(source.word) : text.index(b"\n", start)]
            return int(text) // source.divisor
        except (OSError, ValueError):
            return None

    def _text(self, file: str) -> bytes:
        handle = self._files.get(file)
        if handle is not None:
            return os.pread(handle, _LONGEST, 0)
        handle = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        if self._keep and not file.endswith("/memory.stat"):
            self._files[file] = handle
            return os.pread(handle, _LONGEST, 0)
        try:
            return os.pread(handle, _LONGEST, 0)
        finally:
            os.close(handle)


Place = tuple[str, int]
"""A container's id and its main process."""


class Groups:
    """Those of all containers of a host, read again and again. Its open files are a quarter of the process's at
    most.
    """

    def __init__(self) -> None:
        self._groups: dict[Place, Group] = {}
        self._most_kept = max(0, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4 // _OPEN)

    def read(self, places: Collection[Place]) -> Mapping[Place, Figures]:
        """Of these; what is kept of others is let go."""
        wanted = set(places)
        for place in self._groups.keys() - wanted:
            self._groups.pop(place).close()
        for place in wanted - self._groups.keys():
            self._groups[place] = Group(place[1], of=place[0], keep=len(self._groups) < self._most_kept)
        return {place: group.read() for place, group in self._groups.items()}

    def close(self) -> None:
        self.read(())
