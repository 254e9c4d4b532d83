"""What is on this machine now: running programs, who lives in a network namespace, what is mounted. It only looks.

For those who must find things again without a pid file: a lab or an agent that was killed, and the proof that nothing
is left. Whatever ends while we look is left out.
"""

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from anypop.host import netns


def command_lines() -> list[tuple[int, list[bytes]]]:
    """Pid and words of every program but ourselves; kernel threads have one empty word."""
    rows = []
    for pid in others():
        with contextlib.suppress(OSError):
            rows.append((pid, Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")))
    return rows


def pids_inside(namespaces: Iterable[str]) -> list[int]:
    """Programs but ourselves whose main thread is in one of these network namespaces; names that are gone are no
    matter.
    """
    homes = {place for name in namespaces if (place := _place(netns.path_of(name))) is not None}
    return [pid for pid in others() if _place(Path(f"/proc/{pid}/ns/net")) in homes] if homes else []


def is_inside(pid: int, namespace: str) -> bool:
    """Whether the main thread of this program is in the network namespace of that name."""
    home = _place(netns.path_of(namespace))
    return home is not None and _place(Path(f"/proc/{pid}/ns/net")) == home


def mounts() -> list[str]:
    """Mount points in our mount namespace, deepest first."""
    return sorted((line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()), reverse=True)


def mounts_below(*folders: Path) -> list[str]:
    """Mount points inside the folders, deepest first: the order to unmount in. Never a folder itself: an operator
    may have mounted it.
    """
    return [mount for mount in mounts() if mount.startswith(tuple(f"{folder}/" for folder in folders))]


def others() -> list[int]:
    """Pids of all processes but ourselves."""
    # names are enough
    numbers = [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]  # noqa: PTH208
    return [number for number in numbers if number != os.getpid()]


def _place(path: Path) -> tuple[int, int] | None:
    """Device and inode; None where there is no such file. A name without a namespace behind it is on another device
    than all namespaces.
    """
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
