"""Images of virtual machines: what people ask of them, and the content that a reference means.

In: what people ask, and bytes. Out: images by family and tag; for a workload the very content that its reference means
now. An image is IMPORTING until all its parts are here with their checksums and their headers passed
(`image_bringing`), then READY for ever, or FAILED with the reason. What it consists of never changes: another content
is another tag. Blocking.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock
from uuid import uuid4

from anypop.control.audit import Noted
from anypop.control.image_bringing import ImageBringing
from anypop.control.image_capture import Captures
from anypop.control.image_files import ImageFiles
from anypop.control.image_rows import ImageRows, ImageState, StoredImage, StoredPart, key_of, shown
from anypop.control.image_uses import bytes_of, content_of, images_of, in_use
from anypop.control.refusals import Busy, NotFound, Precondition
from anypop.control.state import State
from anypop.control.store import Store
from anypop.model.errors import Invalid
from anypop.model.image_names import reference_of
from anypop.model.machine import Board, Firmware, MachineImage, PartName
from anypop.model.names import StackId

MOST_IMAGES = 200  # of one stack
MOST_NAMED = 5
IDLE_S = 86_400.0  # an upload that nobody goes on with is given up
REST_S = 3600.0  # a file that nobody needs any more stays so long: somebody may be about to declare it


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Whose an image is. `slug`: of the stack; `stacks`: all of the account, which share a quota, and who need not
    send twice what one of them has.
    """

    account: str
    stack: StackId
    slug: str
    stacks: Collection[StackId]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What somebody asks for, checked in itself. `given`: the sizes of contents that the account has already, although
    no image of it may have them any more: those of an image that a machine runs with.
    """

    description: str
    firmware: Firmware
    board: Board
    cmdline: str
    parts: tuple[StoredPart, ...]
    given: Mapping[str, int] = field(default_factory=dict)


Sizes = Callable[[Owner, tuple[int, int], tuple[int, int]], None]


class MachineImages:
    """`state`: what control knows now; `owner_of`: whose a stack is, None where it is gone; `within_quota`: raises
    `OverQuota` for the bytes of an account and of a stack, each before and after; `captures`: gets disks of machines
    from their hosts.
    """

    def __init__(
        self, store: Store, folder: Path, clock: Callable[[], float], *, state: Callable[[], State],
        owner_of: Callable[[StackId], Owner | None], within_quota: Sizes, captures: Captures,
    ) -> None:  # fmt: skip
        self.files = ImageFiles(folder)
        self._store, self._rows, self._clock, self._state = store, ImageRows(store), clock, state
        self._owner_of, self._within_quota = owner_of, within_quota
        self._bringing = ImageBringing(
            self._rows, self.files, clock, state=state, may_be=self._may_be, captures=captures
        )
        self._one_by_one = Lock()
        self._written: set[str] = set()

    def of(self, stacks: Collection[StackId], family: str = "") -> list[StoredImage]:
        """By family, the newest first."""
        return self._rows.of(stacks, family)

    def one(self, stack: StackId, family: str, tag: str) -> StoredImage:
        """Raises `NotFound`."""
        for image in self._rows.of([stack], family):
            if image.tag == tag:
                return image
        raise NotFound(f"no image {family}:{tag} on this stack")

    def received(self, image: StoredImage, part: StoredPart) -> int:
        """How much of a part is here."""
        return part.size or 0 if part.whole else self.files.received(key_of(image, part.name))

    def copied(self, image: StoredImage) -> tuple[int | None, int | None]:
        """How many percent its host has copied of a disk that is captured, and how often it has begun anew; None: it
        copies none now, and has begun it once.
        """
        percent, anew = self._bringing.copied.get(image.id, (None, None))
        return percent, anew or None

    def create(self, owner: Owner, family: str, tag: str, wanted: Wanted) -> StoredImage:
        """One that FAILED is replaced. What the account has already need not be sent again; what only others have must
        be, since who knows a checksum need not know the content. Raises `Exists`, `OverQuota`, `Precondition`.
        """
        now = self._clock()
        with self._one_by_one:
            mine = self._rows.of(owner.stacks)
            own = [i for i in mine if i.stack_id == owner.stack]
            former = [i for i in own if i.name == f"{family}:{tag}" and i.state is ImageState.FAILED]
            if len(own) - len(former) >= MOST_IMAGES:
                raise Precondition(f"this stack has {MOST_IMAGES} images: delete one first")
            had = dict(wanted.given) | {p.sha256: p.size or 0 for i in mine for p in i.parts if p.whole}
            image = StoredImage(
                id=str(uuid4()), stack_id=owner.stack, family=family, tag=tag, description=wanted.description,
                firmware=wanted.firmware, board=wanted.board, cmdline=wanted.cmdline,
                parts=tuple(
                    replace(p, size=had[p.sha256], url="", whole=True)
                    if p.sha256 in had and self.files.rested(p.sha256) else p
                    for p in wanted.parts
                ),
                created_at=now, updated_at=now,
            )  # fmt: skip
            if gone := [p.name for p in image.parts if p.sha256 in wanted.given and not p.whole]:
                raise Precondition(f"control does not have the {' and the '.join(gone)} of its machine any more")
            self._may_be(image)
            self.files.look_for_room(sum(p.size or 0 for p in image.parts if not p.whole))
            self._delete(former)
            parts = {p.name: str(p.captured or "") or p.sha256 or shown(p.url) for p in image.parts}
            became = {"image": image.name, "parts": parts}
            self._rows.insert(image, Noted(subject=image.name, stack_id=owner.stack, became=became))
        self._bringing.go_on(owner.account, image)
        return image

    def describe(self, image: StoredImage, description: str) -> StoredImage:
        was, became = {"description": image.description}, {"description": description}
        return self._changed(image, lambda i: replace(i, description=description), was, became)

    def deprecate(self, image: StoredImage, why: str | None) -> StoredImage:
        """`why` None: it is not deprecated any more."""
        now = self._clock()

        def deprecated(one: StoredImage) -> StoredImage:
            at = None if why is None else now if one.deprecated_at is None else one.deprecated_at
            return replace(one, deprecated_at=at, deprecation=why or "")

        was = {"deprecated": image.deprecated_at is not None}
        return self._changed(image, deprecated, was, {"deprecated": why is not None, "why": why})

    def delete(self, owner: Owner, images: Collection[StoredImage]) -> None:
        """All or none. Raises `Precondition` where one is in use, saying by whom."""
        users = [f"{i.name} is in use by {user}" for i in images for user in self._users(owner, i)]
        if users:
            more = f"; and {len(users) - MOST_NAMED} more" if len(users) > MOST_NAMED else ""
            raise Precondition("; ".join(users[:MOST_NAMED]) + more)
        self._delete(images)

    def write(self, owner: Owner, image: StoredImage, name: PartName, offset: int, data: bytes) -> int:
        """The next bytes of a part that is sent: how many are here then. Raises `Refused`, `WorldError`."""
        part = next((p for p in image.parts if p.name == name), None)
        if part is None:
            raise NotFound(f"{image.name} has no {name}")
        if image.state is not ImageState.IMPORTING or part.whole or not part.is_sent:
            comes = f"it is {image.state}" if part.is_sent else "it comes from elsewhere"
            here = "all of it is here" if part.whole else "control fetches it" if part.url else comes
            raise Precondition(f"{image.name} takes no bytes of its {name}: {here}")
        if offset + len(data) > (part.size or 0):
            raise Precondition(f"the {name} has {part.size} bytes, as was said: {offset + len(data)} are more")
        key = key_of(image, name)
        with self._alone(key):
            here_now = self.files.append(key, offset, data)
        if here_now == part.size:  # one entry for a part, not for each of thousands of pieces
            self._store.note(Noted(subject=image.name, stack_id=image.stack_id, became={name: part.sha256}))
            self._bringing.go_on(owner.account, image)
        return here_now

    def resolve(self, reference: str, stacks: Iterable[tuple[StackId, str]], path: str) -> MachineImage:
        """The content that a reference means now: of its tag, else of the newest that is READY and not deprecated.
        `stacks`: those whose images may be used, by id and slug. Raises `Invalid` with the path.
        """
        named = reference_of(reference)
        if named is None:
            raise Invalid.one(path, "must be <stack>/<family> or <stack>/<family>:<tag>")
        stack = next((id_ for id_, slug in stacks if slug == named.stack), None)
        found = self._rows.of([stack], named.family) if stack is not None else []
        found = [i for i in found if named.tag in ("", i.tag)]
        if not found:
            raise Invalid.one(path, f"there is no image {reference} that you may use")
        ready = [i for i in found if i.state is ImageState.READY]
        usable = [i for i in ready if named.tag or i.deprecated_at is None]
        if usable:
            return content_of(max(usable, key=lambda i: (i.created_at, i.tag)), named.stack)
        if ready:
            raise Invalid.one(path, f"all images of {named.family} are deprecated; name one with its tag")
        why = f" ({found[0].reason})" if found[0].reason else ""
        raise Invalid.one(path, f"{found[0].name} is {found[0].state}{why}")

    def begin(self) -> None:
        """Go on with what an earlier life left half done."""
        for image in self._rows.all():
            owner = self._owner_of(image.stack_id) if image.state is ImageState.IMPORTING else None
            if owner is not None:
                self._bringing.go_on(owner.account, image)

    def stop(self) -> None:
        self._bringing.jobs.stop()

    def is_busy(self) -> bool:
        """Whether something is fetched or verified."""
        return self._bringing.jobs.is_busy()

    def collect(self) -> int:
        """Give up what nobody goes on with, and take away files that nobody needs. How many bytes that gives."""
        now = self._clock()
        for image in self._rows.all():
            touched = [self.files.touched(key_of(image, p.name)) or 0.0 for p in image.parts]
            sent = any(not p.whole and p.is_sent for p in image.parts)
            if image.state is ImageState.IMPORTING and sent and max(image.updated_at, *touched) < now - IDLE_S:
                self._bringing.fail(image.id, "it was not sent to its end within a day")
        images = self._rows.all()
        needed = {p.sha256 for i in images if i.state is not ImageState.FAILED for p in i.parts}
        keys = [key_of(i, p.name) for i in images if i.state is ImageState.IMPORTING for p in i.parts]
        return self.files.collect(needed | in_use(self._state()), keys, now - REST_S)

    def _changed(
        self, image: StoredImage, change: Callable[[StoredImage], StoredImage], was: object, became: object
    ) -> StoredImage:
        noted = Noted(subject=image.name, stack_id=image.stack_id, was=was, became=became)
        after = self._rows.change(image.id, change, noted)
        if after is None:
            raise NotFound(f"no image {image.name} on this stack")
        return after

    def _may_be(self, image: StoredImage) -> None:
        """Whether it fits the quotas. Raises `OverQuota`, and `NotFound` where its stack is gone."""
        owner = self._owner_of(image.stack_id)
        if owner is None:
            raise NotFound("its stack is gone")
        mine = [i for i in self._rows.of(owner.stacks) if i.id != image.id]
        own = [i for i in mine if i.stack_id == owner.stack]
        self._within_quota(owner, (bytes_of(mine), bytes_of([*mine, image])), (bytes_of(own), bytes_of([*own, image])))

    def _delete(self, images: Collection[StoredImage]) -> None:
        if not images:
            return
        names = [i.name for i in images]
        noted = Noted(subject=", ".join(names)[:255], stack_id=next(iter(images)).stack_id, was={"images": names})
        self._rows.delete([i.id for i in images], noted)
        for image in images:
            for part in image.parts:
                self.files.forget(key_of(image, part.name))
                if part.whole:  # somebody may be declaring it at this very moment
                    self.files.rested(part.sha256)

    def _users(self, owner: Owner, image: StoredImage) -> Iterator[str]:
        state, reference = self._state(), f"{owner.slug}/{image.name}"
        for declared in state.workloads.values():
            if declared.stack_id not in owner.stacks:
                continue
            if any(found.reference == reference for found in images_of(declared.workload)):
                yield f"workload {declared.workload.slug}"
            for placed in state.incarnations_of(declared.id).values():
                if (rescue := placed.incarnation.rescue) is not None and rescue.reference == reference:
                    yield f"instance {placed.incarnation.name}, which it mends"

    @contextmanager
    def _alone(self, key: str) -> Iterator[None]:
        """Two who write one part at once would each believe in an offset."""
        with self._one_by_one:
            if key in self._written:
                raise Busy("another request writes this part; send one after the other")
            self._written.add(key)
        try:
            yield
        finally:
            with self._one_by_one:
                self._written.discard(key)
