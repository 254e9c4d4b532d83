"""Autoscaling: how many instances a load brings, and when they go.

In: acts that let a number follow its load, and that change the load of a PoP. Out: invariants: numbers stay within what
is declared; nobody goes too soon, on what is not known, beside a drain or an update, or as the last that serves; and a
constant load ends in a constant number that is enough for it.
"""

from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any

from anypop.control import drains
from anypop.control.state import State
from anypop.judge.verdict import is_fresh
from anypop.model.drain import DrainKind
from anypop.model.names import CityCode
from anypop.model.reasons import Reason
from anypop.model.report import Phase
from anypop.model.rollout import RolloutKind
from anypop.model.scaling import Scaled
from anypop.model.table import differing
from anypop.plan.scaling import BELOW, WAITS, ordinals
from tests.simulate import people, scenes
from tests.simulate.features.feature import Feature
from tests.simulate.invariants.broken import broken
from tests.simulate.mutation import Mutation, always, of

if TYPE_CHECKING:
    from tests.simulate.lives import Platform

MOST, THRESHOLD = 4, 500  # instances; thousandths of a core above which there are more
LOADS = (0, 100, 400, 900, 1300, 2600)  # of all instances of a workload in a PoP together

# what people and clients do


def lets_it_follow(platform: "Platform", dice: Random) -> None:
    n = dice.choice((0, 0, 0, 1))
    people.changes(platform, n, "scale", MOST if dice.random() < 0.8 else None)
    load_changes(platform, dice)


def load_changes(platform: "Platform", dice: Random) -> None:
    for city in dice.sample(platform.cities, dice.choice((1, 1, 2, 3))):
        is_asked(platform, dice.choice((0, 0, 0, 1)), city, dice.choice(LOADS))


def is_asked(platform: "Platform", n: int, city: CityCode, millis: int) -> None:
    current = people.declared(platform, n)
    if current is not None:
        platform.world.tell(city, f"{people.SLUGS[n]} is asked for {millis} thousandths of a core there")
        platform.demand[current.id, city] = millis


# what may never happen


def numbers_stay_within_what_is_declared(platform: "Platform", before: State, after: State) -> None:
    """18: Between the least and the most, and no instance stands beyond the number."""
    if after.scaled is before.scaled and after.workloads is before.workloads:
        return
    for key in differing(before.scaled, after.scaled):
        one = after.scaled.get(key)
        declared = after.workloads.get(key[0])
        if one is None or declared is None:
            continue
        platform.reasons.add(one.reason)
        target = next((t for t in declared.workload.targets if t.name == one.target), None)
        stays = target is not None and target.scale is None and one.left_out and one.replicas == target.replicas
        if not stays and (
            target is None or target.scale is None or not target.replicas <= one.replicas <= target.scale.most
        ):
            text = f"{key}: {one.replicas} are to be there, and declared is {target}"
            raise broken(18, numbers_stay_within_what_is_declared, text)


def nobody_goes_too_soon(platform: "Platform", before: State, after: State) -> None:
    """17: Not before some time after the last change of the number, whatever changed it."""
    for was, now in _shrunk(before, after):
        passed = now.acted_at - was.acted_at
        if passed < after.network.scale_down_after_s - 1e-3:
            raise broken(17, nobody_goes_too_soon, f"{now.key}: {passed:.1f} s after the last change")


def nobody_goes_who_is_needed(platform: "Platform", before: State, after: State) -> None:
    """9: Where instances go since the load fell, all that stay in the PoP are known to serve, and no drain of it and no
    update stands.
    """
    for _, now in _shrunk(before, after):
        clock = platform.control.clock()
        lives = [
            p.incarnation
            for p in after.incarnations_of(now.workload_id).values()
            if (p.incarnation.target, p.incarnation.pop) == (now.target, now.pop)
            and p.incarnation.ordinal in ordinals(now.replicas, now.left_out)
        ]
        serving = set()
        for life in lives:
            received = after.reports.get(life.host)
            if received is None or not is_fresh(received, clock):
                raise broken(9, nobody_goes_who_is_needed, f"{now.key}: {life.host} says nothing")
            if any(i.uid == life.uid and i.healthy and i.phase is Phase.RUNNING for i in received.report.instances):
                serving.add(life.name)
        if len(serving) < now.replicas:
            raise broken(9, nobody_goes_who_is_needed, f"{now.key}: {len(serving)} of {now.replicas} that stay serve")
        if any(d.kind is DrainKind.POP for d in before.drains_at(now.pop)):
            raise broken(9, nobody_goes_who_is_needed, f"{now.key}: {now.pop} is drained")
        if before.rollout_of(now.workload_id, RolloutKind.UPDATE) is not None and after.rollout_of(now.workload_id):
            raise broken(9, nobody_goes_who_is_needed, f"{now.key}: an update is under way")


def nobody_goes_by_what_is_not_known(platform: "Platform", before: State, after: State) -> None:
    """4: Of all that were there the use is known, and it is small enough for those that stay."""
    for was, now in _shrunk(before, after):
        used = 0
        for placed in before.incarnations_of(now.workload_id).values():
            life = placed.incarnation
            those = ordinals(was.replicas, was.left_out)
            if (life.target, life.pop) != (now.target, now.pop) or life.ordinal not in those:
                continue
            received = after.reports.get(life.host)
            told = dict(received.report.measured) if received is not None else {}
            answers = received is not None and any(i.uid == life.uid and i.healthy for i in received.report.instances)
            if life.uid not in told and answers:
                raise broken(4, nobody_goes_by_what_is_not_known, f"{life.name}: nobody has told what it uses")
            used += told.get(life.uid, 0)
        if used > BELOW * THRESHOLD * now.replicas + 1:
            text = f"{now.key}: {used} are used, and {now.replicas} stay"
            raise broken(4, nobody_goes_by_what_is_not_known, text)


def _shrunk(before: State, after: State) -> list[tuple[Scaled, Scaled]]:
    """Those whose number has fallen with their load."""
    if after.scaled is before.scaled:
        return []
    both = differing(before.scaled, after.scaled) & before.scaled.keys() & after.scaled.keys()
    pairs = [(before.scaled[key], after.scaled[key]) for key in sorted(both)]
    return [(was, now) for was, now in pairs if now.replicas < was.replicas and now.last is Reason.LOAD_FELL]


def nothing_swings(platform: "Platform", before: State, after: State) -> None:
    """17: While the load stays and nothing breaks, a number that has fallen does not rise again."""
    if not platform.healed or after.scaled is before.scaled:
        return
    for key in differing(before.scaled, after.scaled) & before.scaled.keys() & after.scaled.keys():
        was, now = before.scaled[key], after.scaled[key]
        mark = "fell", *key
        if now.replicas < was.replicas:
            platform.fallen[mark] += 1
        elif now.replicas > was.replicas and now.last is Reason.LOAD_ROSE and platform.fallen[mark] > 1:
            raise broken(17, nothing_swings, f"{key}: up again after it fell {platform.fallen[mark]} times")


def it_is_enough_in_the_end(platform: "Platform") -> None:
    """12: In the end there are as many as the load asks for, where nothing stands in the way."""
    state = platform.control.state
    for key, one in state.scaled.items():
        demand = platform.demand.get((one.workload_id, one.pop), 0)
        declared = state.workloads[one.workload_id]
        serves = platform.serves_in_the_end(declared.workload.containers[0].image)
        if all(t.scale is None for t in declared.workload.targets):
            continue
        if one.reason is not Reason.LOAD_STEADY or not serves or state.active_rollouts() or state.active_drains():
            continue
        if one.replicas < MOST and demand > THRESHOLD * one.replicas + one.replicas:
            raise broken(12, it_is_enough_in_the_end, f"{key}: {one.replicas} for {demand}")


def waits(platform: "Platform") -> bool:
    """Whether some number is known to fall soon."""
    return any(one.message == WAITS for one in platform.control.state.scaled.values())


# what they notice


def _everywhere(millis: int) -> scenes.Act:
    def act(platform: Any, dice: Random) -> None:
        for city in platform.cities:
            is_asked(platform, 0, city, millis)

    return act


def _follows(platform: Any, dice: Random) -> None:
    people.changes(platform, 0, "scale", MOST)


def _more(right: Any) -> Any:
    def scaled(was: Any, look: Any, *rest: Any) -> Any:
        made = right(was, look, *rest)
        return replace(made, replicas=made.replicas + 1, acted_at=look.at) if made.last is Reason.LOAD_ROSE else made

    return scaled


def _looks(**changes: Any) -> Any:
    """What is seen is bent."""

    def bent(right: Any) -> Any:
        def look(self: Any, target: Any, city: Any, was: Any) -> Any:
            seen = right(self, target, city, was)
            return replace(seen, **changes, load=seen.load or 0.0)

        return look

    return bent


def _first_dies(platform: Any, dice: Random) -> None:
    """The one that would stay where the load falls, for good."""
    for host in platform.hosts.values():
        for i in host.ordered():
            if i.name.startswith("one") and i.name.endswith("-0"):
                host.falls_ill(i.uid)


def _cut_off(platform: Any, dice: Random) -> None:
    for host in platform.hosts.values():
        if host.pop == "AMS":
            host.wire.cut = True
            platform.agents[host.name].line.lost()


def _drained(platform: Any, dice: Random) -> None:
    aim = drains.site_of(platform.control.state, "AMS")
    assert aim is not None
    asked = drains.begin(aim, "drain-ams", by="a person", until=None, deadline_s=4.0, calm_s=1.0)
    platform.control.ask("drain AMS", asked)


UP = ((3.0, _follows), (4.0, _everywhere(1300)), (16.0, _everywhere(100)))

MUTATIONS = {
    "a load brings one more than may be": Mutation(
        where="anypop.control.scaling.scaled",
        change=_more,
        caught_by=of(18),
        script=((3.0, _follows), (4.0, _everywhere(2600)), (20.0, scenes.nothing)),
        only=lambda platform: not scenes.tight(platform),
    ),
    "instances go as soon as the load falls": Mutation(
        where="anypop.control.scaling.scaled",
        change=lambda right: lambda was, look, seen, down_after_s: right(was, look, seen, 0.0),
        caught_by=of(17),
        script=(*UP, (19.0, _everywhere(1300)), (24.0, _everywhere(100)), (45.0, scenes.nothing)),
        only=lambda platform: not scenes.tight(platform),
    ),
    "those that stay need not serve": Mutation(
        where="anypop.control.load.Load.look",
        change=_looks(not_ready=frozenset(), blind=(), unwell=0),
        caught_by=of(9),
        script=(*UP, (17.0, _first_dies), (60.0, scenes.nothing)),
        only=lambda platform: not scenes.tight(platform),
    ),
    "what is not known is little": Mutation(
        where="anypop.control.load.Load.look",
        change=_looks(not_ready=frozenset(), blind=(), unwell=0, held=""),
        caught_by=of(4, 9),
        script=(*UP, (17.0, _cut_off), (60.0, scenes.nothing)),
        only=lambda platform: not scenes.tight(platform),
    ),
    "fewer will do although they would be above the threshold": Mutation(
        where="anypop.plan.scaling.BELOW",
        change=lambda right: 2.5,
        caught_by=of(4, 17),
        script=((3.0, _follows), (4.0, _everywhere(1300)), (60.0, scenes.nothing)),
        only=lambda platform: not scenes.tight(platform),
    ),
    "a drain is no reason to wait": Mutation(
        where="anypop.control.load.Load._in_the_way",
        change=always(("", "")),
        caught_by=of(9),
        script=(*UP, (17.0, _drained), (60.0, scenes.nothing)),
        only=lambda platform: not scenes.tight(platform),
    ),
}

FEATURE = Feature(
    where_hosts_carry=((3, lets_it_follow), (3, load_changes)),
    at_control=(
        numbers_stay_within_what_is_declared,
        nobody_goes_too_soon,
        nobody_goes_who_is_needed,
        nobody_goes_by_what_is_not_known,
        nothing_swings,
    ),
    waits=(waits,),
    at_the_end=(it_is_enough_in_the_end,),
    mutations=MUTATIONS,
)
