"""What Podman leaves behind: monitors of commands run inside containers end with the storage, and soon by themselves;
locks go with their containers.
"""

import os
import shutil
import subprocess
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from anypop.host import inventory, process
from anypop.lab import podman
from anypop.lab.podman import ENGINE
from tests.podman_service import WEB, PodmanService, web_root
from tests.wait import wait_until

pytestmark = pytest.mark.lab
LIMIT = {"hard": 1024, "soft": 1024}


def watching(folder: Path) -> list[str]:
    """Command lines of the processes that name the folder."""
    lines = (b" ".join(words).decode(errors="replace") for _, words in inventory.command_lines())
    return [line for line in lines if f"{folder}/" in line]


def test_a_command_inside_a_container_leaves_no_process_behind() -> None:
    """Its monitors wait for their time to be over; when the storage is taken away they go with it."""
    folder = Path(tempfile.mkdtemp(prefix="anyp-", dir="/tmp"))
    service = PodmanService(folder)
    try:
        service.start()
        service.import_web_image()
        limits = [{"type": "nofile", **LIMIT}, {"type": "nproc", **LIMIT}]
        made = service.ask(
            "POST", "/containers/create", json={"image": WEB, "netns": {"nsmode": "none"}, "r_limits": limits}
        ).json()
        assert service.ask("POST", f"/containers/{made['Id']}/start").status_code == 204
        command = service.ask(
            "POST", f"/containers/{made['Id']}/exec", json={"Cmd": ["true"], "AttachStdout": True}
        ).json()
        assert service.ask("POST", f"/exec/{command['Id']}/start", json={"Detach": False}).status_code == 200
        assert service.ask("GET", f"/exec/{command['Id']}/json").json()["ExitCode"] == 0
        (mine,) = {line.split("--exit-delay ")[1].split()[0] for line in watching(folder) if command["Id"] in line}
        assert f"exit_command_delay = {mine}\n" in ENGINE
    finally:
        service.stop()
    # Podman's own cleaning of what just ended may have to end; a monitor would stay for ten seconds
    wait_until(lambda: not watching(folder), timeout_s=20, reason=f"nothing is left: {watching(folder)}")


def test_locks_do_not_pile_up_when_containers_are_looked_at_while_they_go() -> None:
    """The lab's Podman keeps its locks in shared memory of its own: nothing is left of a container that was listed in
    the moment of its removal, and the machine's own segment is not touched.
    """
    folder = Path(tempfile.mkdtemp(prefix="anyp-", dir="/tmp"))
    home = podman.PodmanHome(store=folder / "store", run=folder / "run", registries_conf=folder / "registries.conf")
    podman.write_registries(home.registries_conf, "127.0.0.1:1")
    machines = Path("/dev/shm/libpod_lock")
    before = machines.stat().st_mtime_ns if machines.exists() else None

    def ask(method: str, path: str, **more: object) -> httpx.Response:
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(home.socket)), timeout=60) as http:
            return http.request(method, f"http://podman/v4.0.0/libpod{path}", **more)  # type: ignore[arg-type]

    def answers() -> bool:
        with suppress(httpx.HTTPError):
            return home.socket.exists() and ask("GET", "/containers/json").status_code == 200
        return False

    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            ask("GET", "/containers/json?all=true")

    try:
        podman.start(home, pid_file=folder / "podman.pid", log=folder / "podman.log")
        wait_until(answers, timeout_s=20, reason="podman's service answers")
        assert ask("POST", f"/images/import?reference={WEB}", content=web_root()).status_code == 200
        limits = [{"type": "nofile", **LIMIT}, {"type": "nproc", **LIMIT}]
        body = {"image": WEB, "command": ["/bin/true"], "netns": {"nsmode": "none"}, "r_limits": limits}
        watchers = [threading.Thread(target=look) for _ in range(2)]
        for thread in watchers:
            thread.start()
        try:
            for _ in range(12):
                made = ask("POST", "/containers/create", json=body).json()["Id"]
                assert ask("POST", f"/containers/{made}/start").status_code == 204
                assert ask("DELETE", f"/containers/{made}?force=true&timeout=0").status_code == 200
        finally:
            over.set()
            for thread in watchers:
                thread.join()
        found = [name for place, _, names in os.walk(home.run) if place.endswith("/locks") for name in names]
        assert found == ["libpod_lock"], "locks in files stay, this one segment holds them all"
        assert before == (machines.stat().st_mtime_ns if machines.exists() else None)
    finally:
        process.end(folder / "podman.pid")
        podman.erase(home)
        for mount in inventory.mounts_below(folder):  # where an agent would mount volumes
            subprocess.run(["umount", mount], check=True)
        shutil.rmtree(folder, ignore_errors=True)
