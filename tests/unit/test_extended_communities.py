"""Extended communities: how they are written, what a dictionary makes of them, and that they ask for no other thing."""

from dataclasses import replace

import pytest

from anypop.lab.policy import Neighbour, Policy
from anypop.model.errors import Invalid
from anypop.model.extended_communities import read, read_bird, spelled, text
from anypop.model.route import Relationship
from anypop.routing.actions import LocalPreference, Neighbours, NoExportTo, Prepend, Relation
from anypop.routing.dictionary import as_data, for_asn, of_data
from anypop.routing.dictionary_file import read_dictionary

TARGET = (0, 2, 6939, 70)


def test_what_bird_prints_is_read_as_numbers() -> None:
    """Named and generic ones; an administrator of four octets has a type of its own."""
    printed = (
        "(rt, 6939, 70) (ro, 6939, 4200000004) (rt, 4200000004, 7) (rt, 192.0.2.1, 70) (unknown 0x4, 1, 2)"
        " (unknown 0x204, 65536, 2) (unknown 0x104, 0.1.0.0, 2) (generic, 0x3000000, 0x1) (generic, 0x43000001, 0x2)"
    )
    assert sorted(map(text, read_bird(printed))) == [
        "generic:0x00040001:0x2",
        "generic:0x01040001:0x2",
        "generic:0x02040001:0x2",
        "generic:0x03000000:0x1",
        "generic:0x43000001:0x2",
        "ro:6939:4200000004",
        "rt:192.0.2.1:70",
        "rt:4200000004:7",
        "rt:6939:70",
    ]


@pytest.mark.parametrize(
    "written", ["rt:6939:70", "ro:0:4294967295", "rt:70000:65535", "ro:192.0.2.1:7", "generic:0x03060000:0x0"]
)
def test_what_is_written_is_read_and_written_again_as_it_was(written: str) -> None:
    """And BIRD takes the words."""
    assert text(read(written)) == written
    name, head, tail = spelled(read(written))
    assert read_bird(f"({name}, {head}, {tail})") == (read(written),)


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("rt:1", "write rt:"),
        ("rt:1:x", "write rt:"),
        ("rt:70000:65536", "65536 is above 65535"),
        ("rt:4294967296:1", "is above 4294967295"),
        ("ro:192.0.2.300:1", "192.0.2.300"),
        ("ro:192.0.2.1:65536", "65536 is above 65535"),
        ("generic:0x43000000:0x1", "not carried from one network to another"),
        ("generic:0x02020000:0x10001", "type of two octets"),
    ],
)
def test_what_is_none_or_would_reach_no_neighbour_is_refused_in_words(written: str, why: str) -> None:
    """Before it stands in a scope; a large one of the same numbers is another community."""
    with pytest.raises(ValueError, match=why):
        read(written)


def test_a_dictionary_knows_them_beside_those_of_the_same_numbers() -> None:
    """`rt:6939:70` is not 6939:70 nor 6939:70:0, and stands for a neighbour where it has the placeholder."""
    book = for_asn(6939)
    target = book.lookup(TARGET)
    assert target is not None and target.text == "rt:6939:70"
    assert target.action == LocalPreference(relation=Relation.BELOW_PEER)
    named = book.lookup((0, 3, 6939, 4200000004))
    assert named is not None and named.action == NoExportTo(neighbour=4200000004)
    assert named.text == "ro:6939:4200000004" and named.numbers == (0, 3, 6939, 4200000004)
    assert book.lookup((0, 2, 6939, 1)) is None and book.lookup((6939, 7001, 0)) is None
    assert of_data(as_data(book)) == book


def test_one_is_proposed_where_nothing_else_does_what_is_wanted() -> None:
    """Of a network that has only extended ones every kind of wish is answered; of one that has others too, by those."""
    both = for_asn(6939)
    only = replace(both, entries=tuple(entry for entry in both.entries if entry.is_extended))
    for wanted, expected in (
        (LocalPreference(relation=Relation.BELOW_PEER), "rt:6939:70"),
        (Prepend(count=3, neighbour=Neighbours.ALL), "rt:6939:7003"),
        (NoExportTo(neighbour=64500), "ro:6939:64500"),
    ):
        found, other = only.find(wanted), both.find(wanted)
        assert found is not None and found.text == expected and len(found.value) == 4
        assert other is not None and not other.is_extended


def test_an_administrator_of_four_octets_leaves_two_for_the_value() -> None:
    """In a file, and for a neighbour whose number is longer."""
    document = """
asn: 4200000000
name: n
defaults: {source: s, date: "2026"}
communities:
  - {community: "rt:4200000000:<asn>", action: {kind: no-export-to, neighbour: <asn>}, meaning: m}
  - {community: "rt:4200000000:65536", action: {kind: blackhole}, meaning: m}
"""
    with pytest.raises(Invalid) as found:
        read_dictionary(document, "f")
    assert [(p.path, p.message) for p in found.value.problems] == [
        ("f entry 2 (rt:4200000000:65536).community", "'65536' must be a number from 0 to 65535")
    ]
    pattern = read_dictionary("\n".join(document.splitlines()[:-1]), "f").entries[0]
    short = pattern.for_neighbour(64500)
    assert short is not None and short.numbers == (2, 2, 4200000000, 64500)
    assert pattern.for_neighbour(65536) is None


def test_routers_ask_for_them_by_name() -> None:
    """In BIRD's words, of its own list of extended communities."""
    policy = Policy(asn=64600, city="LHR", region="EU", entries=for_asn(6939).concrete([64601]))
    assert any("(rt, 6939, 70) ~ bgp_ext_community then bgp_local_pref = 150" in line for line in policy.preferring())
    other = Neighbour(asn=64601, relationship=Relationship.CUSTOMER, footprint=frozenset())
    assert any("(ro, 6939, 64601) ~ bgp_ext_community" in line and "reject" in line for line in policy.leaving(other))
