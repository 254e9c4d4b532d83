"""Hosts that were lost, or given up, and are heard again with what had been placed elsewhere meanwhile.

In: a draft of control's state that has listened to the reports, and the time. Out: the draft in which who serves goes
on serving: of a slot whose new incarnation is not healthy the old one is taken back, and the new one goes. Until that
is decided the host gets no order: it may be all that answers, and would obey the last word that it was meant to hear.
The decision is `plan.evacuation`'s. Pure.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from anypop.control.state import Placed, State, Tombstone
from anypop.judge.verdict import is_fresh
from anypop.model.names import HostName, InstanceName, WorkloadId
from anypop.model.plan import Incarnation
from anypop.model.reasons import Reason
from anypop.model.table import with_entries, without_keys
from anypop.plan.evacuation import LEFT_BEHIND, who_stays

Slot = tuple[WorkloadId, InstanceName]


def with_returns(draft: State, news: Iterable[HostName], now: float) -> State:
    """The draft with what hosts in `news` take back; the draft itself where that is nothing."""
    for host in sorted(news):
        for slot, left in _left_on(draft, host).items():
            stays = _who_stays(draft, slot, left, now)
            if isinstance(stays, Incarnation):
                draft = _taken_back(draft, stays, now)
    return draft


def undecided(draft: State, hosts: Iterable[HostName], now: float) -> frozenset[HostName]:
    """Those of them that are heard, and of which it is not known yet who stays: nothing new is placed there."""
    return frozenset(
        host for host in hosts if _left_on(draft, host) and _is_heard(draft, host, now) and _waits(draft, host, now)
    )


def gets_no_order(draft: State, host: HostName, now: float) -> bool:
    """Whether a host still runs what is placed elsewhere by now, as its last order says, and nobody knows who stays."""
    return bool(_left_on(draft, host)) and (not _is_heard(draft, host, now) or _waits(draft, host, now))


def is_left_with(draft: State, host: HostName) -> bool:
    """Whether anything was placed elsewhere of which a host has not been told yet."""
    return bool(_left_on(draft, host))


def without_newcomers(draft: State, host: HostName, now: float) -> State:
    """The draft when a host that was given up is taken back into use: who is not healthy in place of one that it still
    has is not needed.
    """
    going: list[Incarnation] = []
    for placed in draft.incarnations_on(host).values():
        old = placed.incarnation
        here = (p.incarnation for p in draft.incarnations_of(old.workload_id).values())
        going += [i for i in here if i.slot == old.slot and i.host != host and i.uid not in draft.arrived]
    return _removed(draft, going, f"{host} is taken back into use", now)


def _is_heard(draft: State, host: HostName, now: float) -> bool:
    return is_fresh(draft.reports.get(host), now)


def _waits(draft: State, host: HostName, now: float) -> bool:
    return any(_who_stays(draft, slot, left, now) == "unknown" for slot, left in _left_on(draft, host).items())


def _left_on(draft: State, host: HostName) -> Mapping[Slot, list[Incarnation]]:
    """What was placed elsewhere while a host was silent, and stands in its last order all the same."""
    stones = [t.incarnation for t in draft.tombstones_on(host).values() if t.reason in LEFT_BEHIND]
    issued = draft.orders.get(host)
    if not stones or issued is None:
        return {}
    runs = {i.uid for i in issued.order.instances}
    found: defaultdict[Slot, list[Incarnation]] = defaultdict(list)
    for incarnation in stones:
        if incarnation.uid in runs and _is_known(draft, incarnation):
            found[incarnation.slot].append(incarnation)
    return found


def _is_known(draft: State, incarnation: Incarnation) -> bool:
    """Whether control could still order it: what it was made from is kept."""
    revision = draft.revision(incarnation.workload_id, incarnation.revision)
    return revision is not None and revision.workload.template == incarnation.template


def _who_stays(draft: State, slot: Slot, left: list[Incarnation], now: float) -> Incarnation | str | None:
    host = left[0].host
    if not _is_heard(draft, host, now):
        return "unknown"
    lives = (p.incarnation for p in draft.incarnations_of(slot[0]).values())
    elsewhere = [i for i in lives if i.slot == slot]
    declared = draft.workloads.get(slot[0])
    if declared is None or declared.workload.deleting or any(i.host == host for i in elsewhere):
        return None
    hosts = {host, *(i.host for i in elsewhere)}
    return who_stays(left, elsewhere, healthy_on(draft, hosts, now), [h for h in hosts if _is_heard(draft, h, now)])


def healthy_on(draft: State, hosts: Collection[HostName], now: float) -> frozenset[str]:
    """Who is healthy there, by what each host says of its own."""
    fresh = (r.report for host in hosts if (r := draft.reports.get(host)) is not None and is_fresh(r, now))
    return frozenset(i.uid for report in fresh for i in report.instances if i.healthy)


def serving_on(draft: State, hosts: Iterable[HostName], now: float) -> frozenset[str]:
    """Who may serve there: who is healthy, and who has not been asked yet."""
    fresh = (r.report for host in hosts if (r := draft.reports.get(host)) is not None and is_fresh(r, now))
    return frozenset(
        i.uid for report in fresh for i in report.instances if i.healthy or i.reason is Reason.PROBE_PENDING
    )


def _taken_back(draft: State, stays: Incarnation, now: float) -> State:
    stone = draft.tombstones[stays.uid]
    lives = (p.incarnation for p in draft.incarnations_of(stays.workload_id).values())
    going = [] if stays.host in draft.evicted else [i for i in lives if i.slot == stays.slot]
    draft = _removed(draft, going, f"{stays.host} is back", now)
    return replace(
        draft,
        incarnations=with_entries(
            draft.incarnations, {stays.uid: Placed(incarnation=stays, created_at=stone.created_at)}
        ),
        tombstones=without_keys(draft.tombstones, [stays.uid]),
    )


def _removed(draft: State, going: Iterable[Incarnation], detail: str, now: float) -> State:
    stones = {
        i.uid: Tombstone(
            incarnation=i, reason=Reason.REVERTED, detail=detail, created_at=draft.incarnations[i.uid].created_at,
            asked_at=now,
        )
        for i in going
    }  # fmt: skip
    if not stones:
        return draft
    return replace(
        draft,
        incarnations=without_keys(draft.incarnations, stones),
        tombstones=with_entries(draft.tombstones, stones),
    )
