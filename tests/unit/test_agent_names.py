"""What a host's resolver is told, from its order and from what it sees. Pure."""

from dataclasses import replace
from ipaddress import IPv4Address, ip_address

from anypop.agent.decide.facts import Facts
from anypop.agent.decide.names import HERE, NEAR, away_of, names_for, seen_by, upstreams_of
from anypop.agent.naming import link_of
from anypop.model.backbone import Backbone, BackbonePeer, BackboneRules
from anypop.model.confinement import InstanceRules
from anypop.model.names import CityCode, HostName, InstanceName, StackId
from anypop.model.order import InstanceOrder, Order
from anypop.model.stack_names import NamedInstance, NamedWorkload
from tests.agent_world import POP, FakeHost, instance, order, settle

DOMAIN = "s.edgeengine.internal"
AWAY = {pop: (ip_address(f"10.{n}.0.1"),) for n, pop in ((70, "AMS"), (71, "JFK"), (72, "SIN"))}


def own(n: int) -> InstanceOrder:
    return replace(instance(n), stack_id=StackId("s"), hosts_domain=DOMAIN)


def named(*here: InstanceOrder) -> NamedWorkload:
    found = [(one.name, POP, tuple(a.private for a in one.addresses())) for one in here]
    found += [(InstanceName(f"w-eu-{pop.lower()}-0"), CityCode(pop), where) for pop, where in AWAY.items()]
    return NamedWorkload(
        id=here[0].workload_id, stack_id=StackId("s"), stack="s", slug="w",
        instances=tuple(NamedInstance(name=name, pop=pop, addresses=where) for name, pop, where in found),
    )  # fmt: skip


def facts(ordered: Order) -> Facts:
    host = FakeHost()
    host.obey(ordered)
    settle(host)
    assert host.page is not None
    return Facts(host.page.order, host.observe())


def peer(n: int, pop: str, distance_km: int) -> BackbonePeer:
    plain = order(1)
    return BackbonePeer(
        host=HostName(pop), pop=CityCode(pop), router_id=IPv4Address(f"10.0.0.{n}"),
        address=IPv4Address(f"192.0.2.{n}"), distance_km=distance_km,
        external4=plain.external4, external6=plain.external6,
    )  # fmt: skip


def test_each_link_has_one_who_asks_and_each_domain_its_names() -> None:
    """Those here serve as they do, those elsewhere count while nobody tells of them."""
    one, two = own(0), own(1)
    found = facts(replace(order(1, one, two), names=(named(one, two),)))
    names = names_for(found, seen_by(found))
    assert set(names.around.askers) == {link_of(one.uid), link_of(two.uid)}
    asker = names.around.askers[link_of(one.uid)]
    assert asker.domain == "s" and set(asker.own) == {str(a) for a in (*one.externals(), *one.anycast)} | set(
        asker.private
    )
    assert {"name", "city", "workload", "stack", "ip"} <= {name for name, _ in asker.about}
    (domain,) = names.domains
    assert domain.suffix == DOMAIN
    assert [(i.away, i.serves) for i in domain.workloads[0].instances][:2] == [(HERE, True), (HERE, True)]
    assert all(i.serves and i.away > NEAR for i in domain.workloads[0].instances[2:])


def test_far_ones_stand_behind_near_ones() -> None:
    """By the kilometres of the backbone."""
    one = own(0)
    backbone = Backbone(
        rules=BackboneRules(), address=IPv4Address("192.0.2.9"), peers=(peer(1, "AMS", 350), peer(2, "JFK", 5500))
    )
    found = replace(order(1, one), names=(named(one),), backbone=backbone)
    away = away_of(found)
    assert away[POP] < away[CityCode("AMS")] < away[CityCode("JFK")] and CityCode("SIN") not in away


def test_one_elsewhere_that_nobody_tells_of_does_not_serve() -> None:
    """Once hosts tell each other."""
    one = own(0)
    found = facts(replace(order(1, one), names=(named(one),)))
    seen = replace(seen_by(found), present=frozenset(AWAY["JFK"]))
    (domain,) = names_for(found, seen).domains
    assert [i.name for i in domain.workloads[0].instances if i.serves] == [one.name, "w-eu-jfk-0"]


def test_names_are_made_anew_where_something_of_them_may_differ() -> None:
    """And nowhere else: this is asked in every pass."""
    one = own(0)
    first = facts(replace(order(1, one), names=(named(one),)))
    assert seen_by(first) == seen_by(Facts(first.order, first.observed))
    assert seen_by(first) != seen_by(Facts(replace(first.order, names=()), first.observed))


def test_whom_a_host_asks_is_the_operators_to_say() -> None:
    """By the order; by what was told to instances before hosts had resolvers; or else as the host itself does."""
    plain, (a, b) = order(1), (ip_address("192.0.2.1"), ip_address("192.0.2.2"))
    assert upstreams_of(plain) is None
    older = replace(plain, rules=InstanceRules(nameservers=(a,)))
    assert upstreams_of(older) == (str(a),)
    assert upstreams_of(replace(older, resolvers=(b,))) == (str(b),)
    assert upstreams_of(replace(older, resolvers=())) == ()
