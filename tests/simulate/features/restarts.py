"""Restarts in place that somebody asked for.

In: acts that ask for one, or for all of a PoP at once. Out: invariants: each that was asked for happens once, whoever
dies meanwhile, and no two of a workload at the same moment on a host where that leaves nobody. What a machine is about
to bring back is noted in `Host.comes_back`.
"""

from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any

from anypop.agent.decide.elements import ContainerState
from anypop.agent.decide.steps import RemoveContainer, Step
from anypop.control.declare import restart
from anypop.model.order import InstanceOrder
from tests.simulate import scenes
from tests.simulate.features.feature import Feature
from tests.simulate.invariants.broken import broken
from tests.simulate.mutation import Mutation, of

if TYPE_CHECKING:
    from tests.simulate.agent import Agent
    from tests.simulate.host import Host
    from tests.simulate.lives import Platform

WAITED_S = 55.0  # an agent waits for a minute, by its own clock
BELIEVED_S = 6.0

# what people do


def restarts(platform: "Platform", dice: Random) -> None:
    """One instance, or all of a workload in a PoP within a moment."""
    lives = sorted((p.incarnation for p in platform.control.state.incarnations.values()), key=lambda i: i.uid)
    if not lives:
        return
    one = dice.choice(lives)
    those = [one] if dice.random() < 0.4 else [i for i in lives if (i.workload_id, i.pop) == (one.workload_id, one.pop)]
    for each in those:
        asks(platform, each.uid, each.name)


def all_of_a_city(platform: "Platform", city: str) -> None:
    for placed in sorted(platform.control.state.incarnations.values(), key=lambda p: p.incarnation.uid):
        if placed.incarnation.pop == city:
            asks(platform, placed.incarnation.uid, placed.incarnation.name)


def asks(platform: "Platform", uid: str, name: str) -> None:
    platform.control.ask(f"restart {name}", restart(uid))


# what may never happen


def none_is_left_out_by_two_at_once(agent: "Agent", step: Step) -> None:
    """9: One that answers is ended for a restart only while no other of its workload on the host is about to come back
    from one, or while a third one answers.
    """
    host = agent.host
    mine = _asked(host, step)
    if mine is None or not host.answers(mine.uid) or not _is_believed(host):
        return
    mates = [i for i in host.ordered() if i.workload_id == mine.workload_id and i.name != mine.name]
    if any(host.answers(i.uid) for i in mates):
        return
    now = agent.world.now
    away = [i.name for i in mates if now - host.comes_back.get(i.uid, -1e9) < WAITED_S]
    if away:
        raise broken(9, none_is_left_out_by_two_at_once, f"{host.name} restarts {mine.name}, and {away[0]} is not back")


def each_happens_once(agent: "Agent", step: Step) -> None:
    """12: No container is ended twice for what was asked for once."""
    host = agent.host
    mine = _asked(host, step)
    if mine is None or not isinstance(step, RemoveContainer):
        return
    asked = host.containers[step.uid, step.container].asked
    done = agent.platform.restarted.setdefault((step.uid, step.container), set())
    if asked in done:
        raise broken(12, each_happens_once, f"{host.name} restarts {mine.name} again for what was asked for once")
    done.add(asked)
    if host.answers(mine.uid):
        host.comes_back[mine.uid] = agent.world.now


def _asked(host: "Host", step: Step) -> InstanceOrder | None:
    """The instance that a step ends since somebody asked for a restart; None: it is no such step."""
    if not isinstance(step, RemoveContainer):
        return None
    seen = host.containers.get((step.uid, step.container))
    if seen is None or seen.state is not ContainerState.RUNNING:
        return None
    return next((i for i in host.ordered() if i.uid == step.uid and seen.asked < i.restarts), None)


def _is_believed(host: "Host") -> bool:
    """Whether probes tell the truth there, and have for a moment."""
    return host.probes_lie is None and host.world.now - host.lied_at > BELIEVED_S


def each_has_happened(platform: "Platform") -> None:
    """12: In the end every restart that was asked for and accepted has happened."""
    if platform.restored:
        return
    for uid, placed in platform.control.state.incarnations.items():
        host = platform.hosts[placed.incarnation.host]
        for seen in host.containers.values():
            if seen.uid == uid and seen.state is ContainerState.RUNNING and seen.asked < placed.incarnation.restarts:
                raise broken(12, each_has_happened, f"{placed.incarnation.name} was never started anew on {host.name}")


# what they notice


def _forgets(right: Any) -> Any:
    """What is made anew does not know that it was."""

    def make(self: Any, step: Any) -> None:
        right(self, step)
        key = (step.instance.uid, step.container.name)
        self.containers[key] = replace(self.containers[key], asked=0)

    return make


def _twice(platform: Any, dice: Random) -> None:
    all_of_a_city(platform, "AMS")


MUTATIONS = {
    "all that are to be started anew are ended at once": Mutation(
        where="anypop.agent.decide.lives.waits_for",
        change=lambda right: lambda instance, facts, now: None,
        caught_by=of(9),
        script=((1.0, scenes.change(0, "replicas", 2)), (12.0, _twice), (14.0, scenes.nothing)),
        only=lambda platform: scenes.one_host_each(platform) and not scenes.tight(platform),
    ),
    "a restart that was made is not noted": Mutation(
        where="tests.simulate.host.Host._create",
        change=_forgets,
        caught_by=of(12),
        script=((12.0, _twice), (14.0, scenes.agents_die), (18.0, scenes.nothing)),
    ),
    "a restart that was asked for is lost": Mutation(
        where="anypop.agent.decide.lives.waits_for",
        change=lambda right: lambda instance, facts, now: instance,
        caught_by=of(12),
        script=((12.0, _twice), (14.0, scenes.nothing)),
    ),
}

FEATURE = Feature(
    acts=((5, restarts),),
    at_step=(none_is_left_out_by_two_at_once, each_happens_once),
    at_the_end=(each_has_happened,),
    mutations=MUTATIONS,
)
