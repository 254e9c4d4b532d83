"""Pages: walking them gives every item once, in order, whatever the page size."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from anypop.api.models.workloads import Instance, Workload
from anypop.api.pages import page
from anypop.model.errors import Invalid


class Row(BaseModel):
    """What these lists show."""

    i: int
    name: str
    status: str
    createdAt: str  # noqa: N815 - as the API has it
    size: int
    labels: dict[str, str]


ROWS: list[dict[str, Any]] = [
    {"name": "b", "status": "ACTIVE", "createdAt": "3", "size": 2},
    {"name": "a", "status": "ACTIVE", "createdAt": "1", "size": 10},
    {"name": "c's", "status": "DISABLED", "createdAt": "2"},
]


@given(count=st.integers(0, 60), first=st.integers(1, 70))
def test_walking_the_pages_gives_every_item_once_and_in_order(count: int, first: int) -> None:
    """Starting at -1 and following endCursor while hasNextPage says so, every item comes exactly once, and
    totalCount never lies.
    """
    items, after = list(range(count)), "-1"
    seen: list[int] = []
    for _ in range(count + 1):
        found = page(items, {"page_request.first": str(first), "page_request.after": after}, lambda i: {"i": i}, Row)
        info = found["pageInfo"]
        assert info["totalCount"] == str(count)
        assert info["hasPreviousPage"] == bool(seen)
        seen += [row["i"] for row in found["results"]]
        if not info["hasNextPage"]:
            break
        after = info["endCursor"]
    assert seen == items


def test_the_default_page_has_ten_items() -> None:
    """As the API's documentation shows: cursors "0" to "9"."""
    info = page(list(range(11)), {}, lambda i: {"i": i}, Row)["pageInfo"]
    assert info == {
        "totalCount": "11",
        "hasPreviousPage": False,
        "hasNextPage": True,
        "startCursor": "0",
        "endCursor": "9",
    }


def test_a_first_of_zero_means_the_default() -> None:
    """Protobuf cannot tell zero from absent."""
    assert len(page(list(range(11)), {"page_request.first": "0"}, lambda i: {"i": i}, Row)["results"]) == 10


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('name="a"', ["a"]),
        ("name='b' and status='ACTIVE'", ["b"]),
        ("name='b' AND status=\"DISABLED\"", []),
        ("status!=ACTIVE", ["c's"]),
        ('name="c\'s"', ["c's"]),
        ("created_at=1", ["a"]),
        ("labels.anything='x'", []),
        ("   ", ["b", "a", "c's"]),
    ],
)
def test_filters_choose(text: str, names: list[str]) -> None:
    """Equal and not equal, joined by and, values in either quotes or none, fields in either case."""
    found = page(ROWS, {"page_request.filter": text}, dict, Row)
    assert [row["name"] for row in found["results"]] == names
    assert found["pageInfo"]["totalCount"] == str(len(names))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("name", ["a", "b", "c's"]),
        ("-name", ["c's", "b", "a"]),
        ("created_at desc", ["b", "c's", "a"]),
        ("size", ["c's", "b", "a"]),
    ],
)
def test_sorting(text: str, names: list[str]) -> None:
    """By a field, upwards or downwards; numbers by value; what lacks the field stands first."""
    assert [row["name"] for row in page(ROWS, {"page_request.sort_by": text}, dict, Row)["results"]] == names


def test_all_that_is_wrong_is_said_at_once() -> None:
    """Three bad parameters are three problems, each with its name."""
    bad = {"page_request.first": "-1", "page_request.after": "x", "page_request.filter": "name=="}
    with pytest.raises(Invalid) as caught:
        page(ROWS, bad, dict, Row)
    assert [p.path for p in caught.value.problems] == list(bad)


@pytest.mark.parametrize(
    ("parameter", "text", "model", "words"),
    [
        ("filter", "naem='x'", Workload, "there is no field naem; is name meant?"),
        ("filter", "name='x' and metadata.verison='1'", Workload, "no field metadata.verison; is version meant?"),
        ("sort_by", "-color", Row, "there is no field color"),
        ("sort_by", "name.first", Row, "there is no field name.first"),
        ("filter", "location.city_cod='AMS'", Instance, "is cityCode meant?"),
    ],
)
def test_a_field_that_is_not_there_is_told(parameter: str, text: str, model: type[BaseModel], words: str) -> None:
    """A list that is empty for a word that is misspelt looks like one that is empty."""
    with pytest.raises(Invalid) as caught:
        page([], {f"page_request.{parameter}": text}, dict, model)
    (problem,) = caught.value.problems
    assert problem.path == f"page_request.{parameter}"
    assert words in problem.message
