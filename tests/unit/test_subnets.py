"""Addresses in subnets of stacks' networks: one of a kind on a platform, whatever subnets its tenants choose."""

from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anypop.agent.decide.backbone import Sibling
from anypop.agent.decide.vpc import siblings_in_subnets
from anypop.model.announce import Prefix
from anypop.model.backbone import BackbonePeer
from anypop.model.names import CityCode, HostName
from anypop.model.subnets import LINKS, address_in, least_length, part_of, problems

HOSTS = range(24)


def _subnets() -> st.SearchStrategy[Prefix]:
    """Any that has a part for every host, many of which overlap."""
    longest4, longest6 = least_length(4, HOSTS), least_length(6, HOSTS)
    four = st.tuples(st.integers(0, 3), st.integers(8, longest4)).map(
        lambda made: ip_network((int(IPv4Address(f"10.{made[0] * 64}.0.0")), made[1]), strict=False)
    )
    six = st.integers(8, longest6).map(lambda length: ip_network(f"fd00::/{length}", strict=False))
    return st.one_of(four, six)


@given(
    one=_subnets(),
    other=_subnets(),
    places=st.lists(st.tuples(st.sampled_from(HOSTS), st.integers(0, LINKS - 1)), min_size=2, max_size=2, unique=True),
)
def test_no_two_instances_have_one_address_however_their_subnets_overlap(
    one: Prefix, other: Prefix, places: list[tuple[int, int]]
) -> None:
    (host, link), (host2, link2) = places
    first, second = address_in(one, host, link), address_in(other, host2, link2)
    assert first is not None and second is not None and first in one and second in other
    assert first != second
    part = part_of(one, host)
    assert part is not None and first in part and part.num_addresses == 256


def test_a_subnet_that_cannot_be_given_is_refused_in_words() -> None:
    """Too small for the hosts, of the platform's own, or what nobody has; and what can be given has no trouble."""
    taken = [("which is the platform's in LHR", ip_network("10.255.250.0/24"))]

    def told(text: str) -> str:
        return " ".join(problems(ip_network(text), HOSTS, taken))

    assert told("10.3.0.0/19") == told("fd00::/64") == told("11.0.0.0/9") == ""
    assert "need a /19 at least" in told("10.3.0.0/20")
    assert "overlap 10.255.250.0/24, which is the platform's in LHR" in told("10.0.0.0/8")
    assert "too large" in told("10.0.0.0/7") or "too large" in told("0.0.0.0/0")
    assert "nobody has" in told("169.254.0.0/16") and "nobody has" in told("fe80::/10")
    assert address_in(ip_network("10.0.0.0/8"), 0, LINKS) is None
    assert part_of(ip_network("10.0.0.0/25"), 0) is None


@pytest.mark.parametrize("version", [4, 6])
def test_a_host_works_out_the_addresses_of_siblings_elsewhere(version: int) -> None:
    """Out of the private address that is told; of an external one, or of a host without a number, nothing follows."""
    peer = BackbonePeer(
        host=HostName("AMS"), pop=CityCode("AMS"), router_id=IPv4Address("10.255.0.2"),
        address=IPv4Address("192.0.2.2"), distance_km=357, external4=IPv4Network("198.18.2.0/24"),
        external6=IPv6Network("2001:db8:e2::/48"), private4=IPv4Network("10.2.0.0/20"),
        private6=IPv6Network("fd00:2::/64"), number=5,
    )  # fmt: skip
    private = (peer.private4 if version == 4 else peer.private6) or peer.external4
    told = [
        Sibling(address=private[2 * 7 + 1], peer=peer.address, group=0x50000001),
        Sibling(address=peer.external4[8], peer=peer.address, group=0x50000001),
        Sibling(address=private[2 * 9 + 1], peer=peer.address, group=0x50000002),
    ]
    reach = {0x50000001: frozenset({ip_network("10.64.0.0/16"), ip_network("fd00:64::/64")})}
    found = {s.address for s in siblings_in_subnets(told, [peer], reach)}
    assert found == {address_in(subnet, 5, 7) for subnet in reach[0x50000001]}
