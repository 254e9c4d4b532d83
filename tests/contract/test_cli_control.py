"""The command line against the real control process: the same program, HTTPS, a store on disk.

The agents are played by a thread that obeys every order at once and reports all of it as running. What the small
control of the other tests answers must have the shapes that are seen here.
"""

import json
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Any

import httpx
import pytest

from anypop.host import process
from anypop.lab.preflight import free_port
from anypop.model import codec
from anypop.model.announce import Mode
from anypop.model.names import CityCode, HostName
from anypop.model.network import Host, Network, Pop, Upstream
from anypop.model.order import Order
from anypop.model.order_since import VERSION
from anypop.model.reasons import Reason
from anypop.model.report import ContainerReport, InstanceReport, Phase, PrefixReport, Report, SessionReport
from tests.cli_calls import Caller, Ran
from tests.fake_control import FakeControl
from tests.wait import wait_until

CITIES = {"AMS": 1299, "LHR": 1299, "JFK": 209, "LAX": 209}
CREATE = ["workload", "create", "web", "--image", "registry.test/web:1", "--port", "80", "--size", "SP-2"]
CREATE += ["--target", "na1=JFK,LAX", "--target", "eu1=AMS,LHR", "--replicas", "2", "--anycast"]


def network() -> Network:
    hosts = [
        Host(
            name=HostName(city),
            router_id=IPv4Address(f"10.255.0.{n}"),
            private4=IPv4Network(f"10.{n}.0.0/20"),
            private6=IPv6Network(f"fd00:{n}::/64"),
            external4=IPv4Network(f"203.0.{n}.0/24"),
            external6=IPv6Network(f"2001:db8:{n}::/48"),
            upstreams=(
                Upstream(
                    name=f"transit-{asn}",
                    asn=asn,
                    interface="up0",
                    neighbor4=IPv4Address(f"192.0.2.{2 * n}"),
                    local4=IPv4Address(f"192.0.2.{2 * n + 1}"),
                    neighbor6=IPv6Address(f"2001:db8:ffff::{2 * n:x}"),
                    local6=IPv6Address(f"2001:db8:ffff::{2 * n + 1:x}"),
                ),
            ),
        )
        for n, (city, asn) in enumerate(CITIES.items(), 1)
    ]
    pops = tuple(Pop(city=CityCode(host.name), hosts=(host,)) for host in hosts)
    return Network(
        asn=33438, anycast4=(IPv4Network("198.51.100.0/24"),), anycast6=(IPv6Network("2001:db8:100::/48"),), pops=pops
    )


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The state folder of a running control process."""
    folder = tmp_path_factory.mktemp("platform")
    (folder / "network.yaml").write_text(json.dumps(codec.to_data(network())))
    argv = [
        sys.executable,
        "-m",
        "anypop.api",
        "--state",
        str(folder / "control"),
        "--listen",
        f"127.0.0.1:{free_port()}",
    ]
    argv += ["--network", str(folder / "network.yaml"), "--client-file", str(folder / "client.json")]
    pid_file = folder / "control.pid"
    process.spawn(argv, pid_file=pid_file, log=folder / "control.log")
    try:
        wait_until(
            lambda: (folder / "client.json").exists() and answers(folder), timeout_s=60, reason="control answers"
        )
        yield folder
    finally:
        process.end(pid_file)


def https(folder: Path) -> httpx.Client:
    told = json.loads((folder / "client.json").read_text())
    return httpx.Client(base_url=told["url"], verify=ssl.create_default_context(cafile=told["ca"]), trust_env=False)


def answers(folder: Path) -> bool:
    with https(folder) as http:
        try:
            return http.get("/anypop/v1/healthz").status_code == 200
        except httpx.TransportError:
            return False


def obeyed(order: Order, now: float) -> Report:
    """The report of a PoP in which everything went as ordered."""
    instances = tuple(
        InstanceReport(
            name=i.name,
            uid=i.uid,
            phase=Phase.RUNNING,
            healthy=True,
            reason=Reason.PROBE_PASSED,
            started_at=now,
            containers=(
                ContainerReport(name="app", phase=Phase.RUNNING, reason=Reason.RUNNING, ready=True, started_at=now),
            ),
        )
        for i in order.instances
    )
    out = {
        p: tuple(a.upstream for a in order.announcements if a.prefix == p and a.scope.mode is Mode.ANNOUNCE)
        for p in prefixes(order)
    }
    return Report(
        pop=order.pop,
        host=order.host,
        at=now,
        generation=order.generation,
        understands=VERSION,
        instances=instances,
        sessions=tuple(
            SessionReport(upstream=u.name, family=f, state="established") for u in order.upstreams for f in (4, 6)
        ),
        prefixes=tuple(
            PrefixReport(
                prefix=p, announced=bool(ups), upstreams=ups, reason=Reason.ANNOUNCED if ups else Reason.WITHHELD
            )
            for p, ups in out.items()
        ),
        gone=tuple(r.uid for r in order.removed),
    )


def prefixes(order: Order) -> list[Any]:
    return list(dict.fromkeys(a.prefix for a in order.announcements))


@contextmanager
def agents(folder: Path) -> Iterator[None]:
    """One thread for each PoP that obeys until the end of the block."""
    over = threading.Event()

    def play(city: str) -> None:
        token = (folder / "control" / "agents" / f"{city}.token").read_text().strip()
        headers = {"Authorization": f"Bearer {token}"}
        generation = 0
        with https(folder) as http:
            while not over.is_set():
                found = http.get(
                    f"/anypop/v1/agents/{city}/order", params={"after": generation, "wait": 1}, headers=headers
                )
                if found.status_code == 200:
                    order = codec.from_json(Order, found.content)
                    generation = order.generation
                    report = codec.to_json(obeyed(order, 1_700_000_000.0))
                    http.post(f"/anypop/v1/agents/{city}/report", content=report, headers=headers).raise_for_status()

    threads = [threading.Thread(target=play, args=(city,)) for city in CITIES]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


@pytest.fixture
def call(state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    """The command line, with the real control behind it and no transport in between."""
    caller = Caller(tmp_path, None, monkeypatch)
    return lambda *argv: caller("--state", str(state), *argv)


def test_the_story_runs_against_the_real_control(call: Callable[..., Ran], state: Path) -> None:
    """Price, creation, instances, announcements scoped and reset, deletion: each command ends with 0 and shows what
    it should.
    """
    with agents(state):
        quoted = call("quote", *CREATE[CREATE.index("--size") :])
        assert quoted.out.rstrip().endswith("627.80"), quoted.err
        made = call(*CREATE, "--timeout", "20")
        assert made.code == 0, made.err
        assert "8 of 8 instances run, anycast address 198.51.100." in made.out
        assert "web-na1-lax-0  RUNNING" in made.err
        assert call(*CREATE).code == 1  # the slug exists
        assert "web" in [w["slug"] for w in json.loads(call("workload", "list", "-o", "json").out)]
        assert len(json.loads(call("instances", "web", "-o", "json").out)) == 8
        assert "known" in call("pops").out

        scoped = call(
            "announce", "scope", "web", "--pop", "JFK,LAX", "--upstream", "209", "--keep-in", "NA", "-o", "json"
        )
        changes = json.loads(scoped.out)["changes"]
        assert [(c["pop"], c["after"]["communities"]) for c in changes] == [
            ("JFK", ["209:7100"]),
            ("LAX", ["209:7100"]),
        ]
        assert call("announce", "withhold", "web", "--pop", "LAX").code == 0
        rows = json.loads(call("announce", "list", "web", "-o", "json").out)
        held = {row["pop"]: row["scope"] for row in rows}
        assert (held["JFK"]["communities"], held["LAX"]["mode"], held["AMS"]["mode"]) == (
            ["209:7100"],
            "withhold",
            "announce",
        )
        waves = call("announce", "reset", "web", "--waves", "--bake", "0.2", "-o", "json")
        assert waves.code == 0, waves.err
        told = json.loads(waves.out)
        assert (told["applied"], [wave["pop"] for wave in told["waves"]]) == (True, ["JFK", "LAX"])
        assert "wave 2 of 2: LAX" in waves.err and "no vantage to see it from" in waves.err
        assert "done" in call("rollout", "show", "web", told["rollout"]).out
        assert call("announce", "withhold", "web", "--pop", "JFK").code == 0
        assert call("announce", "reset", "web").code == 0
        rows = json.loads(call("announce", "list", "web", "-o", "json").out)
        assert {(row["scope"]["mode"], tuple(row["scope"]["communities"])) for row in rows} == {("announce", ())}

        assert call("workload", "delete", "web", "--timeout", "20").code == 0
        assert call("workload", "show", "web").code == 5
        logged = call("audit", "--subject", "web")
        assert logged.code == 0 and [row.split()[5] for row in logged.out.splitlines()[1:]] == [
            "create_workload",
            "delete_workload",
        ], logged.out
        entries = json.loads(call("audit", "-o", "json", "--limit", "1000").out)
        started = [e for e in entries if e["operation"] == "start"]
        assert started and all(e["actor"] == "control" for e in started)
        assert "network" in [e["subject"] for e in started]
        assert call("audit", "--request", entries[-1]["request_id"]).code == 0
        assert call("audit-prune", "--before", "yesterday").code == 2
        assert call("audit-prune", "--before", "2001-01-01", "--yes").out.startswith("0 entries")


def test_a_wrong_workload_is_refused_with_every_problem(call: Callable[..., Ran]) -> None:
    """An unknown city, a port out of range, no image: three lines with their paths, exit code 2, nothing created."""
    ran = call("workload", "create", "bad", "--port", "70000", "--target", "eu1=AMS,XXX", "--replicas", "-1")
    assert ran.code == 2
    for part in ("image", "70000", "XXX", "minReplicas"):
        assert part in ran.err, ran.err
    assert call("workload", "show", "bad").code == 5


def test_a_policy_is_applied_listed_shown_and_deleted(call: Callable[..., Ran], tmp_path: Path) -> None:
    """From a file; applied again it stays as it was; `get` and `delete` know it as well."""
    file = tmp_path / "policy.yaml"
    file.write_text(
        "name: front door\nspec:\n  priority: 1000\n  ingress:\n  - action: ALLOW\n"
        "    protocols: {tcp: {destinationPorts: [443]}}\n"
    )
    for done in ("created", "as it was"):
        applied = call("policy", "apply", "-f", str(file), "--yes")
        assert applied.code == 0 and f"network policy front-door is {done}" in applied.out, applied.err
    assert "allow in: tcp 443 from everybody" in call("policy", "show", "front-door").out
    assert "every instance" in call("policy", "list").out and "front-door" in call("get", "policies").out
    assert call("policy", "delete", "front-door", "--yes").code == 0
    assert call("policy", "show", "front-door").code == 5


def test_without_a_lab_a_probe_says_so(call: Callable[..., Ran]) -> None:
    """It is no mistake of the user's: exit code 1, and what to do."""
    ran = call("probe", "--all", "--address", "198.51.100.1")
    assert (ran.code, "--lab" in ran.err) == (1, True)


def test_unknown_names_are_exit_code_5(call: Callable[..., Ran]) -> None:
    """A workload and a stack that do not exist."""
    assert call("workload", "show", "nothing").code == 5
    assert call("workload", "list", "--stack", "nothing").code == 5


def test_the_small_control_of_the_other_tests_has_the_real_shapes(
    call: Callable[..., Ran], state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever member the small control's answers have, the real ones have too."""
    control = FakeControl()
    control.waves.lands = dict  # the real one here has no vantages
    small = Caller(tmp_path, control.transport, monkeypatch)
    quote = ["quote", *CREATE[CREATE.index("--size") :]]
    create = [{"web": "shape"}.get(word, word) for word in CREATE]
    with agents(state):
        for argv in (
            quote,
            create,
            ["workload", "list"],
            ["announce", "list"],
            ["announce", "withhold", "shape", "--pop", "JFK", "--waves", "--bake", "0.2"],
            ["rollout", "list", "shape"],
            ["host", "list"],
            ["quota", "show"],
            ["pops"],
            ["communities", "show", "209"],
            ["events"],
        ):
            pretended, real = (json.loads(caller(*argv, "-o", "json").out) for caller in (small, call))
            assert missing(pretended, real) == [], argv
        assert call("workload", "delete", "shape").code == 0


def missing(pretended: Any, real: Any, path: str = "") -> list[str]:
    """Paths of members that `pretended` has and `real` has not. Of lists the first items are compared."""
    match pretended, real:
        case dict(), dict():
            return [
                line
                for key, value in pretended.items()
                for line in ([f"{path}.{key}"] if key not in real else missing(value, real[key], f"{path}.{key}"))
            ]
        case [first, *_], [other, *_]:
            return missing(first, other, f"{path}[0]")
        case _:
            return (
                []
                if isinstance(real, type(pretended)) or {type(real), type(pretended)} <= {int, float}
                else [f"{path}: {real!r}"]
            )
