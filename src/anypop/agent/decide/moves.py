"""A virtual machine that changes hosts while it runs, or whose root disk does while it is off, as either host sees it.
Pure.

In: an instance that is to move, or that was to, `Facts`. Out: the step that sends it; or that nothing is to be done,
since it is the other host's, or is to come from there; or that its life here goes on as of any other. A guest that has
not come in time is begun here; a disk that has not is waited for, as long as the order says so.
"""

from anypop.agent.decide.elements import ContainerSeen, ContainerState
from anypop.agent.decide.facts import Facts
from anypop.agent.decide.steps import SendMachine, Step, instance_lane
from anypop.model.machine import Power
from anypop.model.names import HostName
from anypop.model.order import InstanceOrder, Move
from anypop.model.report import Phase
from anypop.model.workload import Container

ASKED_S = 15.0
"""So long a host that could take a guest in waits for the first word of it: where the other one cannot send it, nobody
tells."""
COMES_S = 120.0
"""By then it has come. More than the sender gives itself, and the time before its first try."""


def step_of(
    instance: InstanceOrder, container: Container, there: ContainerSeen | None, facts: Facts, now: float
) -> list[Step] | None:
    """None: as if nobody had moved."""
    move = instance.move
    if move is None or move.rests or container.machine is None:
        return None
    if move.arrives:
        if there is not None and not there.moves:
            return None  # it has come, or has begun
        return [] if now < _until(instance, there, facts) else None
    if there is None or there.state is ContainerState.EXITED:
        return [] if there is not None and there.moves else None
    return _send(instance, container, move, facts) if there.moves or there.state is ContainerState.RUNNING else None


def rests(instance: InstanceOrder, facts: Facts) -> list[Step] | None:
    """Of one whose root disk goes from one host to the other: the step that sends it, or nothing as long as it is not
    here to be begun; None: as if nothing moved.
    """
    move = instance.move
    container = next((c for c in instance.containers if c.machine is not None), None)
    if move is None or not move.rests or container is None:
        return None
    there = facts.containers_of(instance.uid).get(container.name)
    if move.arrives:
        return [] if there is None or there.moves else None
    if there is None or (there.moves and there.state is ContainerState.EXITED):
        return []  # nothing of it is here any more
    is_still = there.state is ContainerState.CREATED and instance.power is Power.OFF
    return (_send(instance, container, move, facts) or []) if there.moves or is_still else None


def due(facts: Facts) -> list[float]:
    """When `step_of` may say something else although nothing happens."""
    since = facts.observed.memory.ordered_at
    moving = [i for i in facts.staying if i.move is not None and i.move.arrives and not i.move.rests]
    coming = [i for i in moving if i.uid in since]
    return [since[i.uid] + after for i in coming for after in (ASKED_S, COMES_S)]


def expected(facts: Facts, uid: str, sender: HostName) -> tuple[InstanceOrder, Container] | None:
    """Whose guest this host may send now; None: nobody's."""
    for instance in facts.staying:
        move = instance.move
        if instance.uid == uid and move is not None and move.arrives and move.host == sender:
            container = next((c for c in instance.containers if c.machine is not None), None)
            there = facts.containers_of(uid)
            ready = facts.is_wired(uid) and facts.is_guarded and all(seen.moves for seen in there.values())
            return (instance, container) if container is not None and ready else None
    return None


def told(instance: InstanceOrder, facts: Facts, at: float) -> tuple[Phase, str] | None:
    """What is said of it while it changes hosts; None: what is said of any other."""
    move = instance.move
    container = next((c for c in instance.containers if c.machine is not None), None)
    if move is None or container is None:
        return None
    there = facts.containers_of(instance.uid).get(container.name)
    if move.rests:
        return _told_at_rest(instance, move, there, facts)
    if move.arrives:
        waits = (there is None or there.moves) and at < _until(instance, there, facts)
        return (Phase.STARTING, f"it comes from {move.host}") if waits else None
    if there is not None and there.moves:
        return Phase.STOPPED, f"it runs on {move.host} now"
    return None


def note(instance: InstanceOrder, facts: Facts) -> str | None:
    """What is said beside of one that runs here and is to go; None: it is not."""
    move, lane = instance.move, instance_lane(instance.name, instance.uid)
    if move is None or move.arrives or move.rests or instance.uid not in facts.running:
        return None
    trouble = facts.observed.memory.trouble.get(lane)
    return trouble.message if trouble is not None else f"it goes to {move.host}"


def _told_at_rest(
    instance: InstanceOrder, move: Move, there: ContainerSeen | None, facts: Facts
) -> tuple[Phase, str] | None:
    if move.arrives:
        return (Phase.STOPPED, f"its root disk comes from {move.host}") if there is None or there.moves else None
    if there is not None and there.moves:
        return Phase.STOPPED, f"its root disk is on {move.host} now"
    if instance.power is not Power.OFF:
        return None
    if there is None:
        return None  # nothing of it was made
    trouble = facts.observed.memory.trouble.get(instance_lane(instance.name, instance.uid))
    return Phase.STOPPED, f"its root disk goes to {move.host}" + (f": {trouble.message}" if trouble else "")


def _until(instance: InstanceOrder, there: ContainerSeen | None, facts: Facts) -> float:
    since = facts.observed.memory.ordered_at.get(instance.uid, 0.0)
    return since + (ASKED_S if there is None else COMES_S)


def _send(instance: InstanceOrder, container: Container, move: Move, facts: Facts) -> list[Step] | None:
    backbone = facts.order.backbone
    peers = backbone.peers if backbone is not None else ()
    address = next((peer.address for peer in peers if peer.host == move.host), None)
    if backbone is None or address is None:
        return None
    lane = instance_lane(instance.name, instance.uid)
    return [
        SendMachine(
            instance=instance, container=container.name, move=move, address=address, port=backbone.rules.port, lane=lane
        )
    ]  # fmt: skip
