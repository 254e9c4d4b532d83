"""What this machine has for instances: processors, memory and disk, less a reserve for those who are no instances.

In: the machine (`/proc`, the scheduler), and the size of the disk that the runtime keeps instances on. Out: a
`Capacity` for the report; control places by it where the operator has set none. It does not say what is free: control
counts what it has placed.
"""

import os
from pathlib import Path

from anypop.model.network import Capacity

_MEMINFO = Path("/proc/meminfo")
_SHARE = 10  # a tenth of memory and disk stays with the kernel, BIRD (a full table is some 500 MB), Podman and images
_LEAST_BYTES = 256 << 20


def capacity_of(disk_bytes: int) -> Capacity:
    """The processors that we may run on, in whole: what is no instance needs a few hundredths of one."""
    return Capacity(
        cpu_millis=1000 * len(os.sched_getaffinity(0)),
        memory_bytes=_less_reserve(_memory_bytes(_MEMINFO.read_text())),
        disk_bytes=_less_reserve(disk_bytes),
    )


def _memory_bytes(meminfo: str) -> int:
    row = next(line for line in meminfo.splitlines() if line.startswith("MemTotal:"))
    return int(row.split()[1]) << 10


def _less_reserve(size: int) -> int:
    return max(0, size - max(size // _SHARE, _LEAST_BYTES))
