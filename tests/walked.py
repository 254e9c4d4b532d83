"""Every page and every form of the portal, found by walking its routes and its source: a new one is in the tests by
itself.

In: nothing. Out: addresses with a value for each part, and the names of all that pages read out of queries and forms.
"""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from anypop.portal.app import OPEN, PAGES

SOURCE = Path(__file__).parents[1] / "src" / "anypop" / "portal"
# of what `World.create` makes; a part that is not here is asked for by a name that nothing has
VALUES = {
    "stack": "default", "workload": "fun", "instance": "fun-eu-ams-0", "name": "portal.css", "pop": "AMS",
    "host": "AMS", "city": "AMS", "container": "web", "revision": "1",
    "target": "eu",
}  # fmt: skip
# these end what the walk needs: the session itself, or its user's password
ENDS = ("/portal/sign-out", "/portal/access/password")
# forms that change nothing: their answers stand on the page from which they are asked
QUESTIONS = ("/routing/glass#glass", "/routing/explain#explain")


def addresses(method: str, *, opened: bool = False, values: Mapping[str, str] = VALUES) -> Iterator[str]:
    """All pages (GET) or forms (POST) for those who have a session, or `opened` for everybody; no stream."""
    for asked, path, _ in OPEN if opened else PAGES:
        if asked == method and not path.endswith("stream") and path not in ENDS:
            yield re.sub(r"{(\w+)[^}]*}", lambda part: values.get(part[1], "none-such"), path)


@cache
def read_names() -> tuple[str, ...]:
    """Names of parameters and fields, as the source reads them."""
    text = "".join(path.read_text(encoding="utf-8") for path in sorted(SOURCE.rglob("*.py")))
    found = re.findall(r"(?:query|form|query_params|columns|asked)\.(?:get|getlist|pop)\(\s*\"([\w-]+)\"", text)
    return tuple(dict.fromkeys(name for name in found if name not in ("sign", "done")))
