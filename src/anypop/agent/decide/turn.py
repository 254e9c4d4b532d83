"""One turn of the agent: from a look at the world to the steps that follow from it. Pure.

In: the order, `Observed` with what was remembered before the look, the time. Out: `Turn`: the facts, the steps that may
be taken now, what is to be remembered, and who of those under removal is gone. `run` carries it out; so does whoever
simulates a host.
"""

from dataclasses import dataclass, replace

from anypop.agent.decide import images, memory, milestones, returning
from anypop.agent.decide.converge import converge, idle_images
from anypop.agent.decide.facts import Facts
from anypop.agent.decide.memory import Memory
from anypop.agent.decide.observed import Observed
from anypop.agent.decide.steps import Step
from anypop.agent.decide.traffic import needed_again
from anypop.model.order import Order


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """See the module. `gone`: uids of which nothing is left in the world; `memory` knows nothing of them any more."""

    facts: Facts
    steps: list[Step]
    memory: Memory
    gone: frozenset[str]


def turn_of(order: Order, seen: Observed, now: float) -> Turn:
    """`seen.memory`: what was remembered before this look."""
    uids = (*(i.uid for i in order.instances), *(x.removal.uid for x in seen.leaving))
    known = memory.looked(
        seen.memory, containers=seen.containers, speaker=seen.speaker, pins=seen.pins, uids=uids, now=now,
        started=seen.started,
    )  # fmt: skip
    if seen.speaker_answers:
        known = memory.sessions_seen(known, seen.sessions, speaks=seen.speaker is not None, now=now)
    known = memory.groups_seen(known, seen.balanced, now, away=seen.away, newcomers=seen.newcomers)
    facts = Facts(order, replace(seen, memory=known))
    known = memory.undrained(facts.resumed | needed_again(facts), known)
    if (times := milestones.reached(facts, now)) is not known.milestones:
        known = replace(known, milestones=times)
        facts.observed = replace(facts.observed, memory=known)  # for the report of this very turn
    if known.returned_at is not None:
        known = memory.wellness_seen(known, returning.well(facts), now)
        facts.observed = replace(facts.observed, memory=known)
    idle = images.idle_since(idle_images(facts), known.idle_images, now)
    if idle is not known.idle_images:
        known = replace(known, idle_images=idle)
        facts.observed = replace(facts.observed, memory=known)
    steps = converge(facts, now)
    known = memory.taken(steps, known, seen.busy, now)
    gone = frozenset(uid for uid in facts.going if not facts.has_remains(uid))
    for uid in gone:
        known = memory.forgotten(uid, known)
    return Turn(facts=facts, steps=steps, memory=known, gone=gone)
