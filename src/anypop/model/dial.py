"""Dials: how much of its new connections a PoP keeps, of one workload or of all; what it does not keep goes to other
PoPs by the backbone.

Made by control when a person asks; the lowest that names an address counts, whoever set it. A dial takes no
announcement back, and never makes an address that nobody serves: what nobody else can take is served where it comes in.
"""

from dataclasses import dataclass
from enum import StrEnum

from anypop.model.names import CityCode, WorkloadId

WHOLE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Dial:
    """One dial, as it is stored. `workload_id`: of that workload alone; empty: of all in the PoP. `percent`: what a
    person asked for; 100: as without one. `by_operator`: then no owner of the workload may change it. `version` grows
    with each change. `at`: epoch seconds of control's clock.

    Of a whole PoP alone: `shed_above`: the load in percent above which it sheds (None: it does not); `shed_to`: what
    it keeps since it sheds, and `shed_at` when that was last changed.
    """

    pop: CityCode
    workload_id: WorkloadId = WorkloadId("")
    percent: int = WHOLE
    by: str = ""
    by_operator: bool = False
    note: str = ""
    version: int = 1
    at: float = 0.0
    shed_above: int | None = None
    shed_to: int = WHOLE
    shed_at: float | None = None

    @property
    def keeps(self) -> int:
        """What counts: the lower of what was asked for and what shedding leaves."""
        return min(self.percent, self.shed_to)


class InForce(StrEnum):
    """Whether hosts do what a dial says, by their last reports. PLAIN: there is nothing to do."""

    YES = "yes"
    PARTLY = "partly"
    NO = "no"
    UNKNOWN = "unknown"
    PLAIN = "plain"
