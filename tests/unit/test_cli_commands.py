"""The commands against a small control: what they send, what they print, when they ask."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from anypop.cli import declaration
from anypop.cli.failure import Failure
from tests.cli_calls import Caller
from tests.fake_control import ANYCAST, FakeControl, bad_workload

CREATE = ["workload", "create", "web", "--image", "registry.test/web:1", "--port", "80", "--size", "SP-2"]
CREATE += ["--target", "na1=JFK,LAX", "--target", "eu1=AMS,LHR", "--replicas", "2", "--anycast"]


@pytest.fixture
def control() -> FakeControl:
    return FakeControl()


@pytest.fixture
def call(control: FakeControl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Caller:
    return Caller(tmp_path, control.transport, monkeypatch)


def test_create_sends_the_article_s_workload(call: Caller, control: FakeControl) -> None:
    """Two targets, replicas per city, SP-2 as 2 vCPU and 4 GiB, the anycast annotation, an open port."""
    assert call(*CREATE).code == 0
    sent = control.changes()[0][2]["workload"]
    container = sent["spec"]["containers"]["app"]
    assert container["resources"] == {"requests": {"cpu": "2", "memory": "4Gi"}}
    assert list(container["ports"].values()) == [{"port": 80, "protocol": "TCP", "enableImplicitNetworkPolicy": True}]
    assert sent["metadata"]["annotations"] == {ANYCAST: "true"}
    cities = {name: target["spec"]["deployments"] for name, target in sent["targets"].items()}
    assert {name: d["selectors"][0]["values"] for name, d in cities.items()} == {
        "na1": ["JFK", "LAX"],
        "eu1": ["AMS", "LHR"],
    }
    assert [d["minReplicas"] for d in cities.values()] == [2, 2]


def test_local_only_is_asked_for_beside_anycast(call: Caller, control: FakeControl) -> None:
    """Another annotation; without an anycast address there is nothing to be local, and that is told before anything is
    sent.
    """
    assert call(*CREATE, "--local-only").code == 0
    sent = control.changes()[0][2]["workload"]
    assert sent["metadata"]["annotations"] == {ANYCAST: "true", "anypop/local-only": "true"}
    refused = call(*CREATE[:-1], "--local-only")
    assert refused.code == 2
    assert "--local-only: is about an anycast address; add --anycast" in refused.err
    assert len(control.changes()) == 1


@pytest.mark.parametrize("outer", [True, False])
@pytest.mark.parametrize("write", [yaml.safe_dump, json.dumps], ids=["yaml", "json"])
def test_a_file_makes_the_same_request_as_the_options(
    call: Caller, control: FakeControl, tmp_path: Path, write: Callable[[Any], str], outer: bool
) -> None:
    """With or without the outer "workload", YAML or JSON, by name or on standard input."""
    call(*CREATE)
    sent = control.changes()[0][2]
    path = tmp_path / "workload.txt"
    path.write_text(write(sent if outer else sent["workload"]))
    for argv, stdin in ((["-f", str(path)], ""), (["-f", "-"], path.read_text())):
        control.workloads.clear()
        assert call("workload", "create", *argv, stdin=stdin).code == 0
        assert control.changes()[-1][2] == sent


def test_the_price_comes_before_the_workload_exists(call: Caller, control: FakeControl) -> None:
    """The quote is the first request, and its total is on standard error before anything was created."""
    ran = call(*CREATE)
    assert [(method, path.split("/")[-1]) for method, path, _ in control.requests][:2] == [
        ("POST", "quote"),
        ("POST", "workloads"),
    ]
    assert "627.80" in ran.err and "627.80" not in ran.out


def test_a_refused_workload_lists_every_problem_and_creates_nothing(call: Caller, control: FakeControl) -> None:
    """Control's field violations come one a line, with exit code 2, and no second request follows."""
    control.answers["POST", "/anypop/v1/quote"] = bad_workload()
    ran = call(*CREATE)
    assert ran.code == 2
    assert ran.err.count("\n  - ") == 2
    assert "targets.eu1.spec.deployments.selectors[0].values[1]: no city XXX" in ran.err
    assert control.changes() == []


def test_without_a_stream_the_list_of_instances_is_asked_again(call: Caller, control: FakeControl) -> None:
    """A control process that has no watch endpoint is waited for all the same."""
    control.streams = False
    ran = call(*CREATE)
    assert ran.code == 0
    assert "8 of 8 instances run" in ran.out


def test_an_instance_that_cannot_start_is_named_with_its_reason(call: Caller, control: FakeControl) -> None:
    """Exit code 6 after the timeout; the workload stays, the message says who is missing and why."""
    control.stuck["web-eu1-lhr-1"] = ("pull-failed", "registry.test: no such image")
    ran = call(*CREATE, "--timeout", "2")
    assert ran.code == 6
    assert "7 of 8 instances run" in ran.err
    assert "web-eu1-lhr-1: STARTING, its image cannot be pulled: registry.test: no such image" in ran.err
    assert "web" in control.workloads


JSON_CALLS = [
    ["quote", "--target", "eu1=AMS"],
    ["workload", "list"],
    ["workload", "show", "web"],
    ["workload", "wait", "web"],
    ["instances"],
    ["pops"],
    ["vantages"],
    ["events"],
    ["probe", "--all"],
    ["why", "london"],
    ["announce", "list"],
    ["announce", "scope", "web", "--upstream", "209", "--keep-in", "NA"],
    ["announce", "withhold", "web", "--pop", "JFK"],
    ["announce", "prepend", "web", "--count", "2"],
    ["announce", "reset", "web"],
    ["communities", "show", "209"],
    ["workload", "delete", "web"],
]


@pytest.mark.parametrize("argv", JSON_CALLS, ids=" ".join)
def test_json_output_is_one_document_and_nothing_else(call: Caller, argv: list[str]) -> None:
    """Standard output parses as a whole, whether the format is asked for before or after the command."""
    call(*CREATE)
    before = call("-o", "json", *argv)
    assert before.code == 0
    assert json.loads(before.out) is not None
    call(*CREATE)
    assert json.loads(call(*argv, "-o", "json").out) is not None


def test_json_of_create_holds_workload_quote_and_instances(call: Caller) -> None:
    """The documented members, with all instances running."""
    found = json.loads(call(*CREATE, "-o", "json").out)
    assert set(found) == {"workload", "quote", "instances"}
    assert [i["phase"] for i in found["instances"]] == ["RUNNING"] * 8


def test_a_probe_without_all_answers_fails_and_still_shows_its_table(call: Caller, control: FakeControl) -> None:
    """The table is the result, exit code 1 the verdict."""
    row = {
        "vantage": "london",
        "city": "LHR",
        "requests": 3,
        "answered": 1,
        "seconds": 2.0,
        "pop": "",
        "nearest": "LHR",
        "hits": {},
    }
    control.answers["POST", "/anypop/v1/probes"] = (200, {"results": [row | {"errors": ["timed out", "timed out"]}]})
    ran = call("probe", "london", "--address", "198.51.100.1")
    assert ran.code == 1
    assert "1/3" in ran.out and "timed out (2 times)" in ran.out


def test_a_change_sends_the_announcements_that_it_alters_and_no_others(call: Caller, control: FakeControl) -> None:
    """Rules of other announcements are not sent again, so two operators do not undo each other."""
    call(*CREATE)
    call("announce", "withhold", "web", "--pop", "AMS", "--note", "maintenance")
    call("announce", "scope", "web", "--pop", "JFK", "--upstream", "209", "--keep-in", "NA")
    kept = {
        "mode": "announce",
        "prepend": 0,
        "communities": ["209:7100"],
        "large_communities": [],
        "extended_communities": [],
    }
    assert control.changes()[-1][2] == {"rules": [{"pop": "JFK", "upstream": "as209", "scope": kept, "note": ""}]}
    call("announce", "reset", "web")
    plain = kept | {"communities": []}
    assert {rule["pop"]: rule["scope"] for rule in control.changes()[-1][2]["rules"]} == {"AMS": plain, "JFK": plain}


def test_a_scope_announces_again_what_was_withheld(call: Caller, control: FakeControl) -> None:
    """Limiting how far an announcement goes means that it goes."""
    call(*CREATE)
    call("announce", "withhold", "web", "--pop", "JFK")
    call("announce", "scope", "web", "--pop", "JFK", "--keep-in", "NA")
    assert control.rules["JFK", "209"]["mode"] == "announce"


def test_a_pattern_of_the_dictionary_is_filled_with_the_neighbour(call: Caller, control: FakeControl) -> None:
    """`65000:<asn>` for 1299 becomes 65000:1299; a number above 16 bits has none."""
    from anypop.cli import scopes  # noqa: PLC0415 - beside the only test of it
    from tests.fake_control import dictionary  # noqa: PLC0415

    assert (
        scopes.no_export_to(dictionary(3356), "AS1299", there="web").says
        == "65000:1299: Not sent to peer 1299 (unverified)"
    )
    with pytest.raises(Failure):
        scopes.no_export_to(dictionary(3356), "400000", there="web")


def test_secrets_come_from_the_environment_and_go_under_their_own_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """`--secret TOKEN` sends secretValue, `--env A=B=C` keeps everything after the first equals sign."""
    monkeypatch.setenv("TOKEN", "hush")
    made = declaration.of_options(
        declaration.Wanted(
            slug="w", image="i", targets=["t=AMS"], secrets=["TOKEN"], env=["A=B=C"], command=["sh -c 'a b'"]
        )
    )
    container = made["spec"]["containers"]["app"]
    assert container["env"] == {"A": {"value": "B=C"}, "TOKEN": {"secretValue": "hush"}}
    assert container["command"] == ["sh", "-c", "a b"]


def test_help_loads_neither_the_http_client_nor_the_table_renderer() -> None:
    """That is what keeps it quick: importing both takes three times as long as everything else."""
    heavy = "{'httpx', 'rich', 'yaml', 'numpy'}"
    code = f"import sys; from anypop.cli.main import run; run(['--help']); print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(("answer", "changed"), [("y\n", True), ("n\n", False), ("\n", False)])
def test_a_person_at_a_terminal_is_asked(call: Caller, control: FakeControl, answer: str, changed: bool) -> None:
    """Only a yes changes anything; a no is exit code 1 with nothing sent."""
    master, slave = pty.openpty()
    with os.fdopen(master, "r+b", buffering=0) as keyboard, os.fdopen(slave, "r+b", buffering=0) as terminal:
        keyboard.write(answer.encode())
        ran = call.at_terminal(terminal.fileno(), *CREATE, "--no-wait")
    assert "Create it? [y/N]" in ran.err
    assert bool(control.changes()) is changed
    assert ran.code == (0 if changed else 1)


def test_yes_answers_beforehand(call: Caller, control: FakeControl) -> None:
    """Nobody is asked, the workload is created."""
    master, slave = pty.openpty()
    with os.fdopen(master, "r+b", buffering=0), os.fdopen(slave, "r+b", buffering=0) as terminal:
        ran = call.at_terminal(terminal.fileno(), *CREATE, "--no-wait", "--yes")
    assert ran.code == 0
    assert "[y/N]" not in ran.err
    assert control.changes()
