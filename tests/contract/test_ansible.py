"""Ansible's inventory plugin for StackPath, as PyPI's `ansible` 9 has it, lists a platform's instances over HTTPS.

The plugin is not touched: it asks `gateway.stackpath.com`, a name that leads to a control process of this test, whose
certificate is by its own authority. `script/setup --dev` puts Ansible and the plugin into `.venv-clients`.
"""

import contextlib
import json
import os
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from anypop.api.__main__ import main
from tests.contract.test_api_process import BASE, Process
from tests.control_world import a_body

CLIENTS = Path(__file__).parents[2] / ".venv-clients"
NAME = "gateway.stackpath.com"
# Loaded by every Python that has its folder in PYTHONPATH: what a name server or /etc/hosts would do.
NAMES = """
import socket
plain = socket.getaddrinfo
def getaddrinfo(host, port, *rest, **more):
    return plain("127.0.0.1", {port}, *rest, **more) if host == "{name}" else plain(host, port, *rest, **more)
socket.getaddrinfo = getaddrinfo
"""


class Named(Process):
    """A control whose certificate has the name that the clients ask for."""

    def argv(self) -> list[str]:
        return [*super().argv(), "--public-name", NAME, "--public-name", "198.51.100.7"]


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Named]:
    process = Named(tmp_path_factory.mktemp("ansible"))
    try:
        process.start()
        yield process
    finally:
        process.child.kill()
        process.child.wait(20)
        process.client.close()


def run_all(control: Process, *pops: str) -> None:
    """Let these PoPs report that all they were ordered runs."""
    for pop in pops:
        order = control.order(pop)
        seen = [
            {
                "name": i["name"],
                "uid": i["uid"],
                "phase": "RUNNING",
                "healthy": True,
                "reason": "running",
                "template": i["template"],
                "serving": True,
            }
            for i in order["instances"]
        ]
        report = {"pop": pop, "host": pop, "at": 0, "generation": order["generation"], "instances": seen}
        control.client.post(
            f"/anypop/v1/agents/{pop}/report", json=report, headers=control.agent(pop)
        ).raise_for_status()


def inventory(control: Process, **options: Any) -> dict[str, Any]:
    """What `ansible-inventory --list` prints."""
    assert (CLIENTS / "bin" / "ansible-inventory").exists(), "run script/setup --dev"
    folder = control.folder / "inventory"
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(NAMES.format(name=NAME, port=control.port))
    client = json.loads((control.folder / "client.json").read_text())
    config = {"plugin": "community.general.stackpath_compute", **options}
    config |= {key: client[key] for key in ("client_id", "client_secret")}
    (folder / "my.stackpath_compute.yml").write_text(json.dumps(config))
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(folder), "LC_ALL": "C.UTF-8", "PYTHONPATH": str(folder),
        "ANSIBLE_COLLECTIONS_PATH": str((CLIENTS / "collections").absolute()), "SSL_CERT_FILE": client["ca"],
        "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "true",
    }  # fmt: skip
    program = [str(CLIENTS / "bin" / "ansible-inventory"), "-i", str(folder / "my.stackpath_compute.yml"), "--list"]
    done = subprocess.run(
        program, env=environment, cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_plugin_lists_the_instances_that_run_in_its_groups(control: Named) -> None:
    """By external address, over several pages of instances; one that does not run is left out."""
    made = control.client.post(BASE, json=a_body(replicas=6)).json()["workload"]
    control.client.post(BASE, json=a_body("idle", cities=("JFK",), replicas=1)).raise_for_status()
    run_all(control, "AMS", "LHR")
    answer = control.client.get(f"{BASE}/fun/instances", params={"page_request.first": "100"}).json()["results"]
    wanted = {i["externalIpAddress"]: i["location"]["cityCode"] for i in answer}
    assert len(wanted) == 12
    found = inventory(control, stack_slugs=["default"])
    groups = {name: set(group["hosts"]) for name, group in found.items() if "hosts" in group}
    assert groups["stackslug_default"] == groups["target_eu"] == groups["workloadslug_fun"] == set(wanted)
    for city in ("AMS", "LHR"):
        assert groups[f"citycode_{city.lower()}"] == {a for a, where in wanted.items() if where == city}
    assert groups["continent_europe"] == set(wanted) and "citycode_jfk" not in groups
    assert groups[f"workloadid_{made['id'].replace('-', '_')}"] == set(wanted)
    assert "name_fun_eu_lhr_5" in groups


def test_a_public_name_stands_in_the_certificate_and_nothing_else_is_one(control: Named, tmp_path: Path) -> None:
    """Names and addresses; a client that asks for another is told by TLS. A word that is none is refused at start."""
    for wrong in ("a b", "-x.example", "x..example", ""):
        with pytest.raises(SystemExit):
            main(["--state", str(tmp_path), "--listen", "127.0.0.1:0", "--public-name", wrong])
    context = ssl.create_default_context(cafile=str(control.folder / "control" / "ca.pem"))
    for name, known in ((NAME, True), ("198.51.100.7", True), ("localhost", True), ("other.example", False)):
        refused = contextlib.nullcontext() if known else pytest.raises(ssl.SSLCertVerificationError)
        with refused, socket.create_connection(("127.0.0.1", control.port), 10) as plain:
            context.wrap_socket(plain, server_hostname=name).close()
