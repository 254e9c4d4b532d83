"""The lives of an instance's containers: which must end, which may begin, and how one ends. Pure.

In: an instance, `Facts`. Out: the steps that end containers, and the containers that may be made and started now. Init
containers end with exit code 0, one after the other, before the others begin, and again when somebody asked that the
instance be started anew. Where processes are shared, the first container holds them all: it begins first, and when it
ends the others go before it is made again.
"""

from collections.abc import Iterable, Mapping

from anypop.agent.decide.elements import ContainerSeen, ContainerState
from anypop.agent.decide.facts import Facts
from anypop.agent.decide.restarts import waits_for
from anypop.agent.decide.steps import (
    PowerOff,
    RemoveContainer,
    RunHook,
    Step,
    Stop,
    StopContainers,
    hook_lane,
    instance_lane,
)
from anypop.model.announce import Address
from anypop.model.machine import Power
from anypop.model.names import InstanceName
from anypop.model.order import InstanceOrder
from anypop.model.workload import Container

GUEST_GRACE_S = 30  # of a virtual machine whose workload says nothing of it: a guest that shuts down writes its disks
HOOKED_GRACE_S = 30  # where a preStop hook is declared and no grace period: what Kubernetes gives


def first(instance: InstanceOrder) -> Container | None:
    """The container that holds the processes of all; None: they share none."""
    shares = instance.payload.shared_processes and len(instance.containers) > 1
    return instance.containers[0] if shares else None


def stale(instance: InstanceOrder, facts: Facts, now: float) -> list[Step]:
    """The end of all that must end before anything else is done."""
    there = facts.containers_of(instance.uid)
    if instance.machine is not None and (off := _powered_off(instance, facts)):
        return off
    if not instance.may_serve:
        return []  # its owner has it in hand: no probe ends it
    restarts_now = waits_for(instance, facts, now) is None
    ending = [seen for seen in there.values() if _must_end(seen, instance, facts, restarts_now)]
    owner = first(instance)
    if owner is not None:
        holder = there.get(owner.name)
        if holder is None or holder.state is not ContainerState.RUNNING or holder in ending:
            main = {c.name for c in instance.containers}
            lost = [s for name, s in there.items() if name in main and name != owner.name and s not in ending]
            ending += lost
    return ended(ending, instance.name, instance.uid, instance, again=True) if ending else []


def _powered_off(instance: InstanceOrder, facts: Facts) -> list[Step]:
    """The end of a machine that is to be off, or to run with another disk first: one that lost its own for that, or
    because it ended while it was mended, would have lost what it was mended for.
    """
    wanted = instance.rescued_by
    grace_s = GUEST_GRACE_S if instance.payload.grace_s is None else instance.payload.grace_s
    return [
        PowerOff(
            uid=instance.uid, container=seen.container, grace_s=grace_s,
            lane=instance_lane(instance.name, instance.uid),
        )
        for seen in facts.containers_of(instance.uid).values()
        if seen.state is not ContainerState.CREATED
        and not seen.moves
        and (
            instance.power is Power.OFF
            or seen.rescue != wanted
            or (seen.state is ContainerState.EXITED and bool(wanted))
        )
    ]  # fmt: skip


def next_ones(instance: InstanceOrder, facts: Facts) -> tuple[Container, ...]:
    """Those that are to be there now."""
    there = facts.containers_of(instance.uid)
    if not any(c.name in there for c in instance.containers):
        for container in instance.init:
            seen = there.get(container.name)
            if seen is None or not seen.has_completed:
                return (container,)
    owner = first(instance)
    if owner is not None and not runs(there, owner):
        return (owner,)
    return instance.containers


def runs(there: Mapping[str, ContainerSeen], container: Container) -> bool:
    seen = there.get(container.name)
    return seen is not None and seen.state is ContainerState.RUNNING


def hook_of(instance: InstanceOrder, container: Container, seen: ContainerSeen, facts: Facts) -> list[Step]:
    """The hook of a process that has begun, where it has not been run in this life."""
    memory = facts.observed.memory
    if container.post_start is None or not seen.id or seen.id in memory.hooked or seen.id in memory.hook_failed:
        return []
    lane = hook_lane(instance.name, instance.uid, container.name)
    return [
        RunHook(
            uid=instance.uid, container=container.name, id=seen.id, hook=container.post_start,
            address=_private(instance), lane=lane,
        )
    ]  # fmt: skip


def ended(
    ending: Iterable[ContainerSeen], name: InstanceName, uid: str, instance: InstanceOrder | None, *, again: bool
) -> list[Step]:
    """From running, or not, to gone: hooks and the time to end where they are declared, all at once, and then the
    removal, of the one that holds the processes last. `instance` None: nothing is known of it any more.
    """
    lane = instance_lane(name, uid)
    places = {c.name: n for n, c in enumerate(instance.every_container)} if instance is not None else {}
    in_turn = sorted(ending, key=lambda seen: -places.get(seen.container, 0))
    removals: list[Step] = [
        RemoveContainer(uid=uid, container=seen.container, again=seen.id if again else "", lane=lane)
        for seen in in_turn
    ]
    if instance is None:
        return removals
    hooks = {c.name: c.pre_stop for c in instance.containers}
    stops = tuple(
        Stop(container=seen.container, hook=hooks.get(seen.container))
        for seen in in_turn
        if seen.state is ContainerState.RUNNING
    )
    grace_s = instance.payload.grace_s
    if grace_s is None and instance.machine is not None:
        grace_s = GUEST_GRACE_S
    if not stops or (grace_s is None and not any(stop.hook for stop in stops)):
        return removals
    stop = StopContainers(
        uid=uid, stops=stops, address=_private(instance), grace_s=HOOKED_GRACE_S if grace_s is None else grace_s,
        lane=lane,
    )  # fmt: skip
    return [stop, *removals]


def _must_end(seen: ContainerSeen, instance: InstanceOrder, facts: Facts, restarts_now: bool) -> bool:
    asked = seen.asked < instance.restarts and restarts_now
    match seen.state:
        case ContainerState.RUNNING:
            failed = seen.key in facts.observed.liveness_failed or seen.id in facts.observed.memory.hook_failed
            return asked or failed or seen.id in facts.observed.overfull
        case ContainerState.CREATED:
            return asked
        case ContainerState.EXITED:
            return asked and bool(instance.init)  # all are gone before the first of them begins anew


def _private(instance: InstanceOrder) -> Address:
    return next(instance.addresses()).private
