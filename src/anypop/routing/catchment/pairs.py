"""Two changes together where no single one helps: strays leave the PoP of the first and land in that of the second.

In: a scorer, a cause with its strays. Out: pairs, as `Tried`. Of all pairs only those are tried of which the first
moves strays, and the second changes a session by which they then land far away: whatever else the second does, it does
not bring these home. Pure.
"""

from collections.abc import Iterator

import numpy as np

from anypop.model.sessions import Session
from anypop.routing.catchment.candidates import less
from anypop.routing.catchment.repairs import Proposal
from anypop.routing.catchment.scorer import Scorer, Tried
from anypop.routing.catchment.strays import Cause
from anypop.routing.engine.seeds import Policies
from anypop.routing.internet.sites import Int64

_LEAST = 0.05  # of the strays, by weight: what moves fewer is no first half, where fewer land no second
_MOST_FIRST = 8
_MOST_SECOND = 2  # sessions


def pairs(scorer: Scorer, cause: Cause, sites: Int64, policies: Policies) -> list[Tried]:
    """Pairs of changes of two sessions, tried."""
    sessions = scorer.before.announcements.sessions
    weight = scorer.weight[sites]
    total = float(weight.sum())
    now = scorer.before.outcome.seed[sites]
    singles = {
        i: list(less([session], cause, policies, preferences=False))
        for i, session in enumerate(sessions)
        if session.hears and session.pop != cause.nearest
    }
    firsts: list[tuple[float, Tried]] = []
    # who feeds no strays now can be no first half
    for tried in scorer.try_all([one for i in np.unique(now).tolist() if i in singles for one in singles[i]]):
        moved = float(weight[tried.seed[sites] != now].sum())
        if moved >= _LEAST * total:
            firsts.append((moved, tried))
    firsts.sort(key=lambda one: -one[0])
    return scorer.try_all(list(_together(scorer, firsts[:_MOST_FIRST], sites, singles, sessions)))


def _together(
    scorer: Scorer,
    firsts: list[tuple[float, Tried]],
    sites: Int64,
    singles: dict[int, list[Proposal]],
    sessions: tuple[Session, ...],
) -> Iterator[Proposal]:
    weight = scorer.weight[sites]
    for _, first in firsts:
        landed = first.landed[sites]
        astray = scorer.at(first.proposal.changes).far[sites, landed]
        feeding = first.seed[sites][astray]
        by_session = {int(s): float(weight[astray][feeding == s].sum()) for s in np.unique(feeding) if s >= 0}
        done = (first.proposal.changes[0].pop, first.proposal.changes[0].upstream)
        for session in sorted(by_session, key=lambda s: -by_session[s])[:_MOST_SECOND]:
            if sessions[session].key == done or by_session[session] < _LEAST * float(weight.sum()):
                continue
            for second in singles.get(session, ()):
                yield _pair(first.proposal, second)


def _pair(a: Proposal, b: Proposal) -> Proposal:
    """Both, in one order whichever was first."""
    one, other = sorted((a, b), key=lambda p: (p.changes[0].pop, p.changes[0].upstream))
    return Proposal(
        kind="two changes",
        title=f"{one.title}, and {other.title}",
        changes=(*one.changes, *other.changes),
        note="; ".join(dict.fromkeys(filter(None, (one.note, other.note)))),
    )
