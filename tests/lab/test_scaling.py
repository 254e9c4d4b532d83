"""A container that really burns processor time gets a sibling in its PoP and nowhere else, which serves; when the load
ends the one with fewer connections goes again, without a lost request. The times of looks are shortened by the
operator's own settings.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from anypop.cli.client import Client
from anypop.cli.settings import load
from anypop.lab import build, platform
from anypop.lab.vantage import Stream, probe
from tests.lab.story import Shell
from tests.wait import wait_until

pytestmark = pytest.mark.lab

SLUG = "busy"
BURNS = "while [ ! -e /stop ]; do :; done"
# thirty connections that stay open, both ends in there
HOLDS = (
    "b=/bin/busybox; $b nc -ll -p 9999 -e $b sleep 300 & $b sleep 1; "
    "for n in $($b seq 30); do $b sleep 300 | $b nc 127.0.0.1 9999 & done; wait"
)
THRESHOLD_MILLIS = 150  # of a core: far above what a few requests cost, and far below what a loop gets


@dataclass(frozen=True, slots=True)
class Busy:
    """`may_fall`: from then on there may be fewer soon after a load ends; before, a busy machine takes nobody away."""

    shell: Shell
    made: dict[str, Any]
    may_fall: Callable[[], None]

    def now(self) -> dict[str, dict[str, Any]]:
        return {row["pop"]: row for row in self.shell.json("workload", "show", SLUG)["scaling"]}

    def running(self) -> list[str]:
        rows = self.shell.json("workload", "show", SLUG)["instances"]
        return sorted(row["name"] for row in rows if row["phase"] == "RUNNING")

    def sockets(self, name: str) -> int:
        """TCP sockets in use in an instance."""
        said = subprocess.check_output([*self._exec(), name, "/bin/busybox", "cat", "/proc/net/sockstat"], text=True)
        return int(next(line for line in said.splitlines() if line.startswith("TCP:")).split()[2])

    def _exec(self) -> list[str]:
        return [sys.executable, "-m", "anypop.cli.main", "--state", str(self.shell.place.state), "exec"]

    def run(self, *words: str) -> "subprocess.Popen[bytes]":
        return subprocess.Popen([*self._exec(), *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def busy(place: platform.Platform) -> Iterator[Busy]:
    shell = Shell(place=place)
    client = Client(load(place.state, os.environ))
    network = client.get("/anypop/v1/network", what="look")

    def looks(down_after_s: float) -> None:
        quick = {"scale_look_s": 0.5, "scale_down_after_s": down_after_s}
        client.call("PUT", "/anypop/v1/network", what="look more often", body={"network": network | quick})

    looks(3600)
    try:
        words = ("--image", place.image, "--port", "80", "--target", "eu=AMS,LHR", "--anycast", "--timeout", "90")
        follows = ("--min", "1", "--max", "2", "--cpu", f"{THRESHOLD_MILLIS}m")
        made = shell.json("workload", "create", SLUG, *words, *follows, "--yes")
        yield Busy(shell, made, lambda: looks(2.0))
    finally:
        shell.try_("workload", "delete", SLUG, "--yes", "--timeout", "60")
        client.call("PUT", "/anypop/v1/network", what="as before", body={"network": network})
        client.close()


def test_load_brings_a_sibling_which_serves_and_goes_when_it_ends(busy: Busy, place: platform.Platform) -> None:
    assert busy.made["quote"]["most_monthly"] > busy.made["quote"]["monthly"]
    address = next(iter(address_of(busy.made))).split("/")[0]
    vantage = build.attach(place.state / "lab").vantage("amsterdam")
    wait_until(
        lambda: all("mean_millis" in row for row in busy.now().values()),
        timeout_s=40,
        reason="both agents tell what their instances use",
    )
    assert {row["replicas"] for row in busy.now().values()} == {1}
    with (
        busy.run(f"{SLUG}-eu-ams-0", "sh", "-c", BURNS) as burner,
        Stream(vantage, address, interval_s=0.1) as stream,
        ended(burner),
        ExitStack() as clean_up,
    ):
        wait_until(
            lambda: f"{SLUG}-eu-ams-1" in busy.running(), timeout_s=60, reason="a sibling beside the busy one runs"
        )
        assert busy.running() == [f"{SLUG}-eu-ams-0", f"{SLUG}-eu-ams-1", f"{SLUG}-eu-lhr-0"]
        assert busy.now()["LHR"]["replicas"] == 1
        wait_until(
            lambda: any(f"{SLUG}-eu-ams-1" in answer.body for answer in probe(vantage, address, requests=12)),
            timeout_s=40,
            reason="the sibling answers clients",
        )
        held = clean_up.enter_context(busy.run(f"{SLUG}-eu-ams-1", "sh", "-c", HOLDS))
        clean_up.enter_context(ended(held))
        wait_until(lambda: busy.sockets(f"{SLUG}-eu-ams-1") >= 25, timeout_s=60, reason="its connections are open")
        with busy.run(f"{SLUG}-eu-ams-0", "sh", "-c", ": > /stop") as stops:
            assert stops.wait(30) == 0
        assert burner.wait(30) == 0
        busy.may_fall()
        wait_until(
            lambda: (
                busy.now()["AMS"]["replicas"] == 1
                and not any(
                    i["name"] == f"{SLUG}-eu-ams-0" for i in busy.shell.json("workload", "show", SLUG)["instances"]
                )
            ),
            timeout_s=90,
            reason="the load is gone, and so is who has fewer connections",
        )
        assert f"{SLUG}-eu-ams-1" in busy.running()
        answers = stream.stop()
    lost = [answer for answer in answers if not answer.ok]
    assert len(answers) > 20
    assert lost == []
    kinds = [e["fields"] for e in busy.shell.json("events", "--limit", "500") if e["kind"] == "scaled"]
    mine = [(f["pop"], f["was"], f["replicas"], f["reason"]) for f in kinds if f["workload"] == SLUG]
    assert mine == [("AMS", 1, 2, "load-rose"), ("AMS", 2, 1, "load-fell")]


@contextmanager
def ended(program: "subprocess.Popen[bytes]") -> Iterator[None]:
    """However the test ends."""
    try:
        yield
    finally:
        program.kill()


def address_of(made: dict[str, Any]) -> list[str]:
    annotations = made["workload"]["metadata"]["annotations"]
    return str(annotations["anycast.platform.stackpath.net/subnets"]).split(",")
