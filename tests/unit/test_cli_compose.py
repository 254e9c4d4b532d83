"""Compose files: what becomes of each field that is taken, and what is said of the others."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from anypop.cli.compose import Wishes, workloads_of
from anypop.cli.failure import Failure
from anypop.model.names import CityCode, StackId, WorkloadId
from anypop.plan.parse import parse

WISHES = Wishes(cities=("AMS", "LHR"))
WHOLE = """
name: shop
services:
  web_front:
    image: registry.example/web:${TAG:-7}
    entrypoint: [/bin/web]
    command: serve --port 80
    environment: {MODE: live, DEBUG: false, PASSED: null, PRICE: $$5}
    env_file: web.env
    ports: ["80:80", 53/udp, {target: 443, published: 443}]
    expose: ["9000-9001"]
    healthcheck: {test: [CMD, web, check], interval: 1m30s, timeout: 5s, retries: 2, start_period: 10s}
    deploy: {replicas: 3, resources: {limits: {cpus: "1.5", memory: 512m}, reservations: {cpus: 0.25, memory: 256m}}}
    user: "1000:1001"
    read_only: true
    cap_add: [NET_BIND_SERVICE]
    cap_drop: [ALL]
    security_opt: ["no-new-privileges:true"]
    sysctls: {net.core.somaxconn: 1024}
    labels: [tier=front]
    restart: unless-stopped
    depends_on: [db]
    x-anypop: {anycast: true}
  db:
    image: registry.example/db:1
    working_dir: /srv
    volumes: ["data:/var/lib/db"]
    stop_grace_period: 1m
    x-anypop: {cities: [fra]}
volumes:
  data: {x-anypop: {size: 5Gi}}
"""


def made(text: str, folder: Path = Path(), wishes: Wishes = WISHES) -> dict[str, Any]:
    return {slug: body for slug, body, _ in workloads_of(yaml.safe_load(text), where="c", folder=folder, wishes=wishes)}


def problems(text: str, wishes: Wishes = WISHES) -> list[str]:
    with pytest.raises(Failure) as refused:
        made(text, wishes=wishes)
    assert refused.value.code == 2
    return [problem.removeprefix("c: ") for problem in refused.value.problems]


@pytest.fixture
def whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    (tmp_path / "web.env").write_text("# a comment\nMODE=file\nexport QUOTED='a b'\n")
    monkeypatch.setenv("PASSED", "from here")
    monkeypatch.delenv("TAG", raising=False)
    return made(WHOLE, tmp_path)


def test_each_field_that_is_taken_is_in_the_workload(whole: dict[str, Any]) -> None:
    front = whole["web-front"]
    assert front["spec"]["containers"]["app"] == {
        "image": "registry.example/web:7",
        "command": ["/bin/web"],
        "args": ["serve", "--port", "80"],
        "env": {
            "MODE": {"value": "live"},
            "QUOTED": {"value": "a b"},
            "DEBUG": {"value": "false"},
            "PASSED": {"value": "from here"},
            "PRICE": {"value": "$5"},
        },
        "ports": {
            "tcp-80": {"port": 80, "protocol": "TCP", "enableImplicitNetworkPolicy": True},
            "udp-53": {"port": 53, "protocol": "UDP", "enableImplicitNetworkPolicy": True},
            "tcp-443": {"port": 443, "protocol": "TCP", "enableImplicitNetworkPolicy": True},
            "tcp-9000": {"port": 9000, "protocol": "TCP"},
            "tcp-9001": {"port": 9001, "protocol": "TCP"},
        },
        "readinessProbe": {
            "exec": {"command": ["web", "check"]},
            "initialDelaySeconds": 10,
            "periodSeconds": 90,
            "timeoutSeconds": 5,
            "failureThreshold": 2,
        },
        "resources": {
            "limits": {"cpu": "1500m", "memory": "512Mi"},
            "requests": {"cpu": "250m", "memory": "256Mi"},
        },
        "securityContext": {
            "runAsUser": "1000",
            "runAsGroup": "1001",
            "readOnlyRootFilesystem": True,
            "capabilities": {"add": ["NET_BIND_SERVICE"], "drop": ["ALL"]},
            "allowPrivilegeEscalation": False,
        },
    }
    assert front["metadata"] == {
        "labels": {"tier": "front"},
        "annotations": {"anycast.platform.stackpath.net": "true"},
    }
    sysctls = [{"name": "net.core.somaxconn", "value": "1024"}]
    assert front["spec"]["runtime"]["containers"] == {"securityContext": {"sysctls": sysctls}}
    deployments = front["targets"]["edge"]["spec"]["deployments"]
    assert (deployments["minReplicas"], deployments["selectors"][0]["values"]) == (3, ["AMS", "LHR"])
    data = whole["db"]["spec"]
    assert data["containers"]["app"]["workingDir"] == "/srv"
    assert data["containers"]["app"]["volumeMounts"] == [{"slug": "data", "mountPath": "/var/lib/db"}]
    assert data["volumeClaimTemplates"] == [
        {"name": "data", "slug": "data", "spec": {"resources": {"requests": {"storage": "5Gi"}}}}
    ]
    assert data["runtime"]["containers"] == {"terminationGracePeriodSeconds": "60"}
    assert whole["db"]["targets"]["edge"]["spec"]["deployments"]["selectors"][0]["values"] == ["FRA"]
    assert "metadata" not in whole["db"]


def test_control_takes_what_is_made_of_it(whole: dict[str, Any]) -> None:
    """The API knows every field that is sent, and does what it says: nothing of it is without effect."""
    cities = [CityCode(city) for city in ("AMS", "LHR", "FRA")]
    for body in whole.values():
        made = parse(body, workload_id=WorkloadId("w"), stack_id=StackId("s"), stack_slug="s", cities=cities)
        assert made.unacted == ()


def test_all_that_is_not_taken_is_told_at_once_with_its_path() -> None:
    found = problems(
        """
services:
  web:
    build: .
    ports: ["8080:80", "127.0.0.1:80:80", "x"]
    volumes: ["./conf:/etc/conf", "data:/data"]
    networks: [front]
    privileged: true
    restart: "no"
    user: www
    container_name: web
    surprise: 1
    deploy: {placement: {constraints: []}}
    environment: [NOT_SET_ANYWHERE]
    healthcheck: {test: 5}
    mem_limit: lots
secrets: {}
"""
    )
    paths = [line.split(": ")[0] for line in found]
    web = [
        "image", "ports[0]", "ports[1]", "ports[2]", "volumes[0]", "volumes[1]", "networks", "privileged", "restart",
        "user", "surprise", "deploy.placement", "environment.NOT_SET_ANYWHERE", "healthcheck.test", "mem_limit",
        "build",
    ]  # fmt: skip
    assert sorted(paths) == sorted(["secrets", *(f"services.web.{path}" for path in web)])
    assert any("write '80:80'" in line for line in found)


def test_a_service_without_a_city_is_told_how_to_say_one() -> None:
    (line,) = problems("services: {web: {image: i}}", Wishes())
    assert "--cities" in line


def test_what_is_done_another_way_is_said() -> None:
    text = "services: {web: {image: i, depends_on: [db], container_name: w}, db: {image: i}}"
    notes = {
        slug: told for slug, _, told in workloads_of(yaml.safe_load(text), where="c", folder=Path(), wishes=WISHES)
    }
    assert [note.split(": ")[0] for note in notes["web"]] == ["services.web.depends_on", "services.web.container_name"]
    assert notes["db"] == ()


def test_variables_are_those_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAG", "2")
    monkeypatch.delenv("NONE", raising=False)
    text = "services: {web: {image: 'a:$TAG-${TAG}-${NONE-x}-${TAG:+y}${NONE:+z}'}}"
    assert made(text)["web"]["spec"]["containers"]["app"]["image"] == "a:2-2-x-y"
    assert "say why" in problems("services: {web: {image: 'a:${NONE:?say why}'}}")[0]
    assert "needs NONE" in problems("services: {web: {image: 'a:$NONE'}}")[0]
