"""Who needs which image of virtual machines, and what an image is for a host. Pure.

In: images, workloads, orders, all that control knows. Out: contents, and the files that are needed, by sha256.
"""

from collections.abc import Iterable, Iterator

from anypop.control.image_rows import ImageState, StoredImage
from anypop.control.state import State
from anypop.model.machine import ImagePart, MachineImage, machine_image
from anypop.model.order import Order
from anypop.model.workload import Workload


def content_of(image: StoredImage, slug: str) -> MachineImage:
    """A READY image as orders have it."""
    return machine_image(
        f"{slug}/{image.name}",
        parts=tuple(ImagePart(name=p.name, sha256=p.sha256, size=p.size or 0) for p in image.parts),
        disk_format=image.disk_format, disk_bytes=image.disk_bytes,
        firmware=image.firmware, board=image.board, cmdline=image.cmdline,
    )  # fmt: skip


def images_of(workload: Workload) -> Iterator[MachineImage]:
    """Those that its virtual machines are made of."""
    for container in workload.containers:
        if container.machine is not None and container.machine.image is not None:
            yield container.machine.image


def named_by(order: Order) -> frozenset[str]:
    """The files that a host needs for its order, by sha256."""
    return frozenset(
        part.sha256
        for instance in order.instances
        for image in (*(c.machine.image for c in instance.containers if c.machine is not None), instance.rescue)
        if image is not None
        for part in image.parts
    )


def in_use(state: State) -> set[str]:
    """The files that what is declared, was declared and can come back, or runs, needs."""
    workloads = [d.workload for d in state.workloads.values()] + [r.workload for r in state.revisions.values()]
    found = {part.sha256 for workload in workloads for image in images_of(workload) for part in image.parts}
    return found.union(*(named_by(issued.order) for issued in state.orders.values()))


def bytes_of(images: Iterable[StoredImage]) -> int:
    """What they take of a quota: what several of them have in common counts once."""
    told: dict[str, int] = {}
    for image in images:
        for part in image.parts if image.state is not ImageState.FAILED else ():
            told[part.sha256 or f"{image.id}-{part.name}"] = part.size or 0
    return sum(told.values())
