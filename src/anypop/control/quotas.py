"""Quotas in force: the operator's limits for accounts and stacks, kept in the store, asked at every declaration.

In: a change of the state, and whose workloads it may touch. Out: the same change, refused where it would exceed a
limit. The limits are few and read often: they stand in memory and are written through.
"""

import json
from collections.abc import Callable, Collection
from dataclasses import fields, replace

from anypop.control.allocations import addresses_kept
from anypop.control.core import Alter
from anypop.control.refusals import OverQuota
from anypop.control.state import State
from anypop.control.store import Store
from anypop.model.errors import Problem
from anypop.model.names import StackId, WorkloadId
from anypop.model.table import differing
from anypop.plan.quota import (
    IMAGE_BYTES_BY_DEFAULT,
    LOCAL_ONLY_BY_DEFAULT,
    Quota,
    Usage,
    excess,
    grows,
    usage_of,
    with_ones_of,
)

_SETTING = "quotas"


class Quotas:
    """Limits by subject: an account's id or a stack's id. One without a limit of its own has none, but for what
    `of_account` says.
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

    def of_account(self, account: str) -> Quota:
        """As `of`, with what holds for an account by default: prefixes of its own are few and control's disk is one,
        whoever set no limit.
        """
        quota = self.of(account)
        if quota.local_only is None:
            quota = replace(quota, local_only=LOCAL_ONLY_BY_DEFAULT)
        return quota if quota.image_bytes is not None else replace(quota, image_bytes=IMAGE_BYTES_BY_DEFAULT)

    def limits(self, account: str, stack: str) -> tuple[Quota, Quota]:
        """Of an account and of a stack."""
        return self.of_account(account), self.of(stack)

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
        account_quota, stack_quota = self.of_account(account), self.of(stack)

        def limited(state: State, now: float) -> State:
            after = alter(state, now)
            changed = differing(state.workloads, after.workloads)
            problems: list[Problem] = []
            for subject, quota, own in (
                (f"account {account}", account_quota, set(stacks())),
                (f"stack {stack}", stack_quota, {stack}),
            ):
                was, is_ = _usage_among(changed, state, own), _usage_among(changed, after, own)
                if grows(quota, was, is_):
                    was, is_ = with_ones_of(_usage(state, own), was), with_ones_of(_usage(after, own), is_)
                    problems += excess(subject, quota, was, is_)
            if problems:
                raise OverQuota(problems)
            return after

        return limited

    def check_stacks(self, account: str, count: int) -> None:
        """Whether the account may have one stack more than `count`. Raises `OverQuota`."""
        before = Usage(stacks=count)
        if problems := list(excess(f"account {account}", self.of(account), before, replace(before, stacks=count + 1))):
            raise OverQuota(problems)

    def check_images(
        self, account: str, stack: StackId, of_account: tuple[int, int], of_stack: tuple[int, int]
    ) -> None:
        """Whether images may take so many bytes, each before and after. Raises `OverQuota`."""
        problems = [
            problem
            for subject, quota, (was, now) in (
                (f"account {account}", self.of_account(account), of_account),
                (f"stack {stack}", self.of(stack), of_stack),
            )
            for problem in excess(subject, quota, Usage(image_bytes=was), Usage(image_bytes=now))
        ]
        if problems:
            raise OverQuota(problems)


def _usage_among(workloads: Collection[WorkloadId], state: State, stacks: Collection[StackId]) -> Usage:
    """What those of the workloads take that belong to the stacks."""
    found = (d for w in workloads if (d := state.workloads.get(w)) is not None)
    usage = usage_of((d.workload for d in found if d.stack_id in stacks), count_of=state.count_of)
    return _with_addresses(usage, state, stacks)


def _usage(state: State, stacks: Collection[StackId]) -> Usage:
    usage = usage_of((d.workload for stack in stacks for d in state.in_stack(stack)), count_of=state.count_of)
    return _with_addresses(usage, state, stacks)


def _with_addresses(usage: Usage, state: State, stacks: Collection[StackId]) -> Usage:
    return replace(usage, addresses=sum(addresses_kept(state, stack) for stack in stacks))


def used(state: State, stacks: Collection[StackId]) -> Usage:
    """What the stacks' workloads take."""
    return replace(_usage(state, stacks), stacks=len(stacks))
