"""What an order has looked at, and what of it goes into one message."""

from dataclasses import replace
from ipaddress import ip_network

from anypop.agent.act.network.sources import Sample
from anypop.agent.observe.sources import messages, sample_of
from anypop.model.sources import MOST_SOURCES, SeenFrom, Sources, excess
from tests.agent_world import instance, order


def test_only_what_the_operator_wants_is_looked_at() -> None:
    """Covering prefixes at upstreams; nothing without a number, a prefix or an upstream."""
    wanted = replace(order(1, instance(0)), sampled_flows=1000)
    ours = frozenset(a.prefix for a in wanted.announcements) - {wanted.external4}
    assert ours and sample_of(wanted) == Sample(1000, frozenset(u.interface for u in wanted.upstreams), ours)
    single = replace(wanted.announcements[0], prefix=ip_network("198.51.100.7/32"))
    assert sample_of(replace(wanted, announcements=(*wanted.announcements, single))) == sample_of(wanted)
    for nothing in (
        replace(wanted, sampled_flows=0), replace(wanted, announcements=(single,)), replace(wanted, upstreams=()),
    ):  # fmt: skip
        assert sample_of(nothing) is None


def test_a_message_holds_so_many_networks_and_one_is_always_sent() -> None:
    """What is too much for one goes into several; together they are the whole, and control takes each."""
    four, six = ip_network("198.51.100.0/24"), ip_network("2001:db8::/48")
    theirs = frozenset(ip_network((n << 8, 24)) for n in range(MOST_SOURCES + 5))
    seen = {four: theirs, six: frozenset({ip_network("2001:db8:7::/48")})}
    found = list(messages(seen, 60.0))
    assert [sum(len(one.sources) for one in m.seen) for m in found] == [MOST_SOURCES, 6]
    assert {(one.prefix, s) for m in found for one in m.seen for s in one.sources} == {
        (prefix, s) for prefix, those in seen.items() for s in those
    }
    assert not any(excess(m) for m in found)
    assert list(messages({four: frozenset()}, 3.0)) == [Sources(for_s=3.0)]


def test_what_no_honest_agent_tells_is_refused() -> None:
    """Too many, too fine, of the other family, of no time."""
    four = ip_network("198.51.100.0/24")
    too_many = tuple(ip_network((n << 8, 24)) for n in range(MOST_SOURCES + 1))
    for wrong in ((ip_network("192.0.2.1/32"),), (ip_network("2001:db8::/48"),), too_many):
        assert excess(Sources(for_s=1, seen=(SeenFrom(prefix=four, sources=wrong),)))
    for_ever = [excess(Sources(for_s=for_s)) for for_s in (-1, float("nan"), float("inf"))]
    assert all(for_ever)
