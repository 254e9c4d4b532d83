"""Backups: all of control that cannot be made anew, in one file, taken while control runs; and back again.

In: control's state folder and the database that it uses. Out: a tar of a snapshot of the database, the authority and
the agents' tokens; or a folder and a database as that file has them. The key of secrets is left out unless it is asked
for, since it belongs somewhere else; so are images of virtual machines, which are large. It never writes over a
database in use, and moves what it replaces aside.
"""

import contextlib
import fcntl
import hashlib
import io
import json
import os
import re
import sqlite3
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath

from sqlalchemy import URL

from anypop.control import image_files
from anypop.control.database import FILE, address_of, mark_used
from anypop.control.vault import KEY_FILE
from anypop.model.errors import WorldError

_MANIFEST = "manifest.json"
_DUMP = "database.dump"
_FORMAT = 1
# What a folder holds beside the database: the rest of it is made anew (certificates of servers) or is a log.
_FILES = ("ca.pem", "ca.key", "graph.yaml")
_TOKENS = "agents"
_TIMEOUT_S = 3600
_PIECE = 1 << 20
_IMAGE = re.compile(f"{image_files.FOLDER}/([0-9a-f]{{64}})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """What a backup holds. `at`: when it was taken, in words."""

    at: str
    database: str
    files: tuple[str, ...]
    with_key: bool

    @property
    def images(self) -> int:
        """How many files of images of virtual machines."""
        return sum(_IMAGE.fullmatch(name) is not None for name in self.files)


def take(
    folder: Path, target: Path, *, with_key: bool, with_images: bool = False, now: datetime, url: str | None = None
) -> Backup:
    """Write `target`, readable by its owner alone. `with_images`: with the files of images of virtual machines that
    are whole. Raises `WorldError`; then there is no new file.
    """
    address = address_of(folder, url)
    what = f"back up {folder}"
    names = [name for name in (*_FILES, *([KEY_FILE] if with_key else [])) if (folder / name).exists()]
    names += sorted(f"{_TOKENS}/{path.name}" for path in (folder / _TOKENS).glob("*.token"))
    kind = "sqlite" if address.get_backend_name() == "sqlite" else "postgresql"
    scratch = target.with_name(f"{target.name}.database")
    unfinished = target.with_name(f"{target.name}.unfinished")
    with _in_words(what), _gone_afterwards(scratch, unfinished):
        _private(scratch)
        if kind == "sqlite":
            _copy(Path(address.database or ""), scratch, what)
        else:
            _run(["pg_dump", "--format=custom", "--no-owner", f"--file={scratch}", *_server(address)], address, what)
        _private(unfinished)
        with tarfile.open(unfinished, "w") as tar:
            tar.add(scratch, FILE if kind == "sqlite" else _DUMP)
            for name in names:
                tar.add(folder / name, name)
            if with_images:
                names += _add_images(tar, folder)
            at = now.isoformat(timespec="seconds")
            _add(tar, _MANIFEST, json.dumps({"format": _FORMAT, "at": at, "database": kind, "files": names}))
        with unfinished.open("rb") as whole:
            os.fsync(whole.fileno())
        unfinished.rename(target)
    return Backup(at=at, database=kind, files=tuple(names), with_key=KEY_FILE in names)


def restore(folder: Path, source: Path, *, replace: bool, now: datetime, url: str | None = None) -> Backup:
    """Bring `source` back. `replace`: also where a database is; that of SQLite is moved aside. Raises `WorldError`,
    also while a control runs there.
    """
    address = address_of(folder, url)
    what = f"restore {source}"
    with _in_words(what):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _in_words(what), _alone(folder, what), tarfile.open(source, "r:") as tar:
        found = _manifest(tar, what)
        kind = "sqlite" if address.get_backend_name() == "sqlite" else "postgresql"
        if found.database != kind:
            raise WorldError(what, f"it is of {found.database}, and the database here is {kind}")
        if found.database == "sqlite":
            _bring_file(tar, Path(address.database or ""), now, replace=replace, what=what)
        else:
            _bring_dump(tar, folder, address, replace=replace, what=what)
        for name in found.files:
            if not _IMAGE.fullmatch(name) or not (folder / name).exists():  # who has its name has its content
                _bring(tar, name, folder / name, what)
        mark_used(folder)
        if not (folder / KEY_FILE).exists() and not os.environ.get("ANYPOP_SECRET_KEY"):
            raise WorldError(
                what,
                f"all but one thing is back: this backup does not hold the key of secrets. Put it into "
                f"{folder / KEY_FILE} (mode 0600) or into ANYPOP_SECRET_KEY before control starts",
            )
    return found


def _add_images(tar: tarfile.TarFile, folder: Path) -> Iterator[str]:
    """Whole files of images, and their names; one that control takes away meanwhile is left out: nobody needs it."""
    for file in sorted((folder / image_files.FOLDER).glob("*")):
        name = f"{image_files.FOLDER}/{file.name}"
        if _IMAGE.fullmatch(name):
            with contextlib.suppress(FileNotFoundError), file.open("rb") as image:
                tar.addfile(tar.gettarinfo(arcname=name, fileobj=image), image)
                yield name


def _copy(database: Path, target: Path, what: str) -> None:
    """A snapshot of a database that is written meanwhile: SQLite's own way, in one step."""
    if not database.exists():
        raise WorldError(what, f"there is no {database}")
    try:
        with (
            contextlib.closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as source,
            contextlib.closing(sqlite3.connect(target)) as copy,
        ):
            source.backup(copy)
            (says,) = copy.execute("PRAGMA integrity_check").fetchone()
    except sqlite3.Error as error:
        raise WorldError(what, str(error)) from error
    if says != "ok":
        raise WorldError(what, f"the database is damaged: {says}")


def _bring_file(tar: tarfile.TarFile, database: Path, now: datetime, *, replace: bool, what: str) -> None:
    aside = f"replaced-{now:%Y%m%dT%H%M%S}"
    there = [path for path in (database, *(Path(f"{database}{end}") for end in ("-wal", "-shm"))) if path.exists()]
    if not replace and database.exists() and _holds_something(database):
        raise WorldError(what, f"{database} is there: say that it is to be replaced (it is moved aside)")
    for path in there:
        path.rename(path.with_name(f"{path.name}.{aside}"))
    _bring(tar, FILE, database, what)


def _holds_something(database: Path) -> bool:
    try:
        with contextlib.closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as link:
            return bool(link.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])
    except sqlite3.Error:
        return True  # whatever it is, it is not ours to lose


def _bring_dump(tar: tarfile.TarFile, folder: Path, address: URL, *, replace: bool, what: str) -> None:
    """Into an empty database, or into one whose tables are dropped in the same transaction."""
    users = "pg_stat_activity WHERE application_name LIKE 'anypop %'"
    if _count(users, address, what):
        raise WorldError(what, "a control uses the database: end it first")
    if _count("pg_tables WHERE tablename = 'alembic_version'", address, what) and not replace:
        raise WorldError(what, "the database is not empty: say that it is to be replaced")
    scratch = folder / f"{_DUMP}.restoring"
    with _gone_afterwards(scratch):
        _bring(tar, _DUMP, scratch, what)
        whole = ["--clean", "--if-exists", "--no-owner", "--single-transaction"]
        _run(["pg_restore", *whole, *_server(address), str(scratch)], address, what)


def _count(of: str, address: URL, what: str) -> int:
    return int(_run(["psql", "-At", "-c", f"SELECT count(*) FROM {of}", *_server(address)], address, what))


def _server(address: URL) -> list[str]:
    """The database as PostgreSQL's own programs are told, without the password."""
    plain = address.set(drivername="postgresql", password=None)
    return [f"--dbname={plain.render_as_string(hide_password=False)}"]


def _run(argv: list[str], address: URL, what: str) -> str:
    environment = {**os.environ, **({"PGPASSWORD": str(address.password)} if address.password else {})}
    try:
        done = subprocess.run(
            argv, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=_TIMEOUT_S, check=False,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise WorldError(what, f"{argv[0]} is not installed (Debian: postgresql-client)") from error
    except subprocess.TimeoutExpired as error:
        raise WorldError(what, f"{argv[0]} took more than {_TIMEOUT_S} s") from error
    if done.returncode != 0:
        raise WorldError(
            what, f"{argv[0]}: {done.stderr.strip().splitlines()[-1] if done.stderr.strip() else 'failed'}"
        )
    return done.stdout


def _manifest(tar: tarfile.TarFile, what: str) -> Backup:
    try:
        data = json.loads(_read(tar, _MANIFEST))
        if data["format"] != _FORMAT:
            raise WorldError(what, f"it has format {data['format']}, this version reads {_FORMAT}")
        names = tuple(str(name) for name in data["files"])
        found = Backup(at=data["at"], database=data["database"], files=names, with_key=KEY_FILE in names)
    except (KeyError, ValueError, TypeError, tarfile.TarError) as error:
        raise WorldError(what, "it is no backup of control") from error
    allowed = {*_FILES, KEY_FILE}
    if any(name not in allowed and not _is_token(name) and not _IMAGE.fullmatch(name) for name in names):
        raise WorldError(what, "it is no backup of control: it names files that control does not have")
    return found


def _is_token(name: str) -> bool:
    path = PurePosixPath(name)
    return path.parent == PurePosixPath(_TOKENS) and path.suffix == ".token" and ".." not in path.parts


def _read(tar: tarfile.TarFile, name: str) -> bytes:
    member = tar.extractfile(name)
    if member is None:
        raise KeyError(name)
    return member.read()


def _bring(tar: tarfile.TarFile, name: str, target: Path, what: str) -> None:
    """A whole file or none, and never all of it in memory."""
    try:
        member = tar.extractfile(name)
    except (KeyError, tarfile.TarError) as error:
        raise WorldError(what, f"it lacks {name}") from error
    if member is None:
        raise WorldError(what, f"its {name} is no file")
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    unfinished = target.with_name(f"{target.name}.unfinished")
    with _gone_afterwards(unfinished):
        _private(unfinished)
        digest = hashlib.sha256()
        with unfinished.open("wb") as out:
            while piece := member.read(_PIECE):
                digest.update(piece)
                out.write(piece)
            out.flush()
            os.fsync(out.fileno())
        if _IMAGE.fullmatch(name) and digest.hexdigest() != target.name:
            raise WorldError(what, f"its {name} has another checksum: the backup is damaged")
        unfinished.chmod(0o644 if name == "ca.pem" else 0o600)
        unfinished.rename(target)


def _add(tar: tarfile.TarFile, name: str, text: str) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(text.encode())
    member.mode = 0o600
    tar.addfile(member, io.BytesIO(text.encode()))


def _private(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


@contextlib.contextmanager
def _gone_afterwards(*paths: Path) -> Iterator[None]:
    try:
        yield
    finally:
        for path in paths:
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def _alone(folder: Path, what: str) -> Iterator[None]:
    """No control may run in the folder: its own lock, held for as long as this takes."""
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise WorldError(what, f"a control runs in {folder}: end it first") from error
        yield


@contextlib.contextmanager
def _in_words(what: str) -> Iterator[None]:
    try:
        yield
    except (OSError, tarfile.TarError) as error:
        raise WorldError(what, getattr(error, "strerror", None) or str(error)) from error
