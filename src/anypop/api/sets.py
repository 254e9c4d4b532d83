"""/anypop/v1/.../apply: a whole set in one step, or nothing of it; and what that step would do.

In: workloads as PUT takes them, allocations and claims as POST and PATCH do, and workloads that go. Out: what would
become of each, what of announcements, room and price together; or how they are now. The set is decided as one change:
quotas, addresses and room are counted for the whole, and where any of it is refused nothing is done.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends

from anypop.api import plans, set_addresses, shapes
from anypop.api.bodies import JsonObject
from anypop.api.context import AskingCaller, CallerStack, Platform, PlatformDep
from anypop.api.documentation import answers
from anypop.api.errors import Code
from anypop.api.models.plans import AppliedSet, SetPlan, SetRequest
from anypop.api.set_addresses import LISTS, Address
from anypop.control import declare
from anypop.control.accounts import Account, Caller, Stack
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
T = TypeVar("T")
SetBody = Annotated[dict[str, Any], Depends(JsonObject(SetRequest))]


@dataclass(frozen=True, slots=True, kw_only=True)
class _One:
    """One workload of a set beside what is there."""

    current: Declaration | None
    made: Parsed

    @property
    def id(self) -> WorkloadId:
        return self.made.workload.id


@dataclass(frozen=True, slots=True, kw_only=True)
class _Set:
    """All that a request names. `doomed`: the workloads that go."""

    workloads: Sequence[_One]
    addresses: Sequence[Address]
    doomed: Sequence[Declaration]

    def addresses_of(self, member: str) -> list[Address]:
        return [one for one in self.addresses if one.member == member]


@router.post("/plan")
@answers(SetPlan, *REFUSED, Code.NOT_FOUND)
async def plan_workloads(
    stack: CallerStack, caller: AskingCaller, platform: PlatformDep, body: SetBody
) -> dict[str, Any]:
    """Plan a set of workloads, allocations, claims and deletions in one step without doing it.

    Refused as the step would be, with the numbers of the whole set.
    """
    found = await asyncio.to_thread(_read, platform, stack, caller, body, versions=False)
    alter, confirmed, accept = _step(platform, stack, caller.account, found)
    before, after = await platform.core.tried(alter, confirmed=confirmed)
    accept(after)
    tell = partial(plans.of_one, platform, before, after)
    return {
        "workloads": [
            {"slug": one.made.workload.slug} | tell(current=one.current, made=one.made) for one in found.workloads
        ],
        **{
            member: [set_addresses.planned(after, stack.id, one, platform.prices) for one in found.addresses_of(member)]
            for member in LISTS
        },
        "deleted": [{"slug": one.workload.slug} | tell(current=one, made=None) for one in found.doomed],
        **plans.beyond(before, after),
        "price": _price(platform, found),
    }


@router.post("")
@answers(AppliedSet, Code.ALREADY_EXISTS, Code.ABORTED, *REFUSED, Code.NOT_FOUND)
async def apply_workloads(
    stack: CallerStack, caller: AskingCaller, platform: PlatformDep, body: SetBody
) -> dict[str, Any]:
    """Declare a set of workloads, allocations and claims, and delete workloads, in one step: all of it, or nothing.

    Workloads that are there need their `metadata.version`, as PUT does; a change begins a rollout of each. Allocations
    and claims are made first, those that are there are changed as PATCH does it. The answer comes when the step is on
    disk.
    """
    found = await asyncio.to_thread(_read, platform, stack, caller, body, versions=True)
    alter, confirmed, accept = _step(platform, stack, caller.account, found)
    state = await platform.core.change(alter, confirmed=confirmed, accept=accept)
    return {
        "results": [_applied(state, one) for one in found.workloads],
        **{
            member: [set_addresses.applied(state, stack.id, one) for one in found.addresses_of(member)]
            for member in LISTS
        },
        "deleted": [one.workload.slug for one in found.doomed],
    }


def _read(platform: Platform, stack: Stack, caller: Caller, body: Mapping[str, Any], *, versions: bool) -> _Set:
    """Everything parsed. `versions`: workloads that are there have to say which version they replace. Raises `Invalid`
    with the problems of all, and `NotFound` where one that is to go is not there.
    """
    lists = _lists(body)
    problems: list[Problem] = []
    taken: set[tuple[str, str]] = set()

    def each(member: str, read: Callable[[Any], T], slug_of: Callable[[T], str]) -> list[T]:
        found: list[T] = []
        for number, document in enumerate(lists[member]):
            path = f"{member}[{number}]"
            try:
                one = read(document)
            except Invalid as error:
                problems.extend(replace(p, path=f"{path}.{p.path}" if p.path else path) for p in error.problems)
                continue
            found.append(one)
            kind = "workloads" if member == "delete" else member
            if (key := (kind, slug_of(one))) in taken:
                where = path if member == "delete" else f"{path}.slug"
                problems.append(Problem(path=where, message=f"{key[1]} stands in this set twice"))
            taken.add(key)
        return found

    made = _Set(
        workloads=each(
            "workloads",
            lambda one: _parsed(platform, stack, caller, one, versions=versions),
            lambda one: one.made.workload.slug,
        ),
        addresses=[
            one
            for member in LISTS
            for one in each(
                member,
                partial(set_addresses.read, platform.core.state, stack, member),
                lambda one: one.slug,
            )
        ],
        doomed=each("delete", partial(_doomed, platform, stack), lambda one: one.workload.slug),
    )
    if problems:
        raise Invalid(problems)
    return made


def _lists(body: Mapping[str, Any]) -> dict[str, list[Any]]:
    members = ("workloads", *LISTS, "delete")
    if unknown := sorted(set(body) - set(members)):
        raise Invalid(Problem(path=name, message=f"is not known; {', '.join(members)} are") for name in unknown)
    found: dict[str, list[Any]] = {}
    for member in members:
        given = body.get(member)
        if not isinstance(given, list | None):
            raise Invalid.one(member, "must be a list")
        found[member] = given or []
        if len(found[member]) > MOST_ENTRIES:
            raise Invalid.one(member, f"must be {MOST_ENTRIES} at most")
    if not any(found.values()):
        raise Invalid.one("workloads", f"must have an entry, or one of {', '.join(members[1:])}")
    return found


def _parsed(platform: Platform, stack: Stack, caller: Caller, one: Any, *, versions: bool) -> _One:
    if not isinstance(one, dict):
        raise Invalid.one("", "must be an object")
    current = plans.standing(platform, stack, one)
    made = plans.made_of(platform, stack, caller, one, current)
    if not versions:
        quote(made.workload, platform.prices)  # refused here, with the path of its workload
    elif current is not None:
        declare.check_version(one, current, required=True)
    return _One(current=current, made=made)


def _doomed(platform: Platform, stack: Stack, ref: Any) -> Declaration:
    if not isinstance(ref, str) or not ref:
        raise Invalid.one("", "must be the id or the slug of a workload")
    return platform.workload(stack, ref)


def _step(platform: Platform, stack: Stack, account: Account, found: _Set) -> tuple[Alter, frozenset[WorkloadId], Look]:
    """The whole set as one step, what a person has agreed to shrink by it, and what it has to come to."""
    alter = all_of(
        [
            *((one.workload.slug, declare.delete(one.id)) for one in found.doomed),
            *((one.name, one.alter) for one in found.addresses),
            *((one.made.workload.slug, plans.step_of(one.made, one.current, account)[0]) for one in found.workloads),
        ]
    )
    new = {one.made.workload.slug: one.id for one in found.workloads if one.current is None}
    known = [one.id for one in found.workloads if one.current is not None]
    confirmed = frozenset([*known, *(one.id for one in found.doomed)])
    return platform.within_quota(alter, stack), confirmed, accepted_by_all(new)


def _price(platform: Platform, found: _Set) -> dict[str, Any]:
    was = [one.current.workload for one in found.workloads if one.current is not None]
    was += [one.workload for one in found.doomed if one.delete_requested_at is None]
    before = sum(quote(workload, platform.prices).monthly for workload in was)
    priced = [quote(one.made.workload, platform.prices) for one in found.workloads]
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
