"""The resource limits that a container may be given: no higher than those of the process that starts it.

Raising a hard limit needs CAP_SYS_RESOURCE, which containers' hosts do not always have; the default of the runtime is
often above what is allowed. The measure is the Podman service itself, found by its socket's credentials (SO_PEERCRED,
unix(7)).
"""

import resource
import socket
import struct
from pathlib import Path

# the usual ceilings of a container host; far above what an instance should need
WANTED = {"nofile": 1_048_576, "nproc": 32_768}
_ROWS = {"nofile": "Max open files", "nproc": "Max processes"}
_OWN = {"nofile": resource.RLIMIT_NOFILE, "nproc": resource.RLIMIT_NPROC}


def allowed_limits(service: Path) -> tuple[tuple[str, int], ...]:
    """(type, value) for soft and hard alike, for containers that the service at this socket makes. Costs a
    connection: 50 microseconds.
    """
    theirs = _limits_of(pid_behind(service))
    found = []
    for kind, wanted in WANTED.items():
        own = resource.getrlimit(_OWN[kind])[1]
        ceilings = [wanted, theirs.get(kind, wanted), own if own != resource.RLIM_INFINITY else wanted]
        found.append((kind, min(ceilings)))
    return tuple(found)


def pid_behind(service: Path) -> int:
    """Who listens at a UNIX socket; 0: nobody."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
            link.connect(str(service))
            return int(struct.unpack("=iII", link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0])
    except OSError:
        return 0


def _limits_of(pid: int) -> dict[str, int]:
    """Hard limits of a process, by our words. Empty when it cannot be read; an unlimited one is left out."""
    try:
        lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    except OSError:
        return {}
    found = {}
    for kind, row in _ROWS.items():
        for line in lines:
            if line.startswith(row):
                hard = line.removeprefix(row).split()[1]
                if hard.isdigit():
                    found[kind] = int(hard)
    return found
