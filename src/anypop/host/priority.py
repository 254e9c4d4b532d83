"""Who comes first for a processor.

In: a process, and a niceness. Out: the kernel told so, as far as it is allowed here. Outside of control groups of their
own a kernel may share out processors by session first (`sched_autogroup_enabled`, on in Debian and Ubuntu): a niceness
then counts among the processes of one session alone, so that a session whose leader is meant gets it too. Nobody else's
session is touched. Programs start with it, so nothing heavy may be imported here.
"""

import contextlib
import os
from pathlib import Path


def run_before(nice: int, pid: int = 0) -> None:
    """From now on `pid` (0: this process) has this niceness, unless it comes before that already."""
    _set(nice, pid or os.getpid(), lowered=False)


def run_at(nice: int, pid: int = 0) -> None:
    """The same, also where it came before that."""
    _set(nice, pid or os.getpid(), lowered=True)


def _set(nice: int, pid: int, *, lowered: bool) -> None:
    with contextlib.suppress(OSError):  # not allowed here: then like everybody else
        if lowered or os.getpriority(os.PRIO_PROCESS, pid) > nice:
            os.setpriority(os.PRIO_PROCESS, pid, nice)
    with contextlib.suppress(OSError):  # nor here, or no kernel that does this
        group = Path(f"/proc/{pid}/autogroup")
        if os.getsid(pid) == pid and (lowered or int(group.read_text().split()[-1]) > nice):
            group.write_text(str(nice))
