"""Steps made real: each step of `converge` as calls on the kernel, the runtime and the speaker.

In: one step. Out: its effect, or `WorldError`. Chooses nothing and remembers nothing but what the next look cannot find out by itself
(times, the rules that nft has loaded). Kernel calls are made in the loop's own thread (tens of microseconds); what may take longer is
not.
"""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar, assert_never

from anypop.agent.bgp.bird import Bird, SpeakerSeen
from anypop.agent.naming import short
from anypop.agent.network import firewall, namespaces, rtnl, sysctl
from anypop.agent.network.netlink import Netlink
from anypop.agent.network.router import Router
from anypop.agent.observed import Firewall
from anypop.agent.runtime.seam import Runtime, Spec
from anypop.agent.steps import (
    AddLink,
    BeginDrain,
    CreateContainer,
    DeleteNamespace,
    MakeNamespace,
    PrepareRouter,
    PullImage,
    RemoveContainer,
    RemoveCover,
    RemoveExternal,
    RemoveRoute,
    SetCover,
    SetExternal,
    SetFirewall,
    SetNextHops,
    SetRoute,
    SetSpeaker,
    StartContainer,
    Step,
    StopContainer,
)
from anypop.model.announce import Address
from anypop.model.errors import WorldError
from anypop.model.names import CityCode
from anypop.model.order import InstanceOrder, Order

T = TypeVar("T")
ROUTER_STEPS = (PrepareRouter, SetCover, RemoveCover, SetNextHops, SetRoute, RemoveRoute)


class Performer:
    """One PoP's hands. `order` gives the order that is obeyed, `known` every instance whose addresses are known, by `short(uid)`."""

    def __init__(
        self, *, prefix: str, pop: CityCode, net: Netlink, runtime: Runtime, bird: Bird, clock: Callable[[], float],
        order: Callable[[], Order | None], known: Callable[[], Mapping[str, InstanceOrder]],
    ) -> None:  # fmt: skip
        self._prefix = prefix
        self._pop = pop
        self._net = net
        self.router = Router(net)
        self._runtime = runtime
        self._bird = bird
        self._bird_thread = ThreadPoolExecutor(1, "bird")  # one question at a time, and a silent daemon blocks nobody else
        self._clock = clock
        self._order = order
        self._known = known
        self.firewall: Firewall | None = None
        self.router_ready = False
        self.images: set[str] = set()
        self.pulled_at: dict[str, float] = {}
        self.draining_since: dict[str, float] = {}
        self.speaker: SpeakerSeen | None = None

    def perform_now(self, step: Step) -> None:
        """A step of the router's lane, made at once."""
        match step:
            case PrepareRouter():
                if sysctl.prepare(self.upstream_interfaces()):
                    self.router.renew_groups()
                self.router_ready = True
            case SetCover():
                self.router.set_cover(step.prefix)
            case RemoveCover():
                self.router.remove_cover(step.prefix)
            case SetNextHops():
                self.router.set_next_hops(step.address, step.members, self._gateways(step.address))
            case SetRoute():
                self.router.set_route(step.address)
            case RemoveRoute():
                self.router.remove_route(step.address)
            case _:
                raise TypeError(f"not a step of the router's lane: {step}")

    async def perform(self, step: Step) -> None:
        """Any step."""
        match step:
            case PrepareRouter() | SetCover() | RemoveCover() | SetNextHops() | SetRoute() | RemoveRoute():
                self.perform_now(step)
            case SetFirewall():
                await firewall.load(step.rules, self._prefix)
                self.firewall = step.rules
            case SetSpeaker():
                await self.in_bird_thread(lambda: self._bird.set(step.config))
                for _ in range(5):  # BIRD sends a few milliseconds after it was told to: one look then tells of both
                    seen = await self.look_at_speaker()
                    if len(seen.exported) >= len(seen.config.exports if seen.config else ()):
                        break
                    await asyncio.sleep(0.003)
            case PullImage():
                await self._runtime.pull(step.image)
                self.images.add(step.image)
                self.pulled_at[step.image] = self._clock()
            case MakeNamespace():
                namespaces.make_namespace(self._prefix, step.uid)
            case AddLink():
                namespaces.add_link(self._net, self._prefix, step.instance)
            case SetExternal():
                namespaces.set_external_routes(self._net, self._index(step.instance), step.instance)
            case RemoveExternal():
                self.router.remove_external(step.prefix)
            case CreateContainer():
                await self._create(step)
            case StartContainer():
                await self._runtime.start(step.uid, step.container)
            case StopContainer():
                await self._runtime.stop(step.uid, step.container)
            case RemoveContainer():
                await self._runtime.remove(step.uid, step.container)
            case BeginDrain():
                self.draining_since.setdefault(step.uid, self._clock())
            case DeleteNamespace():
                await asyncio.to_thread(self._delete_namespace, step.uid)
            case _:
                assert_never(step)

    def speaker_pid(self) -> int | None:
        return self._bird.pid()

    async def look_at_speaker(self) -> SpeakerSeen:
        self.speaker = await self.in_bird_thread(self._bird.look)
        return self.speaker

    async def in_bird_thread(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._bird_thread, call)

    def upstream_interfaces(self) -> tuple[str, ...]:
        order = self._order()
        return tuple(u.interface for u in order.upstreams) if order else ()

    async def _create(self, step: CreateContainer) -> None:
        order = self._order()
        spec = Spec(pop=self._pop, generation=order.generation if order else 0, instance=step.instance, container=step.container)
        try:
            await self._runtime.create(spec)
        except WorldError:
            if not await self._runtime.has_image(step.container.image):  # somebody removed it: pull it again
                self.images.discard(step.container.image)
            raise

    def _gateways(self, address: Address) -> dict[str, Address]:
        return {key: i.private4 if address.version == 4 else i.private6 for key, i in self._known().items()}

    def _index(self, instance: InstanceOrder) -> int:
        name = f"i{short(instance.uid)}"
        for link in rtnl.links(self._net):
            if link.name == name:
                return link.index
        raise WorldError(f"set external routes of {instance.name}", f"the link {name} is gone")

    def _delete_namespace(self, uid: str) -> None:
        with Netlink() as net:  # a socket of this thread's own; the thread is in the router's namespace like the whole process
            namespaces.delete_namespace(net, self._prefix, uid)
