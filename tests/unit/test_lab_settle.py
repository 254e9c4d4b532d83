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
