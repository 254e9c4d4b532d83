"""/anypop/v1/quota: what an account and its stacks may declare, and what they have declared.

In: a caller, or a subject that the operator names. Out: limits and usage. The limits hold at every declaration; nothing that runs is taken
away when one is lowered.
"""

import asyncio
from dataclasses import asdict, fields
from typing import Any

from fastapi import APIRouter

from anypop.api.bodies import Body
from anypop.api.context import CallerAccount, CallerStack, OperatorAccount, Platform, PlatformDep
from anypop.control.accounts import Stack
from anypop.control.quotas import used
from anypop.control.refusals import NotFound
from anypop.model.errors import Invalid, Problem
from anypop.plan.quota import Quota

router = APIRouter(prefix="/anypop/v1")

_MOST = 1 << 62  # what fits into a signed 64-bit number everywhere
_NAMES = tuple(f.name for f in fields(Quota))


@router.get("/quota")
async def own_quota(account: CallerAccount, platform: PlatformDep) -> dict[str, Any]:
    """The caller's own account and its stacks."""
    return _account(platform, account.id)


@router.get("/accounts/{account_id}/quota")
async def account_quota(account_id: str, _: OperatorAccount, platform: PlatformDep) -> dict[str, Any]:
    _known(platform, account_id)
    return _account(platform, account_id)


@router.put("/accounts/{account_id}/quota")
async def put_account_quota(account_id: str, _: OperatorAccount, platform: PlatformDep, body: Body) -> dict[str, Any]:
    """The account's limits; what is left out has none."""
    _known(platform, account_id)
    await asyncio.to_thread(platform.quotas.put, account_id, _parsed(body))
    return _account(platform, account_id)


@router.get("/stacks/{stack_id}/quota")
async def stack_quota(stack: CallerStack, platform: PlatformDep) -> dict[str, Any]:
    return _stack(platform, stack)


@router.put("/stacks/{stack_id}/quota")
async def put_stack_quota(stack_id: str, _: OperatorAccount, platform: PlatformDep, body: Body) -> dict[str, Any]:
    """A stack's limits, whoever's it is; what is left out has none."""
    stack = platform.accounts.any_stack(stack_id)
    await asyncio.to_thread(platform.quotas.put, stack.id, _parsed(body, without=("stacks",)))
    return _stack(platform, stack)


def _known(platform: Platform, account_id: str) -> None:
    if not platform.accounts.has_account(account_id):
        raise NotFound(f"no account {account_id}")


def _account(platform: Platform, account_id: str) -> dict[str, Any]:
    stacks = platform.accounts.stacks(account_id)
    return {
        "account": account_id,
        "quota": _limits(platform.quotas.of(account_id)),
        "used": asdict(used(platform.core.state, {s.id for s in stacks})),
        "stacks": [_stack(platform, stack) for stack in stacks],
    }


def _stack(platform: Platform, stack: Stack) -> dict[str, Any]:
    usage = asdict(used(platform.core.state, {stack.id}))
    del usage["stacks"]
    return {"stack": stack.id, "slug": stack.slug, "quota": _limits(platform.quotas.of(stack.id)), "used": usage}


def _limits(quota: Quota) -> dict[str, int]:
    return {name: value for name in _NAMES if (value := getattr(quota, name)) is not None}


def _parsed(body: dict[str, Any], *, without: tuple[str, ...] = ()) -> Quota:
    """Raises `Invalid` with all problems."""
    given = body.get("quota", body)
    if not isinstance(given, dict):
        raise Invalid.one("quota", "must be an object")
    names = [name for name in _NAMES if name not in without]
    problems = [Problem(path=f"quota.{key}", message=f"is not a limit; there are {', '.join(names)}") for key in given if key not in names]
    limits: dict[str, int] = {}
    for name in names:
        value = given.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < _MOST:
            problems.append(Problem(path=f"quota.{name}", message="must be a whole number, 0 or more"))
        else:
            limits[name] = value
    if problems:
        raise Invalid(problems)
    return Quota(**limits)
