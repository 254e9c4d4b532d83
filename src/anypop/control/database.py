"""The database itself: found by its address, opened, brought to the newest schema, and never taken empty for a new one.

In: the state folder, and ANYPOP_DATABASE_URL where it is set. Out: an engine whose transactions are whole or nothing.
What stands in the tables is the store's and the migrations'. A mark in the state folder says that a database was used
from here; an empty one in its place is a lost one, and is refused in words.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from anypop.control.ca import write_whole
from anypop.model.errors import WorldError

FILE = "anypop.db"
MARK = "database.used"
_PATIENCE = "-c idle_in_transaction_session_timeout=15000"  # one that hangs in the middle must not hold up a successor


@contextmanager
def in_words(what: str) -> Iterator[None]:
    """A database's error as one line that a user can act on."""
    try:
        yield
    except SQLAlchemyError as error:
        raise WorldError(what, str(error.__cause__ or error).splitlines()[0]) from error


def address_of(folder: Path, url: str | None = None) -> URL:
    """Where the database is. `url`: SQLAlchemy's; default: the environment's, else a file in `folder`. Raises
    `WorldError`.
    """
    if url is None:
        url = os.environ.get("ANYPOP_DATABASE_URL") or f"sqlite:///{folder / FILE}"
    with in_words("open the database that ANYPOP_DATABASE_URL names"):
        parsed = make_url(url)
    return parsed.set(drivername="postgresql+psycopg") if parsed.drivername == "postgresql" else parsed


def connected(address: URL, name: str) -> Engine:
    """An engine over it, whose connections a server knows by `name`; nothing has been asked yet. Raises `WorldError`
    and SQLAlchemy's own errors.
    """
    if address.get_backend_name() == "sqlite":
        return _sqlite(Path(address.database or ""), address)
    try:
        return create_engine(
            address,
            pool_size=4,
            pool_pre_ping=True,
            hide_parameters=True,  # parameters hold secrets, and errors are logged
            connect_args={"application_name": name, "connect_timeout": 5, "options": _PATIENCE},
        )
    except ModuleNotFoundError as error:
        what = f"open the database {address.render_as_string()}"  # the password is left out
        raise WorldError(what, f"the Python package {error.name} is not installed") from error


def refuse_a_lost_one(link: Connection, folder: Path) -> None:
    """Raises `WorldError` for an empty database where one was used before."""
    mark = folder / MARK
    if mark.exists() and not inspect(link).has_table("alembic_version"):
        raise WorldError(
            f"use the database {link.engine.url.render_as_string()}",
            f"it is empty, and control has used one from {folder} since {mark.read_text().strip()}: it was lost or "
            f"moved. Bring it back, or a backup ('anypop restore'). To begin anew, and to lose all that was declared, "
            f"remove {mark}",
        )


def mark_used(folder: Path) -> None:
    """From now on an empty database is a lost one."""
    if not (folder / MARK).exists():
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_whole(folder / MARK, f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC\n".encode(), mode=0o600)


def schema_of(link: Connection) -> str:
    """The newest migration that it has seen; empty for an empty database."""
    if not inspect(link).has_table("alembic_version"):
        return ""
    return link.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() or ""


def migrate(link: Connection, head: str, folder: Path) -> None:
    """Bring it to the schema `head`. Alembic is imported only when there is something to do: it takes longer than the
    rest of the start.
    """
    if schema_of(link) == head:
        return
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", "anypop.control:migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = link
    config.attributes["folder"] = folder
    command.upgrade(config, "head")


def _sqlite(path: Path, url: URL) -> Engine:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # made by us, so that it is never readable by others; -wal and -shm follow it
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    engine = create_engine(url, hide_parameters=True)

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        # The driver's own BEGIN comes too late (not before DDL); with this and the listener below, a migration is whole
        # or nothing.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute("PRAGMA busy_timeout=5000")
        # 64 MiB at most: the inner pages of a large platform's tables stay in memory.
        cursor.execute("PRAGMA cache_size=-65536")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(link: Connection) -> None:
        options = link.get_execution_options()
        if options.get("anypop_reading"):
            link.exec_driver_sql("BEGIN")
            return
        # FULL: a commit waits for the disk, so that what was answered survives also a power cut. NORMAL: it does not
        # wait, and the next full commit brings all before it to the disk.
        wanted = options.get("anypop_synchronous", "FULL")
        if link.info.get("synchronous") != wanted:  # a connection keeps what it was told
            link.exec_driver_sql(f"PRAGMA synchronous={wanted}")
            link.info["synchronous"] = wanted
        link.exec_driver_sql("BEGIN IMMEDIATE")

    return engine
