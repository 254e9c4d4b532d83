"""When an instance may be started anew since somebody asked for it: of those of one workload on this host that serve,
one after the other, so that a restart of all of them leaves nobody without an answer. Pure.

In: `Facts`, the time. Out: whom such a restart waits for. Who serves nobody does not wait, nor does one that is alone.
One that has been started anew and does not answer is waited for a minute; one that cannot be made is waited for until
it can: what keeps it down would keep the next one down too.
"""

from collections.abc import Iterator

from anypop.agent.decide.elements import ContainerState
from anypop.agent.decide.facts import Facts
from anypop.agent.decide.steps import instance_lane
from anypop.model.order import InstanceOrder
from anypop.model.reasons import Reason

COMES_BACK_S = 60.0


def waits_for(instance: InstanceOrder, facts: Facts, now: float) -> InstanceOrder | None:
    """The instance that is started anew first; None: nobody has to be waited for."""
    if not is_asked(instance, facts) or not _serves(instance, facts):
        return None
    for mate in _mates(instance, facts):
        if _serves(mate, facts):
            if is_asked(mate, facts) and (mate.name < instance.name or _lane(mate) in facts.observed.busy):
                return mate
        elif _comes_back(mate, facts, now):
            return mate
    return None


def _lane(instance: InstanceOrder) -> str:
    """Where its end may be under way: it has its time for that, and may serve meanwhile."""
    return instance_lane(instance.name, instance.uid)


def is_asked(instance: InstanceOrder, facts: Facts) -> bool:
    """Whether somebody asked for a restart that has not begun."""
    return bool(instance.restarts) and any(
        c.asked < instance.restarts for c in facts.containers_of(instance.uid).values()
    )


def due(facts: Facts) -> Iterator[float]:
    """The moments from which one is not waited for any more."""
    for instance in facts.staying:
        if instance.restarts:
            for seen in facts.containers_of(instance.uid).values():
                if seen.started_at is not None:
                    yield seen.started_at + COMES_BACK_S


def _mates(instance: InstanceOrder, facts: Facts) -> list[InstanceOrder]:
    return [
        i
        for i in facts.staying
        if i.workload_id == instance.workload_id
        and i.name != instance.name
        and i.may_serve
        and i.uid not in facts.superseded
    ]


def _serves(instance: InstanceOrder, facts: Facts) -> bool:
    if instance.anycast:
        return any(facts.is_serving(instance, address) for address in instance.anycast)
    verdict = facts.observed.health.get(instance.uid)
    return instance.uid in facts.running and verdict is not None and verdict.healthy is not False


def _comes_back(mate: InstanceOrder, facts: Facts, now: float) -> bool:
    """Whether one that does not serve was ended for a restart that was asked for, a moment ago."""
    if not mate.restarts:
        return False
    there, pasts = facts.containers_of(mate.uid), facts.observed.memory.pasts
    for container in mate.containers:
        seen, past = there.get(container.name), pasts.get((mate.uid, container.name))
        if seen is None:
            if past is None or past.last is None or past.last.reason is Reason.RESTART_ASKED:
                return True
        elif (
            seen.state is ContainerState.CREATED
            or seen.asked < mate.restarts
            or (
                seen.state is ContainerState.RUNNING
                # an agent that died between the end and the new start does not know why there was an end
                and (seen.past.last is None or seen.past.last.reason is Reason.RESTART_ASKED)
                and now < (seen.started_at or now) + COMES_BACK_S
            )
        ):
            return True
    return False
