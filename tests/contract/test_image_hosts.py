"""Files of images from host to host: two hosts with the certificates that control has signed for them, real TLS between
them, and a real control that says who has a file and who may have it.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Address, IPv4Network, IPv6Network
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from anypop.agent import image_hosts
from anypop.agent.act.instances.image_cache import ImageCache
from anypop.agent.act.instances.machines.move_words import Given, Opening, Part
from anypop.agent.between_hosts import reach
from anypop.agent.image_hosts import ImageHosts
from anypop.agent.moving import Moving
from anypop.model.backbone import Backbone, BackbonePeer, BackboneRules
from anypop.model.codec import to_json
from anypop.model.errors import WorldError
from anypop.model.machine import MachineImage
from anypop.model.names import CityCode, HostName
from anypop.model.report import Phase
from tests.contract.test_machine_images import brought, sha, with_machine
from tests.control_world import FakeAgent, World
from tests.moving_hosts import HERE, free_port, joined
from tests.qcow2 import qcow2
from tests.wait import until

DISK = qcow2() + bytes(range(256)) * 8000
LHR, AMS, JFK = HostName("LHR"), HostName("AMS"), HostName("JFK")


class Asking:
    """The control client of one host, by `World`."""

    def __init__(self, world: World, host: HostName) -> None:
        self._world, self._agent, self.host = world, FakeAgent(world, host), host

    async def _asked(self, what: str, **headers: str) -> httpx.Response:
        path = f"/anypop/v1/agents/{self.host}/machine-images/{what}"
        asked = self._world.request("GET", path, headers={**self._agent.headers, **headers})
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(asked, self._world._loop))

    async def image_holders(self, sha256: str) -> list[HostName]:
        answer = await self._asked(f"{sha256}/holders")
        if answer.status_code != 200:
            raise WorldError("ask control who has an image", answer.text)
        return [HostName(name) for name in answer.json()["hosts"]]

    async def may_take(self, sha256: str, taker: HostName) -> bool:
        return (await self._asked(f"{sha256}/takers/{taker}")).status_code == 204

    @asynccontextmanager
    async def image_file(self, sha256: str, offset: int) -> AsyncIterator[tuple[int, AsyncIterator[bytes]]]:
        answer = await self._asked(sha256, **({"Range": f"bytes={offset}-"} if offset else {}))
        if answer.status_code not in (200, 206):
            raise WorldError("get it from control", answer.text)

        async def pieces() -> AsyncIterator[bytes]:
            yield answer.content

        yield offset, pieces()


class HostPart:
    """What an agent of a host has for images: its cache, and its side of the exchange."""

    def __init__(self, world: World, top: Path, host: HostName) -> None:
        self.host, self.state, self.ca = host, top / host, top / "ca" / "ca.pem"
        joined(self.state, host, top / "ca")
        self.moved: Counter[str] = Counter()
        control = Asking(world, host)
        self.hosts = ImageHosts(self.state / "images", control, partial(reach, self.state, self.ca), self.moved)
        self.cache = ImageCache(
            self.state / "images", control.image_file, others=self.hosts.sources, wall=world.clock, moved=self.moved
        )
        self.hosts.coming = self.cache.coming

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[int]:
        """Its door, open as in an agent's pass while it has a machine; at which port."""
        port = free_port()
        moving = Moving(self.state, self.ca, None, self.hosts)  # type: ignore[arg-type]
        order = SimpleNamespace(backbone=backbone(port))
        moving.set(SimpleNamespace(order=order, staying=[SimpleNamespace(move=None, machine=object())]))  # type: ignore[arg-type]
        serving = asyncio.create_task(moving.run())
        try:
            await until(lambda: self._is_open(port), "its door is open")
            yield port
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)

    async def _is_open(self, port: int) -> bool:
        with suppress(WorldError):
            await (await reach(self.state, self.ca, self.host, HERE, port)).end()
            return True
        return False

    def knows(self, host: HostName, port: int) -> None:
        self.hosts.backbone = backbone(port, host)


def backbone(port: int, *others: HostName) -> Backbone:
    peers = tuple(
        BackbonePeer(
            host=host, pop=CityCode(host), router_id=IPv4Address("10.255.0.1"), address=IPv4Address(HERE),
            distance_km=0, external4=IPv4Network("198.18.0.0/24"), external6=IPv6Network("2001:db8:e0::/48"),
        )
        for host in others
    )  # fmt: skip
    return Backbone(rules=BackboneRules(port=port), address=IPv4Address(HERE), peers=peers)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    (tmp_path / "control").mkdir()
    with World(tmp_path / "control") as made:
        brought(made, data=DISK)
        yield made
        made.platform.machine_images.stop()


@pytest.fixture
def image(world: World) -> MachineImage:
    """That of a machine in London, which runs, and of one in Amsterdam, which is about to."""
    found = world.platform.machine_images.resolve("default/debian", [(world.stack.id, "default")], "image")
    with_machine(world, found, cities=("LHR", "AMS"))
    world.settle()
    assert world.state.reports[LHR].report.instances[0].phase is Phase.RUNNING
    return found


def test_a_host_gets_a_file_from_one_that_has_it_and_control_gives_none(
    world: World, image: MachineImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From where it was cut, and within what the host gives in a second. What a host cannot give, or gives wrong, comes
    from control; and so does all of it where hosts do not reach each other. Each byte is counted.
    """
    london, amsterdam = HostPart(world, tmp_path, LHR), HostPart(world, tmp_path, AMS)
    file = london.state / "images" / sha(DISK)

    async def story() -> None:
        await london.cache.have(image)
        assert london.moved == {"from_control": len(DISK)}, "no other host is reached"
        async with london.opened() as port:
            amsterdam.knows(LHR, port)
            await fetched()
        await amsterdam.cache.drop(image.id)
        assert (await amsterdam.cache.have(image))["disk"].read_bytes() == DISK, "nobody answers there"

    async def fetched() -> None:
        amsterdam.cache.path(image.parts[0]).parent.mkdir()
        amsterdam.cache.path(image.parts[0]).with_suffix(".part").write_bytes(DISK[:1_000_000])
        monkeypatch.setattr(image_hosts, "MOST_PER_S", 8 << 20)
        began = asyncio.get_running_loop().time()
        assert (await amsterdam.cache.have(image))["disk"].read_bytes() == DISK
        rest = len(DISK) - 1_000_000
        assert amsterdam.moved == {"from_hosts": rest} and london.moved["to_hosts"] == rest
        assert asyncio.get_running_loop().time() - began > (rest - (1 << 18)) / (8 << 20)

        for content in (DISK[:-1] + b"x", DISK[:500_000], DISK + b"more", None):
            await amsterdam.cache.drop(image.id)
            amsterdam.moved.clear()
            file.unlink(missing_ok=True)
            if content is not None:
                file.write_bytes(content)
            assert (await amsterdam.cache.have(image))["disk"].read_bytes() == DISK
            right = len(content) if content is not None and DISK.startswith(content) else 0
            if content is None or len(content) <= len(DISK):
                assert amsterdam.moved["from_control"] == len(DISK) - right

    asyncio.run(story())


def test_a_host_gives_a_file_while_it_comes_and_what_stops_coming_is_fetched_from_control(
    world: World, image: MachineImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two that begin at the same moment one gets it from control, and the other from that one, whoever asks first.
    Where the first one stops, the second has what came, and the rest from control.
    """
    london, amsterdam = HostPart(world, tmp_path, LHR), HostPart(world, tmp_path, AMS)
    half, goes_on = len(DISK) // 2, asyncio.Event()

    @asynccontextmanager
    async def slowly(sha256: str, offset: int) -> AsyncIterator[tuple[int, AsyncIterator[bytes]]]:
        async def pieces() -> AsyncIterator[bytes]:
            yield DISK[:half]
            await goes_on.wait()
            yield DISK[half:]

        yield 0, pieces()

    async def story(*, stops: bool) -> None:
        async with london.opened() as port:
            amsterdam.knows(LHR, port)
            follows = asyncio.create_task(amsterdam.cache.have(image))
            begins = asyncio.create_task(london.cache.have(image))
            await until(lambda: london.moved["to_hosts"] == half, "what has come is given already")
            if not stops:
                goes_on.set()
            assert (await follows)["disk"].read_bytes() == DISK
            goes_on.set()
            assert (await begins)["disk"].read_bytes() == DISK
        for one in (london, amsterdam):
            await one.cache.drop(image.id)

    monkeypatch.setattr(london.cache, "_source", slowly)
    asyncio.run(story(stops=False))
    assert amsterdam.moved == {"from_hosts": len(DISK)}
    for one in (london, amsterdam):
        one.moved.clear()
    goes_on = asyncio.Event()
    monkeypatch.setattr(image_hosts, "GROWS_S", 0.5)
    asyncio.run(story(stops=True))
    assert amsterdam.moved == {"from_hosts": half, "from_control": len(DISK) - half}


def test_nobody_gets_a_file_that_his_order_does_not_name(world: World, image: MachineImage, tmp_path: Path) -> None:
    """Not from a host either, although it has a certificate and knows the checksum; nor is it told who has it. Nor does
    a host ask or answer for another.
    """
    london, stranger = HostPart(world, tmp_path, LHR), HostPart(world, tmp_path, JFK)

    async def said(opening: Opening, port: int) -> Given | None:
        stream = await reach(stranger.state, stranger.ca, LHR, HERE, port)
        try:
            await stream.say(opening)
            return await stream.hear(Given)
        finally:
            await stream.end()

    async def story() -> None:
        await london.cache.have(image)
        async with london.opened() as port:
            stranger.knows(LHR, port)
            assert await stranger.hosts.sources(sha(DISK)) == []
            with pytest.raises(WorldError):
                await stranger.cache.have(image)
            asked = Opening(uid="", part=Part.IMAGE, sha256=sha(DISK))
            for opening in (asked, replace(asked, sha256="../order.json"), replace(asked, offset=-1)):
                given = await said(opening, port)
                assert given is not None and given.why and not given.left

    asyncio.run(story())
    assert not london.moved["to_hosts"]
    headers = FakeAgent(world, JFK).headers
    for host, what in (("JFK", "holders"), ("JFK", "takers/AMS"), ("LHR", "holders")):
        answer = world.call("GET", f"/anypop/v1/agents/{host}/machine-images/{sha(DISK)}/{what}", headers=headers)
        assert answer.status_code == (404 if host == "JFK" else 403)


def test_a_host_that_is_not_believed_or_has_not_begun_is_not_named(world: World, image: MachineImage) -> None:
    """Only where a machine of that image runs its file is sure to be."""
    path = f"/anypop/v1/agents/AMS/machine-images/{sha(DISK)}/holders"
    headers = FakeAgent(world, AMS).headers
    assert world.call("GET", path, headers=headers).json() == {"hosts": ["LHR"]}
    london = next(agent for agent in world.agents() if agent.host == LHR)
    london.obey()
    assert london.order is not None
    starting = [replace(one, phase=Phase.STARTING, healthy=False) for one in world.state.reports[LHR].report.instances]
    report = replace(world.state.reports[LHR].report, instances=tuple(starting), at=world.clock.now + 1)
    world.clock.now += 1
    answer = world.call("POST", "/anypop/v1/agents/LHR/report", headers=london.headers, content=to_json(report))
    assert answer.status_code == 204
    assert world.call("GET", path, headers=headers).json() == {"hosts": []}
