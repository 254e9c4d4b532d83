"""The coastlines, as the data of an SVG path in the picture's own units.

In: the file that `script/assets` makes, which stands among the portal's assets since browsers load it too. Out: what
is inside its one path. Read once.
"""

import re
from functools import cache
from importlib.resources import files


@cache
def land() -> str:
    """The continents without the Antarctic."""
    text = files("anypop").joinpath("portal", "assets", "land.svg").read_text(encoding="utf-8")
    found = re.search(r' d="([^"]+)"', text)
    assert found is not None, "land.svg has one path"
    return found[1]
