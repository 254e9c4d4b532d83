"""Who gets a part of the traffic elsewhere, and hosts that carry for each other, against the fake host."""

from dataclasses import replace
from fractions import Fraction
from ipaddress import IPv4Address, IPv4Network, IPv6Network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anypop.agent.decide import backbone, firewall
from anypop.agent.decide import siblings as siblings_module
from anypop.agent.decide.backbone import FULL, LINGER, LINGER_S, Carriers
from anypop.agent.decide.converge import converge, next_due
from anypop.agent.decide.elements import Entry, FamilyVerdict, Member, ProbeVerdict
from anypop.agent.decide.names import seen_by
from anypop.agent.decide.report import report_of
from anypop.agent.decide.steps import SetGuard, SetNextHops, SetSpeaker, SetTunnel
from anypop.agent.decide.traffic import AGREED_S, members_for
from anypop.agent.naming import UNWELL, device_group_of, short, sibling_number, tunnel_end
from anypop.model.announce import Address
from anypop.model.backbone import Backbone, BackbonePeer, BackboneRules
from anypop.model.names import CityCode, HostName, StackId
from anypop.model.order import InstanceOrder, Order
from anypop.model.reasons import Reason
from anypop.model.report import Report
from tests.agent_world import COVERS, HOST, POP, FakeHost, instance, order, settle
from tests.examples import examples

A = COVERS[0][1]
ELSEWHERE = COVERS[0][9]  # of a workload without an instance here
KM = {"LHR": 0, "AMS": 350, "JFK": 5500}


def peer(n: int, pop: str) -> BackbonePeer:
    return BackbonePeer(
        host=HostName(f"{pop}-{n}"), pop=CityCode(pop), router_id=IPv4Address("10.64.255.1") + n,
        address=IPv4Address("10.77.0.1") + n, distance_km=KM[pop],
        external4=IPv4Network("198.51.100.0/28"), external6=IPv6Network("2001:db8:e::/64"),
    )  # fmt: skip


SIBLING, AMS, AMS2, JFK = peer(1, "LHR"), peer(2, "AMS"), peer(3, "AMS"), peer(4, "JFK")


def joined(plain: Order, *peers: BackbonePeer) -> Order:
    """The same order on a host with a backbone."""
    own = Backbone(rules=BackboneRules(), address=IPv4Address("10.77.0.1"), peers=peers, carried=COVERS)
    return replace(plain, backbone=own)


def carriers(*told: tuple[BackbonePeer, int], down: tuple[BackbonePeer, ...] = ()) -> Carriers:
    peers = tuple(p for p, _ in told)
    return Carriers(joined(order(1), *peers), {p.address: {A: n} for p, n in told}, {p.address for p in down})


def shares(found: Carriers, local: int) -> tuple[dict[IPv4Address, Fraction], float]:
    """What goes to others, and what stays."""
    away, stays = found.share(A, local)
    return away, float(stays)


def test_a_host_keeps_what_its_instances_can_take() -> None:
    """Half of the traffic of two hosts, and half of the instances, or more."""
    assert shares(carriers((SIBLING, 1)), 1) == ({}, 1)
    assert shares(carriers((SIBLING, 1)), 3) == ({}, 1)
    assert shares(carriers((JFK, 9)), 1) == ({}, 1)


def test_a_host_with_too_few_instances_sends_the_rest_to_its_own_pop() -> None:
    """One of four instances, and half of the traffic: half of that is for the other host. Other PoPs get nothing."""
    assert shares(carriers((SIBLING, 3), (AMS, 9)), 1) == ({SIBLING.address: Fraction(1, 2)}, 0.5)


def test_a_host_without_instances_sends_all_to_its_own_pop_or_else_to_the_nearest_one() -> None:
    """By count over the hosts of that PoP; nowhere, where nobody can."""
    assert shares(carriers((SIBLING, 1), (AMS, 9)), 0) == ({SIBLING.address: Fraction(1)}, 0)
    two = ({AMS.address: Fraction(1, 4), AMS2.address: Fraction(3, 4)}, 0)
    assert shares(carriers((JFK, 9), (AMS, 1), (AMS2, 3)), 0) == two
    assert shares(carriers((SIBLING, 0), (JFK, 2)), 0) == ({JFK.address: Fraction(1)}, 0)
    assert shares(carriers((SIBLING, 0)), 0) == ({}, 1)


def test_a_host_that_is_down_gets_no_share_of_the_traffic() -> None:
    """Alone in its PoP a host has all of the traffic, and keeps it."""
    away, _ = shares(carriers((SIBLING, 3)), 1)
    assert away
    assert carriers((SIBLING, 0), down=(SIBLING,)).hosts == 1


@settings(max_examples=examples(200), deadline=None)
@given(st.lists(st.integers(0, 30), min_size=2, max_size=6))
def test_over_all_hosts_of_a_pop_every_instance_gets_the_same(counts: list[int]) -> None:
    """Each host has the same share of the traffic; what it keeps and what it is sent is as its part of the
    instances.
    """
    if not sum(counts):
        return
    hosts, got = len(counts), [Fraction(0)] * len(counts)
    for me, local in enumerate(counts):
        others = [peer(n + 1, "LHR") for n in range(hosts)]
        found = Carriers(
            joined(order(1), *(p for n, p in enumerate(others) if n != me)),
            {p.address: {A: counts[n]} for n, p in enumerate(others) if n != me and counts[n]},
        )
        away, stays = found.share(A, local)
        assert stays + sum(away.values()) == 1
        got[me] += stays / hosts
        for n, p in enumerate(others):
            got[n] += away.get(p.address, Fraction(0)) / hosts
    everyone = sum(counts)
    if all(counts):
        assert got == [Fraction(n, everyone) for n in counts]
    else:  # who has none sends by count; who has some keeps to its own formula: none gets what it cannot serve
        assert all(part == 0 for part, n in zip(got, counts, strict=True) if n == 0)


def test_weights_say_the_parts_and_own_instances_alone_have_full_weight() -> None:
    assert backbone.members(["b", "a"], {}, Fraction(1)) == [Member(short="a"), Member(short="b")]
    mixed = backbone.members(["a"], {AMS.address: Fraction(3, 4)}, Fraction(1, 4))
    assert mixed == [Member(short="a", weight=33), Member(short="", peer=AMS.address, weight=FULL)]


def host_with(*instances: InstanceOrder, peers: tuple[BackbonePeer, ...] = (SIBLING, AMS, JFK)) -> FakeHost:
    host = FakeHost()
    host.obey(joined(order(1, *instances), *peers))
    settle(host)
    return host


def away(host: FakeHost, address: Address = A) -> dict[IPv4Address, int]:
    return {m.peer: m.weight for m in host.groups.get(address, ()) if m.peer is not None}


def report(host: FakeHost) -> Report:
    return report_of(
        host.facts(), pop=POP, host=HOST, generation=1, at=host.now, refused=None, drift=(), errors=()
    )  # fmt: skip


def test_without_a_backbone_there_is_nothing_of_it() -> None:
    """No device, no rules, nothing told, whatever tables hold; and an order that takes it away takes all of it."""
    host = FakeHost(offers={AMS.address: {A: 3}})
    host.obey(order(1, instance(0)))
    settle(host)
    assert not [s for s in host.applied if isinstance(s, SetTunnel | SetGuard)]
    assert (host.served, host.inbound, away(host)) == ({}, {}, {})
    host.obey(joined(order(2, instance(0)), AMS))
    settle(host)
    assert host.served == {A: 1}
    assert host.tunnel is not None
    assert host.tunnel.targets == ((AMS.address, tunnel_end(AMS.router_id)),)
    host.obey(order(3, instance(0)))
    settle(host)
    assert not any((host.tunnel, host.guard, host.served, host.inbound))


def test_what_others_serve_is_carried_also_without_an_instance_here() -> None:
    """An address of a workload that this host has nothing of: there while somebody tells of it, then gone."""
    host = host_with(instance(0))
    host.offers[JFK.address] = {ELSEWHERE: 2}
    settle(host)
    assert away(host, ELSEWHERE) == {JFK.address: FULL}
    assert ELSEWHERE not in host.inbound
    assert ELSEWHERE not in host.served
    assert [(c.address, c.local, c.shares) for c in report(host).carried] == [(ELSEWHERE, 0, ((JFK.host, FULL),))]
    host.offers.clear()
    settle(host)
    assert ELSEWHERE not in host.groups


def test_nothing_outside_the_carried_prefixes_is_carried() -> None:
    host = host_with(instance(0))
    host.offers[JFK.address] = {IPv4Address("8.8.8.8"): 1}
    settle(host)
    assert set(host.groups) == {A}


def test_the_last_instance_that_dies_is_carried_for_and_its_prefix_stays() -> None:
    """The nearest PoP takes over in one step; when the instance is back it takes all new flows, and the other host
    keeps those that it has, for a while.
    """
    host = host_with(instance(0))
    host.offers[AMS.address], host.offers[JFK.address] = {A: 2}, {A: 2}
    settle(host)
    assert away(host) == {}
    host.sick.add(instance(0).uid)
    host.die(instance(0).uid)
    facts = host.facts()
    assert not {type(s).__name__ for s in converge(facts, host.now)} & {"RemoveRoute", "SetRoute"}
    for step in converge(facts, host.now):
        if step.lane == "router":
            host.apply(step)
    assert away(host) == {AMS.address: FULL}
    assert host.served == {}
    now = report(host)
    assert [(p.announced or not p.wants_withdraw, p.shut) for p in now.prefixes if p.prefix == COVERS[0]] == [
        (True, ())
    ]
    host.sick.clear()
    for _ in range(40):
        if A in host.served:
            break
        for step in converge(host.facts(), host.now):
            host.apply(step)
        host.now += 0.5
    assert away(host) == {AMS.address: LINGER}
    assert host.served == {A: 1}
    facts = host.facts()
    due = next_due(facts, host.now)
    assert due is not None
    assert due <= host.now + LINGER_S
    host.now += LINGER_S
    settle(host)
    assert away(host) == {}


def test_a_prefix_that_nobody_can_serve_or_carry_says_for_which_addresses() -> None:
    host = host_with(instance(0))
    host.sick.add(instance(0).uid)
    host.now += 1
    shut = [p.shut for p in report(host).prefixes if p.prefix == COVERS[0]]
    assert shut == [(A,)]
    assert any(p.wants_withdraw for p in report(host).prefixes)


def test_a_host_without_instances_announces_what_it_can_carry() -> None:
    """Its gate is an address that others serve; without them it is shut, and nothing is announced."""
    plain = order(1, instance(0))
    host = FakeHost()
    host.obey(joined(replace(plain, instances=()), AMS))
    settle(host)
    assert COVERS[0] not in {e.prefix for e in (host.speaker.exports if host.speaker else ())}
    host.offers[AMS.address] = {A: 1}
    settle(host)
    assert COVERS[0] in {e.prefix for e in (host.speaker.exports if host.speaker else ())}


def test_the_last_instance_leaves_to_another_host_and_ends_its_flows_here() -> None:
    """Its token comes, others can serve: it is pinned, new flows are carried, others are told that nobody new is to
    come while it has flows, and then nothing.
    """
    host = host_with(instance(0))
    host.offers[AMS.address] = {A: 1}
    settle(host)
    host.busy.add(instance(0).uid)
    host.obey(joined(order(2, removed=(instance(0),)), SIBLING, AMS, JFK))
    seen = []
    for _ in range(60):
        for step in converge(host.facts(), host.now):
            host.apply(step)
        seen.append((host.served.get(A), short(instance(0).uid) in host.pins, bool(host.inbound)))
        if not host.inbound:
            break
        host.now += 0.05
    assert (0, True, True) in seen, "others may finish what they have"
    assert all(inbound for told, _, inbound in seen if told is not None), "who is told has a way"
    assert seen[-1] == (None, False, False)
    settle(host)
    assert host.containers == {}


def test_who_takes_nobody_new_keeps_what_it_has() -> None:
    """A host that drains tells 0: it lingers in the groups of others that have somebody else, until it tells
    nothing.
    """
    host = host_with()
    host.offers[AMS.address] = {ELSEWHERE: 1}
    settle(host)
    host.offers[AMS.address], host.offers[JFK.address] = {ELSEWHERE: 0}, {ELSEWHERE: 1}
    settle_still(host)
    assert away(host, ELSEWHERE) == {AMS.address: LINGER, JFK.address: FULL}
    host.offers[AMS.address] = {}
    settle(host)
    assert away(host, ELSEWHERE) == {JFK.address: FULL}


def test_who_lingers_without_any_flow_goes_at_once() -> None:
    """Its own instance is well again: another host that got nothing meanwhile is out with the next look, one that has
    flows stays until they have been silent.
    """
    host = host_with()
    for flows in (False, True):
        host.idle = set()
        host.offers[AMS.address] = {ELSEWHERE: 1}
        host.offers.pop(JFK.address, None)
        settle(host)
        host.offers[AMS.address], host.offers[JFK.address] = {ELSEWHERE: 0}, {ELSEWHERE: 1}
        for step in converge(host.facts(), host.now):
            host.apply(step)
        assert away(host, ELSEWHERE) == {AMS.address: LINGER, JFK.address: FULL}
        host.idle = set() if flows else {(ELSEWHERE, AMS.address)}
        settle_still(host)
        left = {JFK.address: FULL} | ({AMS.address: LINGER} if flows else {})
        assert away(host, ELSEWHERE) == left
    due = next_due(host.facts(), host.now)
    assert due is not None
    assert due <= host.now + 1
    host.idle = {(ELSEWHERE, AMS.address)}
    settle_still(host)
    assert away(host, ELSEWHERE) == {JFK.address: FULL}


def test_when_all_probes_of_all_hosts_fail_everybody_keeps_answering() -> None:
    """Hosts fail one after the other, so some have handed over to others before those fail too. What runs and has
    answered once gets the traffic back, others are told 0 of it, and who has no instance sends it there.
    """
    host = host_with(instance(0))
    host.offers[AMS.address] = {A: 2, ELSEWHERE: 1}
    settle(host)
    host.sick.add(instance(0).uid)
    settle(host)
    assert (away(host), locals_of(host), host.served) == ({AMS.address: FULL}, [], {})
    assert A in host.inbound, "others may not know it yet"
    host.offers[AMS.address] = {A: 0, ELSEWHERE: 0}
    settle(host)
    assert (locals_of(host), host.served) == ([short(instance(0).uid)], {A: 0})
    assert away(host).get(AMS.address, 0) <= LINGER
    assert away(host, ELSEWHERE) == {AMS.address: FULL}
    assert (A,) in [p.shut for p in report(host).prefixes], "it is still told that nobody serves"
    host.sick.clear()
    host.offers[AMS.address] = {A: 2, ELSEWHERE: 1}
    settle(host)
    assert host.served == {A: 1}


def test_what_has_never_answered_gets_nothing_when_all_else_fails() -> None:
    host = host_with(instance(0))
    host.offers[AMS.address] = {A: 1}
    host.sick.add(instance(0).uid)
    settle(host)
    host.offers.clear()
    never = FamilyVerdict(version=4, healthy=False, reason=Reason.PROBE_FAILED, ever=False)
    once = replace(never, ever=True)
    for family, members in ((never, 0), (once, 1)):
        verdict = ProbeVerdict(healthy=False, reason=Reason.PROBE_FAILED, families=(family,))
        facts = host.facts(health={instance(0).uid: verdict})
        assert len(members_for(A, facts, host.now)) == members


def locals_of(host: FakeHost) -> list[str]:
    return [m.short for m in host.groups.get(A, ()) if m.peer is None]


def settle_still(host: FakeHost) -> None:
    """Pass after pass without any time."""
    for _ in range(20):
        steps = converge(host.facts(), host.now)
        if not steps:
            return
        for step in steps:
            host.apply(step)
    raise AssertionError(host.applied[-5:])


@pytest.mark.parametrize("gone", ["device", "guard"])
def test_a_tunnel_that_somebody_took_away_carries_nothing_and_is_made_again(gone: str) -> None:
    host = host_with()
    host.offers[AMS.address] = {ELSEWHERE: 1}
    settle(host)
    if gone == "device":
        facts = host.facts(tunnel=None)
        assert facts.carriers.addresses == set()
        assert any(isinstance(s, SetTunnel) for s in converge(facts, host.now))
    else:
        host.memory = replace(host.memory, guard=None, guard_known=False)
        assert [type(s) for s in converge(host.facts(), host.now)] == [SetGuard]


@settings(max_examples=examples(60), deadline=None)
@given(st.data())
def test_any_story_of_offers_and_deaths_keeps_the_invariants_and_settles(data: st.DataObject) -> None:
    """The fake host checks at each step: nothing carried by the tunnel into the tunnel, no host leaves a group whose
    flows it has, nothing told without a way, no tunnel without its guard.
    """
    here = [instance(n) for n in range(2)]
    peers = (SIBLING, AMS, AMS2, JFK)
    host, generation, running = FakeHost(), 0, list(here)
    for _ in range(data.draw(st.integers(2, 6))):
        match data.draw(st.sampled_from(["offer", "die", "order", "kill", "later"])):
            case "offer":
                which = data.draw(st.sampled_from(peers))
                told = data.draw(st.dictionaries(st.sampled_from([A, ELSEWHERE]), st.integers(0, 3)))
                host.offers[which.address] = dict[Address, int](told.items())
            case "die":
                host.die(data.draw(st.sampled_from(here)).uid)
            case "order":
                running = data.draw(st.sampled_from([here, here[:1], []]))
                generation += 1
                removed = tuple(i for i in here if i not in running)
                host.obey(joined(order(generation, *running, removed=removed), *peers))
            case "kill":
                host.kill()
            case "later":
                host.now += data.draw(st.sampled_from([0.3, 5.0, 700.0]))
        if host.page is not None:
            settle(host, choose=lambda n: data.draw(st.integers(0, n - 1)))
    if host.page is not None:
        tells = any(A in offer for offer in host.offers.values())
        assert bool(host.groups.get(A)) == (tells or bool(running))


def test_those_who_are_told_to_go_leave_to_hosts_that_do_not_serve_once_nobody_is_drawn_here() -> None:
    """While the prefix is announced they stay, whatever the order says; then the next hosts may doubt themselves."""
    host = host_with(instance(0), instance(1))
    host.offers[SIBLING.address] = {A: 0}
    settle(host)
    host.obey(joined(order(2, removed=(instance(0), instance(1))), SIBLING))
    settle(host)
    told = [
        s
        for s in host.applied
        if isinstance(s, SetSpeaker) or (isinstance(s, SetNextHops) and s.entry is Entry.CLIENTS)
    ]
    assert [type(s) for s in told[-2:]] == [SetSpeaker, SetNextHops]
    assert [draws(s) for s in told if isinstance(s, SetSpeaker)][-2:] == [True, False]
    assert (locals_of(host), away(host), list(host.links)) == ([], {SIBLING.address: FULL}, [])


def draws(step: SetSpeaker) -> bool:
    return any(A in e.prefix for e in step.config.exports if e.prefix.version == A.version)


def test_the_fake_host_refuses_a_group_of_those_who_do_not_serve_while_users_come() -> None:
    host = host_with(instance(0), peers=(SIBLING,))
    host.offers[SIBLING.address] = {A: 0}
    settle(host)
    host.pins[short(instance(0).uid)] = host.now
    there = (Member(short="", peer=SIBLING.address, weight=FULL),)
    with pytest.raises(AssertionError, match="7: nobody who is left"):
        host.apply(SetNextHops(address=A, members=there, gateways=(), expected=1))


def of_stack(stack: str, n: int) -> InstanceOrder:
    return replace(instance(n), stack_id=StackId(stack))


def near(n: int, own: BackbonePeer) -> BackbonePeer:
    """A peer whose instances' private addresses are known too."""
    return replace(own, private4=IPv4Network(f"10.{70 + n}.0.0/16"), private6=IPv6Network(f"fd00:{70 + n}::/64"))


def guarded(host: FakeHost) -> tuple[tuple[int, Address], ...]:
    """The siblings that the guard of the tunnels knows."""
    assert host.guard is not None
    return host.guard.siblings


THERE = near(1, AMS)
PRIVATE4, EXTERNAL = IPv4Address("10.71.0.5"), IPv4Address("198.51.100.5")


def test_hosts_tell_whose_each_own_address_is_as_long_as_it_leads_to_the_instance() -> None:
    """Private addresses by the link, external ones by their route; nothing of who has no stack, and nothing without a
    tunnel.
    """
    one = of_stack("blue", 0)
    host = host_with(one, instance(1), peers=(THERE,))
    number = sibling_number("blue")
    own = {a for x in one.addresses() for a in (x.private, x.external)}
    privates = {x.private for x in one.addresses()}
    assert host.facts(external={}).own_told == dict.fromkeys(privates, number)
    assert host.facts(links={}).own_told == {}
    assert {a: n for a, n in host.served.items() if a != A} == dict.fromkeys(own, number)
    assert number >> 31 != sibling_number("red") >> 31
    assert all((n + 1) & 0x7FFF_FFFF > 0 and 0 < n >> 31 < 1 << 32 for n in map(sibling_number, ("a", "b", "c")))
    host.obey(joined(order(2, instance(1), removed=(one,)), THERE))
    settle(host)
    assert set(host.served) <= {A}
    host.obey(order(3, instance(1)))
    settle(host)
    assert host.served == {}


def test_hosts_tell_who_of_their_own_is_not_well() -> None:
    """Beside whose the address is, so that the ways to it stay; and the other side takes it apart again."""
    host = host_with(of_stack("blue", 0), peers=(THERE,))
    uid, number = of_stack("blue", 0).uid, sibling_number("blue")
    for healthy, told in ((True, number), (False, number | UNWELL), (None, number)):
        facts = host.facts(health={uid: ProbeVerdict(healthy=healthy, reason=Reason.PROBE_FAILED)})
        assert set(facts.own_told.values()) == {told}
    host.offers[THERE.address] = {PRIVATE4: number | UNWELL, EXTERNAL: number}
    settle(host)
    assert host.siblings == {PRIVATE4: THERE.address, EXTERNAL: THERE.address}
    assert {a: s.well for a, s in host.facts().siblings.items()} == {PRIVATE4: False, EXTERNAL: True}
    present = seen_by(host.facts()).present
    assert present is not None and EXTERNAL in present and PRIVATE4 not in present


def test_a_way_leads_to_siblings_elsewhere_and_the_guard_knows_them_once_it_is_there() -> None:
    host = host_with(of_stack("blue", 0), peers=(THERE,))
    blue, red = sibling_number("blue"), sibling_number("red")
    host.offers[THERE.address] = {PRIVATE4: blue, EXTERNAL: blue, IPv4Address("10.71.0.7"): red}
    facts = host.facts()
    assert facts.guard is not None
    assert facts.guard.siblings == (), "there is no way yet"
    settle(host)
    assert host.siblings == {PRIVATE4: THERE.address, EXTERNAL: THERE.address}
    assert guarded(host) == ((device_group_of("blue"), PRIVATE4), (device_group_of("blue"), EXTERNAL))
    assert away(host) == {}, "no anycast address is meant"
    host.offers.clear()
    settle(host)
    assert host.siblings == {}
    assert not guarded(host)


@pytest.mark.parametrize("told", ["10.64.0.9", "198.51.101.1", "10.72.0.1", "8.8.8.8"])
def test_a_host_is_believed_for_its_own_prefixes_alone(told: str) -> None:
    """Not for this host's, nor a third one's, nor anybody's."""
    host = host_with(of_stack("blue", 0), peers=(THERE, near(2, JFK)))
    host.offers[THERE.address] = {IPv4Address(told): sibling_number("blue")}
    settle(host)
    assert host.siblings == {}
    assert not guarded(host)


def test_two_stacks_that_cannot_be_told_apart_here_reach_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """One device group for both."""
    for module in (firewall, siblings_module):
        monkeypatch.setattr(module, "device_group_of", lambda _: 0x5000_0001)
    host = host_with(of_stack("blue", 0), of_stack("red", 1), peers=(THERE,))
    host.offers[THERE.address] = {PRIVATE4: sibling_number("blue")}
    settle_still(host)
    assert host.siblings == {}


def test_links_of_other_hosts_are_never_reached_by_an_uplink() -> None:
    """Whatever the operator lets instances reach: without a way by the tunnel a private address leads nowhere."""
    plain = order(1, instance(0))
    open_to_all = joined(replace(plain, rules=replace(plain.rules, unreachable=())), THERE)
    assert set(firewall.firewall_for(open_to_all, ()).unreachable) == {THERE.private4, THERE.private6}


def test_a_prefix_is_not_vacant_where_another_host_is_heard_to_serve() -> None:
    """Its route is a step away: a leave that no floor holds must not be asked for meanwhile."""
    host = host_with(instance(0))
    host.offers = {}
    host.die(instance(0).uid)
    for address in list(host.groups):
        host._keep(address, ())
    (mine,) = [p for p in report(host).prefixes if p.prefix == COVERS[0]]
    assert mine.vacant
    host.offers = {AMS.address: {A: 1}}
    (mine,) = [p for p in report(host).prefixes if p.prefix == COVERS[0]]
    assert mine.wants_withdraw and not mine.vacant and not away(host)


def test_who_leaves_counts_on_others_only_once_they_had_time_to_say_that_they_leave_too() -> None:
    """Told in the same moment to let the address go, each would count on the other."""
    host = host_with(instance(0))
    host.offers = {AMS.address: {A: 1}}
    host.obey(joined(order(2, removed=(instance(0),)), AMS))
    settle_still(host)
    assert locals_of(host) == [short(instance(0).uid)] and AMS.address in away(host)
    host.now += AGREED_S + 0.1
    settle_still(host)
    assert not locals_of(host) and AMS.address in away(host)
