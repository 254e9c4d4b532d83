"""Pagination, filters and sorting of lists, by the Workload API's `page_request` parameters.

In: the whole list, stably ordered, and the query. Out: `pageInfo` (counts and cursors are strings, as protobuf's JSON
has it) and the page. A cursor is the offset of an item; `after=-1` is before the first. Pure, but for `PageQuery`,
which reads the query.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from functools import partial
from typing import Annotated, Any, TypeVar, get_origin

from fastapi import Depends, Query
from pydantic import BaseModel

from anypop.model.errors import Invalid, Problem

DEFAULT_PAGE = 10
T = TypeVar("T")

_TERM = re.compile(
    r"""\s*([A-Za-z_.]+)\s*(!=|<>|=|~)\s*(?:"([^"]*)"|'([^']*)'|([^\s"'=]+))\s*(?:(and)\b|$)""", re.IGNORECASE
)


async def page_query(
    first: Annotated[
        str,
        Query(
            alias="page_request.first",
            description=f"how many items; default {DEFAULT_PAGE}",
            json_schema_extra={"type": "integer", "minimum": 0, "default": DEFAULT_PAGE},
        ),
    ] = "",
    after: Annotated[
        str,
        Query(
            alias="page_request.after",
            description="a cursor: items behind it; -1 is before the first",
            json_schema_extra={"type": "integer", "minimum": -1, "default": -1},
        ),
    ] = "",
    condition: Annotated[
        str,
        Query(
            alias="page_request.filter",
            description="name='x' and status=\"ACTIVE\"; also !=, ~ (contains), and fields by their paths",
        ),
    ] = "",
    order: Annotated[
        str, Query(alias="page_request.sort_by", description="name, -createdAt or createdAt desc; several with commas")
    ] = "",
) -> dict[str, str]:
    return {
        "page_request.first": first,
        "page_request.after": after,
        "page_request.filter": condition,
        "page_request.sort_by": order,
    }


PageQuery = Annotated[dict[str, str], Depends(page_query)]


def page(
    items: Sequence[T],
    query: Mapping[str, str],
    render: Callable[[T], dict[str, Any]],
    shape: type[BaseModel],
    *,
    by_id: Callable[[str], Sequence[T]] | None = None,
) -> dict[str, Any]:
    """One page of `items`: filtered and sorted by what `render` shows of them. `shape`: the model of what it shows,
    whose fields may be named. `by_id`: those of `items` with an id, one or none; whoever asks for it by a filter is not
    kept waiting until all have been looked at. Raises `Invalid`.

    Only the page's own items are rendered, unless a filter or a sort needs to look at all of them.
    """
    problems: list[Problem] = []
    first = _number(query, "first", problems, lowest=0) or DEFAULT_PAGE
    after = _number(query, "after", problems, lowest=-1)
    terms = _terms(query.get("page_request.filter", ""), problems)
    order = _order(query.get("page_request.sort_by", ""))
    named = {"filter": [name for name, *_ in terms], "sort_by": [name for name, _ in order]}
    for parameter, names in named.items():
        for name in names:
            if (wrong := _unknown(name, shape)) is not None:
                problems.append(Problem(path=f"page_request.{parameter}", message=wrong))
    if problems:
        raise Invalid(problems)
    begin = 0 if after is None else after + 1
    if by_id is not None and (ids := [value for name, operator, value in terms if (name, operator) == ("id", "=")]):
        items = by_id(ids[0])
    if terms or order:
        rendered = [shown for item in items if _fits(shown := render(item), terms)]
        for name, reverse in reversed(order):
            rendered.sort(key=partial(_key_of, name), reverse=reverse)
        total, results = len(rendered), rendered[begin : begin + first]
    else:
        total, results = len(items), [render(item) for item in items[begin : begin + first]]
    end = begin + len(results)
    info = {
        "totalCount": str(total),
        "hasPreviousPage": begin > 0 and total > 0,
        "hasNextPage": end < total,
        "startCursor": str(begin) if results else "",
        "endCursor": str(end - 1) if results else "",
    }
    return {"pageInfo": info, "results": results}


def _number(query: Mapping[str, str], name: str, problems: list[Problem], *, lowest: int) -> int | None:
    text = query.get(f"page_request.{name}", "")
    if text == "":
        return None
    if not re.fullmatch(r"-?\d{1,9}", text) or int(text) < lowest:
        problems.append(Problem(path=f"page_request.{name}", message=f"must be a whole number of at least {lowest}"))
        return None
    return int(text)


def _terms(text: str, problems: list[Problem]) -> list[tuple[str, str, str]]:
    """`name='x' and status="ACTIVE"` as (field, operator, value). Values may stand in either quotes or none."""
    terms: list[tuple[str, str, str]] = []
    position, joined = 0, bool(text.strip())
    while joined:
        match = _TERM.match(text, position)
        if match is None:
            problems.append(Problem(path="page_request.filter", message="must be like name='x' and status=\"ACTIVE\""))
            return []
        field, operator, *values, conjunction = match.groups()
        terms.append((field, operator, next(v for v in values if v is not None)))
        position, joined = match.end(), conjunction is not None
    return terms


def _order(text: str) -> list[tuple[str, bool]]:
    """`name, -createdAt` or `createdAt desc` as (field, descending)."""
    order = []
    for part in text.split(","):
        words = part.split()
        if words:
            order.append((words[0].lstrip("-+"), words[0].startswith("-") or words[-1].lower() == "desc"))
    return order


def _fits(shown: dict[str, Any], terms: list[tuple[str, str, str]]) -> bool:
    return all(_holds(str(_field(shown, name) or ""), operator, value) for name, operator, value in terms)


def _holds(text: str, operator: str, value: str) -> bool:
    """`~`: is somewhere in it, in capitals or not."""
    if operator == "~":
        return value.casefold() in text.casefold()
    return (text == value) is (operator == "=")


def _unknown(name: str, shape: Any) -> str | None:
    """What is wrong with a field's path, in words; None where the model has it."""
    for part in name.split("."):
        if not (isinstance(shape, type) and issubclass(shape, BaseModel)):
            return f"there is no field {name}"
        known = {field.alias or own: field.annotation for own, field in shape.model_fields.items()}
        if (camel := _camel(part)) not in known and part not in known:
            near = get_close_matches(camel, known, n=1)
            return f"there is no field {name}" + (
                f"; is {near[0]} meant?" if near else f"; there are {', '.join(known)}"
            )
        shape = known.get(camel, known.get(part))
        if get_origin(shape) is dict:
            return None  # whatever keys a user has made
    return None


def _camel(part: str) -> str:
    head, *rest = part.split("_")
    return head + "".join(word.capitalize() for word in rest)


def _field(shown: dict[str, Any], name: str) -> Any:
    """A field by its path, in camelCase or snake_case."""
    value: Any = shown
    for part in name.split("."):
        value = value.get(_camel(part), value.get(part)) if isinstance(value, dict) else None
    return value


def _key_of(name: str, shown: Any) -> Any:
    """What one row is sorted by."""
    return _sortable(_field(shown, name))


def _sortable(value: Any) -> tuple[bool, float, str]:
    if isinstance(value, int | float):
        return (value is not None, float(value), "")
    return (value is not None, 0.0, str(value))
