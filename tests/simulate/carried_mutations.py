"""Ways to break what hosts carry for each other: see `mutations`, of which they are a part."""

from dataclasses import replace
from typing import Any

from anypop.judge.governor import Cause
from tests.simulate import scenes, wrong
from tests.simulate.mutation import Mutation, always, of
from tests.simulate.networks import HOSTS_CARRY_FROM
from tests.simulate.world import BEGAN


def _carries_on(right: Any) -> Any:
    return lambda address, facts: tuple(facts.observed.balanced.get(address, ()))


def _carries_nothing_once_it_had_its_own(right: Any) -> Any:
    def members_for(address: Any, facts: Any, now: float) -> Any:
        found = right(address, facts, now)
        return tuple(m for m in found if m.peer is None) if facts.behind.get(address) else found

    return members_for


def _hears_the_dead(right: Any) -> Any:
    """What a host that is not heard any more told counts for ever."""
    known: dict[Any, Any] = {}

    def observe(self: Any) -> Any:
        seen = right(self)
        mine = known.setdefault((id(self.world), self.host.name), {})
        mine |= {peer: told for peer, told in seen.offers.items() if told}
        return replace(seen, offers=dict(mine))

    return observe


def _sends_its_own_away(right: Any) -> Any:
    return lambda self, address, local: right(self, address, 0)


def _lets_go(right: Any) -> Any:
    def export(key: Any, facts: Any, now: float) -> Any:
        gates = facts.gates(key[0])
        carries = gates and gates <= facts.carried and not any(facts.behind.get(gate) for gate in gates)
        return None if carries and key in facts.exports and now > BEGAN + 60.0 else right(key, facts, now)

    return export


def _nobody_better(right: Any) -> Any:
    """Neither that nobody else answers counts, nor that all turned bad at once."""
    kinder = {Cause.NOWHERE_BETTER: Cause.BROKEN}
    return lambda standing, others, cause: right(
        replace(standing, turned_bad=frozenset()), others, kinder.get(cause, cause)
    )


WHERE_HOSTS_CARRY: dict[str, Mutation] = {
    "what comes by a tunnel goes on by another": Mutation(
        where="anypop.agent.decide.converge.inbound_for",
        change=_carries_on,
        caught_by=of(7),
        script=scenes.PAST,
        first=HOSTS_CARRY_FROM,
        only=scenes.has_backbone,
    ),
    "a host carries nothing once it had instances of its own": Mutation(
        where="anypop.agent.decide.converge.members_for",
        change=_carries_nothing_once_it_had_its_own,
        caught_by=of(7),
        script=((6.0, scenes.one_falls_ill), (70.0, scenes.nothing)),
        first=HOSTS_CARRY_FROM,
        only=scenes.has_backbone,
    ),
    "a host that is not heard any more is carried to": Mutation(
        where="tests.simulate.agent.Agent._observe",
        change=_hears_the_dead,
        caught_by=of(7),
        script=((5.0, scenes.not_in_new_york), (14.0, scenes.london_is_dark), (75.0, scenes.nothing)),
        first=HOSTS_CARRY_FROM,
        only=scenes.has_plain_backbone,
    ),
    "nobody is told who serves": Mutation(
        where="anypop.agent.decide.converge.told_for",
        change=always(None),
        caught_by=of(7),
        script=((5.0, scenes.not_in_new_york), (14.0, scenes.nothing)),
        first=HOSTS_CARRY_FROM,
        only=scenes.has_backbone,
    ),
    "what is local goes to others all the same": Mutation(
        where="anypop.agent.decide.backbone.Carriers.share",
        change=_sends_its_own_away,
        caught_by=of(7, 11),
        script=scenes.PAST,
        first=HOSTS_CARRY_FROM,
        only=scenes.has_backbone,
    ),
    "who can neither serve nor carry gets no leave": Mutation(
        where="anypop.judge.verdict.govern",
        change=wrong.grants_nothing,
        caught_by=of(7),
        script=((5.0, scenes.not_in_new_york), (14.0, scenes.new_york_is_apart), (90.0, scenes.nothing)),
        first=HOSTS_CARRY_FROM,
        only=scenes.has_plain_backbone,
    ),
    "what may be carried counts as carried before anybody is heard": Mutation(
        where="anypop.agent.decide.facts.Facts.carried",
        change=lambda right: property(
            lambda self: frozenset(g for p in self.wanted_prefixes for g in self.gates(p) if self.carriers.carries(g))
        ),
        caught_by=of(8, 21),
        script=((6.0, scenes.all_reboot), (30.0, scenes.nothing)),
        first=HOSTS_CARRY_FROM,
        only=scenes.has_backbone,
    ),
    "who only carries lets its neighbours down in the end": Mutation(
        where="anypop.agent.decide.announcements._export",
        change=_lets_go,
        caught_by=of(19),
        script=((5.0, scenes.not_in_new_york), (62.0, scenes.agents_die), (75.0, scenes.nothing)),
        first=HOSTS_CARRY_FROM,
        only=scenes.has_plain_backbone,
    ),
    "a leave is given although nobody else answers": Mutation(
        where="anypop.judge.governor._answer",
        change=_nobody_better,
        caught_by=of(19),
        script=((1.0, scenes.second_in_new_york), (12.0, scenes.new_york_falls_ill), (40.0, scenes.nothing)),
        first=HOSTS_CARRY_FROM,
        only=scenes.has_shared_backbone,
    ),
}
