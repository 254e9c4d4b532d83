"""What people may ask of drains: to take the traffic from something, to bring it back, and what vantages saw of it.

In: what a request names, and times. Out: what is meant (`aim_of`), and the `alter` step for `Core.change`; each checks
against what is there inside the step. What follows is `draining`'s and the planner's. Nothing here does I/O.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import fields, replace

from anypop.control.core import Alter
from anypop.control.draining import lows_at, without_successors
from anypop.control.refusals import NotFound, Precondition
from anypop.control.state import State
from anypop.model.drain import Aim, Drain, DrainKind, DrainStage, Landings
from anypop.model.errors import Invalid
from anypop.model.names import CityCode, StackId
from anypop.model.network import Pop
from anypop.model.reasons import Reason
from anypop.model.table import with_entries
from anypop.plan.drain import again, looked, returned

FORMS = "a PoP (LHR), one of its upstreams (LHR/level3), a host (LHR-2, or host:LHR), or an instance by its name"


def site_of(state: State, text: str) -> Aim | None:
    """The PoP, host or upstream that a name means; None where it is none of these. Raises `NotFound` where it can be
    nothing else.
    """
    city, slash, upstream = text.partition("/")
    if slash:
        pop = _pop(state, city)
        if pop is None:
            raise NotFound(f"no PoP {city} (there are {_cities(state)})")
        return Aim(kind=DrainKind.UPSTREAM, pop=pop.city, upstream=_upstream(pop, upstream))
    name = text.removeprefix("host:")
    if name == text and (pop := _pop(state, text)) is not None:
        return Aim(kind=DrainKind.POP, pop=pop.city)
    for pop, host in state.network.hosts():
        if host.name.upper() == name.upper():
            return Aim(kind=DrainKind.HOST, pop=pop.city, host=host.name)
    if name != text:
        there = ", ".join(sorted(h.name for _, h in state.network.hosts()))
        raise NotFound(f"no host {name} (there are {there})")
    return None


def instance_of(state: State, text: str, stacks: Collection[StackId] | None) -> Aim:
    """The instance of that name. `stacks`: in which it is looked for; None: in all. Raises `NotFound`, and
    `Precondition` where it is being changed already.
    """
    found = [
        p.incarnation
        for workload, declared in state.workloads.items()
        if stacks is None or declared.stack_id in stacks
        if text.startswith(f"{declared.workload.slug}-")
        for p in state.incarnations_of(workload).values()
        if p.incarnation.name == text
    ]
    owners = {i.workload_id for i in found}
    if not found:
        raise NotFound(f"nothing is called {text}: name {FORMS}")
    if len(owners) > 1:
        raise Invalid.one("drain.target", f"{text} is there in {len(owners)} stacks: say which (stack)")
    if len(found) > 1:
        raise Precondition(f"{text} is being changed already: a newer incarnation stands beside it")
    life = found[0]
    if state.workloads[life.workload_id].workload.deleting:
        raise Precondition(f"{text} is being deleted with its workload")
    return Aim(
        kind=DrainKind.INSTANCE, pop=life.pop, host=life.host, workload_id=life.workload_id, instance=life.name,
        uid=life.uid,
    )  # fmt: skip


def _pop(state: State, city: str) -> Pop | None:
    return state.pop(CityCode(city.upper()))


def _cities(state: State) -> str:
    return ", ".join(sorted(p.city for p in state.network.pops))


def _upstream(pop: Pop, wanted: str) -> str:
    """By its name in the PoP, or by its AS number where only one has it."""
    named = [u for u in pop.upstreams if u.name.lower() == wanted.lower()]
    found = named or [u for u in pop.upstreams if wanted.lower().removeprefix("as") == str(u.asn)]
    if len(found) != 1:
        known = ", ".join(f"{u.name} (AS{u.asn})" for u in pop.upstreams)
        why = (
            f"{wanted} means {len(found)} upstreams of {pop.city}" if found else f"{pop.city} has no upstream {wanted}"
        )
        raise NotFound(f"{why} (it has {known})")
    return found[0].name


def standing(state: State, aim: Aim) -> Drain | None:
    """The drain of that very thing that is not over."""
    return next((d for d in state.drains_at(aim.pop) if _is_of(d, aim)), None)


def _is_of(drain: Drain, aim: Aim) -> bool:
    same = (drain.kind, drain.pop, drain.upstream, drain.uid) == (aim.kind, aim.pop, aim.upstream, aim.uid)
    return same and drain.host == aim.host


def begin(
    aim: Aim,
    identity: str,
    *,
    by: str,
    until: float | None,
    deadline_s: float,
    calm_s: float,
    baseline: Sequence[Landings] = (),
) -> Alter:
    """Take the traffic from what is meant. One that stands there already goes on with the new times, and turns round
    where it was on its way back. `identity`: of a new one.
    """

    def alter(state: State, now: float) -> State:
        if until is not None and until <= now:
            raise Invalid.one("drain.until", "is over already: name a moment to come")
        if until is not None and aim.kind is DrainKind.INSTANCE:
            raise Invalid.one("drain.until", "an instance is replaced, and does not come back: leave it out")
        there = standing(state, aim)
        if there is not None:
            return with_drain(state, again(there, until=until, deadline_s=deadline_s, calm_s=calm_s, now=now))
        if aim.kind is DrainKind.INSTANCE and aim.uid not in state.incarnations:
            raise Precondition(f"{aim.instance} has been changed meanwhile: ask again")
        replaces = aim.kind is DrainKind.INSTANCE
        drain = Drain(
            id=identity,
            **{f.name: getattr(aim, f.name) for f in fields(Aim)},
            stage=DrainStage.REPLACING if replaces else DrainStage.COUNTING,
            reason=Reason.EMPTYING if replaces else Reason.COUNTING,
            by=by,
            until=until,
            deadline_s=deadline_s,
            calm_s=calm_s,
            created_at=now,
            began_at=now,
            stage_at=now,
            lows=lows_at(state.pop(aim.pop)),
            baseline=tuple(baseline),
        )
        return with_drain(state, drain)

    return alter


def undrain(identity: str) -> Alter:
    """Bring the traffic back, stage by stage. Never refused for anybody's health. The step raises `NotFound`."""

    def alter(state: State, now: float) -> State:
        drain = find(state.drains.values(), identity)
        if not drain.active:
            raise Precondition(f"the drain of {drain.target} is over already")
        back = returned(drain, now)
        if back is drain:
            return state
        return without_successors(with_drain(state, back), drain, now)

    return alter


def find(drains: Iterable[Drain], identity: str) -> Drain:
    """One of these by its id or the beginning of it. Raises `NotFound`."""
    found = [d for d in drains if d.id.startswith(identity)]
    found = [d for d in found if d.id == identity] or found
    if len(found) != 1:
        raise NotFound(f"no drain {identity}" if not found else f"{identity} begins {len(found)} ids: say more of it")
    return found[0]


def saw(identity: str, looks: Sequence[Landings], *, began_at: float) -> Alter:
    """What the vantages saw after a withdrawal."""

    def alter(state: State, now: float) -> State:
        drain = state.drains.get(identity)
        if drain is None or not drain.stage.leaves:
            return state
        return with_drain(state, looked(drain, looks, began_at))

    return alter


def with_drain(state: State, drain: Drain) -> State:
    return replace(state, drains=with_entries(state.drains, {drain.id: drain}))
