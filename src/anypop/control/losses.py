"""Lost hosts in control's state: who has been silent for too long, and which of their incarnations may live elsewhere now.

In: a draft of the state and the time. Out: the draft with `lost`, `moves` and `losses_frozen` as they are now; the same draft where nothing
changed. The decision is `plan.evacuation`'s. Pure.
"""

from dataclasses import replace

from anypop.control.state import State
from anypop.judge.verdict import is_fresh
from anypop.model.names import HostName
from anypop.plan.evacuation import losses, movable


def with_losses(draft: State, now: float) -> State:
    """A host counts as silent since its last report, but no longer than this control has been listening."""
    silent: dict[HostName, float] = {}
    for _, host in draft.network.hosts():
        received = draft.reports.get(host.name)
        if received is not None:  # one that never reported has nothing that could be lost
            silent[host.name] = 0.0 if is_fresh(received, now) else now - max(received.at, draft.started_at)
        else:
            silent[host.name] = 0.0
    found = losses(silent, draft.evicted, draft.network.lost_after_s)
    moves = movable(
        found.lost,
        (p.incarnation for p in draft.incarnations.values()),
        ((t.incarnation.host, t.removal) for t in draft.tombstones.values()),
        _healthy(draft, now) if found.lost else frozenset(),
    )
    if (found.lost, moves, found.frozen) == (draft.lost, draft.moves, draft.losses_frozen):
        return draft
    return replace(draft, lost=found.lost, moves=moves, losses_frozen=found.frozen)


def _healthy(draft: State, now: float) -> frozenset[str]:
    fresh = (r.report for r in draft.reports.values() if is_fresh(r, now))
    return frozenset(i.uid for report in fresh for i in report.instances if i.healthy)
