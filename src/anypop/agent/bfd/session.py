"""One BFD session's state machine (RFC 5880, section 6). Pure: packets and the time in, packets and events out.

A process that was started anew finds its sessions standing: a neighbour that is up names our discriminator in each
packet. So a session begins by listening, and where the neighbour is up it goes on with the number that it is known by.
The neighbour notices nothing, as long as that takes less than its detection time. Whoever had the session before
(BIRD, an earlier life of this process) makes no difference.
"""

import math
from dataclasses import dataclass
from enum import Enum

from anypop.agent.bfd.packet import (
    ADMIN_DOWN,
    ADMINISTRATIVELY_DOWN,
    DOWN,
    INIT,
    NEIGHBOR_SAID_DOWN,
    NO_DIAGNOSTIC,
    TIME_EXPIRED,
    UP,
    Packet,
)

SLOW_US = 1_000_000  # least interval of a session that is not up (section 6.8.3)
LISTEN_S = 2.0  # longer than any neighbour that matters keeps silent: down ones send once a second
_MICRO = 1_000_000
_LEAST_SPREAD = 0.75  # of an interval (section 6.8.7)


class Event(Enum):
    """What happened to a session. `FOUND`: it stood before us; `LOST`: it was up and is down; `CLOSED`: its neighbour
    has closed it on purpose, which says nothing about the way to it (RFC 5882, section 3.2).
    """

    UP = "up"
    FOUND = "found"
    LOST = "lost"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A session as ordered. `name`: the BGP session in BIRD; `local` may be empty where the neighbour is link-local;
    `interface` is empty where it is several hops away.
    """

    name: str
    neighbor: str
    local: str = ""
    interface: str = ""
    multihop: bool = False
    interval_us: int
    multiplier: int

    @property
    def place(self) -> tuple[str, str, str]:
        """Which two ends: what names it on the wire before it is up."""
        return self.neighbor, self.local, self.interface


class Session:
    """`number`: our discriminator, unique among ours. `was_up`: an earlier life of this process left it up, so if its
    neighbour is not heard any more it is lost. It begins with `listen`.
    """

    def __init__(self, wanted: Wanted, *, number: int, was_up: bool = False) -> None:
        self.wanted = wanted
        self.number = number
        self.state, self.theirs = DOWN, DOWN
        self._diagnostic = NO_DIAGNOSTIC
        self._remote = 0
        self._remote_min_rx_us, self._remote_min_tx_us, self._remote_multiplier = 1, 0, 0
        self._polling = False
        # in force until a poll has told the neighbour of other times (section 6.8.3)
        self._earlier_rx_us, self._earlier_tx_us = 0, 0
        self._listens_until: float | None = math.inf
        self._was_up = was_up
        self._next_tx, self._may_tx = math.inf, math.inf
        self._expires: float | None = None
        self._usual: Packet | None = None  # a session that stands hears the same one again and again

    def listen(self, now: float) -> None:
        """From now on packets can come in."""
        if self._listens_until is not None:
            self._listens_until = self._next_tx = now + LISTEN_S

    def due(self) -> float:
        """When `tick` has to be called next."""
        return self._next_tx if self._expires is None else min(self._next_tx, self._expires)

    def may_send(self, now: float) -> bool:
        """Whether its next packet may leave before it is due, with others that leave now: of a session that stands,
        after three quarters of its interval.
        """
        return now >= self._may_tx

    def is_silent(self, now: float) -> bool:
        """Whether the next `tick` may call the neighbour lost."""
        expires, listens = self._expires, self._listens_until
        return (expires is not None and now >= expires) or (listens is not None and now >= listens)

    def tick(self, now: float, luck: float) -> tuple[Packet | None, Event | None]:
        """A moment has come. `luck`, 0 to 1, spreads packets in time (section 6.8.7)."""
        event = None
        if self._listens_until is not None and now >= self._listens_until:
            event = self._end_listening()
        if self._expires is not None and now >= self._expires:
            event = self._expired()
        if now < self._next_tx and not self.may_send(now):
            return None, event
        interval_s = self._interval_us() / _MICRO
        self._next_tx = now + interval_s * _spread(self.wanted.multiplier, luck)
        self._may_tx = now + interval_s * _LEAST_SPREAD if self.state == UP else math.inf
        return self._packet() if self._may_send() else None, event

    def heard(self, packet: Packet, now: float) -> tuple[Packet | None, Event | None]:
        """A packet from the neighbour's address. Out: an answer that has to leave at once, and what happened."""
        if packet is self._usual:
            self._expires = now + self._detection_us() / _MICRO
            return None, None
        first = self._found(packet, now) if self._listens_until is not None else None
        if packet.yours not in (0, self.number):
            return None, first  # it speaks to somebody that we were long ago, and will notice
        before_us, state = self._interval_us(), self.state
        self._remote, self.theirs = packet.mine, packet.state
        self._remote_min_rx_us, self._remote_min_tx_us = packet.min_rx_us, packet.min_tx_us
        self._remote_multiplier = packet.multiplier
        if packet.final:
            self._polling, self._earlier_rx_us, self._earlier_tx_us = False, 0, 0
        event = self._follow(packet.state) or first
        self._expires = now + self._detection_us() / _MICRO if self.state != ADMIN_DOWN else None
        if self._interval_us() < before_us:  # the neighbour would take more: it need not wait for our slow beat
            self._next_tx = min(self._next_tx, now + self._interval_us() / _MICRO)
        if self._interval_us() != before_us:
            self._may_tx = math.inf
        stands = self.state == UP and event is None and not packet.poll and not packet.final
        self._usual = packet if stands else None
        if packet.poll:
            return self._packet(final=True), event
        return (self._packet() if self.state != state and self._may_send() else None), event

    def change(self, wanted: Wanted, now: float) -> None:
        """Other times for the same session: it stays up."""
        before, self.wanted = self.wanted, wanted
        self._usual, self._may_tx = None, math.inf
        if self.state == UP and before.interval_us != wanted.interval_us:
            self._earlier_rx_us = max(before.interval_us, self._earlier_rx_us)
            self._earlier_tx_us = min(before.interval_us, self._earlier_tx_us or before.interval_us)
            self._polling = True
            self._next_tx = min(self._next_tx, now + wanted.interval_us / _MICRO)

    def close(self, now: float) -> None:
        """It is not wanted any more: tell the neighbour that this is no failure."""
        self.state, self._diagnostic, self._polling = ADMIN_DOWN, ADMINISTRATIVELY_DOWN, False
        self._expires, self._listens_until, self._next_tx = None, None, now
        self._usual, self._may_tx = None, math.inf

    def detection_s(self) -> float:
        """How long the neighbour may be silent."""
        return self._detection_us() / _MICRO

    def _found(self, packet: Packet, now: float) -> Event | None:
        """The first packet of a session that may have stood before us: go on with it, under the number that it has."""
        self._listens_until, self._next_tx = None, now
        self.number = packet.yours or self.number
        self._was_up = False  # one that says it is down has told BIRD's side of it already
        if packet.yours and packet.state == UP:
            self.state, self._polling = UP, True  # our times may be others than those that it was up with
            return Event.FOUND
        return None

    def _end_listening(self) -> Event | None:
        self._listens_until = None
        lost, self._was_up = self._was_up, False
        return Event.LOST if lost else None

    def _expired(self) -> Event | None:
        event = Event.LOST if self.state == UP else None
        if self.state in (INIT, UP):
            self._fall(TIME_EXPIRED)
        self._expires, self._remote = None, 0
        return event

    def _fall(self, why: int) -> None:
        self.state, self._diagnostic, self._polling = DOWN, why, False
        self._usual, self._may_tx = None, math.inf
        self._earlier_rx_us, self._earlier_tx_us = 0, 0

    def _follow(self, theirs: int) -> Event | None:
        """Section 6.8.6: our state by theirs."""
        if self.state == ADMIN_DOWN:
            return None
        if theirs == ADMIN_DOWN:
            was_up = self.state == UP
            if self.state != DOWN:
                self._fall(NEIGHBOR_SAID_DOWN)
            return Event.CLOSED if was_up else None
        if self.state == DOWN and theirs in (DOWN, INIT):
            self.state = INIT if theirs == DOWN else UP
        elif self.state == INIT and theirs in (INIT, UP):
            self.state = UP
        elif self.state == UP and theirs == DOWN:
            self._fall(NEIGHBOR_SAID_DOWN)
            return Event.LOST
        else:
            return None
        if self.state == UP:
            self._diagnostic, self._polling = NO_DIAGNOSTIC, True
            return Event.UP
        return None

    def _may_send(self) -> bool:
        return self._remote_min_rx_us > 0 and self._listens_until is None

    def _min_tx_us(self) -> int:
        own = self.wanted.interval_us
        return own if self.state == UP else max(own, SLOW_US)

    def _interval_us(self) -> int:
        if self.state == ADMIN_DOWN:  # a few quick ones, then it is gone
            return self.wanted.interval_us
        wanted_us = max(self._min_tx_us(), self._remote_min_rx_us)
        return min(wanted_us, self._earlier_tx_us) if self._earlier_tx_us else wanted_us

    def _detection_us(self) -> int:
        own = max(self.wanted.interval_us, self._earlier_rx_us)
        return self._remote_multiplier * max(own, self._remote_min_tx_us)

    def _packet(self, *, final: bool = False) -> Packet:
        return Packet(
            state=self.state, diagnostic=self._diagnostic, poll=self._polling and not final, final=final,
            multiplier=self.wanted.multiplier, mine=self.number, yours=self._remote, min_tx_us=self._min_tx_us(),
            min_rx_us=self.wanted.interval_us,
        )  # fmt: skip


def _spread(multiplier: int, luck: float) -> float:
    """75 to 100 % of the interval, 90 % at most where one lost packet is a lost session."""
    return _LEAST_SPREAD + luck * (0.15 if multiplier == 1 else 0.25)
