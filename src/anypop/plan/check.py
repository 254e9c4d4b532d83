"""The checker: may this plan go out?

Stands between `plan` and `order_for`. In: a plan, the slots there were before, and the workloads whose loss a person asked for. Out:
nothing, or `Unsafe` with every objection, the numbers and the way out. It knows nothing of how the plan was made and repairs nothing.
"""

from collections.abc import Iterable

from anypop.model.errors import Problem
from anypop.model.names import WorkloadId
from anypop.model.plan import Plan, Slot


class Unsafe(Exception):  # noqa: N818 - it reads as a verdict where it is raised
    """The plan would do damage that nobody asked for. Nothing of it was carried out. Carries all objections."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(p) for p in self.problems))


def check(plan: Plan, before: tuple[Slot, ...], *, confirmed: frozenset[WorkloadId] = frozenset()) -> None:
    """Raises `Unsafe` when `plan` loses too much or contradicts itself. `confirmed`: workloads that a person deleted or shrank."""
