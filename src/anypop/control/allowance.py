"""What quotas leave: how many more instances of a workload its account and its stack may have.

In: a draft of the state and the limits in force. Out: a number, and what was taken of it while one step is made. Pure;
which limits hold is `quotas`'s to know.
"""

from collections.abc import Callable

from anypop.control.state import State
from anypop.model.workload import Workload
from anypop.plan.quota import Quota, Usage, room_for, usage_of, with_more

Limits = Callable[[str, str], tuple[Quota, Quota]]
"""Of an account and of a stack."""


def no_limits(account: str, stack: str) -> tuple[Quota, Quota]:
    return Quota(), Quota()


NO_LIMITS: Limits = no_limits


class Allowance:
    """While one step is made. What is used is counted when it is first asked for."""

    def __init__(self, state: State, limits: Limits) -> None:
        self._state = state
        self._limits = limits
        self._used: dict[str, Usage] = {}

    def left(self, workload: Workload) -> int | None:
        """How many more of its instances there may be; None: any number."""
        account, stack = self._limits(workload.account_id, workload.stack_id)
        found = [
            room_for(workload, quota, self._of(workload, subject))
            for subject, quota in (("account", account), ("stack", stack))
            if quota != Quota()
        ]
        return min((room for room in found if room is not None), default=None)

    def take(self, workload: Workload, count: int) -> None:
        """So many were added in this step."""
        for subject in ("account", "stack"):
            key = _key(workload, subject)
            if count > 0 and key in self._used:
                self._used[key] = with_more(self._used[key], workload, count)

    def _of(self, workload: Workload, subject: str) -> Usage:
        key, state = _key(workload, subject), self._state
        if key not in self._used:
            declared = state.workloads.values() if subject == "account" else state.in_stack(workload.stack_id)
            own = (d.workload for d in declared if _key(d.workload, subject) == key)
            self._used[key] = usage_of(own, count_of=state.count_of)
        return self._used[key]


def _key(workload: Workload, subject: str) -> str:
    return f"{subject} {workload.account_id if subject == 'account' else workload.stack_id}"
