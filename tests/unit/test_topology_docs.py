"""docs/topology.md says what the reader of topologies does."""

import re
from pathlib import Path

import pytest

from anypop.lab import topology_read
from anypop.lab.topology_read import load
from anypop.model.errors import Invalid

PAGE = (Path(__file__).parents[2] / "docs" / "topology.md").read_text()
EXAMPLE = PAGE.partition("```yaml\n")[2].partition("```")[0]


def test_the_example_of_the_page_is_a_right_topology() -> None:
    """It can be copied as it is."""
    topology = load(EXAMPLE)
    assert (len(topology.ases), len(topology.links), len(topology.vantages), len(topology.own.pops)) == (3, 4, 1, 1)


def test_every_field_that_is_read_stands_on_the_page() -> None:
    """The names in the reader's lists of required and optional fields, each as a key of the example or in the text."""
    source = Path(topology_read.__file__).read_text()
    names = {
        name
        for group in re.findall(r"(?:required|optional)=\(([^)]*)\)", source)
        for name in re.findall(r'"(\w+)"', group)
    }
    assert {"ases", "relationship", "between", "km", "external6"} <= names
    assert {name for name in names if not re.search(rf"\b{name}:", PAGE)} == set()


def test_the_check_of_the_example_can_fail() -> None:
    """Without AS209 the links to it dangle."""
    with pytest.raises(Invalid, match="dangling"):
        load(EXAMPLE.replace("  - {asn: 209, cities: [JFK, LAX]}\n", ""))
