"""PoPs of several hosts: placement over them, and what each announces, with an edge router in front or with
upstreams of its own.
"""

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anypop.control.network import change_network
from anypop.model import codec
from anypop.model.announce import Mode, Scope, ScopeRule
from anypop.model.errors import Invalid
from anypop.model.names import HostName, WorkloadId
from anypop.model.network import Capacity, Host, Network, Pop, Upstream, UpstreamKind, network_from
from anypop.model.plan import World
from anypop.model.workload import Workload
from anypop.plan.check import check
from anypop.plan.edge_scopes import beyond_edge, heard, towards_edge
from anypop.plan.planner import plan
from tests.worlds import LHR, host, network, upstream, workload

OWN = 33438
COVER4, COVER6 = ip_network("203.0.113.0/24"), ip_network("2001:db8:a000::/48")
OUTER = (upstream("telia", 1299), upstream("qwest", 209, six=False))


def edge_session(n: int) -> Upstream:
    return replace(
        upstream("edge", OWN),
        kind=UpstreamKind.EDGE,
        local4=IPv4Address(f"192.0.2.{2 * n}"),
        local6=IPv6Address(f"2001:db8:ffff::{n:x}"),
    )


def hosts(count: int, *, edge: bool, capacity: Capacity | None = None) -> tuple[Host, ...]:
    """LHR-1 and so on, each with prefixes of its own; behind an edge router, or each with sessions of its own."""
    found = []
    for n in range(1, count + 1):
        own = (edge_session(n),) if edge else tuple(replace(u, name=f"{u.name}-{n}") for u in OUTER)
        found.append(replace(host(HostName(f"LHR-{n}"), 10 + n), upstreams=own, capacity=capacity))
    return tuple(found)


def world(
    *workloads: Workload, edge: bool = True, told: bool = True, count: int = 2, rules: tuple[ScopeRule, ...] = ()
) -> World:
    """A PoP in London of several hosts, and one of one host in New York. `told`: the document names the edge
    router's own upstreams.
    """
    pop = Pop(city=LHR, hosts=hosts(count, edge=edge), edge=OUTER if edge and told else ())
    base = network(prefixes=2)
    return World(network=replace(base, pops=(pop, base.pops[2])), workloads=workloads, rules=rules)


def announced(given_world: World, name: str) -> dict[tuple[str, str], Scope]:
    """What a host announces: prefix and session to scope."""
    planned = plan(given_world)
    check(planned, ())
    return {(str(a.prefix), a.upstream): a.scope for a in planned.hosts[HostName(name)].announcements}


def test_instances_are_spread_over_the_hosts_of_a_pop() -> None:
    """Four instances on two hosts are two on each, five on three hosts two, two and one; addresses come from the
    host's own prefixes.
    """
    for replicas, count, expected in ((4, 2, [2, 2]), (5, 3, [1, 2, 2])):
        planned = plan(world(workload(cities=[LHR], replicas=replicas), count=count))
        check(planned, ())
        parts = [planned.hosts[HostName(f"LHR-{n}")] for n in range(1, count + 1)]
        assert sorted(len(part.instances) for part in parts) == expected
        for part, site in zip(parts, planned.network.pops[0].hosts, strict=True):
            for address in (a for order in part.instances for a in order.addresses()):
                assert address.external in (site.external4 if address.private.version == 4 else site.external6)
                assert address.private in (site.private4 if address.private.version == 4 else site.private6)


def test_what_finds_no_room_on_any_host_is_told_with_the_numbers() -> None:
    """Two hosts of one core each hold two instances of one core; the third waits, and the note says what each city's
    hosts have left.
    """
    small = Capacity(cpu_millis=1000, memory_bytes=4 << 30, disk_bytes=100 << 30)
    full = replace(
        world(workload(cities=[LHR], replicas=3)), capacities={HostName("LHR-1"): small, HostName("LHR-2"): small}
    )
    planned = plan(full)
    assert [len(planned.hosts[HostName(name)].instances) for name in ("LHR-1", "LHR-2")] == [1, 1]
    (note,) = [n for n in planned.notes if n.subject.endswith("-2")]
    assert "LHR" in note.detail
    assert "CPU" in note.detail


def test_an_edge_router_is_told_single_addresses_and_the_covering_prefix() -> None:
    """Each host tells its own external addresses in use, the anycast addresses that it serves, and the covering
    prefix of each.
    """
    given_world = world(workload(cities=[LHR], replicas=4))
    planned = plan(given_world)
    (held,) = planned.anycast
    for name in ("LHR-1", "LHR-2"):
        own = [f"{a}/{a.max_prefixlen}" for i in planned.hosts[HostName(name)].instances for a in i.externals()]
        expected = {*own, f"{held.address4}/32", f"{held.address6}/128", str(held.prefix4), str(held.prefix6)}
        assert announced(given_world, name) == {(prefix, "edge"): Scope() for prefix in expected}


def test_hosts_with_upstreams_of_their_own_announce_whole_prefixes_of_their_own() -> None:
    """No edge router: each host tells its own neighbours its own external prefixes and the covering prefixes, and no
    single address.
    """
    given_world = world(workload(cities=[LHR], replicas=2), edge=False)
    site = given_world.network.pops[0]
    assert {u.name for u in site.upstreams} == {"telia-1", "qwest-1", "telia-2", "qwest-2"}
    for n, place in enumerate(site.hosts, start=1):
        expected = {(str(p), f"telia-{n}") for p in (place.external4, place.external6, COVER4, COVER6)}
        expected |= {(str(p), f"qwest-{n}") for p in (place.external4, COVER4)}  # which has no session of IPv6
        assert announced(given_world, f"LHR-{n}") == dict.fromkeys(expected, Scope())


def test_a_host_with_upstreams_of_its_own_and_without_an_instance_attracts_nothing() -> None:
    """One instance on two such hosts: the host without it announces its own prefixes alone, since it could not carry
    the address.
    """
    given_world = world(workload(cities=[LHR], replicas=1), edge=False)
    told = [any(str(COVER4) == prefix for prefix, _ in announced(given_world, name)) for name in ("LHR-1", "LHR-2")]
    assert sorted(told) == [False, True]


def test_rules_for_upstreams_beyond_the_edge_router_reach_it_as_communities() -> None:
    """Withheld from one upstream and twice prepended for the other: hosts tell the edge router so, and each upstream
    hears what was meant for it.
    """
    rules = (
        ScopeRule(workload_id=WorkloadId("id-web"), pop=LHR, upstream="telia", scope=Scope(mode=Mode.WITHHOLD)),
        ScopeRule(
            workload_id=WorkloadId("id-web"),
            pop=LHR,
            upstream="qwest",
            scope=Scope(prepend=2, communities=((209, 80),)),
        ),
    )
    given_world = world(workload(cities=[LHR], replicas=2), rules=rules)
    planned = plan(given_world)
    for name in ("LHR-1", "LHR-2"):
        (cover,) = [a for a in planned.hosts[HostName(name)].announcements if a.prefix == COVER4]
        assert cover.scope == Scope(prepend=2, communities=((209, 80),), large_communities=((OWN, 0, 1299),))
        assert {u.name: scope for u, scope in heard(given_world.network, HostName(name), cover)} == {
            "telia": Scope(mode=Mode.WITHHOLD),
            "qwest": Scope(prepend=2, communities=((209, 80),)),
        }


def test_without_a_word_on_its_upstreams_an_edge_router_is_scoped_itself() -> None:
    """Where the document does not tell them, `edge` is the PoP's upstream, and a rule for it goes to all that it
    knows.
    """
    scope = Scope(prepend=1)
    rule = ScopeRule(workload_id=WorkloadId("id-web"), pop=LHR, upstream="edge", scope=scope)
    given_world = world(workload(cities=[LHR], replicas=2), told=False, rules=(rule,))
    assert [u.name for u in given_world.network.pops[0].upstreams] == ["edge"]
    assert announced(given_world, "LHR-1")[str(COVER4), "edge"] == scope


scopes = st.builds(
    Scope,
    mode=st.sampled_from(Mode),
    prepend=st.integers(0, 8),
    communities=st.lists(st.tuples(st.integers(1, 65535), st.integers(0, 65535)), max_size=2).map(tuple),
    large_communities=st.lists(
        st.tuples(st.integers(64496, 64500), st.integers(0, 99), st.integers(0, 99)), max_size=2
    ).map(tuple),
    extended_communities=st.sampled_from([(), ((0, 2, 6939, 70),), ((0, 2, 6939, 71), (3, 6, 0, 1))]),
)


@given(st.lists(scopes, min_size=1, max_size=4))
def test_each_upstream_hears_what_was_meant_for_it(wanted: list[Scope]) -> None:
    """Across the edge router every upstream is told the prefix, or not, and with the prepends, as its own scope says;
    it hears at least the communities that its scope names.
    """
    neighbours = [upstream(f"n{i}", 100 + i) for i in range(len(wanted))]
    told = towards_edge(OWN, zip(neighbours, wanted, strict=True))
    for neighbour, scope in zip(neighbours, wanted, strict=True):
        after = beyond_edge(OWN, told, neighbour)
        assert after.mode is scope.mode
        if scope.mode is Mode.ANNOUNCE:
            assert after.prepend == scope.prepend
            assert set(scope.communities) <= set(after.communities)
            assert set(scope.large_communities) <= set(after.large_communities)
            assert set(scope.extended_communities) <= set(after.extended_communities)


def test_a_network_document_says_hosts_and_an_edge_router() -> None:
    """It survives its way through plain data, and the short form of a PoP of one host may name an edge router too."""
    there = world().network
    assert network_from(codec.to_data(there)) == there
    plain = codec.to_data(there.pops[0].hosts[0])
    short = {**plain, "city": "LHR", "edge": codec.to_data(OUTER)}
    del short["name"]
    (pop,) = network_from({"asn": OWN, "anycast4": [], "anycast6": [], "pops": [short]}).pops
    assert ([h.name for h in pop.hosts], [u.name for u in pop.edge]) == (["LHR"], ["telia", "qwest"])


@pytest.mark.parametrize(
    ("edge", "message"),
    [
        ((OUTER[0], OUTER[0]), "telia is there twice"),
        ((replace(OUTER[0], kind=UpstreamKind.EDGE),), "is a network beyond the edge router"),
        ((replace(OUTER[0], name="edge"),), "edge is what hosts call their own session"),
    ],
)
def test_a_wrong_edge_router_is_refused(edge: tuple[Upstream, ...], message: str) -> None:
    """Each problem is told with its path."""
    there = world().network
    wrong: Network = replace(there, pops=(replace(there.pops[0], edge=edge), *there.pops[1:]))
    with pytest.raises(Invalid) as caught:
        change_network(wrong)
    assert [p for p in caught.value.problems if message in p.message and p.path.startswith("pops[0].edge[")]


def test_an_edge_router_that_no_host_speaks_to_is_refused() -> None:
    """Otherwise rules for its upstreams would reach nobody."""
    there = world(edge=False).network
    with pytest.raises(Invalid, match="no host of LHR has a session of kind edge"):
        change_network(replace(there, pops=(replace(there.pops[0], edge=OUTER), *there.pops[1:])))
