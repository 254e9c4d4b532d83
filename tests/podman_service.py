"""A Podman of a test's own: `podman system service` with its own storage, its socket in a temporary folder, and a tiny
web image in it.

On a host with hybrid cgroups it runs in a mount namespace without the second hierarchy, since crun refuses that
mixture. `stop` removes its containers, ends the service and unmounts what is left.
"""

import io
import json
import os
import shutil
import subprocess
import tarfile
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import httpx

from anypop.host import inventory, process
from anypop.host.shared_mounts import share, volumes_top
from anypop.lab.podman import end_monitors
from tests.wait import wait_until

WEB = "localhost/web:1"
_HYBRID = Path("/sys/fs/cgroup/unified")
SERVE = "hostname > /www/index.html; httpd -p 80 -h /www"
# a first process ignores TERM unless it says otherwise
STAY = "trap 'exit 0' TERM; while true; do sleep 1000 & wait $!; done"
_COMMAND = json.dumps(["/bin/sh", "-c", f"{SERVE}; {STAY}"])


class PodmanService:
    """A service in `folder` (keep its path short: a UNIX socket's has at most 107 characters). `volumes_of`: the state
    folder of an agent whose mounts it is to see.
    """

    def __init__(self, folder: Path, env: dict[str, str] | None = None, volumes_of: Path | None = None) -> None:
        self.folder, self._volumes_of = folder, volumes_of
        self.socket = folder / "podman.sock"
        self._pid = folder / "podman.pid"
        self._env = env or {}

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if self._volumes_of is not None:
            share(volumes_top(self._volumes_of))
        # locks in files of its own: the usual ones in shared memory are common to all services of a host, and a fresh
        # one resets them
        config = self.folder / "containers.conf"
        config.write_text(
            '[engine]\nlock_type="file"\nevents_logger="file"\ncgroup_manager="cgroupfs"\nexit_command_delay=10\n'
        )
        program = [
            "podman",
            "--root",
            f"{self.folder}/root",
            "--runroot",
            f"{self.folder}/run",
            "--tmpdir",
            f"{self.folder}/tmp",
        ]
        program += ["system", "service", "-t", "0", f"unix://{self.socket}"]
        if _HYBRID.is_dir():
            program = [
                "unshare",
                "-m",
                "--propagation",
                "slave",
                "sh",
                "-c",
                'umount "$0"; exec "$@"',
                str(_HYBRID),
                *program,
            ]
        environment = os.environ | {"CONTAINERS_CONF": str(config)} | self._env
        self.socket.unlink(missing_ok=True)  # of one that was killed: nobody listens there
        process.spawn(program, pid_file=self._pid, log=self.folder / "podman.log", env=environment, cwd=self.folder)
        wait_until(self._answers, timeout_s=20, reason="podman's service answers")

    def ask(self, method: str, path: str, **more: object) -> httpx.Response:
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(self.socket)), timeout=60) as http:
            return http.request(method, f"http://podman/v4.0.0/libpod{path}", **more)  # type: ignore[arg-type]

    def import_web_image(self, name: str = WEB) -> None:
        """An image of busybox alone that answers on port 80 with its host name."""
        change = quote(f"CMD {_COMMAND}")
        done = self.ask("POST", f"/images/import?reference={quote(name, safe='')}&changes={change}", content=web_root())
        assert done.status_code == 200, done.text

    def kill(self) -> None:
        """End the service at once; its containers go on."""
        process.end(self._pid, grace_s=0)

    def stop(self) -> None:
        """Remove everything."""
        with suppress(httpx.HTTPError):
            if process.alive(self._pid):
                for row in self.ask("GET", "/containers/json?all=true").json() or []:
                    self.ask("DELETE", f"/containers/{row['Id']}?force=true&timeout=0")
        process.end(self._pid)
        end_monitors(self.folder)
        for point in inventory.mounts_below(self.folder):
            subprocess.run(["umount", "-l", point], check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _answers(self) -> bool:
        with suppress(httpx.HTTPError):
            return (
                self.socket.exists()
                and process.alive(self._pid) is not None
                and self.ask("GET", "/_ping").status_code in (200, 404)
            )
        return False


def web_root() -> bytes:
    """A root file system as a tar archive: static busybox under the names that the web server needs."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for folder in ("bin", "www", "tmp", "etc"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        tar.add("/bin/busybox", "bin/busybox")
        for name in ("sh", "httpd", "hostname", "sleep", "cat", "true", "false", "nc", "env"):
            entry = tarfile.TarInfo(f"bin/{name}")
            entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(entry)
    return out.getvalue()
