"""Whose a process is, by the kernel's word: the control group that it lives in carries its container's id.

In: a pid, the id of a container. Out: whether they belong together, all processes of a container, and their end. A
runtime that has lost its monitor says that a container runs for ever, and a pid that it remembers may be somebody
else's by now. The monitor's own group is none of the container's. Processes that end while we look are left out.
"""

import contextlib
import os
import signal
from pathlib import Path

from anypop.host.inventory import others

_MONITOR = "conmon"


def holds(pid: int, container: str) -> bool:
    """Whether this process lives in the control group of the container; a dead one lives nowhere."""
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    except OSError:
        return False
    places = (place for line in lines for place in line.split(":", 2)[-1].split("/"))
    return any(container in place and _MONITOR not in place for place in places)


def end(container: str) -> int:
    """Kill all processes of a container, whatever its runtime says of them; how many there were."""
    found = 0
    for pid in others():
        if not holds(pid, container):
            continue
        with contextlib.suppress(ProcessLookupError):
            handle = os.pidfd_open(pid)
            try:
                if holds(pid, container):  # it is still the one that was looked at
                    signal.pidfd_send_signal(handle, signal.SIGKILL)
                    found += 1
            finally:
                os.close(handle)
    return found
