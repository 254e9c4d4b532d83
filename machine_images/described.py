"""`image.json`: what an image is, beside its parts.

In: a folder with `kernel`, `initrd` and `disk.qcow2` or `disk.raw`, as far as it has them. Out: the same fields as
`MachineImage`, and of each part the name of its file.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from anypop.model.machine import Board, DiskFormat, Firmware, ImagePart, PartName, machine_image

_FILES: dict[PartName, str] = {"disk": "disk.qcow2", "kernel": "kernel", "initrd": "initrd"}


def describe(
    folder: Path, *, reference: str, disk_bytes: int, firmware: Firmware, board: Board, cmdline: str = ""
) -> str:
    """Writes it, and gives its id."""
    parts = [_part(name, folder / file) for name, file in _FILES.items() if (folder / file).exists()]
    image = machine_image(
        reference,
        parts=parts,
        disk_format=DiskFormat.QCOW2,
        disk_bytes=disk_bytes,
        firmware=firmware,
        board=board,
        cmdline=cmdline,
    )
    told: dict[str, Any] = {
        "id": image.id,
        "reference": image.reference,
        "parts": [{"name": p.name, "file": _FILES[p.name], "sha256": p.sha256, "size": p.size} for p in image.parts],
        "disk_format": image.disk_format,
        "disk_bytes": image.disk_bytes,
        "firmware": image.firmware,
        "board": image.board,
        "cmdline": image.cmdline,
    }
    (folder / "image.json").write_text(json.dumps(told, indent=2) + "\n")
    return image.id


def _part(name: PartName, file: Path) -> ImagePart:
    with file.open("rb") as opened:
        return ImagePart(name=name, sha256=hashlib.file_digest(opened, "sha256").hexdigest(), size=file.stat().st_size)
