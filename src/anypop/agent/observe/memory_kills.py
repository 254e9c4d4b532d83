"""Whether the kernel ended processes of a container for want of memory: its own count, in the container's control
group.

In: a process that runs, later the question. Out: yes or no. Podman's `OOMKilled` is not enough: on hosts with hybrid
or old control groups its monitor misses the event. The group is gone some 50 ms after the container's end, so the
question has to be asked at once.
"""

from contextlib import suppress
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")


def counter_of(pid: int) -> Path | None:
    """The file that counts such kills in the process's group; None where the group has none (or no limit can be
    set).
    """
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            file = None
            if controllers == "memory":
                file = _ROOT / "memory" / path.lstrip("/") / "memory.oom_control"  # version 1
            elif not controllers:
                file = _ROOT / path.lstrip("/") / "memory.events"  # version 2
            if file is not None and file.exists():
                return file
    return None


def has_killed(counter: Path | None) -> bool:
    """Whether a process of the group was ended since it was made. A group that is gone tells nothing."""
    with suppress(OSError, ValueError):
        if counter is not None:
            rows = dict(line.split(None, 1) for line in counter.read_text().splitlines())
            return int(rows.get("oom_kill", 0)) > 0
    return False
