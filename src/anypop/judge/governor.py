"""The governor: may this PoP withdraw this prefix?

In: how one covering prefix stands in all PoPs, as plain sets. Out: an answer for each PoP that asks. All answers for a prefix come out
of one call, one after the other, so that two PoPs never both get the last leave there was. Returning needs no leave, so nothing here can
keep a PoP from announcing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from anypop.model.announce import Prefix
from anypop.model.names import CityCode
from anypop.model.order import Grant
from anypop.model.reasons import Reason


class Cause(StrEnum):
    """What stands behind a request: why the traffic should leave this PoP, or why leaving would not help it."""

    BROKEN = "broken"  # it worked here, it no longer does, and it works elsewhere
    STARTING = "starting"  # it has never worked here yet
    NOWHERE_BETTER = "nowhere-better"  # it works in no other PoP that announces it


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One prefix over all PoPs.

    `entitled`: those whose orders say announce. `announcing`: those of them that surely do, by a fresh report and an established session.
    `leaving`: those that hold a leave they may use at any moment, whether they have or not. `turned_bad`: how many of the entitled went
    from good to bad inside the window. `requests`: who asks now, the longest waiting first.
    """

    prefix: Prefix
    entitled: frozenset[CityCode]
    announcing: frozenset[CityCode]
    leaving: frozenset[CityCode]
    turned_bad: int
    requests: tuple[tuple[CityCode, Cause], ...]

    @property
    def floor(self) -> int:
        return floor_of(len(self.entitled))


def floor_of(entitled: int) -> int:
    """How many PoPs must go on announcing: half of them, rounded up, and one in any case."""
    return max(1, (entitled + 1) // 2)


def govern(standing: Standing) -> Mapping[CityCode, Grant]:
    """An answer for each request. A PoP that is `leaving` keeps its leave; asking again is answered by it."""
    answers: dict[CityCode, Grant] = {}
    left = standing.announcing - standing.leaving
    for pop, cause in standing.requests:
        if pop in standing.leaving:
            answers[pop] = Grant(prefix=standing.prefix, allowed=True, reason=Reason.GRANTED)
            continue
        reason = _answer(standing, left - {pop}, cause)
        allowed = reason is Reason.GRANTED
        if allowed:
            left = left - {pop}
        answers[pop] = Grant(prefix=standing.prefix, allowed=allowed, reason=reason)
    return answers


def _answer(standing: Standing, others: frozenset[CityCode], cause: Cause) -> Reason:
    """`others`: who would still announce. The first line that holds decides; each says what it protects."""
    if cause is Cause.STARTING:
        return Reason.PROBE_PENDING  # a newcomer that shares the prefix must not take it from those who work
    if not others:
        return Reason.LAST_ANNOUNCER  # a sick answer is better than none
    if 2 * standing.turned_bad > len(standing.entitled):
        return Reason.SUSPECT_MONITOR  # so many at once are not ill: whoever says so is
    if len(others) < standing.floor:
        return Reason.FLOOR_HOLDS  # the others must carry the load
    if cause is Cause.NOWHERE_BETTER:
        return Reason.NOWHERE_BETTER  # moving clients would not heal them, only move them
    return Reason.GRANTED
