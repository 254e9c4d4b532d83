"""The command lines of QEMU, as recorded in `machines/`: one word a line, so that a person can review what a
guest gets.

To record anew after a wanted change: ANYPOP_RECORD=1 pytest tests/golden/test_machine_arguments.py, then read the
difference. That QEMU takes them is in tests/contract/test_machines.py.
"""

import os
from pathlib import Path

import pytest

from anypop.agent.act.instances.machines.arguments import Handed, arguments, vcpus
from anypop.agent.act.instances.machines.place import Spec
from anypop.model.machine import Acceleration, Board, DiskFormat, Firmware, ImagePart, MachineImage, machine_image

HERE = Path(__file__).parent / "machines"
DISK = ImagePart(name="disk", sha256="d" * 64, size=1 << 30)
KERNEL, INITRD = (ImagePart(name=name, sha256="a" * 64, size=1 << 20) for name in ("kernel", "initrd"))


def spec(image: MachineImage) -> Spec:
    return Spec(
        id="6d6e5a0e-6f0e-4c5e-9d5c-0a3c7d0f7b11", uid="0123456789abcdef", container="vm",
        labels={"anypop.instance": "vm-eu-lhr-0"}, image=image, namespace="any-i-0123456789", mac="02:01:23:45:67:89",
        user=1_879_048_192, cpu_millis=1500, share_millis=1000, memory_bytes=512 << 20,
    )  # fmt: skip


def image(board: Board, firmware: Firmware, *parts: ImagePart, disk_bytes: int, raw: bool = False) -> MachineImage:
    return machine_image(
        "stack/family:1", parts=parts, disk_format=DiskFormat.RAW if raw else DiskFormat.QCOW2, disk_bytes=disk_bytes,
        firmware=firmware, board=board, cmdline="console=ttyS0 quiet" if firmware is Firmware.KERNEL else "",
    )  # fmt: skip


CASES = {
    "q35-bios-qcow2-kvm": (image(Board.Q35, Firmware.BIOS, DISK, disk_bytes=8 << 30), Acceleration.KVM),
    "q35-uefi-raw-tcg": (image(Board.Q35, Firmware.UEFI, DISK, disk_bytes=8 << 30, raw=True), Acceleration.TCG),
    "microvm-kernel-kvm": (
        image(Board.MICROVM, Firmware.KERNEL, KERNEL, INITRD, DISK, disk_bytes=1 << 30),
        Acceleration.KVM,
    ),
    "microvm-kernel-tcg": (image(Board.MICROVM, Firmware.KERNEL, KERNEL, disk_bytes=0), Acceleration.TCG),
}


@pytest.mark.parametrize("name", CASES)
def test_a_command_line_is_as_recorded(name: str) -> None:
    """Word by word, with a volume beside the root disk."""
    made, accelerator = CASES[name]
    handed = Handed(taps=(7,), disks=(("data-of-a-long-claim-name", 9),))
    text = "".join(f"{word}\n" for word in arguments(spec(made), accelerator=accelerator, handed=handed))
    file = HERE / f"{name}.txt"
    if os.environ.get("ANYPOP_RECORD"):
        HERE.mkdir(exist_ok=True)
        file.write_text(text)
    assert text == file.read_text()


def test_a_part_of_a_core_is_a_processor_of_its_own() -> None:
    """As many as can be busy: how busy they may be is said elsewhere."""
    assert [vcpus(millis) for millis in (0, 1, 1000, 1001, 4000)] == [1, 1, 1, 2, 4]
