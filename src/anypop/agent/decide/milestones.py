"""When each incarnation came how far, by this host's clock: from its order to the first neighbour that has its prefix.

In: steps that were done, `Facts` of a pass. Out: for each incarnation that this agent has made itself the first time of
each `Milestone`. One that was found running has none: nobody here knows. Pure.
"""

from collections.abc import Mapping

from anypop.agent.decide.converge import missing_image
from anypop.agent.decide.facts import Facts
from anypop.agent.naming import short
from anypop.model.order import InstanceOrder
from anypop.model.report import Milestone, Reached

_IN_ORDER = tuple(Milestone)
Times = Mapping[str, Mapping[Milestone, float]]


def reached(facts: Facts, now: float) -> Times:
    """With what a pass sees for the first time. The same object where that is nothing."""
    known = facts.observed.memory.milestones
    news: dict[str, Mapping[Milestone, float]] = {}
    for uid, times in known.items():
        if Milestone.TOLD in times or (instance := facts.known.get(short(uid))) is None:
            continue
        seen = _seen(instance, facts, times)
        if any(stone not in times for stone in seen):
            # its images were here before it was made, whenever that is seen
            pulled = {Milestone.PULLED: times[Milestone.CREATED]} if Milestone.CREATED in times else {}
            news[uid] = {**dict.fromkeys(seen, now), **pulled, **times}
    return {**known, **news} if news else known


def told(uid: str, times: Times) -> tuple[Reached, ...]:
    """As the report has them, in their order."""
    own = times.get(uid)
    if not own:
        return ()
    return tuple([Reached(milestone=stone, at=own[stone]) for stone in _IN_ORDER if stone in own])


def _seen(instance: InstanceOrder, facts: Facts, times: Mapping[Milestone, float]) -> list[Milestone]:
    """How far it is by now, of what no step tells: each needs the one before."""
    found, key = list[Milestone](), short(instance.uid)
    if Milestone.CREATED in times or not any(missing_image(c, instance, facts) for c in instance.every_container):
        found.append(Milestone.PULLED)
    if Milestone.STARTED in times and instance.uid in facts.running:
        found.append(Milestone.PROBED)
    verdict = facts.observed.health.get(instance.uid)
    if verdict is None or not verdict.healthy:
        return found
    found += [Milestone.PROBED, Milestone.HEALTHY]
    addresses = instance.anycast or tuple(instance.externals())
    if not addresses:
        return [*found, Milestone.ROUTED]  # its link is all the way there is, and nobody is told of it
    if key not in (facts.memberships if instance.anycast else facts.external):
        return found
    found.append(Milestone.ROUTED)
    served = [a for a in addresses if not instance.anycast or a in facts.memberships[key]]
    covers = [facts.covers_of(address) for address in served]
    if not all(covers):
        return found
    found.append(Milestone.ANNOUNCED)
    if all(any(prefix in facts.sent_prefixes for prefix in own) for own in covers):
        found.append(Milestone.TOLD)
    return found
