"""The agents' side: orders by generation, reports that are judged, and deployments end to end with agents that only
pretend.
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from anypop.model import codec
from anypop.model.names import HostName
from anypop.model.order import Order
from anypop.model.order_delta import BASE_HEADER, Digests, OrderDelta, apply
from anypop.model.report import Phase
from tests.control_world import FakeAgent, World

LHR = HostName("LHR")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path) as made:
        yield made


def _generations(world: World) -> dict[str, int]:
    return {pop: issued.order.generation for pop, issued in world.platform.core.state.orders.items()}


def test_an_agent_reads_its_own_order_and_no_other(world: World) -> None:
    """Another PoP's agent gets 403, a client's token 401, and an agent's token opens nothing else."""
    agent = FakeAgent(world, LHR)
    assert agent.fetch() is not None
    for pop in ("AMS", "XXX"):
        assert world.call("GET", f"/anypop/v1/agents/{pop}/order?after=0", headers=agent.headers).status_code == 403
    assert world.call("GET", "/anypop/v1/agents/LHR/order?after=0").status_code == 401
    assert world.call("GET", "/anypop/v1/pops", headers=agent.headers).status_code == 401
    agent.obey()
    other = codec.to_json(FakeAgent(world, HostName("AMS")).seen())
    assert world.call("POST", "/anypop/v1/agents/LHR/report", content=other, headers=agent.headers).status_code == 403


def test_a_deployment_goes_from_post_to_running_to_gone(world: World) -> None:
    """Orders reach the PoPs that are meant, reports make instances RUNNING, a deletion leaves nothing in any order."""
    world.create()
    agents = world.agents()
    world.settle(agents)
    assert {i["phase"] for i in world.instances()} == {"RUNNING"}
    assert {a.pop: len(a.order.instances) for a in agents if a.order} == {"AMS": 2, "LHR": 2, "JFK": 0, "LAX": 0}
    world.send("DELETE", "/workload/v1/stacks/default/workloads/fun")
    world.settle(agents)
    for agent in agents:
        assert agent.order is not None and not agent.order.instances and not agent.order.removed
    assert not world.platform.core.state.tombstones


def test_only_pops_whose_order_changed_get_a_new_one(world: World) -> None:
    """A workload in LHR alone changes no generation elsewhere, and a report that changes nothing changes none at
    all.
    """
    world.settle()
    before = _generations(world)
    world.create(cities=("LHR",))
    assert {pop for pop, g in _generations(world).items() if g != before[pop]} == {"LHR"}
    world.settle()
    settled = _generations(world)
    world.settle()
    assert _generations(world) == settled


def test_an_agent_that_knows_its_order_gets_what_differs(world: World) -> None:
    """With the digest of an order that control remembers the answer is the difference; with any other it is the whole
    order.
    """
    world.create(cities=("LHR",), replicas=2)
    agent = FakeAgent(world, LHR)
    agent.obey()
    before = agent.order
    assert before is not None
    world.create("more", cities=("LHR",), replicas=1, anycast=False)
    path = f"/anypop/v1/agents/LHR/order?after={before.generation}&accept=delta&digest="
    answer = world.call("GET", path + Digests().of(before), headers=agent.headers)
    assert answer.headers[BASE_HEADER] == str(before.generation)
    change = codec.from_json(OrderDelta, answer.content)
    newest = agent.fetch()
    assert newest is not None
    assert [i.name for i in change.instances] == ["more-eu-lhr-0"]
    assert apply(before, change) == newest
    assert change.digest == Digests().of(newest)
    for question in (path + "0" * 32, path.replace(f"after={before.generation}", "after=0") + Digests().of(before)):
        whole = world.call("GET", question, headers=agent.headers)
        assert codec.from_json(Order, whole.content) == newest


def test_a_waiting_agent_is_answered_by_the_change_itself(world: World) -> None:
    """A long poll that began before the creation ends with the new order, well before its time is over."""
    agent = FakeAgent(world, LHR)
    agent.obey()

    async def story() -> bytes:
        path, headers = (
            f"/anypop/v1/agents/LHR/order?after={agent.order.generation if agent.order else 0}&wait=25",
            agent.headers,
        )
        waiting = asyncio.create_task(world.request("GET", path, headers=headers))
        await asyncio.sleep(0)
        await world.request(
            "POST", "/workload/v1/stacks/default/workloads", json=world.body(cities=("LHR",)), headers=world.headers
        )
        async with asyncio.timeout(20):  # it was asked to wait for 25
            return (await waiting).content

    order = codec.from_json(Order, world.run(story()))
    assert [i.name for i in order.instances] == ["fun-eu-lhr-0", "fun-eu-lhr-1"]


def test_a_wait_without_news_ends_in_204(world: World) -> None:
    """Nothing new within the time that was asked for."""
    agent = FakeAgent(world, LHR)
    agent.obey()
    assert agent.fetch(wait=0) is None


@pytest.mark.parametrize("query", ["after=-1", "after=x", "after=1&wait=soon", "after=99999999999999999999"])
def test_a_bad_question_is_a_bad_request(world: World, query: str) -> None:
    """400 for what is no whole number, or more than any generation can be."""
    agent = FakeAgent(world, LHR)
    assert world.call("GET", f"/anypop/v1/agents/LHR/order?{query}", headers=agent.headers).status_code == 400


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"pop":"LHR","at":"x","generation":[]}'])
def test_a_report_that_cannot_be_read_is_refused(world: World, content: bytes) -> None:
    """400 with the paths, and the PoP stays unknown."""
    agent = FakeAgent(world, LHR)
    assert world.call("POST", "/anypop/v1/agents/LHR/report", content=content, headers=agent.headers).status_code == 400
    assert not world.platform.core.state.reports


def test_control_goes_on_above_the_generation_that_a_pop_has_obeyed(world: World) -> None:
    """After a restore from an old copy, an agent that is ahead gets a newer order, by its question and by its report
    alike.
    """
    agent = FakeAgent(world, LHR)
    agent.obey()
    assert agent.order is not None
    agent.report(generation=41)
    assert _generations(world)["LHR"] == 42
    response = world.call("GET", "/anypop/v1/agents/LHR/order?after=100", headers=agent.headers)
    assert codec.from_json(Order, response.content).generation == 101
    world.restart()
    assert _generations(world)["LHR"] == 101


def test_generations_and_reports_survive_a_restart(world: World) -> None:
    """Nothing that was answered is lost, and the restart itself makes no new order."""
    world.create()
    agents = world.agents()
    world.settle(agents)
    before, instances = _generations(world), world.instances()
    world.restart()
    assert _generations(world) == before
    assert world.instances() == instances
    world.settle(agents)
    assert _generations(world) == before


def test_an_instance_that_is_only_left_out_is_never_ordered_away(world: World) -> None:
    """Every order that lacks an instance of the one before names its uid under removed."""
    world.create(replicas=2)
    agent = FakeAgent(world, LHR)
    agent.obey()
    before = agent.order
    world.send("PATCH", "/workload/v1/stacks/default/workloads/fun", {"workload": world.replicas(1)})
    agent.obey()
    assert before is not None and agent.order is not None
    missing = {i.uid for i in before.instances} - {i.uid for i in agent.order.instances}
    assert len(missing) == 1 and missing == {r.uid for r in agent.order.removed}


def test_a_name_that_comes_back_is_another_incarnation(world: World) -> None:
    """Scaled down and up again, before its PoP says gone: a new uid at another place, the old one still under
    removed.
    """
    world.create(replicas=2)
    agent = FakeAgent(world, LHR)
    agent.obey()
    first = {str(i.name): i for i in agent.order.instances} if agent.order else {}
    world.send("PATCH", "/workload/v1/stacks/default/workloads/fun", {"workload": world.replicas(1)})
    world.send("PATCH", "/workload/v1/stacks/default/workloads/fun", {"workload": world.replicas(2)})
    newer = agent.fetch()
    assert newer is not None
    second = {str(i.name): i for i in newer.instances}
    name = "fun-eu-lhr-1"
    assert second[name].uid != first[name].uid and second[name].private(4) != first[name].private(4)
    assert [r.uid for r in newer.removed] == [first[name].uid]


def test_a_name_that_comes_back_much_later_at_its_old_place_is_another_incarnation(world: World) -> None:
    """Also when everything else is the same again: an agent that remembers the first as gone must not take the
    second for it.
    """
    world.create(cities=("LHR",), replicas=1)
    agent = FakeAgent(world, LHR)
    lives = []
    for count in (1, 0, 1):
        world.send("PATCH", "/workload/v1/stacks/default/workloads/fun", {"workload": world.replicas(count)})
        world.settle([agent])
        lives += [(i.uid, i.private(4)) for i in agent.order.instances] if agent.order else []
        world.clock.now += 1000
    assert len(lives) == 2 and lives[0][1] == lives[1][1] and lives[0][0] != lives[1][0]


def test_a_silent_pop_becomes_unknown_by_itself(world: World) -> None:
    """A timer at the very moment at which its report turns stale, not a request, makes the change."""
    world.create()
    world.settle()
    world.clock.now += 14.9
    core = world.platform.core
    assert core._loop is not None
    core._loop.call_soon_threadsafe(core._set_timer, core.state)
    world.clock.now += 0.2
    world.wait_until(
        lambda: not any(v.trusted for v in world.platform.core.state.verdict.hosts.values()), "PoPs turn unknown"
    )
    kinds = [e["kind"] for e in world.get("/anypop/v1/events")["results"]]
    assert kinds.count("pop-unknown") == 4
    pops = world.get("/anypop/v1/pops")["results"]
    assert {p["verdict"] for p in pops} == {"unknown"} and {p["instances"]["healthy"] for p in pops} == {0}
    world.settle()
    assert {p["verdict"] for p in world.get("/anypop/v1/pops")["results"]} == {"trusted"}


def test_a_pop_may_withdraw_when_another_can_take_over(world: World) -> None:
    """A PoP whose instances all fail asks, gets the grant in a new order, and withdraws; the last one is refused."""
    world.create()
    agents = world.agents()
    world.settle(agents)
    by_host = {agent.host: agent for agent in agents}
    by_host[LHR].broken = frozenset({"fun-eu-lhr-0", "fun-eu-lhr-1"})
    world.settle(agents)
    world.settle(agents)
    rows = world.get("/anypop/v1/stacks/default/workloads/fun/announcements")["results"]
    assert {r["pop"]: r["announced"] for r in rows} == {"AMS": True, "LHR": False}
    by_host[HostName("AMS")].broken = frozenset({"fun-eu-ams-0", "fun-eu-ams-1"})
    world.settle(agents)
    world.settle(agents)
    rows = world.get("/anypop/v1/stacks/default/workloads/fun/announcements")["results"]
    assert any(r["announced"] for r in rows)
    kinds = {e["kind"] for e in world.get("/anypop/v1/events")["results"]}
    assert {"withdrawal-granted", "withdrawal-refused", "alarm"} <= kinds


def test_reports_that_come_together_are_judged_together(world: World) -> None:
    """A burst of reports makes fewer steps than reports, and the last of each PoP counts."""
    world.create()
    agents = world.agents()
    world.settle(agents)
    steps: list[int] = []
    inner = world.platform.core.store.save

    def counted(*arguments: object, **options: object) -> None:
        steps.append(1)
        inner(*arguments, **options)  # type: ignore[arg-type]

    world.platform.core.store.save = counted  # type: ignore[method-assign]

    async def burst() -> None:
        takes = [world.platform.core.take(agent.seen()) for agent in agents for _ in range(25)]
        await asyncio.gather(*takes)

    world.run(burst())
    assert len(steps) <= 5, len(steps)


def test_a_large_report_is_read_beside_the_event_loop(world: World) -> None:
    """A report of many hundred kilobytes is stored like any other."""
    agent = FakeAgent(world, LHR)
    agent.obey()
    drift = tuple(f"line {n} " + "x" * 80 for n in range(5000))
    assert agent.report(drift=drift).status_code == 204
    assert len(world.platform.core.state.reports[LHR].report.drift) == 5000


def test_phases_of_the_report_are_the_phases_that_are_shown(world: World) -> None:
    """Whatever a fresh report says of an instance, the API says."""
    world.create(cities=("LHR",), replicas=1)
    agent = FakeAgent(world, LHR)
    agent.obey()
    for phase in (Phase.STARTING, Phase.RUNNING, Phase.FAILED, Phase.COMPLETED):
        seen = agent.seen().instances[0]
        assert (
            agent.report(instances=(codec.from_data(type(seen), {**codec.to_data(seen), "phase": phase}),)).status_code
            == 204
        )
        assert [i["phase"] for i in world.instances()] == [phase.value]


def test_an_order_of_the_same_number_and_other_content_is_replaced(world: World) -> None:
    """After a restored copy of the store has counted on to where a host was, its first poll tells by the digest that it
    has another order; it gets a newer one, once. One that has the same order is left alone.
    """
    world.create()
    agents = world.agents()
    world.settle(agents)
    for agent, digest, news in ((agents[0], "0" * 32, True), (agents[1], "", False)):
        assert agent.order is not None
        generation = agent.order.generation
        told = digest or Digests().of(agent.order)
        path = f"/anypop/v1/agents/{agent.host}/order?after={generation}&wait=0&accept=delta&digest={told}"
        answer = world.call("GET", path, headers=agent.headers)
        assert answer.status_code == (200 if news else 204)
        assert (_generations(world)[agent.host] > generation) is news
        newest = _generations(world)[agent.host]
        again = f"/anypop/v1/agents/{agent.host}/order?after={newest}&wait=0&accept=delta&digest={told}"
        assert world.call("GET", again, headers=agent.headers).status_code == 204
