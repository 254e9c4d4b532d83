"""How much processor time instances use: by the kernel's own count, in each container's control group.

In: the main processes of the containers that run, and the time. Out: thousandths of a core since the look before.
What a container used before the first look at it is left out; a group that is gone, or that this machine does not
have, tells nothing.
"""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from anypop.agent.decide.elements import Key

ROOT = Path("/sys/fs/cgroup")


class Processor:
    """See the module. One for each agent."""

    def __init__(self) -> None:
        self._last: dict[tuple[Key, int], float] = {}
        self._at: float | None = None

    def used_millis(self, processes: Mapping[Key, int], now: float) -> int | None:
        """Of all of them together; None: nothing is known yet."""
        found = {one: used for one in processes.items() if (used := used_s(one[1])) is not None}
        before, at = self._last, self._at
        self._last, self._at = found, now
        if at is None or now <= at or (processes and not found):
            return None
        spent = sum(max(used - before[one], 0.0) for one, used in found.items() if one in before)
        return round(1000 * spent / (now - at))


def used_s(pid: int) -> float | None:
    """Seconds of processor time of the control group in which a process lives; None where that is not counted."""
    with suppress(OSError, ValueError, KeyError):
        for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if "cpuacct" in controllers.split(","):  # version 1; where the two are mounted as one, and where not
                for name in dict.fromkeys((controllers, "cpuacct")):
                    file = ROOT / name / path.lstrip("/") / "cpuacct.usage"
                    if file.exists():
                        return int(file.read_text()) / 1e9
            elif not controllers:  # version 2
                file = ROOT / path.lstrip("/") / "cpu.stat"
                if file.exists():
                    return int(dict(row.split() for row in file.read_text().splitlines())["usage_usec"]) / 1e6
    return None
