"""Steps made real: each step of `converge` as calls on the kernel, the instance runtime and the speaker.

In: one step. Out: its effect, or `WorldError`. Chooses nothing and remembers nothing. Kernel calls are made in the
loop's own thread (tens of microseconds); what may take longer is not.
"""

import asyncio
import contextlib
from typing import assert_never

from anypop.agent.act.bgp.speaker import Speaker
from anypop.agent.act.instances.hooks import Ask, Hooks
from anypop.agent.act.instances.runtime import InstanceRuntime
from anypop.agent.act.network import (
    firewall,
    gateway_ways,
    guard,
    inside,
    learnt,
    links,
    namespaces,
    newcomers,
    rtnl,
    steering,
    sysctl,
    tunnel,
    vpc_ways,
)
from anypop.agent.act.network.drain import Drains
from anypop.agent.act.network.error_ways import ErrorWays
from anypop.agent.act.network.netlink import Netlink
from anypop.agent.act.network.router import Grown, Router
from anypop.agent.act.network.sockets import connections
from anypop.agent.act.volumes.keeper import Keeper
from anypop.agent.decide.steps import (
    AddLink,
    AttachVolume,
    BeginDrain,
    CreateContainer,
    DeleteNamespace,
    DeleteVolume,
    DetachVolumes,
    DropImage,
    DropNewcomer,
    DropSnapshot,
    EndDrain,
    FitLink,
    GroupLink,
    GrowVolume,
    LeadNewcomer,
    MakeNamespace,
    NameNamespace,
    PowerOff,
    PrepareRouter,
    PullImage,
    RemoveContainer,
    RemoveCover,
    RemoveExternal,
    RemoveRoute,
    RestoreVolume,
    RunHook,
    SendMachine,
    SetCover,
    SetErrorWays,
    SetExternal,
    SetFirewall,
    SetGateways,
    SetGuard,
    SetInside,
    SetJoinings,
    SetNextHops,
    SetRoute,
    SetSibling,
    SetSpeaker,
    SetSteering,
    SetTunnel,
    SetVpc,
    StartContainer,
    Step,
    StopContainers,
    TakeSnapshot,
    Tell,
    VolumeStep,
)
from anypop.agent.naming import link_of, namespace_of, short
from anypop.model.errors import WorldError
from anypop.model.order import InstanceOrder

_TOLD_FOR_S = 600.0


class Executor:
    """Acts on one host. `net` is a socket in the router's namespace; `ask` asks an instance once."""

    def __init__(
        self, *, prefix: str, net: Netlink, router: Router, runtime: InstanceRuntime, speaker: Speaker,
        keeper: Keeper, ask: Ask,
    ) -> None:  # fmt: skip
        self._prefix, self._net, self._router, self._runtime, self._speaker = prefix, net, router, runtime, speaker
        self._keeper = keeper
        self._drains, self._hooks = Drains(net, prefix), Hooks(runtime, ask)
        self._errors = ErrorWays(prefix)
        self._told: list[tuple[float, str]] = []

    def perform_now(self, step: Step) -> None:
        """A step of the router's lane, made at once."""
        match step:
            case PrepareRouter():
                if sysctl.prepare(step.interfaces):
                    self._router.renew_groups()
                learnt.prepare(self._net, step.management)
            case SetCover():
                self._router.set_cover(step.prefix)
            case RemoveCover():
                self._router.remove_cover(step.prefix)
            case SetNextHops():
                grown = self._router.set_next_hops(
                    step.address, step.members, dict(step.gateways), step.expected,
                    entry=step.entry, source=step.source,
                )  # fmt: skip
                if grown is not None:
                    self._told.append((asyncio.get_running_loop().time(), self._flows_moved(grown)))
            case SetRoute():
                self._router.set_route(step.address, entry=step.entry)
            case RemoveRoute():
                self._router.remove_route(step.address, entry=step.entry)
            case DropNewcomer():
                self._router.drop_newcomer(step.address, step.slot)
            case Tell():
                self._router.tell(step.address, step.count)
            case SetSibling():
                self._router.set_sibling(step.address, step.peer, step.source)
            case GroupLink():
                self._router.group_link(short(step.uid), step.group)
            case _:
                raise TypeError(f"not a step of the router's lane: {step}")

    async def perform(self, step: Step) -> None:
        """Any step."""
        match step:
            case (
                PrepareRouter()
                | SetCover()
                | RemoveCover()
                | SetNextHops()
                | SetRoute()
                | RemoveRoute()
                | DropNewcomer()
                | GroupLink()
                | Tell()
                | SetSibling()
            ):
                self.perform_now(step)
            case CreateContainer():
                namespaces.settle_sysctls(self._prefix, step.instance.uid, step.container.security.sysctls)
                await self._runtime.carry_out(step)
            case PullImage() | DropImage() | StartContainer() | PowerOff() | SendMachine() | RemoveContainer():
                await self._runtime.carry_out(step)
            case RunHook():
                await self._hooks.run(step)
            case StopContainers():
                await self._hooks.stop(step)
            case (
                AttachVolume()
                | DetachVolumes()
                | GrowVolume()
                | TakeSnapshot()
                | DropSnapshot()
                | RestoreVolume()
                | DeleteVolume()
            ):
                await self._keep(step)
            case SetFirewall() | SetErrorWays() | SetGuard() | SetSteering() | SetJoinings():
                await self._load(step)
            case LeadNewcomer():
                self._router.lead_newcomer(step.address, step.slot, step.member, step.source)
            case SetTunnel():
                tunnel.prepare(self._net, step.tunnel)
            case SetSpeaker():
                await self._speaker.set(step.config)
            case MakeNamespace():
                namespaces.make_namespace(self._prefix, step.uid)
            case NameNamespace():
                namespaces.name_namespace(self._prefix, step.uid, step.pid)
            case AddLink():
                known = self._runtime.known_to_guest(step.instance.uid)
                namespaces.add_link(self._net, self._prefix, step.instance, known)
            case SetInside():
                await inside.set_inside(self._prefix, step.uid, step.inside)
            case FitLink():
                links.fit(self._net, self._prefix, step.instance)
            case SetExternal() | SetVpc() | SetGateways():
                self._lead(step)
            case RemoveExternal():
                self._router.remove_external(step.prefix)
            case BeginDrain():
                if step.behind:
                    await self._drains.pin(step.uid, dict(step.behind), step.beside, guest=step.guest)
            case EndDrain():
                await self._drains.unpin(step.uid)
            case DeleteNamespace():
                await asyncio.to_thread(self._delete_namespace, step.uid)
            case _:
                assert_never(step)

    async def _keep(self, step: VolumeStep) -> None:
        match step:
            case AttachVolume():
                user = await self._runtime.first_user(step.instance, step.confinement)
                await self._keeper.perform(step, user)
            case GrowVolume():
                await self._keeper.perform(step)
                await self._runtime.grown(step.uid, step.volume.claim, step.volume.size_bytes)
                await self._keeper.settle(step)
            case TakeSnapshot():
                async with self._runtime.still(step.volume.instance):
                    await self._keeper.perform(step)
            case _:
                await self._keeper.perform(step)

    async def _load(self, step: SetFirewall | SetErrorWays | SetGuard | SetSteering | SetJoinings) -> None:
        """Tables of nftables."""
        match step:
            case SetFirewall():
                await firewall.load(step.rules, step.before, self._prefix)
            case SetErrorWays():
                await self._errors.set(step.ways)
            case SetGuard():
                await guard.load(step.rules, step.before, self._prefix)
            case SetSteering():
                await steering.load(self._net, step.steers, self._prefix)
            case SetJoinings():
                await newcomers.load(self._net, step.joinings, self._prefix)

    def _lead(self, step: SetExternal | SetVpc | SetGateways) -> None:
        """Routes over instances' links: to an instance's addresses that are behind it, and to where it leads."""
        match step:
            case SetGateways():
                gateway_ways.have(self._net, step.ways)
            case SetVpc():
                vpc_ways.lead(self._net, step.instance)
            case SetExternal():
                namespaces.set_external_routes(self._net, self._index(step.instance), step.instance)

    def told(self) -> tuple[str, ...]:
        """What its operator should know of what was done of late."""
        now = asyncio.get_running_loop().time()
        self._told = [(at, text) for at, text in self._told if now - at < _TOLD_FOR_S]
        return tuple(text for _, text in self._told)

    def _flows_moved(self, grown: Grown) -> str:
        """A larger group hashes flows to other buckets: all but one in `members` meets another member."""
        live, count = 0, len(grown.members)
        for key in grown.members:
            with contextlib.suppress(WorldError):
                live += sum(c.inbound for c in connections(namespace_of(self._prefix, key), [grown.address]))
        return (
            f"{grown.address}: {grown.before} buckets were too few for {count} members and became {grown.after}; of "
            f"{live} live connections about {live * (count - 1) // count} met another member"
        )

    def _index(self, instance: InstanceOrder) -> int:
        name = link_of(instance.uid)
        for link in rtnl.links(self._net):
            if link.name == name:
                return link.index
        raise WorldError(f"set external routes of {instance.name}", f"the link {name} is gone")

    def _delete_namespace(self, uid: str) -> None:
        # a socket of this thread's own; the thread is in the router's namespace like the whole process
        with Netlink() as net:
            namespaces.delete_namespace(net, self._prefix, uid)
