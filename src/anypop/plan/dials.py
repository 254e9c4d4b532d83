"""Dials as the hosts are told them: which PoP keeps how much of which addresses.

In: the dials that stand, and who has which address. Out: what stands in the order of every host, since each has to know
who takes what another does not keep. Pure; no dial is judged here.
"""

from collections.abc import Iterable, Mapping

from anypop.model.backbone import DialledPop
from anypop.model.dial import WHOLE, Dial
from anypop.model.names import CityCode, WorkloadId
from anypop.model.plan import AnycastAddress


def dialled(
    dials: Iterable[Dial], anycast: Mapping[WorkloadId, AnycastAddress], pops: Iterable[CityCode]
) -> tuple[DialledPop, ...]:
    """One entry for each dial that takes anything, in an order that follows from them. `pops`: those there are."""
    here = frozenset(pops)
    found = []
    for dial in sorted(dials, key=lambda d: (d.pop, d.workload_id)):
        if dial.keeps >= WHOLE or dial.pop not in here:
            continue
        if not dial.workload_id:
            found.append(DialledPop(pop=dial.pop, percent=dial.keeps))
        elif (held := anycast.get(dial.workload_id)) is not None:
            addresses = (held.address4, held.address6)
            found.append(DialledPop(pop=dial.pop, percent=dial.keeps, addresses=addresses))
    return tuple(found)


def keeps(dials: Iterable[Dial], pop: CityCode, workload: WorkloadId) -> int:
    """What a PoP keeps of a workload's new connections, by all dials that name it."""
    return min(
        (d.keeps for d in dials if d.pop == pop and d.workload_id in ("", workload)),
        default=WHOLE,
    )  # fmt: skip
