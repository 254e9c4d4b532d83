"""Who gets new flows beside the buckets, how many, and until when; against the fake host."""

from dataclasses import replace
from fractions import Fraction
from ipaddress import IPv4Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anypop.agent.act.network.newcomer_rules import render, whose
from anypop.agent.decide.backbone import LINGER
from anypop.agent.decide.converge import converge, next_due
from anypop.agent.decide.elements import Entry, Joining, Member
from anypop.agent.decide.newcomers import LEARN_S, LOOK_S, WHOLE, joinings_for
from anypop.agent.decide.steps import DropNewcomer, SetJoinings, SetNextHops
from anypop.agent.naming import NEWCOMER_SLOTS, short
from anypop.model.order import InstanceOrder
from anypop.model.workload import Port, Protocol
from tests.agent_world import FakeHost, instance, order, settle
from tests.examples import examples
from tests.unit.test_agent_backbone import AMS, AMS2, A, joined

C = Entry.CLIENTS
FIRST = NEWCOMER_SLOTS.start


def host_of(n: int, **more: object) -> FakeHost:
    host = FakeHost(**more)  # type: ignore[arg-type]
    host.obey(order(1, *(instance(i) for i in range(n))))
    settle(host)
    return host


def key(n: int) -> str:
    return short(instance(n).uid)


def have(host: FakeHost, *counts: int, entry: Entry = C) -> None:
    """Instances with so many buckets."""
    host.buckets[A, entry] = {(key(n), None): count for n, count in enumerate(counts)}
    work(host)


def work(host: FakeHost) -> None:
    """All that there is to do at this moment."""
    for _ in range(40):
        steps = converge(host.facts(), host.now)
        for step in steps:
            host.apply(step)
        if not steps:
            return
    raise AssertionError("there is always something to do")


def parts(host: FakeHost, entry: Entry = C) -> dict[str, float]:
    """What part of the new flows goes to whom beside the buckets."""
    there = host.newcomers.get(A, {})
    return {
        there[slot].short or str(there[slot].peer): part / WHOLE
        for j in host.joinings if j.address == A and j.entry is entry
        for slot, part in j.parts
    }  # fmt: skip


def test_a_member_without_buckets_gets_its_share_by_a_way_of_its_own() -> None:
    """A third of three, and it is in the group as it would be anyway: no bucket is asked to move."""
    host = host_of(3)
    groups = dict(host.groups)
    assert (host.newcomers, host.joinings) == ({}, ())
    have(host, 511, 510, 0)
    assert parts(host) == {key(2): pytest.approx(1 / 3, abs=0.001)}
    assert host.groups == groups
    assert not [s for s in host.applied if isinstance(s, SetNextHops) and s.address not in groups]


def test_what_it_has_of_the_buckets_counts() -> None:
    """Both together are its share, within a sixteenth; with all but a sixteenth of them it needs nothing else."""
    host = host_of(4)
    have(host, 350, 350, 300, 20)
    there, by = parts(host)[key(3)], 20 / 1020
    assert there + (1 - there) * by == pytest.approx(1 / 4, abs=1 / 64)
    have(host, 262, 262, 253, 243)
    assert parts(host) == {}


def test_shares_that_are_a_little_uneven_are_no_reason() -> None:
    host = host_of(3)
    have(host, 380, 380, 260)
    assert (host.newcomers, host.joinings) == ({}, ())


def test_two_newcomers_get_one_way_each() -> None:
    host = host_of(4)
    have(host, 511, 510, 0, 0)
    assert parts(host) == {key(2): pytest.approx(1 / 4, abs=0.001), key(3): pytest.approx(1 / 4, abs=0.001)}
    assert list(host.newcomers[A]) == [FIRST, FIRST + 1]


MANY = host_of(6)
WAYS = {FIRST + n: Member(short=key(n)) for n in range(6)}


@given(st.lists(st.integers(0, 1021), min_size=6, max_size=6))
@settings(max_examples=examples(200), deadline=None)
def test_nobody_gets_more_than_a_sixteenth_above_its_share_by_a_way(counts: list[int]) -> None:
    """However the buckets lie: what goes to a newcomer by buckets and by its way is its share and little more, never
    less; all ways together leave something to the buckets.
    """
    due, whole = Fraction(1, len(counts)), sum(counts) or 1
    buckets = {(A, C): {(key(n), None): count for n, count in enumerate(counts)}}
    (joining,) = joinings_for(MANY.facts(newcomers={A: WAYS}, buckets=buckets), MANY.now)
    led = {slot - FIRST: part / WHOLE for slot, part in joining.parts}
    beside = sum(led.values())
    assert 0 <= beside < 1
    for n, count in enumerate(counts):
        total = led.get(n, 0) + (1 - beside) * count / whole
        if n in led:
            assert float(due) - 0.001 <= total <= float(due) * 17 / 16 + 0.001
        else:
            assert not sum(counts) or count / whole >= float(due) * 15 / 16 - 0.001


def test_the_way_stays_for_the_flows_that_took_it() -> None:
    """The buckets have come, and the group is balanced: no new flow goes by the way, and it goes with the last flow."""
    host = host_of(3)
    have(host, 511, 510, 0)
    slot = next(iter(host.newcomers[A]))
    host.remembered[A, slot] = True
    host.buckets.clear()
    work(host)
    assert parts(host) == {}
    assert host.joinings == (Joining(address=A, entry=C, slots=(slot,), learns=True),)
    host.remembered[A, slot] = False
    work(host)
    assert not (host.newcomers or host.joinings or host.remembered)


def test_nothing_is_taken_away_while_nobody_knows_of_the_flows() -> None:
    host = host_of(3)
    have(host, 511, 510, 0)
    host.buckets.clear()
    assert not [s for s in converge(host.facts(remembered=None), host.now) if isinstance(s, DropNewcomer)]
    assert [s for s in converge(host.facts(), host.now) if isinstance(s, DropNewcomer)]


def test_a_dead_newcomer_has_no_way_and_its_slot_waits_until_its_flows_are_forgotten() -> None:
    host = host_of(3)
    have(host, 511, 510, 0)
    host.remembered[A, FIRST] = True
    host.die(instance(2).uid)
    assert host.newcomers == {}
    host.buckets.clear()
    work(host)
    assert host.joinings == ()
    settle(host)
    host.remembered = {(A, FIRST): True}  # as if its rules were loaded still
    have(host, 511, 510, 0)
    assert list(host.newcomers[A]) == [FIRST + 1]


def test_who_leaves_loses_its_way_in_the_step_in_which_it_leaves_the_group() -> None:
    """Its flows are pinned by then; nobody new comes by the way while it drains."""
    host = host_of(3)
    have(host, 511, 510, 0)
    host.remembered[A, FIRST] = True
    host.busy.add(instance(2).uid)
    host.obey(order(2, instance(0), instance(1), removed=(instance(2),)))
    while any(m.short == key(2) for m in host.groups[A]):
        assert host.newcomers, "the way goes first: what came by it would go elsewhere"
        for step in converge(host.facts(), host.now):
            host.apply(step)
    assert host.newcomers == {}
    assert key(2) in host.pins
    work(host)
    assert host.joinings == ()


def test_an_agent_that_was_killed_finds_the_ways_and_loads_the_rules_again() -> None:
    host = host_of(3)
    have(host, 511, 510, 0)
    before = host.newcomers, host.joinings
    host.remembered[A, FIRST] = True
    host.kill()
    steps = converge(host.facts(), host.now)
    assert [s for s in steps if isinstance(s, SetJoinings)]
    work(host)
    assert (host.newcomers, host.joinings) == before
    assert host.remembered == {(A, FIRST): True}


def test_no_slot_left_is_no_trouble() -> None:
    """More newcomers than slots: the others wait."""
    host = host_of(3)
    host.remembered = {(A, slot): False for slot in NEWCOMER_SLOTS}
    host.buckets[A, C] = {(key(0), None): 511, (key(1), None): 510, (key(2), None): 0}
    assert not [s for s in converge(host.facts(), host.now) if s.lane == "newcomers"]


def test_other_hosts_get_ways_too_and_what_came_by_a_tunnel_never_goes_to_one() -> None:
    """A host without an instance: one of two other hosts has no buckets. One with instances that clients reach by the
    tunnel: its newcomer gets its part of those as well.
    """
    host = FakeHost(offers={AMS.address: {A: 1}, AMS2.address: {A: 1}})
    host.obey(joined(replace(order(1, instance(0)), instances=()), AMS, AMS2))
    settle(host)
    host.buckets[A, C] = {("", AMS.address): 1021, ("", AMS2.address): 0}
    work(host)
    assert parts(host) == {str(AMS2.address): pytest.approx(1 / 2, abs=0.001)}
    assert [(j.entry, j.slots) for j in host.joinings] == [(C, (FIRST,))]

    served = FakeHost(offers={})
    served.obey(joined(order(1, instance(0), instance(1)), AMS))
    settle(served)
    have(served, 1031, 0, entry=Entry.TUNNEL)
    assert parts(served) == {}
    assert parts(served, Entry.TUNNEL) == {key(1): pytest.approx(1 / 2, abs=0.001)}


def lingering(*, old: int = 821) -> FakeHost:
    """One of two other hosts serves no more, and so many of the buckets are busy with its flows."""
    host = FakeHost(offers={AMS.address: {A: 1}, AMS2.address: {A: 1}})
    host.obey(joined(replace(order(1, instance(0)), instances=()), AMS, AMS2))
    settle(host)
    host.offers[AMS2.address] = {A: 0}
    work(host)
    assert {m.peer: m.weight for m in host.groups[A]} == {AMS.address: 100, AMS2.address: 1}
    host.buckets[A, C] = {("", AMS.address): 1021 - old, ("", AMS2.address): old}
    work(host)
    return host


def test_a_host_that_lingers_gets_no_new_flow() -> None:
    """While its buckets are busy all new ones go by a way to the other; then by the buckets again, and the way goes
    with the last of its flows.
    """
    host = lingering()
    assert parts(host) == {str(AMS.address): 1.0}
    host.remembered[A, FIRST] = True
    host.buckets[A, C] = {("", AMS.address): 1021, ("", AMS2.address): 0}
    work(host)
    assert parts(host) == {}
    assert [j.slots for j in host.joinings] == [(FIRST,)]
    host.remembered[A, FIRST] = False
    work(host)
    assert (host.newcomers, host.joinings) == ({}, ())
    assert lingering(old=0).newcomers == {}


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_while_one_lingers_each_other_has_its_share_of_all_new_flows(count: int) -> None:
    """All of them together, to the last one of 10,000; nothing is left to the buckets."""
    host, last = lingering(), replace(AMS2, address=IPv4Address("10.77.0.99"))
    others = [("", IPv4Address(f"10.77.1.{n}")) for n in range(count)]
    members = tuple(Member(short="", peer=peer) for _, peer in others)
    group = (*members, Member(short="", peer=last.address, weight=LINGER))
    ways = {FIRST + n: member for n, member in enumerate(members)}
    buckets = {(A, C): dict.fromkeys(others, 100) | {("", last.address): 50}}
    facts = host.facts(newcomers={A: ways}, balanced={A: group}, buckets=buckets)
    (joining,) = joinings_for(facts, host.now)
    assert sum(part for _, part in joining.parts) == WHOLE
    assert {round(part * count / WHOLE, 2) for _, part in joining.parts} == {1.0}


def test_flows_of_udp_that_were_there_before_stay_for_a_minute() -> None:
    host = host_of(3)
    have(host, 511, 510, 0)
    assert [j.learns for j in host.joinings] == [True]
    assert (due := next_due(host.facts(), host.now)) is not None
    assert due <= host.now + LOOK_S
    host.now += LEARN_S
    work(host)
    assert [j.learns for j in host.joinings] == [False]


DNS = Port(name="dns", port=53, protocol=Protocol.UDP)


def loaded(host: FakeHost) -> list[Joining]:
    return [j for j in host.joinings if j.address == A]


def with_udp(n: int) -> InstanceOrder:
    (plain,) = instance(n).containers
    return instance(n, containers=(replace(plain, ports=(*plain.ports, DNS)),))


def test_flows_of_udp_are_learnt_before_the_newcomer_is_there() -> None:
    """From the moment at which it is ordered: one that takes a minute to become healthy has its share of UDP as soon as
    of TCP. What is learnt stays known until it has joined, and when it has its buckets nothing of that is left.
    """
    host = FakeHost()
    host.obey(order(1, with_udp(0), with_udp(1)))
    settle(host)
    assert loaded(host) == []
    host.obey(order(2, *(with_udp(n) for n in range(3))))
    work(host)
    assert key(2) not in {m.short for m in host.groups[A]}
    assert loaded(host) == [Joining(address=A, entry=C, learns=True)]
    host.now += LEARN_S
    host.buckets[A, C] = {(key(0), None): 511, (key(1), None): 510, (key(2), None): 0}
    for _ in range(100):
        host.now += 0.1
        for step in converge(host.facts(), host.now):
            assert not isinstance(step, SetJoinings) or A in {j.address for j in step.joinings}, "it would be forgotten"
            host.apply(step)
    assert parts(host) == {key(2): pytest.approx(1 / 3, abs=0.001)}
    assert [(j.learns, j.slots) for j in loaded(host)] == [(False, (FIRST,))]
    host.buckets.clear()
    settle(host)
    assert host.joinings == ()


def test_nothing_is_learnt_for_who_takes_no_udp() -> None:
    host = host_of(2)
    host.obey(order(2, *(instance(n) for n in range(3))))
    work(host)
    assert key(2) not in {m.short for m in host.groups[A]}
    assert loaded(host) == []


def test_a_set_tells_whose_flows_it_holds() -> None:
    """And what is not needed any more goes with its flows."""
    two = (Joining(address=A, entry=C, slots=(FIRST, FIRST + 1), parts=((FIRST, 5000),)),)
    text = render("t", two)
    names = [line.split()[1] for line in text.splitlines() if line.startswith("\tset ")]
    own = {name for name in names if whose(name)}
    assert {whose(name) for name in own} == {(A, FIRST), (A, FIRST + 1)}
    again = render("t", (replace(two[0], slots=(FIRST,)),), sets=[*names, "__set0"])
    gone = {line.split()[-1] for line in again.splitlines() if line.startswith("delete set")}
    assert gone == {name for name in own if whose(name) == (A, FIRST + 1)}


def test_members_are_told_apart_by_who_they_are() -> None:
    peer = IPv4Address("10.77.0.9")
    assert Member(short="", peer=peer).who == Member(short="", peer=peer, weight=7).who == ("", peer)
