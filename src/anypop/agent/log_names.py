"""Where a container's log is: the names that Podman and conmon give it, and ours for what they let go.

In: Podman's storage and a container's id. Out: paths. Pure; `observe` reads them and `act` keeps them.
"""

from pathlib import Path

LOG, BEFORE = "ctr.log", "ctr.log.1"
"""The log that is written, and the full one before it, which the agent keeps."""


def log_folder(storage: Path, id_: str) -> Path:
    """Of a container's log, in Podman's storage."""
    return storage / "overlay-containers" / id_ / "userdata"
