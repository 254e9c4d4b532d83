"""Who needs which image of virtual machines, and what an image is for a host. Pure.

In: images, workloads, orders, all that control knows. Out: contents, and the files that are needed, by sha256; which
host may have one, and which have it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from hashlib import blake2b
from itertools import islice

from anypop.control.image_rows import ImageState, StoredImage
from anypop.control.state import State
from anypop.model.machine import ImagePart, MachineImage, machine_image
from anypop.model.names import HostName
from anypop.model.order import Order
from anypop.model.report import Phase
from anypop.model.workload import Workload

MOST_HOLDERS = 4
"""Of which a host is told: it asks one after the other, and then control."""


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


def needs(state: State, host: HostName, sha256: str) -> bool:
    """Whether the host's order names this file: only then it may have it."""
    issued = state.orders.get(host)
    return issued is not None and sha256 in named_by(issued.order)


def holders(state: State, taker: HostName, sha256: str) -> list[HostName]:
    """The other hosts that have this file, as far as one may believe what they tell: a machine runs there of an order
    that names it. Those of the taker's PoP first, and each taker by another one first. Where nobody of its PoP has it,
    the one that is to get it for all of them comes first: it gives what it has while it comes.
    """
    pops = {host.name: pop.city for pop, host in state.network.hosts()}
    others = sorted(pops.keys() - {taker}, key=lambda host: (pops[host] != pops.get(taker), _turn(taker, host)))
    found = list(islice((host for host in others if _runs(state, host, sha256)), MOST_HOLDERS))
    if not found or pops[found[0]] != pops.get(taker):
        beside = [host for host, pop in pops.items() if pop == pops.get(taker) and needs(state, host, sha256)]
        begins = min((host for host in beside if _is_heard(state, host)), key=partial(_turn, sha256), default=taker)
        found = found if begins == taker else [begins, *found][:MOST_HOLDERS]
    return found


def _runs(state: State, host: HostName, sha256: str) -> bool:
    issued, received = state.orders.get(host), state.reports.get(host)
    if issued is None or received is None or not _is_heard(state, host):
        return False
    running = {one.uid for one in received.report.instances if one.phase is Phase.RUNNING}
    own = tuple(one for one in issued.order.instances if one.uid in running)
    return bool(own) and sha256 in named_by(replace(issued.order, instances=own))


def _is_heard(state: State, host: HostName) -> bool:
    verdict = state.verdict.hosts.get(host)
    return verdict is not None and verdict.trusted


def _turn(of: str, host: HostName) -> bytes:
    return blake2b(f"{of}/{host}".encode(), digest_size=8).digest()


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
