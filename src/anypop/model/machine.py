"""Virtual machines as nouns: an image with its parts, and what a machine is made from beside what containers have too.

In: what `plan.parse` read and what control found of images. Out: frozen values that orders carry to hosts. A virtual
machine is one unit of an instance as a container is: `Container.machine` says that it is one. Nothing here reads a file
or starts anything.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from typing import Any, Literal

PartName = Literal["disk", "kernel", "initrd", "variables"]
"""`variables`: of UEFI, as a machine whose disk was captured had them; an image may do without."""
_SHA256 = re.compile("[0-9a-f]{64}")


class Firmware(StrEnum):
    """How a guest begins. KERNEL: its kernel is started by itself, and no boot loader."""

    BIOS = "BIOS"
    UEFI = "UEFI"
    KERNEL = "KERNEL"


class Board(StrEnum):
    """The machine that a guest sees. MICROVM: without PCI and firmware, for kernels that need neither."""

    Q35 = "Q35"
    MICROVM = "MICROVM"


class DiskFormat(StrEnum):
    QCOW2 = "QCOW2"
    RAW = "RAW"


class Acceleration(StrEnum):
    """What a host runs virtual machines with. TCG: every instruction is translated, which is many times slower."""

    KVM = "kvm"
    TCG = "tcg"
    NONE = "none"


class Power(StrEnum):
    """Whether a virtual machine is to run."""

    ON = "on"
    OFF = "off"


OVERHEAD_BYTES = 96 << 20
"""What a virtual machine takes of its host's memory beside its guest's: QEMU itself has some 40 MB, and where there is
no KVM the instructions that it has translated lie beside that.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePart:
    """One file of an image. `sha256`: 64 hex digits, of the whole file; `size`: in bytes."""

    name: PartName
    sha256: str
    size: int

    def __post_init__(self) -> None:
        if not _SHA256.fullmatch(self.sha256):
            raise ValueError(f"sha256 of a part has 64 hex digits, not {self.sha256[:70]!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineImage:
    """An image as it was found for a reference, for ever. `id`: of `image_id`. `reference`:
    "<stack-slug>/<family>:<tag>". `disk_bytes`: how large the root disk looks to the guest. `cmdline`: of the kernel,
    where that is started by itself.
    """

    id: str
    reference: str
    parts: tuple[ImagePart, ...]
    disk_format: DiskFormat
    disk_bytes: int
    firmware: Firmware
    board: Board
    cmdline: str = ""

    def part(self, name: PartName) -> ImagePart | None:
        return next((part for part in self.parts if part.name == name), None)

    @property
    def size(self) -> int:
        """Of all its files, in bytes."""
        return sum(part.size for part in self.parts)


def image_id(
    *,
    parts: Iterable[ImagePart],
    disk_format: DiskFormat,
    disk_bytes: int,
    firmware: Firmware,
    board: Board,
    cmdline: str = "",
) -> str:
    """The id of an image with this content: 64 hex digits, the SHA-256 of its canonical JSON. Two references to the
    same content have one id.
    """
    content: dict[str, Any] = {
        "parts": sorted((part.name, part.sha256, part.size) for part in parts),
        "disk_format": disk_format,
        "disk_bytes": disk_bytes,
        "firmware": firmware,
        "board": board,
        "cmdline": cmdline,
    }
    return sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def machine_image(
    reference: str,
    *,
    parts: Iterable[ImagePart],
    disk_format: DiskFormat,
    disk_bytes: int,
    firmware: Firmware,
    board: Board,
    cmdline: str = "",
) -> MachineImage:
    """An image with the id of its content."""
    given = tuple(parts)
    return MachineImage(
        id=image_id(
            parts=given,
            disk_format=disk_format,
            disk_bytes=disk_bytes,
            firmware=firmware,
            board=board,
            cmdline=cmdline,
        ),
        reference=reference,
        parts=given,
        disk_format=disk_format,
        disk_bytes=disk_bytes,
        firmware=firmware,
        board=board,
        cmdline=cmdline,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What a virtual machine has beside what every container has. `image` None: the reference in `Container.image` was
    not looked up yet; an order always has it. `user_data`: base64, as it was declared; it may hold passwords.
    """

    image: MachineImage | None = None
    user_data: str = field(default="", repr=False)
    ssh_keys: tuple[str, ...] = ()
