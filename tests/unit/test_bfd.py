"""BFD sessions without sockets or clocks: two of them against each other, over a way that can be cut."""

from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv6Address

import pytest

from anypop.agent.act.bgp.bfd import wanted_of
from anypop.agent.bfd.packet import ADMIN_DOWN, DOWN, INIT, UP, Packet, packed, unpacked
from anypop.agent.bfd.session import LISTEN_S, Event, Session, Wanted
from anypop.agent.decide.elements import SpeakerConfig
from anypop.model.network import Upstream

WANTED = Wanted(
    name="u4_one", neighbor="192.0.2.1", local="192.0.2.2", interface="up", interval_us=50_000, multiplier=3
)


@dataclass
class Pair:
    """`ours` and `theirs` in one time; `cut`: who is not heard."""

    ours: Session = field(default_factory=lambda: Session(WANTED, number=7))
    theirs: Session = field(default_factory=lambda: Session(WANTED, number=9))
    now: float = 100.0
    cut: set[str] = field(default_factory=set)
    events: list[tuple[str, Event, float]] = field(default_factory=list)
    sent: dict[str, list[tuple[float, Packet]]] = field(default_factory=lambda: {"ours": [], "theirs": []})

    def __post_init__(self) -> None:
        self.ours.listen(self.now)
        self.theirs.listen(self.now)

    def side(self, name: str) -> Session:
        return self.ours if name == "ours" else self.theirs

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while (moment := min(self.ours.due(), self.theirs.due())) <= end:
            self.now = max(self.now, moment)
            for name in ("ours", "theirs"):
                packet, event = self.side(name).tick(self.now, 0.5)
                self._note(name, event)
                self._carry(name, packet)
        self.now = end

    def _carry(self, name: str, packet: Packet | None) -> None:
        while packet is not None:
            self.sent[name].append((self.now, packet))
            if name in self.cut:
                return
            name = "theirs" if name == "ours" else "ours"
            read = unpacked(packed(packet))
            assert read == packet
            packet, event = self.side(name).heard(read, self.now)
            self._note(name, event)

    def _note(self, name: str, event: Event | None) -> None:
        if event is not None:
            self.events.append((name, event, self.now))

    def told(self, name: str) -> list[Event]:
        return [event for who, event, _ in self.events if who == name]


def up() -> Pair:
    pair = Pair()
    pair.run(8)
    assert pair.ours.state == pair.theirs.state == UP
    pair.events.clear()
    return pair


def test_both_come_up_and_send_as_often_as_both_want() -> None:
    pair = up()
    pair.sent["ours"].clear()
    pair.run(1)
    assert 20 <= len(pair.sent["ours"]) <= 27  # 50 ms, less up to a quarter
    assert all(p.state == UP and p.independent and not p.poll for _, p in pair.sent["ours"])


def test_a_silent_neighbour_is_lost_after_three_intervals_and_comes_back() -> None:
    pair = up()
    began = pair.now
    pair.cut = {"theirs"}
    pair.run(1)
    assert pair.told("ours") == [Event.LOST]
    assert pair.events[0][2] - began <= 0.150 + 1e-6
    assert pair.told("theirs") == [Event.LOST]  # it was told that we hear nothing
    pair.cut = set()
    pair.run(4)
    assert pair.ours.state == pair.theirs.state == UP


def test_whoever_is_slower_sets_the_pace() -> None:
    pair = Pair(theirs=Session(replace(WANTED, interval_us=300_000, multiplier=4), number=9))
    pair.run(8)
    pair.sent["ours"].clear()
    pair.run(3)
    assert len(pair.sent["ours"]) <= 14
    assert pair.ours.detection_s() == pytest.approx(1.2)
    assert pair.theirs.detection_s() == pytest.approx(0.9)


@pytest.mark.parametrize("gap_s", [0.0, 0.03, 0.06])
def test_a_process_that_begins_anew_goes_on_with_what_stands(gap_s: float) -> None:
    """The neighbour hears of it in time, and its own number for us is still right."""
    pair = up()
    pair.cut = {"ours"}
    pair.run(gap_s)
    pair.cut = set()
    pair.ours = Session(replace(WANTED), number=1234, was_up=True)
    pair.ours.listen(pair.now)
    pair.run(5)
    assert pair.told("ours") == [Event.FOUND]
    assert pair.told("theirs") == []
    assert pair.ours.number == 7


def test_while_the_door_is_shut_nothing_is_sent() -> None:
    """BIRD of an earlier version still has the port: a word from us would end the session that it has."""
    pair = up()
    ours = Session(WANTED, number=1234)
    assert ours.tick(pair.now + 1000, 0.5) == (None, None)
    assert ours.due() > pair.now + 1000


def test_a_neighbour_that_died_while_we_did_is_lost() -> None:
    ours = Session(WANTED, number=7, was_up=True)
    ours.listen(10.0)
    assert ours.tick(10.0 + LISTEN_S, 0.5)[1] is Event.LOST
    fresh = Session(WANTED, number=7)
    fresh.listen(10.0)
    assert fresh.tick(10.0 + LISTEN_S, 0.5)[1] is None


def test_other_times_leave_a_session_up() -> None:
    pair = up()
    for interval_us in (10_000, 400_000, 50_000):
        pair.ours.change(replace(WANTED, interval_us=interval_us, multiplier=5), pair.now)
        pair.run(4)
        assert pair.events == []
        assert pair.ours.detection_s() == pytest.approx(3 * max(interval_us, 50_000) / 1e6)


def test_a_session_that_is_closed_is_no_loss() -> None:
    """RFC 5882, section 3.2: on either side."""
    pair = up()
    pair.ours.close(pair.now)
    pair.run(0.3)
    assert pair.told("theirs") == [Event.CLOSED]
    assert pair.sent["ours"][-1][1].state == ADMIN_DOWN
    other = up()
    other.theirs.close(other.now)
    other.run(0.3)
    assert other.told("ours") == [Event.CLOSED]


def test_a_neighbour_that_began_anew_is_lost_and_found() -> None:
    pair = up()
    pair.theirs = Session(WANTED, number=11)
    pair.theirs.listen(pair.now - LISTEN_S)
    answer, event = pair.ours.heard(
        Packet(state=DOWN, multiplier=3, mine=11, yours=0, min_tx_us=1_000_000, min_rx_us=50_000), pair.now
    )
    assert event is Event.LOST
    assert answer is not None
    assert (answer.state, answer.yours) == (DOWN, 11)


def test_a_word_to_somebody_else_changes_nothing() -> None:
    pair = up()
    stray = Packet(state=DOWN, multiplier=3, mine=9, yours=8, min_tx_us=1, min_rx_us=1)
    assert pair.ours.heard(stray, pair.now) == (None, None)
    assert pair.ours.state == UP


GOOD = packed(Packet(state=UP, multiplier=3, mine=1, yours=2, min_tx_us=3, min_rx_us=4))


@pytest.mark.parametrize(
    ("at", "value"),
    [(0, 0x40), (1, UP << 6 | 0x04), (1, UP << 6 | 0x01), (2, 0), (3, 23), (3, 25), (7, 0), (11, 0)],
)
def test_what_must_be_discarded_is(at: int, value: int) -> None:
    """Version, authentication, multipoint, multiplier, both lengths, both numbers (RFC 5880, section 6.8.6)."""
    assert unpacked(GOOD) is not None
    assert unpacked(GOOD[:-1]) is None
    assert unpacked(GOOD[:at] + bytes([value]) + GOOD[at + 1 :]) is None


def test_a_down_packet_may_not_know_us() -> None:
    for state, known in ((DOWN, True), (ADMIN_DOWN, True), (INIT, False), (UP, False)):
        octets = packed(Packet(state=state, multiplier=3, mine=1, yours=0, min_tx_us=3, min_rx_us=4))
        assert (unpacked(octets) is not None) is known


def test_each_bgp_session_that_wants_bfd_has_it() -> None:
    """By its own times, on its interface, or over several hops; one that was left out of BIRD has none."""
    near = Upstream(
        name="near", asn=64500, interface="eth1", neighbor4=IPv4Address("192.0.2.1"), local4=IPv4Address("192.0.2.2"),
        neighbor6=IPv6Address("fe80::1"), bfd_interval_ms=10, bfd_multiplier=5,
    )  # fmt: skip
    far = Upstream(
        name="far", asn=64501, interface="eth1", neighbor4=IPv4Address("198.51.100.1"),
        local4=IPv4Address("192.0.2.2"), multihop=4,
    )  # fmt: skip
    without = replace(far, name="without", bfd=False)
    config = SpeakerConfig(asn=64496, router_id=IPv4Address("192.0.2.2"), upstreams=(near, far, without))
    found = {each.name: each for each in wanted_of(config)}
    assert found["u4_near"].place == ("192.0.2.1", "192.0.2.2", "eth1")
    assert found["u6_near"].place == ("fe80::1", "", "eth1")
    assert (found["u4_near"].interval_us, found["u4_near"].multiplier) == (10_000, 5)
    assert (found["u4_far"].multihop, found["u4_far"].interface) == (True, "")
    assert (found["u4_far"].interval_us, found["u4_far"].multiplier) == (100_000, 3)
    assert set(found) == {"u4_near", "u6_near", "u4_far"}
    assert [each.name for each in wanted_of(config, ["u4_near", "u6_near"])] == ["u4_far"]
