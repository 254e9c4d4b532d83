"""Programs: run one and wait, start one detached, find it again, end it.

A detached program is identified by a pid file that holds its pid and its start time (field 22 of /proc/PID/stat), so a
recycled pid is never signalled. The file is written by the process that is about to become the program, so whoever
starts it may die at any moment: what runs is on record. Nothing here decides what runs.
"""

import contextlib
import os
import select
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from anypop.model.errors import WorldError

_PF_EXITING, _PF_SIGNALED = 0x4, 0x400
_LONGEST_STAT = 1024  # 52 numbers and a name
# Its own number and start time (the 22nd field of its line, counted behind the name, which may hold anything) in a file
# that appears whole; then the program in its place, under the same number.
_RECORDED = """\
file=$1; shift
read -r line < "/proc/$$/stat"
fields=${line##*) }
started=$(set -f; set -- $fields; shift 19; echo "$1")
echo "$$ $started" > "$file.$$" && mv -f "$file.$$" "$file" && exec "$@"
"""


def run(
    argv: Sequence[str],
    *,
    stdin: str | None = None,
    timeout_s: float = 60,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> str:
    """Standard output of a finished program. Raises `WorldError` with what it said when it fails or takes too long."""
    try:
        done = subprocess.run(
            argv, input=stdin, capture_output=True, text=True, timeout=timeout_s, check=False, env=env, cwd=cwd
        )
    except FileNotFoundError as error:
        raise WorldError(" ".join(argv[:3]), f"{argv[0]} is not installed; run script/setup") from error
    except subprocess.TimeoutExpired as error:
        raise WorldError(" ".join(argv[:6]), f"no end after {timeout_s:g} s") from error
    if done.returncode != 0:
        raise WorldError(" ".join(argv[:6]), (done.stderr or done.stdout).strip() or f"exit code {done.returncode}")
    return done.stdout


def start_time(pid: int) -> int | None:
    """The kernel's start time of a process in clock ticks since boot; None when it is gone or only a zombie is left."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] == "Z" else int(fields[19])


def line_of(pid: int) -> str:
    """Where the kernel says how a process is: the line of its first thread, since for that of the whole process it adds
    up the times of all threads, which takes twice as long.
    """
    return f"/proc/{pid}/task/{pid}/stat"


def threads(pid: int) -> list[int]:
    """Their numbers, its own among them; none when it is gone."""
    try:
        return sorted(int(entry.name) for entry in Path(f"/proc/{pid}/task").iterdir())
    except (FileNotFoundError, ProcessLookupError):
        return []


def is_dying(pid: int) -> bool:
    """Whether it cannot live on: its first thread has ended, is ending, or is to be killed (proc(5), sched.h)."""
    try:
        fields = Path(line_of(pid)).read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return True
    state, flags, pending = fields[0], int(fields[6]), int(fields[28])
    return state in "ZX" or bool(flags & (_PF_EXITING | _PF_SIGNALED)) or bool(pending >> (signal.SIGKILL - 1) & 1)


def words(pid: int) -> list[str]:
    """The words that a process was started with; none when it is gone."""
    try:
        return os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes()).split("\0")[:-1]
    except (FileNotFoundError, ProcessLookupError):
        return []


def catches(pid: int, number: signal.Signals) -> bool:
    """Whether a process has a handler for a signal; one that is gone has none."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    mask = next((line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:")), "0")
    return bool(int(mask, 16) >> (number - 1) & 1)


def is_stopped(pid: int) -> bool:
    """Whether a process is stopped by a signal (SIGSTOP); one that a debugger holds is not meant."""
    with StoppedOrNot(pid) as looked_at:
        return looked_at.is_stopped()


class StoppedOrNot:
    """The same of a process that is asked about again and again: its file stays open, which costs a third of opening
    it. One that is gone, or never was, is not stopped; whoever has its number next is somebody else.
    """

    def __init__(self, pid: int) -> None:
        try:
            self._stat = os.open(line_of(pid), os.O_RDONLY | os.O_CLOEXEC)
        except (FileNotFoundError, ProcessLookupError):
            self._stat = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._stat >= 0:
            os.close(self._stat)
        self._stat = -1

    def is_stopped(self) -> bool:
        if self._stat < 0:
            return False
        try:
            return os.pread(self._stat, _LONGEST_STAT, 0).rpartition(b") ")[2][:1] == b"T"
        except ProcessLookupError:
            return False


def spawn(
    argv: Sequence[str],
    *,
    pid_file: Path,
    log: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    handed: Sequence[int] = (),
) -> int:
    """Start a program in a session of its own, its output appended to `log`; it is in `pid_file` before it begins. It
    outlives us. `handed`: our open files that it gets, under the same numbers.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        child = subprocess.Popen(
            ["/bin/sh", "-c", _RECORDED, "sh", str(pid_file), *argv],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
            env=env,
            cwd=cwd,
            close_fds=True,
            pass_fds=handed,
        )
    child.returncode = 0  # it is no longer ours to wait for: silences the warning about a still running child
    write_pid(pid_file, child.pid)
    return child.pid


def write_pid(pid_file: Path, pid: int) -> None:
    """Record a process so that it can be found again, also after our own death."""
    started = start_time(pid)
    temporary = pid_file.with_suffix(".tmp")
    temporary.write_text(f"{pid} {started if started is not None else 0}\n")
    temporary.rename(pid_file)


def alive(pid_file: Path) -> int | None:
    """The pid when the very process that was recorded still runs, else None."""
    try:
        pid, started = (int(word) for word in pid_file.read_text().split())
    except (FileNotFoundError, ValueError):
        return None
    return pid if start_time(pid) == started else None


def end(pid_file: Path, *, grace_s: float = 5, group: bool = False) -> bool:
    """TERM, then KILL after `grace_s`; removes the pid file. True when there was a process to end. `group`: its
    whole session's group.
    """
    pid = alive(pid_file)
    if pid is not None:
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            handle = None
        if handle is not None:
            with os.fdopen(handle, "rb", closefd=True):
                for number, wait_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, 5.0)):
                    with contextlib.suppress(ProcessLookupError):
                        if group:
                            os.killpg(pid, number)
                        else:
                            os.kill(pid, number)
                    with contextlib.suppress(ChildProcessError):
                        os.waitpid(pid, os.WNOHANG)
                    if select.select([handle], [], [], wait_s)[0]:
                        break
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
    pid_file.unlink(missing_ok=True)
    return pid is not None
