"""One check of all that is sent: depth, and texts that are too long or that nothing could hold."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anypop.model import limits
from anypop.model.errors import Invalid

TEXTS = st.text(st.characters(exclude_categories=()) | st.just("\0"), max_size=4)
DATA = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=20,
)


def wrong(data: Any) -> dict[str, str]:
    try:
        limits.check(data)
    except Invalid as error:
        return {p.path: p.message for p in error.problems}
    return {}


def nested(levels: int) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for _ in range(levels - 1):
        data = {"a": data}
    return data


def test_depth_has_a_limit_and_costs_no_stack() -> None:
    """64 levels are fine, 65 are not, and neither are ten thousand."""
    assert not wrong(nested(limits.DEEPEST))
    for levels in (limits.DEEPEST + 1, 10_000):
        assert wrong(nested(levels)) == {"": f"the body is nested more than {limits.DEEPEST} levels deep"}


def test_each_text_is_found_where_it_stands() -> None:
    """Values and keys, in lists and objects, all at once; a path can always be written."""
    data = {"a": [1, "x\0"], "b": {"\ud800": {"c": "\udfff"}, "ü": "ü"}, "k" * 513: 1, "t": "t" * 131_073}
    found = wrong(data)
    assert found.keys() == {"a[1]", "b.\\ud800", "b.\\ud800.c", "k" * 40 + "...", "t"}
    json.dumps(found, ensure_ascii=False).encode()


@given(data=DATA)
def test_what_passes_can_be_written_and_holds_no_nul_and_what_does_not_pass_cannot(data: Any) -> None:
    """As JSON in UTF-8; and the quick look at the JSON text misses nothing."""
    written = json.dumps(data, ensure_ascii=False)
    fit = "\\u0000" not in written.replace("\\\\", "")
    try:
        written.encode()
    except UnicodeEncodeError:
        fit = False
    assert bool(wrong({"data": data})) is not fit
    assert fit or limits.may_break(json.dumps(data).encode())


@pytest.mark.parametrize("data", [None, 1, "text", True, [], {}])
def test_what_is_no_object_has_nothing_to_look_at(data: Any) -> None:
    """Whoever wants an object says so itself."""
    assert not wrong(data)
