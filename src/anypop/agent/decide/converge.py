"""From what was ordered and what is really there to the next steps. Pure: no I/O, no clock, no memory of its own.

In: `Facts` of the order and of what was observed, the time. Out: steps that may be taken now, in lanes; none when the
world is as ordered. What cannot be done yet is not promised: it follows from a later look at the world. So the
process may die after any step.

The order of things, up: namespace, link, container (all addresses are in place before its first instruction),
firewall before start, healthy, then next hop and route, then announcement. Down is the reverse: prefer less,
withdraw, drain, route away, stop and remove, unbind. Only an incarnation that stands under removal is ever taken
down.
"""

from anypop.agent.decide import dials, lives, moves, newcomers, restarts, returning, volumes
from anypop.agent.decide.announcements import speaker_for
from anypop.agent.decide.backbone import LINGER_LOOKS_S
from anypop.agent.decide.covers import covers_for
from anypop.agent.decide.elements import NO_PAST, ContainerSeen, ContainerState, Entry, Leaving, Member
from anypop.agent.decide.facts import Facts
from anypop.agent.decide.images import may_use, unneeded
from anypop.agent.decide.inside import inside_for
from anypop.agent.decide.repeats import rested
from anypop.agent.decide.siblings import network_of
from anypop.agent.decide.steps import (
    AddLink,
    BeginDrain,
    CreateContainer,
    DeleteNamespace,
    DetachVolumes,
    DropImage,
    EndDrain,
    FitLink,
    GroupLink,
    MakeNamespace,
    NameNamespace,
    PrepareRouter,
    PullImage,
    RemoveContainer,
    RemoveCover,
    RemoveExternal,
    RemoveRoute,
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
    Tell,
    image_lane,
    inside_lane,
    instance_lane,
    puller_of,
)
from anypop.agent.decide.traffic import (
    AGREED_S,
    LOOK_S,
    beside,
    inbound_for,
    is_drained,
    may_move,
    members_for,
    must_drain,
    told_for,
)
from anypop.agent.naming import device_group_of, short
from anypop.model.announce import Address
from anypop.model.machine import Power
from anypop.model.order import InstanceOrder
from anypop.model.workload import Container

# the runtime tells how a process ended some 0.1 s after its end; a report without that is better than no restart
EXIT_KNOWN_S = 2.0


def converge(facts: Facts, now: float) -> list[Step]:
    """The steps to take now. A lane that is busy, or rests after a failure, gets none; nor does one that is asked again
    for what changed nothing.
    """
    memory, busy = facts.observed.memory, facts.observed.busy
    steps: list[Step] = [*_router(facts, now)]
    steps += _drains(facts)
    for leaving in facts.remains:
        steps += _take_down(leaving, facts, now)
    for instance in facts.staying:
        steps += _bring_up(instance, facts, now)
    steps += _links(facts)
    if not facts.is_guarded:
        steps.append(SetFirewall(rules=facts.firewall, before=memory.firewall))
    # the guard goes last: no device is there without
    if (not memory.guard_known or memory.guard != facts.guard) and (facts.guard or facts.observed.tunnel is None):
        steps.append(SetGuard(rules=facts.guard, before=memory.guard))
    steers = dials.steers_for(facts, now)
    if memory.steers != steers:
        steps.append(SetSteering(steers=steers))
    joinings = newcomers.joinings_for(facts, now, steps)
    if memory.joinings != joinings:
        steps.append(SetJoinings(joinings=joinings))
    if facts.gateway_ways != facts.observed.gateways:
        steps.append(SetGateways(ways=facts.gateway_ways))
    if not facts.leads_errors:
        steps.append(SetErrorWays(ways=facts.error_ways))
    steps += _images(facts, now)
    steps += volumes.upkeep(facts)
    config = speaker_for(facts, now)
    if facts.observed.speaker != config and facts.observed.speaker_answers:
        steps.append(SetSpeaker(config=config))
    resting = {lane for lane, trouble in memory.trouble.items() if now < trouble.until}
    free = [s for s in dict.fromkeys(steps) if s.lane not in busy and s.lane not in resting]
    return rested(free, memory.asked, now)


def next_due(facts: Facts, now: float) -> float | None:
    """When `converge` could next say something else although nothing happens in the world; None: never."""
    memory, order = facts.observed.memory, facts.order
    times = [t.until for t in memory.trouble.values()]
    times += [last.until for last in memory.asked.values()]
    for ended in memory.restarts.values():
        times += [ended.at, ended.at + EXIT_KNOWN_S]
    times += [since + order.decay_s for since in memory.graceful_since.values()]
    times += [since + order.drain_s for since in memory.draining_since.values()]
    if facts.tunnel is not None:
        times += [since + AGREED_S for since in memory.draining_since.values()]
    times += [u.until for u in memory.uplinks.values() if u.up and u.hold_s]
    times += [since + after for since in memory.lingering.values() for after in LINGER_LOOKS_S]
    times += returning.due(facts)
    times += [since + _kept_s(facts) for since in memory.idle_images.values()]
    times += newcomers.due(facts, now)
    times += restarts.due(facts)
    times += moves.due(facts)
    times += [since + dials.LEARN_S for since in memory.steered_since.values()]
    if any(facts.observed.live.values()):
        times.append(now + LOOK_S)
    return min((t for t in times if t > now), default=None)


def _router(facts: Facts, now: float) -> list[Step]:
    seen = facts.observed
    steps: list[Step] = []
    if not seen.memory.router_ready:
        interfaces = tuple(u.interface for u in facts.order.upstreams)
        steps.append(PrepareRouter(interfaces=interfaces, management=facts.order.management))
    covers = covers_for(facts)
    steps += [SetCover(prefix=p) for p in sorted(covers - seen.covers, key=str)]
    steps += [RemoveCover(prefix=p) for p in sorted(seen.covers - covers, key=str)]
    if not facts.is_tunnelled and (facts.tunnel is None or facts.is_tunnel_guarded):
        steps.append(SetTunnel(tunnel=facts.tunnel))
    known = {a for i in facts.known.values() for a in i.anycast}
    away = set(facts.carriers.dialled(known | set(facts.carriers.addresses))) | set(seen.away)
    takers = {address: dials.away_for(address, facts, now) for address in away}
    for address in _sorted(known | set(seen.balanced) | set(facts.carriers.held) | set(seen.newcomers)):
        wanted = members_for(address, facts, now)
        steps += _group(address, wanted, facts)
        steps += newcomers.ways(address, (*wanted, *takers.get(address, ())), facts)
    for address in _sorted(away):
        steps += _group(address, takers[address], facts, entry=Entry.AWAY)
    inbound = (known if facts.tunnel is not None else set()) | set(seen.inbound) | set(seen.served)
    for address in _sorted(inbound - facts.own_told.keys()):
        steps += _inbound(address, facts, now)
    return [*steps, *_siblings(facts)]


def _siblings(facts: Facts) -> list[Step]:
    """What is told of the own addresses of instances here, and the ways to those of their siblings elsewhere."""
    seen, told, wanted = facts.observed, facts.own_told, facts.siblings
    steps: list[Step] = [Tell(address=a, count=told[a]) for a in _sorted(set(told)) if seen.served.get(a) != told[a]]
    source = facts.tunnel.own if facts.tunnel is not None else None
    for address in _sorted(set(wanted) | set(seen.siblings)):
        peer = wanted[address].peer if address in wanted else None
        if seen.siblings.get(address) != peer:
            steps.append(SetSibling(address=address, peer=peer, source=source))
    return steps


def _sorted(addresses: set[Address]) -> list[Address]:
    return sorted(addresses, key=lambda a: (a.version, int(a))) if len(addresses) > 1 else [*addresses]


def _group(address: Address, members: tuple[Member, ...], facts: Facts, *, entry: Entry = Entry.CLIENTS) -> list[Step]:
    """From the members that there are to those that should be."""
    seen = facts.observed
    there = {Entry.CLIENTS: seen.balanced, Entry.TUNNEL: seen.inbound, Entry.AWAY: seen.away}[entry]
    if not members:
        return [RemoveRoute(address=address, entry=entry)] if address in there else []
    if members == there.get(address):
        return []
    known = ((m.short, facts.known[m.short].private(address.version)) for m in members if m.short in facts.known)
    gateways = tuple((key, private) for key, private in known if private is not None)
    away = sum(m.peer is not None for m in members)
    set_hops = SetNextHops(
        address=address, members=members, gateways=gateways, entry=entry,
        expected=len(facts.behind.get(address, ())) + away, source=facts.tunnel.own if facts.tunnel and away else None,
    )  # fmt: skip
    return [set_hops, *([SetRoute(address=address, entry=entry)] if address not in there else [])]


def _inbound(address: Address, facts: Facts, now: float) -> list[Step]:
    """The way of what comes by the tunnel, and then what other hosts are told: never before there is a way, and no
    longer than there is somebody to answer.
    """
    told, there = told_for(address, facts, now), facts.observed.served.get(address)
    tell: list[Step] = [Tell(address=address, count=told)] if told != there else []
    way = _group(address, inbound_for(address, facts), facts, entry=Entry.TUNNEL)
    return [*tell, *way]


def _links(facts: Facts) -> list[Step]:
    """What links that stand lack: an older version made them otherwise, or somebody has changed them."""
    seen, steps = facts.observed, list[Step]()
    for key, instance in facts.known.items():
        if not seen.links.get(key):
            continue
        if seen.groups.get(key) != (group := device_group_of(instance.domain)):
            steps.append(GroupLink(uid=instance.uid, group=group))
        if instance.uid in seen.memory.unfit:
            steps.append(FitLink(instance=instance, lane=instance_lane(instance.name, instance.uid)))
    return steps


def _bring_up(instance: InstanceOrder, facts: Facts, now: float) -> list[Step]:
    if facts.is_blocked(instance):
        return []
    uid, key, lane = instance.uid, short(instance.uid), instance_lane(instance.name, instance.uid)
    there = facts.containers_of(uid)
    steps: list[Step] = []
    named = key in facts.observed.namespaces
    if not named and (pid := _lives_unnamed(instance, facts)):
        # it serves all the while: nothing of it has to go for a name
        steps.append(NameNamespace(uid=uid, pid=pid, lane=lane))
        named = True
    if not named:
        # whatever still lives in a namespace that has lost its name and its link can never be wired again
        lost = {name for name, seen in there.items() if _goes_with_its_namespace(instance, seen)}
        steps += [RemoveContainer(uid=uid, container=name, lane=lane) for name in there if name in lost]
        there = {name: seen for name, seen in there.items() if name not in lost}
        steps.append(MakeNamespace(uid=uid, lane=lane))
    if not named or not facts.is_wired(uid):
        steps.append(AddLink(instance=instance, lane=lane))
    elif instance.machine is None and facts.observed.memory.inside.get(uid) != (inside := inside_for(instance)):
        # of a virtual machine that is the guest's own, who is told of it;
        # beside the rest: its application need not wait for it
        steps.append(SetInside(uid=uid, inside=inside, lane=inside_lane(instance.name, uid)))
    lacking = facts.misled.get(uid, ())
    if lacking and facts.is_front(instance) and all(may_move(prefix, facts, now) for prefix in lacking):
        steps.append(SetExternal(instance=instance, lane=lane))
    inner = [a.vpc for link in instance.links for a in link.addresses if a.vpc is not None]
    if inner and any(facts.observed.vpc.get(network_of(address)) != key for address in inner):
        steps.append(SetVpc(instance=instance, lane=lane))
    if (rescue := instance.rescue) is not None and rescue.id not in facts.observed.memory.images:
        return [*steps, PullImage(image=rescue.id, machine=rescue, lane=image_lane(rescue.id))]
    goes = moves.rests(instance, facts)
    if goes is None and there and (ending := lives.stale(instance, facts, now)):
        return [*steps, *ending]
    if goes is None and instance.power is Power.OFF:
        return steps
    pulls = [
        pull for c in instance.every_container if c.name not in there and (pull := missing_image(c, instance, facts))
    ]
    if pulls:
        return [*steps, *pulls]
    if goes is not None:
        return [*steps, *goes]
    before, may = volumes.may_have_containers(instance, facts)
    steps += before
    if not may:
        return steps
    for container in lives.next_ones(instance, facts):
        steps += _container_steps(instance, container, there.get(container.name), facts, now)
    return steps


def _goes_with_its_namespace(instance: InstanceOrder, seen: ContainerSeen) -> bool:
    """A virtual machine that does not run holds nothing of the old one, and its disk is not to go: it may be off, or
    being mended.
    """
    return instance.machine is None or seen.state is ContainerState.RUNNING


def _lives_unnamed(instance: InstanceOrder, facts: Facts) -> int | None:
    """A process in the namespace of an instance that runs with its link; None as well where naming that has failed."""
    failed = facts.observed.memory.failures.get(instance_lane(instance.name, instance.uid), 0)
    if failed or instance.uid not in facts.running or not facts.is_wired(instance.uid):
        return None
    return next((c.pid for c in facts.containers_of(instance.uid).values() if c.pid), None)


def _container_steps(
    instance: InstanceOrder, container: Container, there: ContainerSeen | None, facts: Facts, now: float
) -> list[Step]:
    moving = moves.step_of(instance, container, there, facts, now)
    if moving is not None:
        return moving
    if there is not None and there.state is ContainerState.RUNNING:
        return lives.hook_of(instance, container, there, facts)
    memory, key, lane = (
        facts.observed.memory,
        (instance.uid, container.name),
        instance_lane(instance.name, instance.uid),
    )
    generation, past = facts.order.generation, memory.pasts.get(key, NO_PAST)
    create = CreateContainer(
        instance=instance, container=container, generation=generation, past=past, rules=facts.order.rules, lane=lane
    )
    last = there.id if there is not None else ""
    remove = RemoveContainer(uid=instance.uid, container=container.name, again=last, lane=lane)
    due = memory.restart_at(key)
    rescued = instance if instance.rescue is not None else None
    start: list[Step] = (
        [StartContainer(uid=instance.uid, container=container.name, rescue=rescued, lane=lane)]
        if facts.is_guarded and now >= due
        else []
    )
    if there is None:
        return [create, *start]
    if there.moves:  # what is left of it: another one begins
        return [remove, create, *start]
    if there.state is ContainerState.CREATED:
        return [*start]
    # it ended: its disk is ephemeral, so a fresh one takes its place
    is_told = there.exit_code is not None or now >= due + EXIT_KNOWN_S
    return [remove, create, *start] if now >= due and is_told else []


def missing_image(container: Container, instance: InstanceOrder, facts: Facts) -> PullImage | None:
    """The step that is missing before a container of this image can be made for this incarnation."""
    memory, image = facts.observed.memory, container.image_key
    whose, login = puller_of(instance, container)
    anew = container.always_pull and memory.images.get(image, 0) < memory.ordered_at.get(instance.uid, 0)
    anew = anew or not may_use(memory.book, image, whose)
    if not anew and image in memory.images:
        return None
    registries, lane = facts.order.rules.registries, image_lane(image, whose)
    machine = container.machine.image if container.machine is not None else None
    return PullImage(
        image=image, anew=anew, registries=registries, whose=whose, login=login, machine=machine, lane=lane
    )  # fmt: skip


def _images(facts: Facts, now: float) -> list[Step]:
    """Images that nobody has needed for a while; where the disk is nearly full, at once."""
    since, kept_s = facts.observed.memory.idle_images, 0.0 if facts.observed.disk_is_short else _kept_s(facts)
    gone = [image for image in idle_images(facts) if now >= since.get(image, now) + kept_s]
    return [DropImage(image=image, lane=image_lane(image)) for image in gone]


def _kept_s(facts: Facts) -> float:
    return facts.order.rules.images_kept_s


def idle_images(facts: Facts) -> list[str]:
    """Images that nobody needs now."""
    memory = facts.observed.memory
    if not memory.book.fetched:
        return []
    ids = {c.image for c in facts.observed.containers} | {past.image for past in memory.pasts.values()}
    leaving = (x.instance for x in facts.remains if x.instance is not None)
    return unneeded(memory.book, (*facts.order.instances, *leaving), ids)


def _drains(facts: Facts) -> list[Step]:
    """Pins that are to be made, and those that nobody needs any more."""
    steps: list[Step] = []
    for one in must_drain(facts):
        instance, name, uid = (
            (one, one.name, one.uid)
            if isinstance(one, InstanceOrder)
            else (one.instance, one.removal.name, one.removal.uid)
        )
        lane, others = instance_lane(name, uid), beside(instance, facts)
        guest = instance is not None and instance.machine is not None
        steps.append(BeginDrain(uid=uid, behind=_behind(instance), beside=others, guest=guest, lane=lane))
    for key in facts.observed.pins:
        here = facts.known.get(key)
        if here is None and key not in facts.going_shorts and key not in facts.observed.links:
            steps.append(EndDrain(uid=key, lane=f"drain {key}"))
        elif here is not None and here.uid not in facts.going and not _has_rival(here, facts):
            steps.append(EndDrain(uid=here.uid, lane=instance_lane(here.name, here.uid)))
    return steps


def _has_rival(instance: InstanceOrder, facts: Facts) -> bool:
    """Whether another incarnation of its slot is ordered or still there: while there is, addresses may move again at
    any moment, and what is pinned stays pinned.
    """
    return len(facts.lives[instance.name]) > 1 or any(x.removal.name == instance.name for x in facts.remains)


def _behind(instance: InstanceOrder | None) -> tuple[tuple[Address, Address], ...]:
    """Its external and anycast addresses, each with the private one that they are behind."""
    if instance is None:
        return ()
    external = [(a.external, a.private) for a in instance.addresses() if a.external is not None]
    others = (*instance.beside, *instance.anycast)
    return (*external, *((a, private) for a in others if (private := instance.private(a.version)) is not None))


def _take_down(leaving: Leaving, facts: Facts, now: float) -> list[Step]:
    uid, name = leaving.removal.uid, leaving.removal.name
    lane, key = instance_lane(name, uid), short(uid)
    if not is_drained(leaving, facts, now):
        return []
    if key in facts.memberships:
        return []  # the router lane takes it out of its groups first
    routes = facts.external.get(key, ())
    heirs = (facts.external_owners.get(prefix) for prefix in routes)
    if any(heir is not None and facts.is_wired(heir.uid) for heir in heirs):
        return []  # who follows takes the route over
    if key in facts.observed.pins and facts.has_process(uid):
        # a connection request that found a full queue here is sent again: it must not find a closed port
        return [EndDrain(uid=uid, drained=True, lane=lane)]
    ends = lives.ended(facts.containers_of(uid).values(), name, uid, leaving.instance, again=False)
    # whoever says good-bye may still reach others, and be answered
    stop = [step for step in ends if isinstance(step, StopContainers)]
    steps: list[Step] = [*stop, *(RemoveExternal(prefix=p, lane=lane) for p in routes)]
    steps += [step for step in ends if not isinstance(step, StopContainers)]
    if key in facts.observed.volumes.mounted:
        steps.append(DetachVolumes(uid=uid, lane=lane))
    if key in facts.observed.namespaces or key in facts.observed.links:
        steps.append(DeleteNamespace(uid=uid, lane=lane))
    if key in facts.observed.pins:
        steps.append(EndDrain(uid=uid, lane=lane))
    return steps
