"""A catchment measured by the API: who may, at which rate, and what is told of hosts that did not listen; and what
hosts see of it in their own traffic.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address, ip_network
from pathlib import Path
from typing import Any

import pytest

from anypop.advice import plans
from anypop.control import catchments
from anypop.control.roles import Role
from anypop.model.codec import to_data, to_json
from anypop.model.names import CityCode, HostName
from anypop.model.network import Network
from anypop.model.sources import SeenFrom, Sources
from anypop.model.streams import EchoesRequest, Heard, Opened, Pinged, PingsRequest, Refusal
from tests.control_world import FakeAgent, World, a_network
from tests.listening_host import Channel
from tests.people import somebody

PATH = "/anypop/v1/catchments"
TARGETS = ["192.0.2.1", "192.0.2.2", "192.0.2.3"]
OURS = a_network().anycast4[0]
BODY: dict[str, Any] = {"pop": "lhr", "address": str(a_network().anycast4[0][1]), "targets": TARGETS}


def channel(world: World, host: HostName, *heard: str) -> Channel:
    """It heard these, and sends all it is asked to."""

    def says(wanted: Any) -> tuple[bytes, ...]:
        match wanted:
            case EchoesRequest():
                return to_json(Opened()), to_json(Heard(addresses=tuple(map(IPv4Address, heard))))
            case PingsRequest():
                return to_json(Opened()), to_json(Pinged(sent=len(wanted.targets), unsent=0))
        return (to_json(Opened(refusal=Refusal.BROKEN, message="no")),)

    return Channel(world, host, says)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("catchments")) as made:
        made.platform.streams.patience_s = 0.5
        yield made


def allow(world: World, rate: int) -> None:
    network: Network = replace(world.platform.core.state.network, pings_per_s=rate)
    world.send("PUT", "/anypop/v1/network", to_data(network))


def test_nobody_sends_until_the_operator_allows_a_rate(world: World) -> None:
    """And then the operator alone, to addresses of one family, from one of a covering prefix, in bounded time."""
    assert "pings_per_s" in world.call("POST", PATH, json=BODY).text
    theirs = world.platform.accounts.create_account("theirs").id
    eve = somebody(world, theirs, "eve", Role.OWNER)
    assert world.call("POST", PATH, json=BODY, headers=eve).status_code == 403
    allow(world, 10)
    wrong: dict[str, Any]
    for wrong in (
        {"address": "203.0.113.7"},
        {"targets": ["2001:db8::1"]},
        {"targets": []},
        {"targets": TARGETS * 400},
    ):
        assert world.call("POST", PATH, json=BODY | wrong).status_code == 400
    assert world.call("POST", PATH, json=BODY | {"pop": "QQQ"}).status_code == 404


def test_each_answer_counts_where_it_was_heard_and_deaf_hosts_are_told(world: World) -> None:
    """One key for all that listen and the one that sends; what nobody was asked for does not count."""
    allow(world, 100)
    names = [host.name for _, host in world.platform.core.state.network.hosts()]
    channels = {
        "LHR": channel(world, HostName("LHR"), "192.0.2.1", "198.51.100.99"),
        names[0]: channel(world, names[0], "192.0.2.2"),
    }

    async def listen() -> list[asyncio.Task[None]]:
        every = channels.items()
        return [asyncio.create_task(world.platform.streams.listen(HostName(host), one)) for host, one in every]

    listening = world.run(listen())
    told = world.send("POST", PATH, BODY)
    cities = {host.name: pop.city for pop, host in world.platform.core.state.network.hosts()}
    assert (told["sent"], told["unsent"]) == (3, 0)
    assert told["results"] == [
        {"target": "192.0.2.1", "pop": "LHR"}, {"target": "192.0.2.2", "pop": cities[names[0]]},
    ]  # fmt: skip
    assert set(told["deaf"]) == set(names) - set(channels)
    asked = [one for each in channels.values() for one in each.asked]
    assert len({one.key for one in asked}) == 1 and sum(isinstance(one, PingsRequest) for one in asked) == 1
    again = world.send("POST", PATH, BODY)
    assert again["results"] == told["results"]
    assert len({one.key for each in channels.values() for one in each.asked}) == 2, "each has its own key"
    noted = world.get("/anypop/v1/audit?operation=measure_catchment")["results"]
    assert [(row["subject"], row["after"]["targets"]) for row in noted] == [("LHR", 3), ("LHR", 3)]
    for task in listening:
        world._loop.call_soon_threadsafe(task.cancel)


def a_sample(world: World, one_of: int) -> None:
    network: Network = replace(world.platform.core.state.network, sampled_flows=one_of, sampled_look_s=30.0)
    world.send("PUT", "/anypop/v1/network", to_data(network))


def tell(agent: FakeAgent, for_s: float, *networks: str) -> int:
    """What an agent says has come in; the answer's status."""
    seen = (SeenFrom(prefix=OURS, sources=tuple(map(ip_network, networks))),) if networks else ()
    body = to_json(Sources(for_s=for_s, seen=seen))
    path = f"/anypop/v1/agents/{agent.host}/sources"
    return agent.world.call("POST", path, content=body, headers=agent.headers).status_code


def landed(world: World) -> list[dict[str, list[str]]]:
    """Of each announcement of the prefix, the last one first."""
    rows = [row for row in world.get(PATH)["results"] if row["prefix"] == str(OURS)]
    found = [world.get(f"{PATH}/{row['id']}")["landed"] for row in rows]
    assert [sum(len(one["sources"]) for one in each) for each in found] == [row["sources"] for row in rows]
    return [{one["pop"]: one["sources"] for one in each} for each in found]


def test_traffic_tells_where_networks_land_under_each_announcement(tmp_path: Path) -> None:
    """Off by default; what began before an announcement had held for a while is left out; another one begins another
    catchment, the first is gone on with when it returns; it outlives control, and no tenant reads it.
    """
    with World(tmp_path) as world:
        world.create()
        agents = {str(agent.host): agent for agent in world.agents()}
        world.settle(list(agents.values()))
        ams, lhr = agents["AMS"], agents["LHR"]
        assert tell(ams, 10, "192.0.2.0/24") == 204 and world.get(PATH)["results"] == []
        a_sample(world, 1000)
        world.settle(list(agents.values()))
        assert ams.order is not None and (ams.order.sampled_flows, ams.order.sampled_look_s) == (1000, 30.0)
        assert tell(ams, 10, "192.0.2.0/24") == 204 and landed(world) == [{}]
        world.clock.now += 60
        assert tell(ams, 31, "192.0.2.0/24") == 204 and landed(world) == [{}]
        for _ in range(2):  # an answer that was lost
            assert tell(ams, 30, "192.0.2.0/24", "198.51.100.0/24") == tell(lhr, 30, "192.0.2.0/24") == 204
        plain = {"AMS": ["192.0.2.0/24", "198.51.100.0/24"], "LHR": ["192.0.2.0/24"]}
        assert landed(world) == [plain]

        rules = "/anypop/v1/stacks/default/workloads/fun/announcements"
        scope = {"prepend": 2}
        world.send("PUT", rules, {"rules": [{"pop": "LHR", "upstream": "as1299", "scope": scope, "note": ""}]})
        world.settle(list(agents.values()))
        assert tell(lhr, 30, "203.0.113.0/24") == 204 and landed(world) == [{}, plain]
        world.clock.now += 60
        assert tell(lhr, 30, "203.0.113.0/24") == 204 and landed(world) == [{"LHR": ["203.0.113.0/24"]}, plain]
        rows = [row for row in world.get(PATH)["results"] if row["prefix"] == str(OURS)]
        prepends = [[s.scope.prepend for s in plans.read(row["plan"], "it").sessions] for row in rows]
        assert [max(found) for found in prepends] == [2, 0] and len(prepends[0]) == 4

        world.send("PUT", rules, {"rules": []})
        world.settle(list(agents.values()))
        world.restart()
        assert tell(ams, 1) == 204 and landed(world) == [plain, {"LHR": ["203.0.113.0/24"]}]

        assert tell(ams, 1, "192.0.2.128/25") == tell(ams, 1, "2001:db8::/48") == tell(ams, -1) == 400
        wrong = world.call("POST", "/anypop/v1/agents/LHR/sources", content=b"{}", headers=ams.headers)
        assert wrong.status_code in (401, 403)
        eve = somebody(world, world.platform.accounts.create_account("theirs").id, "eve", Role.OWNER)
        for path in (PATH, f"{PATH}/{world.get(PATH)['results'][0]['id']}"):
            assert world.call("GET", path, headers=eve).status_code == 403
        assert world.call("GET", f"{PATH}/nothing").status_code == 404


def test_a_catchment_keeps_no_more_than_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks beyond its bound are left out, and what has not come in for weeks makes room; of announcements the
    oldest goes.
    """
    monkeypatch.setattr(catchments, "MOST_SOURCES", 2)
    monkeypatch.setattr(catchments, "MOST_CATCHMENTS", 2)
    with World(tmp_path) as world:
        kept = catchments.Catchments(world.platform.core.store)

        def take(plan: str, now: float, *networks: str) -> None:
            told = Sources(for_s=0, seen=(SeenFrom(prefix=OURS, sources=tuple(map(ip_network, networks))),))
            kept.take(CityCode("AMS"), told, {OURS: plan}, now=now, settle_s=0)

        take("a", 1, "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24")
        (one,) = kept.listed()
        assert kept.landed(one.id) == {"AMS": ["192.0.2.0/24", "198.51.100.0/24"]}
        take("a", 2 + catchments.KEPT_S, "203.0.113.0/24")
        assert kept.landed(one.id) == {"AMS": ["203.0.113.0/24"]}
        for at, plan in enumerate("bc"):
            take(plan, 3 + at + catchments.KEPT_S)
        assert [found.plan for found in kept.listed()] == ["c", "b"]
