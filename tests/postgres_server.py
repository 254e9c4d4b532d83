"""A PostgreSQL of a test's own, from Debian's package: on a socket in a folder of its own, never as root."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

from tests.wait import wait_until


def _programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[-3]))
    assert found, "PostgreSQL is not installed: run script/setup --dev"
    return found[-1].parent


@contextmanager
def running(*, durable: bool = False) -> Iterator[str]:
    """The address of an empty database. `durable`: it waits for its disk."""
    folder = Path(mkdtemp(prefix="anypop-pg-", dir="/tmp"))
    programs, user = _programs(), "postgres" if os.geteuid() == 0 else None
    if user is not None:
        who = pwd.getpwnam(user)
        os.chown(folder, who.pw_uid, who.pw_gid)
    data = folder / "data"
    try:
        subprocess.run(
            [programs / "initdb", "-D", data, "-U", "anypop", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C"],
            user=user, check=True, capture_output=True, cwd=folder,
        )  # fmt: skip
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(
                [programs / "postgres", "-D", data, "-k", folder, "-c", "listen_addresses=",
                 "-c", f"fsync={'on' if durable else 'off'}"],
                user=user, stdout=log, stderr=log, cwd=folder,
            )  # fmt: skip
        try:
            ready = [str(programs / "pg_isready"), "-q", "-h", str(folder)]
            wait_until(
                lambda: subprocess.run(ready, check=False).returncode == 0,
                timeout_s=60,
                reason=f"PostgreSQL answers: {(folder / 'log').read_text()}",
            )
            yield f"postgresql://anypop@/postgres?host={folder}"
        finally:
            server.terminate()
            server.wait(60)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
