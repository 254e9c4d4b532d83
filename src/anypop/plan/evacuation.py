"""Hosts that are lost: which they are, and which of their instances may be placed elsewhere now.

In: how long each host has been silent, who was given up by a person, and who lives where in what health. Out: the
lost hosts, and the incarnations that may move. A lost host may only be cut off, so what it had stays its own until
it returns; and a platform that loses sight of many hosts at once has more likely lost its own eyes. Pure.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from anypop.model.names import CityCode, HostName, WorkloadId
from anypop.model.order import Removal
from anypop.model.plan import Incarnation
from anypop.model.reasons import Reason

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
) -> frozenset[str]:
    """The uids that may be placed elsewhere now: of each workload in each PoP one at a time, and the next when that one
    is healthy.
    """
    if not lost:
        return frozenset()
    moved = {(r.workload_id, r.name) for host, r in removals if r.reason is Reason.HOST_LOST}
    stranded: dict[tuple[WorkloadId, CityCode], list[Incarnation]] = defaultdict(list)
    busy: set[tuple[WorkloadId, CityCode]] = set()
    for incarnation in incarnations:
        where = incarnation.workload_id, incarnation.pop
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
