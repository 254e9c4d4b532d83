"""`anypop cp`: files and folders to an instance and from one, by tar in the instance over the same stream as `exec`.

In: two places, one of them `INSTANCE:PATH`. Out: the files there. What comes from an instance is somebody else's: only
plain files and folders are written, below the place that was named; a name with `..`, an absolute one, and any link or
device is left out and told, and no link that is already here is followed below that place.
"""

import contextlib
import io
import json
import os
import posixpath
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Annotated, cast

import typer

from anypop.cli import attaching
from anypop.cli.call import Call, command
from anypop.cli.failure import Failure, usage
from anypop.model.streams import LARGEST_FRAME, Frame

if TYPE_CHECKING:
    from anypop.cli.websocket import WebSocket

_PIECE = 1 << 20


def register(root: typer.Typer) -> None:
    """The command of this file, at the top level."""
    examples = """
    anypop cp web-eu1-lhr-0:/etc/app.conf .
    anypop cp site/ web-eu1-lhr-0:/srv/www/
    anypop cp web-eu1-lhr-0:/var/log/app ./logs -c app
    """
    command(root, "cp", examples=examples)(copy)


def copy(
    call: Call,
    source: Annotated[str, typer.Argument(metavar="FROM", help="A path here, or INSTANCE:PATH.")],
    target: Annotated[str, typer.Argument(metavar="TO", help="A path here, or INSTANCE:PATH; the other one of both.")],
    *,
    container: Annotated[
        str, typer.Option("--container", "-c", metavar="NAME", help="Which container.", show_default=False)
    ] = "",
) -> None:
    """Copy a file or a folder to or from an instance, whose image must have tar: into a folder that is there, under its
    own name; else to the name given. Owners are not kept; of what comes from an instance, links are left out.
    """
    there, here = _remote(source), _remote(target)
    if (there is None) == (here is None):
        raise usage("one of both must be INSTANCE:PATH", advice="As in: anypop cp web-eu1-lhr-0:/etc/app.conf .")
    if there is not None:
        instance, path = there
        place = _Place(call, instance, path, container)
        written, left_out = place.fetch(Path(target))
    else:
        assert here is not None, "one of both is"
        instance, path = here
        place = _Place(call, instance, path, container)
        written, left_out = place.give(Path(source)), []
    call.screen.note(*(f"left out: {text}" for text in left_out))
    data = {"from": source, "to": target, "files": written, "left_out": left_out}
    call.screen.result(data, lambda: [f"{written} file{'' if written == 1 else 's'} copied"])
    if left_out:
        raise typer.Exit(1)


def _remote(text: str) -> tuple[str, str] | None:
    """INSTANCE and PATH; None for a path here: one that begins with `/` or `.`, or has no colon."""
    name, colon, path = text.partition(":")
    if not colon or "/" in name or name.startswith(".") or not name:
        return None
    if not path:
        raise usage(f"{text} names no path", advice=f"As in: {name}:/etc/app.conf")
    return name, path


class _Place:
    """A path in a container."""

    def __init__(self, call: Call, instance: str, path: str, container: str) -> None:
        self._call, self._instance, self._path, self._container = call, instance, path, container
        self._workload = attaching.one(call, instance)

    def fetch(self, target: Path) -> tuple[int, list[str]]:
        """How many files came, and what was left out."""
        path = posixpath.normpath(self._path)
        folder, name = posixpath.split(path)
        if not name or name == "..":
            raise usage(f"{self._path}: name a file or a folder, not the whole container")
        into, own = (target, name) if target.is_dir() else (target.parent, target.name)
        if not into.is_dir():
            raise usage(f"{into} is no folder here", advice="Make it first, or name one that is there.")
        with self._tar("-cf", "-", "-C", folder or ".", "--", name) as spoken:
            try:
                with tarfile.open(mode="r|", fileobj=cast("IO[bytes]", spoken), bufsize=LARGEST_FRAME) as archive:
                    found = unpack(archive, name, into, own)
            except tarfile.TarError as error:
                spoken.drain()
                raise self._failed(spoken, str(error)) from error
            spoken.drain()
            if spoken.code:
                raise self._failed(spoken, "tar failed")
            return found

    def give(self, source: Path) -> int:
        """How many files went."""
        if not os.path.lexists(source):
            raise usage(f"{source} is not here")
        own = source.resolve().name if source.name in ("", ".", "..") else source.name
        path = posixpath.normpath(self._path)
        if self._path.endswith("/") or self._is_folder(path):
            folder, name = path, own
        else:
            folder, name = posixpath.split(path)
        with self._tar("-xf", "-", "-C", folder or ".") as spoken:
            count = 0

            def as_anybody(member: tarfile.TarInfo) -> tarfile.TarInfo:
                nonlocal count
                count += not member.isdir()
                member.uid = member.gid = 0
                member.uname = member.gname = ""
                return member

            try:
                with tarfile.open(mode="w|", fileobj=cast("IO[bytes]", spoken), bufsize=LARGEST_FRAME) as archive:
                    archive.add(source, arcname=name, filter=as_anybody)
            except OSError as error:
                raise usage(f"{error.filename or source} cannot be read: {error.strerror or error}") from error
            spoken.end()
            spoken.drain()
            if spoken.code:
                raise self._failed(spoken, "tar failed")
            return count

    @contextlib.contextmanager
    def _tar(self, *words: str) -> "Iterator[Spoken]":
        try:
            with attaching.command(
                self._call, self._workload, self._instance, ["tar", *words], container=self._container
            ) as there:
                yield Spoken(there)
        except Failure as failure:
            if "no such program" not in failure.message:
                raise
            raise Failure(
                failure.message, code=failure.code, advice="'cp' needs tar in the image; 'exec -i ... cat' may do."
            ) from failure

    def _is_folder(self, path: str) -> bool:
        with contextlib.suppress(Failure):
            return not attaching.code_of(
                self._call, self._workload, self._instance, ["test", "-d", path], container=self._container
            )
        return False

    def _failed(self, spoken: "Spoken", otherwise: str) -> Failure:
        said = bytes(spoken.errors[:500]).decode(errors="replace").strip()
        return Failure(
            f"copy {self._instance}:{self._path}: {said or otherwise}",
            advice=f"'anypop exec {self._instance} ls -l {posixpath.dirname(self._path) or '.'}' shows what is there.",
        )


class Spoken(io.RawIOBase):
    """What a command says as a file to read, what it is told as a file to write. `errors`: what it complained about;
    `code`: how it ended, None before.
    """

    def __init__(self, there: "WebSocket") -> None:
        super().__init__()
        self._there = there
        self._rest = b""
        self.errors = bytearray()
        self.code: int | None = None

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """As much as is there, at most `size`; nothing at its end."""
        while not self._rest and self.code is None:
            self._take()
        piece, self._rest = (self._rest, b"") if size < 0 else (self._rest[:size], self._rest[size:])
        return piece

    def write(self, content: "bytes | bytearray | memoryview") -> int:  # type: ignore[override]
        data = bytes(content)
        for start in range(0, len(data), LARGEST_FRAME):
            self._send(bytes([Frame.INPUT]) + data[start : start + LARGEST_FRAME])
        return len(data)

    def end(self) -> None:
        """It is told no more."""
        self._send(bytes([Frame.END]))

    def drain(self) -> None:
        """Until it has ended; what it says is dropped."""
        while self.code is None:
            self._take()
            self._rest = b""

    def _send(self, frame: bytes) -> None:
        from websockets.exceptions import ConnectionClosed  # noqa: PLC0415 - see `Client.socket`

        with contextlib.suppress(ConnectionClosed):  # how it ended is read
            self._there.send(frame)

    def _take(self) -> None:
        from websockets.exceptions import ConnectionClosed  # noqa: PLC0415 - see `Client.socket`

        try:
            frame = self._there.recv()
        except ConnectionClosed:
            self.code = -1
            return
        if not isinstance(frame, bytes):
            return
        match frame[:1]:
            case b"\x01":
                self._rest += frame[1:]
            case b"\x02":
                self.errors += frame[1:]
            case b"\x03":
                self.code = int(json.loads(frame[1:])["code"])


def unpack(archive: tarfile.TarFile, name: str, into: Path, own: str) -> tuple[int, list[str]]:
    """Write what the archive has of `name` to `into/own`: how many files, and what was left out, with why."""
    count, left_out = 0, list[str]()
    for member in archive:
        parts = PurePosixPath(member.name).parts
        if not parts or parts[0] != name or ".." in parts:
            left_out.append(f"{member.name}: it is not below {name}")
        elif not (member.isreg() or member.isdir()):
            kind = "a link" if member.issym() or member.islnk() else "a device or a pipe"
            left_out.append(f"{member.name}: it is {kind}")
        else:
            try:
                count += _written(archive, member, into, [own, *parts[1:]])
            except OSError as error:
                left_out.append(f"{member.name}: {error.strerror or error}")
    return count, left_out


def _written(archive: tarfile.TarFile, member: tarfile.TarInfo, into: Path, parts: list[str]) -> int:
    """One member, folder by folder from `into`, through no link. 1 for a file."""
    folders = parts if member.isdir() else parts[:-1]
    place = os.open(into, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for folder in folders:
            with contextlib.suppress(FileExistsError):
                os.mkdir(folder, dir_fd=place)
            inner = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=place)
            os.close(place)
            place = inner
        if member.isdir():
            return 0
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK
        mode = 0o777 if member.mode & 0o100 else 0o666  # nothing of it becomes set-uid here
        with os.fdopen(os.open(parts[-1], flags, mode, dir_fd=place), "wb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise OSError(0, "what is here is no plain file")
            content = archive.extractfile(member)
            assert content is not None, "it is a plain file"
            while piece := content.read(_PIECE):
                file.write(piece)
        return 1
    finally:
        os.close(place)
