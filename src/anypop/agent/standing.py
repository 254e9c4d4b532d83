"""What holds of an instance or a prefix here and now: predicates over (order, observed), shared by `converge` and `report`.

Pure. Each answers one question in one place, so that what is done and what is said about it cannot differ.
"""

from anypop.agent.naming import short
from anypop.agent.observed import ContainerState, Export, Leaving, Observed
from anypop.model.announce import Address, Announcement, Mode, Prefix
from anypop.model.order import Grant, InstanceOrder, Order


def anycast_of(instance: InstanceOrder) -> tuple[Address, ...]:
    return instance.anycast


def is_running(instance: InstanceOrder, observed: Observed) -> bool:
    """Every container of it runs."""
    up = {c.container for c in observed.containers_of(instance.uid) if c.state is ContainerState.RUNNING}
    return all(c.name in up for c in instance.containers)


def is_member(uid: str, address: Address, observed: Observed) -> bool:
    return any(m.short == short(uid) for m in observed.balanced.get(address, ()))


def is_serving(instance: InstanceOrder, address: Address, observed: Observed) -> bool:
    """Whether it should get the traffic of `address`: it runs and is healthy.

    Health that is not known yet changes nothing: a member stays one (the agent has just restarted), a newcomer waits.
    """
    if not is_running(instance, observed) or not observed.links.get(short(instance.uid), False):
        return False
    verdict = observed.health.get(instance.uid)
    if verdict is None or verdict.healthy is None:
        return is_member(instance.uid, address, observed)
    return verdict.healthy


def staying(order: Order, observed: Observed) -> list[InstanceOrder]:
    """The instances of the order that nobody asked to remove."""
    going = {leaving.removal.uid for leaving in observed.leaving}
    return [i for i in order.instances if i.uid not in going]


def has_remains(uid: str, observed: Observed) -> bool:
    """Whether anything of this incarnation is still in the world."""
    key = short(uid)
    return (
        bool(observed.containers_of(uid)) or key in observed.namespaces or key in observed.links
        or any(key == owner for owner in observed.external.values()) or any(m.short == key for ms in observed.balanced.values() for m in ms)
    )  # fmt: skip


def is_blocked(instance: InstanceOrder, observed: Observed) -> bool:
    """Whether an earlier incarnation still holds the name or an address that this one needs."""
    for leaving in observed.leaving:
        known = {a.private for a in leaving.instance.addresses()} if leaving.instance is not None else set()
        same = leaving.removal.name == instance.name or not known.isdisjoint(a.private for a in instance.addresses())
        if same and has_remains(leaving.removal.uid, observed):
            return True
    return False


def covering(address: Address, prefix: Prefix) -> bool:
    return address.version == prefix.version and address in prefix


def gates_of(prefix: Prefix, order: Order) -> frozenset[Address]:
    """The anycast addresses that must work here for `prefix` to be announced."""
    return frozenset(g for a in order.announcements if a.prefix == prefix for g in a.gates)


def wanted(order: Order) -> dict[tuple[Prefix, str], Announcement]:
    """The announcements that the order asks for, by prefix and upstream."""
    known = {u.name for u in order.upstreams}
    return {(a.prefix, a.upstream): a for a in order.announcements if a.scope.mode is Mode.ANNOUNCE and a.upstream in known}


def gate_is_open(gate: Address, order: Order, observed: Observed) -> bool:
    """The gate's route is in the kernel, and behind it is an instance that serves and stays."""
    here = [i for i in staying(order, observed) if gate in anycast_of(i)]
    return any(is_member(i.uid, gate, observed) and is_serving(i, gate, observed) for i in here)


def is_ready(prefix: Prefix, order: Order, observed: Observed) -> bool:
    """Whether the kernel and the instances are fit for the prefix's traffic."""
    return prefix in observed.covers and all(gate_is_open(g, order, observed) for g in gates_of(prefix, order))


def is_abandoned(prefix: Prefix, order: Order, observed: Observed) -> bool:
    """Whether a gate has no instance left that could ever open it, other than those under removal: the prefix goes on purpose."""
    able = {g for i in staying(order, observed) if not is_blocked(i, observed) for g in anycast_of(i)}
    return any(g not in able for g in gates_of(prefix, order))


def grant_for(prefix: Prefix, order: Order) -> Grant | None:
    return next((g for g in order.grants if g.prefix == prefix), None)


def exports_now(observed: Observed) -> dict[tuple[Prefix, str], Export]:
    """What the speaker that runs is configured to announce. One that died and is about to be started anew goes on where it was: its death
    must not withdraw what only the governor may.
    """
    speaker = observed.speaker or observed.fallen
    return {(e.prefix, e.upstream): e for e in speaker.exports} if speaker else {}


def attracts(address: Address, order: Order, observed: Observed) -> bool:
    """Whether an announcement of ours draws traffic to `address` that somebody here must answer.

    A prefix that goes on for other addresses does not count for one that the order no longer names as a gate: withdrawing it would hurt
    them.
    """
    goes_on = {prefix for prefix, _ in wanted(order)}
    for prefix, _ in exports_now(observed):
        if covering(address, prefix) and not (prefix in goes_on and address not in gates_of(prefix, order)):
            return True
    return False


def is_needed(leaving: Leaving, order: Order, observed: Observed) -> bool:
    """Whether an instance under removal must go on, since its address is announced and nobody else here answers for it."""
    key = short(leaving.removal.uid)
    for address, members in observed.balanced.items():
        if any(m.short == key for m in members) and attracts(address, order, observed) and not gate_is_open(address, order, observed):
            return True
    return False


def is_drained(leaving: Leaving, order: Order, observed: Observed, now: float) -> bool:
    """Whether it may be taken away: not needed, and its drain time is over (nothing that never ran needs to drain)."""
    if is_needed(leaving, order, observed):
        return False
    uid = leaving.removal.uid
    if not any(c.state is ContainerState.RUNNING for c in observed.containers_of(uid)):
        return True
    since = observed.draining_since.get(uid)
    return since is not None and now >= since + order.drain_s
