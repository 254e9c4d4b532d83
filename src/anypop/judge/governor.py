"""The governor: may this host withdraw this prefix?

In: how one covering prefix stands on all hosts, as plain sets. Out: an answer for each host that asks. All answers for
a prefix come out of one call, one after the other, so that two hosts never both get the last leave there was. Returning
needs no leave, so nothing here can keep a host from announcing. Floors are counted in PoPs: a host whose PoP goes on by
another one takes no PoP away. They guard against probes that are wrong: a host where nothing runs is no matter of
opinion, and leaves as long as somebody who is well stays.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from anypop.model.announce import Prefix
from anypop.model.names import CityCode, HostName
from anypop.model.order import Grant
from anypop.model.plan import floor_of
from anypop.model.reasons import Reason


class Cause(StrEnum):
    """What stands behind a request: why the traffic should leave this PoP, or why leaving would not help it."""

    VACANT = "vacant"  # nothing runs here that could answer, and it works elsewhere
    BROKEN = "broken"  # it worked here, it no longer does, and it works elsewhere
    STARTING = "starting"  # it has never worked here yet
    NOWHERE_BETTER = "nowhere-better"  # it works in no other PoP that announces it


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One prefix over all hosts.

    `entitled`: those whose orders say announce, and their PoPs. `announcing`: those of them that surely do, by a fresh
    report and an established session. `leaving`: those that hold a leave they may use at any moment, whether they have
    or not. `turned_bad`: the PoPs that went from good to bad inside the window. `requests`: who asks now, the longest
    waiting first.
    """

    prefix: Prefix
    entitled: Mapping[HostName, CityCode]
    announcing: frozenset[HostName]
    leaving: frozenset[HostName]
    turned_bad: frozenset[CityCode]
    requests: tuple[tuple[HostName, Cause], ...]

    def pops(self, hosts: Iterable[HostName]) -> frozenset[CityCode]:
        """The PoPs of some of the entitled hosts."""
        return frozenset(self.entitled[host] for host in hosts if host in self.entitled)

    @property
    def floor(self) -> int:
        """How many PoPs must go on announcing."""
        return floor_of(len(self.pops(self.entitled)))


def govern(standing: Standing) -> Mapping[HostName, Grant]:
    """An answer for each request. A host that is `leaving` keeps its leave; asking again is answered by it."""
    answers: dict[HostName, Grant] = {}
    left = standing.announcing - standing.leaving
    for host, cause in standing.requests:
        if host in standing.leaving:
            answers[host] = Grant(prefix=standing.prefix, allowed=True, reason=Reason.GRANTED)
            continue
        reason = _answer(standing, left - {host}, cause)
        allowed = reason is Reason.GRANTED
        if allowed:
            left = left - {host}
        answers[host] = Grant(prefix=standing.prefix, allowed=allowed, reason=reason)
    return answers


def _answer(standing: Standing, others: frozenset[HostName], cause: Cause) -> Reason:
    """`others`: who would still announce. The first line that holds decides; each says what it protects."""
    if cause is Cause.STARTING:
        return Reason.PROBE_PENDING  # a newcomer that shares the prefix must not take it from those who work
    if not others:
        return Reason.LAST_ANNOUNCER  # a sick answer is better than none
    if cause is Cause.VACANT:
        return Reason.GRANTED  # who stays here gets no answer for certain: no floor is worth that
    if 2 * len(standing.turned_bad) > len(standing.pops(standing.entitled)):
        return Reason.SUSPECT_MONITOR  # so many at once are not ill: whoever says so is
    if len(standing.pops(others)) < standing.floor:
        return Reason.FLOOR_HOLDS  # the others must carry the load
    if cause is Cause.NOWHERE_BETTER:
        return Reason.NOWHERE_BETTER  # moving clients would not heal them, only move them
    return Reason.GRANTED
