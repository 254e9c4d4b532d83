"""Uplinks that come and go: how often a session was lost in a row, and how long nothing is announced on it. Pure.

In: what was remembered, the sessions as the speaker tells them, the time. Out: what is to be remembered. One loss is
an accident, and its session is announced to as soon as it stands. From the second on announcements rest until the
session has stood for 4 s, 8 s, ... 5 min, so that the world hears of a cable that flaps a few times and not at each
flap. Whether a prefix may rest at all is decided by `announcements`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from anypop.agent.decide.back_off import BackOff
from anypop.model.report import SessionReport

Way = tuple[str, int]
"""A session: the upstream's name and the family."""

HOLD = BackOff(first_s=4, longest_s=300)
FREE_LOSSES = 1
CALM_S = 60.0  # a session that stood so long beyond its rest has stopped flapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Uplink:
    """One session over time. `since`: the speaker's own stamp of when it came up, which also tells of a loss that was
    too short to be seen. `losses`: in a row. `up_at`: when it was seen to stand.
    """

    up: bool
    since: float | None = None
    losses: int = 0
    up_at: float = 0.0

    @property
    def hold_s(self) -> float:
        """How long it has to stand before it is announced to."""
        return HOLD.wait_s(self.losses - FREE_LOSSES - 1) if self.losses > FREE_LOSSES else 0.0

    @property
    def until(self) -> float:
        """When its rest ends, if it goes on standing."""
        return self.up_at + self.hold_s

    def rests(self, now: float) -> bool:
        return self.hold_s > 0 and (not self.up or now < self.until)


def looked(known: Mapping[Way, Uplink], sessions: Iterable[SessionReport], now: float) -> dict[Way, Uplink]:
    """A look at the sessions was taken. One that is not told of any more is forgotten."""
    return {(s.upstream, s.family): _moved(known.get((s.upstream, s.family)), s, now) for s in sessions}


def speaker_gone(known: Mapping[Way, Uplink]) -> dict[Way, Uplink]:
    """The speaker has died: that its sessions are gone is no fault of theirs."""
    return {way: replace(uplink, up=False) for way, uplink in known.items()}


def _moved(before: Uplink | None, session: SessionReport, now: float) -> Uplink:
    up = session.state == "established"
    if before is None:
        return Uplink(up=up, since=session.since if up else None, up_at=now)
    losses = before.losses
    if before.up and now - before.up_at > CALM_S + before.hold_s:
        losses = 0
    if before.up and (not up or session.since != before.since):
        losses += 1
    if not up:
        return replace(before, up=False, losses=losses)
    if before.up and session.since == before.since:
        return replace(before, losses=losses)
    return Uplink(up=True, since=session.since, losses=losses, up_at=now)
