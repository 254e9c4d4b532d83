"""How an image of virtual machines gets from IMPORTING to READY or FAILED: fetched, verified, looked into.

In: images whose bytes are sent, that have a URL, or that are a disk of a machine. Out: rows and files as they are then.
Each look begins with what is there, so that it may be stopped at any moment and goes on at the next start. Blocking: in
threads of `image_jobs`.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import replace

from anypop.control import outside
from anypop.control.image_capture import Captures, Taking
from anypop.control.image_download import Ends, Stopped, download
from anypop.control.image_files import ImageFiles
from anypop.control.image_jobs import ImageJobs
from anypop.control.image_rows import CapturedFrom, ImageRows, ImageState, StoredImage, StoredPart, key_of, shown
from anypop.control.log_sinks import inside
from anypop.control.refusals import Refused
from anypop.control.state import State
from anypop.model.disk_header import Disk, check_part
from anypop.model.errors import Invalid, WorldError

MOST_PART_BYTES = 1 << 38  # 256 GiB

log = logging.getLogger("anypop.control")


class ImageBringing:
    """`state`: what control knows now; `may_be`: raises `OverQuota` where an image as it would be is too large for its
    account; `captures`: gets disks of machines from their hosts.
    """

    def __init__(
        self, rows: ImageRows, files: ImageFiles, clock: Callable[[], float], *, state: Callable[[], State],
        may_be: Callable[[StoredImage], None], captures: Captures,
    ) -> None:  # fmt: skip
        self.jobs, self._captures = ImageJobs(), captures
        self.copied: dict[str, tuple[int, int]] = {}
        """How many percent their hosts have copied of disks that are captured now, and how often each had to begin
        anew, by the ids of the images.
        """
        self._rows, self._files, self._clock, self._state, self._may_be = rows, files, clock, state, may_be

    def go_on(self, account: str, image: StoredImage) -> None:
        """Soon, in a thread. One that waits for a host holds up no other import of the account."""
        if any(part.captured is not None and not part.whole for part in image.parts):
            account = f"{account} captures"
        self.jobs.begin(account, image.id, lambda: self._bring(image.id))

    def fail(self, id_: str, why: str) -> None:
        image = self._rows.change(
            id_, lambda i: replace(
                i, state=ImageState.FAILED, reason=why, updated_at=self._clock(),
                parts=tuple(replace(p, url=shown(p.url)) for p in i.parts),
            )
        )  # fmt: skip
        if image is not None:
            log.info("the image %s of stack %s has failed: %s", image.name, image.stack_id, why)
            for part in image.parts:
                self._files.forget(key_of(image, part.name))
            self._let_go(image)

    def _bring(self, id_: str) -> None:
        """As far as an image comes now: to its end, or to where the next bytes must be sent."""
        image = self._rows.by_id(id_)
        if image is None or image.state is not ImageState.IMPORTING:
            return
        try:
            for part in image.parts:
                if part.whole:
                    continue
                if part.url:
                    self._fetch(image, part)
                elif part.captured is not None:
                    part = self._capture(image, part, part.captured)  # noqa: PLW2901 - its size is known now
                if not part.is_sent or self._files.received(key_of(image, part.name)) == part.size:
                    self._verify(image, part)
            after = self._rows.by_id(id_)
            if after is not None and all(p.whole for p in after.parts):
                self._ready(after)
        except Stopped:
            return
        except Invalid as error:
            self.fail(id_, "; ".join(p.message for p in error.problems))
        except (WorldError, Refused) as error:
            self.fail(id_, str(error))
        except OSError as error:
            self.fail(id_, error.strerror or str(error))

    def _fetch(self, image: StoredImage, part: StoredPart) -> None:
        key, network = key_of(image, part.name), self._state().network

        def told(size: int) -> None:
            if size > MOST_PART_BYTES:
                raise Invalid.one("", f"the {part.name} has {size} bytes; a part may have {MOST_PART_BYTES}")
            self._files.look_for_room(size - self._files.received(key))
            sized = replace(part, size=size)
            self._may_be(_with(image, sized))
            if self._rows.change(image.id, lambda i: _with(i, sized)) is None:
                raise Stopped

        ends = Ends(
            place=lambda url: outside.place_of(url, listed=network.instances.registries, inside=inside(network)),
            received=lambda: self._files.received(key),
            append=lambda at, data: self._files.append(key, at, data, synced=False),
            begin_anew=lambda: self._files.forget(key),
            told=_seldom(told),
            stopped=self._stopped(image.id),
            pinned=bool(part.sha256),
        )
        try:
            download(part.url, ends)
        except Invalid as error:
            raise Invalid.one("", f"the {part.name}: " + "; ".join(p.message for p in error.problems)) from error

    def _capture(self, image: StoredImage, part: StoredPart, source: CapturedFrom) -> StoredPart:
        """The part with the size and checksum that its host has told."""
        key, came = key_of(image, part.name), part

        def told(size: int, sha256: str) -> None:
            nonlocal came
            if size > MOST_PART_BYTES:
                raise Invalid.one("", f"the {part.name} has {size} bytes; a part may have {MOST_PART_BYTES}")
            self._files.look_for_room(size - self._files.received(key))
            sized = replace(came, size=size, sha256=sha256)
            self._may_be(_with(image, sized))
            if self._rows.change(image.id, lambda i: _with(i, sized)) is None:
                raise Stopped
            came = sized

        taking = Taking(
            received=lambda: self._files.received(key),
            append=lambda at, data: self._files.append(key, at, data, synced=False),
            begin_anew=lambda: self._files.forget(key),
            told=told,
            copied=lambda percent, anew: self.copied.update({image.id: (percent, anew)}),
            stopped=self._stopped(image.id),
        )
        try:
            self._captures.take(image.id, part, source, taking)
        except Stopped:
            if not self.jobs.stopped:  # the image is gone
                self._let_go(image)
            raise
        finally:
            self.copied.pop(image.id, None)
        return came

    def _let_go(self, image: StoredImage) -> None:
        """Once for all of its parts: they are one copy."""
        source = next((part.captured for part in image.parts if part.captured is not None), None)
        if source is not None:
            self._captures.let_go(image.id, source)

    def _stopped(self, id_: str) -> Callable[[], bool]:
        """Whether control ends, or nobody wants it any more; the store is asked for that once a second."""
        looked = -1.0

        def stopped() -> bool:
            nonlocal looked
            if self.jobs.stopped or time.monotonic() - looked < 1:
                return self.jobs.stopped
            looked = time.monotonic()
            return self._rows.by_id(id_) is None

        return stopped

    def _verify(self, image: StoredImage, part: StoredPart) -> None:
        """A part that is all here: is it what was said, and what may be opened? Raises `Invalid`, and OSError."""
        key = key_of(image, part.name)
        size, found = self._files.received(key), self._files.digest(key)
        if part.sha256 and found != part.sha256:
            raise Invalid.one("", f"the {part.name} has another checksum: {found}, not {part.sha256}")
        disk = _looked_into(part, self._files.head(key), size)
        self._files.settle(key, found)
        whole = replace(part, size=size, sha256=found, url=shown(part.url), whole=True)
        after = self._rows.change(image.id, lambda i: _described(_with(i, whole), disk))
        if after is None or all(p.whole for p in after.parts if p.captured is not None):
            self._let_go(image)

    def _ready(self, image: StoredImage) -> None:
        """A disk that was here before, as a part of another image, was not looked into for this one."""
        part = next((p for p in image.parts if p.name == "disk"), None)
        disk = None
        if part is not None and not image.disk_bytes:
            disk = _looked_into(part, self._files.head_of(part.sha256), part.size or 0)
        now = self._clock()
        self._rows.change(
            image.id, lambda i: replace(_described(i, disk), state=ImageState.READY, updated_at=now)
        )  # fmt: skip
        log.info("the image %s of stack %s is ready", image.name, image.stack_id)


def _looked_into(part: StoredPart, head: bytes, size: int) -> Disk | None:
    try:
        return check_part(part.name, head, size)
    except Invalid as error:
        raise Invalid.one("", f"the {part.name} " + "; ".join(p.message for p in error.problems)) from error


def _with(image: StoredImage, part: StoredPart) -> StoredImage:
    return replace(image, parts=tuple(part if p.name == part.name else p for p in image.parts))


def _described(image: StoredImage, disk: Disk | None) -> StoredImage:
    return image if disk is None else replace(image, disk_format=disk.format, disk_bytes=disk.virtual_bytes)


def _seldom(told: Callable[[int], None]) -> Callable[[int], None]:
    """Where a size is told with every piece: passed on after each 64 MiB more."""
    asked = 0

    def seldom(size: int) -> None:
        nonlocal asked
        if size >= asked:
            told(size)
            asked = size + (64 << 20)

    return seldom
