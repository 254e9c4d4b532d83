"""Routes through gateways and further interfaces, as one host carries them out: who may pass what on, where packets are
led, and what follows for an instance's own namespace.
"""

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_network

from anypop.agent.act.network.firewall_rules import render
from anypop.agent.act.network.inside import render as render_inside
from anypop.agent.decide import gateways
from anypop.agent.decide.backbone import Carriers, Offers
from anypop.agent.decide.firewall import firewall_for
from anypop.agent.decide.gateways import GatewayWay, slots_of
from anypop.agent.decide.inside import inside_for
from anypop.agent.naming import (
    AWAY_MARK,
    DRAIN_MARK_SHIFT,
    GATEWAY_SLOTS,
    NEWCOMER_SLOTS,
    SIBLING_MARK,
    device_group_of,
    gateway_key,
    inside_mac,
    link_of,
    router_mac,
    short_of_further,
    short_of_link,
)
from anypop.model import codec
from anypop.model.announce import Prefix
from anypop.model.backbone import Backbone, BackbonePeer, BackboneRules
from anypop.model.gateway_route import MOST_LED, led_domains
from anypop.model.names import CityCode, HostName, StackId
from anypop.model.order import Containers, InstanceLink, InstanceOrder, Order
from anypop.model.order_read import OrderReader
from anypop.model.order_text import OrderWriter
from anypop.model.workload import Port, Protocol
from tests.agent_world import instance, order

BLUE, RED = ip_network("10.0.0.0/9"), ip_network("10.128.0.0/9")
OUT: tuple[Prefix, ...] = (RED, ip_network("192.0.2.0/24"))


def member(n: int, *networks: str, passes: bool = False) -> InstanceOrder:
    """Number `n`, with an interface in each of these; of the blue one a route leads to `OUT`."""
    plain = replace(instance(n), stack_id=StackId("one"))
    links = []
    for k, network in enumerate(networks):
        numbers = instance(20 * k + n).links[0].addresses
        addresses = tuple(replace(a, external=a.external if k == 0 else None) for a in numbers)
        ways = OUT if network == "blue" else ()
        links.append(
            InstanceLink(
                network=network,
                addresses=addresses,
                reach=(BLUE if network == "blue" else RED,),
                ways=ways,
                passes=ways if passes else (),
            )
        )
    return replace(plain, links=tuple(links))


BOTH, ALONE, OTHER = member(0, "red", "blue", passes=True), member(1, "blue"), member(2, "red")


def test_marks_are_nobody_elses_and_a_host_has_as_many_networks_as_there_are() -> None:
    """A slot stays while networks come after it, and those beyond the last get none."""
    marks = {mark >> DRAIN_MARK_SHIFT for mark in (AWAY_MARK, SIBLING_MARK)}
    assert len(GATEWAY_SLOTS) == MOST_LED and not {*GATEWAY_SLOTS} & {*NEWCOMER_SLOTS, *marks}
    domains = [f"stack/{n:02}" for n in range(MOST_LED + 3)]
    slots = slots_of(domains)
    assert tuple(slots) == led_domains(domains) and sorted(slots.values()) == list(GATEWAY_SLOTS)
    assert slots_of(domains[:2]).items() <= slots.items()


def test_each_way_has_the_gateways_that_serve_in_that_network() -> None:
    """By the link in it; none where nobody does, and no way at all where nobody is led."""
    name, (four, _) = link_of(BOTH.uid, 1), BOTH.links[1].addresses
    (slot,) = slots_of([ALONE.domain]).values()
    found = gateways.ways((BOTH, ALONE, OTHER), lambda _: True)
    assert found == {GatewayWay(slot=slot, prefix=p, hops=((name, four.private),)) for p in OUT}
    assert gateways.ways((BOTH, ALONE), lambda one: one is ALONE) == {GatewayWay(slot=slot, prefix=p) for p in OUT}
    assert gateways.ways((OTHER,), lambda _: True) == frozenset()


HERE, NEAR, FAR, FARTHER = (IPv4Address(f"10.77.255.{n}") for n in range(1, 5))


def carriers(**counts: int) -> Carriers:
    """Of a host in LHR with one more there and one each in AMS and JFK. `counts`: gateways that they tell of."""
    peers = [
        BackbonePeer(
            host=HostName(name), pop=CityCode(name[:3]), router_id=address, address=address, distance_km=km,
            external4=IPv4Network("198.51.100.0/24"), external6=IPv6Network("2001:db8::/64"),
        )
        for name, address, km in (("LHR-2", NEAR, 0), ("AMS", FAR, 357), ("JFK", FARTHER, 5540))
    ]  # fmt: skip
    backbone = Backbone(rules=BackboneRules(), address=HERE, peers=tuple(peers))
    offers: Offers = {{"near": NEAR, "far": FAR, "farther": FARTHER}[who]: {KEY: n} for who, n in counts.items()}
    return Carriers(replace(order(1), pop=CityCode("LHR"), backbone=backbone), offers)


KEY = gateway_key("one/blue", str(RED))


def test_gateways_are_those_of_the_pop_and_else_of_the_nearest_one_that_has_some() -> None:
    assert carriers(near=2, far=1).gateways(KEY, here=False) == ((NEAR, 2),)
    assert carriers(near=2, far=1).gateways(KEY, here=True) == ((NEAR, 2),)
    assert carriers(far=1, farther=3).gateways(KEY, here=False) == ((FAR, 1),)
    assert carriers(far=1, farther=3).gateways(KEY, here=True) == ()
    assert carriers(near=0, farther=3).gateways(KEY, here=False) == ((FARTHER, 3),)
    assert carriers(near=5 << 31).gateways(KEY, here=False) == (), "whose an address is, is no count"
    assert carriers(near=1).gateways(gateway_key("two/blue", str(RED)), here=False) == ()


def test_only_what_there_is_a_way_to_is_told_to_other_hosts() -> None:
    """Ways for what comes lead to gateways here alone, and are told once they are in the kernel with somebody."""
    those, all_serve = (BOTH, ALONE, OTHER), lambda _: True
    found = gateways.ways(those, all_serve, lambda key, here: ((NEAR, 2),) if key == KEY else (), tunnel=True)
    coming = {way for way in found if way.coming}
    assert {way.prefix for way in coming} == set(OUT) and all(way.hops and not way.away for way in coming)
    assert {way.prefix: way.away for way in found - coming} == {RED: ((NEAR, 2),), OUT[1]: ()}
    assert gateways.told(those, found - coming) == {}
    assert gateways.told(those, found) == {gateway_key("one/blue", str(prefix)): 1 for prefix in OUT}
    ill = gateways.ways(those, lambda _: False, tunnel=True)
    assert {way.prefix for way in ill if way.coming} == set(OUT) and gateways.told(those, ill) == {}
    assert not any(way.coming for way in gateways.ways((ALONE, OTHER), all_serve, tunnel=True))


def test_of_a_gateway_that_takes_udp_nothing_else_goes_past_connection_tracking() -> None:
    """What it translates for others has to be found again, whatever it is asked by UDP itself."""
    ports = (Port(name="dns", port=53, protocol=Protocol.UDP),)
    plain = replace(ALONE, payload=Containers(containers=(replace(ALONE.containers[0], ports=ports),)))
    passing = replace(BOTH, payload=plain.payload)
    assert "meta l4proto != udp notrack" in render_inside(inside_for(plain))
    assert "meta l4proto != udp notrack" not in render_inside(inside_for(passing))


def test_a_gateway_with_a_public_address_leaves_from_it_to_the_outside() -> None:
    """What is not its own, but for what goes to the network of its first interface; one that is none does not."""
    first = BOTH.links[0].addresses[0]
    (four, six) = inside_for(BOTH).outward
    assert four.external == first.external and {first.private, first.external} <= {*four.own}
    assert BOTH.links[1].addresses[0].private in four.own and (four.inside, six.inside) == ((RED,), ())
    assert f"snat ip to {four.external}" in render_inside(inside_for(BOTH))
    assert inside_for(ALONE).outward == inside_for(member(3, "red", "blue")).outward == ()
    (link, further) = BOTH.links
    hidden = replace(link, addresses=tuple(replace(a, external=None) for a in link.addresses))
    assert inside_for(replace(BOTH, links=(hidden, further))).outward == ()


def test_a_gateway_may_send_more_by_that_link_alone() -> None:
    """And the host keeps what it passes on inside the network; without routes there is no such rule."""
    rules = firewall_for(order(1, BOTH, ALONE, OTHER), (BOTH, ALONE, OTHER))
    (passing,), (routed,) = rules.passing, rules.routed
    assert (passing.link, set(passing.prefixes)) == (link_of(BOTH.uid, 1), set(OUT))
    assert (routed.group, set(routed.prefixes)) == (device_group_of("one/blue"), set(OUT))
    own = {link.name: link for link in rules.links}
    further, first = own[link_of(BOTH.uid, 1)], own[link_of(BOTH.uid)]
    assert further.inward and not first.inward and not {*further.own} & {*first.own}
    text = render(rules, "x")
    assert f'"{passing.link}" : jump pass_{passing.link}' in text and f"kept_{passing.link}" in text
    plain = firewall_for(order(1, OTHER), (OTHER,))
    assert "routed" not in render(plain, "x") and "pass_" not in render(plain, "x")


def test_an_instance_is_led_where_it_is_not_itself() -> None:
    """A gateway has no route to where it leads, and passes on; one with two interfaces passes nothing on unless it is
    one; one that is in the other network goes there directly.
    """
    alone, both = inside_for(ALONE), inside_for(BOTH)
    assert {(way.interface, way.prefix) for way in alone.ways} == {(0, prefix) for prefix in OUT}
    assert alone.passes is None and both.passes is True and both.ways == ()
    two = inside_for(member(3, "blue", "red"))
    assert two.passes is False and {way.prefix for way in two.ways} == {OUT[1]}
    assert inside_for(instance(4)).passes is None


def test_names_of_links_tell_whose_they_are() -> None:
    uid = BOTH.uid
    assert short_of_link(link_of(uid)) == short_of_further(link_of(uid, 1)) is not None
    assert short_of_link(link_of(uid, 1)) is None and short_of_further(link_of(uid)) is None
    assert all(len(link_of(uid, n)) <= 15 for n in range(4))
    macs = {mac(uid, n) for mac in (inside_mac, router_mac) for n in range(4)}
    assert len(macs) == 8 and all(mac[0] & 3 == 2 for mac in macs), "locally administered, of one receiver"


def test_orders_travel_with_it() -> None:
    ordered = order(1, BOTH, ALONE)
    text = OrderWriter().order(ordered)
    assert text.encode() == codec.to_json(ordered)
    assert OrderReader().order(text) == ordered == codec.from_json(Order, text)
