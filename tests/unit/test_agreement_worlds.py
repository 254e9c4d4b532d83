"""Random worlds for the comparison with real routers, the bridge from lab to model, and the search for the smallest
disagreement.
"""

from itertools import pairwise

import pytest
from bench.agreement.shrink import only, shrink
from bench.agreement.worlds import PREFIXES, World, world

from anypop.lab import address, model
from anypop.lab.topology import Habit, LinkKind
from anypop.lab.topology_read import load
from anypop.model.announce import Mode, Scope
from anypop.model.names import CityCode
from anypop.routing.engine.propagate import Engine
from tests.lab.conftest import ARTICLE

LHR = CityCode("LHR")


@pytest.mark.parametrize("seed", range(1, 6))
def test_every_seed_is_a_topology_and_always_the_same(seed: int) -> None:
    """5 to 40 networks; the same text twice."""
    found = world(seed)
    assert 5 <= len(found.topology.ases) <= 40
    assert found.text() == world(seed).text()
    assert load(found.text(), name="again") == found.topology


def test_the_worlds_hold_what_they_are_meant_to_try() -> None:
    """Several continents, backbones that are no full mesh, peers as upstreams, prepends, communities and silence; every
    habit, siblings, links of one family.
    """
    worlds = [world(seed) for seed in range(1, 13)]
    systems = [system for w in worlds for system in w.topology.ases]
    assert any(len(system.continents) > 1 for system in systems)
    assert any(len(system.internal) < len(system.cities) * (len(system.cities) - 1) // 2 for system in systems)
    assert {u.kind.value for w in worlds for p in w.topology.own.pops for u in p.upstreams} == {
        "transit",
        "peer",
        "ixp",
    }
    scopes = [scope for w in worlds for k in range(PREFIXES) for scope in w.scope(k).values()]
    assert {scope.prepend for scope in scopes} == {0, 1, 2, 3}
    assert any(scope.communities for scope in scopes) and any(scope.mode is Mode.WITHHOLD for scope in scopes)
    assert any(scope.large_communities for scope in scopes)
    assert {habit for system in systems for habit in system.habits} == set(Habit)
    assert {len(system.reflectors) for system in systems} == {0, 1, 2, 3}
    links = [link for w in worlds for link in w.topology.links]
    assert {link.kind for link in links} == set(LinkKind)
    assert {link.families for link in links} == {(4,), (6,), (4, 6)}


def test_the_article_s_lab_in_the_model_sends_london_to_new_york() -> None:
    """And home when AS209 keeps it in North America, as the routers do."""
    graph = model.modelled(address.plan(load(ARTICLE.read_text()), "any"))
    london = graph.site("as64497-lhr")
    plain = Engine(graph.internet, graph.policies).run(graph.seeds({}))
    assert (plain.path(london), plain.pop(london)) == ((3356, 209, 33438), "JFK")
    kept = {(CityCode(pop), "centurylink"): Scope(communities=((209, 7100),)) for pop in ("JFK", "LAX")}
    scoped = Engine(graph.internet, graph.policies).run(graph.seeds(kept))
    assert (scoped.path(london), scoped.pop(london)) == ((3356, 1299, 33438), "LHR")
    silent = {(LHR, "arelion"): Scope(mode=Mode.WITHHOLD)}
    assert len(graph.seeds(silent)) == len(graph.seeds({})) - 1


def test_inside_an_as_the_model_goes_the_shortest_way() -> None:
    """By its internal links, hop by hop, at the cost that its routers count."""
    plan = address.plan(load(ARTICLE.read_text()), "any")
    graph = model.modelled(plan)
    lhr, jfk, lax = (graph.site(f"as3356-{code}") for code in ("lhr", "jfk", "lax"))
    assert graph.towards[lhr][lax] == jfk
    km = dict(zip(graph.internet.internal.of(lhr).tolist(), graph.internet.internal.km_of(lhr).tolist(), strict=True))
    assert (
        km[lax]
        == km[jfk]
        + dict(zip(graph.internet.internal.of(jfk).tolist(), graph.internet.internal.km_of(jfk).tolist(), strict=True))[
            lax
        ]
    )


def test_a_disagreement_is_shrunk_to_what_it_needs() -> None:
    """Here: two networks that peer, and one community; everything else goes, and what is left is a topology."""
    start = only(world(7), 1)
    peering = next((link["a"], link["b"]) for link in start.document["links"] if link["relationship"] == "peer")
    community = next(c for scope in start.scopes[0].values() for c in scope.communities)
    sizes: list[int] = []

    def disagrees(some: World) -> bool:
        links = {(link["a"], link["b"]) for link in some.document["links"]}
        said = {c for scope in some.scope(0).values() for c in scope.communities}
        sizes.append(len(some.document["ases"]))
        return peering in links and community in said

    smallest = shrink(start, disagrees)
    assert disagrees(smallest)
    assert len(smallest.document["ases"]) <= 3
    assert [(link["a"], link["b"]) for link in smallest.document["links"]] == [peering]
    assert len(smallest.document["anypop"]["pops"]) == 1 and smallest.document["vantages"] == []
    assert load(smallest.text(0)).own.pops
    assert len(sizes) < 200 and any(b < a for a, b in pairwise(sizes))
