"""One Podman service for each host of the lab, with a storage of its own, so that every host really pulls its images.

Comes in: where things live. Goes out: a UNIX socket that speaks Podman's REST API. On a real host this is the
distribution's own `podman.socket`; here several services share a machine, so every path that Podman would share by
default is given to each. It decides nothing about containers: those belong to the agent.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from anypop.host import inventory, process
from anypop.host.shared_mounts import share, volumes_top
from anypop.model.errors import WorldError

# Each service runs in a mount namespace of its own. There Podman's cache and its locks, which have one fixed place for
# root, lie in our folder (a new service would clear the locks of all others on the machine); and on a host in hybrid
# mode, which has version 1 controllers and a version 2 hierarchy beside them, that hierarchy is taken away, since crun
# refuses the mixture and works with version 1. "slave": namespaces and mounts made outside later are seen inside, none
# leaks out.
SHARED = Path("/var/lib/containers")
_HYBRID = Path("/sys/fs/cgroup/unified/cgroup.procs")
_ENTER = (
    'mount --bind "$1" "$2" && mount --bind "$3" /dev/shm && '
    'if [ -e "$4" ]; then umount "$(dirname "$4")"; fi && shift 4 && exec "$@"'
)


# Locks: in shared memory. In files, the other kind, one stays for ever whenever a container is looked at in the moment
# of its removal. After a command run inside a container (an exec probe) its two monitor processes stay, by default for
# 300 s, so that its exit code can be asked for: 10 s are plenty.
_BEGIN, _END = "# made by anypop up, and made anew by it:\n", "# until here\n"
_SEARCH = "unqualified-search-registries"
# an earlier version wrote no marks, and nothing else
_OURS = re.compile(
    rf"{re.escape(_BEGIN)}.*?{re.escape(_END)}"
    r'|\A[a-z-]+ = \["docker\.io"\]\n\n\[\[registry\]\]\nlocation = "127\.0\.0\.1:\d+"\ninsecure = true\n',
    re.DOTALL,
)
ENGINE = '[engine]\nlock_type = "shm"\nexit_command_delay = 10\n'


@dataclass(frozen=True, slots=True, kw_only=True)
class PodmanHome:
    """Where one Podman lives: `store` (images and containers, on disk) and `run` (locks and sockets, gone at
    reboot).
    """

    store: Path
    run: Path
    registries_conf: Path

    @property
    def socket(self) -> Path:
        return self.run / "podman.sock"

    @property
    def locks(self) -> Path:
        return self.run / "locks"

    def make(self) -> None:
        """The folders that `command` needs."""
        for folder in (self.run, self.run / "shared", self.locks, self.store):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        SHARED.mkdir(exist_ok=True)
        # what the agent mounts for instances later has to be seen in the service's own mount namespace
        share(volumes_top(self.store.parent))
        # not containers.conf: what an older version left running goes on with its own
        (self.run / "engine.conf").write_text(ENGINE)

    def command(self, *words: str) -> list[str]:
        """`podman WORDS` against this storage, in a mount namespace of its own."""
        podman = [
            "podman", "--root", str(self.store), "--runroot", str(self.run / "root"), "--tmpdir", str(self.run / "tmp"),
            "--cgroup-manager", "cgroupfs", "--events-backend", "file", "--runtime", "crun", "--storage-driver",
            "overlay",
            "--network-config-dir", str(self.run / "net"), "--volumepath", str(self.store / "volumes"), *words,
        ]  # fmt: skip
        inside = [
            "sh",
            "-c",
            _ENTER,
            "sh",
            str(self.run / "shared"),
            str(SHARED),
            str(self.locks),
            str(_HYBRID),
            *podman,
        ]
        return ["unshare", "--mount", "--propagation", "slave", *inside]

    def environment(self) -> dict[str, str]:
        return {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(self.run),
            "CONTAINERS_CONF": str(self.run / "engine.conf"),
            "CONTAINERS_REGISTRIES_CONF": str(self.registries_conf),
        }


def write_registries(path: Path, insecure: str) -> None:
    """A registries.conf that lets Podman speak plain HTTP to the lab's registry. What else stands in it is the
    operator's (mirrors, other registries) and stays.
    """
    kept = _OURS.sub("", path.read_text()) if path.exists() else ""
    search = "" if _SEARCH in kept else f'{_BEGIN}{_SEARCH} = ["docker.io"]\n{_END}'
    own = f'{_BEGIN}[[registry]]\nlocation = "{insecure}"\ninsecure = true\n{_END}'
    path.write_text(f"{search}{kept}{own}")


def start(home: PodmanHome, *, pid_file: Path, log: Path) -> None:
    """Start the service unless it runs. It outlives us; `host.process.end` ends it without touching its containers."""
    if process.alive(pid_file):
        return
    if len(str(home.socket)) > 100:  # a UNIX socket's path holds 107 bytes
        raise WorldError(
            "start podman", f"the path {home.socket} is too long for a socket; choose a shorter state folder"
        )
    home.make()
    home.socket.unlink(missing_ok=True)
    argv = home.command("--log-level", "error", "system", "service", "--time", "0", f"unix://{home.socket}")
    # cwd: conmon leaves a file named `oom` where it was started when the kernel kills a container for its memory
    process.spawn(argv, pid_file=pid_file, log=log, env=home.environment(), cwd=home.run)


def end_monitors(folder: Path) -> None:
    """End what a stopped Podman left running for the storage in `folder`: monitors of commands that were run inside
    its containers.
    """
    for pid, words in inventory.command_lines():
        if Path(os.fsdecode(words[0])).name == "conmon" and any(
            word.startswith(os.fsencode(folder) + b"/") for word in words
        ):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def erase(home: PodmanHome, *, keep_images: bool = False) -> None:
    """Remove what a stopped Podman left: overlay mounts, locks, and its images unless they are to be kept. Its
    containers must be gone.
    """
    end_monitors(home.store)
    for mount in inventory.mounts_below(home.store, home.run):
        subprocess.run(["umount", "--lazy", mount], check=False, capture_output=True)
    for folder in (home.run,) if keep_images else (home.run, home.store):
        shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):  # other programs' containers live there: then it stays
        SHARED.rmdir()
