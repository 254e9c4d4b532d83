"""Files of relationships and places: what is read, and what is said about what is wrong."""

import bz2
import gzip

import numpy as np
import pytest

from anypop.model.errors import Invalid
from anypop.routing.internet.generate import generate
from anypop.routing.internet.places import Places, read_places
from anypop.routing.internet.relationships import Link, apply_overrides, provider_loops, read_relationships
from anypop.routing.internet.world import build_internet

SERIAL1 = b"# source:topology\n1|2|-1\n# step 2\n2|3|-1\n1|4|0\n"
SERIAL2 = b"# x\n1|2|-1|bgp\n2|3|-1|mlp\n1|4|0|bgp\n"
CSV = b"asn_a,asn_b,relation,note\n1,2,provider,\n3,2,customer,turned round\n1,4,peer,\n"


def links(data: bytes) -> list[tuple[int, int, int]]:
    found = read_relationships(data, "f")
    return sorted(zip(found.a.tolist(), found.b.tolist(), found.kind.tolist(), strict=True))


@pytest.mark.parametrize(
    "data", [SERIAL1, SERIAL2, CSV, gzip.compress(SERIAL1), bz2.compress(SERIAL2), SERIAL1.replace(b"\n", b"\r\n")]
)
def test_all_forms_say_the_same(data: bytes) -> None:
    """Serial-1, serial-2, our CSV, plain or packed."""
    assert links(data) == [(1, 2, Link.PROVIDER), (1, 4, Link.PEER), (2, 3, Link.PROVIDER)]


def test_line_numbers_survive_comments() -> None:
    """What is reported later still names the right line."""
    assert read_relationships(SERIAL1, "f").line.tolist() == [2, 4, 5]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"1|2\n3|0|4|-1\n", "f:1: '1|2' has 2 columns, not 3 or 4"),
        (b"1|2|0\n1||0\n", "f:2: '' is not an AS number"),
        (b"1|2|7\n", "f:1: relation '7' is none of -1, 0"),
        (b"1|1|0\n", "f:1: AS1 is linked with itself"),
        (b"1|99999999999|0\n", "f:1: '99999999999' is not an AS number"),
        (b"1|2|-1\n2|1|-1\n", "f:2: AS2 and AS1: line 1 says otherwise"),
        (b"1|2|-1\n1|2|0\n", "f:2: AS1 and AS2: line 1 says otherwise"),
        (b"asn_a,asn_b,relation\n1,2,none\n", "(none is for overrides)"),
        (b"# nothing\n", "f: holds no relationship at all"),
        (b"", "f: holds no relationship at all"),
        (b"BZh9 broken", "f: cannot be unpacked"),
        (b"\x1f\x8b broken", "f: cannot be unpacked"),
        (b"\xff\xfe\x00", "f:1:"),
    ],
)
def test_wrong_rows_are_named_with_their_lines(data: bytes, expected: str) -> None:
    """None of them crashes."""
    with pytest.raises(Invalid) as caught:
        read_relationships(data, "f")
    assert expected in str(caught.value)


def test_a_file_full_of_errors_tells_fifty_and_counts_the_rest() -> None:
    """Nobody reads half a million lines."""
    with pytest.raises(Invalid) as caught:
        read_relationships(b"x\n" * 1000, "f")
    assert len(caught.value.problems) == 51 and str(caught.value.problems[-1]) == "f: and 950 more problems"


def test_overrides_replace_add_and_remove() -> None:
    """The public data are wrong in places: 209 is a customer of 3356 there."""
    base = read_relationships(b"3356|209|0\n3356|1|-1\n209|1|0\n", "base")
    over = read_relationships(b"3356,209,provider\n209,1,none\n", "over", overrides=True)
    found = apply_overrides(base, over)
    assert sorted(zip(found.a.tolist(), found.b.tolist(), found.kind.tolist(), strict=True)) == [
        (3356, 1, -1),
        (3356, 209, -1),
    ]


def test_overrides_of_unknown_ases_are_told() -> None:
    """With the override's own line."""
    base = read_relationships(b"1|2|0\n1|3|0\n", "base")
    over = read_relationships(b"# x\n1,9,peer\n2,3,none\n", "over", overrides=True)
    with pytest.raises(Invalid) as caught:
        apply_overrides(base, over)
    assert [str(p) for p in caught.value.problems] == [
        "over:2: AS9 is in no link of base",
        "over:3: there is no link between AS2 and AS3 to remove",
    ]


def test_contradictory_overrides_are_refused() -> None:
    """Two rows about one pair must agree."""
    with pytest.raises(Invalid, match="line 1 says otherwise"):
        read_relationships(b"1,2,peer\n2,1,customer\n", "over", overrides=True)


def test_loops_of_providers_are_found() -> None:
    """Each loop with its members and lines; what hangs below or above is no part of it."""
    found = provider_loops(read_relationships(b"1|2|-1\n2|3|-1\n3|1|-1\n3|4|-1\n9|1|-1\n5|6|-1\n", "f"))
    assert [str(p) for p in found] == ["f:1: AS1, AS2, AS3 are their own providers in a loop (lines 1, 2, 3)"]
    assert provider_loops(read_relationships(SERIAL1, "f")) == ()


def test_places_are_cities_or_continents() -> None:
    """A continent alone stands for one of its exchange cities."""
    found = read_places("asn,cities\n3356,LHR jfk LAX\n# x\n64500,EU\n", "p")
    assert found.cities == {3356: ("LHR", "JFK", "LAX"), 64500: ("FRA",)}
    with pytest.raises(Invalid) as caught:
        read_places("3356,LHR QQQ\nx,LHR\n1\n5,LHR\n5,JFK\n7,\n", "p")
    assert [str(p).split(":")[1] for p in caught.value.problems] == ["1", "2", "3", "5", "6"]


def test_networks_meet_where_both_are() -> None:
    """In every city they share; else at the closest sites of each continent they share; a network of one place at
    the closest.
    """
    data = b"1|2|-1\n1|3|-1\n1|4|0\n1|5|-1\n"
    cities = {1: ("LHR", "JFK", "LAX"), 2: ("JFK", "LAX"), 3: ("SEA",), 4: ("AMS", "SIN"), 5: ("",)}
    net = build_internet(read_relationships(data, "f"), Places(cities=cities))
    assert len(net) == 9 and net.group_of(6) is None and list(net.sites_of(6)) == []
    met = {(net.name(i), net.name(int(j))) for i in range(len(net)) for j in net.customers.of(i)}
    assert met == {
        ("AS1 in JFK", "AS2 in JFK"),
        ("AS1 in LAX", "AS2 in LAX"),
        ("AS1 in LAX", "AS3 in SEA"),
        ("AS1 in LHR", "AS5"),
    }
    assert {(net.name(i), net.name(int(j))) for i in net.sites_of(1) for j in net.peers.of(i)} == {
        ("AS1 in LHR", "AS4 in AMS")
    }
    inside = net.sites_of(1)
    assert (
        net.internal.of(inside[0]).tolist() == [inside[1], inside[2]] and 5500 < net.internal.km_of(inside[0])[0] < 5600
    )


def test_a_generated_graph_looks_like_the_internet() -> None:
    """No loops, everybody has a provider but the clique, customers follow a power law, the same seed gives the same
    graph.
    """
    world = generate(5000, 7)
    rel = world.relationships
    assert provider_loops(rel) == ()
    customers = np.unique(rel.b[rel.kind == Link.PROVIDER])
    assert len(np.unique(np.concatenate([rel.a, rel.b]))) == 5000 and len(customers) == 5000 - 14
    degree = np.sort(np.unique(rel.a[rel.kind == Link.PROVIDER], return_counts=True)[1])[::-1]
    assert degree[0] > 10 * degree[100] and 0.3 < len(rel.a[rel.kind == Link.PEER]) / len(rel) < 0.8
    again = generate(5000, 7).relationships
    assert np.array_equal(rel.a, again.a) and not np.array_equal(rel.a, generate(5000, 8).relationships.a)
    assert set(world.places.cities) == set(np.unique(np.concatenate([rel.a, rel.b])).tolist())
    with pytest.raises(Invalid):
        generate(10, 1)
