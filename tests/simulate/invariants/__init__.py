"""What may never happen on a simulated platform: each invariant of the design as a function with a sentence.

A sentence begins with the invariant's number. `at_hosts` asks before an effect, `at_control` after a step is stored,
`over_time` now and then and in the end; `carried` all of it where hosts carry for each other. The kernel's model
refuses steps too (`refused_by_the_kernel`).
"""

from tests.simulate.invariants.at_control import at_control
from tests.simulate.invariants.at_hosts import (
    REMEMBERED_S,
    at_order,
    at_step,
    comes_back_slower_than_it_fell,
    tells_the_truth_of_processes,
)
from tests.simulate.invariants.broken import Broken, refused_by_the_kernel
from tests.simulate.invariants.over_time import at_the_end, now_and_then

__all__ = [
    "REMEMBERED_S",
    "Broken",
    "at_control",
    "at_order",
    "at_step",
    "at_the_end",
    "comes_back_slower_than_it_fell",
    "now_and_then",
    "refused_by_the_kernel",
    "tells_the_truth_of_processes",
]
