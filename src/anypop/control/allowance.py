"""What quotas leave: how many more instances of a workload its account and its stack may have.

In: a draft of the state and the limits in force. Out: a number, and what was taken of it while one step is made. Pure;
which limits hold is `quotas`'s to know.
"""

from collections import defaultdict
from collections.abc import Callable

from anypop.control.state import State
from anypop.model.workload import Workload
from anypop.plan.quota import Quota, Usage, counts_instances, room_for, usage_of, with_more

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
        self._owned: dict[str, list[Workload]] = {}

    def left(self, workload: Workload) -> int | None:
        """How many more of its instances there may be; None: any number."""
        account, stack = self._limits(workload.account_id, workload.stack_id)
        found = [
            room_for(workload, quota, self._of(workload, subject))
            for subject, quota in (("account", account), ("stack", stack))
            if counts_instances(quota)
        ]
        return min((room for room in found if room is not None), default=None)

    def take(self, workload: Workload, count: int) -> None:
        """So many were added in this step."""
        for subject in ("account", "stack"):
            key = _key(workload, subject)
            if count > 0 and key in self._used:
                self._used[key] = with_more(self._used[key], workload, count)

    def _of(self, workload: Workload, subject: str) -> Usage:
        key = _key(workload, subject)
        if not self._owned:  # whose each is, in one pass
            owned = defaultdict(list)
            for declared in self._state.workloads.values():
                for of in ("account", "stack"):
                    owned[_key(declared.workload, of)].append(declared.workload)
            self._owned = owned
        if key not in self._used:
            self._used[key] = usage_of(self._owned[key], count_of=self._state.count_of)
        return self._used[key]


def _key(workload: Workload, subject: str) -> str:
    return f"{subject} {workload.account_id if subject == 'account' else workload.stack_id}"
