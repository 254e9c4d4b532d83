"""The store of metrics of a platform on this machine: Debian's Prometheus, beside control.

In: a platform's place. Out: its files (a password, control's settings) and the command line of the program that becomes
the server. It listens on loopback, and only who may read the state folder knows the password.
"""

import secrets
import shutil
import sys
from pathlib import Path

from anypop.lab.place import Platform

INTERVAL_S = 5  # a lab is looked at while things happen
RETENTION = "15d"


NONE = "no store of metrics: charts come from the hosts (apt-get install prometheus)"


def is_here() -> bool:
    """Whether this machine has the server."""
    return shutil.which("prometheus") is not None


def folder(place: Platform) -> Path:
    return place.state / "metrics"


def settings_file(place: Platform) -> Path:
    return folder(place) / "metrics.yaml"


def scrape_file(place: Platform) -> Path:
    return folder(place) / "scrape.json"


def prepare(place: Platform) -> None:
    """What control and the server read. A password that is there stays."""
    place_of_all, password = folder(place), folder(place) / "password"
    place_of_all.mkdir(exist_ok=True, mode=0o700)
    if not password.exists():
        temporary = password.with_suffix(".tmp")
        temporary.touch(mode=0o600)
        temporary.write_text(secrets.token_urlsafe(32))
        temporary.rename(password)
    settings_file(place).write_text(
        f"store:\n  url: http://127.0.0.1:{place.metrics_port}\n  user: anypop\n"
        f"  password_file: {password}\n  interval_s: {INTERVAL_S}\n"
    )


def mark(place: Platform) -> str:
    """A word of its command line, before and after it has become the server."""
    return f"--config.file={folder(place)}/prometheus.yml"


def command(place: Platform) -> list[str]:
    argv = [sys.executable, "-m", "anypop.control.metrics.prometheus", mark(place)]
    argv += ["--client-file", str(scrape_file(place)), "--password-file", str(folder(place) / "password")]
    argv += ["--listen", f"127.0.0.1:{place.metrics_port}", "--interval", str(INTERVAL_S), "--retention", RETENTION]
    return argv
