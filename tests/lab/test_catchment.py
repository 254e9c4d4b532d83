"""The model on the running article platform: it foresees what happens, explains as the routers do, and its repair
brings London home.
"""

import asyncio
import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from anypop.advice import history
from anypop.cli.client import Client
from anypop.cli.settings import load
from anypop.host import netns, process
from anypop.lab import build, platform
from anypop.routing.catchment.observations import read_csv
from tests.drain_lab import made_in
from tests.lab.story import HOME, VANTAGES, Shell
from tests.wait import wait_until

pytestmark = pytest.mark.lab

SLUG = "foreseen"


@pytest.fixture(scope="module")
def shell(place: platform.Platform) -> Iterator[Shell]:
    """A workload of the article's shape, running; gone at the end."""
    found = Shell(place=place)
    found.create(SLUG)
    found.until_lands(VANTAGES)
    yield found
    assert found.try_("workload", "delete", SLUG, "--yes", "--timeout", "60").code == 0


@pytest.fixture
def plain(shell: Shell) -> Iterator[None]:
    """Nothing is scoped, before and after."""
    yield
    shell.json("announce", "reset", SLUG, "--yes", "--no-predict")
    shell.until_lands(VANTAGES)


def of_vantages(shell: Shell, *words: str) -> dict[str, str]:
    """Where the model says that each vantage's network lands."""
    rows = shell.json("catchment", "predict", "--biggest", "1000", *words)["biggest"]
    hosts = build.attach(shell.place.state / "lab").plan.vantages
    return {
        host.name: next(row["pop"] for row in rows if (row["asn"], row["city"]) == (host.asn, host.city))
        for host in hosts
    }


def test_the_model_predicts_where_every_vantage_lands(shell: Shell) -> None:
    """Now, and with London's repair, before it is made."""
    assert of_vantages(shell) == VANTAGES
    assert of_vantages(shell, "--what-if", "scope:JFK,LAX:209:209:7100") == HOME


@pytest.mark.parametrize(("path", "words"), [("predictions", ("catchment", "predict")), ("proposals", ("doctor",))])
def test_control_says_the_same_over_its_api(shell: Shell, path: str, words: tuple[str, ...]) -> None:
    """Worked out by its own workers, on the lab's own topology, which the platform told it of."""
    client = Client(load(shell.place.state, {}))
    try:
        found = client.call("POST", f"/anypop/v1/{path}", what=path, body={"workload": SLUG})
    finally:
        client.close()
    assert found["graph"] == "the lab's own topology"
    assert found == shell.json(*words, "--workload", SLUG)


def test_pings_from_the_anycast_address_measure_where_every_vantage_lands(shell: Shell, tmp_path: Path) -> None:
    """New York sends, each PoP hears those that land there; without a rate in the network document nobody sends, and
    the measured pin what is predicted.
    """
    hosts = build.attach(shell.place.state / "lab").plan.vantages
    (tmp_path / "hits").write_text("".join(f"{host.address4}\n" for host in hosts) + "198.18.0.77\n")
    (tmp_path / "prefixes").write_text("".join(f"{host.address4}/32,{host.asn}\n" for host in hosts))
    told = shell.json("workload", "show", SLUG)["workload"]["metadata"]["annotations"]
    source = str(told["anycast.platform.stackpath.net/subnets"]).split(",")[0].split("/")[0]
    asked = ["catchment", "observe", "--ping", str(tmp_path / "hits"), "--from", "JFK", "--address", source]
    asked += ["--prefixes", str(tmp_path / "prefixes"), "--out", str(tmp_path / "seen.csv")]
    refused = shell.try_(*asked)
    assert refused.code != 0 and "pings_per_s" in refused.err
    client = Client(load(shell.place.state, {}))
    network = client.get("/anypop/v1/network", what="look")
    try:
        client.call("PUT", "/anypop/v1/network", what="allow pings", body={"network": network | {"pings_per_s": 20}})
        said = shell.try_(*asked)
    finally:
        client.call("PUT", "/anypop/v1/network", what="as before", body={"network": network})
        client.close()
    assert said.code == 0 and f"{len(hosts)} of {len(hosts) + 1} addresses answered" in said.err, said.err
    seen = read_csv((tmp_path / "seen.csv").read_text(), "seen")
    assert {row.asn: row.pop for row in seen} == {host.asn: VANTAGES[host.name] for host in hosts}


async def connections(address: str, there: str, number: int) -> None:
    """So many from a namespace, each asked and answered; one that fails is none."""

    async def one() -> None:
        with suppress(OSError, TimeoutError), made_in(there, socket.AF_INET) as sock:
            loop = asyncio.get_running_loop()
            async with asyncio.timeout(20):
                await loop.sock_connect(sock, (address, 80))
                await loop.sock_sendall(sock, b"GET / HTTP/1.0\r\n\r\n")
                while await loop.sock_recv(sock, 4096):
                    pass

    await asyncio.gather(*(one() for _ in range(number)))


def test_the_pops_own_traffic_tells_where_every_vantage_lands(shell: Shell, tmp_path: Path) -> None:
    """One connection of a hundred is enough, by and by, for all of them and nobody else; before and after, no kernel
    has a rule for it.
    """
    lab, wanted = build.attach(shell.place.state / "lab"), {"sampled_flows": 100, "sampled_look_s": 1.0}
    hosts, client = lab.plan.vantages, Client(load(shell.place.state, {}))
    (tmp_path / "prefixes").write_text("".join(f"{host.prefix4},{host.asn}\n" for host in hosts))
    told = shell.json("workload", "show", SLUG)["workload"]["metadata"]["annotations"]
    address = str(told["anycast.platform.stackpath.net/subnets"]).split(",")[0].split("/")[0]
    routers = [host.netns for site in lab.plan.sites for host in site.hosts]
    asked = ["catchment", "observe", "--from-traffic", "--prefixes", str(tmp_path / "prefixes")]

    def tables() -> list[str]:
        every = (process.run(netns.command(router, "nft", "list", "tables")) for router in routers)
        return [text for text in every if "_sources" in text]

    def seen() -> dict[int, set[str]]:
        for host in hosts:
            asyncio.run(connections(address, host.netns, 40))
        said = shell.try_(*asked, "--history", str(tmp_path / "history"))
        assert said.code == 0, said.err
        found: dict[int, set[str]] = {}
        for kept in history.read(tmp_path / "history") if (tmp_path / "history").exists() else ():
            for row in kept.seen:
                found.setdefault(row.asn, set()).add(row.pop)
        return found

    assert tables() == []
    network = client.get("/anypop/v1/network", what="look")
    try:
        client.call("PUT", "/anypop/v1/network", what="look at traffic", body={"network": network | wanted})
        wait_until(lambda: len(tables()) == len(routers), timeout_s=60, reason="every host looks at its traffic")
        landed = {host.asn: {VANTAGES[host.name]} for host in hosts}
        wait_until(lambda: seen() == landed, timeout_s=180, reason="each network was seen where it lands")
    finally:
        client.call("PUT", "/anypop/v1/network", what="as before", body={"network": network})
        client.close()
    wait_until(lambda: tables() == [], timeout_s=60, reason="no host looks at its traffic")


@pytest.mark.parametrize("router", ["as3356-lhr", "as64497-lhr", "as209-sea", "as1299-ams"])
def test_the_model_explains_as_the_running_routers_do(shell: Shell, router: str) -> None:
    """The same chain of candidates, steps and decisions; routers have names there, and networks here."""

    def essence(why: dict[str, Any]) -> Any:
        hops = [
            [
                (o["candidate"]["as_path"], o["candidate"]["local_pref"], o["lands"]["pop"], o["eliminated_by"])
                for o in hop["options"]
            ]
            for hop in why["hops"]
        ]
        facts = [why[key] for key in ("landed", "nearest", "decided_at_as", "decided_in", "decided_by", "rtt_ms")]
        caused = (why["caused_by"]["pop"], why["caused_by"]["upstream_asn"], why["caused_by"]["upstream"])
        return [sorted(hop, key=str) for hop in hops], facts, caused, why["sentences"][0].replace(router, "IT")

    asn, city = re.fullmatch(r"as(\d+)-(...)", router).groups()  # type: ignore[union-attr]
    running = shell.json("why", f"AS{asn}", "--city", city)
    modelled = shell.json("why", f"AS{asn}", "--city", city, "--model")
    assert running["start"] == router and modelled["told_by"] == "model"
    modelled["sentences"][0] = modelled["sentences"][0].replace(modelled["start"], router)
    assert essence(running) == essence(modelled)


def test_a_change_is_foreseen_and_then_happens(shell: Shell, plain: None) -> None:
    """Withholding LHR sends to AMS exactly those who landed in LHR."""
    said = shell.json("announce", "withhold", SLUG, "--pop", "LHR", "--yes")["predicted"]
    assert said["sentence"].startswith("this withdraws LHR from 1 of 1 upstream; ")
    assert {move["from"] for move in said["moves"]} == {"LHR"}
    shell.until_lands(of_vantages(shell))


def test_the_doctor_brings_london_home(shell: Shell, plain: None) -> None:
    """It names the cause, its first repair scopes JFK and LAX at 209, goes out wave by wave, and everybody else
    stays.
    """
    (cause,) = shell.json("doctor")["causes"]
    assert cause["sentence"].startswith(
        "networks behind 3356 in Europe land in JFK, since 3356 prefers the customer route by 209"
    )
    best = cause["repairs"][0]
    assert best["kind"] == "scope" and {change["pop"] for change in best["changes"]} == {"JFK", "LAX"}
    said = shell.try_("doctor", "--apply", "1.1", "--yes", "-o", "json")
    assert said.code == 0, said.err
    done = json.loads(said.out)
    assert done["applied"] and [wave["pop"] for wave in done["waves"]] == ["LAX", "JFK"]
    assert shell.lands(requests=4) == HOME
    assert shell.json("doctor")["causes"] == []


@contextmanager
def repairing(shell: Shell, *more: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """The doctor as a process that applies its first repair, and the rollout of it, whose first wave has begun."""
    command = [sys.executable, "-m", "anypop.cli.main", "--state", str(shell.place.state)]
    command += ["doctor", "--apply", "1.1", "--yes", *more]
    before = len(shell.json("rollout", "list", SLUG)["results"])
    asking = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def begun() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = shell.json("rollout", "list", SLUG)["results"][before:]
        return found

    try:
        wait_until(begun, timeout_s=60, reason="the command has asked for the repair")
        assert asking.poll() is None, "the command ended by itself"
        (rollout,) = begun()
        yield asking, rollout
    finally:
        asking.kill()
        asking.communicate()


def test_a_repair_goes_on_when_its_command_is_killed(shell: Shell, plain: None) -> None:
    """SIGKILL right after its first wave began: control brings both waves to their end, and London home."""
    with repairing(shell) as (_, rollout):
        pass
    assert (rollout["phase"], rollout["wave"]) == ("running", 1)
    ended = shell.json("rollout", "wait", SLUG, rollout["id"], "--timeout", "60")["rollout"]
    assert ended["phase"] == "done" and ended["waves"] == [["LAX"], ["JFK"]]
    assert [result["differs"] for result in ended["results"]] == [[], []]
    assert shell.lands(requests=4) == HOME


def test_a_repair_whose_outcome_differs_is_taken_back(shell: Shell, plain: None) -> None:
    """London cannot come home to a PoP that is cut off once all is foreseen: a wave fails, and what was done is taken
    back.
    """
    lab = build.attach(shell.place.state / "lab")
    shell.until_lands(VANTAGES)
    with repairing(shell, "--patience", "6", "-o", "json") as (asking, _):
        lab.cut("LHR")
        try:
            out, _ = asking.communicate(timeout=120)
        finally:
            lab.restore("LHR")
    assert asking.returncode == 1, out
    done = json.loads(out)
    assert (done["applied"], done["rolled_back"], done["restored"]) == (False, True, True)
    assert shell.json("rollout", "show", SLUG, done["rollout"])["rollout"]["phase"] == "reverted"
    assert any(
        line.startswith("london lands in ") and line.endswith("predicted LHR") for line in done["waves"][-1]["differs"]
    )
    assert all(row["scope"]["communities"] == [] for row in shell.json("announce", "list", SLUG))
    shell.until_lands(VANTAGES)
