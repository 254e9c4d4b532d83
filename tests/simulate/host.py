"""One simulated machine: its kernel, its containers and what their programs do, its disk, clock and power.

In: steps of the agent, and faults. Out: what an observer would see of it, and the truth beside that: who really
answers. The kernel's model is that of the tests of `converge` (`FakeHost`), which refuses at each step what must never
happen; here it is lived in: programs start slowly, die and lie, and power goes.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from ipaddress import IPv4Address
from typing import Protocol

from anypop.agent.decide.elements import ContainerSeen, ContainerState, Entry, Member, SpeakerConfig
from anypop.agent.decide.facts import Facts
from anypop.agent.decide.steps import (
    BeginDrain,
    CreateContainer,
    PowerOff,
    PullImage,
    RemoveContainer,
    RemoveRoute,
    SendMachine,
    SetFirewall,
    SetSpeaker,
    SetTunnel,
    StartContainer,
    Step,
    Tell,
    image_lane,
    instance_lane,
)
from anypop.agent.ledger import Page
from anypop.agent.naming import short
from anypop.model.announce import Address, Prefix
from anypop.model.errors import WorldError
from anypop.model.machine import Acceleration
from anypop.model.names import CityCode, HostName
from anypop.model.network import Capacity
from anypop.model.order import InstanceOrder
from anypop.model.steady import SteadyClock
from tests.simulate import machine_moves
from tests.simulate.images import Behaviour, behaviour_of
from tests.simulate.invariants import REMEMBERED_S
from tests.simulate.lately import RecentHost
from tests.simulate.speaker import Neighbours
from tests.simulate.tunnels import Tunnels
from tests.simulate.world import BEGAN, Wire, World

CAPACITY = Capacity(cpu_millis=64_000, memory_bytes=1 << 40, disk_bytes=1 << 40)


class AgentLike(Protocol):
    """What a machine asks of the agent on it."""

    alive: bool
    facts: Facts | None

    def believes(self, uid: str, version: int | None = None) -> bool | None: ...
    def damps(self, uid: str) -> bool: ...
    def ask_again(self, uid: str) -> None: ...
    def hears_of_death(self, seen: ContainerSeen) -> None: ...
    def killed_for_memory(self, uid: str) -> None: ...
    def wake(self) -> None: ...
    def stop(self) -> None: ...
    def start_in(self, seconds: float) -> None: ...


class Host(RecentHost):
    """See the module. `ready`: the families in which each program answers; `answered`: when it last did."""

    def __init__(self, world: World, name: HostName, pop: CityCode) -> None:
        super().__init__(world)
        self.name, self.pop = name, pop
        self.neighbours = Neighbours(world, name)
        self.tunnels: Tunnels
        self.wire = Wire()
        self.powered = True
        self.wall_off_s = 0.0
        self.disk_full = self.registry_away = self.nft_refuses = self.runtime_refuses = self.runtime_hangs = False
        self.probes_lie: bool | None = None  # what every probe says, whatever is true
        self.lied_at = -1e9  # when they last told the truth again
        self.unasked: set[str] = set()  # they have no port: to run is to answer
        self.made_of: dict[tuple[str, str], str] = {}
        self.ready: dict[str, frozenset[int]] = {}
        self.answered: dict[str, float] = {}
        self.well_since: dict[str, float] = {}
        self.ever_well: set[str] = set()
        self.greedy: set[str] = set()
        self.were_greedy: set[str] = set()
        self.last_ready: dict[str, frozenset[int]] = {}
        self.said_well: set[str] = set()  # of which control has been told that they are healthy
        self.told: Page | None = None  # what was on its disk, unless that was damaged
        self.ordered_at: dict[str, float] = {}
        self.told_to_go: dict[str, float] = {}
        self.troubled_at = 0.0  # when something was last wrong with the machine itself
        self.load = 10  # percent of the machine, by what instances use
        self.comes_back: dict[str, float] = {}  # since when one that answered is away for a restart
        self.settles_since: float | None = None  # as the agents keep it on disk
        self.booted_at: float | None = None  # when the machine began anew, with an order, for the agent that runs now
        self.let_in: dict[Address, float] = {}  # when it last answered what came by a tunnel, of what it does not now
        self.lives = 0
        self.machines = Acceleration.TCG  # with what it runs virtual machines
        self.clock = self.new_clock()
        self.agent: AgentLike

    def new_clock(self) -> SteadyClock:
        """That of a process that starts now."""
        return SteadyClock(lambda: BEGAN + self.world.now + self.wall_off_s, lambda: self.world.now)

    # what is true

    def runs(self, uid: str) -> bool:
        return any(c.uid == uid and c.state is ContainerState.RUNNING for c in self.containers.values())

    def answers(self, uid: str, version: int | None = None) -> bool:
        """Whether its program really answers over its link: in that family, or in any."""
        families = self.ready.get(uid, frozenset()) if uid not in self.sick else frozenset()
        return (
            short(uid) in self.links and self.runs(uid) and (bool(families) if version is None else version in families)
        )

    def is_well(self, uid: str, version: int | None = None) -> bool:
        """It answers (in that family, or in any), and nobody here has a reason to doubt it. Where probes lie, as they
        say.
        """
        if self.probes_lie or self.world.now - self.lied_at < REMEMBERED_S:
            return self.runs(uid) and self.agent.believes(uid, version) is True
        return self.answers(uid, version) and self.agent.believes(uid, version) is not False

    def may_be_well(self, uid: str) -> bool:
        lately = self.world.now - self.answered.get(uid, -1e9) < REMEMBERED_S
        return self.agent.believes(uid) is True or lately or self.answers(uid)

    def serves(self, address: Address) -> bool:
        """Whether a packet to an anycast address that comes in here gets an answer."""
        members = self.groups.get(address, ()) if address in self.routed else ()
        return any(self.leads(member, address) for member in members)

    def surely_serves(self, address: Address) -> bool:
        """The same, where nobody here has a reason to doubt it: none of its own that answers is damped, say, or is to
        go: before that one goes its prefix does.
        """
        members = self.groups.get(address, ()) if address in self.routed else ()
        known = {short(i.uid): self.agent.believes(i.uid) for i in self.ordered() if i.uid in self.ready}
        return any(self.leads(m, address) and (m.peer is not None or known.get(m.short) is True) for m in members)

    def is_to_carry(self, address: Address) -> bool:
        """Whether its order says so."""
        backbone = self.page.order.backbone if self.page is not None else None
        return backbone is not None and any(p.version == address.version and address in p for p in backbone.carried)

    def leads(self, member: Member, address: Address) -> bool:
        """Whether what a group gives to one of its members is answered."""
        if member.peer is None:
            return self.answers_at(member.short, address)
        there = self.tunnels.names.get(member.peer)
        return self.tunnel is not None and there is not None and self.tunnels.carries(self.name, there, address)

    def answers_at(self, key: str, address: Address) -> bool:
        """Whether the instance behind a link answers."""
        uid = next((uid for uid in self.ready if short(uid) == key), None)
        return uid is not None and self.answers(uid, address.version)

    def _offers(self, address: Address, peer: IPv4Address | None) -> bool:
        """Whether another host answers, or did a moment ago: what it told may be on its way still."""
        there = self.tunnels.names.get(peer) if peer is not None else None
        if there is None:
            return False
        now = self.world.now
        return (
            self.tunnels.carries(self.name, there, address)
            or self.tunnels.is_lied_to(there)
            or (
                now - self.tunnels.troubled_at[there] < REMEMBERED_S
                or any(now - when < REMEMBERED_S for when in self.tunnels.answered(there, address))
            )
        )

    def attracts(self, prefix: Prefix) -> bool:
        """Whether any neighbour sends traffic for it here."""
        return self.powered and any(told == prefix for told, _ in self.neighbours.heard)

    def covers_announced(self, address: Address) -> list[Prefix]:
        found = {p for p, _ in self.neighbours.heard if p.version == address.version and address in p}
        return sorted(found, key=str)

    def cools_down(self, uid: str) -> bool:
        """Whether its health is damped since it fell often."""
        return self.agent.damps(uid)

    def waits(self, uid: str) -> bool:
        """Whether the next try for it rests, after failures of its own."""
        now, lanes = self.clock(), self.memory.trouble
        instance = next((i for i in self.ordered() if i.uid == uid), None)
        mine = (
            {instance_lane(instance.name, uid), *(image_lane(c.image) for c in instance.containers)} if instance else ()
        )
        restarts = [r.at for key, r in self.memory.restarts.items() if key[0] == uid]
        return any(lane in lanes and lanes[lane].until > now - 5 for lane in mine) or any(
            at > now - 5 for at in restarts
        )

    def ways_are_calm(self) -> bool:
        """Whether every session stands, and none has flapped."""
        uplinks = self.memory.uplinks.values()
        return bool(self.neighbours.since) and not self.neighbours.cut and all(u.up and not u.hold_s for u in uplinks)

    # what happens to it

    def look(self) -> None:
        """Note who answers now. Called whenever that may have changed."""
        for uid in {*self.ready, *self.well_since}:
            if self.answers(uid):
                self.comes_back.pop(uid, None)
                self.answered[uid] = self.world.now
                self.well_since.setdefault(uid, self.world.now)
                self.ever_well.add(uid)
            elif uid in self.well_since:
                self.answered[uid] = self.world.now
                del self.well_since[uid]

    def changed(self, uid: str) -> None:
        """A program answers otherwise than before."""
        self.look()
        self.agent.ask_again(uid)

    def overfull(self) -> frozenset[str]:
        """Containers that wrote more than they may while the disk is nearly full."""
        if not self.disk_full:
            return frozenset()
        return frozenset(c.id for c in self.containers.values() if c.uid in self.greedy)

    def _gates_of(self, prefix: Prefix) -> set[Address]:
        """Without those whose instances answer in the other family alone, unless there are no others."""
        gates = super()._gates_of(prefix)
        return {g for g in gates if not self.is_mute(g)} or gates

    def is_mute(self, address: Address) -> bool:
        behind = [i.uid for i in self.ordered() if address in i.anycast]
        return any(self.may_be_well(u) and address.version not in self.last_ready.get(u, ()) for u in behind)

    def _must_end(self, uid: str) -> bool:
        return uid in self.were_greedy or super()._must_end(uid)

    def falls_ill(self, uid: str) -> None:
        self.look()
        self.sick.add(uid)
        self.changed(uid)

    def recovers(self, uids: Iterable[str]) -> None:
        for uid in uids:
            self.sick.discard(uid)
            self.changed(uid)

    def die(self, uid: str, code: int = 137) -> None:
        """Its processes end. The agent's death watch hears of it at once, if there is an agent."""
        for key, seen in list(self.containers.items()):
            if seen.uid == uid and seen.state is ContainerState.RUNNING:
                self.containers[key] = replace(
                    seen, state=ContainerState.EXITED, pid=0, exit_code=code, finished_at=self.clock()
                )
                self.look()
                self.ready.pop(uid, None)
                self.look()
                self.agent.hears_of_death(seen)

    def _guard_restart(self, uid: str) -> None:
        """Asked of what is true, beside (`features.restarts`)."""

    def rests(self) -> None:
        """Its instances have little to do again."""
        self.load = 10

    def bird_dies(self) -> None:
        if self.speaker is not None:
            super().bird_dies()
            self.neighbours.died()
            self.tunnels.changed(self.name)
            self.agent.wake()

    def power_off(self) -> None:
        """All that lives in memory is gone; disks stay."""
        self.agent.stop()
        self.look()  # who answered until now
        self.powered = False
        self.lives += 1
        for lost in (self.namespaces, self.links, self.device_groups, self.unfit, self.external, self.covers):
            lost.clear()
        for gone in (self.groups, self.routed, self.pins, self.busy, self.let_go, self.ready, self.well_since):
            gone.clear()
        for told in (self.inbound, self.served, self.offers, self.lingers, self.siblings, self.away, self.away_groups):
            told.clear()
        self.steers, self.joinings = (), ()
        self.volumes.mounted.clear()
        self.comes_back.clear()
        self.firewall = self.speaker = self.fallen = self.tunnel = self.guard = None
        self.containers = {
            key: replace(seen, state=ContainerState.EXITED, pid=0, exit_code=255, finished_at=self.clock())
            if seen.state is ContainerState.RUNNING
            else seen
            for key, seen in self.containers.items()
        }
        self.neighbours.dark()
        self.tunnels.changed(self.name)

    def power_on(self) -> None:
        if not self.powered:
            self.powered = True
            self.agent.start_in(self.world.between(0.5, 3.0))

    def loses_tunnel(self) -> None:
        """Somebody deletes its device: what led out by it is gone with it."""
        self.tunnel = None
        for address, members in list(self.groups.items()):
            self._keep(address, tuple(m for m in members if m.peer is None))
        self.away.clear()
        self.away_groups.clear()
        self.tunnels.changed(self.name)

    def loses_namespace(self, uid: str, *, link: bool) -> None:
        """Somebody deletes its name, and perhaps the link too: then the process goes on where nobody reaches it."""
        key = short(uid)
        self.namespaces.discard(key)
        if not link:
            return
        self.links.pop(key, None)
        self.device_groups.pop(key, None)
        self.external = {p: owner for p, owner in self.external.items() if owner != key}
        self._drop(key)
        self.busy.discard(uid)
        self.changed(uid)

    # what steps do

    def refusal(self, step: Step) -> WorldError | None:
        """Why a step fails now."""
        match step:
            case PullImage():
                if self.registry_away or behaviour_of(step.image) is Behaviour.NOT_THERE:
                    return WorldError(f"pull {step.image}", "no such image")
                if self.disk_full:
                    return WorldError(f"pull {step.image}", "no space left on device")
            case CreateContainer() | StartContainer() | RemoveContainer() | PowerOff() | SendMachine():
                if self.runtime_refuses:
                    return WorldError("ask the runtime", "connection refused")
                if isinstance(step, CreateContainer) and (
                    self.disk_full or behaviour_of(step.container.image_key) is Behaviour.CANNOT_BE_MADE
                ):
                    return WorldError(f"create {step.instance.name}", "no space left on device")
            case SetFirewall() | BeginDrain():
                if self.nft_refuses:
                    return WorldError("load rules", "no buffer space")
            case SetSpeaker():
                if self.disk_full:
                    return WorldError("write bird.conf", "no space left on device")
        if isinstance(step, SendMachine):
            return machine_moves.refusal(self, step)
        return None

    def effect(self, step: Step) -> None:
        """One step's effect, and nothing else: what the agent makes of it is its own."""
        self.now = self.clock()
        self.applied.clear()
        if isinstance(step, CreateContainer):
            self.made_of[step.instance.uid, step.container.name] = step.container.image_key
            if not step.container.ports and step.container.machine is None:
                self.unasked.add(step.instance.uid)
        if isinstance(step, BeginDrain) and not step.behind:
            return  # nobody knows its addresses any more: there is nothing to pin
        if isinstance(step, RemoveRoute) and step.entry is Entry.TUNNEL and self._lets_in(step.address):
            self.let_in[step.address] = self.world.now
        if isinstance(step, SendMachine):
            machine_moves.send(self, step)
            return
        self._take_effect(step)
        if isinstance(step, Tell):
            self.tunnels.told(self.name)
        elif isinstance(step, SetTunnel | SetSpeaker):
            self.tunnels.changed(self.name)
        if isinstance(step, BeginDrain) and self.world.chance(0.5):
            self.busy.add(step.uid)
            self.world.after(self.world.between(0.1, 14.0), lambda: self._flows_end(step.uid))

    def _lets_in(self, address: Address) -> bool:
        """Whether what comes by a tunnel is answered here."""
        return any(self.answers_at(member.short, address) for member in self.inbound.get(address, ()))

    def _flows_end(self, uid: str) -> None:
        self.busy.discard(uid)
        self.agent.wake()

    def _start(self, step: StartContainer) -> None:
        before = self.containers[step.uid, step.container].state
        super()._start(step)
        if before is not ContainerState.RUNNING and step.rescue is None:  # by another image it serves nobody
            seen = self.containers[step.uid, step.container]
            self._live(seen, self.made_of[seen.key])

    def runs_on(self, mine: ContainerSeen) -> bool:
        """Whether the process of a machine that was given away is still here, and may go on: it is gone with power."""
        return self.powered and mine.state is ContainerState.CREATED

    def goes_on(self, seen: ContainerSeen) -> None:
        """A guest that ran elsewhere, or was held still, answers as it did."""
        key = next(c.image_key for i in self.ordered() if i.uid == seen.uid for c in i.containers)
        self.made_of[seen.key] = key
        if behaviour_of(key).serves and seen.uid not in self.sick:
            self.ready[seen.uid] = self.last_ready[seen.uid] = frozenset({4, 6})
        self.changed(seen.uid)
        self.agent.wake()

    def _power_off(self, step: PowerOff) -> None:
        self.look()
        super()._power_off(step)
        self.ready.pop(step.uid, None)
        self.changed(step.uid)

    def _live(self, seen: ContainerSeen, image: str) -> None:
        """What the program does from its start on."""
        world, kind = self.world, behaviour_of(image)

        def while_it_lives(seconds: float, what: Callable[[], None]) -> None:
            def do() -> None:
                now = self.containers.get(seen.key)
                if now is not None and now.pid == seen.pid:
                    what()

            world.after(seconds, do)

        def answers() -> None:
            one = kind is Behaviour.ONLY_IPV4 and seen.uid not in self.unasked
            self.ready[seen.uid] = frozenset({4} if one else {4, 6})
            self.last_ready[seen.uid] = self.ready[seen.uid]
            self.changed(seen.uid)

        if seen.uid in self.unasked:
            answers()
        if kind is Behaviour.CRASHES:
            while_it_lives(world.between(0.05, 1.0), lambda: self.die(seen.uid, 1))
        elif kind is Behaviour.EATS_MEMORY:
            while_it_lives(world.between(0.5, 3.0), lambda: self.agent.killed_for_memory(seen.uid))
        elif kind is not Behaviour.SICK and seen.uid not in self.unasked:
            while_it_lives(world.between(0.02, 8.0 if kind is Behaviour.SLOW else 0.5), answers)
        if kind is Behaviour.BREAKS_LATER:
            while_it_lives(world.between(3.0, 8.0), lambda: self.falls_ill(seen.uid))

    def _announce(self, config: SpeakerConfig) -> None:
        super()._announce(config)
        self.fallen = None
        self.neighbours.told(config, self.now)

    def ordered(self) -> tuple[InstanceOrder, ...]:
        """What the last order that it obeyed asks for and nobody asked to remove."""
        page = self.page or self.told
        if page is None:
            return ()
        going = {x.removal.uid for x in page.leaving}
        return tuple(i for i in page.order.instances if i.uid not in going)
