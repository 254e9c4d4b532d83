"""What lies in the folder of one machine, and what is remembered of it there.

In: the step that makes a machine. Out: `spec.json`, whole or not at all, and back again. What we believe lies in a
folder of root's; in the folder `own` below it QEMU runs, and names its files without a path, so the user that it runs
as need not be able to pass the folders above. A QEMU that its guest has broken out into can change what is in `own`,
and nothing else: whoever reads there follows no link. Nothing here starts anything.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from anypop.agent.act.network.adopted import Identity
from anypop.agent.naming import LABEL
from anypop.host import own_socket, process
from anypop.host.folder_sync import sync_folder
from anypop.model.codec import from_json, to_json
from anypop.model.errors import Invalid
from anypop.model.machine import MachineImage
from anypop.model.order import InstanceLink

SPEC, ROOT, SEED, FIRMWARE = "spec.json", "root.qcow2", "seed.iso", "firmware.fd"
QMP, CONSOLE, GUEST_AGENT = "qmp.sock", "console.sock", "guest-agent.sock"
MOVE_QMP, MOVE_MEMORY, MOVE_DISK = "move-qmp.sock", "move-memory.sock", "move-disk.sock"
"""By which a machine is moved: a second QMP, since the first is for one question at a time; what comes from elsewhere.
"""
PID, KEEPER, ENDED, SAID = "qemu.pid", "keeper.pid", "ended", "qemu.log"
MOST_SAID, KEPT_SAID = 1 << 20, 64 << 10  # of QEMU's own words: 2 KiB of their end are shown to anybody
FROZEN, CAPTURING = "frozen", "capturing"
ARRIVING, LEAVING, HANDED = "arriving", "leaving", "handed"
"""Marks of a move: not all of it is here yet; it is being sent to the host that is named; it is that host's now."""
CAME = "came"
"""Of one that is off, beside ARRIVING: all of it is here, and it is not known whether it is ours."""
OFF, RESCUE = "off", "rescue.json"
"""It was powered off, and goes on with its disks; it was started with this image in place of its own."""
OTHER = "rescue-"
"""Before the names of what it then has of that image."""
DISK, KERNEL, INITRD = "image-disk", "image-kernel", "image-initrd"
"""An image's parts: one file each with those in the cache, so that what the cache drops lives on here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """One machine, for as long as it lives. `id`: a UUID of this life; `user`: whom QEMU runs as on the host; `mac`: of
    the guest's network card; `further_macs`: those of its further interfaces; `volumes`: the ids of its further
    disks, each with the name that the guest sees. `born`: as whom it began on another host; `link`: what it has here.
    """

    id: str
    uid: str
    container: str
    labels: dict[str, str]
    image: MachineImage
    namespace: str
    mac: str
    user: int
    cpu_millis: int
    share_millis: int
    memory_bytes: int
    volumes: tuple[tuple[str, str], ...] = ()
    further_macs: tuple[str, ...] = ()
    born: Identity | None = None
    link: InstanceLink | None = None

    @property
    def system(self) -> str:
        """The UUID that the guest sees."""
        return self.born.system if self.born is not None else self.id

    def label(self, name: str) -> str:
        return self.labels.get(LABEL + name, "")


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """How QEMU ended. `code` None: whoever waited for it is gone as well, so nobody knows."""

    code: int | None
    at: float | None


@dataclass(frozen=True, slots=True)
class Place:
    """The folder of one machine, which need not be there."""

    folder: Path

    @property
    def uid(self) -> str:
        return self.folder.name

    def file(self, name: str) -> Path:
        return self.folder / name

    @property
    def own(self) -> Path:
        """Where QEMU runs."""
        return self.folder / "own"

    def spec(self) -> Spec | None:
        """None: nothing was made here, or not to its end."""
        try:
            return from_json(Spec, self.file(SPEC).read_bytes())
        except (OSError, Invalid):
            return None

    def write(self, spec: Spec) -> None:
        """The last thing of making a machine: from now on it is there."""
        self._write(SPEC, to_json(spec))

    def mark(self, name: str, text: str = "") -> None:
        """Whole and on the disk before anything follows from it."""
        self._write(name, text.encode())

    def unmark(self, name: str) -> None:
        self.file(name).unlink(missing_ok=True)

    def marked(self, name: str) -> str | None:
        """What a mark says; None: there is none."""
        try:
            return self.file(name).read_text()
        except FileNotFoundError:
            return None

    def _write(self, name: str, content: bytes) -> None:
        half = self.file(f"{name}.half")
        with half.open("wb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        half.rename(self.file(name))
        sync_folder(self.folder)

    def pid(self) -> int | None:
        """QEMU's, where the very process that was recorded still runs."""
        return process.alive(self.file(PID))

    def is_kept(self) -> bool:
        """Whether somebody waits for its end: it runs, is about to, or is just being told of."""
        return process.alive(self.file(KEEPER)) is not None

    def was_started(self) -> bool:
        return self.file(PID).exists() or self.file(KEEPER).exists()

    def is_beginning(self) -> bool:
        """Whether it is not QEMU yet, and will be in a moment."""
        return self.is_kept() and not self.file(PID).exists()

    def is_off(self) -> bool:
        return self.marked(OFF) is not None

    def rescued_by(self) -> str:
        """The id of the image that it runs in place of its own; empty: its own."""
        try:
            return from_json(MachineImage, self.file(RESCUE).read_bytes()).id
        except (OSError, Invalid):
            return ""

    def end(self) -> End:
        """How it ended, of one that does not run any more."""
        try:
            code, at = self.file(ENDED).read_text().split()
            return End(code=int(code), at=float(at))
        except (OSError, ValueError):
            return End(code=None, at=None)

    def started_at(self) -> float | None:
        with contextlib.suppress(OSError):
            return self.file(PID).stat().st_mtime
        return None

    def said(self) -> str:
        """The end of what QEMU said for itself."""
        with contextlib.suppress(OSError), self.file(SAID).open("rb") as opened:
            size = opened.seek(0, os.SEEK_END)
            opened.seek(max(0, size - 2048))
            return "; ".join(opened.read().decode(errors="replace").split("\n")).strip("; ")
        return ""

    def bound_said(self) -> None:
        """QEMU's own words are cut to their end where there are too many: it is its guest's when that has broken out,
        and is not to fill the disk. It appends, so it goes on behind that.
        """
        with contextlib.suppress(OSError), self.file(SAID).open("r+b") as opened:
            if opened.seek(0, os.SEEK_END) <= MOST_SAID:
                return
            opened.seek(-KEPT_SAID, os.SEEK_END)
            end = opened.read(KEPT_SAID)
            opened.seek(0)
            opened.write(end)
            opened.truncate()

    def written(self) -> int:
        """Bytes that its root disk takes beside the image."""
        with contextlib.suppress(OSError):
            return (self.own / ROOT).lstat().st_blocks * 512
        return 0

    def remove(self) -> None:
        """All of it; its spec first, so that what is half removed is never taken for a machine."""
        self.file(SPEC).unlink(missing_ok=True)
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.folder)

    @contextlib.contextmanager
    def reachable(self, name: str) -> Iterator[str]:
        """A path of a socket of QEMU's, which leads nowhere else. Raises OSError."""
        with own_socket.reachable(self.own / name) as path:
            yield path


def places(top: Path) -> Mapping[str, Place]:
    """All of a host, by the uid of the instance."""
    try:
        return {entry.name: Place(entry) for entry in sorted(top.iterdir()) if entry.is_dir()}
    except FileNotFoundError:
        return {}
