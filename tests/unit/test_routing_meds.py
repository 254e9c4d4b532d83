"""The compiled engine and the slow one agree on MEDs, blackholes and route servers; and all stable ends are told."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from anypop.model.names import CityCode
from anypop.routing.actions import Action, Blackhole, LocalPreference, Neighbours, Relation, SetMed
from anypop.routing.engine.propagate import Engine
from anypop.routing.engine.reference import at_rest, settle
from anypop.routing.engine.seeds import Policies, Seed
from anypop.routing.engine.small import SmallEngine
from anypop.routing.entries import Dictionary, Entry
from anypop.routing.internet.relationships import read_relationships
from anypop.routing.internet.world import build_internet
from tests.examples import examples
from tests.unit.routing_worlds import World, worlds
from tests.unit.test_routing_engines import differences

DROP, LOW = 666, 50
MEDS = {
    1: SetMed(value=10, neighbour=Neighbours.ALL),
    2: SetMed(value=20, neighbour=Neighbours.PEERS),
    3: SetMed(value=(1 << 32) - 2, neighbour=Neighbours.CUSTOMERS),
    4: SetMed(value=0, neighbour=Neighbours.ALL),
}


def book(asn: int, actions: Mapping[int, Action]) -> Dictionary:
    entries = tuple(
        Entry(community=(asn, number), action=action, meaning="", source="", date="unknown")
        for number, action in actions.items()
    )
    return Dictionary(asn=asn, name="", entries=entries)


@st.composite
def worlds_with(draw: st.DrawFn, *, actions: Mapping[int, Action], servers: bool = False) -> World:
    """A little world whose networks all know these communities, and judge MEDs in different ways."""
    world = draw(worlds(communities=False))
    asns = world.internet.asns.tolist()
    some = st.frozensets(st.sampled_from(asns))
    net = world.internet
    others = (net.customers, net.providers, net.siblings, net.internal)
    alone = sum(np.diff(rows.start) for rows in others) == 0
    meeting = net.asn[alone].tolist()  # where networks are peers and nothing else, as at an exchange
    policies = Policies(
        books={asn: book(asn, actions) for asn in asns},
        strips=draw(st.one_of(st.just(frozenset[int]()), some)),
        always_med=draw(some),
        worst_med=draw(some),
        servers=draw(st.frozensets(st.sampled_from(meeting))) if servers and meeting else frozenset(),
    )
    every = [(asn, number) for asn in asns for number in actions]
    seeds = tuple(
        replace(seed, communities=tuple(draw(st.lists(st.sampled_from(every), max_size=4, unique=True))))
        for seed in world.seeds
    )
    return World(internet=world.internet, seeds=seeds, policies=policies)


def content(world: World) -> bool:
    """Whether the slow engine's sites would stay with what the compiled one found."""
    outcome = Engine(world.internet, world.policies).run(world.seeds)
    senders = [int(s) if k != 9 else -1000 for s, k in zip(outcome.sender, outcome.kind, strict=True)]
    return at_rest(world.internet, world.seeds, senders, world.policies)


@settings(max_examples=examples(100), deadline=None)
@given(worlds_with(actions=MEDS))
def test_engines_agree_on_meds(world: World) -> None:
    """Of one neighbour or of all, a missing one as the best or as the worst; MEDs can have several stable ends, or
    none.
    """
    assert differences(world) == [] or content(world), differences(world)


@settings(max_examples=examples(60), deadline=None)
@given(worlds_with(actions={1: MEDS[1], DROP: Blackhole(), LOW: LocalPreference(relation=Relation.LOWEST)}))
def test_engines_agree_on_blackholes(world: World) -> None:
    """Who throws it away, and that no other network hears of it from him."""
    if differences(world):
        assert content(world), differences(world)
        return  # another end, where others throw it away
    settled = settle(world.internet, world.seeds, world.policies)
    outcome = Engine(world.internet, world.policies).run(world.seeds)
    for site, best in enumerate(settled.best):
        thrown = outcome.dropped is not None and bool(outcome.dropped[site])
        assert thrown == (best is not None and best.dropped)
        assert (outcome.pop(site) is None) == (best is None or best.dropped)


@settings(max_examples=examples(60), deadline=None)
@given(worlds_with(actions={1: MEDS[1], 2: MEDS[2]}, servers=True))
def test_engines_agree_on_route_servers(world: World) -> None:
    """They tell everybody everything, and are in no path."""
    assert differences(world) == [] or content(world), differences(world)


@settings(max_examples=examples(60), deadline=None)
@given(worlds_with(actions={LOW: LocalPreference(relation=Relation.LOWEST), 4: MEDS[4]}))
def test_every_end_that_is_told_is_one(world: World) -> None:
    """The slow engine's sites are content with each, and no two are the same."""
    outcome = Engine(world.internet, world.policies).run(world.seeds, ends=True)
    ends = [outcome, *outcome.others]
    for end in ends if outcome.stable else ():
        senders = [int(s) if k != 9 else -1000 for s, k in zip(end.sender, end.kind, strict=True)]
        assert at_rest(world.internet, world.seeds, senders, world.policies)
    assert not any(a.same(b) for i, a in enumerate(ends) for b in ends[:i])


def test_two_networks_that_each_prefer_the_other_have_two_ends() -> None:
    """Both ask us to be their last choice, so each would rather go by the other, which only one of them can."""
    net = build_internet(read_relationships(b"1|2|0\n1|3|-1\n2|3|-1\n", "f"))
    last = {LOW: LocalPreference(relation=Relation.LOWEST)}
    policies = Policies(books={asn: book(asn, last) for asn in (1, 2)})
    seeds = [
        Seed(pop=CityCode(pop), upstream=pop, site=net.sites_of(asn)[0], origin=9, communities=((asn, LOW),))
        for pop, asn in (("AMS", 1), ("SIN", 2))
    ]
    for kind in (Engine, SmallEngine):
        outcome = kind(net, policies).run(seeds, ends=True)
        landed = {tuple(end.pop(site) for site in range(3)) for end in (outcome, *outcome.others)}
        assert landed == {("AMS", "AMS", "AMS"), ("SIN", "SIN", "SIN")}
        assert outcome.tied.all()
        assert not kind(net, policies).run(seeds).others


def test_more_pops_than_a_number_has_bits_keep_their_ties() -> None:
    """150 PoPs announce to one network each, all customers' providers of one."""
    rows = "".join(f"{asn}|1000|-1\n" for asn in range(1, 151))
    net = build_internet(read_relationships(rows.encode(), "f"))
    pops = [CityCode(f"P{index:02}") for index in range(150)]
    seeds = [
        Seed(pop=pop, upstream="u", site=net.sites_of(index + 1)[0], origin=9, prepend=int(index in {3, 149}))
        for index, pop in enumerate(pops)
    ]
    wanted = tuple(sorted(pop for index, pop in enumerate(pops) if index not in {3, 149}))
    for kind in (Engine, SmallEngine):
        outcome = kind(net).run(seeds)
        last = net.sites_of(1000)[0]
        assert outcome.ties(last) == wanted
        assert outcome.tied.tolist() == [site == last for site in range(len(net))]
        assert np.count_nonzero([bits.bit_count() == 1 for bits in outcome.bits]) == 150
