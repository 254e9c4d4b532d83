"""QEMU's process: begun detached, as nobody, in its own network and control group; found again, and ended.

In: a machine's folder, its command line, files that it is handed. Out: a process that outlives the agent, whose number
and start are in `qemu.pid` before it is QEMU; and a shell beside it that waits for its end and writes `ended`. What a
kill interrupts is repeated: a process that is not on record was never begun.
"""

import asyncio
import os
import signal
from collections.abc import Sequence
from pathlib import Path

from anypop.agent.act.instances.machines.place import ENDED, KEEPER, PID, SAID, Place
from anypop.host import netns, process

# Waits for QEMU, and tells how and when it ended. The number 127 + 1 to 64 stands for a signal, as with containers.
# The agent goes before others for a processor; a guest goes before nobody.
_KEEP = """\
renice -n 0 -p $$ >/dev/null
/bin/sh -c "$0" sh "$@"
code=$?
echo "$code $(date +%s.%N)" > ended.half && mv -f ended.half ended
"""
# On record first; then into its control groups, and QEMU in its place, under the same number. What cannot be joined is
# the end of it: without its limits nothing runs.
_BEGIN = """\
set -e
pid=$1 groups=$2; shift 2
read -r line < "/proc/$$/stat"
fields=${line##*) }
started=$(set -f; set -- $fields; shift 19; echo "$1")
echo "$$ $started" > "$pid.half"
mv -f "$pid.half" "$pid"
IFS=:
for group in $groups; do echo $$ > "$group"; done
unset IFS
cd own
exec "$@"
"""
SEEN_S, LOOK_S = 10.0, 0.01
_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}


def as_nobody(namespace: str, user: int, group: int | None, argv: Sequence[str]) -> list[str]:
    """The words that run a program in a network namespace as a user without a name, a home or a capability. `group`:
    a further one that it is in.
    """
    inside = ["nsenter", f"--net={netns.path_of(namespace)}", "--"]
    who = [f"--reuid={user}", f"--regid={user}", f"--groups={group}" if group is not None else "--clear-groups"]
    less = ["--no-new-privs", "--inh-caps=-all", "--bounding-set=-all"]
    return [*inside, "setpriv", *who, *less, "--", *argv]


async def begin(place: Place, argv: Sequence[str], groups: Sequence[Path], handed: Sequence[int]) -> int | None:
    """QEMU's pid; None: it has ended at once. `handed`: open files that go to it. Harmless where it runs."""
    if not place.is_kept() and place.pid() is None:
        place.file(ENDED).unlink(missing_ok=True)
        place.file(PID).unlink(missing_ok=True)
        joined = ":".join(str(file) for file in groups)
        process.spawn(
            ["/bin/sh", "-c", _KEEP, _BEGIN, PID, joined, *argv],
            pid_file=place.file(KEEPER), log=place.file(SAID), cwd=place.folder, handed=handed, env=_ENVIRONMENT,
        )  # fmt: skip
    async with asyncio.timeout(SEEN_S):
        while (pid := place.pid()) is None:
            if not place.is_kept():
                return None
            await asyncio.sleep(LOOK_S)
    return pid


async def end(place: Place, grace_s: float = 0) -> None:
    """No process of it any more, and its end is written. QEMU has been asked to end, and has so long for it."""
    pid = place.pid()
    if pid is not None and not await _ends(pid, grace_s):
        _kill(pid)
        await _ends(pid, 5.0)
    keeper = process.alive(place.file(KEEPER))
    if keeper is not None and not await _ends(keeper, 2.0):
        _kill(keeper)
        await _ends(keeper, 2.0)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


async def _ends(pid: int, within_s: float) -> bool:
    """Whether this process is gone by then; told by the kernel, whoever its parent is."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    loop, gone = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(handle, gone.set)
    try:
        async with asyncio.timeout(within_s):
            await gone.wait()
    except TimeoutError:
        return process.start_time(pid) is None
    finally:
        loop.remove_reader(handle)
        os.close(handle)
    return True
