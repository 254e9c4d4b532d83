"""Logs stay small, and the programs that write them notice nothing."""

import subprocess
import sys
from pathlib import Path

from anypop.host import log_files

KIB = 1 << 10


def test_a_program_that_appends_goes_on_in_a_short_file(tmp_path: Path) -> None:
    """What it wrote is beside, and what it writes next stands at the beginning; the mode stays as it was."""
    path = tmp_path / "agent.log"
    with path.open("ab") as out:
        path.chmod(0o600)
        talker = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=out)
    assert talker.stdin is not None
    with path.open("ab") as own:
        own.write(b"x" * (64 * KIB))
    assert log_files.cut([path], most=32 * KIB) == [path]
    old = tmp_path / "agent.log.old"
    assert (path.stat().st_size, old.stat().st_size) == (0, 32 * KIB)
    assert old.stat().st_mode & 0o777 == 0o600
    talker.communicate(b"and on\n", timeout=10)
    assert path.read_bytes() == b"and on\n"
    assert log_files.cut([path, tmp_path / "none"], most=32 * KIB) == []
    assert sorted(p.name for p in tmp_path.iterdir()) == ["agent.log", "agent.log.old"]


def test_a_program_knows_its_own_log(tmp_path: Path) -> None:
    """A file behind standard error is found; a pipe is none."""
    script = [sys.executable, "-c", "from anypop.host import log_files; print(log_files.own())"]
    path = tmp_path / "log"
    with path.open("ab") as out:
        told = subprocess.run(script, stdout=subprocess.PIPE, stderr=out, check=True)
    assert str(path) in told.stdout.decode()
    piped = subprocess.run(script, capture_output=True, check=True)
    assert piped.stdout.strip() == b"[]"
