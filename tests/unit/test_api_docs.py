"""docs/api.md: every request of the API stands in it, and nothing that is none; what it names exists, what it counts
is so.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from anypop.api import __main__ as program
from anypop.api import bodies, openapi
from anypop.api.app import ROUTERS
from anypop.api.errors import STATUS
from anypop.model import limits

DOCS = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
DOCUMENT = openapi.description(ROUTERS)
ROWS = re.findall(r"^\| `(GET|POST|PUT|PATCH|DELETE) (/[^`?]+)[^`]*` \| (.*) \|$", DOCS, re.MULTILINE)
SENT = re.compile(r'"([A-Za-z_]+)"')


def test_every_request_is_documented_and_every_documented_request_exists() -> None:
    """Method and path, as the application has them."""
    known = {(method.upper(), path) for path, methods in DOCUMENT["paths"].items() for method in methods}
    written = set(re.findall(r"`(GET|POST|PUT|PATCH|DELETE) (/[^`?]+)`", DOCS)) - {("GET", "/anypop/v1/openapi.json")}
    assert written == known


@pytest.mark.parametrize(("method", "path", "cell"), ROWS, ids=[f"{method} {path}" for method, path, _ in ROWS])
def test_what_a_row_names_is_in_the_models_of_its_request(method: str, path: str, cell: str) -> None:
    """Members in JSON, and single words in code: of what is sent, of what is answered, or among their values."""
    operation = DOCUMENT["paths"][path][method.lower()]
    known = set(words(operation))
    code = re.findall(r"`([^`]+)`", cell)
    named = {name for part in code if part.startswith(("{", "[")) for name in SENT.findall(part)}
    named |= {part for part in code if re.fullmatch(r"[a-z]+(?:_[a-z]+)+", part)}
    assert named <= known, named - known


def words(value: Any, passed: frozenset[str] = frozenset()) -> Iterator[str]:
    """All keys, and all texts, of a part of the description and of what it refers to."""
    if isinstance(value, dict):
        for key, member in value.items():
            yield str(key)
            if key == "$ref" and member not in passed:
                *_, kind, name = member.split("/")
                yield from words(DOCUMENT["components"][kind][name], passed | {member})
            yield from words(member, passed)
    elif isinstance(value, list):
        for member in value:
            yield from words(member, passed)
    elif isinstance(value, str):
        yield value


def test_every_code_of_an_error_is_documented() -> None:
    """With the status that follows from it."""
    (table,) = re.findall(r"with the code of google\.rpc; (.*?)\. `details`", DOCS, re.DOTALL)
    assert {int(code): int(status) for code, status in re.findall(r"(\d+) → (\d+)", table)} == {
        int(c): s for c, s in STATUS.items()
    }


def test_the_limits_are_those_that_hold() -> None:
    """In the words of the page."""
    mib = bodies.BODY_LIMIT >> 20
    assert f"A body may have {mib} MiB and {limits.DEEPEST} levels" in DOCS
    (names,) = re.findall(r"A body may have .*?half a character\.", DOCS, re.DOTALL)
    assert {int(n) for n in re.findall(r"\d+", names)} == {
        mib, limits.DEEPEST, limits.LONGEST_TEXT, limits.LONGEST_KEY, limits.LONGEST_NAME, limits.LONGEST_NOTE
    }  # fmt: skip


def test_every_option_is_documented() -> None:
    """Each option of the control process has its row."""
    source = Path(program.__file__).read_text()
    for option in re.findall(r'add_argument\("(--[a-z-]+)"', source):
        assert f"| `{option}` |" in DOCS, option
