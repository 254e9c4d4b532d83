"""Ways to break the platform on purpose: each takes one rule away, and an invariant must notice it.

In: the name of a mutation. Out: the deciding code with that one thing wrong, for as long as the context lasts; and in
`MUTATIONS` which invariants may tell of it, and what happens in a life for it to show, where chance would take long.
"""

import pkgutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from anypop.agent.decide.announcements import as_asked
from anypop.agent.decide.steps import DeleteNamespace
from tests.simulate import faults, people, scenes, wrong
from tests.simulate.carried_mutations import WHERE_HOSTS_CARRY
from tests.simulate.features import FEATURES
from tests.simulate.mutation import Mutation, always, of

MUTATIONS: dict[str, Mutation] = {
    "an agent that starts forgets its order": Mutation(
        where="tests.simulate.agent.Agent.start", change=wrong.forgets_its_order, caught_by=of(1), script=scenes.AWAY
    ),
    "the governor grants all": Mutation(
        where="anypop.judge.verdict.govern", change=wrong.grants_all, caught_by=of(2, 3)
    ),
    "an agent withdraws what is not ready": Mutation(
        where="anypop.agent.decide.announcements.Facts.is_abandoned",
        change=always(True),
        caught_by=of(2),
        script=((6.0, scenes.all_die), (9.0, scenes.nothing)),
    ),
    "many PoPs that turn bad are no reason to doubt": Mutation(
        where="anypop.judge.governor._answer",
        change=wrong.without_suspicion,
        caught_by=of(3),
        script=((6.0, faults.probes_lie), (15.0, scenes.nothing)),
    ),
    "without control nothing is known to be healthy": Mutation(
        where="tests.simulate.agent.Agent._observe",
        change=wrong.deaf_without_control,
        caught_by=of(1, 7),
        script=scenes.AWAY,
    ),
    "any order is obeyed": Mutation(
        where="tests.simulate.agent.turn",
        change=wrong.obeys_anything,
        caught_by=of(5),
        script=(
            (4.0, scenes.wires_double),
            *((5.0 + n, scenes.change(0, "replicas", 1 + n % 2)) for n in range(4)),
            (16.0, scenes.nothing),
        ),
    ),
    "an order may forget instances": Mutation(
        where="anypop.agent.ledger._lost",
        change=always(set()),
        caught_by=of(6),
        script=(
            (6.0, scenes.copied),
            (7.0, scenes.deploy("good:2")),
            (12.0, faults.store_is_restored),
            (15.0, scenes.nothing),
        ),
    ),
    "the members of a group are never mended": Mutation(
        where="anypop.agent.decide.converge.members_for",
        change=lambda right: (
            lambda address, facts, now: facts.observed.balanced.get(address) or right(address, facts, now)
        ),
        caught_by=of(1, 7, 9, 11),
        script=((6.0, scenes.change(0, "image", "good:3")), (30.0, scenes.nothing)),
    ),
    "what is wanted is announced, ready or not": Mutation(
        where="anypop.agent.decide.announcements._export",
        change=lambda right: (
            lambda key, facts, now: as_asked(facts.wanted[key]) if key in facts.wanted else right(key, facts, now)
        ),
        caught_by=of(8, 21),
    ),
    "an agent that starts announces before it has asked": Mutation(
        where="anypop.agent.decide.announcements.Facts.is_proven",
        change=always(True),
        caught_by=of(8, 21),
        script=((6.0, scenes.one_falls_ill), (20.0, scenes.agents_die), (24.0, scenes.nothing)),
    ),
    "a prefix is withdrawn at once": Mutation(
        where="anypop.agent.decide.announcements._fading",
        change=always(None),
        caught_by=of(9),
        script=((6.0, scenes.change(0, "cities", ["AMS"])), (9.0, scenes.nothing)),
    ),
    "the older incarnation goes before the newer one is healthy": Mutation(
        where="anypop.plan.placement._Turn._keep",
        change=wrong.all_ready,
        caught_by=of(9),
        script=((6.0, scenes.change(0, "image", "sick:1")), (9.0, scenes.nothing)),
    ),
    "a drain has no deadline": Mutation(
        where="anypop.agent.decide.converge.is_drained",
        change=lambda right: (
            lambda leaving, facts, now: right(leaving, facts, now) and not facts.has_process(leaving.removal.uid)
        ),
        caught_by=of(9),
        script=((6.0, scenes.change(0, "image", "good:3")), (9.0, scenes.nothing)),
    ),
    "a prefix of others is exported": Mutation(
        where="anypop.agent.decide.converge.speaker_for", change=wrong.foreign_export, caught_by=of(10)
    ),
    "flows are taken for pinned": Mutation(
        where="anypop.agent.decide.facts.Facts.is_pinned",
        change=always(True),
        caught_by=of(11),
        script=((6.0, scenes.change(0, "image", "good:3")), (15.0, scenes.nothing)),
    ),
    "what was made and not started is left so": Mutation(
        where="anypop.agent.decide.turn.converge",
        change=lambda right: (
            lambda facts, now: [
                s
                for s in right(facts, now)
                if type(s).__name__ != "StartContainer" or not facts.containers_of(s.uid) or facts.observed.memory.dead
            ]
        ),
        caught_by=of(1, 12, 13),
    ),
    "namespaces are left behind": Mutation(
        where="anypop.agent.decide.turn.converge",
        change=lambda right: wrong.steps_without(right, lambda facts, step: isinstance(step, DeleteNamespace)),
        caught_by=of(9, 12),
        script=((6.0, scenes.change(0, "image", "good:3")), (9.0, scenes.nothing)),
    ),
    "who is lost with its host is not placed anew": Mutation(
        where="anypop.plan.placement._Turn._place_new",
        also=("anypop.control.decide.recheck", always(None)),
        change=wrong.says_it_was_placed,
        caught_by=of(13),
        script=((5.0, scenes.only_in_london), (15.0, scenes.busy_ones_are_cut_off), (60.0, scenes.nothing)),
        only=scenes.has_twins_that_are_lost,
    ),
    "a host that is heard again obeys at once": Mutation(
        where="anypop.control.decide.gets_no_order",
        change=always(False),
        caught_by=of(9),
        script=scenes.CUT_OFF,
        only=scenes.has_twins_that_are_lost,
    ),
    "who was given up goes before its successor answers": Mutation(
        where="anypop.plan.placement._Turn._off_lost_hosts",
        change=lambda right: (
            lambda self, lives, city: (
                [self._leave(i) for i in lives[:-1]] and lives[-1:] if len(lives) > 1 else right(self, lives, city)
            )
        ),
        caught_by=of(9),
        script=(
            (5.0, scenes.only_in_london),
            (14.0, scenes.no_registry_elsewhere),
            (15.0, people.evicts_where_it_serves),
            scenes.LATER,
        ),
        only=scenes.has_twins_that_are_lost,
    ),
    "a sick instance is stopped": Mutation(
        where="anypop.agent.decide.converge._container_steps",
        change=wrong.restarts_the_sick,
        caught_by=of(14),
        script=((6.0, faults.instances_fall_ill), (12.0, scenes.nothing)),
    ),
    "a released address does not rest": Mutation(
        where="anypop.control.ground.StateGround.rests",
        change=always(False),
        caught_by=of(15),
        script=(
            (1.0, scenes.deploy("good:2")),
            (6.0, lambda platform, dice: people.deletes_one(platform, 1)),
            (40.0, scenes.deploy("good:2")),
            (42.0, scenes.nothing),
        ),
        only=lambda platform: platform.both_anycast,
    ),
    "one lane that fails holds up all others": Mutation(
        where="anypop.agent.decide.turn.converge",
        change=lambda right: (
            lambda facts, now: [
                s
                for s in right(facts, now)
                if not facts.observed.memory.failures or s.lane in facts.observed.memory.failures
            ]
        ),
        caught_by=of(1, 7, 9, 12, 13),
        script=((1.0, scenes.deploy("not-there:1")), (9.0, scenes.all_die), (12.0, scenes.nothing)),
        only=scenes.one_host_each,
    ),
    "who falls often comes back at once": Mutation(
        where="anypop.judge.health.FIRST_COOL_S",
        change=lambda right: 0.0,
        caught_by=of(17),
        script=(
            (6.0, scenes.all_die),
            (8.0, scenes.all_die),
            (10.0, scenes.all_die),
            (12.0, scenes.all_die),
            (15.0, scenes.nothing),
        ),
    ),
    "an update passes unseen": Mutation(
        where="anypop.plan.rollout._pending",
        change=always([]),
        caught_by=of(18),
        script=((6.0, scenes.change(0, "image", "sick:1")), (20.0, scenes.nothing)),
    ),
    "a newcomer may take a prefix from who serves": Mutation(
        where="anypop.judge.verdict.to_blame",
        change=lambda right: lambda gates, healthy, has_served: gates - healthy,
        also=("anypop.control.decide._is_new", always(lambda *_: False)),
        caught_by=of(19),
        script=((6.0, scenes.no_registry), (7.0, scenes.deploy("good:3")), (60.0, scenes.nothing)),
        only=scenes.shared,
    ),
    "whoever says so is believed": Mutation(
        where="anypop.control.decide.without_gone",
        change=wrong.from_anybody,
        caught_by=of(20),
        script=((6.0, scenes.change(0, "cities", ["AMS"])), *((6.1 + n / 5, faults.somebody_forges) for n in range(6))),
    ),
    "a family counts for the other": Mutation(
        where="anypop.agent.decide.elements.ProbeVerdict.of",
        change=lambda right: lambda verdict, version: verdict,
        caught_by=of(21),
        script=((1.0, scenes.deploy("only-ipv4:1")), (9.0, scenes.nothing)),
        only=lambda platform: platform.both_anycast and not platform.without_ports,
    ),
    "there is room for everything": Mutation(
        where="anypop.plan.rooms.Room.fits",
        change=always(True),
        caught_by=of(23),
        script=((1.0, scenes.change(0, "replicas", 2)), (2.0, scenes.deploy("good:2")), (9.0, scenes.nothing)),
        only=scenes.tight,
    ),
    **WHERE_HOSTS_CARRY,
    **{name: mutation for feature in FEATURES for name, mutation in feature.mutations.items()},
}


@contextmanager
def broken_on_purpose(name: str) -> Iterator[None]:
    """`name` "": nothing is."""
    with ExitStack() as stack:
        if name:
            mutation = MUTATIONS[name]
            for where, change in ((mutation.where, mutation.change), *((mutation.also,) if mutation.also else ())):
                owner, _, attribute = where.rpartition(".")
                stack.enter_context(patch(where, change(_found(owner, attribute))))
        yield


def _found(owner: str, attribute: str) -> Any:
    """What stands there now: of a module, or of a class in one."""
    return getattr(pkgutil.resolve_name(_as_path(owner)), attribute)


def _as_path(owner: str) -> str:
    module, _, last = owner.rpartition(".")
    return f"{module}:{last}" if last[:1].isupper() or last[:2].strip("_")[:1].isupper() else owner
