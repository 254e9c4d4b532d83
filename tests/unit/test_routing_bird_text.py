"""Reading BIRD 2.0.12: texts below were printed by real daemons."""

from datetime import datetime
from ipaddress import ip_network

import pytest

from anypop.model.route import Origin
from anypop.routing.bird_text import parse_routes, parse_sessions

ROUTES = """BIRD 2.0.12 ready.
Table master4:
203.0.113.0/24       unicast [b 06:56:50.555] * (100/35) [AS100i]
	via 10.9.2.1 on cb
	Type: BGP univ
	BGP.origin: IGP
	BGP.as_path: 100
	BGP.next_hop: 10.9.2.1
	BGP.med: 7
	BGP.local_pref: 300
	BGP.community: (209,7100) (65535,0) (65535,65281)
	BGP.large_community: (1, 2, 3) (200, 1, 300) (200, 2, 1)
                     unicast [a 06:56:46.477] (100) [AS100i]
	via 10.9.3.1 on ca
	Type: BGP univ
	BGP.origin: Incomplete
	BGP.as_path: 65001 100
	BGP.next_hop: 10.9.3.1
	BGP.local_pref: 200
	BGP.community: (65535,0)
10.9.1.0/30          unicast [b 06:56:50.555] * (100) [i]
	via 10.9.2.1 on cb
	Type: BGP univ
	BGP.origin: IGP
	BGP.as_path:{blank}
	BGP.next_hop: 10.9.2.1
	BGP.local_pref: 100
198.51.100.0/24      unreachable [static1 06:56:21.417] * (200)
	Type: static univ
	BGP.community: (65535,0)
""".replace("{blank}", " ")

ROUTES6 = """BIRD 2.0.12 ready.
Table master6:
2001:db8::/32        unicast [a 06:56:22.342 from 10.9.1.1] * (100) [AS100i]
	via fd09:1::1 on ba
	Type: BGP univ
	BGP.origin: IGP
	BGP.as_path: 100
	BGP.next_hop: fd09:1::1
	BGP.local_pref: 100
                     unicast [a6 2026-11-22] (100) [AS100i]
	via fd09:1::1 on ba
	Type: BGP univ
	BGP.origin: IGP
	BGP.as_path: 100
	BGP.next_hop: fd09:1::1 fe80::f0bd:fbff:fe8f:7313
	BGP.local_pref: 100
"""

SESSIONS = """BIRD 2.0.12 ready.
Name       Proto      Table      State  Since         Info
device1    Device     ---        up     06:56:22.331
a          BGP        ---        up     06:56:22.331  Established
  BGP state:          Established
    Neighbor address: 10.9.3.1
    Neighbor AS:      100
    Local AS:         200
    Neighbor ID:      1.1.1.1
    Session:          external AS4
    Source address:   10.9.3.2
    Hold timer:       222.845/240
  Channel ipv4
    State:          UP
    Routes:         1 imported, 3 exported, 1 preferred

b          BGP        ---        start  06:56:22.217  Connect
  BGP state:          Connect
    Neighbor address: fe80::1%cb
    Neighbor AS:      200
    Local AS:         200
  Channel ipv4
    State:          DOWN
"""
NOW = datetime(2026, 11, 23, 6, 57, 50, 555000)


def test_members_of_a_confederation_are_not_in_the_path() -> None:
    """RFC 5065: they do not count in its length."""
    (route, *_) = parse_routes(ROUTES.replace("BGP.as_path: 100", "BGP.as_path: (65001 65002) 100", 1), now=NOW)
    assert route.as_path == (100,)


def test_routes_come_out_with_all_their_attributes() -> None:
    """Best first, as BIRD prints them."""
    best, other, local, static = parse_routes(ROUTES, now=NOW)
    assert best.best and best.as_path == (100,) and best.local_pref == 300 and best.med == 7 and best.igp_metric == 35
    assert best.communities == ((209, 7100), (65535, 0), (65535, 65281))
    assert best.large_communities == ((1, 2, 3), (200, 1, 300), (200, 2, 1))
    assert best.age_s == pytest.approx(60.0)
    assert not best.ebgp and other.ebgp and not other.best
    assert other.as_path == (65001, 100) and other.origin is Origin.INCOMPLETE and other.prefix == best.prefix
    assert local.as_path == () and local.prefix == ip_network("10.9.1.0/30")
    assert static.protocol == "static1" and not static.ebgp and static.next_hop == "" and static.best


def test_sessions_tell_inside_from_outside() -> None:
    """`show protocols all` has the neighbour's AS, address and router id; a session that is down has no id."""
    sessions = parse_sessions(SESSIONS)
    assert set(sessions) == {"a", "b"}
    assert sessions["a"].external and sessions["a"].router_id == "1.1.1.1" and sessions["a"].state == "established"
    assert not sessions["b"].external and sessions["b"].router_id == "" and sessions["b"].neighbor == "fe80::1"
    best, other, *_ = parse_routes(ROUTES, sessions=sessions)
    assert (best.ebgp, other.ebgp) == (False, True)
    assert other.router_id == "1.1.1.1" and other.neighbor == "10.9.3.1"
    assert best.age_s is None


def test_ipv6_routes_keep_the_global_next_hop() -> None:
    """The link-local one stands behind it; `from` names the session where it differs."""
    first, second = parse_routes(ROUTES6, now=NOW)
    assert first.prefix == ip_network("2001:db8::/32") == second.prefix
    assert second.next_hop == "fd09:1::1" and first.neighbor == "10.9.1.1"
    assert second.age_s == pytest.approx(86400 + 6 * 3600 + 57 * 60 + 50.555)


def test_a_clock_time_after_now_was_yesterday() -> None:
    """BIRD prints no date for the last 24 hours."""
    route = parse_routes(ROUTES, now=datetime(2026, 11, 24, 0, 0, 10))[0]
    assert route.age_s == pytest.approx(86400 - (6 * 3600 + 56 * 60 + 50.555) + 10)


@pytest.mark.parametrize(
    "text", ["", "BIRD 2.0.12 ready.\nNetwork not found\n", "\tvia nowhere\n", "10.0.0.0/8 what is this"]
)
def test_what_is_no_route_gives_none(text: str) -> None:
    """An empty answer is an answer."""
    assert parse_routes(text) == ()
    assert parse_sessions(text) == {}
