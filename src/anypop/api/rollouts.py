"""/anypop/v1/.../rollouts, revisions, rollback, restart, strategy: how changes of a workload are brought out.

In: requests about one workload. Out: what has been, what is under way and how far it is; or the change that was asked
for. What may change when is `plan.rollout`'s to say; nothing here waits for a rollout, whoever wants to see it to its
end watches it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path

from anypop.api import shapes
from anypop.api.announcements import parsed_rules
from anypop.api.bodies import JsonBody, JsonObject, model_of
from anypop.api.context import AnnouncedStack, CallerAccount, CallerStack, Platform, PlatformDep
from anypop.api.documentation import answers
from anypop.api.errors import Code
from anypop.api.landings import landings_of
from anypop.api.models.rollouts import (
    Redeclared,
    Revisions,
    RollbackRequest,
    RolloutRequest,
    Rollouts,
    RolloutStarted,
    RolloutState,
    StrategyAnswer,
    StrategyBody,
    StrategyRequest,
)
from anypop.control import rollouts
from anypop.control.accounts import Account
from anypop.control.core import Alter
from anypop.control.refusals import Forbidden
from anypop.control.state import Declaration, State
from anypop.model.errors import Invalid, Problem
from anypop.model.names import CityCode, WorkloadId
from anypop.model.rollout import Landing, Rollout, RolloutKind, ScopeChange, ScopeWave, Strategy
from anypop.plan.rollout import progress

router = APIRouter(prefix="/anypop/v1/stacks/{stack_id}/workloads/{workload_id}", tags=["rollouts"])

WorkloadRef = Annotated[str, Path(description="id or slug")]
RolloutRef = Annotated[str, Path(description="a rollout's id, or the beginning of it")]


@router.get("/revisions")
@answers(Revisions)
async def list_revisions(workload_id: WorkloadRef, stack: CallerStack, platform: PlatformDep) -> dict[str, Any]:
    """List the kept revisions, oldest first."""
    state = platform.core.state
    declared = platform.workload(stack, workload_id)
    kept = [r for key, r in sorted(state.revisions_of(declared.id).items())]
    return {
        "results": [
            {
                "revision": r.number,
                "template": r.workload.template,
                "createdAt": shapes.moment(r.created_at),
                "newest": r.number == declared.version,
                "good": r.number == declared.good,
                "note": r.note,
                "images": [c.image for c in r.workload.containers],
            }
            for r in (*kept, declared.newest)
        ]
    }


@router.get("/rollouts")
@answers(Rollouts)
async def list_rollouts(workload_id: WorkloadRef, stack: AnnouncedStack, platform: PlatformDep) -> dict[str, Any]:
    """List the rollouts that are remembered, oldest first, and on how many instances the newest revision is."""
    state = platform.core.state
    declared = platform.workload(stack, workload_id)
    return status(state, declared) | {"results": [data_of(state, r) for r in rollouts_of(state, declared.id)]}


@router.get("/rollouts/{rollout_id}")
@answers(RolloutState)
async def get_rollout(
    workload_id: WorkloadRef, rollout_id: RolloutRef, stack: AnnouncedStack, platform: PlatformDep
) -> dict[str, Any]:
    """Get one rollout, and on how many instances the newest revision is."""
    state = platform.core.state
    declared = platform.workload(stack, workload_id)
    return status(state, declared) | {"rollout": data_of(state, rollouts.find(state, declared.id, rollout_id))}


@router.post("/rollouts")
@answers(RolloutStarted, Code.FAILED_PRECONDITION, Code.PERMISSION_DENIED)
async def change_scopes(
    workload_id: WorkloadRef,
    stack: AnnouncedStack,
    account: CallerAccount,
    platform: PlatformDep,
    body: Annotated[dict[str, Any], Depends(JsonObject(RolloutRequest))],
) -> dict[str, Any]:
    """Change scopes in waves, taken back where vantages land elsewhere than expected."""
    return await begin_scopes(platform, account, platform.workload(stack, workload_id), body)


async def begin_scopes(
    platform: Platform, account: Account, declared: Declaration, body: Mapping[str, Any]
) -> dict[str, Any]:
    """Begin a change of scopes in waves, as `change_scopes` is asked for it; the rollout. Raises `Invalid`."""
    waves = _waves(body, platform.core.state, declared, tenant=not account.operator)
    strategy = _strategy(body.get("strategy") or {}, declared.strategy)
    baseline = await landings_of(platform, declared.id)
    _check_vantages(waves, baseline)
    identity = rollouts.new_id()
    step = rollouts.change_scopes(declared.id, identity, waves, by=account.name, strategy=strategy, baseline=baseline)
    state = await platform.core.change(platform.scoping(step, account, declared.id))
    return {"rollout": data_of(state, state.rollouts[identity])}


@router.post("/rollouts/{rollout_id}/pause")
@answers(RolloutState, Code.FAILED_PRECONDITION, Code.PERMISSION_DENIED)
async def pause_rollout(
    workload_id: WorkloadRef,
    rollout_id: RolloutRef,
    stack: AnnouncedStack,
    account: CallerAccount,
    platform: PlatformDep,
) -> dict[str, Any]:
    """Pause a rollout: nothing more changes, what is changed already stays."""
    return await _asked(platform, account, platform.workload(stack, workload_id), rollout_id, rollouts.pause)


@router.post("/rollouts/{rollout_id}/resume")
@answers(RolloutState, Code.FAILED_PRECONDITION, Code.PERMISSION_DENIED)
async def resume_rollout(
    workload_id: WorkloadRef,
    rollout_id: RolloutRef,
    stack: AnnouncedStack,
    account: CallerAccount,
    platform: PlatformDep,
) -> dict[str, Any]:
    """Resume a paused rollout."""
    return await _asked(platform, account, platform.workload(stack, workload_id), rollout_id, rollouts.resume)


@router.post("/rollouts/{rollout_id}/abort")
@answers(RolloutState, Code.FAILED_PRECONDITION, Code.PERMISSION_DENIED)
async def abort_rollout(
    workload_id: WorkloadRef,
    rollout_id: RolloutRef,
    stack: AnnouncedStack,
    account: CallerAccount,
    platform: PlatformDep,
) -> dict[str, Any]:
    """Abort a rollout, and take back what it changed."""
    return await _asked(platform, account, platform.workload(stack, workload_id), rollout_id, rollouts.abort)


@router.post("/rollback")
@answers(Redeclared, Code.FAILED_PRECONDITION)
async def roll_back(
    workload_id: WorkloadRef,
    stack: CallerStack,
    account: CallerAccount,
    platform: PlatformDep,
    body: Annotated[RollbackRequest, Depends(JsonBody(RollbackRequest))],
) -> dict[str, Any]:
    """Declare a kept revision anew."""
    declared = platform.workload(stack, workload_id)
    state = await platform.core.change(
        rollouts.roll_back(declared.id, body.revision, by=account.name), confirmed=frozenset([declared.id])
    )
    return _redeclared(state, declared.id)


@router.post("/restart")
@answers(Redeclared, Code.FAILED_PRECONDITION)
async def restart_workload(
    workload_id: WorkloadRef, stack: CallerStack, account: CallerAccount, platform: PlatformDep
) -> dict[str, Any]:
    """Make every instance of a workload anew.

    As a rollout: wave by wave, each new instance serves before the old one drains, and images are looked for again
    where their pull policy says so.
    """
    declared = platform.workload(stack, workload_id)
    step = rollouts.restart(declared.id, by=account.name)
    state = await platform.core.change(step, confirmed=frozenset([declared.id]))
    return _redeclared(state, declared.id)


@router.get("/strategy")
@answers(StrategyAnswer)
async def get_strategy(workload_id: WorkloadRef, stack: CallerStack, platform: PlatformDep) -> dict[str, Any]:
    """Get how careful the workload's rollouts are."""
    return {"strategy": strategy_data(platform.workload(stack, workload_id).strategy)}


@router.put("/strategy")
@answers(StrategyAnswer, Code.FAILED_PRECONDITION)
async def replace_strategy(
    workload_id: WorkloadRef,
    stack: CallerStack,
    platform: PlatformDep,
    body: Annotated[dict[str, Any], Depends(JsonObject(StrategyRequest | StrategyBody))],
) -> dict[str, Any]:
    """Set how careful the workload's rollouts are; what is left out has its default."""
    declared = platform.workload(stack, workload_id)
    strategy = _strategy(body.get("strategy", body), Strategy())
    await platform.core.change(rollouts.set_strategy(declared.id, strategy))
    return {"strategy": strategy_data(strategy)}


def _redeclared(state: State, workload_id: WorkloadId) -> dict[str, Any]:
    declared = state.workloads[workload_id]
    return {"workload": shapes.workload(state, declared)} | status(state, declared)


def status(state: State, declared: Declaration) -> dict[str, Any]:
    """`6 of 8 on revision 4`, as data."""
    mine = [p.incarnation for p in state.incarnations_of(declared.id).values()]
    on, slots = progress(declared.version, mine)
    return {"revision": declared.version, "instances": slots, "instances_on_it": on, "good": declared.good}


def data_of(state: State, rollout: Rollout) -> dict[str, Any]:
    """A rollout as people and programs read it."""
    waves = len(rollout.waves) or len(rollout.scopes)
    data: dict[str, Any] = {
        "id": rollout.id,
        "kind": rollout.kind.value,
        "phase": rollout.phase.value,
        "reason": rollout.reason.value,
        "says": rollout.reason.says,
        "message": rollout.message,
        "by": rollout.by,
        "wave": min(rollout.wave + 1, waves),
        "waves": [list(wave) for wave in rollout.waves]
        or [sorted({c.pop for c in wave.changes}) for wave in rollout.scopes],
        "createdAt": shapes.moment(rollout.created_at),
        "endedAt": shapes.moment(rollout.ended_at) if rollout.ended_at is not None else None,
        "seconds": round(rollout.ended_at - rollout.created_at, 3) if rollout.ended_at is not None else None,
        "vantages": _landed(rollout.seen or rollout.baseline),
        "unasked": [look.vantage for look in rollout.seen or rollout.baseline if not look.asked],
    }
    match rollout.kind:
        case RolloutKind.UPDATE:
            data |= {"revision": rollout.revision, "previous": rollout.previous}
        case RolloutKind.SCOPES:
            results = [
                {"seconds": round(r.seconds, 3), "seen": _landed(r.seen), "differs": list(r.differs)}
                for r in rollout.results
            ]
            data |= {"results": results, "restored": rollout.restored}
    return shapes.filled(data)


def _landed(looks: Iterable[Landing]) -> dict[str, str | None]:
    return {look.vantage: look.pop for look in looks if look.asked}


def strategy_data(strategy: Strategy) -> dict[str, Any]:
    return {field.name: getattr(strategy, field.name) for field in fields(strategy)}


def rollouts_of(state: State, workload_id: WorkloadId) -> list[Rollout]:
    """All that are remembered, oldest first."""
    return sorted(state.rollouts_of(workload_id).values(), key=lambda r: (r.created_at, r.id))


def newest_of(state: State, declared: Declaration) -> Rollout | None:
    """The rollout that began last, ended or not."""
    return next(reversed(rollouts_of(state, declared.id)), None)


async def _asked(
    platform: Platform, account: Account, declared: Declaration, rollout_id: str, asked: Any
) -> dict[str, Any]:
    """The operator, and whoever owns the stack; who shares its prefixes may not touch a change of scopes."""
    found = rollouts.find(platform.core.state, declared.id, rollout_id)
    if account.operator and declared.workload.account_id != account.id and found.kind is not RolloutKind.SCOPES:
        raise Forbidden("how a tenant's instances are changed is the tenant's own business; scopes are the operator's")
    step: Alter = partial(asked(declared.id, found.id))
    if found.kind is RolloutKind.SCOPES:
        step = platform.scoping(step, account, declared.id)
    state = await platform.core.change(step, confirmed=frozenset([declared.id]))
    return {"rollout": data_of(state, rollouts.find(state, declared.id, rollout_id))} | status(
        state, state.workloads[declared.id]
    )


def _strategy(given: Any, base: Strategy) -> Strategy:
    """`base` with what a request says. Raises `Invalid` with all its problems."""
    return replace(base, **model_of(StrategyRequest, given, under="strategy").model_dump(exclude_none=True))


def _waves(body: Mapping[str, Any], state: State, declared: Declaration, *, tenant: bool) -> list[ScopeWave]:
    given = body.get("waves")
    if not isinstance(given, list) or not given:
        raise Invalid.one("waves", 'is required: a list of {"rules": [...], "expected": {...}}')
    problems: list[Problem] = []
    waves: list[ScopeWave] = []
    cities = {pop.city for pop in state.network.pops}
    for index, entry in enumerate(given):
        path = f"waves[{index}]"
        if not isinstance(entry, dict):
            problems.append(Problem(path=path, message="must be an object"))
            continue
        try:
            rules = parsed_rules(entry, declared, state.network, tenant=tenant)
        except Invalid as error:
            problems += [Problem(path=f"{path}.{p.path}", message=p.message) for p in error.problems]
            continue
        expected = entry.get("expected") or {}
        if not isinstance(expected, dict) or not all(isinstance(pops, list) for pops in expected.values()):
            problems.append(Problem(path=f"{path}.expected", message="must map vantages to lists of PoPs"))
            continue
        problems += [
            Problem(path=f"{path}.expected.{vantage}[{place}]", message=f"no PoP {pop}")
            for vantage, pops in expected.items()
            for place, pop in enumerate(pops)
            if str(pop) not in cities
        ]
        waves.append(
            ScopeWave(
                changes=tuple(
                    ScopeChange(pop=r.pop, upstream=r.upstream, scope=r.scope, note=r.note) for r in rules.values()
                ),
                expected=tuple(sorted((str(v), tuple(CityCode(str(p)) for p in pops)) for v, pops in expected.items())),
            )
        )
    if problems:
        raise Invalid(problems)
    return waves


def _check_vantages(waves: Sequence[ScopeWave], baseline: Sequence[Landing]) -> None:
    """Raises `Invalid` where something is expected of a vantage that is not there. Without any vantage nothing can be
    seen anyway.
    """
    known = {look.vantage for look in baseline}
    problems = [
        Problem(
            path=f"waves[{index}].expected.{vantage}",
            message=f"no vantage {vantage} (there are {', '.join(sorted(known))})",
        )
        for index, wave in enumerate(waves)
        for vantage, _ in wave.expected
        if known and vantage not in known
    ]
    if problems:
        raise Invalid(problems)
