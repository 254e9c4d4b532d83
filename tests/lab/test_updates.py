"""A change reaches what runs: asked of /proc, of the container runtime and of the control groups, not of what control
says.

One workload in two PoPs. Every kind of change that needs new processes is made to it, one after the other; what needs
none touches none; a broken one is taken back; and a rollout survives the death of those who carry it out.
"""

import json
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from anypop.host import inventory, netns, process
from anypop.lab import build, platform
from anypop.lab.vantage import Stream
from tests.lab.conftest import ARTICLE
from tests.lab.story import Shell
from tests.wait import wait_until

pytestmark = pytest.mark.lab

CITIES = ("AMS", "LHR")
SLUG = "changing"


@dataclass(slots=True)
class Changing:
    """The workload, and what its instances really are."""

    shell: Shell
    folder: Path
    document: dict[str, Any]
    made: dict[str, Any] = field(default_factory=dict)

    def apply(self, **container: Any) -> dict[str, Any]:
        """Change members of the container `app`, and wait for the end of it."""
        self.document["spec"]["containers"]["app"] |= container
        return self.applied()

    def applied(self) -> dict[str, Any]:
        file = self.folder / "changing.json"
        file.write_text(json.dumps(self.document))
        said = self.shell.try_("workload", "apply", "-f", str(file), "--yes", "--timeout", "90", "-o", "json")
        assert said.code == 0, said.err
        answer: dict[str, Any] = said.data
        return answer

    def containers(self) -> list[dict[str, Any]]:
        """Every container of the workload that there is, as the runtime of its host describes it. Of this workload
        alone: those of others may be on their way out, and go between two questions.
        """
        rows, mine = [], f"label=anypop.workload={self.made['id']}"
        for city in CITIES:
            home = self.shell.place.podman(city)
            listed = process.run(home.command("ps", "--all", "--quiet", "--filter", mine), env=home.environment())
            if ids := listed.split():
                rows += json.loads(process.run(home.command("inspect", *ids), env=home.environment()))
        return rows

    def environments(self) -> list[dict[str, str]]:
        """Of every process that lives in an instance of it, from /proc."""
        pids = [row["State"]["Pid"] for row in self.containers()]
        return [
            dict(part.split("=", 1) for part in Path(f"/proc/{pid}/environ").read_text().split("\0") if "=" in part)
            for pid in pids
        ]

    def pids(self) -> set[int]:
        return {row["State"]["Pid"] for row in self.containers()}


@pytest.fixture(scope="module")
def changing(place: platform.Platform, short_folder: Path) -> Iterator[Changing]:
    shell = Shell(place=place)
    document = {
        "name": SLUG,
        "slug": SLUG,
        "metadata": {"annotations": {"anycast.platform.stackpath.net": "true"}},
        "spec": {
            "containers": {
                "app": {
                    "image": place.image,
                    "ports": {"http": {"port": 80, "enableImplicitNetworkPolicy": True}},
                    "resources": {"requests": {"cpu": "1", "memory": "256Mi"}},
                }
            },
            "networkInterfaces": [{"network": "default", "ipFamilies": ["IPv4", "IPv6"]}],
        },
        "targets": {
            "eu": {
                "spec": {
                    "deploymentScope": "cityCode",
                    "deployments": {
                        "minReplicas": 1,
                        "selectors": [{"key": "cityCode", "operator": "in", "values": list(CITIES)}],
                    },
                }
            }
        },
    }
    made = Changing(shell=shell, folder=short_folder, document=document)
    try:
        made.made = made.applied()["workload"]
        assert made.made["slug"] == SLUG
        shell.json("rollout", "strategy", SLUG, "--bake", "0.2")
        yield made
    finally:
        shell.try_("workload", "delete", SLUG, "--yes", "--timeout", "60")


def another_image(place: platform.Platform, folder: Path) -> str:
    """The web image with one file more, under another tag."""
    # where none of its instances runs: both have to pull
    home, reference = place.podman("JFK"), place.image.replace(":1", ":2")
    scratch = folder / "image2"
    scratch.mkdir()
    (scratch / "release").write_text("2\n")
    (scratch / "Containerfile").write_text(f"FROM {place.image}\nCOPY release /release\n")
    build_it = [
        "build",
        "--quiet",
        "--isolation",
        "chroot",
        "--tag",
        reference,
        "--file",
        str(scratch / "Containerfile"),
        str(scratch),
    ]
    process.run(home.command(*build_it), env=home.environment())
    process.run(home.command("push", "--quiet", reference), env=home.environment())
    return reference


def test_environment_and_secrets_reach_every_process(changing: Changing) -> None:
    """What /proc says of each of them is what was declared last; a secret that is changed too."""
    before = changing.pids()
    changing.apply(env={"RELEASE": {"value": "2"}, "TOKEN": {"secretValue": "first"}})
    assert [(e["RELEASE"], e["TOKEN"]) for e in changing.environments()] == [("2", "first")] * 2
    assert not before & changing.pids()
    changing.apply(env={"RELEASE": {"value": "2"}, "TOKEN": {"secretValue": "second"}})
    assert [(e["RELEASE"], e["TOKEN"]) for e in changing.environments()] == [("2", "second")] * 2


def test_a_command_and_resources_reach_every_process(changing: Changing) -> None:
    """Its command line, and the limit of the control group that it lives in."""
    changing.apply(args=["unused"], resources={"requests": {"cpu": "500m", "memory": "128Mi"}})
    for row in changing.containers():
        assert row["Config"]["Cmd"] == ["unused"]
        groups = Path(f"/proc/{row['State']['Pid']}/cgroup").read_text().splitlines()
        memory = next(line.split(":", 2)[2] for line in groups if ":memory:" in line or line.startswith("0::"))
        limits = [Path("/sys/fs/cgroup", *part, memory.lstrip("/"), name)
                  for part, name in ((("memory",), "memory.limit_in_bytes"), ((), "memory.max"))]  # fmt: skip
        assert [int(file.read_text()) for file in limits if file.exists()] == [128 << 20]


def test_another_image_reaches_every_instance(changing: Changing, place: platform.Platform, short_folder: Path) -> None:
    """The runtime's own image ids are those of the new image, and control tells the same digests."""
    before = {row["ImageDigest"] for row in changing.containers()}
    changing.apply(image=another_image(place, short_folder))
    now = {row["ImageDigest"] for row in changing.containers()}
    assert len(now) == 1 and not now & before
    shown = changing.shell.json("rollout", "list", SLUG)
    assert (shown["instances_on_it"], shown["instances"]) == (2, 2)


def test_a_second_container_is_started_in_every_instance(changing: Changing) -> None:
    """Beside the first, in the same network namespace, under the same name."""
    image = changing.document["spec"]["containers"]["app"]["image"]
    changing.document["spec"]["containers"]["side"] = {
        "image": image, "env": {"PORT": {"value": "81"}}, "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}},
    }  # fmt: skip
    changing.applied()
    rows = changing.containers()
    assert sorted(row["Config"]["Labels"]["anypop.container"] for row in rows) == ["app", "app", "side", "side"]
    spaces = {Path(f"/proc/{row['State']['Pid']}/ns/net").stat().st_ino for row in rows}
    assert len(spaces) == 2 and len({row["Config"]["Hostname"] for row in rows}) == 2
    del changing.document["spec"]["containers"]["side"]
    changing.applied()
    assert len(changing.containers()) == 2


def test_what_needs_no_process_touches_none(changing: Changing) -> None:
    """Ports, probes and labels: the same processes, no rollout, and neither health nor routes nor sessions move."""
    pids, rollouts = changing.pids(), len(changing.shell.json("rollout", "list", SLUG)["results"])
    sessions = sessions_of(changing.shell)
    last = max(event["id"] for event in changing.shell.json("events"))
    app = changing.document["spec"]["containers"]["app"]
    app["ports"] = {**app["ports"], "more": {"port": 8080, "enableImplicitNetworkPolicy": True}}
    app["readinessProbe"] = {"httpGet": {"path": "/", "port": 80}, "initialDelaySeconds": 15}
    changing.document["metadata"]["labels"] = {"tier": "front"}
    changing.applied()
    wait_until(
        lambda: all(p["generation"] == p["obeyed"] for p in changing.shell.json("pops")),
        timeout_s=20,
        reason="orders are obeyed",
    )
    assert changing.pids() == pids
    assert len(changing.shell.json("rollout", "list", SLUG)["results"]) == rollouts
    assert sessions_of(changing.shell) == sessions
    events = (event for event in changing.shell.json("events") if event["id"] > last)
    kinds = {event["kind"] for event in events if event["stack_id"] in (None, changing.made["stackId"])}
    assert kinds <= {"workload-changed", "order-issued"}, kinds


def sessions_of(shell: Shell) -> list[tuple[Any, ...]]:
    """Every session of the platform with the moment it came up: one that was reset has another."""
    return sorted(
        (p["pop"], s["upstream"], s["family"], s["state"], s["since"])
        for p in shell.json("pops")
        for s in p["sessions"]
    )


def test_a_broken_image_is_taken_back_and_harms_nobody(changing: Changing, place: platform.Platform) -> None:
    """The command says so and fails; the same processes serve on, no request of a neighbour's fails, and what is
    declared is what runs.
    """
    pids = changing.pids()
    vantage = build.attach(place.state / "lab").vantage("amsterdam")
    address = changing.shell.json("workload", "show", SLUG)["workload"]["metadata"]["annotations"][
        "anycast.platform.stackpath.net/subnets"
    ]
    image = changing.document["spec"]["containers"]["app"]["image"]
    with Stream(vantage, address.split("/")[0], interval_s=0.02) as stream:
        said = changing.shell.try_(
            "workload", "set-image", SLUG, f"{image}-that-is-not-there", "--yes", "--timeout", "60"
        )
        answers = stream.stop()
    assert said.code == 1 and "reverted" in said.err and "does not start" in said.err
    assert len(answers) > 50 and all(answer.ok for answer in answers)
    assert changing.pids() == pids
    shown = changing.shell.json("workload", "show", SLUG)
    assert shown["workload"]["spec"]["containers"]["app"]["image"] == image
    wait_until(
        lambda: not changing.shell.json("workload", "show", SLUG)["rollouts"],
        timeout_s=30,
        reason="the way back is through",
    )


@pytest.mark.parametrize("on_it", [0, 1])
def test_a_rollout_outlives_those_who_carry_it_out(changing: Changing, place: platform.Platform, on_it: int) -> None:
    """kill -9 of control and of both agents while so many instances are on the new revision: restarted, they end it."""
    file, app = changing.folder / "changing.json", changing.document["spec"]["containers"]["app"]
    app["env"] = {"RELEASE": {"value": f"killed-{on_it}"}}
    # the delay of the probe that was added would be waited for in each PoP; without it, every port has to answer
    app.pop("readinessProbe", None)
    app["ports"].pop("more", None)
    file.write_text(json.dumps(changing.document))
    begun = changing.shell.json("workload", "apply", "-f", str(file), "--yes", "--no-wait")
    wait_until(
        lambda: changing.shell.json("rollout", "list", SLUG)["instances_on_it"] >= on_it,
        timeout_s=30,
        reason=f"{on_it} instances are on the new revision",
    )
    for program in ("control", "agent-ams", "agent-lhr"):
        pid = process.alive(place.pid_file(program))
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
    platform.up(ARTICLE, state=place.state, prefix=place.prefix, api_port=0, registry_port=0, progress=lambda _: None)
    said = changing.shell.try_("rollout", "wait", SLUG, "--timeout", "90", "-o", "json")
    assert said.code == 0, said.err
    assert said.data["rollout"]["revision"] == int(begun["workload"]["metadata"]["version"])
    assert [e["RELEASE"] for e in changing.environments()] == [f"killed-{on_it}"] * 2
    homes = [name for name in netns.names(f"{place.prefix}-i-") if inventory.pids_inside({name})]
    assert len(homes) >= 2
