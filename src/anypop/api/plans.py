"""/anypop/v1/.../plan: what a creation, a change or a deletion would do, before anything is done.

In: a workload as PUT takes it, or the name of one to delete. Out: the instances that would be created, made anew and
deleted, the announcements that would begin and end, what would find no place, and the price. The core decides it as it
would decide the real thing, and keeps none of it; what the real thing would be refused for, this is.
"""

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends

from anypop.api import shapes
from anypop.api.bodies import JsonObject
from anypop.api.changes import differences
from anypop.api.context import AskingCaller, CallerStack, Platform, PlatformDep
from anypop.api.documentation import answers
from anypop.api.errors import Code
from anypop.api.models.plans import PlanRequest, WorkloadPlan
from anypop.control import declare
from anypop.control.accounts import Account, Caller, Stack
from anypop.control.core import Alter
from anypop.control.state import Declaration, State
from anypop.model.errors import Invalid
from anypop.model.names import WorkloadId, instance_name
from anypop.model.table import differing
from anypop.model.workload import Workload
from anypop.plan.parse import Parsed
from anypop.plan.price import quote
from anypop.plan.rollout import waves_of
from anypop.plan.scaling import ordinals_of
from anypop.plan.template import template_of

router = APIRouter(prefix="/anypop/v1", tags=["rollouts"])

Announced = tuple[str, str, str, str]


@router.post("/stacks/{stack_id}/plan")
@answers(WorkloadPlan, Code.FAILED_PRECONDITION, Code.RESOURCE_EXHAUSTED, Code.NOT_FOUND)
async def plan_workload(
    stack: CallerStack,
    caller: AskingCaller,
    platform: PlatformDep,
    body: Annotated[dict[str, Any], Depends(JsonObject(PlanRequest))],
) -> dict[str, Any]:
    """Plan a workload's creation, change or deletion without doing it."""
    tried = await trial(platform, stack, caller, body)
    told = of_one(platform, tried.before, tried.after, current=tried.current, made=tried.made)
    return told | beyond(tried.before, tried.after)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """The state of now and the one that would be. `current`: the workload as it is, `made`: as it would be; None where
    it is not.
    """

    before: State
    after: State
    workload: WorkloadId
    current: Declaration | None
    made: Parsed | None


async def trial(platform: Platform, stack: Stack, caller: Caller, body: dict[str, Any]) -> Trial:
    """What a `PlanRequest` asks for, tried. Raises what the real thing would be refused for."""
    wanted, doomed = body.get("workload"), body.get("delete")
    if (wanted is None) is (doomed is None):
        raise Invalid.one("workload", "is required, or delete: one of them")
    if doomed is not None:
        if not isinstance(doomed, str):
            raise Invalid.one("delete", "must be the id or the slug of a workload")
        current: Declaration | None = platform.workload(stack, doomed)
        made = None
    elif not isinstance(wanted, dict):
        raise Invalid.one("workload", "must be an object")
    else:
        current = standing(platform, stack, wanted)
        made = await asyncio.to_thread(made_of, platform, stack, caller, wanted, current)
    alter, workload = step_of(made, current, caller.account)
    if made is not None:
        alter = platform.within_quota(alter, stack)
    confirmed = frozenset([workload]) if current is not None else frozenset[WorkloadId]()
    before, after = await platform.core.tried(alter, confirmed=confirmed)
    if current is None:
        declare.refuse_without_address(workload)(after)
    return Trial(before=before, after=after, workload=workload, current=current, made=made)


def standing(platform: Platform, stack: Stack, wanted: dict[str, Any]) -> Declaration | None:
    """The workload that is there already: by its slug, or by its id."""
    refs = (wanted.get(key) for key in ("slug", "id"))
    found = (platform.core.state.find(stack.id, ref) for ref in refs if isinstance(ref, str) and ref)
    return next((one for one in found if one is not None), None)


def made_of(
    platform: Platform, stack: Stack, caller: Caller, wanted: dict[str, Any], current: Declaration | None
) -> Parsed:
    """Blocking."""
    cities, rules = platform.cities(), platform.rules()
    if current is None:
        return platform.with_images(declare.parsed(wanted, stack, declare.new_id(), cities, rules), caller)
    made = declare.redeclared(wanted, current, stack, cities, rules)
    return platform.with_images(made, caller, current.workload)


def step_of(made: Parsed | None, current: Declaration | None, account: Account) -> tuple[Alter, WorkloadId]:
    if made is None:
        assert current is not None
        return declare.delete(current.id), current.id
    if current is None:
        return declare.create(made), made.workload.id
    return declare.replace_with(current, made, by=account.name), current.id


def of_one(
    platform: Platform,
    before: State,
    after: State,
    *,
    current: Declaration | None,
    made: Parsed | None,
) -> dict[str, Any]:
    """What becomes of one workload between two states."""
    old = current.workload if current is not None and current.delete_requested_at is None else None
    new = made.workload if made is not None else None
    was, will = set(_names(old, before)), set(_names(new, after))
    anew = old is not None and new is not None and template_of(new, before.template_key) != old.template
    prices = {side: quote(one, platform.prices) for side, one in (("before", old), ("after", new)) if one is not None}
    months = {side: one.monthly for side, one in prices.items()}
    told = {
        "action": _action(before, after, current=current, made=made),
        "created": sorted(will - was),
        "replaced": sorted(was & will) if anew else [],
        "deleted": sorted(was - will),
        "price": {
            **{side: shapes.quoted(one) for side, one in prices.items()},
            "difference": round(months.get("after", 0.0) - months.get("before", 0.0), 6),
        },
    }
    more = {
        "changes": list(differences(current, made)) if current is not None and made is not None else [],
        "waves": [list(wave) for wave in waves_of(_pops(new))] if anew and new is not None else [],
        "without_effect": [
            {"field": problem.path, "description": problem.message} for problem in (made.unacted if made else ())
        ],
    }
    return told | shapes.filled(more)


def beyond(before: State, after: State) -> dict[str, Any]:
    """What becomes of announcements, and what finds no place."""
    announced, shall = _announced(before, after)
    return {
        "announced": _rows(shall - announced),
        "withdrawn": _rows(announced - shall),
        "not_placed": list(_not_placed(before, after)),
    }


def _action(before: State, after: State, *, current: Declaration | None, made: Parsed | None) -> str:
    known = made.workload if made is not None else current.workload if current is not None else None
    if known is None or before.workloads.get(known.id) == after.workloads.get(known.id):
        return "nothing"
    return "delete" if made is None else "create" if current is None else "change"


def _names(workload: Workload | None, state: State) -> Iterator[str]:
    for target in workload.targets if workload is not None else ():
        for city in target.cities:
            assert workload is not None
            for ordinal in ordinals_of(target, state.scaled.get((workload.id, target.name, city))):
                yield str(instance_name(workload.slug, target.name, city, ordinal))


def _pops(workload: Workload) -> dict[Any, int]:
    return {city: target.replicas for target in workload.targets for city in target.cities}


def _announced(before: State, after: State) -> tuple[set[Announced], set[Announced]]:
    """What hosts were ordered to announce and would be, of those whose orders differ."""
    pops = {host.name: pop.city for pop, host in after.network.hosts()}
    sides: list[set[Announced]] = []
    for state in (before, after):
        found: set[Announced] = set()
        for host in differing(before.orders, after.orders):
            issued = state.orders.get(host)
            for one in issued.order.announcements if issued is not None else ():
                found.add((str(pops.get(host, "")), str(host), str(one.prefix), one.upstream))
        sides.append(found)
    return sides[0], sides[1]


def _rows(found: Iterable[Announced]) -> list[dict[str, str]]:
    return [dict(zip(("pop", "host", "prefix", "upstream"), row, strict=True)) for row in sorted(found)]


def _not_placed(before: State, after: State) -> Iterator[dict[str, str]]:
    if after.plan is None:
        return
    old = set(before.plan.notes_unlike(after.plan)) if before.plan is not None else set()
    news = after.plan.notes_unlike(before.plan) if before.plan is not None else after.plan.notes
    for note in news:
        if note not in old:
            yield {"subject": note.subject, "reason": note.reason.value} | (
                {"detail": note.detail} if note.detail else {}
            )
