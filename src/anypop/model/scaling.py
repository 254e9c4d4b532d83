"""Autoscaling: within which bounds a target's instances follow their load in each PoP, and how many there are now.

`Scale` is declared, and `Scaled` is what control has decided of one target in one PoP; `plan.scaling` decides. The load
is processor time alone: what the control groups of an instance's containers count.
"""

from dataclasses import dataclass

from anypop.model.names import CityCode, WorkloadId
from anypop.model.reasons import Reason

ScaleKey = tuple[WorkloadId, str, CityCode]
"""A target of a workload, in a PoP."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """Up to how many instances in each city, and the mean use of processor above which there are more: `percent` of
    what an instance asks for, or `millis` thousandths of a core; of both the one that is reached first.
    """

    most: int
    percent: int | None = None
    millis: int | None = None

    def threshold(self, asked_millis: int) -> int:
        """In thousandths of a core, for an instance that asks for so many."""
        found = [self.millis] if self.millis is not None else []
        found += [asked_millis * self.percent // 100] if self.percent is not None else []
        return max(1, min(found, default=1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaled:
    """How many instances a target has in one PoP, as it is stored. `acted_at`: when that last changed; `last`: what it
    was changed for (None: by a declaration). `reason` and `message`: why it is not otherwise now, and since when.
    `left_out`: ordinals below the highest one that are not there, since who had them was the cheapest to take away.
    Times: epoch seconds of control's clock.
    """

    workload_id: WorkloadId
    target: str
    pop: CityCode
    replicas: int
    acted_at: float
    last: Reason | None = None
    reason: Reason = Reason.LOAD_UNKNOWN
    message: str = ""
    since: float = 0.0
    left_out: tuple[int, ...] = ()

    @property
    def key(self) -> ScaleKey:
        return self.workload_id, self.target, self.pop
