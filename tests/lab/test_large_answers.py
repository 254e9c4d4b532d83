"""On the whole platform: large answers to Amsterdam, whose line takes packets of 1,400 bytes, and an application that
answers on IPv4 alone.
"""

import http.client
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from anypop.host import netns
from anypop.lab import build, platform
from anypop.lab.build import Lab
from anypop.model.reasons import Reason
from tests.lab.story import Shell
from tests.wait import wait_until

pytestmark = pytest.mark.lab

SIZE = 1 << 20
TRANSFERS = 32  # in each family
PATIENCE_S = 4.0  # the kernel's own search for the MTU, which this is not about, takes some 7 s


@pytest.fixture(scope="module")
def shell(place: platform.Platform) -> Shell:
    return Shell(place=place)


@pytest.fixture(scope="module")
def lab(place: platform.Platform) -> Lab:
    return build.attach(place.state / "lab")


def _workload(place: platform.Platform, name: str, serve: str, cities: list[str], replicas: int) -> dict[str, Any]:
    command = ["/bin/busybox", "sh", "-c", f"mkdir -p /www; hostname > /www/index.html; {serve}"]
    app = {
        "image": place.image,
        "command": command,
        "ports": {"http": {"port": 80, "enableImplicitNetworkPolicy": True}},
        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}},
    }
    deployments = {
        "minReplicas": replicas,
        "selectors": [{"key": "cityCode", "operator": "in", "values": cities}],
    }
    return {
        "name": name,
        "metadata": {"annotations": {"anycast.platform.stackpath.net": "true"}},
        "spec": {
            "networkInterfaces": [{"network": "default", "ipFamilies": ["IPv4", "IPv6"]}],
            "containers": {"app": app},
        },
        "targets": {"t": {"spec": {"deploymentScope": "cityCode", "deployments": deployments}}},
    }


@pytest.fixture
def declared(shell: Shell, tmp_path: Path) -> Iterator[Any]:
    """Declares a workload and gives its anycast addresses; takes it away in the end."""
    names = []

    def declare(name: str, serve: str, cities: list[str], replicas: int) -> tuple[str, ...]:
        file = tmp_path / f"{name}.json"
        file.write_text(json.dumps(_workload(shell.place, name, serve, cities, replicas)))
        names.append(name)
        said = shell.try_("workload", "apply", "-f", str(file), "--yes", "--timeout", "60", "-o", "json")
        assert said.code == 0, said.err
        shown = shell.json("workload", "show", name)
        annotations = shown["workload"]["metadata"]["annotations"]
        subnets = annotations["anycast.platform.stackpath.net/subnets"]
        return tuple(subnet.partition("/")[0] for subnet in subnets.split(","))

    try:
        yield declare
    finally:
        for name in names:
            shell.try_("workload", "delete", name, "--yes", "--timeout", "60")


def _length(lab: Lab, vantage: str, address: str, path: str) -> int:
    """How much of an answer arrives in time; the connection is the vantage's own."""
    connection = http.client.HTTPConnection(address, 80, timeout=PATIENCE_S)
    with suppress(OSError, http.client.HTTPException), netns.inside(lab.vantage(vantage).netns):
        connection.request("GET", path)
        return len(connection.getresponse().read())
    return 0


def test_no_large_answer_hangs_behind_a_line_of_1400_bytes(lab: Lab, declared: Any) -> None:
    """Four instances in Amsterdam, 32 transfers of 1 MiB in each family, from the vantage behind that line."""
    serve = "dd if=/dev/zero of=/www/big bs=1M count=1; exec httpd -f -p 80 -h /www"
    addresses = declared("big", serve, ["AMS"], 4)
    assert len(addresses) == 2
    for address in addresses:
        wait_until(
            lambda a=address: _length(lab, "amsterdam", a, "/") > 0,  # type: ignore[misc]
            timeout_s=20,
            reason=f"{address} is reached",
        )
    asked = [address for address in addresses for _ in range(TRANSFERS)]
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda address: _length(lab, "amsterdam", address, "/big"), asked))
    assert got == [SIZE] * (2 * TRANSFERS)


def test_one_of_ipv4_alone_is_announced_in_ipv4_and_said_why_not_in_ipv6(shell: Shell, lab: Lab, declared: Any) -> None:
    """Beside one that answers in both families and shares its prefixes: that one is reached in both."""
    both = declared("both", "exec httpd -f -p 80 -h /www", ["AMS", "LHR"], 1)
    four, six = declared("v4only", "exec httpd -f -p 0.0.0.0:80 -h /www", ["AMS", "LHR"], 1)
    for address in (four, *both):
        wait_until(
            lambda a=address: _length(lab, "amsterdam", a, "/") > 0,  # type: ignore[misc]
            timeout_s=20,
            reason=f"{address} is reached",
        )
    assert _length(lab, "amsterdam", six, "/") == 0
    instances = shell.json("instances", "v4only")
    assert [i["phase"] for i in instances] == ["RUNNING"] * 2
    assert all("IPv6: port 80: Connection refused" in i["message"] for i in instances)
    rows = shell.json("announce", "list", "v4only")
    told = {(":" in row["prefix"], row["announced"], row["dark"], row["reason"]) for row in rows}
    assert told == {(False, True, False, Reason.ANNOUNCED), (True, True, True, Reason.FAMILY_SILENT)}
