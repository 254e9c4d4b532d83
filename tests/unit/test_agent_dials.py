"""What leaves a PoP by its dial, and who takes it, against the fake host."""

from dataclasses import replace
from ipaddress import IPv4Address

from hypothesis import given, settings
from hypothesis import strategies as st

from anypop.agent.act.network.steering_rules import render
from anypop.agent.decide.backbone import FULL, LINGER, LINGER_S, Carriers
from anypop.agent.decide.converge import converge, next_due
from anypop.agent.decide.dials import LEARN_S
from anypop.agent.decide.elements import Entry, Steer
from anypop.agent.decide.steps import SetSteering
from anypop.model.backbone import BackbonePeer, DialledPop
from anypop.model.names import CityCode
from anypop.model.order import Order
from tests.agent_world import FakeHost, instance, order, settle
from tests.examples import examples
from tests.unit.test_agent_backbone import AMS, AMS2, JFK, SIBLING, A, joined, report

LHR, IN_AMS, IN_JFK = CityCode("LHR"), CityCode("AMS"), CityCode("JFK")


def dialled(plain: Order, *dials: DialledPop, peers: tuple[BackbonePeer, ...] = (SIBLING, AMS, JFK)) -> Order:
    whole = joined(plain, *peers)
    assert whole.backbone is not None
    return replace(whole, backbone=replace(whole.backbone, dials=dials))


def host_at(percent: int, *more: DialledPop, serving: tuple[BackbonePeer, ...] = (AMS, JFK)) -> FakeHost:
    """In London, which is dialled, with an instance; who serves beside it."""
    host = FakeHost(offers={peer.address: {A: 1} for peer in serving})
    host.obey(dialled(order(1, instance(0)), DialledPop(pop=LHR, percent=percent), *more))
    settle(host)
    return host


def work(host: FakeHost) -> None:
    """All that there is to do at this moment."""
    for _ in range(40):
        steps = converge(host.facts(), host.now)
        for step in steps:
            host.apply(step)
        if not steps:
            return
    raise AssertionError("there is always something to do")


def away(host: FakeHost) -> dict[IPv4Address | None, int]:
    return {m.peer: m.weight for m in host.away.get(A, ())}


def keeps(host: FakeHost) -> dict[object, int]:
    return {s.address: s.keep for s in host.steers}


def test_what_a_dial_does_not_keep_goes_to_the_nearest_other_pop() -> None:
    """The group of its own clients stays as it is: no flow that stands meets another member. It goes on telling what it
    serves, and announces.
    """
    host, plain = host_at(30), host_at(100)
    assert (away(host), keeps(host)) == ({AMS.address: FULL}, {A: 30})
    assert (away(plain), keeps(plain)) == ({}, {})
    assert (host.groups, host.served, host.speaker) == (plain.groups, plain.served, plain.speaker)
    assert host.guard is not None
    assert host.guard.halves == (A,)
    (told,) = report(host).carried
    assert (told.local, told.shares, told.kept) == (3, ((AMS.host, 7),), 30)


def test_a_dial_of_nothing_sends_all_new_flows_away_and_announces_on() -> None:
    host = host_at(0)
    assert keeps(host) == {A: 0}
    assert host.served == {A: 1}
    assert host.speaker is not None
    assert host.speaker.exports
    assert [(c.local, c.shares) for c in report(host).carried] == [(0, ((AMS.host, 1),))]


def test_nobody_else_who_can_take_it_means_that_it_is_served_here() -> None:
    """Nobody in another PoP; a PoP that is dialled as low; and when somebody comes, the dial is in force by itself."""
    host = host_at(0, serving=(SIBLING,))
    assert (away(host), keeps(host), report(host).carried) == ({}, {}, ())
    host.offers[JFK.address] = {A: 1}
    settle(host)
    assert (away(host), keeps(host)) == ({JFK.address: FULL}, {A: 0})
    host.offers.pop(JFK.address)
    settle(host)
    assert (away(host), keeps(host)) == ({}, {})
    both = host_at(0, DialledPop(pop=IN_AMS, percent=0), serving=(AMS,))
    assert (away(both), keeps(both)) == ({}, {})


def test_a_pop_that_is_dialled_itself_takes_only_what_nobody_else_can() -> None:
    """New York is further, and not dialled; of two that are, the higher takes from the lower and never the other way
    round.
    """
    assert away(host_at(20, DialledPop(pop=IN_AMS, percent=50))) == {JFK.address: FULL}
    assert away(host_at(20, DialledPop(pop=IN_AMS, percent=50), serving=(AMS,))) == {AMS.address: FULL}
    assert away(host_at(50, DialledPop(pop=IN_AMS, percent=20), serving=(AMS,))) == {}
    carried = FakeHost(offers={AMS.address: {A: 1}, JFK.address: {A: 1}})
    carried.obey(dialled(replace(order(1, instance(0)), instances=()), DialledPop(pop=IN_AMS, percent=50)))
    settle(carried)
    assert [m.peer for m in carried.groups[A]] == [JFK.address], "nor what a PoP without an instance sends on"


def test_the_lowest_dial_that_names_an_address_counts() -> None:
    other = IPv4Address("192.0.2.200")
    dials = (DialledPop(pop=LHR, percent=60), DialledPop(pop=LHR, percent=40, addresses=(A,)))
    found = Carriers(dialled(order(1), *dials), {})
    assert (found.kept(LHR, A), found.kept(LHR, other), found.kept(IN_AMS, A)) == (40, 60, 100)
    assert list(found.dialled([A, other])) == [A, other]
    assert list(Carriers(dialled(order(1), DialledPop(pop=IN_AMS, percent=1)), {}).dialled([A])) == []


def test_flows_that_have_left_go_on_leaving_when_the_dial_is_back() -> None:
    """All new ones stay; the way remains until no flow that left lives."""
    host = host_at(0)
    host.obey(joined(order(2, instance(0)), SIBLING, AMS, JFK))
    settle(host)
    assert (away(host), keeps(host)) == ({AMS.address: FULL}, {A: 100})
    assert report(host).carried == ()
    host.away_lives = True
    settle(host)
    assert keeps(host) == {A: 100}
    host.away_lives = False
    settle(host)
    assert (away(host), keeps(host)) == ({}, {})


def test_a_newcomer_among_those_that_take_them_gets_its_share_at_once() -> None:
    """A second host of the nearest PoP begins to serve while the buckets of the first are busy: of what leaves a half
    goes to it by a way, and nothing of what comes in by the tunnel or stays. When it serves no more its way goes.
    """
    second, host = AMS2, FakeHost(offers={AMS.address: {A: 1}})
    host.obey(dialled(order(1, instance(0)), DialledPop(pop=LHR, percent=20), peers=(SIBLING, AMS, AMS2)))
    settle(host)
    host.offers[second.address] = {A: 1}
    work(host)
    assert away(host) == {AMS.address: FULL, second.address: FULL}
    host.buckets[A, Entry.AWAY] = {("", AMS.address): 1021, ("", second.address): 0}
    work(host)
    (slot,) = host.newcomers[A]
    assert host.newcomers[A][slot].peer == second.address
    assert [(j.entry, j.parts) for j in host.joinings if j.parts] == [(Entry.AWAY, ((slot, 5000),))]
    assert {j.entry for j in host.joinings} == {Entry.CLIENTS, Entry.AWAY}
    host.offers[second.address] = {}
    work(host)
    assert (host.newcomers, host.joinings) == ({}, ())


def test_who_took_flows_keeps_them_when_a_nearer_pop_takes_over() -> None:
    host = host_at(50, serving=(JFK,))
    host.offers[AMS.address] = {A: 1}
    work(host)
    assert away(host) == {AMS.address: FULL, JFK.address: LINGER}
    host.now += LINGER_S
    settle(host)
    assert away(host) == {AMS.address: FULL}


def test_flows_of_udp_that_stood_before_the_dial_are_learnt_first() -> None:
    host = host_at(100)
    host.obey(dialled(order(2, instance(0)), DialledPop(pop=LHR, percent=50)))
    work(host)
    assert [s.learns for s in host.steers] == [True]
    due = next_due(host.facts(), host.now)
    assert due is not None
    assert due <= host.now + LEARN_S
    host.now += LEARN_S
    settle(host)
    assert host.steers == (Steer(address=A, keep=50),)
    host.obey(dialled(order(3, instance(0)), DialledPop(pop=LHR, percent=40)))
    settle(host)
    assert host.steers == (Steer(address=A, keep=40),), "they are known already"


def test_an_agent_that_begins_anew_finds_the_dial_as_it_is() -> None:
    """What it does not remember is loaded once more, and keeps what is known of flows."""
    host = host_at(0)
    host.obey(joined(order(2, instance(0)), SIBLING, AMS, JFK))
    settle(host)
    host.kill()
    settle(host)
    assert keeps(host) == {A: 100}
    host.away_lives = False
    settle(host)
    assert (away(host), host.steers) == ({}, ())


def test_a_backbone_that_is_taken_away_takes_its_dials() -> None:
    host = host_at(20)
    host.obey(order(2, instance(0)))
    settle(host)
    assert (away(host), host.steers) == ({}, ())


def test_without_a_dial_no_packet_meets_a_rule_for_it() -> None:
    assert not [s for s in host_at(100).applied if isinstance(s, SetSteering)]


@settings(max_examples=examples(100), deadline=None)
@given(
    st.dictionaries(st.sampled_from([LHR, IN_AMS, IN_JFK]), st.integers(0, 100)),
    st.sets(st.sampled_from([SIBLING, AMS, AMS2, JFK])),
    st.booleans(),
)
def test_a_dial_never_makes_an_address_that_nobody_serves(
    percents: dict[CityCode, int], serving: set[BackbonePeer], here: bool
) -> None:
    """Whoever serves an address at all gets its packets; what leaves goes to somebody who serves, in a PoP that is
    dialled higher.
    """
    peers = (SIBLING, AMS, AMS2, JFK)
    dials = [DialledPop(pop=pop, percent=percent) for pop, percent in percents.items() if percent < 100]
    plain = order(1, instance(0))
    host = FakeHost(offers={p.address: {A: 1} for p in serving})
    host.obey(dialled(plain if here else replace(plain, instances=()), *dials, peers=peers))
    settle(host)
    assert bool(host.groups.get(A)) is (here or bool(serving))
    pops = {p.address: p.pop for p in serving}
    for member in host.away.get(A, ()):
        assert member.peer in pops
        assert percents.get(pops[member.peer], 100) > percents.get(LHR, 100)
    assert all(s.keep == 100 or s.address in host.away for s in host.steers)


def test_rules_for_many_addresses_are_as_many_as_there_are_different_dials() -> None:
    """A packet costs one look by its address, however many are dialled."""
    many = [Steer(address=IPv4Address("192.0.2.0") + n, keep=50) for n in range(200)]
    assert render("t", many).count("jhash") == render("t", many[:1]).count("jhash") == 2
