"""Virtual machines that their users power off and on, and mend with another image.

In: acts of people; hosts are drained, lost and return by what others do, and guests move between the two of London by
it (`machine_moves`), while they run or with their disks while they are off. Out: invariants: one that is off or is
mended keeps its own root disk, whatever becomes of agents and hosts, and has no successor elsewhere as long as its host
is there, but one that waits for that disk; none that is off runs, and what runs another image is what was asked for.
"""

from random import Random
from typing import TYPE_CHECKING, Any

from anypop.agent.decide.elements import ContainerSeen, ContainerState
from anypop.agent.decide.steps import CreateContainer, RemoveContainer, StartContainer, Step
from anypop.agent.naming import short
from anypop.control import drains
from anypop.control.declare import power
from anypop.control.state import State
from anypop.model.machine import Acceleration, Power
from anypop.model.order import InstanceOrder
from anypop.model.plan import Incarnation
from anypop.plan.moves import resting
from tests.simulate import scenes
from tests.simulate.features.feature import Feature
from tests.simulate.images import machine_image_of
from tests.simulate.invariants.broken import broken
from tests.simulate.mutation import Mutation, always, of
from tests.simulate.networks import MACHINES_FROM

if TYPE_CHECKING:
    from tests.simulate.agent import Agent
    from tests.simulate.lives import Platform

MENDS = "default/good:9"

# what people do


def powers(platform: "Platform", dice: Random) -> None:
    """One machine off, on, or with another image; some of them are not for long."""
    lives = [p.incarnation for p in platform.control.state.incarnations.values()]
    machines = sorted((i for i in lives if _is_machine(platform, i.workload_id)), key=lambda i: i.uid)
    if not machines:
        return
    one = dice.choice(machines)
    _asks(platform, one.uid, one.name, dice.choice(("off", "off", "on", "mend")))
    if dice.random() < 0.5:
        platform.world.after(dice.uniform(0.1, 12.0), lambda: _asks(platform, one.uid, one.name, "on"))


def drains_london(platform: "Platform", dice: Random) -> None:
    """One of its hosts, if it has two: guests move to the other one."""
    hosts = sorted(name for name, host in platform.hosts.items() if host.pop == "LHR" and host.ready)
    if len([h for h in platform.hosts.values() if h.pop == "LHR"]) < 2 or not hosts:
        return
    aim = drains.site_of(platform.control.state, f"host:{dice.choice(hosts)}")
    assert aim is not None
    platform.identities += 1
    asked = drains.begin(
        aim, f"drain-{platform.identities}", by="a person", until=None, deadline_s=dice.choice((15.0, 40.0)), calm_s=1.0
    )  # fmt: skip
    platform.control.ask(f"drain {aim.host}", asked)


def all_off(platform: "Platform", dice: Random) -> None:
    _all(platform, "off")


def all_mended(platform: "Platform", dice: Random) -> None:
    _all(platform, "mend")


def _all(platform: "Platform", what: str) -> None:
    for placed in sorted(platform.control.state.incarnations.values(), key=lambda p: p.incarnation.uid):
        if _is_machine(platform, placed.incarnation.workload_id):
            _asks(platform, placed.incarnation.uid, placed.incarnation.name, what)


def _asks(platform: "Platform", uid: str, name: str, what: str) -> None:
    rescue = machine_image_of(MENDS) if what == "mend" else None
    platform.control.ask(f"{what} {name}", power(uid, Power.OFF if what == "off" else Power.ON, rescue))


def _is_machine(platform: "Platform", workload: Any) -> bool:
    declared = platform.control.state.workloads.get(workload)
    return declared is not None and declared.workload.is_machine


# what may never happen


def keeps_its_disk(agent: "Agent", step: Step) -> None:
    """13: The root disk of one that is off, or is mended, stays as long as its instance does, but where its process has
    to end for good: it lives in a network that is lost.
    """
    if not isinstance(step, RemoveContainer):
        return
    mine, seen = _ordered(agent, step.uid), agent.host.containers.get((step.uid, step.container))
    if mine is None or mine.machine is None or mine.may_serve or seen is None:
        return
    lost = short(step.uid) not in agent.host.namespaces and seen.state is ContainerState.RUNNING
    if not lost and not seen.moves:
        raise broken(13, keeps_its_disk, f"{agent.host.name} removes the disk of {mine.name}")


def starts_what_is_to_run(agent: "Agent", step: Step) -> None:
    """12, 18: None that is off is started, and one that is mended starts with the image that was asked for."""
    if not isinstance(step, StartContainer):
        return
    mine = _ordered(agent, step.uid)
    if mine is None or mine.machine is None:
        return
    wanted, given = mine.rescued_by, step.rescue.rescued_by if step.rescue is not None else ""
    seen = agent.host.containers.get((step.uid, step.container))
    if seen is not None and seen.state is ContainerState.RUNNING:
        return
    if mine.power is Power.OFF or wanted != given:
        raise broken(12, starts_what_is_to_run, f"{agent.host.name} starts {mine.name}, {mine.power}, with {given!r}")


def runs_where_it_can(agent: "Agent", step: Step) -> None:
    """23: No machine is made on a host that runs none."""
    is_machine = isinstance(step, CreateContainer) and step.container.machine is not None
    if is_machine and agent.host.machines is Acceleration.NONE:
        raise broken(23, runs_where_it_can, f"{agent.host.name} makes a machine")


def has_no_other(platform: "Platform", before: State, after: State) -> None:
    """13: One that is off, or is mended, lives on where its root disk is: a successor would begin with another one,
    unless it waits for that, which hosts can carry. The older one goes once the newer has it, and not before.
    """
    for uid, placed in after.incarnations.items():
        new = placed.incarnation
        if uid in before.incarnations or not _is_machine(platform, new.workload_id):
            continue
        for held in before.incarnations_of(new.workload_id).values():
            old = held.incarnation
            same = (old.slot, old.template) == (new.slot, new.template) and not old.serves
            waits = new.power is Power.OFF and old.power is Power.OFF and old.rescue is None
            if waits and platform.control.state.network.backbone is not None:
                continue
            if same and old.host not in {*after.lost, *after.evicted}:
                raise broken(
                    13, has_no_other, f"{old.name} is to begin on {new.host}, and is {old.power} on {old.host}"
                )


def goes_with_its_disk(platform: "Platform", before: State, after: State) -> None:
    """13: Of two of which one takes the root disk of the other, the one that has it stays."""
    for uid, placed in before.incarnations.items():
        old = placed.incarnation
        if uid in after.incarnations or not _is_machine(platform, old.workload_id):
            continue
        lives = [p.incarnation for p in before.incarnations_of(old.workload_id).values()]
        pair = resting([i for i in lives if i.slot == old.slot])
        other = next((i for i in pair or () if i.uid != uid), None)
        if other is None or other.uid not in after.incarnations or old.host in {*after.lost, *after.evicted}:
            continue
        if _of(platform, old) is not None and ((theirs := _of(platform, other)) is None or theirs.moves):
            raise broken(13, goes_with_its_disk, f"{old.name} goes from {old.host}, and {other.host} has no disk of it")


def _of(platform: "Platform", life: Incarnation) -> ContainerSeen | None:
    """What is really there of it, and is that host's."""
    return next((seen for seen in platform.hosts[life.host].containers.values() if seen.uid == life.uid), None)


def waits_for_its_disk(agent: "Agent", step: Step) -> None:
    """13: Who is to take a disk over begins none of its own, and who has given one away does not start it."""
    if isinstance(step, CreateContainer):
        mine = _ordered(agent, step.instance.uid)
        if mine is not None and mine.move is not None and mine.move.rests:
            raise broken(13, waits_for_its_disk, f"{agent.host.name} makes a disk for {mine.name}, which has one")
    if isinstance(step, StartContainer):
        seen = agent.host.containers.get((step.uid, step.container))
        if seen is not None and seen.moves:
            raise broken(13, waits_for_its_disk, f"{agent.host.name} starts {step.uid[:10]}, which is another host's")


def _ordered(agent: "Agent", uid: str) -> InstanceOrder | None:
    return next((i for i in agent.host.ordered() if i.uid == uid), None)


def each_is_as_asked(platform: "Platform") -> None:
    """12: In the end each runs with the image that it is to run with, or does not where it is off; and no guest runs
    in two places.
    """
    for uid, placed in platform.control.state.incarnations.items():
        life = placed.incarnation
        for seen in platform.hosts[life.host].containers.values():
            if seen.uid != uid or not _is_machine(platform, life.workload_id):
                continue
            runs = seen.state is ContainerState.RUNNING
            if runs and life.power is Power.OFF:
                raise broken(12, each_is_as_asked, f"{life.name} runs on {life.host}, and is to be off")
            if runs and seen.rescue != (life.rescue.id if life.rescue is not None else ""):
                raise broken(12, each_is_as_asked, f"{life.name} runs the image {seen.rescue!r} on {life.host}")


def _carries(platform: "Platform") -> bool:
    return platform.control.state.network.backbone is not None


# what they notice

MUTATIONS = {
    "one that is to be off runs on": Mutation(
        where="anypop.agent.decide.lives._powered_off",
        change=always([]),
        caught_by=of(7, 12),
        script=((12.0, all_off), (14.0, scenes.nothing)),
        first=MACHINES_FROM,
        only=scenes.one_host_each,
    ),
    "what has lost its network is removed whatever it is": Mutation(
        where="anypop.agent.decide.converge._goes_with_its_namespace",
        change=always(True),
        caught_by=of(13),
        script=((12.0, all_off), (20.0, scenes.all_reboot), (26.0, scenes.nothing)),
        first=MACHINES_FROM,
        only=scenes.one_host_each,
    ),
    "one that is mended goes with its host's drain": Mutation(
        where="anypop.plan.placement._Turn._has_its_disk_alone",
        change=always(False),
        caught_by=of(13),
        script=((12.0, all_mended), (16.0, drains_london), (40.0, scenes.nothing)),
        first=MACHINES_FROM,
        only=lambda platform: not scenes.one_host_each(platform),
    ),
    "one that is off goes before its disk has come": Mutation(
        where="anypop.plan.placement._Turn._carries_over",
        change=always(False),
        caught_by=of(13),
        script=((12.0, all_off), (16.0, drains_london), (40.0, scenes.nothing)),
        first=MACHINES_FROM,
        only=lambda platform: not scenes.one_host_each(platform) and _carries(platform),
    ),
    "one that is mended begins with its own image": Mutation(
        where="anypop.model.order.InstanceOrder.rescued_by",
        change=lambda right: property(lambda self: ""),
        caught_by=of(7, 12),
        script=((12.0, all_mended), (20.0, scenes.nothing)),
        first=MACHINES_FROM,
        only=scenes.one_host_each,
    ),
}

FEATURE = Feature(
    where_machines_run=((10, powers), (5, drains_london)),
    at_step=(keeps_its_disk, starts_what_is_to_run, runs_where_it_can, waits_for_its_disk),
    at_control=(has_no_other, goes_with_its_disk),
    at_the_end=(each_is_as_asked,),
    mutations=MUTATIONS,
)
