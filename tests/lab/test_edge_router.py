"""The edge router of a PoP of two hosts, asked with real BIRDs and without agents: what it takes, tells, and keeps
to itself.
"""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from ipaddress import ip_address
from pathlib import Path

import pytest
from bench.forged import packet

from anypop.host import birdc, netns, process
from anypop.lab import build, edge_rules
from anypop.lab.address import Role
from anypop.lab.build import Lab
from anypop.lab.leftovers import left_behind
from anypop.lab.topology_read import load
from anypop.model.announce import GRACEFUL_SHUTDOWN, NO_EXPORT
from tests.lab.edge_lab import ANYCAST, COVERS, TOPOLOGY, UPSTREAMS, BareHost, networks, nexthops, told, updates
from tests.wait import wait_until

pytestmark = pytest.mark.lab
Hosts = tuple[BareHost, BareHost]


def is_not_told(lab: Lab, router: str, prefix: str) -> bool:
    return told(lab, router, prefix) is None


def fades(lab: Lab, router: str, prefix: str) -> bool:
    found = told(lab, router, prefix)
    return found is not None and GRACEFUL_SHUTDOWN in found.communities


@pytest.fixture(scope="module")
def lab(short_folder: Path) -> Iterator[Lab]:
    home, prefix = short_folder / "edge", f"e{os.getpid() % 46656:x}"
    try:
        yield build.up(load(TOPOLOGY), prefix=prefix, state_dir=home / "lab")
    finally:
        build.down(prefix=prefix, state_dir=home / "lab")
        assert left_behind(home, prefix) == []


@pytest.fixture
def hosts(lab: Lab) -> Iterator[Hosts]:
    """Both, telling everything plainly."""
    both = BareHost(lab=lab, number=1), BareHost(lab=lab, number=2)
    try:
        for host in both:
            host.say()
        until_both_serve(lab)
        yield both
    finally:
        for host in both:
            host.stop()


def until_both_serve(lab: Lab) -> None:
    wait_until(
        lambda: all(nexthops(lab, p) == 2 for p in ANYCAST), timeout_s=10, reason="flows are spread over both hosts"
    )
    wait_until(
        lambda: all(told(lab, r, p) for r in UPSTREAMS for p in COVERS),
        timeout_s=9,
        reason="every upstream knows the prefixes",
    )


def edge(lab: Lab, command: str) -> str:
    return birdc.ask(lab.control_socket("pop-lhr"), command)


def test_no_upstream_hears_of_it_when_one_host_of_two_goes_or_returns(lab: Lab, hosts: Hosts) -> None:
    """Whichever speaker goes and comes back: not one update or withdrawal leaves the PoP, and the other host gets all
    flows. When both are gone the covering prefixes are withdrawn, which the same counters show.
    """
    before = updates(lab.folder)
    for host in hosts:
        host.stop()
        wait_until(
            lambda: all(nexthops(lab, p) == 1 for p in ANYCAST), timeout_s=2, reason="the other host gets all flows"
        )
        assert updates(lab.folder) == before
        host.say()
        until_both_serve(lab)
        assert updates(lab.folder) == before
    for host in hosts:
        host.stop()
    wait_until(
        lambda: not any(told(lab, r, p) for r in UPSTREAMS for p in COVERS),
        timeout_s=9,
        reason="no host: nothing is announced",
    )
    assert updates(lab.folder) == {key: (told, gone + 1) for key, (told, gone) in before.items()}


def test_what_hosts_attach_reaches_the_upstreams(lab: Lab, hosts: Hosts) -> None:
    """Prepends and communities pass through, NO_EXPORT too, which is meant for the neighbour; our own community keeps
    the prefix from one of the upstreams, prepends for another, and does not leave.
    """
    for host in hosts:
        host.say(
            prepend=2,
            communities=(NO_EXPORT, (3356, 80)),
            large_communities=((33438, 0, 1299), (33438, 1, 3356), (64500, 7, 7)),
            extended_communities=((0, 2, 3356, 80), (1, 3, 0xC000, 0x2010007), (3, 6, 0, 1)),
        )
    for prefix in COVERS:
        wait_until(partial(is_not_told, lab, "as1299-lhr", prefix), timeout_s=20, reason="AS1299 is not told")
        found = told(lab, "as3356-lhr", prefix)
        assert found is not None
        assert found.as_path == (33438,) * 4
        assert set(found.communities) == {NO_EXPORT, (3356, 80)}
        # AS3356 marks what it takes, with its own
        assert [c for c in found.large_communities if c[0] != 3356] == [(64500, 7, 7)]
        assert set(found.extended_communities) == {(0, 2, 3356, 80), (1, 3, 0xC000, 0x2010007), (3, 6, 0, 1)}


def test_a_prefix_fades_only_when_it_fades_at_every_host(lab: Lab, hosts: Hosts) -> None:
    """While one of two hosts shuts down gracefully the upstreams hear nothing, and new flows go to the other host; when
    both do, the upstreams hear it, and flows go to both.
    """
    before = updates(lab.folder)
    hosts[0].say(fades=True)
    wait_until(
        lambda: "(65535,0)" in edge(lab, f"show route {COVERS[0]} table hosts4 all"),
        timeout_s=9,
        reason="the edge router knows that it fades",
    )
    wait_until(
        lambda: all(nexthops(lab, p) == 1 for p in ANYCAST),
        timeout_s=9,
        reason="flows go to the host that does not fade",
    )
    assert updates(lab.folder) == before
    hosts[1].say(fades=True)
    for router in UPSTREAMS:
        for prefix in COVERS:
            wait_until(
                partial(fades, lab, router, prefix),
                timeout_s=9,
                reason="both hosts fade, and the upstreams hear it",
            )
    wait_until(
        lambda: all(nexthops(lab, p) == 2 for p in ANYCAST), timeout_s=9, reason="both fade alike, so flows go to both"
    )


def test_a_host_may_say_only_what_is_its_own(lab: Lab, hosts: Hosts) -> None:
    """Whole external prefixes, a default route, half a covering prefix and a stranger's network are all refused, in
    both families. Another host's address counts only while that one does not tell it, since one that is kept follows
    its slot: the neighbour's traffic stays where it was.
    """
    taken = ("198.18.16.129/32", "2001:db8:b0:8000::1/128")  # the neighbour tells it itself
    lies = [
        "198.18.16.0/25",
        "198.18.16.0/24",
        "0.0.0.0/0",
        "198.18.0.0/25",
        "203.0.113.0/24",
        "198.18.17.1/32",
    ]
    lies += [
        "2001:db8:b0::/49",
        "2001:db8:b0::/48",
        "::/0",
        "2001:db8:a0::/49",
        "2001:db8:ffff::/48",
    ]
    hosts[0].say(more=[*lies, *taken, "198.18.0.77/32", "2001:db8:a0::77/128"])
    for family, address in ((4, "198.18.0.77/32"), (6, "2001:db8:a0::77/128")):
        wait_until(
            lambda f=family, a=address: a in edge(lab, f"show route table hosts{f}"),  # type: ignore[misc]
            timeout_s=9,
            reason="what is allowed of the same announcement has arrived",
        )
        found = networks(edge(lab, f"show route table hosts{family} protocol host_lhr_1_v{family}"))
        assert not set(found) & set(lies)
        assert len(found) == 5  # covering prefix, two anycast addresses, its own external address, and the other one's
        best = edge(lab, f"show route {taken[family == 6]} table hosts{family} primary")
        assert f"host_lhr_2_v{family}" in best and f"host_lhr_1_v{family}" not in best


def test_the_edge_router_is_no_way_from_one_upstream_to_another(lab: Lab, hosts: Hosts) -> None:
    """It knows how every upstream reaches a vantage; what one of them sends there comes to no other, in both families,
    unless the rules are taken out. What is for us goes to a host.
    """
    site = lab.plan.sites[0]
    vantage = lab.plan.vantages[0]
    for version, far, ours in ((4, vantage.address4, ANYCAST[0]), (6, vantage.address6, ANYCAST[1])):
        wait_until(partial(_knows, lab, str(far)), timeout_s=20, reason="it has a way")
        assert not _carried(lab, vantage.netns, version, str(far))
        places = [host.lab.plan.sites[0].hosts[host.number - 1].netns for host in hosts]
        assert any(_carried(lab, place, version, ours.partition("/")[0]) for place in places)
    remove = netns.command(site.netns, "nft", "delete", "table", "inet", edge_rules.TABLE)
    rules = process.run(netns.command(site.netns, "nft", "list", "table", "inet", edge_rules.TABLE))
    process.run(remove)
    try:
        assert _carried(lab, vantage.netns, 4, str(vantage.address4))
        assert _carried(lab, vantage.netns, 6, str(vantage.address6))
    finally:
        process.run(netns.command(site.netns, "nft", "-f", "-"), stdin=rules)


def _knows(lab: Lab, address: str) -> bool:
    return "via" in edge(lab, f"show route for {address}")


def _carried(lab: Lab, place: str, version: int, target: str) -> bool:
    """Whether what each upstream sends to the edge router for `target` is heard at `place` from any of them."""
    source = ip_address("203.0.113.9" if version == 4 else "2001:db8:ff::9")
    token = f"by way of us to {target}".encode()
    said = packet(source, ip_address(target), 4242, token)
    with netns.inside(place):
        ear = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))  # ETH_P_ALL
    with ear:
        ear.settimeout(0.3)
        for link in lab.plan.links:
            if link.role is not Role.UPSTREAM or link.a.netns != lab.plan.sites[0].netns:
                continue
            with netns.inside(link.b.netns):
                mouth = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
            with mouth:
                mouth.bind((link.b.interface, 0))
                macs = bytes.fromhex((link.a.mac + link.b.mac).replace(":", ""))
                mouth.send(macs + (b"\x08\x00" if version == 4 else b"\x86\xdd") + said)
        until = time.monotonic() + 0.5  # others talk here as well
        with suppress(TimeoutError):
            while time.monotonic() < until:
                if token in ear.recv(1 << 16):
                    return True
    return False


def test_nothing_leaks(lab: Lab, hosts: Hosts) -> None:
    """An upstream is told our prefixes and nothing that another one said; a host is told the default route and
    nothing else.
    """
    ours = {4: ["198.18.0.0/24", "198.18.16.0/24"], 6: ["2001:db8:a0::/48", "2001:db8:b0::/48"]}
    for family in (4, 6):
        for name in ("arelion", "level3"):
            assert networks(edge(lab, f"show route table master{family} export up_{name}_v{family}")) == ours[family]
        assert len(networks(edge(lab, f"show route table master{family} protocol up_arelion_v{family}"))) > 0
    assert [host.hears() for host in hosts] == [["0.0.0.0/0", "::/0"]] * 2
