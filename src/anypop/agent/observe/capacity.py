"""What this machine has for instances: CPUs, memory, and the file system of containers and images, less a reserve.

In: the size of that file system. Out: a `Capacity` for the report, which control uses unless the operator wrote a
figure of their own into the network document. It reads /proc; it knows nothing of what runs.

Instances are counted by their limits, and the host needs room beside them:

* CPU: an eighth, at least half a core. When every instance takes all that it may, BFD must still be answered within
  0.3 s and probes within their second; and the kernel forwards packets on CPUs that no limit counts, more of them on a
  larger machine.
* memory: a tenth, at least 1 GiB, never more than half: the kernel, sshd and the journal, BIRD (some hundred MiB for a
  full table), the agent and Podman, which unpacks images. A host without memory loses whole processes, not a share.
* disk: a tenth, at least 4 GiB, never more than half: images, logs, and what a file system needs to stay quick. Of the
  whole file system and not of what is free, for what is used is partly instances', which control counts already.
"""

import os
import re
from pathlib import Path

from anypop.model.errors import WorldError
from anypop.model.network import Capacity

_GIB = 1 << 30
_MEMORY = Path("/proc/meminfo")


def read(disk_bytes: int) -> Capacity:
    """This machine's capacity. Raises `WorldError` when it does not tell."""
    try:
        found = re.search(r"^MemTotal:\s+(\d+) kB", _MEMORY.read_text(), flags=re.MULTILINE)
    except OSError as error:
        raise WorldError("read the machine's capacity", str(error)) from error
    if found is None:
        raise WorldError("read the machine's capacity", f"{_MEMORY} has no MemTotal")
    return for_instances(cpus=len(os.sched_getaffinity(0)), memory_bytes=int(found[1]) * 1024, disk_bytes=disk_bytes)


def for_instances(*, cpus: int, memory_bytes: int, disk_bytes: int) -> Capacity:
    """What is left of a machine's own figures when the reserve is taken off; see above for the argument of each."""
    millis = 1000 * cpus
    return Capacity(
        cpu_millis=millis - max(500, millis // 8),
        memory_bytes=memory_bytes - _reserve(memory_bytes, _GIB),
        disk_bytes=disk_bytes - _reserve(disk_bytes, 4 * _GIB),
    )


def _reserve(total: int, least: int) -> int:
    return min(max(total // 10, least), total // 2)
