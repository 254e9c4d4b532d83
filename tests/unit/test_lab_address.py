"""The address plan."""

from ipaddress import ip_interface
from pathlib import Path

import pytest

from anypop.lab.address import LabPlan, Role, network_of, plan
from anypop.lab.generate import generate
from anypop.lab.topology_read import load
from anypop.model import codec
from anypop.model.network import Network

ARTICLE = (Path(__file__).parents[2] / "topologies" / "article.yaml").read_text()


@pytest.fixture(scope="module", params=["article", "generated"])
def lab(request: pytest.FixtureRequest) -> LabPlan:
    return plan(load(ARTICLE if request.param == "article" else generate(ases=30, pops=4, seed=3)), "abc123")


def test_nothing_is_numbered_twice(lab: LabPlan) -> None:
    """Addresses, hardware addresses, namespaces, and interfaces within a namespace are each used once."""
    ends = [end for link in lab.links for end in (link.a, link.b)]
    addresses = [ip_interface(text).ip for end in ends for text in end.addresses]
    addresses += [address for router in lab.routers for address in (router.loopback4, router.loopback6)]
    addresses += [host.router_id for site in lab.sites for host in site.pop.hosts]
    for values in (addresses, [end.mac for end in ends if end.mac], [(end.netns, end.interface) for end in ends], lab.namespaces()):
        assert len(values) == len(set(values))


def test_the_two_ends_of_a_link_are_in_one_network(lab: LabPlan) -> None:
    """Both families of both ends share their /31 and /127 (a vantage's /24 and /48)."""
    for link in lab.links:
        for a, b in zip(link.a.addresses, link.b.addresses, strict=False):
            assert ip_interface(a).network == ip_interface(b).network


def test_names_fit_into_linux(lab: LabPlan) -> None:
    """An interface has at most 15 characters, and every namespace begins with the lab's prefix."""
    assert all(len(end.interface) <= 15 for link in lab.links for end in (link.a, link.b))
    assert all(name.startswith("abc123-") for name in lab.namespaces())


def test_a_long_link_is_as_slow_as_light_in_its_fibre(lab: LabPlan) -> None:
    """One way takes 1.25 x km / 200 ms; a link inside a city needs no wire."""
    for link in lab.links:
        assert link.wired == (link.km >= 2)
        if link.wired:
            assert link.one_way_ms == pytest.approx(link.km * 1.25 / 200)


def test_a_plan_survives_its_way_to_disk(lab: LabPlan) -> None:
    """What is read back from lab.json is the same plan."""
    assert codec.from_json(LabPlan, codec.to_json(lab)) == lab


def test_our_network_follows_from_the_plan(lab: LabPlan) -> None:
    """Each PoP has its upstreams with both addresses of both families, on an interface that exists in its namespace; it survives YAML."""
    network = network_of(lab)
    assert codec.from_data(Network, codec.to_data(network)) == network
    for site, pop in zip(lab.sites, network.pops, strict=True):
        interfaces = {own.interface for link, own, _ in lab.links_of(site.netns) if link.role is Role.UPSTREAM}
        assert {upstream.interface for upstream in pop.upstreams} == interfaces
        assert all(u.neighbor4 and u.local4 and u.neighbor6 and u.local6 for u in pop.upstreams)


def test_the_earlier_an_as_stands_the_lower_its_router_ids(lab: LabPlan) -> None:
    """Ties by router id fall to the AS that stands first in the file."""
    order = [system.asn for system in lab.topology.ases]
    ids = [int(router.loopback4) for router in sorted(lab.routers, key=lambda router: order.index(router.asn))]
    assert ids == sorted(ids)


def test_an_address_made_of_hardware_is_the_one_the_kernel_makes() -> None:
    """02:00:00:00:00:14 gives fe80::ff:fe00:14."""
    link = next(link for link in plan(load(ARTICLE), "x").links if link.a.mac == "02:00:00:00:00:14")
    assert str(link.a.link_local) == "fe80::ff:fe00:14"
