"""The variables of UEFI of one machine: which loader it begins by, and what else its firmware keeps.

In: the file that its firmware writes, or the one of an image. Out: a copy. Each machine has a file of its own; what its
guest puts there is nobody else's, and is read by no program of the host. Whoever has broken out of a guest into QEMU
may have put anything in its place: no link is followed, and no more is read than the firmware of this host has.
"""

import os
import shutil
import stat
from pathlib import Path

from anypop.agent.act.instances.machines.arguments import UEFI_VARIABLES
from anypop.agent.act.instances.machines.place import FIRMWARE, Place
from anypop.model.errors import WorldError


def give_variables(of_image: Path | None, file: Path) -> None:
    """Make `file`: those of the image, or new ones. Raises `WorldError`, and OSError."""
    size = Path(UEFI_VARIABLES).stat().st_size
    if of_image is not None and (found := of_image.stat().st_size) != size:
        why = f"they have {found} bytes, and the firmware of this host takes {size}"
        raise WorldError("use the variables of UEFI of an image", why)
    shutil.copyfile(of_image or UEFI_VARIABLES, file)


def variables_of(place: Place) -> bytes:
    """Those of a machine as they are now. A guest that writes to them meanwhile is as after a power cut: its firmware
    expects that. Raises `WorldError`.
    """
    what = "copy the variables of UEFI of a machine"
    try:
        size = Path(UEFI_VARIABLES).stat().st_size
        handle = os.open(place.own / FIRMWARE, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as opened:
            told = os.fstat(handle)
            if stat.S_ISREG(told.st_mode) and told.st_size == size:
                return opened.read(size)
    except OSError as error:
        raise WorldError(what, error.strerror or str(error)) from error
    raise WorldError(what, "its file is not what the firmware of this host has")
