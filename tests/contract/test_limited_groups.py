"""Control groups of our own making, in the kernel that is here."""

import os
import subprocess
import threading
from collections.abc import Iterator

import pytest

from anypop.host import limited_groups
from anypop.host.limited_groups import LEAVES_S, Limits

LIMITS = Limits(cpu_millis=500, share_millis=500, memory_bytes=64 << 20, processes=20)


@pytest.fixture
def held() -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A group with a process in it."""
    name = f"t{os.getpid()}-held"
    sleeper = subprocess.Popen(["sleep", "60"])
    for file in limited_groups.make(name, LIMITS):
        file.write_text(str(sleeper.pid))
    yield name, sleeper
    sleeper.kill()
    sleeper.wait()
    assert limited_groups.remove(name, LEAVES_S)


def test_a_group_stays_while_a_process_is_in_it(held: tuple[str, subprocess.Popen[bytes]]) -> None:
    """Whoever removes it is told."""
    assert not limited_groups.remove(held[0])
    assert held[0] in limited_groups.names()


def test_a_group_goes_as_soon_as_its_last_process_has_left_it(held: tuple[str, subprocess.Popen[bytes]]) -> None:
    """The kernel lets it go a moment after the death is known: it is waited for, and gone everywhere."""
    name, sleeper = held
    soon = threading.Timer(0.2, sleeper.kill)
    soon.start()
    assert limited_groups.remove(name, LEAVES_S)
    soon.join()
    assert name not in limited_groups.names()
    assert limited_groups.remove(name), "twice is harmless"
