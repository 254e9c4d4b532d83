"""A volume as it lies on the disk: a folder with a file that holds an ext4 file system, its snapshots, and a record.

In: a folder, ids, sizes. Out: files made, grown, copied, put back, removed. What is half made has another name and is
made anew, so the process may die at any moment. It mounts nothing and knows no instance. The file's blocks are reserved
when it is made: what a volume may hold is there, and a full host never breaks the file system inside.
"""

import contextlib
import errno
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from anypop.host import process
from anypop.host.folder_sync import sync_folder
from anypop.model.errors import WorldError

_DATA, _RECORD, _SNAPSHOTS = "data.img", "volume.json", "snapshots"
_MADE_S = 600.0
_PIECE = 1 << 26
_FICLONE = 0x40049409  # linux/fs.h: the target shares the source's blocks (xfs, btrfs)
_SPARE = 0.05  # of the disk: what a host needs for itself is not for volumes


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What is remembered beside the data. `size_bytes`: of the file system in it; `restored`: how many of the restores
    that were asked for are done.
    """

    size_bytes: int = 0
    restored: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotFile:
    name: str
    at: float
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeFiles:
    """One volume in `folder`, which need not be there yet."""

    folder: Path
    id: str

    @property
    def own(self) -> Path:
        return self.folder / self.id

    @property
    def data(self) -> Path:
        return self.own / _DATA

    def is_there(self) -> bool:
        return self.data.exists()

    def size(self) -> int:
        return self.data.stat().st_size

    def record(self) -> Record:
        try:
            return Record(**json.loads((self.own / _RECORD).read_text()))
        except (OSError, ValueError, TypeError):
            return Record()

    def snapshots(self) -> tuple[SnapshotFile, ...]:
        """Those that are complete, by name."""
        found = []
        for file in sorted((self.own / _SNAPSHOTS).glob("*.img")):
            with contextlib.suppress(OSError):
                told = file.stat()
                found.append(SnapshotFile(name=file.stem, at=told.st_mtime, size_bytes=told.st_size))
        return tuple(found)

    def make(self, size_bytes: int) -> None:
        """An empty file system of this size; nothing where the volume is there. Raises `WorldError`."""
        if self.is_there():
            return
        with self._told("make"):
            fresh = self.folder / f"{self.id}.new"
            shutil.rmtree(fresh, ignore_errors=True)
            must_have_room(self.folder, size_bytes)
            (fresh / _SNAPSHOTS).mkdir(parents=True, mode=0o700)
            _reserve(fresh / _DATA, size_bytes)
            # nothing is discarded, and nothing left to be zeroed later: both give reserved blocks back
            how = "nodiscard,lazy_itable_init=0,lazy_journal_init=0"
            process.run(["mkfs.ext4", "-q", "-F", "-m", "0", "-E", how, str(fresh / _DATA)], timeout_s=_MADE_S)
            _reserve(fresh / _DATA, size_bytes)
            _write(fresh / _RECORD, json.dumps(asdict(Record(size_bytes=size_bytes))))
            fresh.rename(self.own)
            sync_folder(self.folder)

    def grow(self, size_bytes: int, *, alone: bool = False) -> None:
        """The file and the file system in it to this size, while nobody has it mounted; it never becomes smaller.
        `alone`: the file, since what is in it is a guest's.
        """
        record = self.record()
        if record.size_bytes >= size_bytes:
            return
        with self._told("grow"):
            there = self.size()
            if there < size_bytes:
                must_have_room(self.folder, size_bytes - there)
                _reserve(self.data, size_bytes)
            if alone:
                return
            # it was mounted before, and resize2fs wants it checked since; 1: something was mended, and all is well
            process.run(["sh", "-c", 'e2fsck -fp "$0"; [ $? -le 1 ]', str(self.data)], timeout_s=_MADE_S)
            process.run(["resize2fs", str(self.data)], timeout_s=_MADE_S)
            self._remember(replace(record, size_bytes=size_bytes))

    def settle(self, size_bytes: int) -> None:
        """Remember that whoever has the file knows of this size."""
        record = self.record()
        if record.size_bytes < size_bytes:
            with self._told("grow"):
                self._remember(replace(record, size_bytes=size_bytes))

    def hold(self) -> None:
        """Reserve again what the kernel gave back: a loop device zeroes a range by cutting it out of its file."""
        with self._told("reserve"):
            _reserve(self.data, self.size())

    def take_snapshot(self, name: str) -> None:
        """A copy of the data as it is now: whoever calls keeps it still meanwhile."""
        target = self.own / _SNAPSHOTS / f"{name}.img"
        if not target.exists():
            with self._told("take a snapshot of"):
                _copy(self.data, target)

    def drop_snapshot(self, name: str) -> None:
        with self._told("drop a snapshot of"):
            (self.own / _SNAPSHOTS / f"{name}.img").unlink(missing_ok=True)

    def restore(self, name: str, count: int) -> None:
        """The data as the snapshot has it, while nobody has it mounted. Restores up to `count` are done then."""
        with self._told("restore"):
            source = self.own / _SNAPSHOTS / f"{name}.img"
            if not source.exists():
                raise WorldError(f"restore volume {self.id}", f"there is no snapshot {name}")
            _copy(source, self.data)
            self._remember(Record(size_bytes=source.stat().st_size, restored=count))

    def remove(self) -> None:
        """All of it. Its name goes first, so that what is half removed is never taken for a volume."""
        with self._told("remove"):
            gone = self.folder / f"{self.id}.gone"
            if self.own.exists():
                shutil.rmtree(gone, ignore_errors=True)
                self.own.rename(gone)
            for left in (gone, self.folder / f"{self.id}.new"):
                if left.exists():
                    shutil.rmtree(left)

    def _remember(self, record: Record) -> None:
        _write(self.own / _RECORD, json.dumps(asdict(record)))

    @contextlib.contextmanager
    def _told(self, verb: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise WorldError(f"{verb} volume {self.id}", f"{error.strerror or error} in {self.folder}") from error


def must_have_room(folder: Path, more: int) -> None:
    """Raises `WorldError` where so many bytes more would leave too little of the disk to the host."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    disk = os.statvfs(folder)
    left = disk.f_bavail * disk.f_frsize
    if left - more < disk.f_blocks * disk.f_frsize * _SPARE:
        why = f"it needs {more / 2**30:.3g} GiB, and of {left / 2**30:.3g} GiB that are free a part is the host's"
        raise WorldError(f"make room in {folder}", why)


def _reserve(file: Path, size_bytes: int) -> None:
    handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(handle, 0, size_bytes)
        os.fsync(handle)
    finally:
        os.close(handle)


def _copy(source: Path, target: Path) -> None:
    """A copy that is there whole or not at all: shared blocks where the file system can, else all of them."""
    half = target.with_suffix(".half")
    half.unlink(missing_ok=True)
    size = source.stat().st_size
    with source.open("rb") as read, half.open("wb") as written:
        try:
            fcntl.ioctl(written, _FICLONE, read.fileno())
        except OSError:
            must_have_room(target.parent, size)
            os.posix_fallocate(written.fileno(), 0, size)
            _copy_pieces(read.fileno(), written.fileno(), size)
        os.fsync(written.fileno())
    half.rename(target)
    sync_folder(target.parent)


def _copy_pieces(read: int, written: int, size: int) -> None:
    """What was ever written; the rest is empty on both sides."""
    at = 0
    while at < size:
        try:
            at = os.lseek(read, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing more
                return
            raise
        end = os.lseek(read, at, os.SEEK_HOLE)
        while at < end:
            at += os.copy_file_range(read, written, min(end - at, _PIECE), at, at)


def _write(file: Path, text: str) -> None:
    half = file.with_suffix(".half")
    with half.open("w") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    half.rename(file)
    sync_folder(file.parent)
