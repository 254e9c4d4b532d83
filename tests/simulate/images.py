"""What programs of simulated images do. The name of an image says it: `good:1`, `crashes:2`, ..., and of virtual
machines `default/good:1`, or the id of such an image.
"""

from enum import StrEnum
from functools import cache
from hashlib import sha256

from anypop.model.machine import Board, DiskFormat, Firmware, ImagePart, MachineImage, machine_image


class Behaviour(StrEnum):
    GOOD = "good"
    SLOW = "slow"  # answers after some seconds
    SICK = "sick"  # runs and never answers
    CRASHES = "crashes"  # ends soon after its start
    EATS_MEMORY = "eats-memory"  # is ended for that
    BREAKS_LATER = "breaks-later"  # answers, and then no more
    ONLY_IPV4 = "only-ipv4"
    NOT_THERE = "not-there"  # no registry has it
    CANNOT_BE_MADE = "cannot-be-made"

    @property
    def serves(self) -> bool:
        """Whether an instance of it is healthy in the end."""
        return self in (Behaviour.GOOD, Behaviour.SLOW, Behaviour.ONLY_IPV4)


_NAMES: dict[str, str] = {}
"""Of images of virtual machines, by id."""


@cache
def machine_image_of(reference: str) -> MachineImage:
    """The image that is meant by a name."""
    disk = ImagePart(name="disk", sha256=sha256(reference.encode()).hexdigest(), size=1 << 20)
    made = machine_image(
        reference, parts=[disk], disk_format=DiskFormat.QCOW2, disk_bytes=1 << 30, firmware=Firmware.BIOS,
        board=Board.Q35,
    )  # fmt: skip
    _NAMES[made.id] = reference
    return made


@cache
def behaviour_of(image: str) -> Behaviour:
    return Behaviour(_NAMES.get(image, image).rpartition("/")[2].partition(":")[0])
