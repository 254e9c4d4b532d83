"""What mutations put in the place of right code: each function takes the right one, and gives one that is wrong in one
thing.
"""

from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Network
from typing import Any

from anypop.agent.decide.elements import ContainerState, Export
from anypop.agent.decide.steps import RemoveContainer, instance_lane
from anypop.model.order import Grant
from anypop.model.reasons import Reason


def without_suspicion(right: Any) -> Any:
    return lambda standing, others, cause: right(replace(standing, turned_bad=frozenset()), others, cause)


def foreign_export(right: Any) -> Any:
    def speaker_for(facts: Any, now: float) -> Any:
        config = right(facts, now)
        leak = [Export(prefix=IPv4Network("8.8.8.0/24"), upstream=u.name) for u in config.upstreams[:1]]
        return replace(config, exports=(*config.exports, *leak))

    return speaker_for


def steps_without(right: Any, unwanted: Callable[[Any, Any], bool]) -> Any:
    def converge(facts: Any, now: float) -> Any:
        return [step for step in right(facts, now) if not unwanted(facts, step)]

    return converge


def restarts_the_sick(right: Any) -> Any:
    def container_steps(instance: Any, container: Any, there: Any, facts: Any, now: float) -> Any:
        verdict = facts.observed.health.get(instance.uid)
        if (
            there is not None
            and there.state is ContainerState.RUNNING
            and verdict
            and verdict.reason is Reason.PROBE_FAILED
        ):
            lane = instance_lane(instance.name, instance.uid)
            return [RemoveContainer(uid=instance.uid, container=container.name, lane=lane)]
        return right(instance, container, there, facts, now)

    return container_steps


def says_it_was_placed(right: Any) -> Any:
    def place_new(self: Any, *where: Any, moving: bool, **how: Any) -> Any:
        return True if moving else right(self, *where, moving=moving, **how)

    return place_new


def all_ready(right: Any) -> Any:
    def keep(self: Any, one: Any, others: Any) -> None:
        self.step.ready = {one.uid, *self.step.ready}
        right(self, one, others)

    return keep


def from_anybody(right: Any) -> Any:
    def without_gone(state: Any, host: Any, gone: Any, now: float) -> Any:
        for uid in gone:
            stone = state.tombstones.get(uid)
            if stone is not None:
                state = right(state, stone.incarnation.host, frozenset({uid}), now)
        return state

    return without_gone


def deaf_without_control(right: Any) -> Any:
    def observe(self: Any) -> Any:
        seen = right(self)
        return seen if self.control.up else replace(seen, health={})

    return observe


def obeys_anything(right: Any) -> Any:
    def turn(order: Any, page: Any) -> Any:
        old = replace(page, order=replace(page.order, generation=0)) if page is not None else None
        return right(order, old)

    return turn


def forgets_its_order(right: Any) -> Any:
    def start(self: Any) -> None:
        self.host.page = None
        right(self)

    return start


def grants_all(right: Any) -> Any:
    return lambda standing: {
        host: Grant(prefix=standing.prefix, allowed=True, reason=Reason.GRANTED) for host, _ in standing.requests
    }


def grants_nothing(right: Any) -> Any:
    return lambda standing: {
        host: Grant(prefix=standing.prefix, allowed=False, reason=Reason.FLOOR_HOLDS) for host, _ in standing.requests
    }
