"""One /24 and one /48 for workloads of different cities: hosts carry for each other, on the whole platform.

AMS is a PoP of two hosts behind an edge router, LHR and JFK have two upstreams each. What upstreams are told is counted
at their own routers.
"""

import json
import os
import re
import signal
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from anypop.host import ip, netns
from anypop.lab import build, platform
from anypop.lab.address import Role
from anypop.lab.leftovers import left_behind
from anypop.lab.vantage import Stream, probe
from tests.lab.carried import World
from tests.lab.story import Shell
from tests.wait import wait_until

pytestmark = pytest.mark.lab

TOPOLOGY = """
name: backbone
ases:
  - {asn: 1299, cities: [LHR, JFK, AMS], internal: [AMS-LHR, LHR-JFK]}
  - {asn: 3356, cities: [LHR, JFK], internal: [LHR-JFK]}
  - {asn: 64497, cities: [LHR]}
  - {asn: 64498, cities: [JFK]}
  - {asn: 64499, cities: [AMS]}
links:
  - {a: 64497, b: 3356, relationship: customer-provider, at: [LHR]}
  - {a: 64498, b: 3356, relationship: customer-provider, at: [JFK]}
  - {a: 64499, b: 1299, relationship: customer-provider, at: [AMS]}
  - {a: 1299, b: 3356, relationship: peer, at: [LHR, JFK]}
vantages:
  - {name: london, city: LHR, asn: 64497}
  - {name: new-york, city: JFK, asn: 64498}
  - {name: amsterdam, city: AMS, asn: 64499}
anypop:
  asn: 33438
  anycast4: [198.18.0.0/24]
  anycast6: ["2001:db8:a0::/48"]
  backbone: {}
  pops:
    - city: LHR
      external4: 198.18.16.0/24
      external6: "2001:db8:b0::/48"
      upstreams: [{name: arelion, asn: 1299}, {name: level3, asn: 3356}]
    - city: JFK
      external4: 198.18.17.0/24
      external6: "2001:db8:b1::/48"
      upstreams: [{name: arelion, asn: 1299}, {name: level3, asn: 3356}]
    - city: AMS
      hosts: 2
      external4: 198.18.18.0/24
      external6: "2001:db8:b2::/48"
      upstreams: [{name: arelion, asn: 1299}]
"""
HOME = {"london": "LHR", "new-york": "JFK", "amsterdam": "AMS"}
# by workload: its cities, and how many instances in each
WORKLOADS = {"here": (["LHR"], 1), "there": (["JFK"], 1), "pair": (["AMS"], 2), "both": (["LHR", "JFK"], 1)}
SERVED_IN = {
    "here": {"london": "LHR", "new-york": "LHR", "amsterdam": "LHR"},
    "there": {"london": "JFK", "new-york": "JFK", "amsterdam": "JFK"},
    "pair": {"london": "AMS", "new-york": "AMS", "amsterdam": "AMS"},
    "both": {"london": "LHR", "new-york": "JFK", "amsterdam": "LHR"},
}


@pytest.fixture(scope="module")
def world(short_folder: Path) -> Iterator[World]:
    state, prefix = short_folder / "bb", f"k{os.getpid() % 46656:x}"
    topology = short_folder / "backbone.yaml"
    topology.write_text(TOPOLOGY)
    try:
        place = platform.up(
            topology, state=state, prefix=prefix, api_port=0, registry_port=0, progress=lambda _: None, supervised=False
        )
        yield _world(Shell(place=place))
    finally:
        platform.down(state, progress=lambda _: None, purge=True)
        assert left_behind(state, prefix) == []


def _world(shell: Shell) -> World:
    addresses = {}
    for slug, (cities, replicas) in WORKLOADS.items():
        words = ("workload", "create", slug, "--image", shell.place.image, "--port", "80", "--replicas", str(replicas))
        made = shell.json(*words, "--target", f"t={','.join(cities)}", "--anycast", "--yes", "--no-wait")
        subnets = re.findall(r"198\.18\.0\.\d+|2001:db8:a0:[0-9a-f:]+", json.dumps(made))
        four, six = (next(a for a in subnets if (":" in a) is wants) for wants in (False, True))
        addresses[slug] = four, six
    world = World(shell=shell, lab=build.attach(shell.place.state / "lab"), addresses=addresses)
    for slug, expected in SERVED_IN.items():
        for v in (4, 6):
            reached = partial(_served_as, world, slug, v, expected)
            try:
                wait_until(reached, timeout_s=30, reason=f"{slug} is served over IPv{v} as {expected}")
            except AssertionError as error:
                raise AssertionError(f"{error}; it is {world.served(slug, v)}") from error
    return world


def _served_as(world: World, slug: str, version: int, expected: dict[str, str]) -> bool:
    return world.served(slug, version) == expected


def test_one_prefix_serves_workloads_of_any_cities_from_everywhere(world: World) -> None:
    """Who stands in one city is reached from all, who stands in two is served by the nearer one; packets come in at the
    vantage's own PoP each time, and `probe` says by whom they were carried on. Both hosts behind an edge router get
    their part.
    """
    assert {a.rpartition(".")[0] for a, _ in world.addresses.values()} == {"198.18.0"}
    for slug, expected in SERVED_IN.items():
        rows = {r["vantage"]: r for r in world.shell.json("probe", "--all", "--workload", slug, "--requests", "6")}
        assert {name: row["pop"] for name, row in rows.items()} == HOME
        for name, row in rows.items():
            if slug == "both":  # what came before all stood may have left a few of a group's buckets in use elsewhere
                assert row["served"][expected[name]] > 3, row
            else:
                assert row["served"] == {expected[name]: 6}
            assert row["carried"] == sum(count for city, count in row["served"].items() if city != HOME[name])
    for name in HOME:
        answers = probe(world.lab.vantage(name), world.addresses["pair"][0], requests=24)
        assert set(Counter(a.body.strip() for a in answers)) == {"pair-t-ams-0", "pair-t-ams-1"}, name


def test_who_dies_in_a_pop_is_carried_on_and_its_neighbours_notice_nothing(world: World) -> None:
    """The one of LHR hangs: its users in London are served in New York, three neighbours in the same prefix answer
    every request, and not one update or withdrawal leaves the platform.
    """
    london, before = world.lab.vantage("london"), world.updates()
    pid = int(str(world.container("both-t-lhr-0")["Pid"]))
    streams = [Stream(london, world.addresses[slug][0], interval_s=0.05) for slug in ("here", "there", "pair")]
    for stream in streams:
        stream.__enter__()
    try:
        os.kill(pid, signal.SIGSTOP)
        try:
            for v in (4, 6):
                wait_until(
                    lambda v=v: world.served("both", v) == dict.fromkeys(HOME, "JFK"),  # type: ignore[misc]
                    timeout_s=20,
                    reason=f"all are served in New York over IPv{v}",
                )
        finally:
            os.kill(pid, signal.SIGCONT)
    finally:
        told = [stream.stop() for stream in streams]
    assert all(len(answers) > 20 for answers in told)
    assert [a for answers in told for a in answers if not a.ok] == []
    assert world.updates() == before


def test_siblings_in_other_pops_reach_each_other_by_private_and_external_addresses(world: World) -> None:
    """From an instance in LHR to one in JFK and to both hosts of AMS, and back; to a private address by a tunnel
    alone.
    """
    fields = ("ipAddress", "ipv6Address", "externalIpAddress", "externalIpv6Address")
    addresses = {
        i["name"]: [str(i[f]) for f in fields] for slug in ("here", "there", "pair") for i in _instances(world, slug)
    }
    for source, target in (
        ("here-t-lhr-0", "there-t-jfk-0"),
        ("here-t-lhr-0", "pair-t-ams-0"),
        ("here-t-lhr-0", "pair-t-ams-1"),
        ("there-t-jfk-0", "here-t-lhr-0"),
    ):
        with netns.inside(world.space(source)), httpx.Client(timeout=5) as http:
            for address in addresses[target]:
                page = http.get(f"http://[{address}]/" if ":" in address else f"http://{address}/")
                assert page.text.strip() == target


def _instances(world: World, slug: str) -> list[dict[str, Any]]:
    return list(world.shell.json("instances", slug))


def test_with_its_first_upstream_cut_a_pop_carries_over_the_other(world: World) -> None:
    """LHR's cable to the upstream by which its default route goes is out at the far end: London is still served in AMS
    and in New York, and so are those who come to LHR.
    """
    (link,) = [
        x
        for x in world.lab.plan.links
        if x.role is Role.UPSTREAM and x.a.interface == "up-arelion" and "lhr" in x.a.netns
    ]
    ip.batch([f"link set {link.b.interface} down"], netns=link.b.netns)
    try:
        for slug in ("pair", "there", "here"):
            wait_until(
                lambda s=slug: world.served(s)["london"] == SERVED_IN[s]["london"],  # type: ignore[misc]
                timeout_s=15,
                reason=f"London is served by {slug}",
            )
        (row,) = world.shell.json("probe", "london", "--workload", "pair", "--requests", "4")
        assert (row["pop"], row["served"]) == ("LHR", {"AMS": 4})
    finally:
        again = [
            f"link set {link.b.interface} up",
            *(f"addr replace {a} dev {link.b.interface}" for a in link.b.addresses),
        ]
        ip.batch(again, netns=link.b.netns)
    wait_until(
        lambda: all(world.served(s) == SERVED_IN[s] for s in ("here", "there", "pair")),
        timeout_s=20,
        reason="all is as it was",
    )
