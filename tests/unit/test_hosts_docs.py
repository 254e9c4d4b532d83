"""docs/hosts.md shows what an edge router is really given, and says what is really taken."""

from pathlib import Path

import yaml

from anypop.model.network import network_from

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "hosts.md").read_text()
GOLDEN = (ROOT / "tests" / "golden" / "lab" / "pop-jfk.conf").read_text()


def test_each_part_of_the_shown_configuration_stands_in_a_real_one() -> None:
    """Word for word, and in the same order."""
    shown = PAGE.partition("```bird\n")[2].partition("\n```")[0]
    lines = [line for part in shown.split("\n\n")[:1] for line in part.splitlines()]
    assert all(f"{line}\n" in GOLDEN for line in lines)
    parts = shown.split("\n\n")[1:]
    places = [GOLDEN.find(f"\n{part}\n") for part in parts]
    assert len(parts) > 12
    assert -1 not in places
    assert places == sorted(places)


def test_the_shown_network_document_is_one() -> None:
    """Its PoP, with the second host left out, is read as it is written."""
    text = PAGE.partition("```yaml\n")[2].partition("```")[0].partition("      - name: LHR-2")[0]
    own = {"asn": 33438, "anycast4": ["198.18.0.0/24"], "anycast6": ["2001:db8:a0::/48"]}
    (pop,) = network_from({**own, **yaml.safe_load(text)}).pops
    assert [u.name for u in pop.upstreams] == ["arelion", "level3"]
    assert [(h.name, h.upstreams[0].kind) for h in pop.hosts] == [("LHR-1", "edge")]
