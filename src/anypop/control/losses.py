"""Lost hosts in control's state: who has been silent for too long, and which of their incarnations may live elsewhere
now.

In: the state before, a draft of the next one that has listened to the reports, and the time. Out: the draft with
`lost`, `moves` and `losses_frozen` as they are now; the same draft where nothing changed. The decision is
`plan.evacuation`'s. Pure.
"""

from collections.abc import Collection, Iterable
from dataclasses import replace

from anypop.control.returns import healthy_on, serving_on, undecided
from anypop.control.state import State
from anypop.model.names import HostName
from anypop.model.table import differing
from anypop.plan.evacuation import LEFT_BEHIND, losses, movable


def with_losses(
    before: State, draft: State, hosts: Collection[HostName], news: Iterable[HostName], now: float
) -> State:
    """A host counts as silent since its last report, but no longer than this control has been listening. `hosts`: the
    network's; `news`: those that have reported.
    """
    # one that never reported has nothing that could be lost
    silent = {host: now - max(at, draft.started_at) for host, at in draft.verdict.silent.items() if host in hosts}
    found = losses(silent, draft.evicted, draft.network.lost_after_s, hosts)
    lost = found.lost | undecided(draft, {*draft.lost, *news}, now)
    same = (
        lost == draft.lost
        and all((host in before.verdict.fresh) == (host in draft.verdict.fresh) for host in draft.evicted)
        and not draft.stirred
        and not _lives_differ(before, draft)
        and draft.awaited.isdisjoint(news)
        and draft.evicted.keys().isdisjoint(news)
    )
    if same and found.frozen == draft.losses_frozen:
        return draft
    if not lost and not draft.lost:
        return draft if found.frozen == draft.losses_frozen else replace(draft, losses_frozen=found.frozen)
    moves, awaited = _moves(draft, lost, now)
    return replace(draft, lost=lost, moves=moves, losses_frozen=found.frozen, awaited=awaited)


def _lives_differ(before: State, draft: State) -> bool:
    return bool(differing(before.incarnations, draft.incarnations) or differing(before.tombstones, draft.tombstones))


def _moves(draft: State, lost: Collection[HostName], now: float) -> tuple[frozenset[str], frozenset[HostName]]:
    """The uids that may be placed elsewhere, and the hosts whose reports decide what may follow them."""
    workloads = {p.incarnation.workload_id for host in lost for p in draft.incarnations_on(host).values()}
    stones = [t for w in workloads for t in draft.tombstones_of(w).values()]
    lives = [p.incarnation for w in workloads for p in draft.incarnations_of(w).values()]
    moved = {(t.incarnation.workload_id, t.incarnation.name) for t in stones if t.reason in LEFT_BEHIND}
    awaited = frozenset(i.host for i in lives if i.slot in moved)
    serving = serving_on(draft, draft.evicted, now)
    gone = ((t.incarnation.host, t.removal) for t in stones)
    moves = movable(lost, lives, gone, _healthy(draft, awaited, now), serving)
    return moves, awaited


def _healthy(draft: State, hosts: Iterable[HostName], now: float) -> frozenset[str]:
    """By what each host says of its own."""
    hosts = frozenset(hosts)
    own = frozenset[str]().union(*(draft.incarnations_on(host) for host in hosts))
    return healthy_on(draft, hosts, now) & own
