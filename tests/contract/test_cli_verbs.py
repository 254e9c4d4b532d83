"""get, describe, apply, diff, edit, delete, wait, watch and events -f against a real control process, whose agents obey
at once.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli_calls import Caller, Ran
from tests.contract.test_cli_control import agents, state

__all__ = ["state"]
ANYCAST = "anycast.platform.stackpath.net"
Call = Callable[..., Ran]


def workload(slug: str, *, image: str = "registry.test/web:1", replicas: int = 1, anycast: bool = False) -> Any:
    deployments = {
        "minReplicas": replicas,
        "selectors": [{"key": "cityCode", "operator": "in", "values": ["AMS", "LHR"]}],
    }
    return {
        "name": slug,
        "slug": slug,
        **({"metadata": {"annotations": {ANYCAST: "true"}}} if anycast else {}),
        "spec": {
            "networkInterfaces": [{"network": "default"}],
            "containers": {"app": {"image": image, "env": {"TOKEN": {"secretValue": "hush"}}}},
        },
        "targets": {"eu": {"spec": {"deploymentScope": "cityCode", "deployments": deployments}}},
    }


@pytest.fixture
def call(state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    caller = Caller(tmp_path, None, monkeypatch)
    return lambda *argv, **more: caller("--state", str(state), *argv, **more)


@pytest.fixture(scope="module")
def obeying(state: Path) -> Iterator[None]:
    with agents(state):
        yield


@pytest.fixture
def there(call: Call, obeying: None, tmp_path: Path) -> Iterator[Path]:
    """A folder with two workloads that are applied; whatever there is goes at the end."""
    folder = tmp_path / "workloads"
    folder.mkdir()
    (folder / "both.yaml").write_text(yaml.safe_dump_all([workload("web", anycast=True), workload("api")]))
    ran = call("apply", "-f", str(folder), "--timeout", "30")
    assert ran.code == 0, ran.err
    assert "web created" in ran.out
    yield folder
    names = call("get", "workloads", "-o", "name").out.split()
    assert call("delete", *names, "--yes").code == 0


def names(ran: Ran) -> list[str]:
    assert ran.code == 0, ran.err
    return sorted(ran.out.split())


def test_files_are_applied_twice_and_the_second_time_nothing_changes(call: Call, there: Path) -> None:
    """Of both documents of the file; the difference is none, and the exit code of diff says so."""
    assert call("diff", "-f", str(there)).code == 0
    again = json.loads(call("apply", "-f", str(there), "-o", "json").out)
    assert [one["action"] for one in again["applied"]] == ["unchanged", "unchanged"]
    assert names(call("get", "wl", "-o", "name")) == ["workload/api", "workload/web"]


def test_a_difference_is_shown_and_nothing_is_sent_where_any_file_is_wrong(call: Call, there: Path) -> None:
    (there / "both.yaml").write_text(yaml.safe_dump_all([workload("web", replicas=2, anycast=True), workload("api")]))
    ran = call("diff", "-f", str(there))
    assert ran.code == 1 and "minReplicas" in ran.out and "api: is so already" in ran.out
    assert "creates 2 instances: web-eu-ams-1, web-eu-lhr-1" in ran.out and "touches no process that stays" in ran.out
    assert "price: " in ran.out
    wrong = there / "wrong.json"
    wrong.write_text(json.dumps(workload("new", image="") | {"colour": "red"}))
    refused = call("apply", "-f", str(there))
    assert refused.code == 2
    assert f"{wrong}: colour" in refused.err and f"{wrong}: spec.containers.app.image" in refused.err
    assert call("get", "instances", "-w", "web", "-o", "name").out.count("instance/") == 2
    wrong.unlink()
    assert call("apply", "-f", str(there), "--timeout", "30").code == 0
    assert call("get", "instances", "-w", "web", "-o", "name").out.count("instance/") == 4


def test_prune_takes_what_is_in_no_file_but_only_for_who_says_so(call: Call, there: Path) -> None:
    """Where nobody can be asked it has to be said: a script that lost its files empties no stack."""
    (there / "both.yaml").write_text(yaml.safe_dump(workload("api")))
    assert call("diff", "-f", str(there)).code == 0
    shown = call("diff", "-f", str(there), "--prune")
    assert shown.code == 1 and "web: goes, with its 2 instances and its anycast address 198.51.100." in shown.out
    refused = call("apply", "-f", str(there), "--prune")
    assert refused.code == 1 and "nobody is here to ask" in refused.err
    assert names(call("get", "workloads", "-o", "name")) == ["workload/api", "workload/web"]
    spec = {"allocationClass": "stackpath-edge/unicast", "ipFamily": "IPv4", "reclaimPolicy": {"action": "RETAIN"}}
    (there / "kept.yaml").write_text(yaml.safe_dump({"allocation": {"slug": "with-the-rest", "spec": spec}}))
    told = json.loads(call("apply", "-f", str(there), "--prune", "--yes", "-o", "json").out)
    assert told["pruned"] == ["web"] and told["kept"] == [{"allocation": "with-the-rest", "action": "created"}]
    assert names(call("get", "workloads", "-o", "name")) == ["workload/api"]
    acts = [row["operation"] for row in json.loads(call("audit", "--limit", "3", "-o", "json").out)]
    assert acts.count("apply_workloads") >= 1 and not {"delete_workload", "create_allocation"} & {*acts}, acts
    assert call("delete", "allocation", "with-the-rest", "--yes").code == 0
    (there / "kept.yaml").unlink()
    (there / "both.yaml").write_text("")
    assert call("apply", "-f", str(there), "--prune", "--yes").code == 2


def test_what_get_prints_as_yaml_is_what_apply_takes(call: Call, there: Path) -> None:
    """And a secret that cannot be read stays what it was."""
    printed = call("get", "workloads", "-o", "yaml").out
    assert len(list(yaml.safe_load_all(printed))) == 2 and "hush" not in printed
    again = call("apply", "-f", "-", "-o", "json", stdin=printed)
    assert again.code == 0, again.err
    assert [one["action"] for one in json.loads(again.out)["applied"]] == ["unchanged", "unchanged"]


def test_a_name_and_what_was_read_of_another_make_a_workload_of_their_own(call: Call, there: Path) -> None:
    """A name becomes a slug as control makes it; the id of the one that was copied is not taken along."""
    named = {key: value for key, value in workload("Mine, too!").items() if key != "slug"}
    (there / "both.yaml").write_text(yaml.safe_dump(named))
    assert "mine-too created" in call("apply", "-f", str(there), "--timeout", "30").out
    assert "mine-too unchanged" in call("apply", "-f", str(there)).out
    copied = yaml.safe_load(call("get", "workload", "api", "-o", "yaml").out)
    copied["spec"]["containers"]["app"].pop("env")
    ran = call("apply", "-f", "-", "--timeout", "30", stdin=yaml.safe_dump(copied | {"slug": "copy", "name": "copy"}))
    assert "copy created" in ran.out, ran.err
    assert {"workload/api", "workload/copy", "workload/mine-too"} < set(names(call("get", "workloads", "-o", "name")))


def test_addresses_are_applied_described_and_asked_for(call: Call, there: Path) -> None:
    """An allocation and a claim from a file, twice; who has an address; and gone again with their file."""
    spec = {"allocationClass": "stackpath-edge/unicast", "ipFamily": "IPv4", "prefixLength": 32}
    spec["selectors"] = [{"key": "cityCode", "operator": "in", "values": ["LHR"]}]
    claim = {"ipFamily": "IPv4", "allocation": {"name": "default/kept"}}
    documents = [
        {"allocationClaim": {"slug": "mine", "spec": claim}}, {"allocation": {"name": "kept", "spec": spec}}
    ]  # fmt: skip
    (there / "addresses.yaml").write_text(yaml.safe_dump_all(documents))
    assert call("diff", "-f", str(there)).code == 1
    first = call("apply", "-f", str(there))
    assert "allocation kept created" in first.out and "claim mine created" in first.out, first.err
    assert call("diff", "-f", str(there)).code == 0
    printed = call("get", "allocation", "kept", "-o", "yaml").out
    again = call("apply", "-f", "-", stdin=printed)
    assert "allocation kept unchanged" in again.out, again.err
    (row,) = json.loads(call("get", "allocations", "-o", "json").out)
    address = row["status"]["prefix"].partition("/")[0]
    why = call("why", address)
    assert "is kept, and no instance has it; it is allocation kept, held by claim mine" in why.out, why.err
    instance = json.loads(call("get", "instance", "web-eu-lhr-0", "-o", "json").out)
    assert "is the external address of instance web-eu-lhr-0" in call("why", instance["externalIpAddress"]).out
    assert call("get", "claims").code == 0 and call("describe", "claim", "mine").code == 0
    assert "held by claim mine" in call("delete", "allocation", "kept", "--yes").err
    (there / "both.yaml").write_text(yaml.safe_dump(workload("nobody")))
    gone = call("delete", "-f", str(there), "--yes")
    assert "claim/mine is gone" in gone.out and "allocation/kept is gone" in gone.out, gone.err


def test_every_kind_can_be_listed_and_described(call: Call, there: Path) -> None:
    for kind in (row["kind"] for row in json.loads(call("get", "-o", "json").out)):
        for output in ("wide", "json", "yaml", "name") if kind == "instances" else ("table",):
            ran = call("get", kind, "-o", output)
            assert ran.code == 0, (kind, output, ran.err)
    for words in ("workload web", "instance/web-eu-ams-0", "pop LHR"):
        ran = call("describe", *words.split())
        assert ran.code == 0, ran.err
        assert words.replace("/", " ").split()[-1] in ran.out
    whole = call("describe", "workload", "web").out
    assert "web-eu-lhr-0" in whole and "198.51.100.0/24" in whole and "workload-created" in whole
    missing = call("get", "workload", "web", "wbe")
    assert missing.code == 5 and "no workload wbe" in missing.err
    near = call("get", "worklods")
    assert near.code == 2 and "did you mean 'workloads'?" in near.err


def test_waiting_has_goals(call: Call, there: Path) -> None:
    assert call("wait", "web").code == 0
    assert call("wait", "workload/web", "--for", "healthy=2", "--timeout", "10").code == 0
    late = call("wait", "web", "--for", "healthy=3", "--timeout", "0.3")
    assert late.code == 6 and "2 healthy instances" in late.err
    told = call("wait", "web", "--for", "announced", "--timeout", "20", "-o", "json")
    assert told.code == 0, told.err
    assert {row["pop"] for row in json.loads(told.out)["announcements"]} == {"AMS", "LHR"}
    assert call("wait", "api", "--for", "announced").code == 2
    assert call("wait", "web", "--for", "rolled-out").code == 0
    assert call("wait", "web", "--for", "christmas").code == 2
    assert call("wait", "nobody", "--for", "gone").code == 0


def test_an_edited_workload_is_changed_and_one_that_is_not_taken_is_kept(
    call: Call, there: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VISUAL", "true")
    assert "nothing was edited" in call("edit", "workload", "api").out
    monkeypatch.setenv("VISUAL", "sed -i 's/minReplicas: 1/minReplicas: 2/'")
    ran = call("edit", "workload/api", "--timeout", "30")
    assert ran.code == 0, ran.err
    assert call("get", "instances", "-w", "api", "-o", "name").out.count("instance/") == 4
    monkeypatch.setenv("VISUAL", "sed -i s/LHR/XXX/")
    refused = call("edit", "workload/api")
    assert refused.code == 2 and "XXX" in refused.err
    kept = Path(refused.err.split("anypop apply -f ")[1].split()[0])
    assert "XXX" in kept.read_text()
    kept.unlink()


def test_events_and_changes_come_as_they_happen(call: Call, there: Path, state: Path) -> None:
    """A program that follows is told of a change that is made after it began to listen."""
    argv = [sys.executable, "-m", "anypop.cli.main", "--state", str(state)]
    events = [*argv, "events", "-f", "--limit", "1", "-o", "json"]
    watch = [*argv, "watch", "api", "-o", "json"]
    with (
        subprocess.Popen(events, stdout=subprocess.PIPE, text=True) as listening,
        subprocess.Popen(watch, stdout=subprocess.PIPE, text=True) as watching,
    ):
        try:
            assert listening.stdout is not None and watching.stdout is not None
            json.loads(listening.stdout.readline())  # it has begun
            first = [json.loads(watching.stdout.readline())["now"]["name"] for _ in range(2)]
            assert first == ["api-eu-ams-0", "api-eu-lhr-0"]
            assert call("workload", "scale", "api", "2", "--yes").code == 0
            for line in listening.stdout:
                event = json.loads(line)
                if event["kind"] == "workload-changed" and event["subject"] == "api":
                    break
            for line in watching.stdout:
                if json.loads(line)["now"]["name"] == "api-eu-lhr-1":
                    break
        finally:
            listening.kill()
            watching.kill()


def test_delete_takes_files_and_says_what_is_not_there(call: Call, there: Path) -> None:
    (there / "both.yaml").write_text(yaml.safe_dump_all([workload("api"), workload("never")]))
    ran = call("delete", "-f", str(there), "--yes", "-o", "json")
    assert ran.code == 0 and json.loads(ran.out) == {"deleted": ["workload/api"]}
    assert "never is not there" in ran.err
    assert call("delete", "instance", "web-eu-ams-0", "--yes").code == 2
    assert call("delete", "workload", "api").code == 5


def test_what_has_no_place_together_is_told_before_anything_starts(call: Call, there: Path) -> None:
    """One more that fits and one that does not: neither is there afterwards, whoever says yes."""
    (there / "more.yaml").write_text(yaml.safe_dump_all([workload("fits"), workload("crowd", replicas=400)]))
    shown = call("diff", "-f", str(there))
    assert shown.code == 1 and "no place: crowd-eu-" in shown.out
    assert "together: instances: 802 created; price: " in shown.out, shown.out
    refused = call("apply", "-f", str(there), "--yes")
    assert refused.code == 1 and "not all of it finds a place" in refused.err and "crowd-eu-" in refused.err
    assert names(call("get", "wl", "-o", "name")) == ["workload/api", "workload/web"]


def test_networks_their_subnets_and_routes(call: Call) -> None:
    """Made, listed, shown and deleted; what is refused is told with its field."""
    assert call("network", "create", "blue", "--subnet", "10.64.0.0/12", "--subnet", "fd00:b::/64").code == 0
    assert call("network", "create", "red", "--subnet", "11.0.0.0/9", "--family", "IPv4").code == 0
    assert call("network", "create", "x", "--subnet", "10.0.0.0/8", "--subnet", "11.0.0.0/8").code == 2
    assert "12.0.0.0/9" in call("subnet", "create", "db", "12.0.0.0/9", "--network", "red").out
    ran = call("gateway", "create", "out", "-n", "blue", "--to", "red", "--to", "192.0.2.0/24", "--gateway", "a=b")
    assert ran.code == 0 and "a In b" in ran.out and "nobody is in the network" in ran.out
    refused = call("gateway", "create", "all", "-n", "blue", "--to", "0.0.0.0/0", "--gateway", "a=b")
    assert refused.code != 0 and "route.destinationPrefixes[0]" in refused.err
    shown = json.loads(call("network", "show", "blue", "-o", "json").out)
    assert shown["rootSubnet"] == "10.64.0.0/12" and [r["slug"] for r in shown["routes"]] == ["out"]
    (listed,) = json.loads(call("gateway", "list", "--network", "blue", "-o", "json").out)
    assert listed == json.loads(call("gateway", "show", "out", "--network", "blue", "-o", "json").out)
    assert json.loads(call("subnet", "show", "db", "-n", "red", "-o", "json").out)["prefix"] == "12.0.0.0/9"
    assert [s["slug"] for s in json.loads(call("subnet", "list", "-n", "red", "-o", "json").out)] == ["db"]
    assert {"blue", "red"} <= {n["slug"] for n in json.loads(call("network", "list", "-o", "json").out)}
    for words in (("gateway", "delete", "out", "-n", "blue"), ("subnet", "delete", "db", "-n", "red")):
        assert "is gone" in call(*words, "--yes").out
    for name in ("blue", "red"):
        assert "is gone" in call("network", "delete", name, "--yes").out
