"""Established connections that talk all the time, driven from a namespace by `connections.c`.

In: the compiled program, a namespace, an address. Out: who serves each connection, and how many of whose were broken:
exactly, for each one asks several times a second and its answer is waited for.
"""

import subprocess
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from anypop.host import netns

EVERY_MS = 250
_START_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """By the name that a server said of itself: its connections that are whole, and those that are broken."""

    whole: Mapping[str, int]
    broken: Mapping[str, int]

    @property
    def lost(self) -> int:
        return sum(self.broken.values())


class Connections:
    """From `with` until its end. All of them are there when it begins. `life_s`: each is closed and made anew after so
    long at most; 0: never.
    """

    def __init__(self, program: Path, namespace: str, address: str, *, count: int, life_s: float = 0) -> None:
        words = [str(program), "drive", address, "80", str(count), str(EVERY_MS), str(int(life_s * 1000))]
        self._words = netns.command(namespace, *words)
        self._namespace, self._count, self._life_s = namespace, count, life_s

    def __enter__(self) -> Self:
        with netns.inside(self._namespace):
            # Connections that are made anew all the time leave more closed ones behind, for a minute, than there are
            # ports; the kernel may use such a port again after a second.
            Path("/proc/sys/net/ipv4/tcp_tw_reuse").write_text("1")
            Path("/proc/sys/net/ipv4/ip_local_port_range").write_text("1024 65535")
        self._process = subprocess.Popen(self._words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            self.first = self._heard()
            missing = self._count - sum(self.first.whole.values())  # those that are being made anew just then
            assert missing == 0 or (self._life_s and missing < self._count / 10), self.first
        except AssertionError:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        for end in (self._process.stdin, self._process.stdout):
            assert end is not None
            end.close()

    def told(self) -> Told:
        """As they are now."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._heard()

    def _heard(self) -> Told:
        assert self._process.stdout is not None
        watch = threading.Timer(_START_S, self._process.kill)  # whatever hangs there ends with this
        watch.start()
        try:
            words = self._process.stdout.readline().split()
        finally:
            watch.cancel()
        assert words, "the connections were not made"
        rows = list(zip(words[::3], words[1::3], words[2::3], strict=True))
        return Told(
            whole={name: int(count) for name, count, _ in rows}, broken={name: int(count) for name, _, count in rows}
        )
