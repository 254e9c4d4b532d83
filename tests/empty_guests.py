"""Virtual machines without a system: QEMU really runs, its firmware finds an empty disk, and waits. For what concerns
the process alone: it is there in a quarter of a second.

Whoever uses them is root, and has made the namespace of their one instance; its tap is made here.
"""

from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from anypop.agent.act.instances.machines.machines import Machines
from anypop.agent.act.instances.machines.place import Place
from anypop.agent.act.network import guests
from anypop.agent.naming import namespace_of
from anypop.host import ip
from anypop.model.machine import Board, DiskFormat, Firmware, ImagePart, Machine, MachineImage, machine_image
from anypop.model.order import Containers, InstanceOrder
from tests.agent_lab import POP, instance, web

DISK_BYTES = 1 << 20


class Kept:
    """Images whose files are in a folder, by the name of each part."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def have(self, image: MachineImage) -> Mapping[str, Path]:
        return {part.name: self._folder / part.name for part in image.parts}

    def fetched(self) -> tuple[str, ...]:
        return ()

    async def drop(self, image: str) -> None:
        raise AssertionError(f"they stay: {image}")


def empty_image(folder: Path, board: Board = Board.Q35, firmware: Firmware = Firmware.BIOS) -> MachineImage:
    """An image of nothing; its file is made."""
    content = b"\0" * DISK_BYTES
    (folder / "disk").write_bytes(content)
    disk = ImagePart(name="disk", sha256=sha256(content).hexdigest(), size=len(content))
    return machine_image(
        "test/empty:1", parts=[disk], disk_format=DiskFormat.RAW, disk_bytes=DISK_BYTES, firmware=firmware, board=board
    )


def machine_order(n: int, image: MachineImage) -> InstanceOrder:
    """Instance number `n`, as a virtual machine."""
    one = web(image.reference, machine=Machine(image=image))
    return replace(instance(n), payload=Containers(containers=(one,)))


def with_further(order: InstanceOrder) -> InstanceOrder:
    """The same with a second interface."""
    second = replace(instance(90).links[0], network="red")
    own = tuple(replace(address, external=None) for address in second.addresses)
    return replace(order, links=(*order.links, replace(second, addresses=own)))


class EmptyGuests:
    """Machines in a folder, and the order of one. `firmware`: which the guest begins with."""

    def __init__(self, folder: Path, *, prefix: str, firmware: Firmware = Firmware.BIOS) -> None:
        self._folder, self._prefix = folder, prefix
        self.order = machine_order(0, empty_image(folder, firmware=firmware))
        namespace = namespace_of(prefix, self.order.uid)
        ip.batch(["link add eth0 type veth peer name far"], netns=namespace)
        guests.furnish(prefix, self.order)

    @property
    def place(self) -> Place:
        return Place(self._folder / "machines" / self.order.uid)

    def machines(self, volumes: Path | None = None) -> Machines:
        """As a new agent sees them."""
        return Machines(
            self._folder / "machines", prefix=self._prefix, pop=POP, volumes=volumes, images=Kept(self._folder),
        )  # fmt: skip
