"""From the order and what is really there to the next steps. Pure: no I/O, no clock, no memory of its own.

In: the order, `Observed`, the time. Out: steps that may be taken now, in lanes; none when the world is as ordered. What cannot be done
yet is not promised: it follows from a later look at the world. So the process may die after any step.

The order of things, up: namespace, link, container (all addresses are in place before its first instruction), firewall before start,
healthy, then next hop and route, then announcement. Down is the reverse: prefer less, withdraw, drain, route away, stop, remove,
unbind. Only an incarnation that stands under removal is ever taken down.
"""

from anypop.agent import announcing
from anypop.agent.firewalling import firewall_for
from anypop.agent.naming import short
from anypop.agent.observed import ContainerState, Leaving, Member, Observed
from anypop.agent.standing import (
    anycast_of,
    attracts,
    exports_now,
    has_remains,
    is_blocked,
    is_drained,
    is_running,
    is_serving,
    staying,
    wanted,
)
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
    image_lane,
)
from anypop.model.announce import Address, Prefix
from anypop.model.order import InstanceOrder, Order
from anypop.model.reasons import Reason

DRAIN_WEIGHT = 1
FULL_WEIGHT = 100  # a hundredth of the buckets: a draining hop keeps its busy buckets and gets hardly a new one


def converge(order: Order, observed: Observed, now: float) -> list[Step]:
    """The steps to take now. A lane that is busy, or rests after a failure, gets none."""
    steps: list[Step] = [*_router(order, observed, now)]
    for leaving in observed.leaving:
        steps += _take_down(leaving, order, observed, now)
    for instance in staying(order, observed):
        steps += _bring_up(instance, order, observed, now)
    rules = firewall_for(order, observed)
    if observed.firewall != rules:
        steps.append(SetFirewall(rules=rules))
    config = announcing.speaker_for(order, observed, now)
    if observed.speaker != config and observed.speaker_answers:
        steps.append(SetSpeaker(config=config))
    return [s for s in dict.fromkeys(steps) if s.lane not in observed.busy and not _rests(s.lane, observed, now)]


def next_due(order: Order, observed: Observed, now: float) -> float | None:
    """When `converge` could next say something else although nothing happens in the world; None: never."""
    times = [t.until for t in observed.trouble.values()]
    times += observed.restart_at.values()
    times += [since + order.decay_s for since in observed.graceful_since.values()]
    times += [since + order.drain_s for since in observed.draining_since.values()]
    return min((t for t in times if t > now), default=None)


def _rests(lane: str, observed: Observed, now: float) -> bool:
    trouble = observed.trouble.get(lane)
    return trouble is not None and now < trouble.until


def _router(order: Order, observed: Observed, now: float) -> list[Step]:
    steps: list[Step] = []
    if not observed.router_ready:
        steps.append(PrepareRouter())
    covers = covers_for(order, observed)
    steps += [SetCover(prefix=p) for p in sorted(covers - observed.covers, key=str)]
    steps += [RemoveCover(prefix=p) for p in sorted(observed.covers - covers, key=str)]
    known = {a for i in (*order.instances, *(x.instance for x in observed.leaving if x.instance)) for a in anycast_of(i)}
    for address in sorted(known | set(observed.balanced), key=lambda a: (a.version, int(a))):
        members = members_for(address, order, observed, now)
        if members and members != observed.balanced.get(address):
            steps.append(SetNextHops(address=address, members=members))
            if address not in observed.balanced:
                steps.append(SetRoute(address=address))
        elif not members and address in observed.balanced:
            steps.append(RemoveRoute(address=address))
    return steps


def covers_for(order: Order, observed: Observed) -> frozenset[Prefix]:
    """Prefixes below which nothing may ever be forwarded back to an upstream: all that we own here, and all that we still announce."""
    own: set[Prefix] = {order.private4, order.private6, order.external4, order.external6}
    own |= {prefix for prefix, _ in wanted(order)}
    own |= {prefix for prefix, _ in exports_now(observed)}
    return frozenset(own)


def members_for(address: Address, order: Order, observed: Observed, now: float) -> tuple[Member, ...]:
    """Who answers for an anycast address: those that serve, and those that drain.

    When nobody serves, the members that at least run stay, and while traffic comes in, those that answer and only cool down return (fail
    open): an answer of a doubtful instance is better than none, and whether the prefix should go is the governor's question.
    """
    here = [i for i in staying(order, observed) if address in anycast_of(i)]
    serving = {short(i.uid) for i in here if is_serving(i, address, observed)}
    if not serving:
        running = {short(i.uid): i.uid for i in here if is_running(i, observed) and observed.links.get(short(i.uid), False)}
        doubtful = {m.short for m in observed.balanced.get(address, ()) if m.short in running}
        doubtful |= {key for key, uid in running.items() if _cools_down(uid, observed)}
        serving = doubtful if attracts(address, order, observed) else doubtful & {m.short for m in observed.balanced.get(address, ())}
    draining = set()
    now_members = {m.short for m in observed.balanced.get(address, ())}
    for leaving in observed.leaving:
        key = short(leaving.removal.uid)
        alive = any(c.state is ContainerState.RUNNING for c in observed.containers_of(leaving.removal.uid))
        alive = alive and observed.links.get(key, False)
        if key in now_members and alive and not is_drained(leaving, order, observed, now):
            draining.add(key)
    # while nobody else serves, those that leave carry on in full
    weights = dict.fromkeys(draining, DRAIN_WEIGHT if serving else FULL_WEIGHT) | dict.fromkeys(serving, FULL_WEIGHT)
    return tuple(Member(short=key, weight=weight) for key, weight in sorted(weights.items()))


def _cools_down(uid: str, observed: Observed) -> bool:
    verdict = observed.health.get(uid)
    return verdict is not None and verdict.reason is Reason.FLAP_COOLDOWN


def _bring_up(instance: InstanceOrder, order: Order, observed: Observed, now: float) -> list[Step]:
    if is_blocked(instance, observed):
        return []
    lane, uid, key = str(instance.name), instance.uid, short(instance.uid)
    seen = {c.container: c for c in observed.containers_of(uid)}
    steps: list[Step] = []
    if key not in observed.namespaces:
        # whatever still runs lives in a namespace that has lost its name and can never be wired again
        steps += [StopContainer(uid=uid, container=c.container, lane=lane) for c in seen.values() if c.state is ContainerState.RUNNING]
        steps.append(MakeNamespace(uid=uid, lane=lane))
    if not observed.links.get(key, False) or key not in observed.namespaces:
        steps += [AddLink(instance=instance, lane=lane), SetExternal(instance=instance, lane=lane)]
    elif sum(owner == key for owner in observed.external.values()) < 2:  # one for each family
        steps.append(SetExternal(instance=instance, lane=lane))
    missing = [c.image for c in instance.containers if c.name not in seen and _needs_pull(c.image, uid, observed)]
    if missing:
        return [*steps, *(PullImage(image=image, lane=image_lane(image)) for image in dict.fromkeys(missing))]
    guarded = observed.firewall == firewall_for(order, observed)
    for container in instance.containers:
        there = seen.get(container.name)
        start = StartContainer(uid=uid, container=container.name, lane=lane)
        if there is None:
            steps.append(CreateContainer(instance=instance, container=container, lane=lane))
        elif there.state is ContainerState.RUNNING:
            if (uid, container.name) in observed.liveness_failed:
                steps.append(StopContainer(uid=uid, container=container.name, lane=lane))
            continue
        if guarded and now >= observed.restart_at.get((uid, container.name), 0):
            steps.append(start)
    return steps


def _needs_pull(image: str, uid: str, observed: Observed) -> bool:
    return image not in observed.images or (uid, image) in observed.stale_images


def _take_down(leaving: Leaving, order: Order, observed: Observed, now: float) -> list[Step]:
    uid, lane = leaving.removal.uid, str(leaving.removal.name)
    if not has_remains(uid, observed):
        return []
    if not is_drained(leaving, order, observed, now):
        if uid in observed.draining_since or announcing.holds(leaving, order, observed):
            return []
        return [BeginDrain(uid=uid, name=leaving.removal.name, lane=lane)]
    key = short(uid)
    if any(m.short == key for members in observed.balanced.values() for m in members):
        return []  # the router lane takes it out of its groups first
    steps: list[Step] = [RemoveExternal(prefix=p, lane=lane) for p, owner in sorted(observed.external.items(), key=str) if owner == key]
    for container in observed.containers_of(uid):
        if container.state is ContainerState.RUNNING:
            steps.append(StopContainer(uid=uid, container=container.container, lane=lane))
        steps.append(RemoveContainer(uid=uid, container=container.container, lane=lane))
    if key in observed.namespaces or key in observed.links:
        steps.append(DeleteNamespace(uid=uid, lane=lane))
    return steps
