"""What a machine has for instances."""

from pathlib import Path

import pytest

from anypop.agent.observe.capacity import for_instances, read

GIB = 1 << 30


@pytest.mark.parametrize(
    ("cpus", "memory", "disk", "left"),
    [
        (64, 256, 1000, (56_000, 230.4, 900)),
        (8, 32, 200, (7_000, 28.8, 180)),
        (2, 4, 20, (1_500, 3, 16)),
        (1, 1, 4, (500, 0.5, 2)),
    ],
)
def test_a_machine_keeps_a_reserve_for_itself(
    cpus: int, memory: int, disk: int, left: tuple[int, float, float]
) -> None:
    """A share of a large machine, a fixed part of a small one, and never more than half of it."""
    found = for_instances(cpus=cpus, memory_bytes=memory * GIB, disk_bytes=disk * GIB)
    assert found.cpu_millis == left[0]
    assert found.memory_bytes / GIB == pytest.approx(left[1])
    assert found.disk_bytes / GIB == pytest.approx(left[2])


def test_this_machine_tells_what_it_has() -> None:
    """CPU, memory and the disk are read; each is more than nothing and less than the whole."""
    total = next(
        int(line.split()[1]) * 1024
        for line in Path("/proc/meminfo").read_text().splitlines()
        if line.startswith("MemTotal")
    )
    found = read(100 << 30)
    assert 0 < found.memory_bytes < total
    assert found.cpu_millis > 0
    assert found.disk_bytes > 0
