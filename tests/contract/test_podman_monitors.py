"""Commands run inside containers: what watches them ends with the storage, and soon by itself."""

import tempfile
from pathlib import Path

import pytest

from anypop.host import inventory
from anypop.lab.podman import ENGINE
from tests.podman_service import WEB, PodmanService

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
    assert watching(folder) == []
