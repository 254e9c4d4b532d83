"""Wrong topologies and what is said about them: `topology/NAME.yaml` and, as recorded, `topology/NAME.txt`.

To record anew after a wanted change: ANYPOP_RECORD=1 pytest tests/golden/test_topology_errors.py, then read the
difference.
"""

import os
from pathlib import Path

import pytest

from anypop.lab.topology_read import load
from anypop.model.errors import Invalid

WRONG = sorted((Path(__file__).parent / "topology").glob("*.yaml"))


@pytest.mark.parametrize("path", WRONG, ids=lambda path: path.stem)
def test_every_problem_of_a_wrong_topology_is_told_at_once_with_its_path(path: Path) -> None:
    """The message is the recorded one, line by line."""
    with pytest.raises(Invalid) as told:
        load(path.read_text(), name=path.stem)
    recorded = path.with_suffix(".txt")
    if os.environ.get("ANYPOP_RECORD"):
        recorded.write_text(f"{told.value}\n")
    assert f"{told.value}\n" == recorded.read_text()
