"""The address plan."""

from ipaddress import ip_interface
from pathlib import Path

import pytest

from anypop.lab.address import GENEROUS, LabPlan, Role, network_of, plan
from anypop.lab.generate import generate
from anypop.lab.topology_read import load
from anypop.model import codec
from anypop.model.network import Capacity, Network, UpstreamKind

ARTICLE = (Path(__file__).parents[2] / "topologies" / "article.yaml").read_text()


HOSTS = ARTICLE.replace("    - city: LHR\n", "    - city: LHR\n      hosts: 3\n").replace(
    "    - city: LAX\n", "    - city: LAX\n      hosts: [{capacity: {cpu: 16, memory: 32Gi, disk: 100Gi}}, {}]\n"
)


@pytest.fixture(scope="module", params=["article", "generated", "hosts"])
def lab(request: pytest.FixtureRequest) -> LabPlan:
    texts = {"article": ARTICLE, "generated": generate(ases=30, pops=4, seed=3), "hosts": HOSTS}
    return plan(load(texts[request.param]), "abc123")


def test_nothing_is_numbered_twice(lab: LabPlan) -> None:
    """Addresses, hardware addresses, namespaces, and interfaces within a namespace are each used once."""
    ends = [end for link in lab.links for end in (link.a, link.b)]
    addresses = [ip_interface(text).ip for end in ends for text in end.addresses]
    addresses += [address for router in lab.routers for address in (router.loopback4, router.loopback6)]
    addresses += [host.router_id for site in lab.sites for host in site.pop.hosts]
    addresses += [site.edge.router_id for site in lab.sites if site.edge is not None]
    for values in (
        addresses,
        [end.mac for end in ends if end.mac],
        [(end.netns, end.interface) for end in ends],
        lab.namespaces(),
    ):
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
    """Each PoP has its upstreams with both addresses of both families, on an interface that exists in its namespace;
    it survives YAML.
    """
    network = network_of(lab)
    assert codec.from_data(Network, codec.to_data(network)) == network
    for site, pop in zip(lab.sites, network.pops, strict=True):
        interfaces = {own.interface for link, own, _ in lab.links_of(site.netns) if link.role is Role.UPSTREAM}
        assert {upstream.interface for upstream in pop.upstreams} == interfaces
        sessions = [*pop.upstreams, *(u for host in pop.hosts for u in host.upstreams)]
        assert all(u.neighbor4 and u.local4 and u.neighbor6 and u.local6 for u in sessions)


def test_the_earlier_an_as_stands_the_lower_its_router_ids(lab: LabPlan) -> None:
    """Ties by router id fall to the AS that stands first in the file."""
    order = [system.asn for system in lab.topology.ases]
    ids = [int(router.loopback4) for router in sorted(lab.routers, key=lambda router: order.index(router.asn))]
    assert ids == sorted(ids)


def test_an_address_made_of_hardware_is_the_one_the_kernel_makes() -> None:
    """02:00:00:00:00:14 gives fe80::ff:fe00:14."""
    link = next(link for link in plan(load(ARTICLE), "x").links if link.a.mac == "02:00:00:00:00:14")
    assert str(link.a.link_local) == "fe80::ff:fe00:14"


def test_a_pop_of_one_host_is_what_it_was() -> None:
    """Its host is called like its city, has the PoP's own namespace, prefixes and upstreams, and nothing stands in
    front of it.
    """
    site = plan(load(ARTICLE), "x").sites[1]
    (host,) = site.pop.hosts
    assert (site.netns, site.hosts[0].netns, host.name, site.edge) == ("x-pop-lhr", "x-pop-lhr", "LHR", None)
    assert (str(host.external4), str(host.private4), str(host.router_id)) == (
        "198.18.17.0/24",
        "10.128.16.0/20",
        "10.1.0.2",
    )
    assert [(u.name, u.interface) for u in host.upstreams] == [("arelion", "up-arelion")]


def test_hosts_of_a_pop_share_its_prefixes_and_stand_behind_its_edge_router() -> None:
    """Three hosts have a quarter each, disjoint and inside the PoP's; the edge router has the PoP's namespace,
    upstreams and router id.
    """
    found = plan(load(HOSTS), "x")
    site = found.sites[1]
    own = found.topology.own.pops[1]
    assert [place.netns for place in site.hosts] == ["x-pop-lhr-1", "x-pop-lhr-2", "x-pop-lhr-3"]
    assert [host.name for host in site.pop.hosts] == ["LHR-1", "LHR-2", "LHR-3"]
    for whole, parts in (
        (own.external4, [h.external4 for h in site.pop.hosts]),
        (own.external6, [h.external6 for h in site.pop.hosts]),
    ):
        assert all(part.prefixlen == whole.prefixlen + 2 for part in parts)
        assert all(part.subnet_of(whole) for part in parts)  # type: ignore[arg-type]
        assert len(set(parts)) == 3
    assert len({host.private4 for host in site.pop.hosts}) == len({host.private6 for host in site.pop.hosts}) == 3
    assert site.edge is not None
    assert ([u.name for u in site.pop.edge], str(site.edge.router_id), site.netns) == (
        ["arelion"],
        "10.1.0.2",
        "x-pop-lhr",
    )
    for host in site.pop.hosts:
        assert [(u.name, u.kind, u.asn, u.interface) for u in host.upstreams] == [
            ("edge", UpstreamKind.EDGE, 33438, "up-edge")
        ]


def test_links_of_other_routers_keep_their_names_when_a_pop_gets_hosts() -> None:
    """Every link that is not a host's own is the same as without hosts, management apart."""
    plain, with_hosts = plan(load(ARTICLE), "x"), plan(load(HOSTS), "x")
    same = [link for link in with_hosts.links if link.role not in (Role.EDGE, Role.MANAGEMENT)]
    assert same == [link for link in plain.links if link.role is not Role.MANAGEMENT]


def test_a_hosts_capacity_is_the_topologys_or_a_generous_one() -> None:
    """All hosts of a lab are one machine, so the lab's own figure is far above what any of them could report."""
    first, second = plan(load(HOSTS), "x").sites[3].pop.hosts
    assert first.capacity == Capacity(cpu_millis=16_000, memory_bytes=32 << 30, disk_bytes=100 << 30)
    assert second.capacity == GENEROUS
