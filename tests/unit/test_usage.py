"""What the agent tells of an instance's use: read from this very process's control group and interfaces, and rates from
counters.
"""

import asyncio
import os
import socket
import time

import pytest

from anypop.agent.naming import link_of
from anypop.agent.observe import usage
from anypop.agent.observe.usage import Usage, link_bytes, memory_bytes


def of(pids: dict[str, list[int]]) -> Usage:
    return Usage(processes=lambda: pids, clock=time.time, monotonic=time.monotonic)


def test_memory_and_links_are_the_kernels_own_figures() -> None:
    """Of this process; and bytes of the loopback interface grow by what is sent there."""
    held = memory_bytes(os.getpid())
    assert held is None or held > 1 << 20
    assert memory_bytes(2**22 + 1) is None
    before = link_bytes()["lo"]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
        plain.sendto(b"x" * 10_000, ("127.0.0.1", 9))
    after = link_bytes()["lo"]
    assert after[0] - before[0] >= 10_000 and after[1] - before[1] >= 10_000


def test_a_rate_is_that_of_a_second_or_since_a_question_just_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Directions are the instance's; a counter that began anew counts from nothing; who is not here is left out."""
    pauses: list[float] = []
    now = [100.0]
    counters = {"cpu": 5.0, "link": (1000, 5000)}

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        now[0] += seconds
        counters.update(cpu=5.5, link=(4000, 9000))

    monkeypatch.setattr("anypop.agent.observe.usage.asyncio.sleep", pause)
    monkeypatch.setattr(usage, "used_s", lambda pid: counters["cpu"])
    monkeypatch.setattr(usage, "memory_bytes", lambda pid: 7)
    monkeypatch.setattr(usage, "link_bytes", lambda: {link_of("a"): counters["link"]})
    reader = Usage(processes=lambda: {"a": [1]}, clock=lambda: 1.0, monotonic=lambda: now[0])

    (first,) = asyncio.run(reader.read(["a", "gone"])).instances
    assert (first.cpu_millis, first.memory_bytes, first.received_per_s, first.sent_per_s) == (500, 7, 4000, 3000)
    now[0] += 10
    counters.update(cpu=10.5, link=(0, 9000))
    (second,) = asyncio.run(reader.read(["a"])).instances
    assert (second.cpu_millis, second.received_per_s, second.sent_per_s) == (500, 0, 0)
    assert pauses == [1.0], "the second one had a question before it"
