"""Hosts that are lost: which they are, and which of their instances may be placed elsewhere now.

In: how long each host has been silent, who was given up by a person, and who lives where in what health. Out: the
lost hosts, the incarnations that may move, and who stays where a lost host is heard again. It may only have been cut
off, so what it had stays its own until then; and a platform that loses sight of many hosts at once has more likely
lost its own eyes. Pure.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from anypop.model.names import CityCode, HostName, WorkloadId
from anypop.model.order import Removal
from anypop.model.plan import Incarnation
from anypop.model.reasons import Reason

LEFT_BEHIND = frozenset({Reason.HOST_LOST, Reason.HOST_EVICTED})  # why who lives elsewhere now was asked to go
_FEWEST_THAT_FREEZE = 2  # one host that is silent may be dead; two at once, of few, have something in common


@dataclass(frozen=True, slots=True, kw_only=True)
class Losses:
    """`lost`: hosts whose instances are to live elsewhere. `frozen`: so many look lost that nothing moves by itself."""

    lost: frozenset[HostName] = frozenset()
    frozen: bool = False


def losses(
    silent_s: Mapping[HostName, float],
    evicted: Collection[HostName],
    lost_after_s: float,
    hosts: Collection[HostName] | None = None,
) -> Losses:
    """`silent_s`: of every host that is silent, seconds without a word. `lost_after_s` 0: no host is ever lost by
    itself. `hosts`: all that the network has; without them those of `silent_s`.
    """
    hosts = silent_s.keys() if hosts is None else hosts
    looks_lost = {host for host, seconds in silent_s.items() if lost_after_s > 0 and seconds > lost_after_s}
    frozen = len(looks_lost) >= _FEWEST_THAT_FREEZE and 3 * len(looks_lost) > len(hosts)
    given_up = {host for host in evicted if host in hosts}
    return Losses(lost=frozenset(given_up if frozen else given_up | looks_lost), frozen=frozen)


def movable(
    lost: Collection[HostName],
    incarnations: Iterable[Incarnation],
    removals: Iterable[tuple[HostName, Removal]],
    healthy: Collection[str],
    serving: Collection[str] = (),
) -> frozenset[str]:
    """The uids that may be placed elsewhere now: of each workload in each PoP one at a time, and the next when that one
    is healthy. `serving`: those on hosts that were given up and are heard, which may serve: they go for a successor
    alone, see `World.eases`.
    """
    if not lost:
        return frozenset()
    moved = {(r.workload_id, r.name) for host, r in removals if r.reason in LEFT_BEHIND}
    stranded: dict[tuple[WorkloadId, CityCode], list[Incarnation]] = defaultdict(list)
    busy: set[tuple[WorkloadId, CityCode]] = set()
    for incarnation in incarnations:
        where = incarnation.workload_id, incarnation.pop
        if incarnation.uid in serving:
            continue
        if incarnation.host in lost:
            stranded[where].append(incarnation)
        elif incarnation.slot in moved and incarnation.uid not in healthy:
            busy.add(where)
    found: set[str] = set()
    for where, lives in stranded.items():
        if where not in busy:
            first = min(lives, key=lambda i: (i.name, i.life)).name
            found |= {i.uid for i in lives if i.name == first}
    return frozenset(found)


def who_stays(
    left: Sequence[Incarnation], elsewhere: Sequence[Incarnation], healthy: Collection[str], heard: Collection[HostName]
) -> Incarnation | Literal["unknown"] | None:
    """A host is heard again, and one slot's incarnations that it had, `left`, live `elsewhere` by now. Which of them
    stays there after all: None where one elsewhere is healthy, or where nobody wants the slot any more. Unknown as long
    as the host of one elsewhere is silent and none is known to be healthy.
    """
    if not left or not elsewhere or any(i.uid in healthy for i in elsewhere):
        return None
    if well := [i for i in left if i.uid in healthy]:
        return max(well, key=lambda i: i.life)
    if any(i.host not in heard for i in elsewhere):
        return "unknown"
    return min(left, key=lambda i: i.life)
