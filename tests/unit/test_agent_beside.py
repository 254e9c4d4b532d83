"""External addresses that an instance has beside its own, and those of a host that have followed their slots away."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest

from anypop.agent.act.network.namespaces import own_addresses
from anypop.agent.decide.covers import covers_for
from anypop.agent.decide.facts import Facts
from anypop.agent.decide.firewall import firewall_for
from anypop.agent.decide.inside import inside_for
from anypop.agent.decide.observed import Observed
from anypop.model.network import UpstreamKind
from anypop.model.order import Containers, InstanceOrder
from anypop.model.workload import Container, Port, Protocol
from tests.agent_world import UPSTREAMS, instance, order

MORE = (IPv4Address("198.51.100.200"), IPv6Address("2001:db8:e::200"))


def served(protocol: Protocol) -> InstanceOrder:
    app = Container(
        name="app",
        image="registry.example/web:1",
        ports=(Port(name="p", port=80, protocol=protocol, open_to_all=True),),
    )
    return replace(instance(1), beside=MORE, payload=Containers(containers=(app,)))


def test_the_link_lets_them_out_and_their_ports_are_open() -> None:
    one = served(Protocol.TCP)
    assert {*MORE} <= {*own_addresses(one)}
    rules = firewall_for(order(1, one), [one])
    (link,) = rules.links
    assert {*MORE} <= {*link.own}
    assert {(a, 80) for a in MORE} <= {(opening.address, opening.port) for opening in rules.openings}


def test_an_answer_by_udp_comes_from_the_one_that_was_asked() -> None:
    """As of anycast addresses: an application on a wildcard socket would answer from its own."""
    found = inside_for(served(Protocol.UDP))
    assert all(a in next(f for f in found.udp if f.private.version == a.version).anycast for a in MORE)
    assert all(a not in (family.external for family in found.udp) for a in MORE)


@pytest.mark.parametrize("kinds", [(UpstreamKind.EDGE,), (UpstreamKind.EDGE, UpstreamKind.TRANSIT)])
def test_behind_an_edge_router_alone_what_a_host_has_not_is_left_to_that(kinds: tuple[UpstreamKind, ...]) -> None:
    """One of its addresses may be another host's by now. With another way out the whole prefix comes here, and none
    of it may go back.
    """
    ways = tuple(replace(UPSTREAMS[n], kind=kind) for n, kind in enumerate(kinds))
    plain = order(1)
    told = tuple(replace(a, prefix=ip_network("198.51.100.10")) for a in plain.announcements[:1])
    asked = replace(plain, upstreams=ways, announcements=told)
    covers = covers_for(Facts(asked, Observed()))
    assert {plain.private4, plain.private6, ip_network("198.51.100.10")} <= covers
    assert (plain.external4 in covers) is (len(kinds) > 1)
    assert plain.external6 in covers, "no session of that family here"
