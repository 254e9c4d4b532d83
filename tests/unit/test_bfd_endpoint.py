"""When the sessions of one host send, and what a packet is known by, without sockets or clocks."""

from dataclasses import dataclass, replace
from itertools import pairwise

import pytest

from anypop.agent.bfd import endpoint
from anypop.agent.bfd.endpoint import Endpoint
from anypop.agent.bfd.packet import UP, Packet, packed, unpacked
from anypop.agent.bfd.session import LISTEN_S, Wanted

INTERVAL_S, SESSIONS, SECONDS = 0.1, 20, 20.0
WANTED = Wanted(name="", neighbor="", local="192.0.2.2", interface="up", interval_us=100_000, multiplier=3)


@dataclass
class Clock:
    """Of all that the endpoint asks for the time."""

    now: float = 100.0

    def monotonic(self) -> float:
        return self.now


def standing(count: int, monkeypatch: pytest.MonkeyPatch) -> tuple[Endpoint, Clock, dict[str, list[float]]]:
    """An endpoint with so many sessions that are up, its clock, and when each of them has sent from now on."""
    clock, sent = Clock(), dict[str, list[float]]()
    monkeypatch.setattr(endpoint, "time", clock)
    monkeypatch.setattr(
        endpoint._Way, "send", lambda way, _: sent.setdefault(way._wanted.neighbor, []).append(clock.now)
    )
    one = Endpoint(lambda *_: None)
    one.set([replace(WANTED, name=f"n{n}", neighbor=f"192.0.2.{10 + n}") for n in range(count)])
    for n, (place, session) in enumerate(one.sessions.items()):
        session.listen(clock.now)
        clock.now += 0.013  # neighbours come up one after the other
        hear(one, place, state=UP, final=False)
        hear(one, place, state=UP, final=True)
        assert session.state == UP, n
    sent.clear()
    return one, clock, sent


def hear(one: Endpoint, place: tuple[str, str, str], *, state: int, final: bool) -> None:
    packet = Packet(
        state=state, multiplier=3, mine=9, yours=one.sessions[place].number, min_tx_us=100_000, min_rx_us=100_000,
        final=final,
    )  # fmt: skip
    read = unpacked(packed(packet))
    assert read is not None
    one._heard(place, read)


def live(one: Endpoint, clock: Clock, seconds: float) -> None:
    """All neighbours are heard in each turn."""
    end = clock.now + seconds
    while one._queue[0][0] <= end:
        clock.now = max(clock.now, one._queue[0][0])
        for place in one.sessions:
            hear(one, place, state=UP, final=False)
        one._tick()


def test_sessions_of_one_host_send_at_the_same_moments(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host wakes up for all of them at once, and not for each."""
    one, clock, sent = standing(SESSIONS, monkeypatch)
    live(one, clock, LISTEN_S)
    sent.clear()
    live(one, clock, SECONDS)
    moments = {moment for times in sent.values() for moment in times}
    assert len(sent) == SESSIONS
    assert len(moments) < 1.5 * SECONDS / (0.75 * INTERVAL_S)


def test_each_packet_follows_the_last_one_after_three_quarters_to_all_of_the_interval(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By a new chance each time (RFC 5880, section 6.8.7), alone and beside others."""
    for count in (1, SESSIONS):
        one, clock, sent = standing(count, monkeypatch)
        live(one, clock, SECONDS)
        for times in sent.values():
            gaps = [after - before for before, after in pairwise(times)]
            assert min(gaps) >= 0.75 * INTERVAL_S - 1e-9
            assert max(gaps) <= INTERVAL_S + 1e-9
            assert len({round(gap, 4) for gap in gaps}) > len(gaps) / 4


def test_a_neighbour_that_falls_silent_is_lost_as_soon_beside_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """After three of its intervals, whatever else is sent and heard meanwhile."""
    one, clock, _ = standing(SESSIONS, monkeypatch)
    live(one, clock, 1.0)
    silent, lost_at, begun = next(iter(one.sessions)), 0.0, clock.now
    while not lost_at and clock.now < begun + 5:
        clock.now = max(clock.now, one._queue[0][0])
        for place in one.sessions:
            if place != silent:
                hear(one, place, state=UP, final=False)
        one._tick()
        lost_at = clock.now if one.sessions[silent].state != UP else 0.0
    assert 0.2 < lost_at - begun <= 3 * INTERVAL_S + 1e-9
    assert all(session.state == UP for place, session in one.sessions.items() if place != silent)
