"""The backbone on the internet of the article: one /24 and one /48 for workloads of any city, from every vantage."""

import os
import re
import signal
from collections.abc import Iterator

import pytest

from anypop.lab import build, platform
from anypop.lab.vantage import Stream
from tests.lab.carried import World
from tests.lab.story import VANTAGES, Shell
from tests.wait import wait_until

pytestmark = pytest.mark.lab

WORKLOADS = {"east": ["JFK"], "west": ["LAX"], "north": ["LHR"], "twin": ["AMS", "LAX"]}
# by the PoP in which a packet comes in: who answers. New York's nearest of Amsterdam and Los Angeles is Los Angeles
SERVED_IN = {
    "east": dict.fromkeys(("AMS", "JFK", "LAX"), "JFK"),
    "west": dict.fromkeys(("AMS", "JFK", "LAX"), "LAX"),
    "north": dict.fromkeys(("AMS", "JFK", "LAX"), "LHR"),
    "twin": {"AMS": "AMS", "JFK": "LAX", "LAX": "LAX"},
}


def served_in(slug: str) -> dict[str, str]:
    return {name: SERVED_IN[slug][pop] for name, pop in VANTAGES.items()}


@pytest.fixture(scope="module")
def world(place: platform.Platform) -> Iterator[World]:
    """All of them running; gone at the end."""
    shell = Shell(place=place)
    try:
        for slug, cities in WORKLOADS.items():
            words = ("workload", "create", slug, "--image", place.image, "--port", "80", "--replicas", "1")
            shell.json(*words, "--target", f"t={','.join(cities)}", "--anycast", "--yes", "--no-wait")
        for slug in WORKLOADS:
            assert shell.try_("workload", "wait", slug, "--timeout", "60").code == 0
        found = {slug: _addresses(shell, slug) for slug in WORKLOADS}
        made = World(shell=shell, lab=build.attach(place.state / "lab"), addresses=found)
        for slug in WORKLOADS:
            for version in (4, 6):
                wait_until(
                    lambda s=slug, v=version: made.served(s, v) == served_in(s),  # type: ignore[misc]
                    timeout_s=30,
                    reason=f"{slug} is served over IPv{version} as {served_in(slug)}",
                )
        yield made
    finally:
        for slug in WORKLOADS:
            shell.try_("workload", "delete", slug, "--yes", "--no-wait")
        wait_until(
            lambda: not {w["slug"] for w in shell.json("workload", "list")} & WORKLOADS.keys(),
            timeout_s=60,
            reason="all of them are gone",
        )


def _addresses(shell: Shell, slug: str) -> tuple[str, str]:
    annotations = shell.json("workload", "show", slug)["workload"]["metadata"]["annotations"]
    four, six = (
        subnet.partition("/")[0] for subnet in annotations["anycast.platform.stackpath.net/subnets"].split(",")
    )
    return four, six


def test_one_24_and_one_48_serve_three_cities_from_every_vantage(world: World) -> None:
    """Packets come in where they always do; each answer is from the one city that has the workload, or from the nearer
    of two, and never once from another: nothing lingers where no flow was. `probe`, `why` and the prediction tell both
    halves.
    """
    assert len({four.rpartition(".")[0] for four, _ in world.addresses.values()}) == 1
    assert len({six.partition("::")[0] for _, six in world.addresses.values()}) == 1
    for slug in WORKLOADS:
        rows = {r["vantage"]: r for r in world.shell.json("probe", "--all", "--workload", slug, "--requests", "10")}
        assert {name: row["pop"] for name, row in rows.items()} == VANTAGES
        assert {name: row["served"] for name, row in rows.items()} == {n: {c: 10} for n, c in served_in(slug).items()}
        away = {name: 0 if city == VANTAGES[name] else 10 for name, city in served_in(slug).items()}
        assert {name: row["carried"] for name, row in rows.items()} == away
    why = world.shell.json("why", "london", "--workload", "west")
    assert why["landed"] == "JFK"
    assert "In JFK: its host sends 100 % by tunnel to LAX." in why["sentences"]
    predicted = world.shell.try_("catchment", "predict", "--workload", "west")
    assert "what comes in at JFK is answered in LAX" in predicted.err
    (row,) = re.findall(r"^london .*$", world.shell.try_("probe", "--all", "--workload", "north").out, re.MULTILINE)
    assert re.search(r"\bJFK\b.*\bLHR \d+", row), row


def test_one_of_two_in_a_24_dies_in_a_pop_and_nobody_but_its_users_goes_elsewhere(world: World) -> None:
    """The one in Los Angeles hangs: its users are carried to Amsterdam, the neighbours in the prefix, one of them on
    the same host, answer every request, and no upstream hears a word.
    """
    before, pid = world.updates(), int(str(world.container("twin-t-lax-0")["Pid"]))
    asked = (("seattle", "west"), ("new-york", "east"), ("london", "north"))
    streams = [Stream(world.lab.vantage(name), world.addresses[slug][0], interval_s=0.05) for name, slug in asked]
    for stream in streams:
        stream.__enter__()
    try:
        os.kill(pid, signal.SIGSTOP)
        try:
            for version in (4, 6):
                wait_until(
                    lambda v=version: world.served("twin", v) == dict.fromkeys(VANTAGES, "AMS"),  # type: ignore[misc]
                    timeout_s=20,
                    reason=f"all are served in Amsterdam over IPv{version}",
                )
        finally:
            os.kill(pid, signal.SIGCONT)
    finally:
        told = [stream.stop() for stream in streams]
    assert all(len(answers) > 20 for answers in told)
    assert [a for answers in told for a in answers if not a.ok] == []
    assert world.updates() == before
