"""Options of a container on the command line: each becomes the field that it stands for, the API takes all of them, and
what cannot be understood is told at once.
"""

from base64 import b64encode
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from anypop.cli import container_options, declaration, workloads
from anypop.cli.container_options import ContainerOptions
from anypop.cli.failure import Failure
from anypop.model.names import CityCode, StackId, WorkloadId
from anypop.plan.parse import parse
from tests.cli_calls import Caller
from tests.fake_control import FakeControl

BASE = declaration.Wanted(slug="db", image="registry.example/db:9", targets=["eu=AMS"], ports=["80"], env=["B=two"])

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ3Yw me@example"


def everything(folder: Path) -> ContainerOptions:
    (folder / "env").write_text("# what it needs\nA=1\nB=one\n")
    return ContainerOptions(
        args=["--verbose '--name=a b'"],
        env_file=[str(folder / "env")],
        workdir="/srv",
        user="999:998",
        group_add=["7"],
        non_root=True,
        read_only=True,
        cap_add=["cap_net_bind_service"],
        cap_drop=["ALL"],
        no_new_privileges=True,
        sysctl=["net.core.somaxconn=1024"],
        requests="cpu=500m",
        limits="cpu=2, memory=4Gi",
        volume=["data:/var/lib/db:20Gi:standard", "log:/var/log/db", "data:/backup"],
        readiness="http:80/ok",
        liveness="tcp:80",
        startup="exec:db-ready --wait",
        probe_interval=5,
        probe_timeout=2,
        probe_retries=4,
        probe_delay=0,
        post_start="warm up",
        pre_stop="say bye",
        stop_timeout=60,
        pull="always",
        registry_user="ci@registry.example",
        network="inner",
        family="IPv6",
        private=True,
        add_host=["old.example:192.0.2.1"],
        dns=["192.0.2.53"],
        dns_search=["example"],
        dns_option=["ndots:2"],
        label=["team=edge"],
        annotation=["note=by hand"],
    )


def test_every_option_is_a_field_that_the_api_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole document, and its parsing by the same code as control's."""
    monkeypatch.setenv(container_options.PASSWORD, "hush")
    options = everything(tmp_path)
    of_machines = {"--vm-image", "--user-data", "--ssh-key"}
    every = {f"--{f.name.replace('_', '-')}" for f in fields(ContainerOptions)}
    assert {*container_options.given(options)} == every - of_machines, "this test knows all of them"
    made = workloads.wanted(None, BASE, options)
    times = {"initialDelaySeconds": 0, "timeoutSeconds": 2, "periodSeconds": 5, "failureThreshold": 4}
    assert made["spec"]["containers"]["app"] == {
        "image": "registry.example/db:9",
        "args": ["--verbose", "--name=a b"],
        "env": {"A": {"value": "1"}, "B": {"value": "two"}},
        "workingDir": "/srv",
        "securityContext": {
            "runAsUser": "999", "runAsGroup": "998", "runAsNonRoot": True, "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False, "capabilities": {"add": ["NET_BIND_SERVICE"], "drop": ["ALL"]},
        },
        "resources": {"requests": {"cpu": "500m", "memory": "2Gi"}, "limits": {"cpu": "2", "memory": "4Gi"}},
        "volumeMounts": [
            {"slug": "data", "mountPath": "/var/lib/db"},
            {"slug": "log", "mountPath": "/var/log/db"},
            {"slug": "data", "mountPath": "/backup"},
        ],
        "readinessProbe": {"httpGet": {"path": "/ok", "port": 80}} | times,
        "livenessProbe": {"tcpSocket": {"port": 80}} | times,
        "startupProbe": {"exec": {"command": ["db-ready", "--wait"]}} | times,
        "lifecycle": {
            "postStart": {"exec": {"command": ["warm", "up"]}}, "preStop": {"exec": {"command": ["say", "bye"]}},
        },
        "imagePullPolicy": "ALWAYS",
        "ports": {"tcp-80": {"port": 80, "protocol": "TCP", "enableImplicitNetworkPolicy": True}},
    }  # fmt: skip
    spec = made["spec"]
    assert spec["networkInterfaces"] == [{"network": "inner", "enableOneToOneNat": False, "ipFamilies": ["IPv6"]}]
    assert spec["runtime"]["containers"] == {
        "terminationGracePeriodSeconds": "60",
        "securityContext": {
            "supplementalGroups": ["7"], "sysctls": [{"name": "net.core.somaxconn", "value": "1024"}],
        },
        "hostAliases": [{"ip": "192.0.2.1", "hostnames": ["old.example"]}],
        "dnsConfig": {
            "nameservers": ["192.0.2.53"], "searches": ["example"], "options": [{"name": "ndots", "value": "2"}],
        },
    }  # fmt: skip
    sizes = [(c["slug"], c["spec"]["resources"]["requests"]["storage"]) for c in spec["volumeClaimTemplates"]]
    assert sizes == [("data", "20Gi"), ("log", "1Gi")]
    assert spec["volumeClaimTemplates"][0]["spec"]["storageClass"] == "standard"
    login = {"server": "registry.example", "username": "ci", "password": "hush"}
    assert spec["imagePullCredentials"] == [{"dockerRegistry": login}]
    assert made["metadata"] == {"labels": {"team": "edge"}, "annotations": {"note": "by hand"}}
    assert parsed(made).unacted == ()


def test_a_virtual_machine_is_declared_by_its_image_and_what_its_guest_is_told(tmp_path: Path) -> None:
    """What it has in common with a container is said by the same options."""
    (tmp_path / "user-data").write_text("#cloud-config\n")
    (tmp_path / "key.pub").write_text(f"{KEY}\n\n")
    options = ContainerOptions(
        vm_image="s/debian:12", user_data=str(tmp_path / "user-data"), ssh_key=[str(tmp_path / "key.pub")],
        volume=["data:/srv:20Gi"], readiness="http:80/ok", stop_timeout=20, dns=["192.0.2.53"],
    )  # fmt: skip
    made = workloads.wanted(None, replace(BASE, image="", env=[]), options)
    spec = made["spec"]
    assert "containers" not in spec and spec["virtualMachines"]["app"] == {
        "image": "s/debian:12",
        "userData": b64encode(b"#cloud-config\n").decode(),
        "sshKeys": [KEY],
        "resources": {"requests": {"cpu": "1", "memory": "2Gi"}},
        "volumeMounts": [{"slug": "data", "mountPath": "/srv"}],
        "readinessProbe": {"httpGet": {"path": "/ok", "port": 80}},
        "ports": {"tcp-80": {"port": 80, "protocol": "TCP", "enableImplicitNetworkPolicy": True}},
    }
    assert spec["runtime"]["virtualMachines"]["terminationGracePeriodSeconds"] == "20"
    assert parsed(made).workload.is_machine and parsed(made).unacted == ()


@pytest.mark.parametrize(
    ("wanted", "options", "says"),
    [
        (BASE, ContainerOptions(vm_image="s/debian"), "--image and --vm-image exclude each other"),
        (replace(BASE, image=""), ContainerOptions(vm_image="s/debian"), "--env, --secret, --command"),
        (BASE, ContainerOptions(user_data="x"), "--user-data: is about a virtual machine; add --vm-image"),
        (
            replace(BASE, image="", env=[]),
            ContainerOptions(vm_image="s/debian", user_data="/none"),
            "--user-data /none: cannot be read",
        ),
    ],
)
def test_what_a_virtual_machine_cannot_have_is_told_in_the_words_of_the_command_line(
    wanted: declaration.Wanted, options: ContainerOptions, says: str
) -> None:
    """Before anything is asked of control."""
    with pytest.raises(Failure) as caught:
        workloads.wanted(None, wanted, options)
    assert any(says in problem for problem in caught.value.problems)


def parsed(body: dict[str, Any]) -> Any:
    return parse(
        body, workload_id=WorkloadId("w"), stack_id=StackId("s"), stack_slug="s", cities=[CityCode("AMS")]
    )  # fmt: skip


def test_a_quote_knows_the_options_that_have_a_price(
    control: FakeControl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = Caller(tmp_path, control.transport, monkeypatch)
    argv = ("quote", "--target", "eu=AMS", "--requests", "cpu=500m", "--volume", "data:/db:20Gi")
    assert call(*argv).code == 0
    (asked,) = [body["workload"]["spec"] for _, path, body in control.requests if path.endswith("/quote")]
    assert asked["containers"]["app"]["resources"]["requests"] == {"cpu": "500m", "memory": "2Gi"}
    assert asked["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"] == "20Gi"
    assert call("quote", "-f", "w.yaml", "--volume", "data:/db").code == 2


@pytest.fixture
def control() -> FakeControl:
    return FakeControl()


def test_without_options_the_document_is_as_before() -> None:
    plain = workloads.wanted(None, BASE)
    assert plain["spec"].keys() == {"containers", "networkInterfaces"} and "metadata" not in plain
    assert plain["spec"]["containers"]["app"].keys() == {"image", "resources", "env", "ports"}


def test_what_cannot_be_understood_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Together with what is wrong with the older options."""
    monkeypatch.delenv(container_options.PASSWORD, raising=False)
    wrong = ContainerOptions(
        args=["'"], env_file=["/nowhere/env"], user="root", group_add=["wheel"], sysctl=["a"], requests="cpu",
        volume=["data", "data:var", ":/x", "a:/b:1Gi:c:d", "b:/b", "b:/c:2Gi"], readiness="http:/x", liveness="ping:1",
        startup="exec:", pre_stop="'", pull="never", registry_user="ci", label=["a=1", "a=2"],
    )  # fmt: skip
    with pytest.raises(Failure) as refused:
        workloads.wanted(None, declaration.Wanted(slug="db", ports=["x"]), wrong)
    told = "\n".join(refused.value.problems)
    for part in (
        "--args:", "--env-file: /nowhere/env cannot be read", "--user:", "--group-add:", "--sysctl a:",
        "--requests cpu:", "--volume data:", "--volume data:var:", "--volume :/x:", "--volume a:/b:1Gi:c:d:",
        "the size of b", "--readiness http:/x:", "--liveness ping:1:", "--startup exec::", "--pre-stop:", "--pull:",
        "--registry-user ci:", container_options.PASSWORD, "--label a: given twice", "--port x", "--target: say where",
    ):  # fmt: skip
        assert part in told, (part, told)
    with pytest.raises(Failure) as refused:
        workloads.wanted(None, BASE, ContainerOptions(probe_retries=2))
    assert "no probe is given here" in refused.value.problems[0]


def test_a_file_and_options_exclude_each_other(tmp_path: Path) -> None:
    (tmp_path / "w.yaml").write_text("name: w\n")
    with pytest.raises(Failure) as refused:
        workloads.wanted(tmp_path / "w.yaml", declaration.Wanted(), ContainerOptions(read_only=True, cap_add=["X"]))
    assert "--read-only, --cap-add" in refused.value.message
