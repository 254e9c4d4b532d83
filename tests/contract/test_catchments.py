"""A catchment measured by the API: who may, at which rate, and what is told of hosts that did not listen."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any

import pytest

from anypop.control.roles import Role
from anypop.model.codec import to_data, to_json
from anypop.model.names import HostName
from anypop.model.network import Network
from anypop.model.streams import EchoesRequest, Heard, Opened, Pinged, PingsRequest, Refusal
from tests.control_world import World, a_network
from tests.listening_host import Channel
from tests.people import somebody

PATH = "/anypop/v1/catchments"
TARGETS = ["192.0.2.1", "192.0.2.2", "192.0.2.3"]
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
