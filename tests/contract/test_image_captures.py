"""An image made of a disk of a machine: control asks the machine's host, and goes on wherever it was cut. Control and
the host's part of it are real; the copying itself is `test_machine_captures`'.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from anypop.agent.captures import Captures
from anypop.cli import vm_images
from anypop.control import image_capture
from anypop.control.roles import Role
from anypop.model.errors import WorldError
from anypop.model.machine import MachineImage
from anypop.model.streams import CaptureOverRequest, CaptureRequest
from tests.contract.test_api_predictions import command_line
from tests.contract.test_machine_images import DISK, IMAGES, KERNEL, files, image, over, put, sent, sha, with_machine
from tests.control_world import World
from tests.people import somebody
from tests.qcow2 import qcow2
from tests.uefi_variables import TEMPLATE

CAPTURE = "/anypop/v1/stacks/default/images/golden/1/capture"
INSTANCE = "vm-eu-lhr-0"
COPY = qcow2(1 << 26) + bytes(range(256)) * 12_000  # some megabytes, so that it is cut in the middle

VARIABLES = TEMPLATE.read_bytes()


class Machines:
    """A host's, of which one disk can be copied."""

    def __init__(self) -> None:
        self.copied, self.trouble = list[tuple[str, str]](), ""

    def place_of(self, uid: str) -> Any:
        return SimpleNamespace(spec=lambda: SimpleNamespace(id="one life"))

    async def capture(self, uid: str, claim: str, file: Path, variables: Path, told: Any) -> None:
        self.copied.append((uid, claim))
        await asyncio.to_thread(variables.write_bytes, VARIABLES)
        told(50)
        if self.trouble:
            raise WorldError("capture a disk", self.trouble)
        await asyncio.to_thread(file.write_bytes, COPY)


@dataclass
class Stream:
    """What a host says, frame by frame; `cut`: it is gone after so many bytes."""

    frames: Any
    cut: int = 0
    said_all: bool = True

    async def receive(self) -> bytes | str | None:
        frame: bytes | str | None = await anext(self.frames, None)
        if isinstance(frame, bytes) and self.cut:
            self.cut -= min(self.cut, len(frame))
            if not self.cut:
                raise WorldError("reach host LHR", "its agent was killed")
        return frame


class Host:
    """Streams to one host, whose agent may be killed and begun anew."""

    def __init__(self, folder: Path, loop: asyncio.AbstractEventLoop) -> None:
        self.loop, self.machines, self._folder = loop, Machines(), folder
        self.asked, self.cuts, self.away, self.is_old = list[Any](), list[int](), False, False
        self.begin()

    def begin(self) -> None:
        """Another agent, after the death of one."""
        self.captures = Captures(self._folder, self.machines, wall=time.time)  # type: ignore[arg-type]

    @asynccontextmanager
    async def ask(self, host: str, wanted: Any, account: str, *, one_of_many: bool = False) -> AsyncIterator[Stream]:
        self.asked.append((host, wanted))
        if self.away:
            raise WorldError("reach host LHR", "its agent does not answer now")
        if isinstance(wanted, CaptureOverRequest):
            self.captures.drop(wanted.id)
            yield Stream(_nothing())
            return
        frames = self.captures.answer(replace(wanted, part="disk") if self.is_old else wanted)
        try:
            yield Stream(frames, self.cuts.pop(0) if self.cuts else 0)
        except WorldError:
            self.begin()
            raise
        finally:
            with suppress(RuntimeError):
                await frames.aclose()

    def kept(self) -> list[Path]:
        return list(self._folder.iterdir()) if self._folder.is_dir() else []


async def _nothing() -> AsyncIterator[bytes]:
    for piece in list[bytes]():
        yield piece


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(image_capture, "LONGEST_REST_S", 0.05)
    with World(tmp_path) as made:
        yield made
        made.platform.machine_images.stop()


@pytest.fixture
def host(world: World, tmp_path: Path) -> Host:
    """The one of a machine, which was made of an image with a kernel of its own."""
    direct = {
        "cmdline": "console=ttyS0", "firmware": "KERNEL", "board": "MICROVM",
        "parts": {n: {"size": len(d), "sha256": sha(d)} for n, d in (("kernel", KERNEL), ("disk", DISK))},
    }  # fmt: skip
    world.send("POST", f"{IMAGES}/tiny/1", {"image": direct})
    for part, data in (("kernel", KERNEL), ("disk", DISK)):
        assert put(world, data, 0, "tiny/1", part=part).status_code == 200
    assert over(world, "tiny/1")["status"] == "READY"
    with_machine(world, resolved(world, "default/tiny:1"))
    for agent in world.agents():
        agent.obey()
    return answering(world, tmp_path)


def answering(world: World, tmp_path: Path) -> Host:
    found = Host(tmp_path / "captures", world._loop)
    world.platform.captures.streams = found  # type: ignore[assignment]
    return found


def resolved(world: World, reference: str) -> MachineImage:
    return world.platform.machine_images.resolve(reference, [(world.stack.id, "default")], "image")


def asked(**more: Any) -> dict[str, Any]:
    return {"capture": {"instance": INSTANCE, **more}}


def test_a_disk_becomes_an_image_with_what_its_machine_begins_with(world: World, host: Host) -> None:
    """Cut off twice in the middle, once by the agent's death, it goes on where it was, of one copy; the host keeps
    nothing afterwards. The kernel is the one that the machine has. It stands in the audit log.
    """
    host.cuts = [1_500_000, 1_200_000]
    made = world.send("POST", CAPTURE, asked(description="as of today"))["image"]
    assert (made["status"], made["firmware"], made["cmdline"]) == ("IMPORTING", "KERNEL", "console=ttyS0")
    assert put(world, b"x", 0, "golden/1").status_code == 400, "nobody sends what is captured"
    found = over(world, "golden/1")
    parts = {part["name"]: part for part in found["parts"]}
    assert (found["status"], found["board"], found["diskBytes"]) == ("READY", "MICROVM", str(1 << 26)), found
    assert (parts["disk"]["sha256"], parts["kernel"]["sha256"]) == (sha(COPY), sha(KERNEL))
    assert parts["disk"]["capturedFrom"] == {"instance": INSTANCE}
    assert (world.folder / "machine-images" / sha(COPY)).read_bytes() == COPY
    offsets = [wanted.offset for _, wanted in host.asked if isinstance(wanted, CaptureRequest)]
    assert offsets[0] == 0 and offsets == sorted(set(offsets)) and len(offsets) == 3, offsets
    assert len(host.machines.copied) == 1 and not host.kept()
    assert resolved(world, "default/golden").parts[0].sha256 == sha(COPY)
    (noted,) = world.get("/anypop/v1/audit?operation=capture_image")["results"]
    assert noted["after"]["parts"]["disk"] == INSTANCE
    assert world.call("POST", CAPTURE, json=asked()).status_code == 409


def test_the_next_life_of_control_goes_on_with_a_capture(world: World, host: Host, tmp_path: Path) -> None:
    """Its host is away meanwhile, and keeps the copy."""
    host.cuts = [1_500_000]
    ask = host.ask

    def away(*given: Any, **more: Any) -> Any:
        host.away = bool(host.asked)
        return ask(*given, **more)

    host.ask = away  # type: ignore[method-assign]
    world.send("POST", CAPTURE, asked())
    world.wait_until(lambda: len(host.asked) > 2, "its host is away")
    assert image(world, "golden/1")["status"] == "IMPORTING"
    former = world.platform.machine_images
    former.stop()
    world.wait_until(lambda: not former.is_busy(), "the former life has ended")
    world.restart()
    later = answering(world, tmp_path)
    world.platform.machine_images.begin()
    assert over(world, "golden/1")["status"] == "READY"
    assert next(wanted.offset for _, wanted in later.asked if isinstance(wanted, CaptureRequest)) > 0
    assert not later.machines.copied and not later.kept()


def test_what_cannot_be_captured_fails_with_the_reason(
    world: World, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What its host says; more than the quota; a host that is away for too long. Nothing of it stays, and the tag may
    be used anew.
    """
    host.machines.trouble = "its machine has ended meanwhile"
    world.send("POST", CAPTURE, asked())
    found = over(world, "golden/1")
    assert found["status"] == "FAILED" and INSTANCE in found["reason"] and "ended meanwhile" in found["reason"]
    host.machines.trouble = ""

    account = world.platform.accounts.first_account().id
    world.send("PUT", f"/anypop/v1/accounts/{account}/quota", {"quota": {"image_bytes": 1_000_000}})
    world.send("POST", CAPTURE, asked())
    found = over(world, "golden/1")
    assert found["status"] == "FAILED" and "images of virtual machines" in found["reason"]
    world.send("PUT", f"/anypop/v1/accounts/{account}/quota", {"quota": {}})

    monkeypatch.setattr(image_capture, "PATIENCE_S", 0.2)
    host.away = True
    world.send("POST", CAPTURE, asked())
    found = over(world, "golden/1")
    assert found["status"] == "FAILED" and "does not answer" in found["reason"]
    host.away = False
    assert not host.kept() and files(world) == sorted([sha(DISK), sha(KERNEL)])
    world.send("POST", CAPTURE, asked())
    assert over(world, "golden/1")["status"] == "READY"


def test_nobody_captures_what_is_not_his_or_has_no_such_disk(world: World, host: Host) -> None:
    """Another tenant's instance is not there, in no stack; a viewer may not; a volume must be the machine's, and a
    container has none. Nothing is asked of a host.
    """
    world.create("web", cities=("LHR",), replicas=1)
    accounts = world.platform.accounts
    theirs = accounts.create_account("theirs").id
    accounts.create_stack(theirs, "theirs", "theirs")
    eve = somebody(world, theirs, "eve", Role.OWNER)
    own = CAPTURE.replace("default", "theirs")
    for path in (CAPTURE, own):
        assert world.call("POST", path, headers=eve, json=asked()).status_code == 404
    viewer = somebody(world, accounts.first_account().id, "vic", Role.VIEWER)
    assert world.call("POST", CAPTURE, headers=viewer, json=asked()).status_code == 403
    for body, status, words in (
        (asked(volume="data"), 404, "it has none"), ({"capture": {"instance": "web-eu-lhr-0"}}, 400, "containers"),
        ({"capture": {"instance": "nobody"}}, 404, "no instance"), (asked(firmware="UEFI"), 400, "firmware"),
    ):  # fmt: skip
        refused = world.call("POST", CAPTURE, json=body)
        assert refused.status_code == status and words in refused.text, refused.text
    assert world.call("POST", CAPTURE.replace("golden", "Golden"), json=asked()).status_code == 400
    assert not host.asked


def test_an_image_that_is_deleted_on_the_way_is_let_go(world: World, host: Host) -> None:
    """By its host too."""
    host.cuts = [1_500_000]
    host.begin = lambda: setattr(host, "away", True)  # type: ignore[method-assign]
    world.send("POST", CAPTURE, asked())
    world.wait_until(lambda: len(host.asked) > 1, "its host is away")
    host.away = False
    host.cuts = [1] * 1000
    world.send("DELETE", f"{IMAGES}/golden/1")
    host.away = False
    world.wait_until(lambda: not world.platform.machine_images.is_busy(), "nobody works on it")
    assert any(isinstance(wanted, CaptureOverRequest) for _, wanted in host.asked)
    assert f"{sha(COPY)}" not in files(world) and not [name for name in files(world) if name.endswith(".part")]


def test_the_command_line_captures_and_waits_for_one_that_is_on_its_way(
    world: World, host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Called again after a cut it makes no second one; what failed is told with the reason."""
    folder = tmp_path / "client"
    folder.mkdir()
    call = command_line(world, folder, monkeypatch)
    monkeypatch.setattr(vm_images, "TOLD_EVERY_S", 0.0)
    words = ("vm", "image", "capture", INSTANCE, "--family", "golden", "--tag", "1")
    host.away = True
    assert call(*words, "--no-wait").code == 0
    host.away = False
    ran = call(*words)
    assert ran.code == 0 and "default/golden:1 is ready" in ran.out, ran.err
    assert INSTANCE in call("vm", "image", "describe", "golden:1").out
    assert call(*words).code == 1, "its tag is taken"
    host.machines.trouble = "of containers"
    ran = call(*words[:-1], "2")
    assert ran.code == 1 and "of containers" in ran.err
    assert call(*words[:3], "nobody", *words[4:]).code == 5


def test_the_variables_of_a_uefi_machine_come_with_its_disk(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a part of the image beside the disk, of the same copy, which the host keeps until both are here. An agent that
    is too old for them says so. A volume has none, and the command says how it begins then.
    """
    world.send("POST", f"{IMAGES}/efi/1", sent(data=DISK, firmware="UEFI"))
    assert put(world, DISK, 0, "efi/1").status_code == 200 and over(world, "efi/1")["status"] == "READY"
    with_machine(world, resolved(world, "default/efi:1"))
    for agent in world.agents():
        agent.obey()
    host = answering(world, tmp_path)
    host.cuts = [1_500_000]
    folder = tmp_path / "client"
    folder.mkdir()
    call = command_line(world, folder, monkeypatch)
    ran = call("vm", "image", "capture", INSTANCE, "--family", "golden", "--tag", "1")
    assert ran.code == 0 and "BOOTX64.EFI" not in ran.err, ran.err
    parts = {part.name: part.sha256 for part in resolved(world, "default/golden:1").parts}
    assert parts == {"disk": sha(COPY), "variables": sha(VARIABLES)}
    assert len(host.machines.copied) == 1 and not host.kept()
    assert (world.folder / "machine-images" / sha(VARIABLES)).read_bytes() == VARIABLES

    host.is_old = True
    world.send("POST", CAPTURE.replace("/1/", "/2/"), asked())
    found = over(world, "golden/2")
    assert found["status"] == "FAILED" and "older agent" in found["reason"] and not host.kept()
