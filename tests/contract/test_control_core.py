"""The core under strain: many at once, a store that fails, a generation that an agent makes up, and what it costs."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from anypop.control.decide import ANYCAST_REST_S, PLACE_REST_S
from anypop.model.errors import WorldError
from anypop.model.names import HostName
from tests.control_world import FakeAgent, World, a_body

BASE = "/workload/v1/stacks/default/workloads"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path) as made:
        yield made


def test_creations_tokens_and_reports_at_once_all_succeed(world: World) -> None:
    """Forty creations, forty tokens and a hundred reports side by side: none fails on the store, and every creation
    is there once.
    """
    agents = world.agents()
    world.settle(agents)
    who = {"client_id": world.credential.client_id, "client_secret": world.credential.secret}

    async def storm() -> list[int]:
        creations = [
            world.request("POST", BASE, json=a_body(f"w{n}", anycast=False), headers=world.headers) for n in range(40)
        ]
        tokens = [world.request("POST", "/identity/v1/oauth2/token", json=who) for _ in range(40)]
        reports = [world.platform.core.take(agent.seen()) for agent in agents for _ in range(25)]
        answers, *_ = await asyncio.gather(asyncio.gather(*creations, *tokens), asyncio.gather(*reports))
        return [a.status_code for a in answers]

    assert set(world.run(storm())) == {200}
    assert world.get(BASE)["pageInfo"]["totalCount"] == "40"
    world.settle()
    state = world.platform.core.state
    assert (
        len({(p.incarnation.host, p.incarnation.index) for p in state.incarnations.values()})
        == len(state.incarnations)
        == 160
    )


def test_of_two_who_want_one_slug_one_wins(world: World) -> None:
    """Side by side, ten times the same body: one 200, nine 409."""

    async def race() -> list[int]:
        answers = await asyncio.gather(
            *(world.request("POST", BASE, json=a_body(), headers=world.headers) for _ in range(10))
        )
        return sorted(a.status_code for a in answers)

    assert world.run(race()) == [200] + [409] * 9


def test_of_two_changes_to_one_version_one_wins(world: World) -> None:
    """Side by side, the second to come is told that the version is another now."""
    world.create(replicas=1)

    async def race() -> list[int]:
        bodies = [{"workload": {"metadata": {"version": "1"}, **world.replicas(n)}} for n in (2, 3)]
        answers = await asyncio.gather(
            *(world.request("PATCH", f"{BASE}/fun", json=body, headers=world.headers) for body in bodies)
        )
        return sorted(a.status_code for a in answers)

    assert world.run(race()) == [200, 409]


def test_a_store_that_fails_is_a_503_and_changes_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the disk is full nothing is promised, nothing is ordered; when it is not any more, all goes on."""
    agents = world.agents()
    world.settle(agents)
    before = world.platform.core.state

    def full(*_: Any, **__: Any) -> None:
        raise WorldError("write to the store", "disk full")

    with monkeypatch.context() as patch:
        patch.setattr(world.platform.core.store, "save", full)
        response = world.call("POST", BASE, json=a_body())
        assert response.status_code == 503 and "disk full" in response.json()["message"]
        assert agents[0].report().status_code == 503
        assert world.platform.core.state is before
    world.create()
    world.settle(agents)
    assert {i["phase"] for i in world.instances()} == {"RUNNING"}


def test_an_agents_damaged_generation_does_not_damage_ours(world: World) -> None:
    """A generation beyond any count is refused; a high one is followed and stays countable."""
    agent = FakeAgent(world, HostName("LHR"))
    agent.obey()
    assert agent.report(generation=2**60).status_code == 400
    assert agent.report(generation=2**52).status_code == 204
    assert world.platform.core.state.orders[agent.host].order.generation == 2**52 + 1


def test_places_and_addresses_rest_after_use(world: World) -> None:
    """While a place rests nobody gets it; the time is over, and it is free."""
    world.create(cities=("LHR",), replicas=1)
    world.settle()
    world.send("DELETE", f"{BASE}/fun")
    world.settle()
    state = world.platform.core.state
    assert {what: until - world.clock() for what, until in state.rests.items()} == {
        "LHR/0": PLACE_REST_S,
        "LHR/link/0": PLACE_REST_S,
        "185.85.196.1": ANYCAST_REST_S,
    }
    world.create("next", cities=("LHR",), replicas=1)
    assert [p.incarnation.index for p in world.platform.core.state.incarnations.values()] == [1]
    world.clock.now += PLACE_REST_S
    world.create("last", cities=("LHR",), replicas=1)
    assert sorted(p.incarnation.index for p in world.platform.core.state.incarnations.values()) == [0, 1]
    assert set(world.platform.core.state.rests) == {"185.85.196.1"}


def test_a_place_is_not_given_away_before_its_pop_says_gone(world: World) -> None:
    """However long a PoP is silent, what it may still run keeps its addresses."""
    world.create(cities=("LHR",), replicas=1)
    world.settle()
    world.send("DELETE", f"{BASE}/fun")
    world.clock.now += 100_000
    world.headers = world.login(world.credential.client_id, world.credential.secret)
    world.create("next", cities=("LHR",), replicas=1)
    assert [p.incarnation.index for p in world.platform.core.state.incarnations.values()] == [1]
    assert len(world.platform.core.state.tombstones) == 1
