"""Debian's cloud-init takes the seed of a guest as it is meant: its own parsers, and all of it in namespaces of its
own; unpacked from its package and not installed.
"""

import json
import os
import subprocess
import sys
from base64 import b64encode
from pathlib import Path

import pytest
from machine_images import debian

from anypop.agent.act.instances.machines.seed import seed_files
from anypop.model.machine import Machine
from anypop.model.workload import Container
from tests import cloud_init_run
from tests.agent_lab import external, instance

READ = """
import json, sys
from cloudinit import helpers, util
from cloudinit.net import eni, netplan, network_state, networkd
from cloudinit.user_data import UserDataProcessor
files = json.load(sys.stdin)
config = util.load_yaml(files["network-config"])
state = network_state.parse_net_config_data(config)
plan = netplan.Renderer({})
paths = helpers.Paths({"cloud_dir": sys.argv[1], "run_dir": sys.argv[1]})
part = UserDataProcessor(paths).process(files["vendor-data"]).get_payload()[0]
json.dump({
    "meta": util.load_yaml(files["meta-data"]),
    "ifupdown": eni.Renderer({})._render_interfaces(state),
    "networkd": networkd.Renderer({})._render_content(state)["eth0"],
    "netplan": plan._render_content(network_state.parse_net_config_data(config, renderer=plan)),
    "kind": part.get_content_type(),
}, sys.stdout)
"""


def _package() -> tuple[Path, dict[str, str]]:
    """Where it is, and what a Python needs to find it."""
    found = debian.unpacked("cloud-init", "python3-configobj", "python3-jsonpatch", "python3-json-pointer")
    places = os.pathsep.join(str(folder / "usr/lib/python3/dist-packages") for folder in found.values())
    here = Path(__file__).parents[2]
    return found["cloud-init"], {**os.environ, "PYTHONPATH": f"{places}{os.pathsep}{here}"}


def test_cloud_init_finds_name_addresses_ways_out_and_boot_hook_in_a_seed(tmp_path: Path) -> None:
    """By each of the three ways in which Debian and Ubuntu set up a network."""
    box = Container(name="vm", image="s/web", machine=Machine(ssh_keys=("ssh-ed25519 AAAA someone",)))
    guest = instance(1, containers=(box,))
    files = seed_files(guest, box, pop="LHR", mac="02:00:00:00:00:01")
    _, environment = _package()
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", READ, tmp_path],
        input=json.dumps({name: text.decode() for name, text in files.items()}),
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    read = json.loads(done.stdout)
    assert read["meta"]["local-hostname"] == guest.name
    assert read["meta"]["public-keys"] == ["ssh-ed25519 AAAA someone"]
    for way, before in (("ifupdown", "gateway "), ("networkd", "Gateway="), ("netplan", ": ")):
        for address in guest.links[0].addresses:
            assert f"{address.private}/{address.private.max_prefixlen - 1}" in read[way]
            assert f"{before}{address.gateway}\n" in read[way]
    assert read["kind"] == "text/cloud-boothook"


@pytest.mark.lab
def test_cloud_init_does_with_a_seed_what_a_guest_needs_and_its_user_data_once(tmp_path: Path) -> None:
    """All stages of two starts: addresses and ways out, host name, names, keys, and word to the host each time. What
    was done twice is as if it was done once.
    """
    script = b64encode(b"#!/bin/sh\necho was here >>/root/user\n").decode()
    box = Container(name="vm", image="s/web", machine=Machine(user_data=script, ssh_keys=("ssh-ed25519 AAAA someone",)))
    guest = instance(1, containers=(box,))
    mac, link = "02:00:00:00:00:01", guest.links[0].addresses
    files = seed_files(guest, box, pop="LHR", mac=mac)
    told = {
        "files": {name: text.decode() for name, text in files.items()},
        "addresses": [f"{a.private}/{a.private.max_prefixlen - 1}" for a in link],
    }
    package, environment = _package()
    words = ["unshare", "--net", "--mount", "--uts", "--propagation", "private", sys.executable]
    done = subprocess.run(
        [*words, cloud_init_run.__file__, tmp_path, package, mac], input=json.dumps(told), env=environment,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    first, second = json.loads(done.stdout)
    own = {str(a) for a in (*guest.externals(), *guest.anycast, *(a.private for a in link))}
    assert own <= set(first["addresses"])
    assert f"default via {link[0].gateway} dev eth0 src {external(guest)}" in first["routes"]
    assert f"default via {link[1].gateway} dev eth0 src {external(guest, 6)}" in first["routes"]
    assert first["hostname"] == guest.name
    assert f"{link[0].private}\t{guest.name}" in first["hosts"]
    assert "ssh-ed25519 AAAA someone" in first["keys"]
    assert (first["ready"], second["ready"]) == (["/ready"], ["/ready"] * 2)
    assert first["user"] == second["user"] == "was here\n"
    assert {**first, "ready": []} == {**second, "ready": []}
