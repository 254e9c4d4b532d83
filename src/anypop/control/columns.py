"""Columns that several tables have, each defined once: whose something is, how it is called, what it says.

In: nothing, or the name of a column. Out: a new `Column`, since one belongs to one table. A part of `schema`, whose
rules hold here too; the migrations say what was, in their own words, and do not follow.
"""

from typing import Any

from sqlalchemy import Column, Float, ForeignKey, Integer, String, Text, UniqueConstraint

_UUID, _SLUG = 36, 63


def identity() -> Column[Any]:
    return Column("id", String(_UUID), primary_key=True)


def slug() -> Column[Any]:
    return Column("slug", String(_SLUG), nullable=False)


def of_account() -> Column[Any]:
    return Column("account_id", String(_UUID), ForeignKey("accounts.id"), nullable=False)


def of_stack() -> Column[Any]:
    return Column("stack_id", String(_UUID), ForeignKey("stacks.id"), nullable=False)


def one_slug_of_a_stack() -> UniqueConstraint:
    return UniqueConstraint("stack_id", "slug")


def key_of_workload() -> Column[Any]:
    """Part of the key; the rows go with their workload."""
    return Column("workload_id", String(_UUID), ForeignKey("workloads.id", ondelete="CASCADE"), primary_key=True)


def key_of_host() -> Column[Any]:
    return Column("host", String(63), primary_key=True)


def key_of_pop() -> Column[Any]:
    return Column("pop", String(16), primary_key=True)


def version() -> Column[Any]:
    return Column("version", Integer, nullable=False)


def body() -> Column[Any]:
    """A document that is read and written as a whole."""
    return Column("body", Text, nullable=False)


def note() -> Column[Any]:
    return Column("note", Text, nullable=False)


def secret() -> Column[Any]:
    """The hash of what its owner shows."""
    return Column("hash", String(64), nullable=False, unique=True)


def moment(name: str) -> Column[Any]:
    """When something was or will be: seconds since the epoch, UTC."""
    return Column(name, Float, nullable=False)
