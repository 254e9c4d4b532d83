"""Debian's cloud-init reads the seed of a guest as it is meant: its own parsers, unpacked from its package and not
installed.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from machine_images import debian

from anypop.agent.act.instances.machines.seed import seed_files
from anypop.model.machine import Machine
from anypop.model.workload import Container
from tests.agent_lab import instance

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


def test_cloud_init_finds_name_addresses_ways_out_and_boot_hook_in_a_seed(tmp_path: Path) -> None:
    """By each of the three ways in which Debian and Ubuntu set up a network."""
    box = Container(name="vm", image="s/web", machine=Machine(ssh_keys=("ssh-ed25519 AAAA someone",)))
    guest = instance(1, containers=(box,))
    files = seed_files(guest, box, pop="LHR", mac="02:00:00:00:00:01")
    found = debian.unpacked("cloud-init", "python3-configobj", "python3-jsonpatch").values()
    places = os.pathsep.join(str(folder / "usr/lib/python3/dist-packages") for folder in found)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", READ, tmp_path],
        input=json.dumps({name: text.decode() for name, text in files.items()}),
        env={**os.environ, "PYTHONPATH": places}, capture_output=True, text=True, check=False,
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
