"""Extended communities: how they are written, what a dictionary makes of them, and that they ask for no other thing."""

import pytest

from anypop.lab.policy import Neighbour, Policy
from anypop.model.errors import Invalid
from anypop.model.route import Relationship
from anypop.routing.actions import LocalPreference, Neighbours, NoExportTo, Prepend, Relation
from anypop.routing.dictionary import as_data, for_asn, of_data
from anypop.routing.dictionary_file import read_dictionary
from anypop.routing.extended import read_bird, spelled

TARGET = (0, 2, 6939, 70)


def test_what_bird_prints_is_read_as_numbers() -> None:
    """Named and generic ones; an administrator of four octets has a type of its own."""
    text = "(rt, 6939, 70) (ro, 6939, 4200000004) (rt, 4200000004, 7) (generic, 0x43000001, 0x2) (rt, 192.0.2.1, 5)"
    found = read_bird(text)
    assert found == (TARGET, (0, 3, 6939, 4200000004), (2, 2, 4200000004, 7), (0x43, 0, 1, 2))
    assert [" ".join(spelled(c)) for c in found][2:] == ["rt 4200000004 7", "generic 0x43000001 0x2"]


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


def test_no_scope_can_have_one_so_none_is_proposed() -> None:
    """What is wanted is found among the others."""
    target = for_asn(6939).lookup(TARGET)
    assert target is not None
    with pytest.raises(ValueError, match="rt:6939:70 is an extended community"):
        _ = target.value
    for wanted in (target.action, Prepend(count=3, neighbour=Neighbours.ALL), NoExportTo(neighbour=64500)):
        found = for_asn(6939).find(wanted)
        assert found is not None and not found.is_extended


def test_an_administrator_of_four_octets_leaves_two_for_the_value() -> None:
    """In a file, and for a neighbour whose number is longer."""
    text = """
asn: 4200000000
name: n
defaults: {source: s, date: "2026"}
communities:
  - {community: "rt:4200000000:<asn>", action: {kind: no-export-to, neighbour: <asn>}, meaning: m}
  - {community: "rt:4200000000:65536", action: {kind: blackhole}, meaning: m}
"""
    with pytest.raises(Invalid) as found:
        read_dictionary(text, "f")
    assert [(p.path, p.message) for p in found.value.problems] == [
        ("f entry 2 (rt:4200000000:65536).community", "'65536' must be a number from 0 to 65535")
    ]
    pattern = read_dictionary("\n".join(text.splitlines()[:-1]), "f").entries[0]
    short = pattern.for_neighbour(64500)
    assert short is not None and short.numbers == (2, 2, 4200000000, 64500)
    assert pattern.for_neighbour(65536) is None


def test_routers_ask_for_them_by_name() -> None:
    """In BIRD's words, of its own list of extended communities."""
    policy = Policy(asn=64600, city="LHR", region="EU", entries=for_asn(6939).concrete([64601]))
    assert any("(rt, 6939, 70) ~ bgp_ext_community then bgp_local_pref = 150" in line for line in policy.preferring())
    other = Neighbour(asn=64601, relationship=Relationship.CUSTOMER, footprint=frozenset())
    assert any("(ro, 6939, 64601) ~ bgp_ext_community" in line and "reject" in line for line in policy.leaving(other))
