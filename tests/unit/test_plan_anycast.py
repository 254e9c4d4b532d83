"""Anycast addresses and announcements: what is shared, what is told to whom."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

from hypothesis import given, settings
from hypothesis import strategies as st

from anypop.model.announce import NO_EXPORT, Mode, Scope, ScopeRule
from anypop.model.names import CityCode
from anypop.model.plan import Plan, World
from anypop.model.reasons import Reason
from anypop.model.workload import Target, Workload
from anypop.plan.check import check
from anypop.plan.planner import plan
from tests.unit.test_plan_placement import some_workloads
from tests.worlds import AMS, CITIES, JFK, LAX, LHR, after, network, part_of, workload


def tellers(planned: Plan, prefix: object) -> set[CityCode]:
    return {part.pop for part in planned.hosts.values() if any(a.prefix == prefix for a in part.announcements)}


def test_workloads_of_the_same_pops_share_a_covering_prefix() -> None:
    """Two workloads in the same cities get two addresses of one prefix; the IPv6 address ends in the IPv4 one."""
    planned = plan(World(network=network(), workloads=(workload("a"), workload("b"))))
    one, two = planned.anycast
    assert (one.prefix4, one.prefix6) == (two.prefix4, two.prefix6)
    assert (str(one.address4), str(two.address4)) == ("203.0.113.1", "203.0.113.2")
    assert int(one.address6) & 0xFFFFFFFF == int(one.address4)


def test_other_pops_need_another_prefix() -> None:
    """A workload in fewer cities may not share: the PoPs it lacks would attract its traffic."""
    planned = plan(
        World(network=network(), workloads=(workload("a"), workload("b", cities=[LHR]), workload("c", cities=[AMS])))
    )
    assert [str(a.prefix4) for a in planned.anycast] == ["203.0.113.0/24", "203.0.114.0/24"]
    (note,) = planned.notes
    assert (note.subject, note.reason) == ("c", Reason.NO_COVERING_PREFIX)
    assert "AMS" in note.detail
    assert len(part_of(planned, AMS).instances) == 4
    assert part_of(planned, AMS).instances[-1].anycast == ()


def test_a_released_address_waits_until_all_instances_are_gone_and_then_rests() -> None:
    """Deleted: kept while instances live, free after; resting: skipped by the next workload."""
    world = World(network=network(), workloads=(workload("a"),))
    planned = plan(world)
    dying = after(world, planned, workloads=(replace(workload("a"), deleting=True), workload("b")))
    half = plan(dying)
    assert [(a.workload_id, str(a.address4)) for a in half.anycast] == [
        ("id-a", "203.0.113.1"),
        ("id-b", "203.0.113.2"),
    ]
    gone = plan(
        after(
            dying,
            half,
            removals=(),
            workloads=(workload("b"), workload("c")),
            resting_addresses=frozenset({IPv4Address("203.0.113.1")}),
        )
    )
    assert [(a.workload_id, str(a.address4)) for a in gone.anycast] == [
        ("id-b", "203.0.113.2"),
        ("id-c", "203.0.113.3"),
    ]
    rested = plan(after(dying, half, removals=(), workloads=(workload("b"), workload("c"))))
    assert [(a.workload_id, str(a.address4)) for a in rested.anycast] == [
        ("id-b", "203.0.113.2"),
        ("id-c", "203.0.113.1"),
    ]


@settings(deadline=None)
@given(some_workloads, some_workloads)
def test_an_address_stays_for_the_workloads_life(first: list[Workload], second: list[Workload]) -> None:
    """No change to itself or to others moves a workload's anycast address while it lives."""
    world = World(network=network(prefixes=3), workloads=tuple(first))
    planned = plan(world)
    again = plan(after(world, planned, workloads=tuple(second)))
    now = {a.workload_id: a for a in again.anycast}
    living = {w.id for w in second if w.anycast and not w.deleting}
    assert all(now[a.workload_id] == a for a in planned.anycast if a.workload_id in living)


@settings(deadline=None)
@given(some_workloads, some_workloads, st.integers(1, 4))
def test_no_pop_announces_an_address_that_it_cannot_serve(
    first: list[Workload], second: list[Workload], prefixes: int
) -> None:
    """Where a covering prefix is announced, every workload with an address in it and an instance anywhere has one right
    there, and its address is a gate.
    """
    world = World(network=network(prefixes=prefixes), workloads=tuple(first))
    planned = plan(world)
    for now in (planned, plan(after(world, planned, workloads=tuple(second)))):
        homes = {
            w: {s.pop for s in now.incarnations if s.workload_id == w}
            for w in {s.workload_id for s in now.incarnations}
        }
        for part in now.hosts.values():
            for told in part.announcements:
                here = [a for a in now.anycast if told.prefix in (a.prefix4, a.prefix6) and a.workload_id in homes]
                assert all(part.pop in homes[a.workload_id] for a in here)
                gates = {a.address4 if told.prefix.version == 4 else a.address6 for a in here}
                assert set(told.gates) == gates
        check(now, (), confirmed=frozenset())


@settings(deadline=None)
@given(some_workloads, some_workloads, st.lists(st.sampled_from("ab"), min_size=12, max_size=12), st.integers(1, 4))
def test_no_prefix_is_given_to_a_second_account(
    first: list[Workload], second: list[Workload], accounts: list[str], prefixes: int
) -> None:
    """Whose a workload is follows from its number before, and from another list after, so that some prefixes are
    shared when the second plan begins: these stay, and whoever is given an address then meets nobody of another account
    in its prefixes.
    """

    def owned(workloads: list[Workload], shift: int) -> tuple[Workload, ...]:
        return tuple(replace(w, account_id=accounts[int(w.slug[1:]) + shift]) for w in workloads)

    world = World(network=network(prefixes=prefixes), workloads=owned(first, 0))
    planned = plan(world)
    wanted = owned(second, 6)
    again = plan(after(world, planned, workloads=wanted))
    for now, before, declared in ((planned, (), world.workloads), (again, planned.anycast, wanted)):
        whose = {w.id: w.account_id for w in declared}
        had = {a.workload_id: a for a in before}
        for held in now.anycast:
            if held.workload_id in had:
                assert held == had[held.workload_id]
                continue
            for other in now.anycast:
                if {held.prefix4, held.prefix6} & {other.prefix4, other.prefix6}:
                    assert whose.get(other.workload_id) == whose[held.workload_id]


def test_every_upstream_with_a_session_hears_external_and_covering_prefixes() -> None:
    """209 has no IPv6 session here, so it hears IPv4 only; external prefixes have no gates."""
    planned = plan(World(network=network(), workloads=(workload(),)))
    told = [(str(a.prefix), a.upstream, len(a.gates)) for a in part_of(planned, LHR).announcements]
    assert told == [
        ("198.19.0.0/26", "telia", 0),
        ("198.19.0.0/26", "qwest", 0),
        ("2001:db8:2::/64", "telia", 0),
        ("203.0.113.0/24", "telia", 1),
        ("203.0.113.0/24", "qwest", 1),
        ("2001:db8:a000::/48", "telia", 1),
    ]


def test_a_workload_without_ipv6_announces_none() -> None:
    """IPv4 alone was asked for: no IPv6 covering prefix is announced and no IPv6 anycast address bound."""
    planned = plan(World(network=network(), workloads=(workload(dual_stack=False),)))
    assert tellers(planned, planned.anycast[0].prefix6) == set()
    assert all([a.version for a in i.anycast] == [4] for i in part_of(planned, LHR).instances)


def test_a_scope_rule_reaches_its_pop_and_upstream_alone() -> None:
    """The article's repair: JFK and LAX keep the route to 209 inside North America; nothing else changes."""
    scope = Scope(communities=((209, 888),))
    rules = tuple(ScopeRule(workload_id=workload().id, pop=c, upstream="qwest", scope=scope) for c in (JFK, LAX))
    plain = plan(World(network=network(), workloads=(workload(),)))
    ruled = plan(World(network=network(), workloads=(workload(),), rules=rules))
    changed = [
        (c, a.upstream, str(a.prefix), a.scope)
        for c in CITIES
        for a in part_of(ruled, c).announcements
        if a not in part_of(plain, c).announcements
    ]
    assert changed == [(JFK, "qwest", "203.0.113.0/24", scope), (LAX, "qwest", "203.0.113.0/24", scope)]


def test_rules_of_all_workloads_in_a_prefix_meet_in_the_most_cautious_way() -> None:
    """WITHHOLD wins, prepends are the most that any asks for, communities are united."""
    rules = (
        ScopeRule(
            workload_id=workload("a").id, pop=LHR, upstream="telia", scope=Scope(prepend=1, communities=(NO_EXPORT,))
        ),
        ScopeRule(
            workload_id=workload("b").id, pop=LHR, upstream="telia", scope=Scope(prepend=3, communities=((1299, 50),))
        ),
        ScopeRule(workload_id=workload("b").id, pop=LHR, upstream="qwest", scope=Scope(mode=Mode.WITHHOLD)),
        ScopeRule(workload_id=workload("x").id, pop=LHR, upstream="telia", scope=Scope(mode=Mode.WITHHOLD)),
    )
    planned = plan(World(network=network(), workloads=(workload("a"), workload("b")), rules=rules))
    scopes = {
        a.upstream: a.scope for a in part_of(planned, LHR).announcements if a.prefix == IPv4Network("203.0.113.0/24")
    }
    assert scopes == {
        "telia": Scope(prepend=3, communities=((1299, 50), NO_EXPORT)),
        "qwest": Scope(mode=Mode.WITHHOLD),
    }


def test_a_workload_that_leaves_a_city_silences_the_shared_prefix_there_and_says_so() -> None:
    """b leaves LHR while a, in the same prefix, stays: LHR may not attract b's traffic, and a is told why it is
    silent there.
    """
    world = World(network=network(), workloads=(workload("a"), workload("b")))
    planned = plan(world)
    again = plan(after(world, planned, workloads=(workload("a"), workload("b", cities=[AMS, JFK, LAX]))))
    assert tellers(again, planned.anycast[0].prefix4) == {AMS, JFK, LAX}
    notes = {(n.subject, n.reason) for n in again.notes}
    assert notes == {("a", Reason.SHARED_PREFIX)}


def test_a_full_pop_keeps_a_newcomer_out_of_the_prefix_it_would_silence() -> None:
    """b asks for the cities of a but finds LHR full: it gets a prefix of its own, and a stays announced in LHR."""
    small = network(external_bits=30)  # two addresses
    world = World(
        network=small, workloads=(workload("a"), workload("b", targets=(Target(name="t", cities=CITIES, replicas=1),)))
    )
    planned = plan(replace(world, workloads=world.workloads[:1]))
    bigger = replace(small, pops=tuple(p if p.city == LHR else network().pop(p.city) or p for p in small.pops))
    again = plan(after(world, planned, network=bigger, workloads=world.workloads))
    a, b = again.anycast
    assert a.prefix4 != b.prefix4
    assert tellers(again, a.prefix4) == set(CITIES)
    assert tellers(again, b.prefix4) == {AMS, JFK, LAX}
