"""Variables of UEFI go with a captured disk: the firmware of a machine that is made of the image begins by the entries
that the captured machine had. Its disk is empty, so the firmware tells on the console what it tried.
"""

import asyncio
import hashlib
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from anypop.agent.act.instances.machines import monitor, variables
from anypop.agent.act.instances.machines.machines import Machines
from anypop.agent.act.instances.machines.place import CONSOLE, FIRMWARE, Place
from anypop.agent.act.network.namespaces import make_namespace, remove_name
from anypop.agent.captures import Captures
from anypop.agent.decide.steps import CreateContainer, RemoveContainer, StartContainer
from anypop.agent.naming import namespace_of
from anypop.host import netns
from anypop.model.codec import from_json
from anypop.model.disk_header import HEAD_BYTES, check_part
from anypop.model.errors import WorldError
from anypop.model.machine import Firmware, ImagePart, Machine, machine_image
from anypop.model.order import Containers
from anypop.model.streams import Captured, CaptureRequest
from tests.agent_lab import instance
from tests.empty_guests import EmptyGuests
from tests.uefi_variables import TEMPLATE, with_boot_entry

pytestmark = pytest.mark.lab
PREFIX, UID = f"var{os.getpid()}", instance(0).uid
START = StartContainer(uid=UID, container="web", lane="")
REMOVE = RemoveContainer(uid=UID, container="web", lane="")
ENTRY = with_boot_entry(0x42, "kept entry", r"\EFI\kept\loader.efi")
BOOT_S = 180  # every instruction is translated, and others want the processor too


@pytest.fixture
def guest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EmptyGuests]:
    """One that begins by UEFI. Nobody in it answers, and nobody waits long for that."""
    monkeypatch.setattr(monitor, "_FREEZE_S", 0.1)
    make_namespace(PREFIX, UID)
    try:
        yield EmptyGuests(tmp_path, prefix=PREFIX, firmware=Firmware.UEFI)
    finally:
        remove_name(netns.path_of(namespace_of(PREFIX, UID)))


@asynccontextmanager
async def machine(guest: EmptyGuests) -> AsyncIterator[Machines]:
    """It is made, and nothing is left of it."""
    machines = guest.machines()
    try:
        (web,) = guest.order.containers
        await machines.carry_out(CreateContainer(instance=guest.order, container=web, generation=1, lane=""))
        yield machines
    finally:
        await machines.stop((UID, "web"), 0)
        await machines.carry_out(REMOVE)
        machines.close()


async def got(all_: Captures, asked: CaptureRequest) -> tuple[Captured, bytes]:
    told, data = Captured(), bytearray()
    async for frame in all_.answer(asked):
        if isinstance(frame, str):
            told = from_json(Captured, frame)
        else:
            data += frame
    return told, bytes(data)


def with_variables(guest: EmptyGuests, folder: Path, content: bytes) -> None:
    """Its image has these from now on."""
    (folder / "variables").write_bytes(content)
    part = ImagePart(name="variables", sha256=hashlib.sha256(content).hexdigest(), size=len(content))
    (web,) = guest.order.containers
    image = web.machine.image if web.machine is not None else None
    assert image is not None
    made = machine_image(
        image.reference, parts=(*image.parts, part), disk_format=image.disk_format, disk_bytes=image.disk_bytes,
        firmware=image.firmware, board=image.board,
    )  # fmt: skip
    web = replace(web, machine=Machine(image=made))
    guest.order = replace(guest.order, payload=Containers(containers=(web,)))


async def says(place: Place, words: str) -> None:
    """Until its console has said so."""
    said = b""
    with place.reachable(CONSOLE) as path:
        reader, writer = await asyncio.open_unix_connection(path)
    try:
        async with asyncio.timeout(BOOT_S):
            while words.encode() not in said:
                piece = await reader.read(4096)
                assert piece, said
                said += piece
    finally:
        writer.close()


def test_a_machine_of_a_captured_disk_begins_by_the_same_boot_entries(guest: EmptyGuests, tmp_path: Path) -> None:
    """The variables are those of the moment of the copy, taken beside the guest; control lets them pass; the firmware
    of the next machine tries the entry that the first one had. What is given up takes them away too.
    """
    all_ = Captures(tmp_path / "captures", guest.machines(), wall=time.time)
    asked = CaptureRequest(id=str(uuid4()), uid=UID)

    async def test() -> None:
        too_early, none = await got(all_, replace(asked, part="variables"))
        assert "not here any more" in too_early.why and not none
        async with machine(guest) as machines:
            (guest.place.own / FIRMWARE).write_bytes(ENTRY)
            await machines.carry_out(START)
            disk, _ = await got(all_, asked)
            assert disk.sha256, disk.why
            told, data = await got(all_, replace(asked, part="variables"))
            assert (told.part, told.size) == ("variables", len(data)), told
            check_part("variables", data[:HEAD_BYTES], len(data))
            assert ENTRY[:400] == data[:400], "the entry is among them"
            _, rest = await got(all_, replace(asked, part="variables", sha256=told.sha256, offset=1000))
            assert rest == data[1000:]
        all_.drop(asked.id)
        assert not list((tmp_path / "captures").iterdir())
        with_variables(guest, tmp_path, data)
        async with machine(guest) as machines:
            await machines.carry_out(START)
            await says(guest.place, 'Boot0042 "kept entry"')

    asyncio.run(test())


def test_variables_of_another_firmware_or_of_nobody_are_refused(guest: EmptyGuests, tmp_path: Path) -> None:
    """An image without any gives new ones. Whoever has broken into QEMU leads nobody to another file."""

    async def test() -> None:
        async with machine(guest):
            assert variables.variables_of(guest.place) == TEMPLATE.read_bytes()
            own = guest.place.own / FIRMWARE
            own.unlink()
            own.symlink_to(TEMPLATE)
            with pytest.raises(WorldError):
                variables.variables_of(guest.place)
            own.unlink()
            os.mkfifo(own)
            with pytest.raises(WorldError, match="not what the firmware"):
                variables.variables_of(guest.place)
        with_variables(guest, tmp_path, ENTRY[:-4096])
        with pytest.raises(WorldError, match="the firmware of this host takes"):
            async with machine(guest):
                pass

    asyncio.run(test())
