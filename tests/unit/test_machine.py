"""Virtual machines as nouns: an image is known by its content, and an order carries all of it to the host."""

from dataclasses import replace

import pytest

from anypop.model import codec
from anypop.model.machine import Board, DiskFormat, Firmware, ImagePart, Machine, MachineImage, machine_image
from anypop.model.names import WorkloadId
from anypop.model.order_read import OrderReader
from anypop.model.order_text import OrderWriter
from anypop.model.workload import Container
from anypop.plan.template import template_of
from tests.agent_world import instance, order
from tests.worlds import KEY, workload

USER_DATA = "I2Nsb3VkLWNvbmZpZwo="
DISK = ImagePart(name="disk", sha256="ab" * 32, size=5 << 20)
KERNEL = ImagePart(name="kernel", sha256="cd" * 32, size=1 << 20)


def an_image(reference: str = "my-stack/debian:12", *parts: ImagePart, cmdline: str = "") -> MachineImage:
    return machine_image(
        reference, parts=parts or (DISK,), disk_format=DiskFormat.QCOW2, disk_bytes=2 << 30, firmware=Firmware.BIOS,
        board=Board.Q35, cmdline=cmdline,
    )  # fmt: skip


def a_machine(image: MachineImage | None = None, **more: object) -> Container:
    made = Machine(image=image, user_data=USER_DATA, ssh_keys=("ssh-ed25519 AAAA me",))
    return Container(name="vm", image="my-stack/debian", machine=replace(made, **more))  # type: ignore[arg-type]


def template(container: Container) -> str:
    return template_of(workload(containers=(container,)), KEY)


def test_the_same_content_is_the_same_image_whatever_it_is_called() -> None:
    """By the order of its parts and by its name nothing is another image; by any content it is."""
    image = an_image("my-stack/debian:12", DISK, KERNEL)
    assert image.id == an_image("other/linux:1", KERNEL, DISK).id
    assert image.id != an_image("my-stack/debian:12", DISK, KERNEL, cmdline="quiet").id
    assert image.id != an_image("my-stack/debian:12", replace(DISK, size=1), KERNEL).id
    assert image.size == 6 << 20 and image.part("kernel") == KERNEL and image.part("initrd") is None


def test_a_part_that_has_no_checksum_is_refused() -> None:
    """A host asks for a part by its checksum, and makes a file of that name."""
    for wrong in ("", "../etc/passwd", "AB" * 32, "ab" * 31):
        with pytest.raises(ValueError, match="64 hex digits"):
            ImagePart(name="disk", sha256=wrong, size=1)


def test_an_order_carries_a_machine_whole_and_conceals_what_its_guest_is_told() -> None:
    """User data often holds passwords: a copied ledger or database of orders opens none of it."""
    one = instance(1)
    sent = order(1, replace(one, payload=replace(one.payload, containers=(a_machine(an_image()),))))
    assert OrderReader().order(OrderWriter().order(sent)) == sent
    assert OrderWriter().order(sent).encode() == codec.to_json(sent)

    def concealed(of: WorkloadId, secret: str) -> str:
        return f"{of}!{secret[::-1]}"

    def revealed(of: WorkloadId, text: str) -> str:
        return text.removeprefix(f"{of}!")[::-1]

    text = OrderWriter(concealed).order(sent)
    assert USER_DATA not in text and USER_DATA not in repr(sent)
    assert OrderReader(revealed).order(text) == sent


def test_another_image_user_data_or_key_is_another_machine_and_another_name_of_the_image_is_not() -> None:
    """A tag that was named where it was the newest anyway starts nothing anew."""
    machine = a_machine(an_image())
    named = replace(a_machine(an_image("my-stack/debian:12")), image="my-stack/debian:12")
    assert template(named) == template(machine)
    newer = a_machine(an_image("my-stack/debian:13", replace(DISK, sha256="ef" * 32)))
    told = a_machine(an_image(), user_data="", ssh_keys=())
    assert len({template(one) for one in (machine, newer, told, a_machine(), replace(machine, memory_bytes=1))}) == 5
