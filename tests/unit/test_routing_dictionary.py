"""The dictionary of action communities: what ships, what can be found, and what its loader says about errors."""

import pytest

from anypop.model.errors import Invalid
from anypop.routing.actions import (
    Informational,
    KeepInRegion,
    LocalPreference,
    Neighbours,
    NoExportTo,
    Prepend,
    Region,
    Relation,
    Where,
)
from anypop.routing.dictionary import for_asn, known_asns, well_known
from anypop.routing.dictionary_file import read_dictionary


def test_every_shipped_file_loads_and_belongs_to_its_as() -> None:
    """The file name is the AS, and each entry says what it means and where that is from."""
    assert {174, 209, 1299, 2914, 3257, 3356, 6461, 6939, 20473} <= set(known_asns())
    for asn in known_asns():
        book = for_asn(asn)
        assert book.asn == asn and book.name
        assert all(entry.meaning and entry.source for entry in book.entries)


def test_invented_sets_say_so() -> None:
    """Nobody can mistake the lab's own sets for a real network's."""
    for asn in (209, 3257, 6939):
        own = [entry for entry in for_asn(asn).entries if entry not in well_known() and entry.text != "6939:666"]
        assert own and all(entry.invented and not entry.verified for entry in own)


def test_what_is_wanted_is_found() -> None:
    """A repair asks by action and gets the community of that AS."""
    keep = for_asn(209).find(KeepInRegion(region=Region.NA))
    assert keep is not None and keep.value == (209, 7100)
    suppress = for_asn(3356).find(NoExportTo(neighbour=2914))
    assert suppress is not None and suppress.value == (65000, 2914)
    lumen = for_asn(1299).find(NoExportTo(neighbour=3356, where=Where(regions=frozenset({Region.EU}))))
    assert lumen is not None and lumen.value == (1299, 2569)
    as_peer = for_asn(1299).find(LocalPreference(relation=Relation.AS_PEER))
    assert as_peer is not None and as_peer.value == (1299, 150)
    assert for_asn(64512).find(KeepInRegion(region=Region.EU)) is None


def test_well_known_communities_hold_in_every_as() -> None:
    """Also in one that no file describes."""
    for asn in (64512, 3356):
        shutdown = for_asn(asn).lookup((65535, 0))
        assert shutdown is not None and shutdown.action == LocalPreference(value=0, relation=Relation.LOWEST)
    no_peer = for_asn(64512).lookup((65535, 65284))
    assert no_peer is not None and no_peer.action == NoExportTo(neighbour=Neighbours.PEERS)


def test_a_pattern_stands_for_one_community_per_neighbour() -> None:
    """65002:<asn> of AS3356 prepends twice to that neighbour; a number of more than 16 bits does not fit into a
    pair.
    """
    found = for_asn(3356).lookup((65002, 174))
    assert found is not None and found.action == Prepend(count=2, neighbour=174)
    literal = for_asn(3356).lookup((65000, 0))
    assert literal is not None and literal.action == NoExportTo(neighbour=Neighbours.PEERS)
    pattern = next(entry for entry in for_asn(3356).entries if entry.text == "65002:<asn>")
    assert pattern.for_neighbour(4200000000) is None
    assert all(not entry.is_pattern for entry in for_asn(3356).concrete([174, 2914]))
    with pytest.raises(ValueError):
        _ = pattern.value


def test_a_place_is_relative_to_regions_or_to_the_announcement() -> None:
    """`outside the region of the announcement` is known only where the announcement enters."""
    europe = Where(regions=frozenset({Region.EU}))
    beyond = Where(announced=True, outside=True)
    assert europe.covers(Region.EU, Region.NA) and not europe.covers(Region.NA, Region.EU)
    assert beyond.covers(Region.AS, Region.EU) and not beyond.covers(Region.EU, Region.EU)
    assert Where().covers(Region.AF, Region.EU)


BROKEN = """
asn: 70000000000
name: x
colour: red
defaults: {source: s, date: "2020"}
communities:
  - {community: "1:2", action: {kind: prepend, count: 99, neighbour: peer}, meaning: m}
  - {community: "1:2", action: {kind: shout}, meaning: ""}
  - {community: 17, action: {kind: keep-in-region, region: EUROPE}, meaning: m, date: "20"}
  - {community: "70000:1", action: {kind: local-preference}, meaning: m, invented: maybe}
  - {community: "1:<asn>", action: {kind: no-export-to, neighbour: all, region: EU, outside_region: NA}, meaning: m}
  - {community: "1:3", action: {kind: no-export-to, neighbour: <asn>, speed: 3}, meaning: m}
"""


def test_every_error_of_a_file_is_reported_with_file_entry_and_path() -> None:
    """One run tells all."""
    with pytest.raises(Invalid) as caught:
        read_dictionary(BROKEN, "my.yaml")
    found = str(caught.value)
    for expected in (
        "my.yaml asn:",
        "my.yaml colour: unknown field",
        "my.yaml entry 1 (1:2).action.count: '99' must be a number from 1 to 10",
        "my.yaml entry 1 (1:2).action.neighbour: must be customers, peers, providers, all, everyone",
        "my.yaml entry 2 (1:2).action.kind: must be one of",
        "my.yaml entry 2 (1:2).meaning: must be text",
        "my.yaml entry 2 (1:2).community: is already entry 1",
        "my.yaml entry 3 (17).community:",
        "my.yaml entry 3 (17).action.region: 'EUROPE' must be one of EU, NA",
        "my.yaml entry 3 (17).date:",
        "my.yaml entry 4 (70000:1).community: '70000' must be a number from 0 to 65535",
        "my.yaml entry 4 (70000:1).action: needs a value, a relation, or both",
        "my.yaml entry 4 (70000:1).invented: must be true or false",
        "my.yaml entry 5 (1:<asn>).action.neighbour: must be <asn>",
        "my.yaml entry 5 (1:<asn>).action.outside_region: cannot stand beside region",
        "my.yaml entry 6 (1:3).action.neighbour: is <asn>, but the community has no placeholder",
        "my.yaml entry 6 (1:3).action.speed: unknown field",
    ):
        assert expected in found, expected


@pytest.mark.parametrize("text", ["", "[]", "a: [", "asn: 1\nname: x\ncommunities: 3\n"])
def test_a_file_that_is_no_dictionary_is_an_error_and_no_crash(text: str) -> None:
    """Whatever is in the file."""
    with pytest.raises(Invalid):
        read_dictionary(text, "x.yaml")


def test_an_informational_community_changes_nothing() -> None:
    """3356:123 tells that a route is a customer's."""
    entry = for_asn(3356).lookup((3356, 123))
    assert entry is not None and entry.action == Informational()
