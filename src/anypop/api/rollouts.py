"""/anypop/v1/.../rollouts, revisions, rollback, strategy: how a workload's changes are brought to its instances and announcements.

In: requests about one workload. Out: what has been, what is under way and how far it is; or the change that was asked for. What may change
when is `plan.rollout`'s to say; nothing here waits for a rollout, whoever wants to see it to its end watches it.
"""

from collections.abc import Mapping
from dataclasses import fields, replace
from functools import partial
from math import isfinite
from typing import Any

from fastapi import APIRouter

from anypop.api import shapes
from anypop.api.announcements import parsed_rules
from anypop.api.bodies import Body
from anypop.api.context import CallerAccount, CallerStack, Platform, PlatformDep
from anypop.api.landings import landings_of
from anypop.control import rollouts
from anypop.control.state import Declaration, State
from anypop.model.errors import Invalid, Problem
from anypop.model.names import CityCode, WorkloadId
from anypop.model.rollout import Rollout, RolloutKind, ScopeChange, ScopeWave, Strategy
from anypop.plan.rollout import progress

router = APIRouter(prefix="/anypop/v1/stacks/{stack_id}/workloads/{workload_id}")

# What an operator may want at most: an hour of watching between two waves, and as many beside each other as a host has places.
_MOST = {"bake_s": 3600.0, "deadline_s": 3600.0, "failing_s": 3600.0, "surge": 100}


@router.get("/revisions")
async def list_revisions(workload_id: str, stack: CallerStack, platform: PlatformDep) -> dict[str, Any]:
    """The kept revisions, oldest first."""
    state = platform.core.state
    declared = platform.workload(stack, workload_id)
    kept = [r for key, r in sorted(state.revisions.items()) if key[0] == declared.id]
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
async def list_rollouts(workload_id: str, stack: CallerStack, platform: PlatformDep) -> dict[str, Any]:
    """All that are remembered, oldest first, and on how many instances the newest revision is."""
    state = platform.core.state
    declared = platform.workload(stack, workload_id)
    return status(state, declared) | {"results": [data_of(state, r) for r in _of(state, declared.id)]}


@router.get("/rollouts/{rollout_id}")
async def show_rollout(workload_id: str, rollout_id: str, stack: CallerStack, platform: PlatformDep) -> dict[str, Any]:
    state = platform.core.state
    declared = platform.workload(stack, workload_id)
    return status(state, declared) | {"rollout": data_of(state, rollouts.find(state, declared.id, rollout_id))}


@router.post("/rollouts")
async def change_scopes(workload_id: str, stack: CallerStack, account: CallerAccount, platform: PlatformDep, body: Body) -> dict[str, Any]:
    """Change scopes in waves: `{"waves": [{"rules": [...], "expected": {"london": ["LHR"]}}], "strategy": {...}}`."""
    declared = platform.workload(stack, workload_id)
    waves = _waves(body, platform.core.state, declared)
    strategy = _strategy(body.get("strategy") or {}, replace(declared.strategy, bake_s=declared.strategy.bake_s))
    baseline = await landings_of(platform, declared.id)
    step = rollouts.change_scopes(declared.id, waves, by=account.name, strategy=strategy, baseline=baseline)
    state = await platform.core.change(step)
    return {"rollout": data_of(state, rollouts.find(state, declared.id))}


@router.post("/rollouts/{rollout_id}/pause")
async def pause(workload_id: str, rollout_id: str, stack: CallerStack, platform: PlatformDep) -> dict[str, Any]:
    return await _asked(platform, platform.workload(stack, workload_id), rollout_id, rollouts.pause)


@router.post("/rollouts/{rollout_id}/resume")
async def resume(workload_id: str, rollout_id: str, stack: CallerStack, platform: PlatformDep) -> dict[str, Any]:
    return await _asked(platform, platform.workload(stack, workload_id), rollout_id, rollouts.resume)


@router.post("/rollouts/{rollout_id}/abort")
async def abort(workload_id: str, rollout_id: str, stack: CallerStack, platform: PlatformDep) -> dict[str, Any]:
    """End it and take back what it changed."""
    return await _asked(platform, platform.workload(stack, workload_id), rollout_id, rollouts.abort)


@router.post("/rollback")
async def roll_back(workload_id: str, stack: CallerStack, account: CallerAccount, platform: PlatformDep, body: Body) -> dict[str, Any]:
    """Declare a kept revision anew: `{"revision": 3}`; without a number the last one that ran everywhere."""
    declared = platform.workload(stack, workload_id)
    number = body.get("revision")
    if number is not None and (isinstance(number, bool) or not isinstance(number, int) or number < 1):
        raise Invalid.one("revision", "must be a whole number, 1 or more")
    state = await platform.core.change(rollouts.roll_back(declared.id, number, by=account.name), confirmed=frozenset([declared.id]))
    return {"workload": shapes.workload(state, state.workloads[declared.id])} | status(state, state.workloads[declared.id])


@router.get("/strategy")
async def get_strategy(workload_id: str, stack: CallerStack, platform: PlatformDep) -> dict[str, Any]:
    return {"strategy": strategy_data(platform.workload(stack, workload_id).strategy)}


@router.put("/strategy")
async def put_strategy(workload_id: str, stack: CallerStack, platform: PlatformDep, body: Body) -> dict[str, Any]:
    """How careful the workload's rollouts are; what is left out has its default."""
    declared = platform.workload(stack, workload_id)
    strategy = _strategy(body.get("strategy", body), Strategy())
    await platform.core.change(rollouts.set_strategy(declared.id, strategy))
    return {"strategy": strategy_data(strategy)}


def status(state: State, declared: Declaration) -> dict[str, Any]:
    """`6 of 8 on revision 4`, as data."""
    mine = [p.incarnation for p in state.incarnations.values() if p.incarnation.workload_id == declared.id]
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
        "waves": [list(wave) for wave in rollout.waves] or [sorted({c.pop for c in wave.changes}) for wave in rollout.scopes],
        "createdAt": shapes.moment(rollout.created_at),
        "endedAt": shapes.moment(rollout.ended_at) if rollout.ended_at is not None else None,
        "seconds": round(rollout.ended_at - rollout.created_at, 3) if rollout.ended_at is not None else None,
        "vantages": {look.vantage: look.pop for look in rollout.seen or rollout.baseline},
    }
    if rollout.kind is RolloutKind.UPDATE:
        data |= {"revision": rollout.revision, "previous": rollout.previous}
    return shapes.filled(data)


def strategy_data(strategy: Strategy) -> dict[str, Any]:
    return {field.name: getattr(strategy, field.name) for field in fields(strategy)}


def _of(state: State, workload_id: WorkloadId) -> list[Rollout]:
    return sorted((r for r in state.rollouts.values() if r.workload_id == workload_id), key=lambda r: (r.created_at, r.id))


def newest_of(state: State, declared: Declaration) -> Rollout | None:
    """The rollout that began last, ended or not."""
    return next(reversed(_of(state, declared.id)), None)


async def _asked(platform: Platform, declared: Declaration, rollout_id: str, step: Any) -> dict[str, Any]:
    state = await platform.core.change(partial(step(declared.id, rollout_id)), confirmed=frozenset([declared.id]))
    return {"rollout": data_of(state, rollouts.find(state, declared.id, rollout_id))} | status(state, state.workloads[declared.id])


def _strategy(given: Any, base: Strategy) -> Strategy:
    """`base` with what a request says. Raises `Invalid` with all its problems."""
    if not isinstance(given, Mapping):
        raise Invalid.one("strategy", f"must be an object with {', '.join(_MOST)}")
    problems = [Problem(path=f"strategy.{key}", message="is not a field of a strategy") for key in given if key not in _MOST]
    values: dict[str, Any] = {}
    for name, most in _MOST.items():
        value = given.get(name)
        if value is None:
            continue
        whole = isinstance(most, int)
        fits = isinstance(value, int if whole else int | float) and not isinstance(value, bool) and isfinite(value)
        if not fits or not (1 if whole else 0) <= value <= most:
            kind = "whole number, 1" if whole else "number of seconds, 0"
            problems.append(Problem(path=f"strategy.{name}", message=f"must be a {kind} to {most:g}"))
        else:
            values[name] = value if whole else float(value)
    if problems:
        raise Invalid(problems)
    return replace(base, **values)


def _waves(body: Mapping[str, Any], state: State, declared: Declaration) -> list[ScopeWave]:
    given = body.get("waves")
    if not isinstance(given, list) or not given:
        raise Invalid.one("waves", 'is required: a list of {"rules": [...], "expected": {...}}')
    problems: list[Problem] = []
    waves: list[ScopeWave] = []
    for index, entry in enumerate(given):
        path = f"waves[{index}]"
        if not isinstance(entry, dict):
            problems.append(Problem(path=path, message="must be an object"))
            continue
        try:
            rules = parsed_rules(entry, declared, state.network)
        except Invalid as error:
            problems += [Problem(path=f"{path}.{p.path}", message=p.message) for p in error.problems]
            continue
        expected = entry.get("expected") or {}
        if not isinstance(expected, dict) or not all(isinstance(pops, list) for pops in expected.values()):
            problems.append(Problem(path=f"{path}.expected", message="must map vantages to lists of PoPs"))
            continue
        waves.append(
            ScopeWave(
                changes=tuple(ScopeChange(pop=r.pop, upstream=r.upstream, scope=r.scope, note=r.note) for r in rules.values()),
                expected=tuple(sorted((str(v), tuple(CityCode(str(p)) for p in pops)) for v, pops in expected.items())),
            )
        )
    if problems:
        raise Invalid(problems)
    return waves
