"""/anypop/v1/.../apply: several workloads declared in one step, or none of them; and what that step would do.

In: workloads as PUT takes them. Out: what would become of each, what of announcements, room and price together; or the
workloads as they are now. The set is decided as one change: quotas, addresses and room are counted for the whole, and
where any of it is refused nothing is declared.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

from fastapi import APIRouter, Depends

from anypop.api import plans, shapes
from anypop.api.bodies import JsonObject
from anypop.api.context import CallerAccount, CallerStack, Platform, PlatformDep
from anypop.api.documentation import answers
from anypop.api.errors import Code
from anypop.api.models.plans import AppliedSet, SetPlan, SetRequest
from anypop.control import declare
from anypop.control.accounts import Account, Stack
from anypop.control.core import Alter, Look
from anypop.control.state import Declaration, State
from anypop.control.together import accepted_by_all, all_of
from anypop.model.errors import Invalid, Problem
from anypop.model.limits import MOST_ENTRIES
from anypop.model.names import WorkloadId
from anypop.plan.parse import Parsed, without_effect
from anypop.plan.price import quote

router = APIRouter(prefix="/anypop/v1/stacks/{stack_id}/apply", tags=["rollouts"])

REFUSED = (Code.FAILED_PRECONDITION, Code.RESOURCE_EXHAUSTED)
SetBody = Annotated[dict[str, Any], Depends(JsonObject(SetRequest))]


@dataclass(frozen=True, slots=True, kw_only=True)
class _One:
    """One workload of a set beside what is there."""

    current: Declaration | None
    made: Parsed

    @property
    def id(self) -> WorkloadId:
        return self.made.workload.id


@router.post("/plan")
@answers(SetPlan, *REFUSED)
async def plan_workloads(
    stack: CallerStack, account: CallerAccount, platform: PlatformDep, body: SetBody
) -> dict[str, Any]:
    """Plan the declaration of several workloads in one step without doing it.

    Refused as the step would be, with the numbers of the whole set.
    """
    found = await asyncio.to_thread(_read, platform, stack, body, versions=False)
    alter, confirmed, accept = _step(platform, stack, account, found)
    before, after = await platform.core.tried(alter, confirmed=confirmed)
    accept(after)
    return {
        "workloads": [
            {"slug": one.made.workload.slug} | plans.of_one(platform, before, after, current=one.current, made=one.made)
            for one in found
        ],
        **plans.beyond(before, after),
        "price": _price(platform, found),
    }


@router.post("")
@answers(AppliedSet, Code.ALREADY_EXISTS, Code.ABORTED, *REFUSED)
async def apply_workloads(
    stack: CallerStack, account: CallerAccount, platform: PlatformDep, body: SetBody
) -> dict[str, Any]:
    """Declare several workloads in one step: all of them, or none.

    Those that are there need their `metadata.version`, as PUT does; a change begins a rollout of each. The answer comes
    when the step is on disk.
    """
    found = await asyncio.to_thread(_read, platform, stack, body, versions=True)
    alter, confirmed, accept = _step(platform, stack, account, found)
    state = await platform.core.change(alter, confirmed=confirmed, accept=accept)
    return {"results": [_applied(state, one) for one in found]}


def _read(platform: Platform, stack: Stack, body: Mapping[str, Any], *, versions: bool) -> list[_One]:
    """Each workload parsed. `versions`: those that are there have to say which version they replace. Raises `Invalid`
    with the problems of all.
    """
    wanted = body.get("workloads")
    if not isinstance(wanted, list) or not wanted:
        raise Invalid.one("workloads", "must be a list of one workload or more")
    if len(wanted) > MOST_ENTRIES:
        raise Invalid.one("workloads", f"must be {MOST_ENTRIES} at most")
    if unknown := sorted(set(body) - {"workloads"}):
        raise Invalid(Problem(path=name, message="is not known; workloads is") for name in unknown)
    found: list[_One] = []
    problems: list[Problem] = []
    first: dict[str, int] = {}
    for number, one in enumerate(wanted):
        try:
            found.append(_parsed(platform, stack, one, versions=versions))
        except Invalid as error:
            path = f"workloads[{number}]"
            problems += [replace(p, path=f"{path}.{p.path}" if p.path else path) for p in error.problems]
            continue
        slug = found[-1].made.workload.slug
        if (before := first.setdefault(slug, number)) != number:
            message = f"{slug} stands in workloads[{before}], too"
            problems.append(Problem(path=f"workloads[{number}].slug", message=message))
    if problems:
        raise Invalid(problems)
    return found


def _parsed(platform: Platform, stack: Stack, one: Any, *, versions: bool) -> _One:
    if not isinstance(one, dict):
        raise Invalid.one("", "must be an object")
    current = plans.standing(platform, stack, one)
    made = plans.made_of(platform, stack, one, current)
    if not versions:
        quote(made.workload, platform.prices)  # refused here, with the path of its workload
    elif current is not None:
        declare.check_version(one, current, required=True)
    return _One(current=current, made=made)


def _step(
    platform: Platform, stack: Stack, account: Account, found: Sequence[_One]
) -> tuple[Alter, frozenset[WorkloadId], Look]:
    """The whole set as one step, what a person has agreed to shrink by it, and what it has to come to."""
    alter = all_of((one.made.workload.slug, plans.step_of(one.made, one.current, account)[0]) for one in found)
    new = {one.made.workload.slug: one.id for one in found if one.current is None}
    confirmed = frozenset(one.id for one in found if one.current is not None)
    return platform.within_quota(alter, stack), confirmed, accepted_by_all(new)


def _price(platform: Platform, found: Sequence[_One]) -> dict[str, Any]:
    was = [one.current.workload for one in found if one.current is not None]
    before = sum(quote(workload, platform.prices).monthly for workload in was)
    priced = [quote(one.made.workload, platform.prices) for one in found]
    after = sum(one.monthly for one in priced)
    told: dict[str, Any] = {
        "currency": platform.prices.currency,
        "before": round(before, 6),
        "after": round(after, 6),
        "difference": round(after - before, 6),
    }
    if any(one.most_monthly is not None for one in priced):
        told["most_after"] = round(sum(one.most_monthly or one.monthly for one in priced), 6)
    return told


def _applied(state: State, one: _One) -> dict[str, Any]:
    declared = state.workloads[one.id]
    version = one.current.version if one.current is not None else 0
    action = "nothing" if declared.version == version else "change" if one.current is not None else "create"
    warnings = [str(problem) for problem in without_effect(declared.document)]
    return {"action": action, "workload": shapes.workload(state, declared)} | shapes.filled({"warnings": warnings})
