"""Files of images of virtual machines in control's state folder: what has arrived so far, and what is whole.

In: bytes at an offset, and a checksum when all are there. Out: one file for each content, named by its sha256, however
many images are made of it. What is acknowledged is on disk; a file appears under its name as a whole or not at all, and
only when its checksum is right. Whose a file is, and who needs it, is `machine_images`'. Blocking.
"""

import hashlib
import os
import re
import shutil
import threading
from collections.abc import Collection
from pathlib import Path

from anypop.control.refusals import Precondition
from anypop.model.disk_header import HEAD_BYTES
from anypop.model.errors import WorldError

FOLDER = "machine-images"
# Of the file system that control's database lies on too: so much stays free, whoever brings images.
KEPT_FREE_BYTES = 1 << 30
_WHOLE = re.compile("[0-9a-f]{64}")


class ImageFiles:
    """Below `state`. A `key` names what is on its way: an image's id and a part's name."""

    def __init__(self, state: Path) -> None:
        self._folder = state / FOLDER
        self._moving = threading.Lock()

    def path(self, sha256: str) -> Path:
        """Where a whole file is, or would be."""
        assert _WHOLE.fullmatch(sha256), "it comes from a checked part"
        return self._folder / sha256

    def rested(self, sha256: str) -> bool:
        """Whether it is here; if so, it rests anew before `collect` may take it away."""
        with self._moving:
            try:
                os.utime(self.path(sha256))
            except FileNotFoundError:
                return False
        return True

    def received(self, key: str) -> int:
        """How much of it is here."""
        try:
            return self._part(key).stat().st_size
        except FileNotFoundError:
            return 0

    def touched(self, key: str) -> float | None:
        """When something of it came last; None: nothing has."""
        try:
            return self._part(key).stat().st_mtime
        except FileNotFoundError:
            return None

    def append(self, key: str, offset: int, data: bytes, *, synced: bool = True) -> int:
        """How much is here then. `synced`: it is on disk. Raises `Precondition` where `offset` is not how much is here,
        and `WorldError`.
        """
        here = self.received(key)
        if offset != here:
            raise Precondition(f"{here} bytes of it are here: go on from there, not from {offset}")
        self.look_for_room(len(data))
        try:
            handle = os.open(self._part(key), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            with os.fdopen(handle, "ab", buffering=0) as out:
                try:
                    view = memoryview(data)
                    while view:
                        view = view[out.write(view) :]
                    if synced:
                        os.fsync(out.fileno())
                except OSError:
                    out.truncate(here)
                    raise
        except OSError as error:
            raise WorldError("keep an image", error.strerror or str(error)) from error
        return here + len(data)

    def look_for_room(self, wanted: int) -> None:
        """Raises `WorldError` where so many bytes more would leave too little of the disk."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            free = shutil.disk_usage(self._folder).free
        except OSError as error:
            raise WorldError("keep an image", error.strerror or str(error)) from error
        if free - wanted < KEPT_FREE_BYTES:
            raise WorldError("keep an image", f"control's disk has {free >> 20} MiB left, and needs 1024 for itself")

    def head(self, key: str) -> bytes:
        """The beginning, for `disk_header`. Raises OSError."""
        with self._part(key).open("rb") as file:
            return file.read(HEAD_BYTES)

    def head_of(self, sha256: str) -> bytes:
        """The same of a whole file. Raises OSError."""
        with self.path(sha256).open("rb") as file:
            return file.read(HEAD_BYTES)

    def digest(self, key: str) -> str:
        """The sha256 of what is here. Raises OSError."""
        with self._part(key).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def settle(self, key: str, sha256: str) -> None:
        """What is here has this checksum: put it under its name, on disk. Raises `WorldError`."""
        part = self._part(key)
        try:
            with part.open("rb") as file:
                os.fsync(file.fileno())
            with self._moving:
                os.utime(part)  # it rests from now on, before anybody may find it unneeded
                part.replace(self.path(sha256))
            self._sync_folder()
        except OSError as error:
            raise WorldError("keep an image", error.strerror or str(error)) from error

    def forget(self, key: str) -> None:
        self._part(key).unlink(missing_ok=True)

    def collect(self, needed: Collection[str], keys: Collection[str], older_than: float) -> int:
        """Take away what nobody needs since before `older_than`: whole files but those of `needed`, parts but those of
        `keys`. How many bytes that gives.
        """
        freed = 0
        if not self._folder.is_dir():
            return 0
        parts = {self._part(key).name for key in keys}
        for file in self._folder.iterdir():
            if file.name in needed or file.name in parts:
                continue
            with self._moving:
                try:
                    found = file.stat()
                    if found.st_mtime < older_than:
                        file.unlink()
                        freed += found.st_size
                except FileNotFoundError:
                    continue
        return freed

    def _part(self, key: str) -> Path:
        assert re.fullmatch("[0-9a-z-]+", key), "it is made of an id and the name of a part"
        return self._folder / f"{key}.part"

    def _sync_folder(self) -> None:
        handle = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
