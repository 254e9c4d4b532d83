"""A host with a virtual machine is drained over the API, on a whole platform whose hosts have joined as real ones do:
its guest goes on at the other host of the PoP, for who talks to it too; and while it is off its disk goes back. One
guest for all of it, since a boot takes seconds.
"""

import json
import os
import socket
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from anypop.agent.act.instances.machines.place import Place, places
from anypop.host import netns
from anypop.lab import build, platform
from anypop.lab.leftovers import left_behind
from tests.lab.story import Shell
from tests.lab.test_machines_by_api import BOOT_S, bring_image, page
from tests.moving_flows import ECHO, echoed
from tests.wait import wait_until

pytestmark = pytest.mark.lab

TOPOLOGY = """
name: drained
ases:
  - {asn: 1299, cities: [LHR]}
  - {asn: 64497, cities: [LHR]}
links:
  - {a: 64497, b: 1299, relationship: customer-provider, at: [LHR]}
vantages:
  - {name: london, city: LHR, asn: 64497}
anypop:
  asn: 33438
  anycast4: [198.18.0.0/24]
  anycast6: ["2001:db8:a0::/48"]
  backbone: {}
  pops:
    - city: LHR
      hosts: 2
      external4: 198.18.16.0/24
      external6: "2001:db8:b0::/48"
      upstreams: [{name: arelion, asn: 1299}]
"""
SLUG, NAME = "moved", "moved-eu1-lhr-0"
BOOT = "#!/bin/sh\ncat /proc/sys/kernel/random/boot_id >/www/boot\n"


@pytest.fixture
def shell(short_folder: Path) -> Iterator[Shell]:
    state, prefix = short_folder / "drained", f"v{os.getpid() % 46656:x}"
    topology = short_folder / "drained.yaml"
    topology.write_text(TOPOLOGY)
    try:
        place = platform.up(
            topology, state=state, prefix=prefix, api_port=0, registry_port=0, progress=lambda _: None,
            supervised=False,
        )  # fmt: skip
        yield Shell(place=place)
    finally:
        platform.down(state, progress=lambda _: None, purge=True)
        assert left_behind(state, prefix) == []


def created(shell: Shell, folder: Path) -> None:
    """The workload of one machine, that serves."""
    machine = {
        "image": bring_image(shell.place),
        "userData": b64encode(BOOT.encode()).decode(),
        "ports": {n: {"port": p, "enableImplicitNetworkPolicy": True} for n, p in (("http", 80), ("echo", ECHO))},
        "readinessProbe": {"httpGet": {"path": "/", "port": 80}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": "1", "memory": "128Mi"}},
    }
    where = {"selectors": [{"key": "cityCode", "operator": "in", "values": ["LHR"]}], "minReplicas": 1}
    file = folder / "moved.json"
    wanted = {
        "name": SLUG, "slug": SLUG, "metadata": {"annotations": {"anycast.platform.stackpath.net": "true"}},
        "spec": {"networkInterfaces": [{"network": "default"}], "virtualMachines": {"vm": machine}},
        "targets": {"eu1": {"spec": {"deploymentScope": "cityCode", "deployments": where}}},
    }  # fmt: skip
    file.write_text(json.dumps(wanted))
    shell.json("workload", "create", "-f", str(file), "--yes", "--timeout", BOOT_S)


def homes(shell: Shell) -> list[str]:
    """Hosts on which a QEMU runs."""
    place = shell.place
    return [host for host in place.hosts if any(p.pid() for p in places(place.home(host) / "machines").values())]


def connected(shell: Shell) -> socket.socket:
    """To its echo, at its anycast address, as a client in London is."""
    shown = shell.json("workload", "show", SLUG)["workload"]["metadata"]["annotations"]
    address = shown["anycast.platform.stackpath.net/subnets"].split("/")[0]
    with netns.inside(build.attach(shell.place.state / "lab").vantage("london").netns):
        return socket.create_connection((address, ECHO), timeout=20)


@pytest.mark.timeout(700)  # two boots and two moves, each instruction translated, perhaps beside much else
def test_the_guest_of_a_drained_host_goes_on_at_the_other_with_its_connections(shell: Shell, tmp_path: Path) -> None:
    """Hosts have certificates of their own; the connection that was open before is used all the time; the guest has not
    begun anew; what is told meanwhile says that it moves, and the drain ends as one of containers does.
    """
    assert all((shell.place.home(host) / "agent.pem").exists() for host in shell.place.hosts)
    created(shell, tmp_path)
    boot = wait_until(lambda: page(shell, NAME, "/boot"), timeout_s=60, reason="its user data was run")
    (first,) = homes(shell)
    with connected(shell) as link:
        assert echoed(link, b"before") == b"before"
        assert shell.try_("drain", first, "--no-wait").code == 0
        told, stages = set[str](), set[str]()
        while "drained" not in stages:
            assert echoed(link, b"under way") == b"under way"
            told |= {str(one.get("reason")) for one in shell.json("instances", SLUG)}
            stages |= {one["stage"] for one in shell.json("drain")}
        assert echoed(link, b"after") == b"after"
    (second,) = homes(shell)
    assert second != first
    assert "moving" in told, told
    wait_until(lambda: page(shell, NAME, "/boot") == boot, timeout_s=20, reason="it answers at its new own address")
    kinds = [e["kind"] for e in shell.json("events", "--limit", "200") if e["subject"] == first]
    kinds = [kind for kind in kinds if kind.startswith("drain")]
    assert (kinds[0], kinds[-1]) == ("drain-begun", "drained"), kinds
    goes_back_while_it_is_off(shell, first, second, boot)


def goes_back_while_it_is_off(shell: Shell, first: str, second: str, boot: str) -> None:
    """Its root disk goes alone: begun at the other host it has what its user data wrote, which is not run anew."""

    def machines(host: str) -> list[Place]:
        return [*places(shell.place.home(host) / "machines").values()]

    assert shell.try_("undrain", first, "--no-wait").code == 0
    wait_until(lambda: machines(first) == [], timeout_s=60, reason="the host that it has left is empty")
    assert shell.try_("vm", "off", NAME, "--yes").code == 0
    wait_until(lambda: [p.is_off() for p in machines(second)] == [True], timeout_s=60, reason="it is off")
    assert shell.try_("drain", second, "--no-wait").code == 0
    wait_until(lambda: any(p.is_off() for p in machines(first)), timeout_s=120, reason="its disk has come")
    wait_until(lambda: machines(second) == [], timeout_s=60, reason="it is taken away where it was")
    assert homes(shell) == []
    assert shell.try_("vm", "on", NAME).code == 0
    wait_until(lambda: page(shell, NAME, "/boot") == boot, timeout_s=150, reason="it has begun, with its own disk")
    assert homes(shell) == [first]
