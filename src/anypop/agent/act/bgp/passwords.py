"""TCP-MD5 passwords of sessions, read from the files that the operator has put on this host.

In: the speaker's configuration. Out: passwords by session, and the sessions that must be left out since theirs cannot
be had, each with the reason. A session that should have a password never stands without it. What is read is shown to
nobody: no message holds any of it.
"""

from pathlib import Path

from anypop.agent.act.bgp.config import sessions_of
from anypop.agent.act.bgp.words import is_password
from anypop.agent.decide.elements import SpeakerConfig

_LONGEST = 4096  # of a file: it holds one line


def read_passwords(config: SpeakerConfig) -> tuple[dict[str, str], dict[str, str]]:
    """(password by session, reason by session that has none and should). Sessions by their name in BIRD."""
    found: dict[str, str] = {}
    missing: dict[str, str] = {}
    if all(upstream.password_file is None for upstream in config.upstreams):  # asked with each look at the daemon
        return found, missing
    for name, (upstream, _) in sessions_of(config).items():
        if upstream.password_file is None:
            continue
        try:
            found[name] = _first_line(Path(upstream.password_file))
        except (OSError, ValueError) as error:
            missing[name] = f"password file {upstream.password_file}: {getattr(error, 'strerror', None) or error}"
    return found, missing


def _first_line(path: Path) -> str:
    if not path.is_absolute():
        raise ValueError("must be a whole path")
    if path.stat().st_mode & 0o007:
        raise ValueError("everybody on this host may read or change it; chmod 600")
    with path.open("rb") as file:
        line = file.read(_LONGEST).split(b"\n", 1)[0].strip()
    password = line.decode("ascii", errors="replace")
    if not is_password(password):
        raise ValueError("its first line must be 1 to 80 printable ASCII characters without quotation marks")
    return password
