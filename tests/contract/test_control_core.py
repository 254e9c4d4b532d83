"""The core under strain: many at once, a store that fails, a generation that an agent makes up, and what it costs."""

import asyncio
import logging
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event

from anypop.control.core import RECOVERY_WINDOW, RESET_FOR_S
from anypop.control.decide import ANYCAST_REST_S, PLACE_REST_S
from anypop.model import codec
from anypop.model.errors import WorldError
from anypop.model.names import HostName, InstanceName
from anypop.model.network import Capacity
from anypop.model.reasons import Reason
from anypop.model.report import InstanceReport, Phase
from anypop.model.report_limits import MOST_LINES
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


@pytest.mark.parametrize("claimed", [RECOVERY_WINDOW + 2, 2**52, 2**53, 2**60, 2**64])
def test_a_generation_that_was_never_issued_locks_nobody_out(world: World, claimed: int) -> None:
    """Forged with the host's own token, by report and by question: refused in words, and the host goes on as before."""
    agent = FakeAgent(world, HostName("LHR"))
    agent.obey()
    before = world.platform.core.state.orders[agent.host]
    answer = agent.report(generation=claimed)
    assert answer.status_code == 400 and "anypop host reset LHR" in answer.json()["message"]
    question = f"/anypop/v1/agents/LHR/order?after={min(claimed, 10**18 - 1)}"
    assert world.call("GET", question, headers=agent.headers).status_code == 400
    assert world.platform.core.state.orders[agent.host] is before
    world.create(cities=("LHR",))
    world.settle([agent])
    assert {i["phase"] for i in world.instances()} == {"RUNNING"}


def test_of_a_report_that_is_ahead_nothing_else_is_believed(world: World) -> None:
    """Its order goes on above, as after a lost store; health and removals of such a report count for nothing."""
    world.create(cities=("LHR",), replicas=1)
    agent = FakeAgent(world, HostName("LHR"))
    agent.obey()
    world.settle()
    told = world.platform.core.state.reports[agent.host]
    world.send("DELETE", f"{BASE}/fun")
    (uid,) = world.platform.core.state.tombstones
    assert agent.report(generation=900, gone=(uid,), errors=("forged",)).status_code == 204
    state = world.platform.core.state
    assert state.orders[agent.host].order.generation == 901
    assert uid in state.tombstones and state.reports[agent.host] is told


def test_a_reset_lets_one_host_go_on_above_what_it_claims_once(world: World) -> None:
    """Within ten minutes, whatever it is; the next claim is judged as before, and others' never were believed."""
    agent, other = FakeAgent(world, HostName("LHR")), FakeAgent(world, HostName("AMS"))
    agent.obey(), other.obey()
    reset = "/anypop/v1/hosts/lhr/reset"
    world.send("POST", reset, {})
    assert other.report(generation=2**52).status_code == 400
    assert agent.report(generation=2**52).status_code == 204
    assert world.platform.core.state.orders[agent.host].order.generation == 2**52 + 1
    assert agent.report(generation=2**53).status_code == 400
    world.send("POST", reset, {})
    world.clock.now += RESET_FOR_S + 1
    assert agent.report(generation=2**53).status_code == 400
    assert world.call("POST", "/anypop/v1/hosts/XXX/reset", json={}).status_code == 404
    agent.obey()
    assert agent.order is not None and agent.order.generation == 2**52 + 1


def test_a_reset_takes_down_what_a_restored_store_knows_nothing_of(world: World) -> None:
    """The host refuses an order that leaves instances out; after the reset it is told to remove these, and no others,
    and when they are gone nothing of it is left in the order.
    """
    world.create(cities=("LHR",), replicas=1)
    agent = FakeAgent(world, HostName("LHR"))
    agent.obey()
    (known,) = agent.seen().instances
    stranger = replace(known, name=InstanceName("late-eu-lhr-0"), uid="f00d")
    refusing: dict[str, Any] = {"refused": Reason.SHRINKS_WITHOUT_TOKEN, "instances": (known, stranger)}
    agent.report(instances=(known, stranger))
    world.send("POST", "/anypop/v1/hosts/LHR/reset", {})
    assert agent.fetch() is None
    agent.report(**refusing)
    world.send("POST", "/anypop/v1/hosts/LHR/reset", {})
    order = agent.fetch()
    assert order is not None
    assert [(r.uid, r.reason) for r in order.removed] == [("f00d", Reason.FORGOTTEN)]
    assert [i.uid for i in order.instances] == [known.uid]
    agent.order = order
    agent.report()
    order = agent.fetch()
    assert order is not None and not order.removed


def test_a_host_speaks_of_its_own_incarnations_alone(world: World) -> None:
    """Another's removal is not done because it says so, and no owner hears its tales."""
    world.create(cities=("LHR",), replicas=1)
    world.settle()
    living = next(iter(world.platform.core.state.incarnations.values())).incarnation
    liar = FakeAgent(world, HostName("AMS"))
    liar.obey()
    tale = InstanceReport(
        name=living.name, uid=living.uid, phase=Phase.FAILED, healthy=False, reason=Reason.EXITED, message="a tale"
    )
    liar.report(instances=(tale,))
    stack = world.stack.id
    assert "a tale" in str(world.platform.core.store.events(limit=9))
    assert "a tale" not in str(world.platform.core.store.events(limit=99, stacks=[stack]))
    assert {i["phase"] for i in world.instances()} == {"RUNNING"}
    world.send("DELETE", f"{BASE}/fun")
    liar.report(gone=(living.uid,))
    assert living.uid in world.platform.core.state.tombstones
    world.settle()
    assert not world.platform.core.state.tombstones


def test_a_report_beyond_any_host_is_refused_whole(world: World) -> None:
    """Too many, too long, or a time that is none: 400 with the path, and what was known stays."""
    agent = FakeAgent(world, HostName("LHR"))
    agent.obey()
    told = world.platform.core.state.reports[agent.host]
    many = tuple(f"line {n}" for n in range(MOST_LINES + 1))
    capacity = Capacity(cpu_millis=-1, memory_bytes=1, disk_bytes=1)
    for changes in ({"errors": many}, {"errors": ("x" * 70_000,)}, {"capacity": capacity}, {"generation": -1}):
        answer = agent.report(**changes)
        assert answer.status_code == 400, answer.text
        assert next(iter(changes)) in str(answer.json()["details"])
    body = codec.to_json(agent.seen()).replace(b'"at":1700000000.0', b'"at":NaN')
    path = "/anypop/v1/agents/LHR/report"
    assert world.call("POST", path, content=body, headers=agent.headers).status_code == 400
    assert world.platform.core.state.reports[agent.host] is told


def test_a_clock_that_was_set_back_makes_no_dead_pop_trusted(world: World) -> None:
    """Control starts anew an hour "before" the last reports: they are believed for a heartbeat or three, no longer,
    and what rests, rests no longer than ever.
    """
    world.create(cities=("LHR",), replicas=1)
    world.settle()
    world.send("DELETE", f"{BASE}/fun")
    world.settle()
    world.clock.now -= 3577
    world.restart()
    state = world.platform.core.state
    assert all(r.at <= world.clock() for r in state.reports.values())
    assert all(until <= world.clock() + ANYCAST_REST_S for until in state.rests.values())
    world.clock.now += 16
    world.run(world.platform.core.change(lambda state, now: state))
    assert {v.trusted for v in world.platform.core.state.verdict.hosts.values()} == {False}


def test_a_full_disk_is_told_and_reads_go_on(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """The database itself says that it is full: once in the log, in healthz until it is over, and in every refusal;
    what was there is answered. With room again everything goes on.
    """
    world.create()
    engine = world.platform.core.store._engine
    with engine.connect() as link:
        pages = link.exec_driver_sql("PRAGMA page_count").scalar_one()
    listener = partial(_limit, pages)
    event.listen(engine, "begin", listener)
    big = {f"V{n}": {"value": "x" * 20_000} for n in range(40)}
    with caplog.at_level(logging.INFO, logger="anypop.control"):
        for slug in ("one", "two"):
            answer = world.call("POST", BASE, json=a_body(slug, env=big))
            assert answer.status_code == 503 and "full" in answer.json()["message"]
        assert world.call("GET", "/anypop/v1/healthz", headers={}).status_code == 503
        assert [w["slug"] for w in world.get(BASE)["results"]] == ["fun"]
        event.remove(engine, "begin", listener)
        event.listen(engine, "begin", partial(_limit, 1 << 30))
        assert world.call("GET", "/anypop/v1/healthz", headers={}).status_code == 200
        world.create("one", env=big)
    told = [r.getMessage() for r in caplog.records if "store" in r.getMessage()]
    assert len(told) == 2 and "cannot be written" in told[0] and "can be written again" in told[1]


def test_who_has_to_see_a_full_disk_is_let_in_to_read(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Not a page can be written: a sign-in is answered with a token for a minute, which reads and changes nothing, and
    is told in the log; a wrong secret and an unknown client are refused as ever. With room again tokens last as ever.
    """
    world.create()
    engine = world.platform.core.store._engine
    event.listen(engine, "begin", _read_only)
    who = {"client_id": world.credential.client_id, "client_secret": world.credential.secret}
    path, kind = "/identity/v1/oauth2/token", {"grant_type": "client_credentials"}

    def sign_in(**other: str) -> Any:
        return world.call("POST", path, headers={}, json={**who, **kind, **other})

    with caplog.at_level(logging.WARNING, logger="anypop.control"):
        given = sign_in().json()
    assert given["expires_in"] == 60
    assert any("in no audit log" in record.getMessage() for record in caplog.records)
    bearer = {"authorization": f"Bearer {given['access_token']}"}
    assert [w["slug"] for w in world.call("GET", BASE, headers=bearer).json()["results"]] == ["fun"]
    assert world.call("POST", BASE, headers=bearer, json=a_body("two")).status_code == 503
    assert sign_in(client_secret="0" * 64).status_code == 401
    assert sign_in(client_id="0" * 32).status_code == 404
    world.clock.now += 61
    assert world.call("GET", BASE, headers=bearer).status_code == 401
    event.remove(engine, "begin", _read_only)
    event.listen(engine, "begin", _writable)
    assert sign_in().json()["expires_in"] == 3600


def _read_only(link: Connection) -> None:
    link.exec_driver_sql("PRAGMA query_only=1")


def _writable(link: Connection) -> None:
    link.exec_driver_sql("PRAGMA query_only=0")


def _limit(pages: int, link: Connection) -> None:
    link.exec_driver_sql(f"PRAGMA max_page_count={pages}")


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
