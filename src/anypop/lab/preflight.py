"""Before anything starts: is this machine able to run the platform? Every problem at once, each with what to do.

Comes in: nothing but the machine. Goes out: a list of problems, empty where all is well. It changes nothing: the kernel
is asked in a namespace that is made for the question and removed.
"""

import errno
import os
import shutil
import socket
from pathlib import Path

from anypop.host import ip, netns
from anypop.model.errors import Problem, WorldError

_PROGRAMS = {
    "ip": "iproute2", "nft": "nftables", "bird": "bird2", "birdc": "bird2", "podman": "podman", "crun": "crun",
    "conmon": "conmon",
    "nsenter": "util-linux", "docker-registry": "docker-registry", "busybox": "busybox-static",
}  # fmt: skip

_FEATURES = (
    ("veth devices", ["link add a0 type veth peer name b0"]),
    (
        "resilient next-hop groups (Linux 5.13 or newer)",
        [
            "link set lo up",
            "link set a0 up",
            "link set b0 up",
            "addr add 10.0.0.0/31 dev a0",
            "nexthop add id 1 via 10.0.0.1 dev a0",
            "nexthop add id 2 group 1 type resilient buckets 8 idle_timer 60",
        ],
    ),
)


def problems() -> list[Problem]:
    """What keeps the platform from starting here. Must not be run in parallel with itself under one pid."""
    if found := user_problems():
        return found
    found = [
        Problem(path="programs", message=f"{program} is missing: apt-get install {package}, or run script/setup")
        for program, package in _PROGRAMS.items()
        if shutil.which(program) is None
    ]
    if not Path("/dev/net/tun").exists():
        found.append(
            Problem(path="kernel", message="/dev/net/tun is missing (long links are TAP devices): modprobe tun")
        )
    if shutil.which("ip") is not None:
        found += _missing_features()
    return found


def user_problems() -> list[Problem]:
    """One problem for whoever is not root."""
    if os.geteuid() == 0:
        return []
    return [
        Problem(path="user", message="needs root for network namespaces and containers; run the same command with sudo")
    ]


def _missing_features() -> list[Problem]:
    name = f"anypop-check-{os.getpid()}"
    found: list[Problem] = []
    try:
        ip.batch([f"netns add {name}"])
    except WorldError as error:
        return [Problem(path="kernel", message=f"network namespaces do not work here: {error.why.splitlines()[0]}")]
    try:
        for feature, lines in _FEATURES:
            try:
                ip.batch(lines, netns=name)
            except WorldError as error:
                found.append(Problem(path="kernel", message=f"{feature} do not work here: {error.why.splitlines()[0]}"))
        if not found:
            fields = Path("/proc/sys/net/ipv4/fib_multipath_hash_fields")
            with netns.inside(name):
                if not fields.exists():
                    message = (
                        "fib_multipath_hash_fields is missing: the kernel is older than 5.14, or was built without "
                        "multipath"
                    )
                    found.append(Problem(path="kernel", message=message))
    finally:
        ip.batch([f"netns del {name}"], force=True)
    return found


def port_problem(field: str, port: int) -> Problem | None:
    """A problem when 127.0.0.1:`port` cannot be listened on."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            why = (
                "is taken by another program"
                if error.errno == errno.EADDRINUSE
                else f"cannot be used ({error.strerror})"
            )
            return Problem(
                path=field,
                message=f"port {port} {why}; choose another with --{field.replace('_', '-')}, or 0 for any free one",
            )
    return None


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
