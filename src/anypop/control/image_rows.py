"""The table of images of virtual machines: one row for each tag of a family of a stack.

In: images as values. Out: the same, read back. It knows no file and decides nothing; what one image is while it comes,
and afterwards, is said here once. Blocking.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from anypop.control.audit import Noted
from anypop.control.refusals import Exists
from anypop.control.schema import machine_images as table
from anypop.control.store import Store
from anypop.model.codec import from_json, to_json
from anypop.model.errors import WorldError
from anypop.model.machine import Board, DiskFormat, Firmware, PartName
from anypop.model.names import HostName, InstanceName, StackId


class ImageState(StrEnum):
    IMPORTING = "IMPORTING"
    READY = "READY"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True, kw_only=True)
class CapturedFrom:
    """A disk of a virtual machine, the incarnation `uid` on `host`. `claim`: of a volume; empty: its root disk."""

    instance: InstanceName
    uid: str
    host: HostName
    claim: str = ""

    def __str__(self) -> str:
        return f"{self.instance}:{self.claim}" if self.claim else self.instance


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPart:
    """`size` None and `sha256` empty: not known before it is here. `url`: where control fetches it; `captured`: whose
    disk its host copies and sends; neither: it is sent. `whole`: all of it is here, and it is what was said of it.
    """

    name: PartName
    size: int | None = None
    sha256: str = ""
    url: str = ""
    captured: CapturedFrom | None = None
    whole: bool = False

    @property
    def is_sent(self) -> bool:
        """By whoever has made the image."""
        return not self.url and self.captured is None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredImage:
    """`reason`: why it FAILED. `disk_bytes`: how large its disk looks to a guest; 0 where it has none, or is not here.
    `deprecated_at` None: it may be meant by its family alone.
    """

    id: str
    stack_id: StackId
    family: str
    tag: str
    description: str = ""
    firmware: Firmware
    board: Board
    cmdline: str = ""
    parts: tuple[StoredPart, ...]
    state: ImageState = ImageState.IMPORTING
    reason: str = ""
    disk_format: DiskFormat = DiskFormat.RAW
    disk_bytes: int = 0
    created_at: float
    updated_at: float
    deprecated_at: float | None = None
    deprecation: str = ""

    @property
    def name(self) -> str:
        return f"{self.family}:{self.tag}"

    @property
    def bytes(self) -> int:
        """What counts against a quota: as much as was said, before it is here."""
        return sum(part.size or 0 for part in self.parts)


def key_of(image: StoredImage, part: str) -> str:
    """How `image_files` calls a part on its way."""
    return f"{image.id}-{part}"


def shown(url: str) -> str:
    """Without what may be a secret."""
    return url.partition("?")[0]


class ImageRows:
    def __init__(self, store: Store) -> None:
        self._store = store

    def all(self) -> list[StoredImage]:
        with self._store.reading() as link:
            return [from_json(StoredImage, body) for body in link.execute(select(table.c.body)).scalars()]

    def of(self, stacks: Collection[StackId], family: str = "") -> list[StoredImage]:
        """Of these stacks, by family, the newest first."""
        query = select(table.c.body).where(table.c.stack_id.in_(stacks))
        if family:
            query = query.where(table.c.family == family)
        with self._store.reading() as link:
            found = [from_json(StoredImage, body) for body in link.execute(query).scalars()]
        return sorted(found, key=lambda i: (i.family, -i.created_at, i.tag))

    def by_id(self, id_: str) -> StoredImage | None:
        with self._store.reading() as link:
            body = link.execute(select(table.c.body).where(table.c.id == id_)).scalar()
        return from_json(StoredImage, body) if body is not None else None

    def insert(self, image: StoredImage, noted: Noted) -> None:
        """Raises `Exists` where the tag is taken."""
        try:
            with self._store.writing(noted=noted) as link:
                link.execute(
                    insert(table).values(
                        id=image.id, stack_id=image.stack_id, family=image.family, tag=image.tag,
                        body=to_json(image).decode(),
                    )
                )  # fmt: skip
        except WorldError as error:
            if isinstance(error.__cause__, IntegrityError):
                raise Exists(f"there is an image {image.name} already") from error
            raise

    def change(
        self, id_: str, change: Callable[[StoredImage], StoredImage], noted: Noted | None = None
    ) -> StoredImage | None:
        """What it is then; None where it is gone."""
        with self._store.writing(noted=noted) as link:
            query = select(table.c.body).where(table.c.id == id_).with_for_update()
            body = link.execute(query).scalar()
            if body is None:
                return None
            after = change(from_json(StoredImage, body))
            link.execute(update(table).where(table.c.id == id_).values(body=to_json(after).decode()))
        return after

    def delete(self, ids: Collection[str], noted: Noted) -> None:
        with self._store.writing(noted=noted) as link:
            link.execute(delete(table).where(table.c.id.in_(ids)))
