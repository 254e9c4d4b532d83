"""The looking glass: what it asks BIRD (a real one), what BIRD refuses on its connection, who may ask by the API."""

import asyncio
import shutil
import subprocess
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from anypop.agent.act.bgp import glass
from anypop.agent.decide.elements import SpeakerConfig
from anypop.control.roles import Role
from anypop.host import birdc
from anypop.model.codec import to_json
from anypop.model.errors import WorldError
from anypop.model.names import HostName
from anypop.model.streams import Opened, RoutesQuestion, RoutesRequest
from tests.control_world import World, a_network
from tests.listening_host import Channel
from tests.london_world import PASTED
from tests.people import somebody
from tests.wait import wait_until

CONF = """router id 10.255.0.1;
protocol device {}
protocol static ours { ipv4; %s }
"""
ROUTES = " ".join(f"route 10.{n >> 8}.{n & 255}.0/24 blackhole;" for n in range(600))
CONFIG = SpeakerConfig(
    asn=64500, router_id=IPv4Address("10.255.0.1"), upstreams=a_network().pops[0].hosts[0].upstreams
)  # fmt: skip


def asks(question: RoutesQuestion, **more: Any) -> RoutesRequest:
    return RoutesRequest(question=question, **more)


@pytest.fixture(scope="module")
def bird(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A BIRD of our own, with 600 routes that lead nowhere and no neighbour."""
    folder = tmp_path_factory.mktemp("bird")
    (folder / "bird.conf").write_text(CONF % ROUTES)
    program = shutil.which("bird") or "/usr/sbin/bird"
    control = folder / "bird.ctl"
    daemon = subprocess.Popen([program, "-f", "-c", folder / "bird.conf", "-s", control, "-P", folder / "pid"])
    try:
        wait_until(control.exists, timeout_s=20, reason="BIRD listens")
        yield control
    finally:
        daemon.terminate()
        daemon.wait(20)


def test_each_question_is_answered_by_the_daemon_itself(bird: Path) -> None:
    assert "ours" in glass.answer(bird, CONFIG, asks(RoutesQuestion.SESSIONS))
    route = glass.answer(bird, CONFIG, asks(RoutesQuestion.ROUTE, address=IPv4Address("10.0.7.9")))
    assert "10.0.7.0/24" in route and "blackhole" in route
    nothing = glass.answer(bird, CONFIG, asks(RoutesQuestion.ROUTE, address=IPv4Address("192.0.2.1")))
    assert nothing == "Network not found"


def test_a_long_answer_is_cut_and_nothing_can_be_changed(bird: Path) -> None:
    """BIRD refuses on that connection whatever is no question, whoever asked for it."""
    told = birdc.glance(bird, "show route", most_lines=glass.MOST_LINES, timeout_s=20).splitlines()
    assert len(told) == glass.MOST_LINES + 1 and told[-1] == "... cut after 500 lines"
    for command in ("configure", "disable ours", "down"):
        with pytest.raises(WorldError, match="denied"):
            birdc.glance(bird, command, most_lines=10, timeout_s=20)
    assert "up" in glass.answer(bird, CONFIG, asks(RoutesQuestion.SESSIONS))


def test_no_word_of_whoever_asks_reaches_the_daemon() -> None:
    """Sessions are named from the configuration that runs."""
    name = CONFIG.upstreams[0].name
    assert glass.command(CONFIG, asks(RoutesQuestion.TOLD, upstream=name)) == f"show route export u4_{name} all"
    assert (
        glass.command(CONFIG, asks(RoutesQuestion.HEARD, upstream=name, family=6)) == f"show route protocol u6_{name}"
    )
    for upstream in ("", "nobody", f"{name} all; down", f"{name}\ndown"):
        with pytest.raises(WorldError, match="no upstream"):
            glass.command(CONFIG, asks(RoutesQuestion.HEARD, upstream=upstream))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("glass")) as made:
        yield made


def test_the_operator_asks_and_nobody_else(world: World) -> None:
    """A closed list: what is not on it is refused before any host hears of it."""
    host = HostName("LHR")
    channel = Channel(world, host, lambda _: (to_json(Opened()), b"BIRD ", b"says"))

    async def listen() -> "asyncio.Task[None]":
        return asyncio.create_task(world.platform.streams.listen(host, channel))

    listening = world.run(listen())
    path = "/anypop/v1/hosts/lhr/routes"
    found = world.get(f"{path}?question=told&upstream=as1299&family=6")
    assert found == {"host": "LHR", "question": "told", "text": "BIRD says"}
    assert channel.asked == [asks(RoutesQuestion.TOLD, upstream="as1299", family=6)]
    assert world.get(f"{path}?question=route&address=192.0.2.1")["text"] == "BIRD says"
    wrong = ("", "question=down", "question=route", "question=route&address=x", "question=told", "x=1")
    for query in wrong:
        assert world.call("GET", f"{path}?{query}").status_code == 400, query
    assert world.call("GET", "/anypop/v1/hosts/XXX/routes?question=sessions").status_code == 404
    theirs = world.platform.accounts.create_account("theirs").id
    eve = somebody(world, theirs, "eve", Role.OWNER)
    assert world.call("GET", f"{path}?question=sessions", headers=eve).status_code == 403
    assert len(channel.asked) == 2
    world._loop.call_soon_threadsafe(listening.cancel)


def test_what_a_router_printed_is_explained_as_on_the_command_line(world: World) -> None:
    """And what cannot be read is refused in words, with the line."""
    (found,) = world.send("POST", "/anypop/v1/routes/explain", {"text": PASTED, "asn": 64500})["results"]
    assert (found["prefix"], found["best"], found["asn"]) == ("198.51.100.0/24", [3356, 64500], 64500)
    other = {"text": PASTED, "prefix": "192.0.2.0/24"}
    for body in ({"text": "nothing"}, {"text": ""}, other, {"text": PASTED, "asn": 0}):
        assert world.call("POST", "/anypop/v1/routes/explain", json=body).status_code == 400, body
