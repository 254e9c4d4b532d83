"""A BFD worker whose parent has died: it goes on alone until the next process is ready to take its place.

In: the folder that such a process is started with. Out: the workers without a parent, and their end. Neighbours wait
for 150 ms or less, and a new program on a busy machine takes longer to begin; so a worker does not follow its parent,
and whoever begins anew, or ends all of it, looks here. It imports little, as `teardown` has to.
"""

import ctypes
import os
import signal
from contextlib import suppress
from pathlib import Path

from anypop.host import inventory

_PROGRAM = b"anypop.agent.bfd"
_NAME = "anypop-bfd"  # of a worker, in the kernel's own list; its words are its parent's
_PR_SET_NAME = 15


def become_worker() -> None:
    """Let this process be known for a worker."""
    ctypes.CDLL(None).prctl(_PR_SET_NAME, _NAME.encode(), 0, 0, 0)


def found(folder: Path) -> list[int]:
    """Workers for this folder whose parent is gone."""
    word = os.fsencode(folder)
    ours = {pid for pid, words in inventory.command_lines() if _PROGRAM in words and word in words}
    return sorted(pid for pid in ours if _is_worker(pid) and _parent(pid) not in ours)


def end(folder: Path) -> bool:
    """Kill them, without a word to their neighbours; whether there was one."""
    workers = found(folder)
    for pid in workers:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return bool(workers)


def _is_worker(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip() == _NAME
    except OSError:
        return False


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0
