"""A plan with a backbone: who announces what, which prefix is given to whom, what each host is told of the others."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, ip_network
from typing import Any

import pytest
from hypothesis import given

from anypop.control.network import change_network
from anypop.model.announce import Announcement, Mode, Prefix, PrefixPolicy, Scope, ScopeRule
from anypop.model.backbone import BackboneRules
from anypop.model.errors import Invalid
from anypop.model.names import CityCode, HostName
from anypop.model.network import Network, Pop, UpstreamKind
from anypop.model.plan import Plan, Verdict, World
from anypop.model.reasons import Reason
from anypop.model.workload import Workload
from anypop.plan.check import check
from anypop.plan.orders import order_for
from anypop.plan.planner import plan
from anypop.plan.sites import Sites
from tests.unit.test_plan_placement import some_workloads
from tests.worlds import AMS, CITIES, HOSTS, JFK, LAX, LHR, after, host, network, part_of, workload

FIRST, SECOND = IPv4Network("203.0.113.0/24"), IPv4Network("203.0.114.0/24")


def joined(**more: Any) -> Network:
    return replace(network(), backbone=BackboneRules(), **more)


def told(planned: Plan, city: CityCode, prefix: Prefix) -> list[Announcement]:
    return [a for a in part_of(planned, city).announcements if a.prefix == prefix]


def prefixes(planned: Plan) -> dict[str, str]:
    return {a.workload_id: str(a.prefix4) for a in planned.anycast}


def test_one_prefix_serves_any_cities_and_is_announced_everywhere_with_all_its_addresses() -> None:
    """Three workloads, three sets of cities, one /24: four PoPs announce it, also the one where nothing stands, and
    each waits for all three addresses.
    """
    wanted = (workload("a", cities=[LHR]), workload("b", cities=[AMS]), workload("c", cities=[LHR, JFK]))
    planned = plan(World(network=joined(), workloads=wanted))
    assert set(prefixes(planned).values()) == {str(FIRST)}
    addresses = tuple(a.address4 for a in planned.anycast)
    for city in CITIES:
        assert {a.upstream: a.gates for a in told(planned, city, FIRST)} == {"telia": addresses, "qwest": addresses}
    assert not planned.notes
    assert planned.carried == {FIRST, ip_network("2001:db8:a000::/48")}
    check(planned, ())


def test_each_host_is_told_of_all_others_the_nearest_first() -> None:
    """Distances are 0 in the PoP; the order of equal ones is that of their names; what is carried is told to all."""
    twin = host(HostName("AMS-2"), 9)
    pops = tuple(replace(p, hosts=(*p.hosts, twin)) if p.city == AMS else p for p in network().pops)
    planned = plan(World(network=joined(pops=pops), workloads=(workload("a", cities=[LHR]),)))
    orders = {name: order_for(planned, name, 1, Verdict()) for name in planned.hosts}
    ams = orders[HostName("AMS")].backbone
    assert ams is not None
    assert [(p.host, p.distance_km) for p in ams.peers][:2] == [("AMS-2", 0), ("LHR", 370)]
    assert [p.host for p in ams.peers] == ["AMS-2", "LHR", "JFK", "LAX"]
    assert ams.address == IPv4Address("198.18.0.0")
    for name, order in orders.items():
        assert order.backbone is not None
        assert {p.host for p in order.backbone.peers} == set(orders) - {name}
        assert order.backbone.carried == (FIRST, ip_network("2001:db8:a000::/48"))
        assert [p.distance_km for p in order.backbone.peers] == sorted(p.distance_km for p in order.backbone.peers)


@given(some_workloads)
def test_turning_it_on_takes_nothing_away(wanted: list[Workload]) -> None:
    """Whatever stands keeps its places and its addresses, and every announcement that there was is still there."""
    before = World(network=network(), workloads=tuple(wanted))
    off = plan(before)
    on = plan(after(before, off, network=joined()))
    assert on.incarnations == off.incarnations
    assert {a.workload_id: a for a in on.anycast}.items() >= {a.workload_id: a for a in off.anycast}.items()
    for name, part in off.hosts.items():
        assert part.backbone is None
        assert {(a.prefix, a.upstream) for a in part.announcements} <= {
            (a.prefix, a.upstream) for a in on.hosts[name].announcements
        }
    check(on, off.incarnations)


def test_an_order_without_a_backbone_says_nothing_of_one() -> None:
    planned = plan(World(network=network(), workloads=(workload("a"),)))
    assert order_for(planned, HOSTS[0], 1, Verdict()).backbone is None
    assert not planned.carried


def test_the_operator_says_which_pops_announce_a_prefix() -> None:
    """With a backbone who stands elsewhere is carried; without one it is told that it is kept back."""
    policies = (PrefixPolicy(prefix=FIRST, pops=(AMS, JFK)),)
    planned = plan(World(network=joined(policies=policies), workloads=(workload("a", cities=[LHR]),)))
    assert {city for city in CITIES if told(planned, city, FIRST)} == {AMS, JFK}
    assert not planned.notes
    standing = World(network=network(), workloads=(workload("a"),))
    alone = plan(after(standing, plan(standing), network=replace(network(), policies=policies)))
    assert {city for city in CITIES if told(alone, city, FIRST)} == {AMS, JFK}
    assert {(n.subject, n.reason) for n in alone.notes} == {("a", Reason.WITHHELD)}
    assert {n.detail for n in alone.notes} == {
        f"{FIRST} not announced at {city}: the operator's policy names other PoPs" for city in (LHR, LAX)
    }


def test_a_workload_that_is_local_only_has_a_prefix_of_its_own_which_is_announced_where_it_is() -> None:
    """Nobody is put beside it, also not of its own account; and its prefix is not among those carried."""
    wanted = (workload("a", cities=[LHR], local_only=True), workload("b", cities=[AMS]), workload("c", cities=[LHR]))
    planned = plan(World(network=joined(), workloads=wanted))
    assert prefixes(planned) == {"id-a": str(FIRST), "id-b": str(SECOND), "id-c": str(SECOND)}
    assert [city for city in CITIES if told(planned, city, FIRST)] == [LHR]
    assert all(told(planned, city, SECOND) for city in CITIES)
    assert FIRST not in planned.carried
    assert SECOND in planned.carried
    full = plan(World(network=joined(), workloads=(*wanted, workload("d", local_only=True))))
    (note,) = full.notes
    assert (note.subject, note.reason) == ("d", Reason.NO_COVERING_PREFIX)
    assert "is unused" in note.detail
    assert "without local only" in note.detail


def test_an_account_has_its_own_prefixes_while_they_last_and_shares_before_the_last_goes() -> None:
    """Four prefixes. Three accounts get one each, and keep it; the fourth shares, with who has no rules, since the last
    one is kept for who wants one of its own; then all who come share what is shared already; in the end the last goes.
    """
    rule = ScopeRule(workload_id=workload("a").id, pop=AMS, upstream="telia", scope=Scope(mode=Mode.WITHHOLD))
    names = [*"abcde", "b2"]
    wanted = tuple(workload(n, account_id=n[0], cities=[CITIES[i % 4]]) for i, n in enumerate(names))
    four = replace(network(prefixes=4), backbone=BackboneRules())
    planned = plan(World(network=four, workloads=wanted, rules=(rule,)))
    shown = {w.removeprefix("id-"): int(p.split(".")[2]) - 113 for w, p in prefixes(planned).items()}
    assert shown == {"a": 0, "b": 1, "c": 2, "d": 1, "e": 1, "b2": 1}
    strict = (replace(rule, workload_id=w.id) for w in wanted[:3])
    last = plan(World(network=four, workloads=wanted[:4], rules=tuple(strict)))
    assert prefixes(last)["id-d"] == "203.0.116.0/24", "nobody is put under a stranger's rules"
    nothing = replace(four, anycast4=four.anycast4[:1], anycast6=four.anycast6[:1])
    refused = plan(World(network=nothing, workloads=(wanted[0], wanted[3]), rules=(rule,)))
    (note,) = refused.notes
    assert "none of 1 IPv4 prefixes (203.0.113.0/24) has a free address that may be given" in note.detail


def test_an_edge_router_is_told_of_the_tunnels_end() -> None:
    """It lies in the host's external prefix, of which an edge router hears single addresses; a backbone address outside
    is the operator's own to lead.
    """
    site = host(HostName("AMS"), 1)
    edge = replace(site, upstreams=tuple(replace(u, kind=UpstreamKind.EDGE) for u in site.upstreams[:1]))
    for end, expected in ((None, True), (IPv4Address("192.0.2.7"), False)):
        pops = (Pop(city=AMS, hosts=(replace(edge, backbone_address=end),)), *network().pops[1:])
        planned = plan(World(network=joined(pops=pops), workloads=()))
        single = [a.prefix for a in part_of(planned, AMS).announcements]
        assert (ip_network("198.19.0.0/32") in single) is expected
        check(planned, ())
    alone = replace(network(), pops=(Pop(city=AMS, hosts=(edge,)), *network().pops[1:]))
    assert not part_of(plan(World(network=alone, workloads=())), AMS).announcements


def test_an_edge_router_hears_of_each_address_and_prefers_who_serves_it() -> None:
    """What nobody tells it one by one it drops. A PoP with an instance on one of two hosts, and one of another
    workload's that stands elsewhere: both hosts tell both addresses, with one more AS number where they only carry.
    """
    edge = replace(network().pops[0].hosts[0].upstreams[0], name="edge", asn=network().asn, kind=UpstreamKind.EDGE)
    first = network().pops[0]
    hosts = tuple(replace(h, upstreams=(edge,)) for h in (*first.hosts, host(HostName("SECOND"), 9)))
    pops = (replace(first, hosts=hosts), *network().pops[1:])
    wanted = (workload("a", cities=[first.city], replicas=1), workload("b", cities=[network().pops[1].city]))
    planned = plan(World(network=joined(pops=pops), workloads=wanted))
    check(planned, ())
    addresses = {str(a.workload_id): a.address4 for a in planned.anycast}
    serves = {h.name: bool(planned.hosts[h.name].instances) for h in hosts}
    assert sorted(serves.values()) == [False, True]
    for name, here in serves.items():
        told_ = {a.prefix: (a.scope.prepend, a.gates) for a in planned.hosts[name].announcements if a.gates}
        assert told_[ip_network(addresses["id-a"])] == (0 if here else 1, (addresses["id-a"],))
        assert told_[ip_network(addresses["id-b"])] == (1, (addresses["id-b"],))


def test_a_gate_of_what_has_served_nowhere_keeps_nobody_back() -> None:
    """In the orders of all hosts; once it has served in one PoP it counts in all of them, and idle ones never."""
    planned = plan(World(network=joined(), workloads=(workload("a", cities=[LHR]), workload("b", cities=[AMS, JFK]))))
    a, b = (held.address4 for held in planned.anycast)

    def gates(verdict: Verdict) -> set[tuple[object, ...]]:
        found = (order_for(planned, name, 1, verdict).announcements for name in HOSTS)
        return {told.gates for announcements in found for told in announcements if told.prefix == FIRST}

    new_b = frozenset({(AMS, workload("b").id), (JFK, workload("b").id)})
    assert gates(Verdict(newcomers=new_b)) == {(a,)}
    assert gates(Verdict(newcomers=frozenset([(JFK, workload("b").id)]))) == {(a, b)}
    assert gates(Verdict(idle=frozenset([workload("a").id]))) == {(b,)}
    assert gates(Verdict(mute=frozenset([(workload("a").id, 4)]))) == {(b,)}
    assert gates(Verdict(mute=frozenset([(workload("a").id, 6)]))) == {(a, b)}, "in its own family alone"
    everyone = frozenset((workload(slug).id, 4) for slug in ("a", "b"))
    assert gates(Verdict(mute=everyone)) == {(a, b)}, "nothing is announced before anything works"


def with_end(address: str) -> Network:
    pops = network().pops
    first = replace(pops[0], hosts=(replace(pops[0].hosts[0], backbone_address=IPv4Address(address)),))
    return joined(pops=(first, *pops[1:]))


@pytest.mark.parametrize(
    ("wrong", "path", "message"),
    [
        (with_end("198.18.0.9"), "pops[0].hosts[0].backbone_address", "is one that an instance may get"),
        (with_end("198.19.0.63"), "pops[0].hosts[0].backbone_address", "lies inside 198.19.0.0/26, LHR's external4"),
        (with_end("10.0.0.9"), "pops[0].hosts[0].backbone_address", "lies inside 10.0.0.0/20, AMS's private4"),
        (with_end("203.0.113.9"), "pops[0].hosts[0].backbone_address", "a covering prefix"),
        (with_end("127.0.0.1"), "pops[0].hosts[0].backbone_address", "is no address by which other hosts reach it"),
        (replace(joined(), backbone=BackboneRules(port=3784)), "backbone.port", "is where BFD listens"),
        (replace(joined(), backbone=BackboneRules(port=0)), "backbone.port", "must be 1 to 65535"),
        (replace(joined(), backbone=BackboneRules(mtu=1279)), "backbone.mtu", "must be 1280 to 9180"),
        (replace(joined(), backbone=BackboneRules(bfd_interval_ms=9)), "backbone.bfd_interval_ms", "must be 10 to"),
        (joined(policies=(PrefixPolicy(prefix=FIRST, pops=()),)), "policies[0].pops", "nobody would announce"),
        (
            joined(policies=(PrefixPolicy(prefix=FIRST, pops=(CityCode("XXX"),)),)),
            "policies[0].pops[0]",
            "there is no PoP XXX",
        ),
        (joined(policies=(PrefixPolicy(prefix=FIRST),) * 2), "policies[1].prefix", "is there already"),
        (
            joined(policies=(PrefixPolicy(prefix=IPv4Network("192.0.2.0/24")),)),
            "policies[0].prefix",
            "is none of anycast4 and anycast6",
        ),
    ],
)
def test_a_wrong_backbone_is_refused_with_the_path(wrong: Network, path: str, message: str) -> None:
    with pytest.raises(Invalid) as refused:
        change_network(wrong)
    assert [(p.path, message in p.message) for p in refused.value.problems] == [(path, True)]


def test_two_hosts_have_neither_one_end_nor_one_number() -> None:
    twice = tuple(
        replace(p, hosts=tuple(replace(h, backbone_address=IPv4Address("192.0.2.7")) for h in p.hosts))
        for p in network([AMS, LHR]).pops
    )
    with pytest.raises(Invalid) as refused:
        change_network(joined(pops=twice))
    assert [str(p) for p in refused.value.problems] == ["pops[1].hosts[0].backbone_address: 192.0.2.7 is AMS's already"]
    numbered = tuple(
        replace(p, hosts=tuple(replace(h, router_id=IPv4Address("10.255.0.1")) for h in p.hosts))
        for p in network([AMS, LHR]).pops
    )
    with pytest.raises(Invalid) as refused:
        change_network(joined(pops=numbered))
    assert [p.path for p in refused.value.problems] == ["pops[1].hosts[0].router_id"]
    change_network(replace(network(), pops=numbered))
    change_network(with_end("192.0.2.7"))


def test_peers_are_worked_out_once_for_a_network() -> None:
    """All orders of a host have the very same peers, so that nobody compares them one by one."""
    sites = Sites.of(joined())
    one, two = sites.backbone_of(HOSTS[0], (FIRST,)), sites.backbone_of(HOSTS[0], (SECOND,))
    assert one is not None
    assert two is not None
    assert one.peers is two.peers
    assert LAX in {peer.pop for peer in one.peers}
    assert JFK in {peer.pop for peer in one.peers}
