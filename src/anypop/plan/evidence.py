"""What vantages saw of an update, and whether it is enough to take it back for. Pure.

In: where they landed before it and since all of a wave is well. Out: who got worse, whether anybody has to look again,
and the sum of two looks. A vantage asks few questions at a time, and on a busy machine an answer may be lost without
anybody's fault, or all of one moment: so what one look has lost is doubt, and doubt is asked again. One that could not
ask at all has seen nothing: that is neither well nor worse.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from anypop.model.rollout import Landing, Rollout

LOST = 4  # so many answers that a vantage does not get are evidence; a look asks three questions
ASKED = 12  # who has lost fewer of so many fares well


def worse(before: Iterable[Landing], now: Iterable[Landing]) -> list[str]:
    """Vantages that got all their answers before and have lost enough since, in words."""
    return [f"{look.vantage} gets {look.answered} of {look.asked} answers" for look in _lost(before, now, LOST)]


def in_doubt(before: Iterable[Landing], now: Iterable[Landing]) -> bool:
    """Whether a vantage has lost an answer, and too little was asked to say more."""
    return any(_missing(look) < LOST and look.asked < ASKED for look in _lost(before, now, 1))


def silent(before: Iterable[Landing], now: Iterable[Landing]) -> bool:
    """Whether a vantage that got all its answers before does not tell now, or could not ask."""
    told = {look.vantage for look in now if look.asked}
    return any(look.whole and look.vantage not in told for look in before)


def looked(rollout: Rollout, looks: Sequence[Landing], began_at: float) -> Rollout:
    """An update after one more look. Where the one before, since all is well, has left a doubt, both count together."""
    since, seen_at = rollout.well_since, rollout.seen_at
    doubted = (
        since is not None and seen_at is not None and seen_at >= since and in_doubt(rollout.baseline, rollout.seen)
    )
    known = {look.vantage: look for look in rollout.seen} if doubted else {}
    found = {look.vantage: _sum(known.get(look.vantage), look) for look in looks}
    return replace(rollout, seen=tuple((known | found).values()), seen_at=began_at)


def _sum(before: Landing | None, now: Landing) -> Landing:
    if before is None or not now.asked:
        return before or now
    return replace(now, answered=before.answered + now.answered, asked=before.asked + now.asked)


def _lost(before: Iterable[Landing], now: Iterable[Landing], least: int) -> list[Landing]:
    """Those that got all before and have lost at least so many answers now."""
    whole = {look.vantage for look in before if look.whole}
    return [look for look in now if look.vantage in whole and _missing(look) >= least]


def _missing(look: Landing) -> int:
    return look.asked - look.answered
