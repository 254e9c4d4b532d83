"""Which rows of a log that only grows are asked for: between which ids, how many, from which end, with which text.

In: a query of such a table. Out: the same, narrowed, in the order in which the database finds the rows soonest. It
knows neither whose rows they are nor what they mean.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Select, Table, false, func, or_

from anypop.control.rows import Row

T = TypeVar("T", bound=tuple[Any, ...])


@dataclass(frozen=True, slots=True, kw_only=True)
class Excerpt:
    """The newest `limit` rows with ids above `after` and below `before` (0: any); `first`: the oldest of them. `text`:
    those that have it, in any case of its letters.
    """

    after: int = 0
    before: int = 0
    limit: int = 100
    first: bool = False
    text: str = ""

    def of(self, query: Select[T], table: Table, searched: Sequence[ColumnElement[str]]) -> Select[T]:
        """`searched`: the columns that may have the text."""
        number = table.c.id
        query = query.where(number > self.after)
        if self.before:
            query = query.where(number < self.before)
        if self.text:
            wanted = self.text.lower()
            has = [func.lower(column).contains(wanted, autoescape=True) for column in searched]
            query = query.where(or_(false(), *has))
        return query.order_by(number.asc() if self.first else number.desc()).limit(self.limit)

    def ordered(self, found: Collection[Row]) -> list[Row]:
        """What was found, the oldest first."""
        return list(found) if self.first else list(found)[::-1]
