"""Quotas in force: the operator's limits for accounts and stacks, kept in the store, asked at every declaration.

In: a change of the state, and whose workloads it may touch. Out: the same change, refused where it would exceed a
limit. The limits are few and read often: they stand in memory and are written through.
"""

import json
from collections.abc import Callable, Collection
from dataclasses import fields, replace

from anypop.control.core import Alter
from anypop.control.refusals import OverQuota
from anypop.control.state import State
from anypop.control.store import Store
from anypop.model.errors import Problem
from anypop.model.names import StackId
from anypop.plan.quota import Quota, Usage, excess, usage_of

_SETTING = "quotas"


class Quotas:
    """Limits by subject: an account's id or a stack's id. One without a limit of its own has the default of its
    kind, which has none.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        saved = store.setting(_SETTING)
        known = {f.name for f in fields(Quota)}
        raw: dict[str, dict[str, int | None]] = json.loads(saved) if saved else {}
        self._limits = {
            subject: Quota(**{k: v for k, v in limits.items() if k in known}) for subject, limits in raw.items()
        }

    def of(self, subject: str) -> Quota:
        return self._limits.get(subject, Quota())

    def put(self, subject: str, quota: Quota) -> None:
        """Blocking. Raises `WorldError`."""
        limits = {**self._limits, subject: quota}
        if quota == Quota():
            del limits[subject]
        data = {
            name: {f.name: v for f in fields(Quota) if (v := getattr(q, f.name)) is not None}
            for name, q in limits.items()
        }
        self._store.put_setting(_SETTING, json.dumps(data, sort_keys=True) if data else None)
        self._limits = limits

    def within(self, alter: Alter, *, account: str, stack: StackId, stacks: Callable[[], Collection[StackId]]) -> Alter:
        """`alter`, and `OverQuota` where it would exceed a limit of the account (whose stacks are `stacks`) or of
        the stack.
        """
        account_quota, stack_quota = self.of(account), self.of(stack)
        if account_quota == Quota() and stack_quota == Quota():
            return alter

        def limited(state: State, now: float) -> State:
            after = alter(state, now)
            problems: list[Problem] = []
            for subject, quota, own in (
                (f"account {account}", account_quota, set(stacks())),
                (f"stack {stack}", stack_quota, {stack}),
            ):
                problems += excess(subject, quota, _usage(state, own), _usage(after, own))
            if problems:
                raise OverQuota(problems)
            return after

        return limited

    def check_stacks(self, account: str, count: int) -> None:
        """Whether the account may have one stack more than `count`. Raises `OverQuota`."""
        before = Usage(stacks=count)
        if problems := list(excess(f"account {account}", self.of(account), before, replace(before, stacks=count + 1))):
            raise OverQuota(problems)


def _usage(state: State, stacks: Collection[StackId]) -> Usage:
    return usage_of(d.workload for stack in stacks for d in state.in_stack(stack))


def used(state: State, stacks: Collection[StackId]) -> Usage:
    """What the stacks' workloads take."""
    return replace(_usage(state, stacks), stacks=len(stacks))
