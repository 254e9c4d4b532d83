"""What is seen of the host, and how fresh that is: containers, kernel, speaker, health; put together as `Observed`.

In: the runtime, the kernel, the speaker, the agent's memory. Out: `Observed` for one pass. The kernel is read anew
for every pass (under a millisecond); containers and the speaker when something told of a change, and in every full
pass. Nothing known is ever forgotten because somebody does not answer.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

from anypop.agent.act.bgp.bird import SpeakerSeen
from anypop.agent.act.bgp.speaker import Speaker
from anypop.agent.act.instances.messages import end_of_log
from anypop.agent.act.instances.runtime import InstanceRuntime
from anypop.agent.act.network import drain, guard, links, newcomers, pins, steering
from anypop.agent.act.network.error_ways import ErrorWays
from anypop.agent.act.network.held import Held
from anypop.agent.act.network.namespaces import is_namespace
from anypop.agent.act.network.netlink import Netlink
from anypop.agent.act.network.probe_ways import ProbeWays
from anypop.agent.act.network.router import Router
from anypop.agent.act.volumes.keeper import Keeper
from anypop.agent.decide import disk
from anypop.agent.decide.back_off import BackOff
from anypop.agent.decide.backbone import FULL
from anypop.agent.decide.elements import ContainerSeen, ContainerState, Key
from anypop.agent.decide.memory import NOTHING, Memory, as_known
from anypop.agent.decide.observed import Observed
from anypop.agent.decide.steps import CreateContainer
from anypop.agent.guests.word import Known
from anypop.agent.ledger import Page
from anypop.agent.naming import link_of, namespace_of, peer_table, short
from anypop.agent.observe import capacity
from anypop.agent.observe.arrivals import Arrivals
from anypop.agent.observe.deaths import DeathWatch
from anypop.agent.observe.log_files import LogFiles, LogSeen
from anypop.agent.observe.offers import Offers
from anypop.agent.observe.probes import Probes, Target
from anypop.agent.observe.processor import Processor
from anypop.agent.observe.templates import Templates
from anypop.host import control_groups, inventory, netns
from anypop.model.announce import Address, Prefix
from anypop.model.backbone import Backbone
from anypop.model.confinement import PLAIN_RULES
from anypop.model.errors import WorldError
from anypop.model.machine import Acceleration, Power
from anypop.model.network import Capacity
from anypop.model.order import InstanceOrder
from anypop.model.reasons import Reason
from anypop.model.report import Exported, TunnelReport
from anypop.model.workload import Container

ABLE_S = 300.0  # what a machine can do changes where somebody installs something, or loads a module
_LAST_LINES, _LONGEST_SAID = 3, 300  # of a console, in a report: a line of a panic, and what led to it


class Observer:
    """`wake`: something new is known; `died`: the process of this container has ended just now."""

    def __init__(
        self, *, prefix: str, net: Netlink, runtime: InstanceRuntime, router: Router, speaker: Speaker,
        keeper: Keeper,
        clock: Callable[[], float], wake: Callable[[], None], died: Callable[[ContainerSeen], None],
    ) -> None:  # fmt: skip
        self._prefix, self._net, self._runtime, self._router, self._speaker = prefix, net, runtime, router, speaker
        self._wake, self._tell_death, self._keeper = wake, died, keeper
        self._errors = ErrorWays(prefix)
        self.arrivals = Arrivals(prefix, wake, clock)
        self.offers = Offers(net, wake)
        self._deaths = DeathWatch(self._died, self._is_its)
        self.probes = Probes(wake=wake, clock=clock, run_inside=runtime.run_inside, ways=ProbeWays(net))
        self._templates = Templates(runtime, wake)
        self._held = Held(clock)
        self.containers: tuple[ContainerSeen, ...] | None = None
        self._stale = asyncio.Event()
        self._looked = asyncio.Event()
        self._asked = self._answered = 0
        self._looks_begun = self._look_kept = 0
        self.runtime_error = ""
        self.capacity: Capacity | None = None
        self.machines: Acceleration | None = None
        self.guest_processor = ""
        self._able_until = 0.0
        self.used_millis: int | None = None
        self._processor, self._clock = Processor(), clock
        self._logs = LogFiles()
        self.machine_log: Callable[[str], Path | None] = lambda _: None  # by the uid of the instance
        self._most_written = PLAIN_RULES.disk_bytes
        self.overfull: frozenset[str] = frozenset()
        self.disk_error = ""
        self.log_sizes: Mapping[str, LogSeen] = {}
        self._targets: dict[Key, tuple[InstanceOrder, Target]] = {}
        self.tunnel_bytes: Mapping[IPv4Address, guard.Carried] = {}
        self.away_lives: bool | None = None
        self._ends = False

    async def open(self) -> Sequence[ContainerSeen]:
        """The first look. Returns when containers and speaker are known: nothing may be done before, or it would be
        done twice.
        """
        self._logs.open()
        rest, tries = BackOff(first_s=0.05, longest_s=2), 0
        await asyncio.gather(self._speaker.look(), self.look_at_containers(), self.measure())
        while self.containers is None:
            self._wake()
            await asyncio.sleep(rest.wait_s(tries))
            tries += 1
            await self.look_at_containers()
        return self.containers

    async def measure(self) -> None:
        """What the machine has, and what the tunnels carried. While the runtime does not answer, the last measure
        holds.
        """
        with contextlib.suppress(WorldError, OSError):
            self.tunnel_bytes = guard.counted(self._prefix)
            self.away_lives = steering.lives(self._prefix) if self._ends else None
        running = {c.key: c.pid for c in self.containers or () if c.state is ContainerState.RUNNING and c.pid}
        self.used_millis = self._processor.used_millis(running, self._clock())
        with contextlib.suppress(OSError):
            self._keeper.measure()
        with contextlib.suppress(WorldError):
            if self.machines is None or self._clock() >= self._able_until:
                self.machines = await self._runtime.machines()
                self.guest_processor = await self._runtime.processor()
                self._able_until = self._clock() + ABLE_S
            self.capacity = capacity.read(await self._runtime.disk_bytes())
            self._logs.folder = await self._runtime.storage()
            await self._look_at_disk()
        self.log_sizes = {c.id: log for c in self.containers or () if (log := self._logs.seen(c.id)) is not None}

    async def _look_at_disk(self) -> None:
        """Who wrote too much, where the disk is nearly full."""
        self.overfull, self.disk_error = frozenset(), ""
        if self._logs.folder is None:
            return
        try:
            found = os.statvfs(self._logs.folder)
        except OSError:
            return
        if disk.is_short(found.f_bavail, found.f_blocks):
            self.overfull = disk.overfull(await self._runtime.written(), self._most_written)
            left = 100 * found.f_bavail // max(found.f_blocks, 1)
            self.disk_error = f"the disk of {self._logs.folder} has {left} % left"

    async def watch(self) -> None:
        """Look at the containers again whenever that was asked for."""
        while True:
            await self._stale.wait()
            self._stale.clear()
            begun = self._asked
            await self.look_at_containers()
            self._answered = begun
            self._looked.set()
            self._looked = asyncio.Event()
            if self.runtime_error:
                await asyncio.sleep(0.5)  # a service that is being restarted
                self._stale.set()

    async def listen(self) -> None:
        """Hear of changes for ever; what happened while nobody told of them is seen by a look."""
        while True:
            try:
                async for _ in self._runtime.changes():
                    self._stale.set()
            except WorldError:
                pass
            await asyncio.sleep(1)
            self._stale.set()

    def processes(self) -> Mapping[str, Collection[int]]:
        """The main process of each container that runs, by the uid of its instance."""
        found: dict[str, list[int]] = {}
        for seen in self.containers or ():
            if seen.state is ContainerState.RUNNING and seen.pid:
                found.setdefault(seen.uid, []).append(seen.pid)
        return found

    def log_of(self, id_: str) -> Path | None:
        """The folder of a container's log."""
        return self._logs.place(id_)

    async def containers_seen(self) -> None:
        """Wait for a look at the containers that begins after now. A runtime that does not answer is not waited for."""
        self._asked += 1
        mine = self._asked
        self._stale.set()
        while self._answered < mine:
            await self._looked.wait()

    async def look_at_containers(self, *, quietly: bool = False) -> None:
        """`quietly`: without waking a pass. Of two looks at once the one that began later counts, whichever is
        answered first.
        """
        self._looks_begun += 1
        mine = self._looks_begun
        try:
            seen = await self._runtime.seen()
            if mine > self._look_kept:  # an older list would take running instances out of traffic
                self.containers, self._look_kept = tuple(seen), mine
            self.runtime_error = ""
        except WorldError as error:
            self.runtime_error = str(error)
        if not quietly:
            self._wake()

    def created(self, step: CreateContainer) -> None:
        """A container was made just now: until the next look it is known by what was asked for, without an id. A look
        that began before may forget it once more, which costs asking for it again.
        """
        if self.containers is None or self.knows(step):
            return
        key = step.instance.uid, step.container.name
        made = ContainerSeen(
            id="", instance=step.instance.name, uid=key[0], container=key[1], state=ContainerState.CREATED,
            past=step.past, template=step.instance.template, init=step.container in step.instance.init,
        )  # fmt: skip
        self.containers = (*self.containers, made)

    def knows(self, step: CreateContainer) -> bool:
        """Whether there is a container of this name, as far as is known."""
        return any(c.key == (step.instance.uid, step.container.name) for c in self.containers or ())

    def observe(self, page: Page, memory: Memory, busy: Collection[str]) -> Observed:
        """Everything, for one pass. Reads the kernel; keeps probes and death watch in step with the containers that
        run.
        """
        backbone = page.order.backbone
        self.offers.follow({peer_table(p.router_id): p.address for p in backbone.peers} if backbone else {})
        kernel, pinned = self._router.look(), self._pinned()
        instances = {i.uid: i for i in page.order.instances}
        self._most_written = page.order.rules.disk_bytes
        containers = tuple(self._templates.of(as_known(c, memory), instances) for c in self.containers or ())
        self._follow(containers, instances, memory)
        uids = {*instances, *(x.removal.uid for x in page.leaving)}
        speaker = self._speaker.seen or SpeakerSeen(config=None)
        # of flows that leave now nobody asks whether they have ended, and what was once known of it is no longer so
        ends = self._ends = memory.steers is not None and any(s.keep >= FULL for s in memory.steers)
        self.away_lives = self.away_lives if ends else None
        joined = kernel.newcomers or memory.joinings != ()
        remembered = newcomers.remembered(self._prefix) if joined else {}
        kept = {(a, m.peer) for a, there in kernel.newcomers.items() for slot, m in there.items()
                if remembered is None or remembered.get((a, slot))}  # fmt: skip
        return Observed(
            containers=containers,
            namespaces=frozenset(short(u) for u in uids if is_namespace(netns.path_of(namespace_of(self._prefix, u)))),
            links=kernel.links, numbers=kernel.numbers, groups=kernel.groups, error_tables=self._errors.look(),
            external=kernel.external, covers=kernel.covers, balanced=kernel.balanced,
            pins=pinned, live=self._live(page, pinned),
            speaker=speaker.config, fallen=speaker.fallen, speaker_answers=speaker.answers, sessions=speaker.sessions,
            exported=speaker.exported, told=_by_prefix(speaker.told), arrived=self.arrivals.seen,
            health={uid: self.probes.verdict(uid, (c.name for c in i.containers)) for uid, i in instances.items()},
            liveness_failed=frozenset(self.probes.liveness_failed),
            started=frozenset(c.id for c in containers if (c.key, c.pid) in self.probes.started),
            leaving=page.leaving, busy=frozenset(busy), overfull=self.overfull, disk_is_short=bool(self.disk_error),
            tunnel=kernel.tunnel, tunnel_number=kernel.tunnel_number,
            inbound=kernel.inbound, away=kernel.away, away_lives=self.away_lives, served=kernel.served,
            siblings=kernel.siblings, vpc=kernel.vpc, gateways=kernel.gateways,
            idle=kernel.idle - kept, offers=self.offers.offers(),
            tunnels=self._counted(backbone, speaker.tunnels),
            volumes=self._keeper.look(page.order),
            newcomers=kernel.newcomers, remembered=remembered, buckets=kernel.buckets,
            consoles=self._consoles(containers), started_up=self._started_up(containers), memory=memory,
            logs={id_: (log.size, log.turns) for id_, log in self.log_sizes.items()},
        )  # fmt: skip

    def _consoles(self, containers: Iterable[ContainerSeen]) -> dict[str, str]:
        """Why a guest does not answer is mostly the last that it said."""
        return {
            c.uid: " / ".join(said.splitlines()[-_LAST_LINES:])[-_LONGEST_SAID:]
            for c in containers
            if (folder := self._logs.others.get(c.id)) is not None
            and c.state is ContainerState.RUNNING
            and self.probes.verdict(c.uid, [c.container]).healthy is not True
            and (said := end_of_log(folder))
        }

    def _started_up(self, containers: Iterable[ContainerSeen]) -> frozenset[str]:
        """Asked of those that do not answer: what does not is then a service in it, and not its start."""
        silent = (c for c in containers if self.probes.verdict(c.uid, [c.container]).healthy is not True)
        return frozenset(
            c.uid
            for c in silent
            if c.id in self._logs.others
            and (word := self.probes.word_of(c.uid)) is not None
            and word.holds(Known.READY)
        )

    def _counted(self, backbone: Backbone | None, tunnels: Sequence[TunnelReport]) -> tuple[TunnelReport, ...]:
        """The tunnels with what they have carried, as of the last full look."""
        ends = {p.host: p.address for p in backbone.peers} if backbone is not None else {}
        none = guard.Carried()
        return tuple(
            replace(t, sent_bytes=count.sent, received_bytes=count.received)
            for t in tunnels
            if t.host in ends and (count := self.tunnel_bytes.get(ends[t.host], none)) is not None
        )

    def _pinned(self) -> dict[str, bool]:
        try:
            return pins.pinned(self._net, self._prefix)
        except WorldError:  # a kernel without nftables: nothing can be pinned, and whoever tries says so
            return {}

    def _live(self, page: Page, pinned: Mapping[str, bool]) -> dict[str, bool]:
        """Whether any flow lives on those that leave. Read after routes and groups: who is in none of them by then
        gets no new one.
        """
        found = {}
        self._held.keep({namespace_of(self._prefix, x.removal.uid) for x in page.leaving})
        for leaving in page.leaving:
            key, instance = short(leaving.removal.uid), leaving.instance
            if instance is not None and pinned.get(key):
                addresses = [*instance.externals(), *instance.anycast]
                try:
                    flows = drain.live_flows(
                        self._prefix, instance.uid, addresses, self._held, guest=instance.machine is not None
                    )
                    found[key] = flows.inbound > 0 or flows.udp or flows.unanswered
                except WorldError:
                    found[key] = True  # not known: its time will end it
        return found

    def knows_health(self, page: Page, memory: Memory) -> bool:
        """Whether every instance that was found running has been asked at least once."""
        found = {key[0] for key, _ in memory.found}
        told = (
            self.probes.verdict(i.uid, [c.name for c in i.containers]) for i in page.order.instances if i.uid in found
        )
        return all(verdict.healthy is not None for verdict in told)

    def unfit(self, page: Page | None) -> frozenset[str]:
        """Uids of the incarnations whose link stands and lacks a setting or a neighbour entry."""
        leaving = (x.instance for x in page.leaving if x.instance is not None) if page else ()
        return links.unfit(self._net, (*leaving, *(page.order.instances if page else ())))

    def why_ended(self, seen: ContainerSeen, instances: Iterable[InstanceOrder], memory: Memory = NOTHING) -> Reason:
        """Why the process of this container has ended just now, by what is known here. `instances`: those ordered."""
        ordered = next((i for i in instances if i.uid == seen.uid), None)
        if ordered is not None and ordered.restarts > seen.asked:
            return Reason.RESTART_ASKED
        if ordered is not None and (ordered.power is Power.OFF or seen.rescue != ordered.rescued_by):
            return Reason.POWERED_OFF
        if seen.key in self.probes.liveness_failed:
            return Reason.PROBE_FAILED
        if seen.id in memory.hook_failed:
            return Reason.HOOK_FAILED
        if seen.id in self.overfull:
            return Reason.OUT_OF_DISK
        return Reason.OUT_OF_MEMORY if seen.out_of_memory else Reason.EXITED

    def close(self) -> None:
        self._deaths.close()
        self._logs.close()
        self._errors.close()
        self.offers.close()
        self.probes.close()

    def _follow(self, containers: Sequence[ContainerSeen], instances: dict[str, InstanceOrder], memory: Memory) -> None:
        running = {c.key: c.pid for c in containers if c.state is ContainerState.RUNNING and c.pid}
        ids = {c.key: c.id for c in containers}
        self._deaths.set(running, [c.key for c in containers if c.key in running and self.machine_log(c.uid)])
        self._logs.others = {c.id: log for c in containers if (log := self.machine_log(c.uid)) is not None}
        self._logs.follow({c.id for c in containers if c.key in running})
        targets = {}
        for uid, instance in instances.items():
            for container in instance.containers:
                key = (uid, container.name)
                pid = running.get(key)
                # before its hook has been run it is not asked anything
                if pid is not None and (container.post_start is None or ids[key] in memory.hooked):
                    found, started = (key, pid) in memory.found, ids[key] in memory.started
                    targets[key] = self._target(instance, container, pid, found=found, started=started)
        self._targets = {key: (instances[key[0]], target) for key, target in targets.items()}
        self.probes.set(targets)

    def _target(self, instance: InstanceOrder, container: Container, pid: int, *, found: bool, started: bool) -> Target:
        """What is asked of it: the same as in the last pass, unless its order or its process is another one."""
        known, target = self._targets.get((instance.uid, container.name), (None, None))
        if known is instance and target is not None and (target.pid, target.found, target.started) == (
            pid, found, started
        ):  # fmt: skip
            return target
        return Target(
            container=container, address=next(instance.addresses()).private, pid=pid, found=found,
            link=link_of(instance.uid), announced=_announced(instance), started=started,
        )  # fmt: skip

    def _is_its(self, key: Key, pid: int) -> bool:
        """Whether this process is a container's: it lives in its control group, or at least in its network
        namespace, where an operator has Podman do without such groups.
        """
        ids = [c.id for c in self.containers or () if c.key == key]
        home = namespace_of(self._prefix, key[0])
        return any(control_groups.holds(pid, id_) for id_ in ids) or inventory.is_inside(pid, home)

    def _died(self, key: Key, pid: int, out_of_memory: bool) -> None:
        seen = next((c for c in self.containers or () if c.key == key and c.pid == pid), None)
        if seen is not None:
            self._tell_death(replace(seen, out_of_memory=out_of_memory))
        self.probes.died(key)
        self._stale.set()
        self._wake()


def _announced(instance: InstanceOrder) -> tuple[tuple[Address, Address], ...]:
    """The addresses at which clients ask an instance, each with the private one that it is behind: the anycast
    addresses, or its own where it has none; private ones where it has no others. Not those beside its own: which of
    them it listens on is its application's.
    """
    own = tuple(a for a in instance.externals() if a not in instance.beside)
    asked = instance.anycast or own or tuple(a.private for a in instance.addresses())
    return tuple((a, private) for a in asked if (private := instance.private(a.version)) is not None)


def _by_prefix(told: Iterable[tuple[Prefix, Exported]]) -> dict[Prefix, tuple[Exported, ...]]:
    found: dict[Prefix, tuple[Exported, ...]] = {}
    for prefix, exported in told:
        found[prefix] = (*found.get(prefix, ()), exported)
    return found
