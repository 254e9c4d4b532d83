"""A workload of virtual machines in two PoPs, by the API alone: an image is brought, guests boot, every vantage is
answered, and what was declared is true inside. One workload for all of it, since a boot takes seconds.
"""

import http.client
import json
import os
import ssl
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from anypop.cli.settings import load
from anypop.host import netns
from anypop.lab import build, platform
from tests.guest_image import guest_image
from tests.lab.story import Shell
from tests.wait import wait_until

pytestmark = pytest.mark.lab

SLUG, CITIES = "guests", ("AMS", "LHR")
NAMES = [f"{SLUG}-eu1-{city.lower()}-0" for city in CITIES]
BOOT_S = "150"  # where every instruction is translated, on a machine that does three things at once
SCRIPT = "#!/bin/sh\necho {} >/www/told\ndate >>/data/lives\nwc -l </data/lives >/www/lives\n"


def user_data(word: str) -> str:
    return b64encode(SCRIPT.format(word).encode()).decode()


@pytest.fixture(scope="module")
def shell(place: platform.Platform) -> Iterator[Shell]:
    shell = Shell(place=place)
    yield shell
    shell.try_("workload", "delete", SLUG, "--yes")
    shell.try_("vm", "image", "delete", "golden", "--yes")


def bring_image(place: platform.Platform) -> str:
    """The image as `STACK/FAMILY`, READY in control."""
    image, files = guest_image()
    known = load(place.state, {})
    trusted = ssl.create_default_context(cafile=known.ca)
    with httpx.Client(base_url=known.url, verify=trusted, trust_env=False, timeout=30) as api:
        asked = {"grant_type": "client_credentials", "client_id": known.client_id, "client_secret": known.client_secret}
        token = api.post("/identity/v1/oauth2/token", json=asked).json()["access_token"]
        api.headers["Authorization"] = f"Bearer {token}"
        path = f"stacks/{known.stack}/images/guest/1"
        parts = {part.name: {"size": part.size, "sha256": part.sha256} for part in image.parts}
        body = {"firmware": image.firmware, "board": image.board, "cmdline": image.cmdline, "parts": parts}
        answer = api.post(f"/workload/v1/{path}", json={"image": body})
        assert answer.status_code == 200, answer.text
        for part in image.parts:
            sent = files[part.name].read_bytes()
            for at in range(0, len(sent), 1 << 20):
                piece = sent[at : at + (1 << 20)]
                answer = api.put(f"/anypop/v1/{path}/parts/{part.name}", params={"offset": at}, content=piece,
                                 headers={"Content-Type": "application/octet-stream"})  # fmt: skip
                assert answer.status_code == 200, answer.text

        def state() -> str:
            return str(api.get(f"/workload/v1/{path}").json()["image"])

        wait_until(lambda: "'READY'" in state(), timeout_s=30, reason="the image is verified")
        slug = api.get(f"/stack/v1/stacks/{known.stack}").json()["slug"]
    return f"{slug}/guest"


def document(image: str, word: str) -> dict[str, Any]:
    machine = {
        "image": image,
        "userData": user_data(word),
        "ports": {"http": {"port": 80, "enableImplicitNetworkPolicy": True}},
        "readinessProbe": {"httpGet": {"path": "/", "port": 80}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": "1", "memory": "128Mi"}},
        "volumeMounts": [{"slug": "data", "mountPath": "/data"}],
    }
    where = {"selectors": [{"key": "cityCode", "operator": "in", "values": [*CITIES]}], "minReplicas": 1}
    return {
        "name": SLUG,
        "slug": SLUG,
        "metadata": {"annotations": {"anycast.platform.stackpath.net": "true"}},
        "spec": {
            "networkInterfaces": [{"network": "default", "ipFamilies": ["IPv4", "IPv6"]}],
            "virtualMachines": {"vm": machine},
            "volumeClaimTemplates": [{"slug": "data", "spec": {"resources": {"requests": {"storage": "64Mi"}}}}],
        },
        "targets": {"eu1": {"spec": {"deploymentScope": "cityCode", "deployments": where}}},
    }


def page(shell: Shell, name: str, path: str) -> str:
    """What an instance says at its own address to a client in London."""
    address = shell.instance(name).get("externalIpAddress", "")  # none where it is stopped for its successor
    vantage = build.attach(shell.place.state / "lab").vantage("london")
    link = http.client.HTTPConnection(address, 80, timeout=3)
    with suppress(OSError, ValueError, http.client.HTTPException), netns.inside(vantage.netns), closing(link):
        link.request("GET", path)
        return link.getresponse().read().decode().strip()
    return ""


def is_answered_everywhere(shell: Shell) -> bool:
    """Whether every vantage gets an answer from the anycast address."""
    return shell.try_("probe", "--all", "--workload", SLUG, "--requests", "1").code == 0


def told(shell: Shell, path: str) -> list[str]:
    return [page(shell, name, path) for name in NAMES]


class Console:
    """`anypop console NAME`, with what is typed and shown in pipes; ended with the block."""

    def __init__(self, shell: Shell, name: str) -> None:
        program = Path(sys.executable).with_name("anypop")
        argv = [str(program), "--state", str(shell.place.state), "console", name]
        self._process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.shown = b""
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)

    def __enter__(self) -> "Console":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.communicate(timeout=20)

    def types(self, text: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(text)
        self._process.stdin.flush()

    def shows(self, text: bytes) -> bool:
        assert self._process.poll() is None and self._process.stdout is not None, self.shown
        self.shown += self._process.stdout.read() or b""
        return text in self.shown


def answers(console: Console) -> bool:
    """Whether its guest shows a prompt to who presses Enter."""
    console.types(b"\n")
    return console.shows(b"# ")


def machines(place: platform.Platform) -> list[Path]:
    """Folders of virtual machines on all hosts."""
    return [one for one in place.state.glob("**/machines/*") if one.is_dir()]


@pytest.mark.timeout(600)  # four boots, each instruction translated, perhaps beside much else
def test_a_workload_of_virtual_machines_lives_as_one_of_containers_does(shell: Shell, tmp_path: Path) -> None:
    """It boots in two PoPs, each vantage is answered over the anycast address, user data was run, its console goes
    both ways and is its log; a restart and an update give it a new root, the latter from an image that was made of its
    own disk, and its volume stays; nothing is left when it is deleted.
    """
    image, file = bring_image(shell.place), tmp_path / "guests.json"
    file.write_text(json.dumps(document(image, "first")))
    made = shell.json("workload", "create", "-f", str(file), "--yes", "--timeout", BOOT_S)
    assert [(i["name"], i["phase"]) for i in made["instances"]] == [(name, "RUNNING") for name in NAMES]
    assert made["workload"]["spec"]["virtualMachines"]["vm"]["image"] == image
    one = shell.instance(NAMES[0])
    (status,) = one["virtualMachineStatuses"]
    assert (status["name"], status["phase"], status["ready"]) == ("vm", "RUNNING", True)
    assert "containerStatuses" not in one and one["virtualMachines"]["vm"]["resources"]
    wait_until(lambda: is_answered_everywhere(shell), timeout_s=30, reason="all vantages are answered")
    wait_until(lambda: told(shell, "/told") == ["first"] * 2, timeout_s=30, reason="user data was run")
    assert "anypop-guest" in shell.try_("logs", NAMES[0]).out

    with Console(shell, NAMES[0]) as first, Console(shell, NAMES[0]) as second:
        for console in (first, second):
            wait_until(partial(answers, console), timeout_s=60, reason="the guest's shell is there", every_s=1)
        first.types(b"echo $((6*7)) for both\n")
        wait_until(
            lambda: first.shows(b"42 for both") and second.shows(b"42 for both"), timeout_s=60,
            reason="both see what either typed",
        )  # fmt: skip
    wait_until(lambda: "42 for both" in shell.try_("logs", NAMES[0]).out, timeout_s=20, reason="its console is its log")

    # what runs becomes an image, and the update below begins with it
    golden = image.replace("/guest", "/golden")
    captured = shell.json("vm", "image", "capture", NAMES[0], "--family", "golden", "--tag", "1")
    assert (captured["status"], captured["reference"]) == ("READY", f"{golden}:1")
    assert {part["name"] for part in captured["parts"]} >= {"disk", "kernel"}

    assert shell.try_("restart", NAMES[0], "--yes", "--timeout", BOOT_S).code == 0
    wait_until(lambda: page(shell, NAMES[0], "/lives") == "2", timeout_s=120, reason="it has begun again")
    file.write_text(json.dumps(document(golden, "second")))
    said = shell.try_("workload", "apply", "-f", str(file), "--yes", "--no-wait")
    assert said.code == 0, said.err
    wait_until(lambda: page(shell, NAMES[0], "/told") == "second", timeout_s=120, reason="it has a new root")
    # its user data writes this one later than that
    wait_until(lambda: page(shell, NAMES[0], "/lives") == "3", timeout_s=30, reason="its volume went along")

    assert shell.try_("workload", "delete", SLUG, "--yes", "--timeout", "60").code == 0
    wait_until(lambda: not machines(shell.place), timeout_s=30, reason="nothing of them is left")
