"""Shedding: dials of PoPs that follow their load by themselves, where a person has set one.

In: a draft of control's state and the time. Out: the draft with what each such PoP keeps now. How much that is, is
`judge.shedding`'s to say. While control is away, what was last told stays. Pure.
"""

from dataclasses import replace

from anypop.control.state import DialKey, State
from anypop.judge.shedding import has_room, keeps_now
from anypop.model.dial import WHOLE, Dial
from anypop.model.names import CityCode, WorkloadId
from anypop.model.table import with_entries
from anypop.plan.dials import keeps


def with_shedding(draft: State, now: float) -> State:
    """The draft itself where nothing is to change."""
    changed: dict[DialKey, Dial] = {}
    for key, dial in draft.shedding().items():
        if dial.shed_above is None:
            continue
        if draft.network.backbone is None:
            wanted = WHOLE
        else:
            others = [p.city for p in draft.network.pops if p.city != dial.pop]
            wanted = keeps_now(
                dial.shed_to, load=load_of(draft, dial.pop), limit=dial.shed_above,
                room=any(_takes(draft, city) for city in others),
                since_s=now - dial.shed_at if dial.shed_at is not None else None,
            )  # fmt: skip
        if wanted != dial.shed_to:
            changed[key] = replace(dial, shed_to=wanted, shed_at=now)
    return replace(draft, dials=with_entries(draft.dials, changed)) if changed else draft


def _takes(state: State, city: CityCode) -> bool:
    """Whether a PoP has room, and sends nothing away itself."""
    nobody = WorkloadId("")
    own = state.dials.get((city, nobody))
    limit = own.shed_above if own is not None else None
    return keeps(state.dials.values(), city, nobody) >= WHOLE and has_room(load_of(state, city), limit)


def load_of(state: State, city: CityCode) -> float | None:
    """The processor time that a PoP's instances use, in percent of what its hosts have for them; of the hosts whose
    reports are to be believed. None: nobody tells.
    """
    pop, used, there = state.pop(city), 0, 0
    for host in pop.hosts if pop is not None else ():
        verdict, received = state.verdict.hosts.get(host.name), state.reports.get(host.name)
        if verdict is None or not verdict.trusted or received is None or received.report.used_millis is None:
            continue
        capacity = host.capacity or received.report.capacity
        if capacity is not None and capacity.cpu_millis > 0:
            used, there = used + received.report.used_millis, there + capacity.cpu_millis
    return 100 * used / there if there else None
