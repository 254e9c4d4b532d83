"""Volumes of virtual machines: made with the first life of a slot, kept through its updates, restarts and reboots, and
let go when somebody says so.

In: acts of people; hosts are drained, given up, lost and rebooted by what others do. Out: invariants: no guest begins
without its volumes, and no two have one; a slot lives where its volume is; what lies on a host stays there until it is
asked for by name; and what was made once is there in the end.
"""

from random import Random
from typing import TYPE_CHECKING

from anypop.agent.decide.steps import AttachVolume, CreateContainer, DeleteVolume, SendMachine, StartContainer, Step
from anypop.agent.naming import short
from anypop.control import volumes
from anypop.control.state import State
from anypop.model.order import InstanceOrder
from anypop.model.volume import Volume
from tests.simulate import people, scenes
from tests.simulate.features.feature import Feature
from tests.simulate.features.machines import drains_london
from tests.simulate.invariants.broken import broken
from tests.simulate.mutation import Mutation, always, of
from tests.simulate.networks import VOLUMES_FROM

if TYPE_CHECKING:
    from tests.simulate.agent import Agent
    from tests.simulate.lives import Platform

# what people do


def grows(platform: "Platform", dice: Random) -> None:
    """Smaller than it is, it is refused."""
    people.changes(platform, 0, "storage", dice.choice(("1Gi", "2Gi", "3Gi")))


def snapshots(platform: "Platform", dice: Random) -> None:
    """One is taken, taken away, or put back, while its guest runs or is off."""
    book = _book(platform)
    if not book:
        return
    one = dice.choice(book)
    if one.snapshots and dice.random() < 0.6:
        what = dice.choice((volumes.drop_snapshot, volumes.restore, volumes.restore))
        platform.control.ask(f"{what.__name__} of {one.instance}", what(people.STACK.id, one.id, one.snapshots[-1]))
    else:
        platform.identities += 1
        asked = volumes.take_snapshot(people.STACK.id, one.id, f"s{platform.identities}")
        platform.control.ask(f"a snapshot of {one.instance}", asked)


def lets_go(platform: "Platform", dice: Random) -> None:
    """What is on hosts that are lost or given up, and what nobody has: only of these it may be asked."""
    book = _book(platform)
    if book:
        one = dice.choice(book)
        platform.let_go.add(one.id)
        platform.control.ask(f"let the volume of {one.instance} go", volumes.release(people.STACK.id, one.id))


def _book(platform: "Platform") -> list[Volume]:
    return [v for _, v in sorted(platform.control.state.volumes.items()) if v.doomed_at is None]


# what may never happen


def begins_with_its_volumes(agent: "Agent", step: Step) -> None:
    """13: No guest is made or started without the volumes of its slot."""
    host = agent.host
    if isinstance(step, CreateContainer):
        instance: InstanceOrder | None = step.instance
    elif isinstance(step, StartContainer):
        instance = next((i for i in host.ordered() if i.uid == step.uid), None)
    else:
        return
    if instance is not None and not instance.volumes <= host.volumes.mounted.get(short(instance.uid), set()):
        raise broken(13, begins_with_its_volumes, f"{host.name}: {instance.name} begins without its volumes")


def never_two_have_one(agent: "Agent", step: Step) -> None:
    """13: Two would write to it at once."""
    if isinstance(step, AttachVolume):
        for key, ids in agent.host.volumes.mounted.items():
            if step.volume.id in ids and key != short(step.instance.uid):
                raise broken(13, never_two_have_one, f"{agent.host.name}: two have the volume of {step.instance.name}")


def no_volume_travels(agent: "Agent", step: Step) -> None:
    """13: A guest that goes on elsewhere would leave its volumes behind."""
    if isinstance(step, SendMachine) and step.instance.volumes:
        raise broken(13, no_volume_travels, f"{agent.host.name} sends {step.instance.name}, which has volumes")


def goes_by_its_name(agent: "Agent", step: Step) -> None:
    """14: A volume is taken away when the order that its host obeys names it, and by nothing else."""
    page = agent.host.page
    if isinstance(step, DeleteVolume) and (
        page is None or step.id not in {token.id for token in page.order.volumes_removed}
    ):
        raise broken(14, goes_by_its_name, f"{agent.host.name} takes the volume {step.id} away, which nobody named")


def lives_where_its_volume_is(platform: "Platform", before: State, after: State) -> None:
    """13: A slot whose volume is on one host gets no life on another, however long that host is away or is drained."""
    for uid, placed in after.incarnations.items():
        life = placed.incarnation
        if uid in before.incarnations:
            continue
        homes = {v.host for v in after.volumes_of(life.workload_id).values() if v.instance == life.name}
        standing = {
            v.host
            for v in before.volumes_of(life.workload_id).values()
            if v.instance == life.name and v.doomed_at is None and v.host in homes
        }
        if standing and life.host not in standing:
            raise broken(
                13, lives_where_its_volume_is, f"{life.name} begins on {life.host}, its volume is on {min(standing)}"
            )


def is_kept_until_it_is_let_go(platform: "Platform", before: State, after: State) -> None:
    """13, 14: Control lets a volume go when somebody asked for that, or deletes its workload."""
    for key, volume in before.volumes.items():
        now = after.volumes.get(key)
        declared = after.workloads.get(volume.workload_id)
        deleting = declared is None or declared.workload.deleting
        asked = deleting or volume.doomed_at is not None or volume.id in platform.let_go
        if (now is None or now.doomed_at is not None) and not asked:
            raise broken(14, is_kept_until_it_is_let_go, f"the volume of {volume.instance} on {volume.host} is let go")


def what_was_made_is_there(platform: "Platform") -> None:
    """13: In the end each volume that a host has said to have is on it, and who runs has it."""
    state = platform.control.state
    for (name, id_), volume in state.volumes.items():
        host = platform.hosts[name]
        if volume.made and volume.doomed_at is None and id_ not in host.volumes.there:
            raise broken(13, what_was_made_is_there, f"the volume of {volume.instance} is not on {name} any more")
    for host in platform.hosts.values():
        for i in host.ordered():
            if host.runs(i.uid) and not i.volumes <= host.volumes.mounted.get(short(i.uid), set()):
                raise broken(13, what_was_made_is_there, f"{i.name} runs on {host.name} without its volumes")


# what they notice

MUTATIONS = {
    "a guest begins whether its volume is there or not": Mutation(
        where="anypop.agent.decide.volumes.may_have_containers",
        change=always(([], True)),
        caught_by=of(13),
        script=((12.0, scenes.nothing),),
        first=VOLUMES_FROM,
        only=lambda platform: platform.has_volumes,
    ),
    "a plan knows of no volumes": Mutation(
        where="anypop.control.ground.StateGround.volumes_of",
        change=always(()),
        caught_by=of(13),
        script=((12.0, drains_london), (40.0, scenes.nothing)),
        first=VOLUMES_FROM,
        only=lambda platform: platform.has_volumes and not scenes.one_host_each(platform),
    ),
}

FEATURE = Feature(
    where_volumes_are=((6, grows), (6, snapshots), (3, lets_go), (4, people.evicts_where_it_serves)),
    at_step=(begins_with_its_volumes, never_two_have_one, no_volume_travels, goes_by_its_name),
    at_control=(lives_where_its_volume_is, is_kept_until_it_is_let_go),
    at_the_end=(what_was_made_is_there,),
    mutations=MUTATIONS,
)
