"""Workloads of virtual machines: what may be declared, what is refused with its path, and where they are placed."""

from base64 import b64encode
from dataclasses import replace
from typing import Any

import pytest

from anypop.control.declare import unresolved, with_images
from anypop.model.machine import OVERHEAD_BYTES, Machine
from anypop.model.names import HostName
from anypop.model.network import Capacity
from anypop.model.plan import World
from anypop.model.reasons import Reason
from anypop.model.workload import ProbeKind
from anypop.plan.planner import plan
from anypop.plan.price import default_price_book, quote
from anypop.plan.quota import usage_of
from tests.unit.test_machine import a_machine, an_image
from tests.unit.test_parse import DELETE, put, read, terraform, wrong
from tests.worlds import LHR, network, workload

VM = "spec.virtualMachines.vm"
USER_DATA = b64encode(b"#cloud-config\nhostname: web\n").decode()
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ3Yw me@example"


def a_body(**more: Any) -> dict[str, Any]:
    machine = {
        "image": "fun/debian:12",
        "userData": USER_DATA,
        "sshKeys": [KEY],
        "ports": {"web": {"port": 80, "enableImplicitNetworkPolicy": True}},
        "readinessProbe": {"httpGet": {"path": "/", "port": 80}},
        "resources": {"requests": {"cpu": "2", "memory": "1Gi"}},
        "volumeMounts": [],
    }
    body = put(terraform(), "spec.containers", DELETE)
    body["spec"]["virtualMachines"] = {"vm": {**machine, **more}}
    return body


def a_world(*hosts: str, memory_bytes: int = 64 << 30) -> World:
    room = Capacity(cpu_millis=64_000, memory_bytes=memory_bytes, disk_bytes=64 << 30)
    return World(
        network=network(),
        workloads=(workload(cities=[LHR], replicas=1, containers=(a_machine(an_image()),)),),
        capacities={HostName(LHR): room},
        machines=frozenset(map(HostName, hosts)),
    )


def test_a_virtual_machine_is_read_as_a_container_is_with_what_only_it_has() -> None:
    """Ports, probes and resources mean the same; clients read back what they sent."""
    made = read(a_body())
    (one,) = made.workload.containers
    assert made.workload.is_machine and one.name == "vm" and one.image == "fun/debian:12"
    assert one.machine == Machine(user_data=USER_DATA, ssh_keys=(KEY,))
    assert (one.cpu_millis, one.memory_bytes) == (2000, 1 << 30)
    assert one.readiness is not None and one.readiness.kind is ProbeKind.HTTP
    assert [(p.port, p.open_to_all) for p in one.ports] == [(80, True)]
    shown = made.document["spec"]["virtualMachines"]["vm"]
    assert shown == {key: value for key, value in a_body()["spec"]["virtualMachines"]["vm"].items() if value != []}
    bare = read(a_body(resources=None, ports=None, sshKeys=None))
    assert bare.document["spec"]["virtualMachines"]["vm"]["resources"] == {}, "clients crash without"
    assert made.workload.anycast and made.secrets == ()


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("image", "debian", "my-stack/debian"),
        ("image", "docker.io/library/web:1", "my-stack/debian"),
        ("image", "fun/../x:1", "my-stack/debian"),
        ("image", "", "is required"),
        ("userData", "#cloud-config", "base64"),
        ("userData", b64encode(b"x" * 65_537).decode(), "65536 are allowed"),
        ("sshKeys[0]", "my key", "public key"),
        ("env", {"A": {"value": "1"}}, "userData"),
        ("livenessProbe.exec", {"command": ["true"]}, "httpGet, tcpSocket, udp or dns"),
        ("readinessProbe.exec", {"command": ["true"]}, "httpGet, tcpSocket, udp or dns"),
        ("resources.requests.memory", "32Mi", "64Mi at least"),
        ("resources.limits.memory", "8Gi", "from the beginning"),
        ("command", ["/bin/sh"], "no such field"),
    ],
)
def test_what_no_guest_could_be_given_is_refused_with_its_path(field: str, value: Any, says: str) -> None:
    """And with words that say what to do instead."""
    name = field.partition("[")[0]
    if field.startswith(("liveness", "readiness")):
        body = a_body(**{field.partition(".")[0]: {"exec": value}})
    elif field.startswith("resources"):
        body = put(a_body(), f"{VM}.{field}", value) if "requests" in field else a_body(
            resources={"requests": {"memory": "1Gi"}, "limits": {"memory": value}})  # fmt: skip
    else:
        body = a_body(**{name: [value] if "[" in field else value})
    assert says in wrong(body)[f"{VM}.{field}"]


@pytest.mark.parametrize(
    ("path", "value", "at", "says"),
    [
        ("spec.containers", terraform()["spec"]["containers"], "spec.virtualMachines", "not both"),
        ("spec.initContainers", {"first": {"image": "a.example/x"}}, "spec.initContainers", "cloud-init"),
        (
            "spec.imagePullCredentials",
            [{"dockerRegistry": {"username": "me", "password": "x"}}],
            "spec.imagePullCredentials",
            "no registry",
        ),
        (
            "spec.runtime.containers",
            {"terminationGracePeriodSeconds": "5"},
            "spec.runtime.containers",
            "spec.runtime.virtualMachines",
        ),
        ("spec.virtualMachines.other", {"image": "fun/debian"}, "spec.virtualMachines", "one virtual machine"),
    ],
)
def test_a_workload_is_of_containers_or_of_one_virtual_machine(path: str, value: Any, at: str, says: str) -> None:
    """An anycast workload of both kinds, too, is refused with the path."""
    assert says in wrong(put(a_body(), path, value))[at]


def test_names_and_grace_of_a_guest_are_written_beside_it_and_of_containers_beside_those() -> None:
    """What is about the other kind says so instead of having no effect."""
    body = put(a_body(), "spec.runtime.virtualMachines", {
        "hostAliases": [{"ip": "192.0.2.9", "hostnames": ["db"]}],
        "dnsConfig": {"nameservers": ["192.0.2.53"]},
        "terminationGracePeriodSeconds": "20",
    })  # fmt: skip
    made = read(body).workload
    assert made.grace_s == 20 and [a.names for a in made.around.aliases] == [("db",)]
    assert [str(a) for a in made.around.resolving.nameservers] == ["192.0.2.53"]
    bad = put(body, "spec.runtime.virtualMachines.hostAliases", [{"ip": "x", "hostnames": ["db"]}])
    assert "spec.runtime.virtualMachines.hostAliases[0].ip" in wrong(bad)
    alone = put(terraform(), "spec.runtime.virtualMachines", {"dnsConfig": {"searches": ["a.example"]}})
    assert "there is none" in wrong(alone)["spec.runtime.virtualMachines"]
    assert read(put(terraform(), "spec.runtime.virtualMachines", {})).workload.is_machine is False


def test_an_image_is_looked_up_when_it_is_declared_and_stays_while_it_is_called_the_same() -> None:
    """Whoever changes something else gets no newer image by it: nothing is made anew."""
    made, asked = unresolved(read(a_body()))
    assert [c.image for c in asked] == ["fun/debian:12"]
    found = with_images(made, {"fun/debian:12": an_image()})
    again, none = unresolved(read(put(a_body(), "targets.global.spec.deployments.minReplicas", 4)), found.workload)
    assert none == [] and again.workload.containers == found.workload.containers
    _, asked = unresolved(read(a_body(image="fun/debian:13")), found.workload)
    assert [c.image for c in asked] == ["fun/debian:13"]
    assert unresolved(read(terraform()))[1] == []


def test_a_virtual_machine_goes_where_a_host_has_told_that_it_can_run_one() -> None:
    """Elsewhere it waits with the reason, and is placed once its host tells."""
    waits = plan(a_world())
    assert not waits.incarnations and {n.reason for n in waits.notes} == {Reason.NO_MACHINES}
    assert {i.pop for i in plan(a_world(LHR)).incarnations} == {LHR}
    containers = replace(a_world(), workloads=(workload(cities=[LHR]),))
    assert {i.pop for i in plan(containers).incarnations} == {LHR}, "containers ask for no QEMU"


def test_a_host_has_room_for_the_guest_and_for_what_runs_it() -> None:
    """A guest that takes all memory of its host would leave QEMU none."""
    memory = 2 << 30
    assert {n.reason for n in plan(a_world(LHR, memory_bytes=memory)).notes} == {Reason.NO_ROOM}
    assert plan(a_world(LHR, memory_bytes=memory + OVERHEAD_BYTES)).incarnations


def test_a_virtual_machine_costs_and_counts_as_a_container_of_its_size() -> None:
    """What QEMU takes beside is the operator's."""
    machine, container = workload(containers=(a_machine(an_image()),)), workload()
    assert quote(machine, default_price_book()) == quote(container, default_price_book())
    assert usage_of([machine]) == usage_of([container])
