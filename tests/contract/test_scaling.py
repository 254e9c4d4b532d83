"""Autoscaling through the real control: reports come in, orders go out; what is shown, told, priced and metered; what a
restart keeps. Agents pretend, and use as much processor as a test says.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from anypop.control.state import State
from anypop.model.names import HostName
from anypop.model.network import Capacity, Network
from anypop.model.order import Order
from anypop.plan.quota import Quota
from tests.control_world import World, a_body, a_network

BASE = "/workload/v1/stacks/default/workloads"
SCALING = "/anypop/v1/stacks/default/workloads/fun/scaling"
LOOK_S = 15
DOWN_AFTER_S = 90.0


class Story:
    """A world in which time passes look by look, and all agents report in between."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.agents = {agent.host: agent for agent in world.agents()}
        self.silent: set[str] = set()

    def passes(self, looks: int = 1, **millis: int) -> None:
        """So many looks. `millis`: what each instance of a PoP uses from now on."""
        for host, used in millis.items():
            self.agents[HostName(host)].cpu = _Each(used)
        for _ in range(looks):
            self.world.clock.now += LOOK_S - 1
            for host, agent in self.agents.items():
                if host not in self.silent:
                    agent.report()
            self.world.clock.now += 1
            before = self.world.state.orders
            self.world.run(self.world.platform.core.change(lambda state, now: state))  # its moment has come
            if self.world.state.orders is not before:
                self.settle()

    def settle(self) -> None:
        self.world.settle([agent for host, agent in self.agents.items() if host not in self.silent])

    def counts(self) -> dict[str, int]:
        rows = self.world.get(SCALING)["results"]
        return {row["pop"]: row["replicas"] for row in rows}

    def why(self, pop: str) -> tuple[str, str]:
        row = next(row for row in self.world.get(SCALING)["results"] if row["pop"] == pop)
        return row["reason"], row.get("message", "")

    def runs(self, pop: str) -> list[str]:
        return sorted(i["name"] for i in self.world.instances() if i["location"]["cityCode"] == pop)


class _Each(dict[str, int]):
    """Every instance uses the same."""

    def __init__(self, millis: int) -> None:
        super().__init__()
        self._millis = millis

    def __contains__(self, name: object) -> bool:
        return True

    def __missing__(self, name: str) -> int:
        return self._millis


def few_pops() -> Network:
    """Two, and a minute instead of five between the last change and fewer."""
    return replace(a_network({"AMS": (1299,), "LHR": (1299,)}), scale_down_after_s=DOWN_AFTER_S, lost_after_s=90.0)


def follows(least: int = 1, most: int = 4, **metric: Any) -> dict[str, Any]:
    metrics = [{"metric": "cpu", **(metric or {"averageUtilization": "50"})}]
    return {"minReplicas": least, "maxReplicas": most, "scaleSettings": {"metrics": metrics}}


def declared(**options: Any) -> dict[str, Any]:
    """Each instance asks for two cores, so that a whole one is the threshold."""
    body = a_body(replicas=1)
    body["workload"]["targets"]["eu"]["spec"]["deployments"] |= follows(**options)
    return body


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path, few_pops()) as made:
        yield made


@pytest.fixture
def story(world: World) -> Story:
    world.send("POST", BASE, declared())
    made = Story(world)
    made.settle()
    return made


def test_a_busy_pop_gets_more_and_no_other_one(story: Story, world: World) -> None:
    story.passes(AMS=2400, LHR=100)
    assert story.counts() == {"AMS": 3, "LHR": 1}, "enough to get below, at once"
    assert story.runs("AMS") == ["fun-eu-ams-0", "fun-eu-ams-1", "fun-eu-ams-2"]
    assert story.why("AMS") == ("load-rose", "")
    story.passes(8, AMS=800)
    assert story.counts() == {"AMS": 3, "LHR": 1}, "constant load, constant number"
    told = [e for e in world.get("/anypop/v1/events?limit=1000")["results"] if e["kind"] == "scaled"]
    assert [(e["subject"], e["fields"]["was"], e["fields"]["replicas"]) for e in told] == [("fun eu AMS", 1, 3)]
    assert world.get("/anypop/v1/usage")["results"][0]["running"] == 4, "what runs is metered"


def test_only_what_follows_its_load_is_measured(story: Story, world: World) -> None:
    world.create("other", cities=("AMS", "LHR"))
    story.settle()
    order = story.agents[HostName("AMS")].order
    assert isinstance(order, Order)
    names = {i.name for i in order.instances if i.workload_id in order.measured}
    assert names == {"fun-eu-ams-0"}
    assert order.measure_s == LOOK_S


def test_fewer_after_a_while_which_a_restart_does_not_begin_anew(story: Story, world: World) -> None:
    story.passes(AMS=2400, LHR=100)
    story.passes(3, AMS=200)
    assert story.counts()["AMS"] == 3, "45 s"
    world.restart()
    story.passes(2)
    assert story.counts()["AMS"] == 3, "75 s"
    story.passes(2)
    assert story.counts()["AMS"] == 1, "105 s, and four looks since it started"
    assert story.runs("AMS") == ["fun-eu-ams-0"]
    assert story.why("AMS")[0] == "load-fell"


def test_a_restored_clock_waits_no_longer_than_that(story: Story, world: World) -> None:
    story.passes(AMS=2400, LHR=100)
    world.clock.now -= 1800
    world.restart()
    story.passes(7, AMS=200)
    assert story.counts()["AMS"] == 1


def test_what_is_not_known_is_not_little(story: Story, world: World) -> None:
    """A PoP that is cut off keeps what it has, and so do the others, to which its traffic may go."""
    story.passes(AMS=2400, LHR=2400)
    story.passes(AMS=900, LHR=900)
    story.silent = {"AMS"}
    story.passes(9, LHR=200)
    assert story.counts() == {"AMS": 3, "LHR": 3}
    assert world.state.lost == {"AMS"}
    assert story.why("AMS")[0] == "load-unknown"
    assert story.why("LHR") == ("scaling-held", "AMS in AMS says nothing, and its traffic may come here")
    story.silent = set()
    story.passes(5, AMS=200)
    assert story.counts() == {"AMS": 1, "LHR": 1}


def test_an_agent_that_tells_no_use_changes_nothing(story: Story) -> None:
    story.passes(AMS=2400, LHR=100)
    story.agents[HostName("AMS")].cpu = {}
    story.passes(9)
    assert story.counts()["AMS"] == 3
    assert story.why("AMS")[0] == "load-unknown"


def test_those_that_stay_have_to_serve(story: Story) -> None:
    story.passes(AMS=2400, LHR=100)
    story.agents[HostName("AMS")].broken = frozenset({"fun-eu-ams-0"})
    story.passes(9, AMS=100)
    assert story.counts()["AMS"] >= 2
    assert "number 0 does not answer" in story.why("AMS")[1]
    story.agents[HostName("AMS")].broken = frozenset()
    story.passes(9)
    assert story.counts()["AMS"] == 1


def test_nothing_is_taken_away_while_a_pop_is_drained(story: Story, world: World) -> None:
    story.passes(AMS=2400, LHR=2400)
    asked = {"drain": {"target": "LHR", "deadline_s": 1}}
    assert world.call("POST", "/anypop/v1/drains", json=asked).status_code == 200
    story.passes(9, AMS=200, LHR=0)
    assert story.counts() == {"AMS": 3, "LHR": 3}
    assert story.why("LHR")[1] == "LHR is drained"
    assert story.why("AMS")[1] == "LHR is drained, and its traffic goes elsewhere"


def test_a_declaration_sets_the_bounds_and_takes_nobody_who_is_needed(story: Story, world: World) -> None:
    story.passes(AMS=2400, LHR=100)
    world.send("PATCH", f"{BASE}/fun", {"workload": world.replicas(2)})
    story.settle()
    assert story.counts() == {"AMS": 3, "LHR": 2}
    world.send("PATCH", f"{BASE}/fun", {"workload": world.replicas(1)})
    story.settle()
    assert story.counts() == {"AMS": 3, "LHR": 2}, "the least is lower, and the load decides"
    story.passes(8, AMS=900, LHR=100)
    assert story.counts() == {"AMS": 3, "LHR": 1}


def test_fixed_again_there_are_as_many_as_is_declared(story: Story, world: World) -> None:
    story.passes(AMS=2400, LHR=100)
    fixed = {"minReplicas": 2, "maxReplicas": None, "scaleSettings": None}
    patch = {"targets": {"eu": {"spec": {"deployments": fixed}}}}
    world.send("PATCH", f"{BASE}/fun", {"workload": patch})
    story.settle()
    assert len(story.runs("AMS")) == len(story.runs("LHR")) == 2
    assert world.get(SCALING)["results"] == []
    order = story.agents[HostName("AMS")].order
    assert order is not None
    assert order.measured == ()


def test_who_has_the_fewest_connections_goes_and_the_others_keep_their_names(story: Story, world: World) -> None:
    """Also when their number follows nothing any more: nobody who serves is exchanged for a lower number."""
    story.passes(AMS=2400, LHR=100)
    story.agents[HostName("AMS")].flows = {"fun-eu-ams-0": 4, "fun-eu-ams-1": 900, "fun-eu-ams-2": 700}
    story.passes(7, AMS=600)
    assert story.runs("AMS") == ["fun-eu-ams-1", "fun-eu-ams-2"]
    before = {i["name"]: i["id"] for i in world.instances() if i["name"] in story.runs("AMS")}
    world.restart()
    story.settle()
    assert story.runs("AMS") == ["fun-eu-ams-1", "fun-eu-ams-2"], "it is stored"
    fixed = {"minReplicas": 1, "maxReplicas": None, "scaleSettings": None}
    world.send("PATCH", f"{BASE}/fun", {"workload": {"targets": {"eu": {"spec": {"deployments": fixed}}}}})
    story.settle()
    assert story.runs("AMS") == ["fun-eu-ams-1"] and world.get(SCALING)["results"] == []
    assert next(i["id"] for i in world.instances() if i["name"] == "fun-eu-ams-1") == before["fun-eu-ams-1"]
    world.send("PATCH", f"{BASE}/fun", {"workload": world.replicas(2)})
    story.settle()
    assert story.runs("AMS") == ["fun-eu-ams-0", "fun-eu-ams-1"]


def test_a_quota_lets_in_what_fits_and_is_told(story: Story, world: World) -> None:
    account = world.platform.accounts.first_account()
    world.platform.quotas.put(account.id, Quota(instances=3))
    story.passes(AMS=3900, LHR=100)
    assert story.counts() == {"AMS": 2, "LHR": 1}
    story.passes()
    assert story.why("AMS")[0] == "over-quota"
    refused = world.call("POST", BASE, json=a_body("more", cities=("LHR",), replicas=1, anycast=False))
    assert refused.status_code == 429
    assert "3 are used" in refused.text, "those that were added count"


def test_a_host_without_room_is_told(tmp_path: Path) -> None:
    wide = few_pops()
    small = Capacity(cpu_millis=4000, memory_bytes=1 << 40, disk_bytes=1 << 40)
    tight = replace(wide.pops[0], hosts=(replace(wide.pops[0].hosts[0], capacity=small),))
    with World(tmp_path, replace(wide, pops=(tight, *wide.pops[1:]))) as world:
        world.send("POST", BASE, declared())
        story = Story(world)
        story.settle()
        story.passes(2, AMS=3000, LHR=100)
        assert story.counts()["AMS"] == 3
        assert len(story.runs("AMS")) == 2
        assert story.why("AMS") == ("no-room", "3 are wanted, and 2 fit")


def test_a_document_of_an_earlier_version_follows_its_load(story: Story, world: World) -> None:
    """It took `scaleSettings`, kept them, and did nothing by them; nobody is started anew for it."""

    def as_it_was(state: State, now: float) -> State:
        one = next(iter(state.workloads.values()))
        plain = tuple(replace(t, scale=None) for t in one.workload.targets)
        newest = replace(one.newest, workload=replace(one.workload, targets=plain))
        return replace(state, workloads={one.id: replace(one, newest=newest)})

    world.run(world.platform.core.change(as_it_was))
    assert world.get(SCALING)["results"] == []
    before = _uids(world)
    world.restart()
    story.settle()
    assert story.counts() == {"AMS": 1, "LHR": 1}
    assert _uids(world) == before
    story.passes(1, AMS=1800, LHR=100)
    assert story.counts() == {"AMS": 2, "LHR": 1}


def test_what_it_may_cost_at_most_is_told_before(world: World) -> None:
    quoted = world.send("POST", "/anypop/v1/quote", declared(least=2, most=6))
    (line, *_) = quoted["lines"]
    assert (line["quantity"], line["most"]) == (4, 12)
    assert quoted["most_monthly"] - quoted["monthly"] == pytest.approx(8 * 730 * line["unit_hourly"])
    fixed = world.send("POST", "/anypop/v1/quote", a_body())
    assert not {"most_monthly", "most_hourly"} & fixed.keys()
    assert "most" not in fixed["lines"][0]


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"maxReplicas": None}, "maxReplicas is required with scaleSettings"),
        ({"minReplicas": 0}, "minReplicas must be at least 1"),
        ({"scaleSettings": {"metrics": [{"metric": "cpu"}]}}, "give one of averageUtilization"),
        (
            {"scaleSettings": {"metrics": [{"metric": "cpu", "averageUtilization": 5, "averageValue": "1"}]}},
            "give one of averageUtilization",
        ),
        ({"scaleSettings": {"metrics": [{"metric": "memory", "averageUtilization": 5}]}}, "may be cpu"),
    ],
)
def test_what_could_not_be_done_is_refused(world: World, members: Mapping[str, Any], words: str) -> None:
    body = declared()
    body["workload"]["targets"]["eu"]["spec"]["deployments"] |= members
    answer = world.call("POST", BASE, json=body)
    assert answer.status_code == 400
    assert words in answer.text


def _uids(world: World) -> set[str]:
    return set(world.state.incarnations)
