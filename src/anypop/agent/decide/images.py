"""Which images nobody needs any more. Pure.

In: what was fetched from registries here, each order, the instances on their way out. Out: the images that may go. One
stays as long as an incarnation is made of it, running or draining, and as long as it is of the workload's revision
before this one, to which people go back. What this agent has not fetched is somebody else's and is never named.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from anypop.model.order import InstanceOrder, Order
from anypop.model.surroundings import repository_of

KEPT_REVISIONS = 2  # the one that runs, and the one before it


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageBook:
    """`fetched`: names, and ids of what lost its name to a newer one. `used`: for each workload that has instances
    here the images of its latest revisions here, the newest first. `proved`: for each repository from which something
    came with a password, the stacks whose own password opened it, and "" where it opens without: nobody gets an image
    because somebody else could pull it.
    """

    fetched: frozenset[str] = frozenset()
    used: Mapping[str, tuple[tuple[str, ...], ...]] = field(default_factory=dict)
    proved: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


EMPTY = ImageBook()


def turned(book: ImageBook, order: Order, leaving: Iterable[InstanceOrder]) -> ImageBook:
    """The book after a new order. A workload without instances here has no revisions here."""
    newest: dict[str, InstanceOrder] = {}
    for one in sorted(order.instances, key=lambda i: i.revision):
        newest[one.workload_id] = one
    used = {w: _with(book.used.get(w, ()), images_of(one)) for w, one in newest.items()}
    for one in leaving:
        used.setdefault(one.workload_id, book.used.get(one.workload_id, ()))
    return replace(book, used=used)


def fetched(book: ImageBook, images: Collection[str]) -> ImageBook:
    """These came from a registry."""
    return replace(book, fetched=book.fetched | set(images)) if set(images) - book.fetched else book


def dropped(book: ImageBook, image: str) -> ImageBook:
    """It is gone; what was proved for its repository is forgotten with the last of it."""
    left = book.fetched - {image}
    if not book.proved:
        return replace(book, fetched=left)
    there = {repository_of(one) for one in left}
    return replace(book, fetched=left, proved={r: who for r, who in book.proved.items() if r in there})


def may_use(book: ImageBook, image: str, whose: str) -> bool:
    """Whether an image that is here is `whose` to use without asking its registry: a stack's that has a password for
    it, or "" for anybody's who has none.
    """
    proofs = book.proved.get(repository_of(image), ()) if book.proved else ()
    return whose in proofs if whose or proofs else True


def proved(book: ImageBook, image: str, whose: str) -> ImageBook:
    """Its registry has just given it to `whose`."""
    repository = repository_of(image)
    known = book.proved.get(repository, ())
    if whose in known or not (whose or known):
        return book
    return replace(book, proved={**book.proved, repository: (*known, whose)})


def unneeded(book: ImageBook, instances: Iterable[InstanceOrder], ids: Collection[str]) -> list[str]:
    """What may go. `instances`: all that are ordered or on their way out; `ids`: of images that containers here are
    made of, or are about to be made of again.
    """
    if not book.fetched:
        return []
    known = tuple(instances)
    here = {one.workload_id for one in known}  # the book is turned with an order, and the last one goes after that
    needed = {image for w, sets in book.used.items() if w in here for images in sets for image in images}
    needed |= {image for one in known for image in images_of(one)}
    return sorted(book.fetched - needed - set(ids))


def idle_since(idle: Collection[str], before: Mapping[str, float], now: float) -> Mapping[str, float]:
    """Since when nobody needs each of them; the very same where nothing is new."""
    if before.keys() == set(idle):
        return before
    return {image: before.get(image, now) for image in idle}


def images_of(one: InstanceOrder) -> tuple[str, ...]:
    own = {container.image_key for container in one.every_container}
    return tuple(sorted(own if one.rescue is None else {*own, one.rescue.id}))


def _with(before: tuple[tuple[str, ...], ...], now: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    return (now, *(images for images in before if images != now))[:KEPT_REVISIONS]
