"""docs/api.md: every request of the API stands in it, and nothing that is none."""

import re
from itertools import chain
from pathlib import Path

from anypop.api import __main__ as program
from anypop.api.app import ROUTERS

DOCS = (Path(__file__).parents[2] / "docs" / "api.md").read_text()


def test_every_request_is_documented_and_every_documented_request_exists() -> None:
    """Method and path, as the application has them."""
    routes = chain.from_iterable(router.routes for router in ROUTERS)
    known = {(method, route.path) for route in routes for method in route.methods}
    written = set(re.findall(r"`(GET|POST|PUT|PATCH|DELETE) (/[^`?]+)`", DOCS)) - {("GET", "/anypop/v1/openapi.json")}
    assert written == known


def test_every_option_is_documented() -> None:
    """Each option of the control process has its row."""
    source = Path(program.__file__).read_text()
    for option in re.findall(r'add_argument\("(--[a-z-]+)"', source):
        assert f"| `{option}` |" in DOCS, option
