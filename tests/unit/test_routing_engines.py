"""The compiled engine agrees with the slow one on random little internets.

ANYPOP_EXAMPLES=5000 makes it thousands; the default keeps the suite quick.
"""

import os

from hypothesis import given, settings

from anypop.model.names import CityCode
from anypop.routing.engine.propagate import KINDS, Engine, Outcome
from anypop.routing.engine.reference import Rules, Settled, at_rest, settle
from anypop.routing.engine.seeds import Seed
from anypop.routing.engine.small import as_good
from anypop.routing.internet.places import Places
from anypop.routing.internet.relationships import read_relationships
from anypop.routing.internet.world import build_internet
from tests.examples import examples
from tests.unit.routing_worlds import World, worlds

EXAMPLES = int(os.environ.get("ANYPOP_EXAMPLES", examples(60)))


def tie_masks(world: World, settled: Settled) -> list[set[str]]:
    """Per site, the PoPs that its equally good routes lead to, worked out the slow way."""
    rules = Rules(world.internet, world.policies)
    equals = [as_good(rules, site, held) for site, held in enumerate(settled.holds)]
    masks: list[set[str]] = [set() for _ in settled.best]
    growing = True
    while growing:
        growing = False
        for site, routes in enumerate(equals):
            for route in routes:
                found = {world.seeds[route.seed].pop} if route.sender < 0 else masks[route.sender]
                growing |= not found <= masks[site]
                masks[site] |= found
    return masks


def differences(world: World) -> list[str]:
    """What the engines disagree about; nothing when the policies never come to rest."""
    settled = settle(world.internet, world.seeds, world.policies)
    if not settled.stable:
        return []
    engine = Engine(world.internet, world.policies)
    outcome: Outcome = engine.run(world.seeds)
    found = [] if outcome.stable else ["the compiled engine finds no rest"]
    prepared = engine.prepare(world.seeds)
    engine.spread(prepared, ties=False)
    quick = engine.outcome(prepared, stable=True)
    if not quick.same(outcome) or not outcome.same(quick):
        found.append("without ties the compiled engine finds others")
    masks = tie_masks(world, settled)
    for site, best in enumerate(settled.best):
        name = world.internet.name(site)
        expected = (best.path, world.seeds[best.seed].pop, best.kind, best.local_pref) if best else ((), None, None, 0)
        kind = KINDS[outcome.kind[site]] if outcome.kind[site] < 3 else None
        got = (outcome.path(site), outcome.pop(site), kind, int(outcome.preference[site]))
        if expected != got:
            found.append(f"{name}: {expected} != {got}")
        if masks[site] != set(outcome.ties(site)):
            found.append(f"{name}: ties {masks[site]} != {outcome.ties(site)}")
    return found


@settings(max_examples=EXAMPLES, deadline=None)
@given(worlds(communities=False))
def test_engines_agree_on_relationships_places_and_prepends(world: World) -> None:
    """The same path, PoP, class and ties at every site."""
    assert differences(world) == []


@settings(max_examples=EXAMPLES, deadline=None)
@given(worlds(preferences=False))
def test_engines_agree_on_export_communities(world: World) -> None:
    """Not sent, sent in spite, kept in a region, prepended, stripped."""
    assert differences(world) == []


@settings(max_examples=EXAMPLES, deadline=None)
@given(worlds(reflectors=True))
def test_engines_agree_on_preferences_by_communities_reflectors_and_confederations(world: World) -> None:
    """The same end; or, where one of these allows for more than one, an end with which the slow engine's
    sites are content too.
    """
    found = differences(world)
    if found:
        outcome = Engine(world.internet, world.policies).run(world.seeds)
        senders = [int(s) if k != 9 else -1000 for s, k in zip(outcome.sender, outcome.kind, strict=True)]
        assert at_rest(world.internet, world.seeds, senders, world.policies), found


def test_no_as_takes_a_route_back_that_it_sent_out() -> None:
    """AS209 keeps a route in North America; it comes back to its London site by two others, and is refused there."""
    links = read_relationships(b"10,209,provider\n10,20,provider\n20,209,provider\n", "f")
    net = build_internet(links, Places(cities={209: ("JFK", "LHR"), 10: ("JFK",), 20: ("LHR", "JFK")}))
    named = {net.name(site): site for site in range(len(net))}
    seed = Seed(pop=CityCode("JFK"), upstream="a", site=named["AS209 in JFK"], origin=33438, communities=((209, 7100),))
    settled = settle(net, [seed])
    outcome = Engine(net).run([seed])
    assert settled.best[named["AS209 in LHR"]] is None and outcome.path(named["AS209 in LHR"]) == ()
    back = settled.best[named["AS20 in LHR"]]
    assert back is not None and back.path == outcome.path(named["AS20 in LHR"]) == (10, 209, 33438)


def test_a_leaf_that_is_told_nothing_leads_to_no_pop() -> None:
    """AS174 is asked to keep its route from its customers: the only one has no route, and no ties."""
    net = build_internet(read_relationships(b"174,209,provider\n", "f"), Places(cities={174: ("LHR",), 209: ("LHR",)}))
    named = {net.name(site): site for site in range(len(net))}
    told = ((174, 970), (174, 971), (174, 980))
    upstream = next(site for name, site in named.items() if name.startswith("AS174"))
    seed = Seed(pop=CityCode("LHR"), upstream="a", site=upstream, origin=33438, communities=told)
    outcome = Engine(net).run([seed])
    leaf = next(site for name, site in named.items() if name.startswith("AS209"))
    assert (outcome.path(leaf), outcome.ties(leaf)) == ((), ())
