"""What people may ask of dials, and whether hosts do what they say.

In: what a request names. Out: the `alter` step for `Core.change`, which checks against what is there inside the step;
or, of a dial that stands, whether it is in force by the hosts' last reports and why not. Pure.
"""

from dataclasses import replace

from anypop.control.core import Alter
from anypop.control.refusals import Forbidden, NotFound, Precondition, VersionConflict
from anypop.control.state import Declaration, State
from anypop.model.announce import Address
from anypop.model.dial import WHOLE, Dial, InForce
from anypop.model.names import CityCode, WorkloadId
from anypop.model.network import Pop
from anypop.model.reasons import Reason
from anypop.model.table import with_entries
from anypop.plan.dials import keeps


def dial(
    city: str, workload: WorkloadId, *, percent: int | None, shed_above: int | None, sheds: bool, note: str,
    version: int | None, by: str, operator: bool,
) -> Alter:  # fmt: skip
    """Have a PoP keep `percent` of the new connections to a workload ("": to all). None: as it is. `sheds`: whether
    anything is said of shedding: above which load, or None for never. `version`: that the caller has seen.

    The step raises `NotFound`; `Forbidden` where the operator has set it; `VersionConflict`; and `Precondition` where
    nobody could take what would leave.
    """

    def alter(state: State, now: float) -> State:
        pop = _pop(state, city)
        there = state.dials.get((pop.city, workload))
        if version is not None and version != (there.version if there is not None else 0):
            was = f"version {there.version}" if there is not None else "not there"
            raise VersionConflict(f"the dial is {was} by now: look at it again")
        if there is not None and there.by_operator and not operator and there.percent < WHOLE:
            raise Forbidden(f"the operator has set this dial to {there.percent} %: ask the operator")
        asked = percent if percent is not None else there.percent if there is not None else WHOLE
        if asked < WHOLE or (sheds and shed_above is not None):
            _check(state, pop, workload, asked)
        made = Dial(pop=pop.city, workload_id=workload) if there is None else there
        if sheds and shed_above is None:  # what was shed comes back at once: a person has said so
            made = replace(made, shed_above=None, shed_to=WHOLE, shed_at=None)
        elif sheds:
            made = replace(made, shed_above=shed_above)
        made = replace(made, percent=asked, note=note or (made.note if percent is None else ""))
        if there is not None and _asked(made) == _asked(there):
            return state
        made = replace(
            made, by=by, by_operator=operator, at=now, version=there.version + 1 if there is not None else 1
        )  # fmt: skip
        return replace(state, dials=with_entries(state.dials, {(pop.city, workload): made}))

    return alter


def _asked(dial: Dial) -> object:
    return dial.percent, dial.shed_above, dial.note


def _pop(state: State, city: str) -> Pop:
    pop = state.pop(CityCode(city.upper()))
    if pop is None:
        raise NotFound(f"no PoP {city} (there are {', '.join(sorted(p.city for p in state.network.pops))})")
    return pop


def _check(state: State, pop: Pop, workload: WorkloadId, percent: int) -> None:
    """Whether anybody could take it, as far as that is declared; who is ill at this moment is the hosts' to know."""
    if state.network.backbone is None:
        raise Precondition(
            f"there is no backbone: nobody can take what {pop.city} does not keep. See docs/backbone.md, or drain "
            f"{pop.city} instead"
        )
    others = [p.city for p in state.network.pops if p.city != pop.city]
    name = f"all of {pop.city}"
    if workload:
        declared = state.workloads[workload]
        name, others = declared.workload.slug, _others(state, declared, pop)
    if not others:
        raise Precondition(f"{name} stands in no other PoP: nobody can take what {pop.city} does not keep")
    dials = state.dials.values()
    if percent < WHOLE and all(keeps(dials, city, workload) <= percent for city in others):
        told = ", ".join(f"{city} {keeps(dials, city, workload)} %" for city in sorted(others))
        raise Precondition(
            f"every other PoP is dialled as low for {name} ({told}): nobody would take it. Dial one of them up first"
        )


def _others(state: State, declared: Declaration, pop: Pop) -> list[CityCode]:
    """Where else a workload stands. Raises `Precondition` where its traffic cannot be divided in this PoP."""
    workload = declared.workload
    if workload.deleting:
        raise Precondition(f"{workload.slug} is being deleted")
    if declared.id not in state.anycast:
        raise Precondition(f"{workload.slug} has no anycast address: its instances are reached by their own alone")
    if workload.local_only:
        raise Precondition(f"{workload.slug} is local only: nobody carries it to another PoP")
    stands = {placed.incarnation.pop for placed in state.incarnations_of(declared.id).values()}
    if pop.city not in stands:
        there = ", ".join(sorted(stands)) or "none"
        raise Precondition(
            f"{workload.slug} has no instance in {pop.city} (it has some in {there}): what comes in there is carried "
            "to others already"
        )
    return [city for city in stands if city != pop.city]


def in_force(state: State, one: Dial) -> tuple[InForce, Reason]:
    """Whether the hosts of the PoP do what it says, by the last reports of those that are to be believed."""
    if one.keeps >= WHOLE:
        return InForce.PLAIN, Reason.UNDIALLED
    if state.network.backbone is None:
        return InForce.NO, Reason.NO_BACKBONE
    pop, held = state.pop(one.pop), state.anycast.get(one.workload_id)
    wanted: set[Address] | None = {held.address4, held.address6} if held is not None else None
    told: list[bool] = []
    for host in pop.hosts if pop is not None else ():
        received, verdict = state.reports.get(host.name), state.verdict.hosts.get(host.name)
        issued = state.orders.get(host.name)
        if received is None or verdict is None or not verdict.trusted or issued is None:
            return InForce.UNKNOWN, Reason.REPORT_STALE
        if received.report.generation < issued.order.generation:
            return InForce.NO, Reason.DIAL_WAITS
        told.append(any(c.kept is not None and c.address in (wanted or (c.address,)) for c in received.report.carried))
    if any(told):
        return (InForce.YES if all(told) else InForce.PARTLY), Reason.SHEDS if one.shed_to < one.percent else (
            Reason.DIALLED
        )  # fmt: skip
    return InForce.NO, Reason.NOBODY_TAKES
