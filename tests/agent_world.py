"""A fake PoP host for tests of `converge`: it applies steps, forgets what a killed process forgets, and refuses what
must never happen.

The invariants are checked where they could be broken, at the moment a step is applied; a broken one is an
AssertionError with its number. Time is a number that the test moves. Instances become healthy some time after they
start.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Any

from anypop.agent.decide import memory, returning
from anypop.agent.decide.backbone import LINGER, LINGER_S, Tunnel
from anypop.agent.decide.converge import converge, next_due
from anypop.agent.decide.elements import (
    ContainerSeen,
    ContainerState,
    Entry,
    Export,
    Firewall,
    Joining,
    Key,
    Member,
    ProbeVerdict,
    SpeakerConfig,
    Steer,
    TunnelGuard,
    Who,
)
from anypop.agent.decide.facts import Facts
from anypop.agent.decide.memory import Memory
from anypop.agent.decide.observed import Observed
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
    SetCover,
    SetExternal,
    SetFirewall,
    SetGuard,
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
)
from anypop.agent.decide.traffic import needed_again
from anypop.agent.ledger import Page, turn
from anypop.agent.naming import device_group_of, is_device_group, short
from anypop.model.announce import Address, Announcement, Mode, Prefix, Scope
from anypop.model.confinement import Confinement
from anypop.model.names import CityCode, HostName, InstanceName, WorkloadId
from anypop.model.network import Upstream
from anypop.model.order import Containers, Grant, InstanceLink, InstanceOrder, LinkAddress, Order, Removal
from anypop.model.reasons import Reason
from anypop.model.workload import Container, Port
from tests.agent_volumes import FakeVolumes

POP = CityCode("LHR")
HOST = HostName(POP)
HEALTHY_AFTER_S = 0.2
SETTLES_S = 30.0  # so long nobody doubts that one which was started anew will answer
COVERS = (IPv4Network("192.0.2.0/24"), IPv4Network("203.0.113.0/24"))
UPSTREAMS = tuple(
    Upstream(
        name=name,
        asn=64600 + n,
        interface=f"up-{name}",
        neighbor4=IPv4Address(f"10.9.{n}.1"),
        local4=IPv4Address(f"10.9.{n}.2"),
    )
    for n, name in enumerate(("one", "two"))
)


def web(image: str = "web:1") -> Container:
    return Container(name="web", image=image, ports=(Port(name="http", port=80, open_to_all=True),))


def instance(
    n: int,
    *,
    workload: int = 0,
    life: int = 0,
    link: int | None = None,
    containers: tuple[Container, ...] | None = None,
) -> InstanceOrder:
    """Instance `n`; `life` counts incarnations of the same name and place, `link` numbers private addresses (`n`
    where it is not told).
    """
    far = 2 * (n if link is None else link)
    four = LinkAddress(
        private=IPv4Address("10.64.0.1") + far,
        gateway=IPv4Address("10.64.0.0") + far,
        external=IPv4Address("198.51.100.10") + n,
    )
    six = LinkAddress(
        private=IPv6Address("fd00:64::1") + far,
        gateway=IPv6Address("fd00:64::") + far,
        external=IPv6Address("2001:db8:e::10") + n,
    )
    return InstanceOrder(
        name=InstanceName(f"w{workload}-eu-lhr-{n}"), uid=f"{life:02x}{workload:02x}{n:06x}",
        workload_id=WorkloadId(f"w{workload}"),
        life=life, template=f"t{life}", links=(InstanceLink(addresses=(four, six)),), anycast=(COVERS[workload][1],),
        payload=Containers(containers=containers or (web(),)),
    )  # fmt: skip


def order(generation: int, *instances: InstanceOrder, removed: tuple[InstanceOrder, ...] = (),
          withheld: tuple[str, ...] = (),
          grants: tuple[Grant, ...] = ()) -> Order:  # fmt: skip
    """An order that announces the covering prefix of every workload in it to all upstreams, except those `withheld`."""
    gates: dict[Prefix, set[Address]] = {}
    for i in instances:
        (anycast,) = i.anycast
        gates.setdefault(next(c for c in COVERS if anycast in c), set()).add(anycast)
    announcements = [
        Announcement(prefix=prefix, upstream=u.name,
        scope=Scope(mode=Mode.WITHHOLD if u.name in withheld else Mode.ANNOUNCE),
                     gates=tuple(sorted(own, key=str)))
        for prefix, own in sorted(gates.items(), key=str) for u in UPSTREAMS
    ]  # fmt: skip
    external = IPv4Network("198.51.100.0/24")
    announcements += [Announcement(prefix=external, upstream=u.name, scope=Scope()) for u in UPSTREAMS]
    return Order(
        pop=POP, host=HOST, generation=generation, asn=33438, router_id=IPv4Address("10.64.255.1"),
        private4=IPv4Network("10.64.0.0/16"),
        private6=IPv6Network("fd00:64::/64"), external4=external, external6=IPv6Network("2001:db8:e::/48"),
        upstreams=UPSTREAMS,
        instances=instances,
        removed=tuple(Removal(name=i.name, uid=i.uid, reason=Reason.WORKLOAD_DELETED) for i in removed),
        announcements=tuple(announcements), grants=grants, decay_s=0.5, drain_s=0.5,
    )  # fmt: skip


@dataclass
class FakeHost:
    """The PoP's world. What a process remembers is apart: `kill` loses it."""

    now: float = 1000.0
    page: Page | None = None
    containers: dict[tuple[str, str], ContainerSeen] = field(default_factory=dict)
    namespaces: set[str] = field(default_factory=set)
    links: dict[str, bool] = field(default_factory=dict)
    device_groups: dict[str, int] = field(default_factory=dict)
    unfit: set[str] = field(default_factory=set)
    external: dict[Prefix, str] = field(default_factory=dict)
    covers: set[Prefix] = field(default_factory=set)
    groups: dict[Address, tuple[Member, ...]] = field(default_factory=dict)
    routed: set[Address] = field(default_factory=set)
    firewall: Firewall | None = None
    speaker: SpeakerConfig | None = None
    fallen: SpeakerConfig | None = None
    images: set[str] = field(default_factory=set)
    pins: dict[str, float] = field(default_factory=dict)
    tunnel: Tunnel | None = None
    guard: TunnelGuard | None = None
    inbound: dict[Address, tuple[Member, ...]] = field(default_factory=dict)
    away_groups: dict[Address, tuple[Member, ...]] = field(default_factory=dict)
    away: dict[Address, tuple[Member, ...]] = field(default_factory=dict)
    away_lives: bool | None = None
    steers: tuple[Steer, ...] = ()
    served: dict[Address, int] = field(default_factory=dict)
    offers: dict[IPv4Address, dict[Address, int]] = field(default_factory=dict)
    siblings: dict[Address, IPv4Address] = field(default_factory=dict)
    vpc: dict[Prefix, str] = field(default_factory=dict)
    lingers: dict[tuple[Address, IPv4Address], float] = field(default_factory=dict)
    idle: set[tuple[Address, IPv4Address]] = field(default_factory=set)
    buckets: dict[tuple[Address, Entry], dict[Who, int]] = field(default_factory=dict)
    newcomers: dict[Address, dict[int, Member]] = field(default_factory=dict)
    remembered: dict[tuple[Address, int], bool] = field(default_factory=dict)
    joinings: tuple[Joining, ...] = ()
    busy: set[str] = field(default_factory=set)
    let_go: set[str] = field(default_factory=set)
    sick: set[str] = field(default_factory=set)
    bad_images: set[str] = field(default_factory=set)
    volumes: FakeVolumes = field(default_factory=FakeVolumes)
    init_ends: bool = False  # init containers have done their work as soon as they run
    applied: list[Step] = field(default_factory=list)
    # remembered by the process only
    memory: Memory = memory.NOTHING
    began_probing: dict[str, float] = field(default_factory=dict)
    next_pid: int = 100

    def obey(self, order: Order) -> Reason | None:
        page = turn(order, self.page)
        if isinstance(page, Reason):
            return page
        self.page = page
        return None

    def kill(self) -> None:
        """kill -9 of the agent, and a new one: what runs goes on, what was remembered is lost."""
        self.memory = replace(
            memory.NOTHING,
            unfit=frozenset(self.unfit),
            guard_known=self.guard is None,
            tunnel=self.tunnel,
            joinings=None if self.joinings else (),
        )
        self.began_probing.clear()

    def die(self, uid: str, code: int = 137) -> None:
        """An instance's processes end; the death watch takes its next hops out at once."""
        self.end({key for key in self.containers if key[0] == uid}, code)

    def end(self, keys: Collection[Key], code: int = 0) -> None:
        """The processes of these containers end."""
        for key, seen in self.containers.items():
            if key in keys and seen.state is ContainerState.RUNNING:
                why = Reason.RESTART_ASKED if self._is_asked_to_end(seen) else Reason.EXITED
                self.memory = memory.process_died(seen, why, self.memory, self.now)
                self.containers[key] = replace(
                    seen, state=ContainerState.EXITED, pid=0, exit_code=code, finished_at=self.now
                )
        for uid in {key[0] for key in keys}:
            self._drop(short(uid))

    def bird_dies(self) -> None:
        """kill -9 of the speaker; the agent lives and remembers what it said."""
        self.speaker, self.fallen = None, self.speaker

    def observe(self) -> Observed:
        assert self.page is not None
        uids = [*(i.uid for i in self.page.order.instances), *(x.removal.uid for x in self.page.leaving)]
        containers = tuple(self.containers.values())
        self.memory = memory.looked(
            self.memory, containers=containers, speaker=self.speaker, pins=self.pins, uids=uids, now=self.now
        )  # fmt: skip
        balanced = {a: self.groups[a] for a in self.routed}
        self.memory = memory.groups_seen(self.memory, balanced, self.now, away=self.away, newcomers=self.newcomers)
        going = {x.removal.uid for x in self.page.leaving if short(x.removal.uid) in self.pins}
        seen = Observed(
            containers=tuple(self.containers.values()), namespaces=frozenset(self.namespaces),
            links=dict(self.links), groups=dict(self.device_groups),
            external=dict(self.external), covers=frozenset(self.covers),
            balanced=balanced, inbound=dict(self.inbound), away=dict(self.away), away_lives=self.away_lives,
            served=dict(self.served), idle=frozenset(self.idle), siblings=dict(self.siblings), vpc=dict(self.vpc),
            tunnel=True if self.tunnel is not None else None, offers={p: dict(o) for p, o in self.offers.items()},
            pins=dict.fromkeys(self.pins, True), live={short(uid): uid in self.busy for uid in going},
            speaker=self.speaker, fallen=self.fallen if self.speaker is None else None,
            newcomers={a: dict(there) for a, there in self.newcomers.items()}, remembered=dict(self.remembered),
            buckets=dict(self.buckets),
            health=self._health(), leaving=self.page.leaving, memory=self.memory, volumes=self.volumes.seen(),
        )  # fmt: skip
        facts = Facts(self.page.order, seen)
        if self.memory.returned_at is not None:
            self.memory = memory.wellness_seen(self.memory, returning.well(facts), self.now)
        self.memory = memory.undrained(facts.resumed | needed_again(facts), self.memory)
        gone = {uid for uid in facts.going if not facts.has_remains(uid)}
        for uid in gone:
            self.memory = memory.forgotten(uid, self.memory)
        asked = {r.uid for r in self.page.order.removed}
        self.page = replace(
            self.page,
            leaving=tuple(x for x in self.page.leaving if x.removal.uid in asked or x.removal.uid not in gone),
        )
        return replace(seen, leaving=self.page.leaving, memory=self.memory)

    def facts(self, **seen_otherwise: Any) -> Facts:
        """What the agent goes by now; `seen_otherwise`: fields of `Observed` that are not as they are."""
        observed = replace(self.observe(), **seen_otherwise)
        assert self.page is not None
        return Facts(self.page.order, observed)

    def _health(self) -> dict[str, ProbeVerdict]:
        assert self.page is not None
        found = {}
        for i in self.page.order.instances:
            running = [c for c in self.containers.values() if c.uid == i.uid and c.state is ContainerState.RUNNING]
            if not running:
                self.began_probing.pop(i.uid, None)
                continue
            begun = self.began_probing.setdefault(i.uid, self.now)
            started = max(c.started_at or 0 for c in running)
            if i.uid in self.sick:
                known = self.now >= begun + HEALTHY_AFTER_S
                found[i.uid] = ProbeVerdict(healthy=False if known else None, reason=Reason.PROBE_FAILED)
            elif self.now >= started + HEALTHY_AFTER_S:
                found[i.uid] = ProbeVerdict(healthy=True, reason=Reason.PROBE_PASSED)
            else:
                found[i.uid] = ProbeVerdict(healthy=False, reason=Reason.PROBE_PENDING)
        return found

    def is_well(self, uid: str, version: int | None = None) -> bool:
        """Whether the instance really runs and answers, whatever anybody believes: in that family, or in any (here it
        answers in both or in none).
        """
        running = [c for c in self.containers.values() if c.uid == uid and c.state is ContainerState.RUNNING]
        return bool(running) and uid not in self.sick and short(uid) in self.links

    def may_be_well(self, uid: str) -> bool:
        """Whether who decided could take it for well: the same here, where nothing happens meanwhile."""
        return self.is_well(uid)

    def apply(self, step: Step) -> None:
        """One step's effect. Idempotent, like the real one."""
        self.applied.append(step)
        self._take_effect(step)
        self.memory = memory.step_done(step, self.memory, self.now)

    def _take_effect(self, step: Step) -> None:
        match step:
            case PrepareRouter():
                pass  # what follows from it is remembered
            case BeginDrain():
                assert self.links.get(short(step.uid)), "a pin needs its link"
                if step.behind:  # one without public addresses has nothing to pin
                    self.pins.setdefault(short(step.uid), self.now)
            case EndDrain():
                if self._is_leaving(step.uid) and step.drained:
                    self.let_go.add(step.uid)
                if self._is_leaving(step.uid) and self.is_well(step.uid):
                    assert step.drained, "11: flows of one that goes on are let go"
                    self._guard_flows(step.uid, "let go of")
                    assert not any(m.short == short(step.uid) for a in self.routed for m in self.groups[a]), (
                        "11: it gets new flows"
                    )
                self.pins.pop(short(step.uid), None)
            case PullImage():
                self.images.add(step.image)
            case DropImage():
                assert all(step.image != c.image for c in self.containers.values()), "an image in use"
                self.images.discard(step.image)
            case SetCover():
                self.covers.add(step.prefix)
            case RemoveCover():
                assert not self._announces(step.prefix), f"8: the cover {step.prefix} is removed while it is announced"
                self.covers.discard(step.prefix)
            case SetNextHops():
                assert step.members, "an empty group does not exist"
                local = {m.short for m in step.members if m.peer is None}
                assert all(self.links.get(key) for key in local), "a next hop needs its link"
                assert local <= dict(step.gateways).keys(), "a next hop needs the address behind its link"
                away = {m.peer for m in step.members if m.peer is not None}
                assert not away or (self.tunnel is not None and step.entry is not Entry.TUNNEL), (
                    "what comes by the tunnel never goes out by it"
                )
                assert away <= {target for target, _ in (self.tunnel.targets if self.tunnel else ())}
                if step.entry is Entry.AWAY:
                    (self.away if step.address in self.away else self.away_groups)[step.address] = step.members
                elif step.entry is Entry.TUNNEL:
                    self.inbound[step.address] = step.members
                else:
                    self._guard_members(step)
                    self._keep(step.address, step.members)
            case SetRoute():
                assert step.entry is not Entry.CLIENTS or step.address in self.groups, "a route needs its group"
                if step.entry is Entry.AWAY:
                    self.away[step.address] = self.away_groups[step.address]
                elif step.entry is Entry.CLIENTS:
                    self.routed.add(step.address)
            case RemoveRoute():
                if step.entry is Entry.AWAY:
                    self.away.pop(step.address, None)
                elif step.entry is Entry.TUNNEL:
                    assert step.address not in self.served, f"7: {step.address} is told and nobody answers"
                    self.inbound.pop(step.address, None)
                else:
                    self._keep(step.address, ())
            case SetTunnel():
                assert step.tunnel is None or self.guard is not None, "20: a tunnel that nobody guards"
                if step.tunnel is None:
                    self.inbound.clear()
                    self.away.clear()
                    self.served.clear()
                    self.siblings.clear()
                    for anycast, members in list(self.groups.items()):
                        self._keep(anycast, tuple(m for m in members if m.peer is None))
                self.tunnel = step.tunnel
            case SetGuard():
                assert step.rules is not None or self.tunnel is None, "20: a tunnel that nobody guards"
                self.guard = step.rules
            case SetSteering():
                assert all(s.keep == 100 or s.address in self.away for s in step.steers), "7: it leaves to nowhere"
                self.steers = step.steers
            case LeadNewcomer():
                takers = self.away.get(step.address, ())
                assert step.member.who in {m.who for m in (*self.groups[step.address], *takers)}, "7: a way to nobody"
                assert (step.address, step.slot) not in self.remembered, "11: flows of another would follow"
                self.newcomers.setdefault(step.address, {})[step.slot] = step.member
            case DropNewcomer():
                self.newcomers.get(step.address, {}).pop(step.slot, None)
                if not self.newcomers.get(step.address):
                    self.newcomers.pop(step.address, None)
            case SetJoinings():
                there = {(j.address, slot) for j in step.joinings for slot in j.slots}
                led = {(j.address, slot) for j in step.joinings for slot, _ in j.parts}
                assert led <= there <= {(a, slot) for a, own in self.newcomers.items() for slot in own}, "7"
                self.remembered = {key: self.remembered.get(key, False) for key in there}
                self.joinings = step.joinings
            case Tell():
                has_way = step.address in self.inbound or self._is_own(step.address)
                assert step.count is None or has_way, f"8: {step.address} is told without a way"
                if step.count is None:
                    self.served.pop(step.address, None)
                else:
                    self.served[step.address] = step.count
            case SetSibling():
                targets = {target for target, _ in (self.tunnel.targets if self.tunnel else ())}
                assert step.peer is None or step.peer in targets, f"20: {step.address} leads to nobody that we know"
                if step.peer is None:
                    self.siblings.pop(step.address, None)
                else:
                    self.siblings[step.address] = step.peer
            case SetFirewall():
                self.firewall = step.rules
            case SetSpeaker():
                self._announce(step.config)
            case MakeNamespace():
                self.namespaces.add(short(step.uid))
            case NameNamespace():
                lives = [c for c in self.containers.values() if c.uid == step.uid and c.pid == step.pid]
                assert lives and self.links.get(short(step.uid)), "a name needs the namespace that it is for"
                self.namespaces.add(short(step.uid))
            case AddLink():
                assert short(step.instance.uid) in self.namespaces
                clash = [
                    key
                    for key in self.links
                    if key != short(step.instance.uid) and self._private_of(key) == step.instance.private(4)
                ]
                assert not clash, f"15: {step.instance.private(4)} has two owners"
                self.links[short(step.instance.uid)] = True
                self.device_groups[short(step.instance.uid)] = device_group_of(step.instance.stack_id)
            case GroupLink():
                assert is_device_group(step.group), "20: a link that the rules do not know"
                self.device_groups[short(step.uid)] = step.group
            case FitLink():
                assert self.links.get(short(step.instance.uid))
                self.unfit.discard(step.instance.uid)
            case SetExternal():
                assert self.links.get(short(step.instance.uid))
                self._guard_external(step.instance)
                for address in step.instance.externals():
                    self.external[ip_network(address)] = short(step.instance.uid)
            case SetVpc():
                self.vpc |= {ip_network(a.vpc): short(step.instance.uid) for a in step.instance.addresses() if a.vpc}
            case RemoveExternal():
                self.external.pop(step.prefix, None)
            case (
                AttachVolume()
                | DetachVolumes()
                | GrowVolume()
                | TakeSnapshot()
                | DropSnapshot()
                | RestoreVolume()
                | DeleteVolume()
            ):
                self.volumes.apply(step, {uid for uid, _ in self.containers})
            case CreateContainer():
                mounted = self.volumes.mounted.get(short(step.instance.uid), set())
                assert step.instance.volumes <= mounted, "no container without its volumes"
                self._create(step)
            case StartContainer():
                self._start(step)
            case RemoveContainer():
                self._remove(step)
            case PowerOff():
                self._power_off(step)
            case RunHook():
                assert self.containers[step.uid, step.container].state is ContainerState.RUNNING
            case StopContainers():
                self._guard_removal(step.uid, "stop")
                self._guard_restart(step.uid)
                self.end({(step.uid, stop.container) for stop in step.stops})
            case DeleteNamespace():
                self._guard_removal(step.uid, "unbind")
                key = short(step.uid)
                self.namespaces.discard(key)
                self.links.pop(key, None)
                self.device_groups.pop(key, None)
                self.external = {p: owner for p, owner in self.external.items() if owner != key}
                self.vpc = {p: owner for p, owner in self.vpc.items() if owner != key}
                self._drop(key)

    def _create(self, step: CreateContainer) -> None:
        key = (step.instance.uid, step.container.name)
        assert short(step.instance.uid) in self.namespaces, "a container needs its namespace"
        assert self.links.get(short(step.instance.uid)), "addresses are in place before the first instruction"
        assert step.container.image_key in self.images
        if key not in self.containers:
            self.next_pid += 1
            self.containers[key] = ContainerSeen(
                id=f"c-{self.next_pid}", instance=step.instance.name, uid=key[0], container=key[1],
                state=ContainerState.CREATED,
                past=replace(step.past, confinement=None), template=step.instance.template,
                asked=step.instance.restarts, confinement=step.past.confinement or Confinement.OWN_USERS,
                init=step.container in step.instance.init,
            )  # fmt: skip

    def _power_off(self, step: PowerOff) -> None:
        key = (step.uid, step.container)
        if (seen := self.containers.get(key)) is None:
            return
        if seen.state is ContainerState.RUNNING:
            self.memory = memory.process_died(seen, Reason.POWERED_OFF, self.memory, self.now)
            self._drop(short(step.uid))
        self.containers[key] = replace(
            seen, state=ContainerState.CREATED, pid=0, exit_code=None, finished_at=None, rescue=""
        )

    def _remove(self, step: RemoveContainer) -> None:
        seen = self.containers.get((step.uid, step.container))
        if seen is None:
            return
        if seen.state is ContainerState.RUNNING:
            self._guard_removal(step.uid, "stop")
            self._guard_restart(step.uid)
            self.die(step.uid)
        elif self.page is not None and step.uid in {x.removal.uid for x in self.page.leaving}:
            self._guard_removal(step.uid, "remove")
        self.containers.pop((step.uid, step.container), None)

    def _start(self, step: StartContainer) -> None:
        key = (step.uid, step.container)
        assert self.firewall is not None, "an instance without a firewall"
        assert is_device_group(self.device_groups[short(step.uid)]), "20: a link that the rules do not know"
        assert f"i{short(step.uid)}" in {link.name for link in self.firewall.links}, "an instance without a firewall"
        assert self.containers[key].state is not ContainerState.EXITED, "a container lives once"
        if self.containers[key].state is not ContainerState.RUNNING:
            self.next_pid += 1
            self.containers[key] = replace(
                self.containers[key], state=ContainerState.RUNNING, pid=self.next_pid, started_at=self.now,
                rescue=step.rescue.rescued_by if step.rescue is not None else "",
            )  # fmt: skip
            if self.init_ends and self.containers[key].init:
                self.end({key})

    def _announce(self, config: SpeakerConfig) -> None:
        assert self.page is not None
        last = self.speaker or self.fallen
        before = {(e.prefix, e.upstream): e for e in last.exports} if last else {}
        for export in config.exports:
            if (export.prefix, export.upstream) not in before:
                self._guard_announcement(export)
        dropped = set(before) - {(e.prefix, e.upstream) for e in config.exports}
        granted = {g.prefix for g in self.page.order.grants if g.allowed}
        for key in dropped:
            known = key[1] in {u.name for u in self.page.order.upstreams}
            assert before[key].graceful or key[0] in granted or not known or self._flaps(key), (
                f"9: {key} is withdrawn without letting its traffic decay"
            )
        self.speaker = config

    def _flaps(self, key: tuple[Prefix, str]) -> bool:
        """Whether the session was lost so often that announcements on it may rest."""
        uplink = self.memory.uplinks.get((key[1], key[0].version))
        return uplink is not None and uplink.hold_s > 0

    def _guard_announcement(self, export: Export) -> None:
        """Invariant 8: nothing is announced before its route is in the kernel and an instance is healthy."""
        assert self.page is not None
        assert export.prefix in self.covers, f"8: {export.prefix} is announced before its route is in the kernel"
        gates = self._gates_of(export.prefix)
        owners = {short(i.uid): i.uid for i in self.page.order.instances}
        for gate in gates:
            members = self.led_by(gate)
            assert members, f"8: {export.prefix} is announced before {gate} has a route"
            assert any(
                self._offers(gate, m.peer) if m.peer else m.short in owners and self.may_be_well(owners[m.short])
                for m in members
            ), f"8: nobody answers {gate}"

    def _gates_of(self, prefix: Prefix) -> set[Address]:
        """The addresses that must be answered for it to be announced."""
        assert self.page is not None
        return {g for a in self.page.order.announcements if a.prefix == prefix for g in a.gates}

    def _guard_flows(self, uid: str, what: str) -> None:
        """Its flows have ended, or it had all its time for them."""
        assert self.page is not None
        if uid in self.busy:
            since = self.pins.get(short(uid), self.now)
            assert self.now >= since + self.page.order.drain_s, f"{what} {uid} before its flows have ended"

    def _guard_removal(self, uid: str, what: str) -> None:
        """Invariants 14 (only what has a token) and 9 (never before the withdrawal, nor while nobody else answers)."""
        assert self.page is not None
        leaving = {x.removal.uid: x for x in self.page.leaving}
        if what == "stop" and uid not in leaving:
            assert self._must_end(uid) or short(uid) not in self.namespaces, f"14: {uid} is stopped without a token"
            return
        assert uid in leaving, f"14: {what} {uid} without a token"
        running = any(c.uid == uid and c.state is ContainerState.RUNNING for c in self.containers.values())
        if running and uid not in self.let_go:
            self._guard_flows(uid, what)
        gone = leaving[uid].instance
        for address in gone.anycast if gone else ():
            others = [m.short for m in self.groups.get(address, ()) if m.short != short(uid)]
            if self._announces_for(address) and not others:
                # one that is in no group and does not answer draws nobody, and nobody misses it
                member = any(m.short == short(uid) for m in self.groups.get(address, ()))
                was = member or (what != "remove" and self.may_be_well(uid))
                assert not (was and running), f"9: {what} of the last instance behind {address} while it is announced"

    def _must_end(self, uid: str) -> bool:
        """Whether it is stopped to be started anew: since somebody asked for it, or for what it does to its host."""
        ordered = self.page.order.instances if self.page is not None else ()
        volumes = self.page.order.volumes if self.page is not None else ()
        restored = {v.id for v in volumes if (t := self.volumes.there.get(v.id)) and t.restored < v.restore.count}
        if any(i.uid == uid and not restored.isdisjoint(i.volumes) for i in ordered):
            return True
        return any(c.uid == uid and self._is_asked_to_end(c) for c in self.containers.values())

    def _is_asked_to_end(self, seen: ContainerSeen) -> bool:
        """Whether somebody has asked for a restart since it was made."""
        ordered = self.page.order.instances if self.page is not None else ()
        return any(i.uid == seen.uid and seen.asked < i.restarts for i in ordered)

    def _guard_restart(self, uid: str) -> None:
        """Of those of one workload that somebody wants restarted, no two are down where that leaves nobody."""
        ordered = self.page.order.instances if self.page is not None else ()
        mine = next((i for i in ordered if i.uid == uid), None)
        if mine is None or self._is_leaving(uid) or not self._must_end(uid) or not self.may_be_well(uid):
            return
        mates = [i for i in ordered if i.workload_id == mine.workload_id and i.name != mine.name and i.may_serve]
        if not any(self.may_be_well(i.uid) for i in mates):
            down = [i.name for i in mates if self._goes_on_restarting(i)]
            assert not down, f"9: {mine.name} is started anew while {down[0]} is, and nobody else serves"

    def _goes_on_restarting(self, instance: InstanceOrder) -> bool:
        """Whether it was taken down for a restart a moment ago and has not come back."""
        if not instance.restarts or self._is_leaving(instance.uid):
            return False
        there = [c for c in self.containers.values() if c.uid == instance.uid]
        return all(
            c.state is ContainerState.CREATED
            or (c.state is ContainerState.RUNNING and self.now - (c.started_at or self.now) < SETTLES_S)
            for c in there
            if c.past.last is None or c.past.last.reason is Reason.RESTART_ASKED
        ) and not any(c.state is ContainerState.EXITED for c in there)

    def _is_leaving(self, uid: str) -> bool:
        assert self.page is not None
        return any(x.removal.uid == uid for x in self.page.leaving)

    def _uid_of(self, key: str) -> str:
        return next((uid for uid in {uid for uid, _ in self.containers} if short(uid) == key), key)

    def _guard_members(self, step: SetNextHops) -> None:
        """Invariant 11: who is well leaves a group only with its live flows pinned; 7: and never to leave users to
        those who are not. Once its prefix is withdrawn there are no users.
        """
        address, now = step.address, self.now
        away = {m.peer for m in step.members if m.peer is not None}
        for member in self.groups.get(address, ()):
            peer = member.peer
            held = peer is not None and (address, peer) not in self.idle
            if held and peer is not None and peer not in away and address in self.offers.get(peer, {}):
                since = self.lingers.get((address, peer), now)
                assert now >= since + LINGER_S, f"11: {peer} leaves {address} and its flows are lost"
        lingers = {(address, m.peer): now for m in step.members if m.peer is not None and m.weight == LINGER}
        others = {key: since for key, since in self.lingers.items() if key[0] != address}
        self.lingers = others | {key: self.lingers.get(key, now) for key in lingers}
        before = {m.short for m in self.groups.get(address, ()) if m.peer is None}
        after = {m.short for m in step.members if m.peer is None}
        well = {key for key in before | after if self.is_well(self._uid_of(key), address.version)}
        # whom its owner takes out of service, he cuts off
        well -= {short(i.uid) for i in (self.page.order.instances if self.page else ()) if not i.may_serve}
        assert (before - after) & well <= set(self.pins), (
            f"11: {before - after} leaves {step.address} and loses its flows"
        )
        left = any(self.may_be_well(self._uid_of(key)) for key in after)
        served = left or any(self._offers(address, peer) for peer in away) or not self._announces_for(address)
        assert served or not well & before, f"7: nobody who is left at {address} is well"

    def _guard_external(self, instance: InstanceOrder) -> None:
        """The same of external addresses: they leave one that is well when its flows are pinned, for one that is well
        too, or for good.
        """
        for address in instance.externals():
            key = self.external.get(ip_network(address), short(instance.uid))
            uid = self._uid_of(key)
            if uid != instance.uid and self.is_well(uid):
                assert key in self.pins or uid in self.let_go, f"11: {address} leaves {uid} and it loses its flows"
                assert self.may_be_well(instance.uid) or self._is_leaving(uid), (
                    f"7: {address} leaves {uid} for one that is not well"
                )

    def _announces(self, prefix: Prefix) -> bool:
        return self.speaker is not None and any(e.prefix == prefix for e in self.speaker.exports)

    def _announces_for(self, address: Address) -> bool:
        """Whether it is announced; not where its prefix goes on for others, and the order asks nothing of it."""
        assert self.page is not None
        told = self.page.order.announcements
        others = {a.prefix for a in told if a.scope.mode is Mode.ANNOUNCE and address not in a.gates}
        return self.speaker is not None and any(
            address.version == e.prefix.version and address in e.prefix and e.prefix not in others
            for e in self.speaker.exports
        )

    def led_by(self, address: Address) -> tuple[Member, ...]:
        return self.groups[address] if address in self.routed else ()

    def _drop(self, key: str) -> None:
        for there in self.newcomers.values():
            for slot in [slot for slot, m in there.items() if m.short == key]:
                del there[slot]  # with its next hop
        self.newcomers = {a: there for a, there in self.newcomers.items() if there}
        for address, members in list(self.groups.items()):
            left = tuple(m for m in members if m.short != key)
            # where hosts carry for each other the last one is left to the pass
            self._keep(address, left if left or self.tunnel is None or key not in self.links else members)
        for address, members in list(self.inbound.items()):
            self.inbound[address] = tuple(m for m in members if m.short != key)
            if not self.inbound[address]:
                del self.inbound[address]

    def _keep(self, address: Address, members: tuple[Member, ...]) -> None:
        if members:
            self.groups[address] = members
        else:
            self.groups.pop(address, None)
            self.routed.discard(address)

    def _is_own(self, address: Address) -> bool:
        """Whether an instance that has its link here has this private or external address."""
        known = (
            (*self.page.order.instances, *(x.instance for x in self.page.leaving if x.instance)) if self.page else ()
        )
        here = (a for i in known if self.links.get(short(i.uid)) for a in i.addresses())
        return any(address in (a.private, a.external) for a in here)

    def _offers(self, address: Address, peer: IPv4Address | None) -> bool:
        return peer is not None and self.offers.get(peer, {}).get(address, 0) > 0

    def _private_of(self, key: str) -> Address | None:
        assert self.page is not None
        known = [*self.page.order.instances, *(x.instance for x in self.page.leaving if x.instance)]
        return next((i.private(4) for i in known if short(i.uid) == key), None)

    def picture(self) -> dict[str, object]:
        """The world without times, ids and memories: two that are the same look the same."""
        ordered = {short(i.uid) for i in self.page.order.instances} if self.page else set()
        return {
            "containers": sorted((uid, name, str(c.state)) for (uid, name), c in self.containers.items()),
            "namespaces": sorted(self.namespaces), "links": sorted(self.links),
            "pins": sorted(set(self.pins) - ordered),
            "external": sorted((str(prefix), owner) for prefix, owner in self.external.items()),
            "covers": sorted(map(str, self.covers)),
            "groups": {str(a): self.groups[a] for a in sorted(self.routed, key=int)},
            "speaker": self.speaker, "firewall": self.firewall, "tunnel": self.tunnel, "guard": self.guard,
            "inbound": dict(self.inbound), "served": dict(self.served), "siblings": dict(self.siblings),
            "vpc": dict(self.vpc), "away": dict(self.away), "steers": self.steers,
        }  # fmt: skip


Choose = Callable[[int], int]


def first(_: int) -> int:
    return 0


def settle(
    host: FakeHost, *, choose: Choose = first, kill_after: frozenset[int] = frozenset(), limit: int = 400
) -> int:
    """Pass after pass until nothing is left to do and no time is waited for; lanes advance in any order. The number
    of steps taken.

    `kill_after`: counts of steps after which the agent is killed and a new one looks anew.
    """
    taken = 0
    for _ in range(limit):
        facts = host.facts()
        steps = converge(facts, host.now)
        host.memory = memory.taken(steps, host.memory, (), host.now)
        if not steps:
            due = next_due(facts, host.now)
            pending = [
                v for v in facts.observed.health.values() if v.healthy is None or v.reason is Reason.PROBE_PENDING
            ]
            if due is None and not pending:
                return taken
            host.now = due if due is not None and not pending else host.now + HEALTHY_AFTER_S
            continue
        lanes: dict[str, list[Step]] = {}
        for step in steps:
            lanes.setdefault(step.lane, []).append(step)
        while lanes:
            lane = sorted(lanes)[choose(len(lanes))]
            host.apply(lanes[lane].pop(0))
            if not lanes[lane]:
                del lanes[lane]
            taken += 1
            if taken in kill_after:
                host.kill()
                break
            if lanes and choose(4) == 3:
                break  # an event woke another pass meanwhile: the rest is decided anew
        host.now += 0.01
    raise AssertionError(f"does not settle; the last steps: {host.applied[-8:]}")
