"""Who must know whom before a lab is ready."""

from pathlib import Path

from anypop.lab.settle import reach
from anypop.lab.topology_read import load

ARTICLE = (Path(__file__).parents[2] / "topologies" / "article.yaml").read_text()


def test_in_the_article_everyone_learns_of_everyone() -> None:
    """Every AS has a transit among the four that all swap routes."""
    known = reach(load(ARTICLE))
    assert all(len(found) == len(known) for found in known.values())


def test_a_peers_peer_is_not_heard_of() -> None:
    """Routes of a peer are not passed on to another peer: without its peering with AS1299, AS3257 learns nothing of
    Amsterdam.
    """
    text = ARTICLE.replace("  - {a: 3257, b: 1299, relationship: peer, at: [LHR, JFK]}\n", "")
    known = reach(load(text))
    assert 64496 not in known[3257]
    assert 64496 in known[2914]


def test_a_route_server_and_a_sibling_pass_on_and_a_link_of_one_family_does_not_in_the_other() -> None:
    """Without its own peering AS3257 learns of Amsterdam by a route server, by a sibling, and in IPv6 alone by a link
    of that family.
    """
    peering = "  - {a: 3257, b: 1299, relationship: peer, at: [LHR, JFK]}\n"
    system = "  - {asn: 64999, cities: [LHR], habits: [route-server]}\n"
    served = peering.replace("1299", "64999").replace(", JFK", "") + (
        "  - {a: 1299, b: 64999, relationship: peer, at: [LHR]}\n"
    )
    assert 64496 in reach(load(ARTICLE.replace(peering, served).replace("ases:\n", f"ases:\n{system}")))[3257]
    assert 64496 in reach(load(ARTICLE.replace(peering, peering.replace("peer,", "sibling,"))))[3257]
    six = load(ARTICLE.replace(peering, peering.replace("at:", "family: 6, at:")))
    assert 64496 not in reach(six, 4)[3257]
    assert 64496 in reach(six, 6)[3257]
