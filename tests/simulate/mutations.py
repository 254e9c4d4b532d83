"""Ways to break the platform on purpose: each takes one rule away, and an invariant must notice it.

In: the name of a mutation. Out: the deciding code with that one thing wrong, for as long as the context lasts; and in
`MUTATIONS` which invariants may tell of it, and what happens in a life for it to show, where chance would take long.
"""

import pkgutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from ipaddress import IPv4Network
from random import Random
from typing import Any
from unittest.mock import patch

from anypop.agent.decide.announcements import as_asked
from anypop.agent.decide.elements import ContainerState, Export
from anypop.agent.decide.steps import DeleteNamespace, RemoveContainer, instance_lane
from anypop.control import hosts
from anypop.model.order import Grant
from anypop.model.reasons import Reason
from tests.simulate import faults, people

Change = Callable[[Any], Any]
Act = Callable[[Any, Random], None]
Script = tuple[tuple[float, Act], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutation:
    """`where`: dotted name of what is replaced; `change`: makes the wrong one out of the right one. `caught_by`:
    numbers of the invariants that tell; `script`: acts, where the usual ones show it too seldom; `only`: the platforms
    on which it can show; `also`: a second line of defence, which fails too.
    """

    where: str
    change: Change
    caught_by: frozenset[int]
    script: Script = ()
    only: Callable[[Any], bool] = lambda platform: True
    also: tuple[str, Change] | None = None


def _of(*numbers: int) -> frozenset[int]:
    return frozenset(numbers)


def _always(value: object) -> Change:
    return lambda right: lambda *_, **__: value


def _deploy(chosen: str) -> Act:
    """The second workload, in all cities, twice in each."""

    def act(platform: Any, dice: Random) -> None:
        people.deploys(platform, dice, 1, chosen)
        people.changes(platform, 1, "cities", list(platform.cities))
        people.changes(platform, 1, "replicas", 2)

    return act


def _no_registry(platform: Any, dice: Random) -> None:
    platform.hosts[min(platform.hosts)].registry_away = True


def _all_die(platform: Any, dice: Random) -> None:
    for host in platform.hosts.values():
        for uid in sorted(host.ready):
            host.die(uid)


def _control_dies(platform: Any, dice: Random) -> None:
    platform.control.kill("kill -9")


def _all_reboot(platform: Any, dice: Random) -> None:
    for host in platform.hosts.values():
        host.power_off()
        platform.world.after(1.0, host.power_on)


def _wires_double(platform: Any, dice: Random) -> None:
    for host in platform.hosts.values():
        host.wire.doubles, host.wire.slow_s = 0.9, 3.0


def _change(n: int, what: str, told: object) -> Act:
    return lambda platform, dice: people.changes(platform, n, what, told)


def _copied(platform: Any, dice: Random) -> None:
    platform.control.copies = [platform.control.stored]


def _one_falls_ill(platform: Any, dice: Random) -> None:
    host = platform.hosts[min(platform.hosts)]
    for uid in sorted(host.ready):
        host.falls_ill(uid)


def _agents_die(platform: Any, dice: Random) -> None:
    for agent in platform.agents.values():
        agent.killed("kill -9")


def _evicts(platform: Any, dice: Random) -> None:
    busy = sorted(host.name for host in platform.hosts.values() if host.pop == "LHR" and host.ready)
    platform.control.ask("evict", hosts.evict(busy[0]))


def _nothing(platform: Any, dice: Random) -> None:
    """Time passes."""


def _one_host_each(platform: Any) -> bool:
    return len(platform.hosts) == len(platform.cities)


def _shared(platform: Any) -> bool:
    return _one_host_each(platform) and platform.both_anycast and len(platform.control.state.network.anycast4) == 1


def _tight(platform: Any) -> bool:
    return any(h.capacity is not None for _, h in platform.control.state.network.hosts())


def _without_suspicion(right: Any) -> Any:
    return lambda standing, others, cause: right(replace(standing, turned_bad=frozenset()), others, cause)


def _foreign_export(right: Any) -> Any:
    def speaker_for(facts: Any, now: float) -> Any:
        config = right(facts, now)
        leak = [Export(prefix=IPv4Network("8.8.8.0/24"), upstream=u.name) for u in config.upstreams[:1]]
        return replace(config, exports=(*config.exports, *leak))

    return speaker_for


def _steps_without(right: Any, unwanted: Callable[[Any, Any], bool]) -> Any:
    def converge(facts: Any, now: float) -> Any:
        return [step for step in right(facts, now) if not unwanted(facts, step)]

    return converge


def _restarts_the_sick(right: Any) -> Any:
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


def _says_it_was_placed(right: Any) -> Any:
    def place_new(self: Any, target: Any, city: Any, ordinal: int, name: Any, *, moving: bool) -> Any:
        return True if moving else right(self, target, city, ordinal, name, moving=moving)

    return place_new


def _all_ready(right: Any) -> Any:
    def keep(self: Any, one: Any, others: Any) -> None:
        self.step.ready = {one.uid, *self.step.ready}
        right(self, one, others)

    return keep


def _from_anybody(right: Any) -> Any:
    def without_gone(state: Any, host: Any, gone: Any, now: float) -> Any:
        for uid in gone:
            stone = state.tombstones.get(uid)
            if stone is not None:
                state = right(state, stone.incarnation.host, frozenset({uid}), now)
        return state

    return without_gone


def _deaf_without_control(right: Any) -> Any:
    def observe(self: Any) -> Any:
        seen = right(self)
        return seen if self.control.up else replace(seen, health={})

    return observe


def _obeys_anything(right: Any) -> Any:
    def turn(order: Any, page: Any) -> Any:
        old = replace(page, order=replace(page.order, generation=0)) if page is not None else None
        return right(order, old)

    return turn


def _forgets_its_order(right: Any) -> Any:
    def start(self: Any) -> None:
        self.host.page = None
        right(self)

    return start


def _grants_all(right: Any) -> Any:
    return lambda standing: {
        host: Grant(prefix=standing.prefix, allowed=True, reason=Reason.GRANTED) for host, _ in standing.requests
    }


_LATER = (16.0, _nothing)
_AWAY = ((6.0, _control_dies), (7.0, _all_reboot), (60.0, _nothing))

MUTATIONS: dict[str, Mutation] = {
    "an agent that starts forgets its order": Mutation(
        where="tests.simulate.agent.Agent.start", change=_forgets_its_order, caught_by=_of(1), script=_AWAY
    ),
    "the governor grants all": Mutation(where="anypop.judge.verdict.govern", change=_grants_all, caught_by=_of(2, 3)),
    "an agent withdraws what is not ready": Mutation(
        where="anypop.agent.decide.announcements.Facts.is_abandoned",
        change=_always(True),
        caught_by=_of(2),
        script=((6.0, _all_die), (9.0, _nothing)),
    ),
    "many PoPs that turn bad are no reason to doubt": Mutation(
        where="anypop.judge.governor._answer",
        change=_without_suspicion,
        caught_by=_of(3),
        script=((6.0, faults.probes_lie), (15.0, _nothing)),
    ),
    "without control nothing is known to be healthy": Mutation(
        where="tests.simulate.agent.Agent._observe", change=_deaf_without_control, caught_by=_of(1, 7), script=_AWAY
    ),
    "any order is obeyed": Mutation(
        where="tests.simulate.agent.turn",
        change=_obeys_anything,
        caught_by=_of(5),
        script=(
            (4.0, _wires_double),
            *((5.0 + n, _change(0, "replicas", 1 + n % 2)) for n in range(4)),
            (16.0, _nothing),
        ),
    ),
    "an order may forget instances": Mutation(
        where="anypop.agent.ledger._lost",
        change=_always(set()),
        caught_by=_of(6),
        script=((6.0, _copied), (7.0, _deploy("good:2")), (12.0, faults.store_is_restored), (15.0, _nothing)),
    ),
    "the members of a group are never mended": Mutation(
        where="anypop.agent.decide.converge.members_for",
        change=lambda right: (
            lambda address, facts, now: facts.observed.balanced.get(address) or right(address, facts, now)
        ),
        caught_by=_of(1, 7, 9, 11),
        script=((6.0, _change(0, "image", "good:3")), (30.0, _nothing)),
    ),
    "what is wanted is announced, ready or not": Mutation(
        where="anypop.agent.decide.announcements._export",
        change=lambda right: (
            lambda key, facts, now: as_asked(facts.wanted[key]) if key in facts.wanted else right(key, facts, now)
        ),
        caught_by=_of(8, 21),
    ),
    "an agent that starts announces before it has asked": Mutation(
        where="anypop.agent.decide.announcements.Facts.is_proven",
        change=_always(True),
        caught_by=_of(8, 21),
        script=((6.0, _one_falls_ill), (20.0, _agents_die), (24.0, _nothing)),
    ),
    "a prefix is withdrawn at once": Mutation(
        where="anypop.agent.decide.announcements._fading",
        change=_always(None),
        caught_by=_of(9),
        script=((6.0, _change(0, "cities", ["AMS"])), (9.0, _nothing)),
    ),
    "the older incarnation goes before the newer one is healthy": Mutation(
        where="anypop.plan.placement._Turn._keep",
        change=_all_ready,
        caught_by=_of(9),
        script=((6.0, _change(0, "image", "sick:1")), (9.0, _nothing)),
    ),
    "a drain has no deadline": Mutation(
        where="anypop.agent.decide.converge.is_drained",
        change=lambda right: (
            lambda leaving, facts, now: right(leaving, facts, now) and not facts.has_process(leaving.removal.uid)
        ),
        caught_by=_of(9),
        script=((6.0, _change(0, "image", "good:3")), (9.0, _nothing)),
    ),
    "a prefix of others is exported": Mutation(
        where="anypop.agent.decide.converge.speaker_for", change=_foreign_export, caught_by=_of(10)
    ),
    "flows are taken for pinned": Mutation(
        where="anypop.agent.decide.facts.Facts.is_pinned",
        change=_always(True),
        caught_by=_of(11),
        script=((6.0, _change(0, "image", "good:3")), (15.0, _nothing)),
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
        caught_by=_of(1, 12, 13),
    ),
    "namespaces are left behind": Mutation(
        where="anypop.agent.decide.turn.converge",
        change=lambda right: _steps_without(right, lambda facts, step: isinstance(step, DeleteNamespace)),
        caught_by=_of(9, 12),
        script=((6.0, _change(0, "image", "good:3")), (9.0, _nothing)),
    ),
    "who is lost with its host is not placed anew": Mutation(
        where="anypop.plan.placement._Turn._place_new",
        also=("anypop.control.decide.recheck", _always(None)),
        change=_says_it_was_placed,
        caught_by=_of(13),
        script=((6.0, _evicts), (9.0, _nothing)),
        only=lambda platform: not _one_host_each(platform),
    ),
    "a sick instance is stopped": Mutation(
        where="anypop.agent.decide.converge._container_steps",
        change=_restarts_the_sick,
        caught_by=_of(14),
        script=((6.0, faults.instances_fall_ill), (12.0, _nothing)),
    ),
    "a released address does not rest": Mutation(
        where="anypop.control.ground.StateGround.rests",
        change=_always(False),
        caught_by=_of(15),
        script=(
            (1.0, _deploy("good:2")),
            (6.0, lambda platform, dice: people.deletes_one(platform, 1)),
            (40.0, _deploy("good:2")),
            (42.0, _nothing),
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
        caught_by=_of(1, 7, 9, 12, 13),
        script=((1.0, _deploy("not-there:1")), (9.0, _all_die), (12.0, _nothing)),
        only=_one_host_each,
    ),
    "who falls often comes back at once": Mutation(
        where="anypop.judge.health.FIRST_COOL_S",
        change=lambda right: 0.0,
        caught_by=_of(17),
        script=((6.0, _all_die), (8.0, _all_die), (10.0, _all_die), (12.0, _all_die), (15.0, _nothing)),
    ),
    "an update passes unseen": Mutation(
        where="anypop.plan.rollout._pending",
        change=_always([]),
        caught_by=_of(18),
        script=((6.0, _change(0, "image", "sick:1")), (20.0, _nothing)),
    ),
    "a newcomer may take a prefix from who serves": Mutation(
        where="anypop.judge.verdict.to_blame",
        change=lambda right: lambda gates, healthy, has_served: gates - healthy,
        also=("anypop.control.decide._is_new", _always(lambda *_: False)),
        caught_by=_of(19),
        script=((6.0, _no_registry), (7.0, _deploy("good:3")), (60.0, _nothing)),
        only=_shared,
    ),
    "whoever says so is believed": Mutation(
        where="anypop.control.decide.without_gone",
        change=_from_anybody,
        caught_by=_of(20),
        script=((6.0, _change(0, "cities", ["AMS"])), *((6.1 + n / 5, faults.somebody_forges) for n in range(6))),
    ),
    "a family counts for the other": Mutation(
        where="anypop.agent.decide.elements.ProbeVerdict.of",
        change=lambda right: lambda verdict, version: verdict,
        caught_by=_of(21),
        script=((1.0, _deploy("only-ipv4:1")), (9.0, _nothing)),
        only=lambda platform: platform.both_anycast and not platform.without_ports,
    ),
    "there is room for everything": Mutation(
        where="anypop.plan.rooms.Room.fits",
        change=_always(True),
        caught_by=_of(23),
        script=((1.0, _change(0, "replicas", 2)), (2.0, _deploy("good:2")), (9.0, _nothing)),
        only=_tight,
    ),
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
