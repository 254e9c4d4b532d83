"""What of each covering prefix is announced now, as control knows it: the state in, the texts of plans out. Pure.

A plan holds the sessions that hear the prefix and no others, so that the same text is the same announcement.
"""

from collections.abc import Mapping
from dataclasses import replace

from anypop.advice import plans
from anypop.api.announcements import rows_of
from anypop.control.state import State
from anypop.model.announce import Prefix
from anypop.model.sessions import of_rows


def announced_plans(state: State) -> Mapping[Prefix, str]:
    """By prefix; one that is announced nowhere is left out."""
    found: dict[Prefix, str] = {}
    asked: set[Prefix] = set()  # of a prefix that several share, any of them tells the same
    for workload, held in state.anycast.items():
        declared = state.workloads.get(workload)
        wanted = [p for p in (held.prefix4, held.prefix6) if p not in asked]
        if declared is None or not wanted:
            continue
        asked.update(wanted)
        rows = rows_of(state, declared)
        for prefix in wanted:
            own = [row for row in rows if row["prefix"] == str(prefix)]
            if any(row["announced"] for row in own):
                announced = of_rows(state.network, own)
                sessions = sorted((s for s in announced.sessions if s.hears), key=lambda s: s.key)
                found[prefix] = plans.write(replace(announced, sessions=tuple(sessions)))
    return found
