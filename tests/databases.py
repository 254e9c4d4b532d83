"""Where the controls of tests keep their state: SQLite in a folder of each, or one PostgreSQL for all of them.

In: a folder, and for `tests.control_world` whether ANYPOP_TEST_DATABASE says postgresql. Out: the address of a database
for it. The server is started when the first one asks for it, and ends with the tests; each folder has a database of its
own there, copied from one that is migrated already, or empty, and dropped when its test is over.
"""

import atexit
import hashlib
import os
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg
from sqlalchemy.engine import make_url

from anypop.control.store import Store, open_store
from tests import postgres_server

ON_POSTGRESQL = os.environ.get("ANYPOP_TEST_DATABASE") == "postgresql"
_MIGRATED = "migrated"


@cache
def server() -> str:
    """The address of a PostgreSQL for these tests."""
    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(postgres_server.running())


class _Copies:
    """The databases that are there, and of which test those are whose control has ended."""

    def __init__(self) -> None:
        self.there: set[str] = set()
        self.closed: dict[str, str] = {}
        self.migrated = False

    def of(self, name: str, *, empty: bool) -> str:
        self.closed.pop(name, None)
        for other in [known for known, test in self.closed.items() if test != _test()]:
            _do(f"DROP DATABASE {other} WITH (FORCE)")
            self.there.discard(other)
            del self.closed[other]
        if name not in self.there:
            template = "template1" if empty else self._template()
            _do(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
            self.there.add(name)
        return _address(name)

    def _template(self) -> str:
        if not self.migrated:
            _do(f"CREATE DATABASE {_MIGRATED}")
            with TemporaryDirectory() as folder:
                open_store(Path(folder), _address(_MIGRATED)).close()
            self.migrated = True
        return _MIGRATED


@cache
def _copies() -> _Copies:
    return _Copies()


def address_of(folder: Path, *, empty: bool = False) -> str:
    """Of the database that belongs to a folder; made where there is none. `empty`: without a schema."""
    return _copies().of(_name(folder), empty=empty)


def is_closed(folder: Path) -> None:
    """Who had its database has ended; the same test may open it again."""
    _copies().closed[_name(folder)] = _test()


_compiled: dict[str, tuple[Any, Any]] = {}


def share_statements(store: Store) -> None:
    """What the library has compiled for one store of these tests serves the next ones: they are of one kind and have
    one schema, and a test opens several. To compile their statements anew takes half of the time of a short test.
    """
    engines: list[Any] = [store._engine, store._reader, store._unwaiting]
    first = engines[0]
    shared = _compiled.setdefault(first.dialect.name, (first.dialect, first._compiled_cache))
    for engine in engines:
        engine.dialect, engine._compiled_cache = shared


def _name(folder: Path) -> str:
    return f"c{hashlib.sha256(str(folder).encode()).hexdigest()[:16]}"


def _test() -> str:
    return os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")[0]


def _address(name: str) -> str:
    return make_url(server()).set(database=name).render_as_string(hide_password=False)


def _do(statement: str) -> None:
    with psycopg.connect(server(), autocommit=True) as link:
        link.execute(statement.encode())
