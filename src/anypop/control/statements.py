"""Statements that write many rows of one table, compiled once for each table and kind of database.

In: a table, rows as mappings. Out: the rows, sent through the driver itself: a statement that looks at the type of each
value costs twice as much, and no column of ours needs a change of its value. It opens and ends no transaction.
"""

from collections.abc import Iterable
from functools import lru_cache
from operator import itemgetter
from typing import Any

from sqlalchemy import ClauseElement, ColumnElement, Connection, Dialect, Table, bindparam, insert, update
from sqlalchemy.sql.compiler import SQLCompiler

from anypop.control.rows import Row


@lru_cache(maxsize=64)
def insertion(table: Table, names: tuple[str, ...], dialect: Dialect) -> SQLCompiler:
    return _compiled(insert(table), dialect, names)


@lru_cache(maxsize=64)
def overwriting(table: Table, dialect: Dialect) -> SQLCompiler:
    """All columns but the key, which `the_...` names: a database would look through all rows that refer to a key that
    is set.
    """
    keys = [column.name for column in table.primary_key.columns]
    others: dict[str, Any] = {c.name: bindparam(c.name) for c in table.columns if c.name not in keys}
    return _compiled(update(table).where(*the_one(table)).values(others), dialect)


def _compiled(statement: ClauseElement, dialect: Dialect, names: Iterable[str] | None = None) -> SQLCompiler:
    compiled = statement.compile(dialect=dialect, column_keys=list(names) if names is not None else None)
    assert isinstance(compiled, SQLCompiler)
    return compiled


def send(link: Connection, statement: SQLCompiler, found: list[Row]) -> None:
    """Run `statement` once for each of the rows, which have the same columns."""
    names = statement.positiontup
    if names is None:
        link.exec_driver_sql(statement.string, found)
    else:
        chosen = itemgetter(*names) if len(names) > 1 else lambda one: (one[names[0]],)
        link.exec_driver_sql(statement.string, list(map(chosen, found)))


def the_one(table: Table) -> list[ColumnElement[bool]]:
    return [column == bindparam(f"the_{column.name}") for column in table.primary_key.columns]
