"""Where networks land, learnt: on an invented internet whose networks like what their providers like."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from anypop.model.names import CityCode
from anypop.routing.catchment.predict import landing
from anypop.routing.engine.seeds import Seed
from anypop.routing.engine.small import SmallEngine
from anypop.routing.inference import parts
from anypop.routing.inference.history import NOT_MEASURED, History, Past, folds, history_of
from anypop.routing.inference.infer import Inferred, infer, known_of, taken
from anypop.routing.inference.neighbours import out_of_fold, votes
from anypop.routing.inference.next_measured import next_measured
from anypop.routing.inference.preference import preference_of
from anypop.routing.internet.generate import generate
from anypop.routing.internet.sites import Bool, Float, Int32, Internet
from anypop.routing.internet.world import build_internet

POPS = ("AMS", "JFK", "LAX", "SIN")


@cache
def internet() -> Internet:
    return build_internet(generate(1500, 5).relationships)


@cache
def liking() -> Float:
    """Of each site for each PoP: its own, that of its first provider, and how strong the PoP is."""
    net, rng = internet(), np.random.default_rng(11)
    own = rng.gumbel(size=(len(net), len(POPS))) * 0.7
    of_provider = rng.normal(size=(len(net), len(POPS))) * 2
    first = np.array([net.providers.of(site)[0] if len(net.providers.of(site)) else site for site in range(len(net))])
    result: Float = own + of_provider[first] + np.array([1.5, 0.5, 0.0, -1.0])
    return result


def landed(pops: tuple[str, ...], share: float = 1.0, seed: int = 0) -> Int32:
    """Where everybody lands, as indexes in `pops`, and of whom it is measured."""
    members = [POPS.index(pop) for pop in pops]
    where = liking()[:, members].argmax(axis=1).astype(np.int32)
    seen = np.random.default_rng(seed).random(len(where)) < share
    return np.where(seen, where, NOT_MEASURED).astype(np.int32)


def history(*sets: tuple[str, ...]) -> History:
    """Announcements from these PoPs, each measured by seven in ten."""
    pasts = []
    for number, pops in enumerate(sets):
        of_all = np.array([*(POPS.index(pop) for pop in pops), NOT_MEASURED], dtype=np.int32)
        pasts.append(Past(pops=pops, landed=of_all[landed(pops, 0.7, number)]))
    return History(pops=POPS, pasts=tuple(pasts))


PAIRS = (("AMS", "LAX"), ("JFK", "LAX"), ("AMS", "SIN"), ("JFK", "SIN"), ("LAX", "SIN"))


def found(
    measured: Int32, past: History, pops: tuple[str, ...] = ("AMS", "JFK"), graph: Int32 | None = None
) -> Inferred:
    nowhere = np.full(len(internet()), NOT_MEASURED, dtype=np.int32)
    return infer(
        known_of(
            internet(),
            pops=pops,
            graph=nowhere if graph is None else graph,
            landed=measured,
            history=past,
            traits=np.zeros((len(internet()), 1)),
        )
    )


def right(said: Inferred, measured: Int32) -> float:
    """Of those that were not measured."""
    asked = measured == NOT_MEASURED
    return float((said.chance.argmax(axis=1) == landed(said.pops))[asked].mean())


def majority(pops: tuple[str, ...] = ("AMS", "JFK")) -> float:
    return float(np.bincount(landed(pops)).max() / len(internet()))


def nobody() -> Int32:
    return landed(("AMS", "JFK"), 0.0)


def test_what_networks_preferred_before_tells_where_they_land_without_any_measurement() -> None:
    """Of two PoPs that were never announced together, by what they won against others."""
    said = found(nobody(), history(*PAIRS))
    assert (said.way, said.tried) == ("order", ())
    assert right(said, nobody()) > majority() + 0.05


def test_more_measurements_make_answers_better_and_each_is_better_than_the_majority() -> None:
    """None, one in twenty, half: each step gains."""
    steps = [right(found(seen, history(*PAIRS)), seen) for seen in (landed(("AMS", "JFK"), s, 9) for s in (0.0, 0.5))]
    assert majority() < steps[0] < steps[1]


def test_the_way_is_the_best_of_all_on_networks_held_out_and_as_good_on_others() -> None:
    """Its loss is the smallest where enough is measured; what it said of itself holds for networks that nobody did."""
    seen = landed(("AMS", "JFK"), 0.4, 3)
    said = found(seen, history(*PAIRS))
    assert said.way == said.tried[0].name
    assert said.tried[0].loss == min(one.loss for one in said.tried)
    assert {"majority", "graph", "vote", "order"} < {one.name for one in said.tried}
    assert said.gain is not None
    assert said.gain >= 0
    assert right(said, seen) == pytest.approx(said.tried[0].accuracy, abs=0.04)


def known_with(measured: Int32) -> parts.Known:
    """Of the two PoPs that were never announced together."""
    return known_of(
        internet(),
        pops=("AMS", "JFK"),
        graph=np.full(len(internet()), NOT_MEASURED, dtype=np.int32),
        landed=measured,
        history=history(*PAIRS),
        traits=np.zeros((len(internet()), 1)),
    )


def test_a_regression_that_learns_from_few_keeps_to_what_networks_preferred() -> None:
    """Whichever twenty are measured: it does not call the PoP that most of them landed in for nearly everybody."""
    truth = landed(("AMS", "JFK"))
    for seed in range(6):
        at = np.random.default_rng(seed).permutation(len(truth))[:20]
        seen = nobody()
        seen[at] = truth[at]
        known, asked = known_with(seen), seen == NOT_MEASURED
        by_order, said = (way(known, ~asked)[asked].argmax(axis=1) for way in (parts.order, parts.linear))
        assert balanced(said, truth[asked]) > balanced(by_order, truth[asked]) - 0.08


def balanced(said: Int32, truth: Int32) -> float:
    return float(np.mean([(said[truth == pop] == pop).mean() for pop in np.unique(truth)]))


def test_a_way_that_may_be_ahead_by_chance_alone_does_not_take_the_place_of_the_regression() -> None:
    """One that is ahead by more than its error does."""
    noise = np.random.default_rng(2).normal(size=200)
    regression = 0.4 + 0.1 * noise
    by_chance = {"linear": regression, "majority": regression - 0.01 + 0.5 * np.roll(noise, 7)}
    assert by_chance["majority"].mean() < regression.mean()
    assert taken(by_chance) == "linear"
    assert taken({"linear": regression, "trees": regression - 0.05}) == "trees"
    assert taken({"majority": regression, "vote": regression - 0.01}) == "vote"


def test_chances_are_as_often_right_as_they_say() -> None:
    """Of networks that nobody measured, in classes of chance."""
    seen = landed(("AMS", "JFK"), 0.5, 4)
    said = found(seen, history(*PAIRS))
    asked = seen == NOT_MEASURED
    sure, hit = said.chance.max(axis=1)[asked], (said.chance.argmax(axis=1) == landed(("AMS", "JFK")))[asked]
    assert abs(sure.mean() - hit.mean()) < 0.04


def test_more_than_two_pops_are_answered() -> None:
    """Each row is a distribution over those that announce, and better than the majority."""
    pops = ("AMS", "JFK", "SIN")
    seen = landed(pops, 0.3, 5)
    said = found(seen, history(*PAIRS), pops)
    assert said.chance.sum(axis=1) == pytest.approx(1)
    assert right(said, seen) > majority(pops) + 0.03


def test_without_history_and_measurements_the_graph_has_the_word() -> None:
    """And it does not pretend to be sure."""
    graph = landed(("AMS", "JFK"))
    said = found(nobody(), History(pops=POPS, pasts=()), graph=graph)
    assert said.way == "graph"
    assert (said.chance.argmax(axis=1) == graph).all()
    assert said.chance.max() < 0.8


def test_a_pop_that_was_never_announced_is_left_to_the_graph_in_part() -> None:
    """History has no word about it."""
    graph = landed(("AMS", "JFK"))
    said = found(nobody(), history(("AMS", "LAX"), ("LAX", "SIN")), graph=graph)
    assert said.way == "order and graph"
    assert (said.chance.argmax(axis=1) == graph).mean() > 0.8


def test_what_is_measured_is_so() -> None:
    """Whatever anybody learnt."""
    seen = landed(("AMS", "JFK"), 0.3, 6)
    said = found(seen, history(*PAIRS))
    told = seen != NOT_MEASURED
    assert (said.chance.argmax(axis=1)[told] == seen[told]).all()
    assert (said.chance.max(axis=1)[told] == 1).all()


def test_one_pop_seen_alone_breaks_nothing() -> None:
    """Where everybody measured landed in one PoP, that is what is said."""
    seen = np.where(landed(("AMS", "JFK"), 0.2, 7) == 0, 0, NOT_MEASURED).astype(np.int32)
    assert (found(seen, history(*PAIRS)).chance.argmax(axis=1) == 0).mean() > 0.9


def test_no_network_sees_its_own_answer_in_the_votes_it_learns_from() -> None:
    """Its votes stay when its answer is turned round."""
    seen, fold = landed(("AMS", "JFK"), 0.5, 8), folds(internet(), 5, 0)
    before = out_of_fold(internet(), seen, 2, fold)
    site = int(np.flatnonzero(seen != NOT_MEASURED)[17])
    turned = seen.copy()
    turned[site] = 1 - turned[site]
    after = out_of_fold(internet(), turned, 2, fold)
    assert np.array_equal(before[site], after[site], equal_nan=True)
    assert not np.array_equal(votes(internet(), seen, 2), votes(internet(), turned, 2), equal_nan=True)


def test_who_was_never_measured_likes_what_its_providers_customers_like() -> None:
    """Half of the networks in no announcement at all are still told better than by the strength of PoPs."""
    net, past = internet(), history(*PAIRS)
    hidden = np.random.default_rng(2).random(len(net)) < 0.5
    partly = History(
        pops=POPS,
        pasts=tuple(
            Past(pops=one.pops, landed=np.where(hidden, NOT_MEASURED, one.landed).astype(np.int32))
            for one in past.pasts
        ),
    )
    chances = preference_of(net, partly).chances([0, 1])
    hit = chances.argmax(axis=1) == landed(("AMS", "JFK"))
    assert hit[hidden].mean() > majority() + 0.03


def test_networks_that_were_planned_teach_more_than_as_many_by_chance() -> None:
    """Thirty of fifteen hundred, chosen before any of their answers is known: more is right of all others than by the
    mean of five choices by chance.
    """
    net = internet()
    before = known_of(
        net,
        pops=("AMS", "JFK"),
        graph=np.full(len(net), NOT_MEASURED, dtype=np.int32),
        landed=nobody(),
        history=history(*PAIRS),
        traits=np.zeros((len(net), 1)),
    )
    assert before.order is not None
    truth, everybody = landed(("AMS", "JFK")), np.ones(len(net), dtype=bool)

    def learnt(told: Bool) -> float:
        known = replace(before, landed=np.where(told, truth, NOT_MEASURED).astype(np.int32))
        said = parts.linear(known, told).argmax(axis=1)
        return float((said == truth)[~told].mean())

    chosen = next_measured(before, before.order, np.full(len(net), 1 / len(net)), everybody, 30)
    assert len({one.site for one in chosen}) == 30
    assert sum(one.stands_for for one in chosen) == pytest.approx(1)
    planned = learnt(np.isin(np.arange(len(net)), [one.site for one in chosen]))
    by_chance = [learnt(np.random.default_rng(s).permutation(len(net)) < 30) for s in range(5)]
    assert planned > float(np.mean(by_chance))


def test_the_same_is_said_twice() -> None:
    """The same input gives the same numbers."""
    seen = landed(("AMS", "JFK"), 0.1, 1)
    assert np.array_equal(found(seen, history(*PAIRS)).chance, found(seen, history(*PAIRS)).chance)


def test_a_history_passes_over_what_landed_where_nothing_was_announced() -> None:
    """And takes unknown PoPs as asked about."""
    made = history_of(internet(), [(("JFK", "AMS"), {3: "AMS", 4: "SIN"})], more=("LAX",))
    assert made.pops == ("AMS", "JFK", "LAX")
    assert [int(made.pasts[0].landed[site]) for site in (3, 4, 5)] == [0, NOT_MEASURED, NOT_MEASURED]


def test_more_pops_than_a_small_number_counts() -> None:
    """The last of 130 is not taken for another, in what the graph says and in what is learnt from it."""
    net = build_internet(generate(60, 5).relationships)
    pops = tuple(f"A{chr(65 + number // 26)}{chr(65 + number % 26)}" for number in range(130))
    seeds = [Seed(pop=CityCode(pop), upstream="", site=3, origin=64500, key=-number) for number, pop in enumerate(pops)]
    graph = landing(SmallEngine(net).run(seeds), pops)
    assert graph[3] == 129
    past = history_of(net, [(pops, dict.fromkeys(range(len(net)), pops[128]))], more=pops)
    assert set(past.pasts[0].landed.tolist()) == {128}
    nowhere = np.full(len(net), NOT_MEASURED, dtype=np.int32)
    known = known_of(net, pops=pops, graph=graph, landed=nowhere, history=past, traits=np.zeros((len(net), 0)))
    assert infer(known).chance.shape == (len(net), 130)
