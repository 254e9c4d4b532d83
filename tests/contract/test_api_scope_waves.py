"""Scopes changed in waves: the whole control, with agents that obey and vantages that see what the agents announce."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from anypop.api.landings import look
from anypop.api.vantages import Answer, Probed, Vantage
from anypop.model.announce import Address, Mode
from anypop.model.errors import WorldError
from anypop.model.names import CityCode
from anypop.model.network import Network, UpstreamKind
from tests.control_world import FakeAgent, World, a_network

WORKLOAD = "/anypop/v1/stacks/default/workloads/fun"
RULES, ROLLOUTS = f"{WORKLOAD}/announcements", f"{WORKLOAD}/rollouts"
WITHHOLD = {"mode": "withhold"}

Places = Callable[[frozenset[str]], str | None]  # where london lands, by the PoPs that are withheld


def as_predicted(withheld: frozenset[str]) -> str:
    return "LHR" if {"JFK", "LAX"} <= withheld else "JFK" if "LAX" in withheld else "LAX"


class Lab:
    """A control with its agents, and one vantage in London whose answers follow what the agents announce."""

    def __init__(self, world: World, place: Places = as_predicted, *, vantages: bool = True) -> None:
        self.world = world
        self.place = place
        self.agents: list[FakeAgent] = world.agents()
        self.with_vantages = vantages
        self.broken = False
        world.create(cities=("AMS", "LHR", "JFK", "LAX"), replicas=1)
        world.settle(self.agents)
        self.attach()

    def attach(self) -> None:
        self.world.platform.vantages = self if self.with_vantages else None

    def all(self) -> list[Vantage]:
        if self.broken:
            raise WorldError("ask the vantages", "the lab is gone")
        return [
            Vantage(name="london", city=CityCode("LHR"), asn=64511),
            Vantage(name="berlin", city=CityCode("BER"), asn=64512),
        ]

    def probe(self, vantage: str, address: Address, port: int, requests: int) -> Probed:
        if vantage == "berlin":
            raise WorldError("probe from berlin", "its namespace is gone")
        pop = self.place(self.withheld())
        answer = Answer(body=f"fun-eu-{pop.lower()}-0\n") if pop else Answer(error="timed out")
        return Probed(answers=(answer,) * requests)

    def withheld(self) -> frozenset[str]:
        """Where the agents announce nothing to some upstream, by the orders that they have obeyed."""
        orders = [agent.order for agent in self.agents if agent.order is not None]
        return frozenset(
            order.pop for order in orders if any(a.scope.mode is Mode.WITHHOLD for a in order.announcements)
        )

    def turn(self, *, obey: bool = True, see: bool = True) -> None:
        """Half a second in which every agent obeys and reports, and the vantages look."""
        self.world.clock.now += 0.5
        for agent in self.agents if obey else ():
            agent.obey()
        if see:
            self.world.run(look(self.world.platform))
        self.world.run(self.world.platform.core.change(lambda state, now: state))  # the step of a due moment

    def restart(self) -> None:
        """Control, and nothing else."""
        self.world.restart()
        self.attach()

    def begin(
        self, *pops: str, expected: Sequence[dict[str, list[str]]] = ({}, {}, {}), bake: float = 2, deadline: float = 10
    ) -> str:
        waves = [
            {"rules": [{"pop": pop, "upstream": "as209", "scope": WITHHOLD, "note": "a repair"}], "expected": wanted}
            for pop, wanted in zip(pops, expected, strict=False)
        ]
        body = {"waves": waves, "strategy": {"bake_s": bake, "deadline_s": deadline}}
        return str(self.world.send("POST", ROLLOUTS, body)["rollout"]["id"])

    def rollout(self, identity: str) -> dict[str, Any]:
        found: dict[str, Any] = self.world.get(f"{ROLLOUTS}/{identity}")["rollout"]
        return found

    def until_over(self, identity: str, after_each: Callable[[], None] = lambda: None) -> dict[str, Any]:
        """The rollout when it has ended, and when it is known what taking it back left."""
        for _ in range(120):
            found = self.rollout(identity)
            taken_back = found["phase"] in ("reverted", "aborted")
            if found["phase"] == "done" or (taken_back and (not self.with_vantages or "restored" in found)):
                return found
            self.turn()
            after_each()
        raise AssertionError(f"it does not end: {found}")

    def rules(self) -> dict[str, tuple[dict[str, Any], str]]:
        return {rule["pop"]: (rule["scope"], rule["note"]) for rule in self.world.get(RULES)["rules"]}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path) as made:
        yield made


REPAIR = ({"london": ["JFK"]}, {"london": ["LHR"]})


def test_each_wave_waits_for_the_newest_orders_and_for_the_vantages(world: World) -> None:
    """A wave that the agents have not obeyed is not through, nor one that no vantage has seen since; then the next one
    begins.
    """
    lab = Lab(world)
    identity = lab.begin("LAX", "JFK", expected=REPAIR)
    assert set(lab.rules()) == {"LAX"}
    lab.turn(obey=False)
    for agent in lab.agents:
        agent.report()
    assert "LAX has not obeyed its newest order yet" in lab.rollout(identity)["message"]
    lab.turn(see=False)
    assert lab.rollout(identity)["message"] == "london lands in LAX, predicted JFK", (
        "the last look is from before LAX obeyed"
    )
    lab.turn()
    assert lab.rollout(identity)["reason"] == "baking"
    found = lab.until_over(identity)
    assert (found["phase"], set(lab.rules())) == ("done", {"LAX", "JFK"})
    assert [result["differs"] for result in found["results"]] == [[], []] and "restored" not in found
    assert [result["seen"]["london"] for result in found["results"]] == ["JFK", "LHR"]
    assert all(result["seconds"] >= 2 for result in found["results"])


def test_an_outcome_that_differs_brings_the_rules_of_before_back_in_one_step(world: World) -> None:
    """With their notes, after the deadline, with the difference in words; and it is said that the vantages land as
    before.
    """
    lab = Lab(world, lambda withheld: None if {"LAX", "JFK"} <= withheld else as_predicted(withheld))
    rules = [
        {"pop": "LAX", "upstream": "as209", "scope": {"prepend": 2}, "note": "stay"},
        {"pop": "AMS", "upstream": "as1299", "scope": {"prepend": 1}, "note": ""},
    ]
    world.send("PUT", RULES, {"rules": rules})
    before = lab.rules()
    seen: list[frozenset[str]] = []
    identity = lab.begin("LAX", "JFK", expected=REPAIR)
    found = lab.until_over(
        identity, lambda: seen.append(frozenset(p for p, (s, _) in lab.rules().items() if s["mode"] == "withhold"))
    )
    assert (found["phase"], found["reason"], found["restored"]) == ("reverted", "not-as-predicted", True)
    assert found["message"] == "london lands in no PoP, predicted LHR"
    assert [result["differs"] for result in found["results"]] == [[], [found["message"]]]
    assert lab.rules() == before
    assert list(dict.fromkeys(seen)) == [frozenset({"LAX"}), frozenset({"LAX", "JFK"}), frozenset()]
    kinds = [event["kind"] for event in world.get("/anypop/v1/events?page_request.first=100")["results"]]
    assert "rollout-reverted" in kinds and "rollout-restored" in kinds


@pytest.mark.parametrize("lands_home", [True, False])
def test_a_restart_of_control_at_any_step_changes_nothing(world: World, lands_home: bool) -> None:
    """Killed and started again after each single step it comes to the same end, with all that was seen."""
    lab = Lab(
        world, as_predicted if lands_home else lambda withheld: "AMS" if "JFK" in withheld else as_predicted(withheld)
    )
    identity = lab.begin("LAX", "JFK", expected=REPAIR)
    before = world.platform.core.state.rollouts[identity]

    def kill() -> None:
        stored = world.platform.core.state.rollouts[identity]
        lab.restart()
        again = world.platform.core.state.rollouts[identity]
        assert (again.seen, again.seen_at, again.baseline) == (stored.seen, stored.seen_at, before.baseline)
        assert (again.scopes, again.results[: len(stored.results)]) == (before.scopes, stored.results)
        assert again.wave >= stored.wave

    kill()
    found = lab.until_over(identity, kill)
    assert (found["phase"], set(lab.rules())) == (("done", {"LAX", "JFK"}) if lands_home else ("reverted", set()))
    assert len(found["results"]) == 2 and found.get("restored") is (None if lands_home else True)


def test_control_that_was_away_for_longer_than_the_deadline_goes_on(world: World) -> None:
    """Nobody was there to see: hosts and vantages are heard before anything is called late."""
    lab = Lab(world)
    identity = lab.begin("LAX", "JFK", expected=REPAIR)
    lab.turn()
    world.clock.now += 600
    lab.restart()
    assert lab.rollout(identity)["phase"] == "running"
    assert lab.until_over(identity)["phase"] == "done"


def test_an_abort_takes_everything_back_and_says_what_came_of_it(world: World) -> None:
    """In one step, also the wave that was through; the one under way has its result too."""
    lab = Lab(world)
    identity = lab.begin("LAX", "JFK", expected=REPAIR)
    while lab.rollout(identity)["wave"] == 1:
        lab.turn()
    assert set(lab.rules()) == {"LAX", "JFK"}
    aborted = world.send("POST", f"{ROLLOUTS}/{identity[:8]}/abort", {})["rollout"]
    assert (aborted["phase"], aborted["reason"], lab.rules()) == ("aborted", "asked-by-operator", {})
    assert [len(result["differs"]) for result in aborted["results"]] == [0, 1] and "restored" not in aborted
    assert lab.until_over(identity)["restored"] is True
    assert world.call("POST", f"{ROLLOUTS}/{identity}/abort", json={}).status_code == 400


def test_vantages_that_do_not_come_back_are_told(world: World) -> None:
    """Taken back by the agents, and London stays where it is all the same."""
    home: list[str | None] = ["LAX"]
    lab = Lab(world, lambda withheld: home[0])
    identity = lab.begin("LAX", expected=[{"london": ["JFK"]}])
    lab.turn()
    home[0] = "AMS"
    found = lab.until_over(identity)
    assert (found["phase"], found["restored"], lab.rules()) == ("reverted", False, {})
    kinds = [event["kind"] for event in world.get("/anypop/v1/events?page_request.first=100")["results"]]
    assert "rollout-not-restored" in kinds


def test_nobody_changes_scopes_beside_waves(world: World) -> None:
    """PUT, PATCH, DELETE and other waves are refused in words while one runs or is paused; what changes nothing may be
    said again.
    """
    lab = Lab(world)
    identity = lab.begin("LAX", "JFK")
    rules = {"rules": [{"pop": "AMS", "upstream": "as1299", "scope": {"prepend": 1}}]}
    for verb in ("pause", "resume"):
        for method, path, body in (
            ("PUT", RULES, rules),
            ("PATCH", RULES, rules),
            ("DELETE", RULES, None),
            ("POST", ROLLOUTS, {"waves": [rules]}),
        ):
            refused = world.call(method, path, json=body)
            assert (refused.status_code, refused.json()["code"]) == (400, 9)
            assert identity[:8] in refused.json()["message"] and "abort it" in refused.json()["message"]
        world.send("POST", f"{ROLLOUTS}/{identity}/{verb}", {})
    same = {"rules": [{"pop": "LAX", "upstream": "as209", "scope": WITHHOLD, "note": "a repair"}]}
    assert world.send("PATCH", RULES, same)["changes"] == []
    world.create("other")
    world.send("PUT", RULES.replace("fun", "other"), rules)
    assert lab.until_over(identity)["phase"] == "done"
    world.send("PATCH", RULES, rules)
    assert set(lab.rules()) == {"LAX", "JFK", "AMS"}


def test_without_vantages_the_announcements_are_all_there_is(world: World) -> None:
    """Each wave is through once its hosts do as asked for the bake time; one that never does ends it."""
    lab = Lab(world, vantages=False)
    found = lab.until_over(lab.begin("LAX", "JFK", expected=REPAIR))
    assert (found["phase"], [result["seen"] for result in found["results"]]) == ("done", [{}, {}])
    world.send("DELETE", RULES)
    world.settle(lab.agents)
    identity = lab.begin("LAX")
    for _ in range(21):
        lab.turn(obey=False)
    found = lab.rollout(identity)
    assert (found["phase"], found["message"], lab.rules()) == (
        "reverted",
        "LAX has not obeyed its newest order yet",
        {},
    )


def test_nothing_predicted_means_that_nobody_gets_fewer_answers(world: World) -> None:
    """London may land anywhere, but it must be answered; Berlin never was."""
    lab = Lab(world, lambda withheld: None if "JFK" in withheld else as_predicted(withheld))
    assert lab.until_over(lab.begin("LAX"))["phase"] == "done"
    found = lab.until_over(lab.begin("JFK"))
    assert (found["phase"], found["message"], set(lab.rules())) == ("reverted", "london gets 0 of 3 answers", {"LAX"})


def test_a_lab_that_goes_away_ends_it(world: World) -> None:
    """What nobody sees is not known to have come true, and not known to be as before either."""
    lab = Lab(world)
    identity = lab.begin("LAX", "JFK", expected=REPAIR)
    lab.turn()
    lab.broken = True
    found = lab.until_over(identity)
    assert (found["phase"], found["restored"], lab.rules()) == ("reverted", False, {})
    assert "london does not look any more" in found["message"]


def test_another_workload_s_rule_for_the_same_prefix_is_a_difference(world: World) -> None:
    """The prefix goes out as the more cautious of the two asks, so this change does not take effect."""
    lab = Lab(world)
    world.create("other", cities=("AMS", "LHR", "JFK", "LAX"), replicas=1)
    world.settle(lab.agents)
    held = world.platform.core.state.anycast.values()
    if len({h.prefix4 for h in held}) > 1:
        pytest.fail("the two share no prefix: this test needs another network")
    world.send(
        "PUT", RULES.replace("fun", "other"), {"rules": [{"pop": "LAX", "upstream": "as209", "scope": {"prepend": 3}}]}
    )
    wave = {"rules": [{"pop": "LAX", "upstream": "as209", "scope": {"prepend": 1}}]}
    body = {"waves": [wave], "strategy": {"bake_s": 1, "deadline_s": 3}}
    found = lab.until_over(world.send("POST", ROLLOUTS, body)["rollout"]["id"])
    assert (
        found["phase"] == "reverted"
        and "LAX is to tell as209 'announce, prepend 3', not 'announce, prepend 1'" in found["message"]
    )


def test_what_is_expected_must_be_there(world: World) -> None:
    """Unknown PoPs and vantages are said at once, each with its path, and nothing begins."""
    Lab(world)
    rules = [{"pop": "LAX", "upstream": "as209", "scope": WITHHOLD}]
    for expected, path in (
        ({"london": ["JFK", "XXX"]}, "waves[0].expected.london[1]"),
        ({"paris": ["JFK"]}, "waves[0].expected.paris"),
    ):
        refused = world.call("POST", ROLLOUTS, json={"waves": [{"rules": rules, "expected": expected}]})
        assert refused.status_code == 400
        assert [v["field"] for d in refused.json()["details"] for v in d.get("fieldViolations", ())] == [path]
    assert world.get(ROLLOUTS)["results"] == [] and world.get(RULES)["rules"] == []


# behind an edge router


def behind_an_edge_router() -> Network:
    """London's one host has a session with the PoP's own edge router, which has those with as1299 and as3257."""
    network = a_network()
    london = next(pop for pop in network.pops if pop.city == "LHR")
    (host,) = london.hosts
    session = replace(host.upstreams[0], name="edge", asn=network.asn, kind=UpstreamKind.EDGE)
    behind = replace(london, edge=host.upstreams, hosts=(replace(host, upstreams=(session,)),))
    return replace(network, pops=tuple(behind if pop is london else pop for pop in network.pops))


def test_what_an_edge_router_is_told_for_another_upstream_is_no_difference(tmp_path: Path) -> None:
    """Communities for all its upstreams come together on the host's one session; withheld from one is still told to
    the router.
    """
    with World(tmp_path, behind_an_edge_router()) as world:
        lab = Lab(world, vantages=False)
        stay = {"pop": "LHR", "upstream": "as3257", "scope": {"communities": ["3257:2100"], "prepend": 1}}
        world.send("PUT", RULES, {"rules": [stay]})
        world.settle(lab.agents)
        scopes: tuple[dict[str, Any], ...] = ({"communities": ["1299:2000"]}, {"mode": "withhold"}, {"prepend": 2}, {})
        waves = [{"rules": [{"pop": "LHR", "upstream": "as1299", "scope": scope}]} for scope in scopes]
        identity = world.send("POST", ROLLOUTS, {"waves": waves, "strategy": {"bake_s": 1, "deadline_s": 5}})[
            "rollout"
        ]["id"]
        lab.turn(obey=False)
        assert lab.rollout(identity)["message"] == "LHR has not obeyed its newest order yet"
        found = lab.until_over(identity)
        assert (found["phase"], len(found["results"])) == ("done", 4), found


def test_a_wave_is_through_beside_what_others_in_the_prefix_ask_for(world: World) -> None:
    """Hosts are to tell everybody's rules together; a change was taken back for what it had never been about."""
    lab = Lab(world, vantages=False)
    world.create("other", cities=("AMS", "LHR", "JFK", "LAX"), replicas=1)
    world.settle(lab.agents)
    theirs = {"pop": "JFK", "upstream": "as209", "scope": {"prepend": 2, "communities": ["209:1"]}}
    world.send("PUT", RULES.replace("/fun/", "/other/"), {"rules": [theirs]})
    world.settle(lab.agents)
    (held, *_) = (r for r in world.get(RULES)["results"] if (r["pop"], r["upstream"]) == ("JFK", "as209"))
    assert held["effective"]["prepend"] == 2, "they share the prefix"
    own = {"pop": "JFK", "upstream": "as209", "scope": {"communities": ["209:7100"]}}
    body = {"waves": [{"rules": [own], "expected": {}}], "strategy": {"bake_s": 1, "deadline_s": 5}}
    found = lab.until_over(str(world.send("POST", ROLLOUTS, body)["rollout"]["id"]))
    assert found["phase"] == "done", found["results"]
    (held, *_) = (r for r in world.get(RULES)["results"] if (r["pop"], r["upstream"]) == ("JFK", "as209"))
    assert (held["effective"]["prepend"], held["effective"]["communities"]) == (2, ["209:1", "209:7100"])
