"""What a host does for a drain: how a prefix is really told, what comes in for it, and what it reports of both."""

from dataclasses import replace
from ipaddress import ip_network

from anypop.agent.act.bgp.adj_rib_out import read_export
from anypop.agent.act.network.arrivals import Door, script
from anypop.agent.observe.arrivals import doors_of
from anypop.model.announce import Announcement, Mode, Scope
from anypop.model.order import Order
from anypop.model.report import Exported
from tests.worlds import LHR, host, upstream

PREFIX = ip_network("203.0.113.0/24")
TOLD = """Table own4:
203.0.113.0/24       unreachable [own4 12:00:01.123] * (200)
\tType: static univ
\tBGP.origin: IGP
\tBGP.as_path: 33438 33438 33438
\tBGP.next_hop: 172.16.0.1
\tBGP.local_pref: 100
\tBGP.community: (65535,0) (1299,50)
\tBGP.large_community: (33438, 0, 3356)
\tBGP.ext_community: (rt, 6939, 70) (ro, 192.0.2.1, 7)
"""


def an_order(*announcements: Announcement) -> Order:
    site = host(LHR, 1)  # type: ignore[arg-type]
    return Order(
        pop=LHR,
        host=site.name,
        generation=1,
        asn=33438,
        router_id=site.router_id,
        private4=site.private4,
        private6=site.private6,
        external4=site.external4,
        external6=site.external6,
        upstreams=site.upstreams,
        announcements=announcements,
    )


def test_what_is_really_told_is_read_with_its_prepends_and_communities() -> None:
    """Our own number stands in the path as often as it was prepended; of a prefix that is not sent nothing is told."""
    found = read_export(TOLD, "203.0.113.0/24", asn=33438, upstream="telia")
    assert found == Exported(
        upstream="telia",
        prepend=3,
        communities=((1299, 50), (65535, 0)),
        large_communities=((33438, 0, 3356),),
        extended_communities=((0, 2, 6939, 70), (1, 3, 0xC000, 0x2010007)),
    )
    assert read_export("", "203.0.113.0/24", asn=33438, upstream="telia") is None


def test_only_what_is_drained_is_counted_at_each_interface_once() -> None:
    """Single addresses are part of a prefix that is counted; without a drain nothing is, and the table goes."""
    low = Announcement(prefix=PREFIX, upstream="telia", scope=Scope(prepend=3), drains=True)
    single = Announcement(prefix=ip_network("203.0.113.1/32"), upstream="telia", scope=Scope(), drains=True)
    other = Announcement(prefix=ip_network("198.51.100.0/24"), upstream="telia", scope=Scope())
    order = an_order(low, replace(low, upstream="qwest", scope=Scope(mode=Mode.WITHHOLD)), single, other)
    doors = {Door("up-telia", PREFIX), Door("up-qwest", PREFIX)}
    assert doors_of(order) == doors
    shared = replace(order, upstreams=(*order.upstreams, replace(upstream("peer", 64500), interface="up-telia")))
    assert doors_of(shared) == doors
    assert doors_of(an_order(other)) == frozenset()
    text = script("anypop_t_arrivals", doors)
    assert text.count("counter comment") == 2
    assert 'iifname "up-qwest" ip daddr 203.0.113.0/24 counter comment "203.0.113.0/24"' in text
    assert script("anypop_t_arrivals", ()).splitlines() == [
        "table inet anypop_t_arrivals",
        "delete table inet anypop_t_arrivals",
    ]
