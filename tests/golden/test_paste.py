"""Pasted texts of four makers and what is said about each, side by side in tests/golden/paste: NAME.txt is the paste,
NAME.out the answer.

Those of FRR 8.4 and BIRD 2.0.12 were printed by real daemons. To record anew after a wanted change:
ANYPOP_RECORD=1 pytest tests/golden/test_paste.py, then read the difference.
"""

import json
import os
from pathlib import Path

import pytest

from anypop.cli import routes
from anypop.cli.table import Table, lines
from anypop.routing.paste import sentences
from anypop.routing.paste.explained import explain
from anypop.routing.paste.read import read

PASTES = sorted((Path(__file__).parent / "paste").glob("*.txt"))


def told(text: str) -> str:
    found = [sentences.data(one) for one in explain(read(text))]
    assert json.loads(json.dumps(found)) == found
    rows: list[str] = []
    for item in routes.lines(found):
        if isinstance(item, Table):
            rows += ["".join(piece for piece, _ in line) for line in lines(item, None)]
        else:
            rows.append(str(item))
    return "\n".join(rows) + "\n"


@pytest.mark.parametrize("path", PASTES, ids=lambda path: path.stem)
def test_a_paste_is_explained_as_it_was(path: Path) -> None:
    """The table and every sentence."""
    today = told(path.read_text())
    answer = path.with_suffix(".out")
    if os.environ.get("ANYPOP_RECORD"):
        answer.write_text(today)
    assert today == answer.read_text()
