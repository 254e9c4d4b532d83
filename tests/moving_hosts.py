"""Two hosts on this machine between which a machine moves: folders, certificates and namespaces of their own, and the
same instance ordered on both.
"""

import asyncio
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path

from anypop.agent import identity
from anypop.agent.act.instances.machines import resting
from anypop.agent.act.instances.machines.arriving import Arrivals
from anypop.agent.act.instances.machines.leaving import Journey, leave, settle
from anypop.agent.act.instances.machines.machines import Machines
from anypop.agent.act.instances.machines.move_words import Opening, Stream
from anypop.agent.act.instances.machines.place import CONSOLE, Place
from anypop.agent.act.network.adopted import Identity
from anypop.agent.act.network.namespaces import add_link, make_namespace, remove_name
from anypop.agent.act.network.netlink import Netlink
from anypop.agent.between_hosts import Door, reach
from anypop.agent.decide.steps import CreateContainer, RemoveContainer, StartContainer
from anypop.agent.guests.word import Word
from anypop.agent.naming import namespace_of
from anypop.control import agent_certificates
from anypop.host import netns
from anypop.model.errors import WorldError
from anypop.model.names import HostName
from anypop.model.order import InstanceOrder
from tests.agent_lab import POP
from tests.empty_guests import Kept
from tests.wait import wait_until

HERE = "127.0.0.1"


def joined(state: Path, host: HostName, authority: Path) -> None:
    """Its agent has a certificate, signed by the authority in that folder."""
    asked = identity.ask(host)
    now = datetime.now(UTC)
    signed = agent_certificates.sign(authority, asked.request, host, issued_at=now, life=timedelta(hours=1))
    identity.keep(state, asked, signed)


class Host:
    """One of them. `images`: where files of images are; `authority`: who signs certificates; `router`: the namespace of
    its agent, and `address` in it by which the other one reaches it.
    """

    def __init__(
        self, top: Path, name: str, *, prefix: str, images: Path, authority: Path, order: InstanceOrder,
        router: str | None = None, address: str = HERE,
    ) -> None:  # fmt: skip
        self.router, self.address = router, address
        self.name, self.prefix, self.order = HostName(name), prefix, order
        self.folder, self._images, self._authority = top / name, images, authority
        joined(self.folder, self.name, authority)

    @property
    def ca(self) -> Path:
        return self._authority / "ca.pem"

    @property
    def place(self) -> Place:
        return Place(self.folder / "machines" / self.order.uid)

    def machines(self) -> Machines:
        machines = Machines(self.folder / "machines", prefix=self.prefix, pop=POP, images=Kept(self._images))
        machines.word_of = lambda _: self.word
        return machines

    @property
    def word(self) -> Word:
        return Word(self.folder / "guests", self.place.own / CONSOLE)

    def create(self) -> CreateContainer:
        return CreateContainer(instance=self.order, container=self.order.containers[0], generation=1, lane="")

    def start(self) -> StartContainer:
        return StartContainer(uid=self.order.uid, container=self.order.containers[0].name, lane="")

    async def begin(self) -> None:
        machines = self.machines()
        await machines.carry_out(self.create())
        await machines.carry_out(self.start())

    def door(self, *, takes_from: str, came: Callable[[str], None] = lambda _: None) -> Door:
        """It lets in the machine of its order, from one host."""
        arrivals = Arrivals(
            self.machines(), lambda uid, host: self.create() if (uid, host) == (self.order.uid, takes_from) else None,
            came,
        )  # fmt: skip

        async def take(stream: Stream, other: HostName) -> None:
            with suppress(WorldError):
                if (opening := await stream.hear(Opening)) is not None:
                    await arrivals.take(stream, other, opening)

        return Door(self.folder, self.ca, take)

    def way_to(self, other: "Host", port: int) -> Journey:
        async def reached() -> Stream:
            return await reach(self.folder, self.ca, other.name, other.address, port)

        spec = self.place.spec()
        assert spec is not None
        guest = spec.born or Identity(
            uid=self.order.uid, addresses=self.order.links[0].addresses, system=spec.system
        )  # fmt: skip
        return Journey(to=other.name, uid=other.order.uid, reach=reached, guest=guest, ready=self.word.stands)

    async def send(self, other: "Host", port: int, within_s: float = 30) -> None:
        await leave(self.place, self.way_to(other, port), within_s)

    async def send_at_rest(self, other: "Host", port: int) -> None:
        """The disk of its machine that is off."""
        await resting.leave(self.place, self.way_to(other, port))

    async def settle(self, other: "Host", port: int) -> None:
        await settle(self.place, self.way_to(other, port))

    async def clear(self) -> None:
        """Nothing of its machine is left."""
        if (pid := self.place.pid()) is not None:
            os.kill(pid, signal.SIGKILL)
        remove = RemoveContainer(uid=self.order.uid, container=self.order.containers[0].name, lane="")
        await self.machines().carry_out(remove)


def free_port() -> int:
    with socket.create_server((HERE, 0)) as one:
        return int(one.getsockname()[1])


@contextmanager
def wired(host: Host) -> Iterator[None]:
    """The network of its instance, with the namespace that this thread is in as the router."""
    make_namespace(host.prefix, host.order.uid)
    try:
        with Netlink() as net:
            add_link(net, host.prefix, host.order)
        yield
    finally:
        remove_name(netns.path_of(namespace_of(host.prefix, host.order.uid)))


class Process:
    """Part of an agent in a process of its own, that can be killed as an agent is."""

    def __init__(self, host: Host, work: Callable[[], Awaitable[None]]) -> None:
        async def whole() -> None:
            if host.router is not None:
                netns.enter(host.router)
            await work()

        self._process = get_context("fork").Process(target=lambda: asyncio.run(whole()), daemon=True)
        self._process.start()

    def kill(self) -> None:
        self._process.kill()
        self._process.join()

    def code(self) -> int | None:
        """How it has ended; None: it has not."""
        return self._process.exitcode


def serving(host: Host, port: int, *, takes_from: str, came: Callable[[str], None] = lambda _: None) -> Process:
    """Its door, open in a process of its own."""

    async def serve() -> None:
        await host.door(takes_from=takes_from, came=came).open(host.address, port)
        await asyncio.Event().wait()

    found = Process(host, serve)
    wait_until(lambda: _answers(host, port), timeout_s=10, reason="the door is open")
    return found


def _answers(host: Host, port: int) -> bool:
    with netns.inside(host.router), socket.socket() as one:
        return one.connect_ex((host.address, port)) == 0
