"""The virtual kubelet's provider for StackPath: a pod as it turns it into a workload, and the answer field by field.

The pod has each field of a pod's specification that the provider knows, as Kubernetes fills it in. The provider looks
its workloads up by slug, reads whole lists in one page, and signs in with a form.
"""

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from tests.control_world import World

BASE = "/workload/v1/stacks/default/workloads"
SLUG = "default-web-7d4b9c6f5-x2x7k"
SP_2 = {"cpu": "2", "memory": "4Gi"}  # it sends the size that holds what the pod asks for, as requests and as limits


def probe(**how: Any) -> dict[str, Any]:
    """With Kubernetes' defaults."""
    times = {"initialDelaySeconds": 0, "timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1}
    return {**times, "failureThreshold": 3, **how}


def by_http(path: str) -> dict[str, Any]:
    return {"httpGet": {"path": path, "port": 8080, "scheme": "HTTP", "httpHeaders": {"x-probe": "1"}}}


def container(image: str, **more: Any) -> dict[str, Any]:
    plain = {
        "image": image,
        "env": {},
        "ports": {},
        "resources": {"requests": SP_2, "limits": SP_2},
        "volumeMounts": [],
        "imagePullPolicy": "IF_NOT_PRESENT",
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "FILE",
    }
    return {**plain, **more}


POD = {
    "name": SLUG,
    "slug": SLUG,
    "metadata": {
        "labels": {"podName": "web-7d4b9c6f5-x2x7k", "podNamespace": "default", "nodeName": "vk-ams"},
        "annotations": {"workload.platform.stackpath.net/remote-management": "true"},
    },
    "spec": {
        "containers": {
            "web": container(
                "registry.example/web:1",
                command=["/bin/web"],
                args=["--port", "8080"],
                workingDir="/srv",
                env={"MODE": {"value": "edge"}, "EMPTY": {"value": ""}},
                ports={"default": {"port": 8080, "protocol": "TCP"}, "dns": {"port": 5353, "protocol": "UDP"}},
                livenessProbe=probe(**by_http("/live")),
                readinessProbe=probe(**by_http("/ready")),
                startupProbe=probe(tcpSocket={"port": 8080}, failureThreshold=30),
                lifecycle={"postStart": by_http("/started"), "preStop": by_http("/stopping")},
                imagePullPolicy="ALWAYS",
                volumeMounts=[{"slug": "data", "mountPath": "/data"}],
                securityContext={
                    "runAsUser": "1000",
                    "runAsGroup": "1000",
                    "runAsNonRoot": True,
                    "allowPrivilegeEscalation": False,
                    "capabilities": {"add": ["NET_BIND_SERVICE"], "drop": ["ALL"]},
                },
            ),
            "side": container("registry.example/side:1", resources={"requests": SP_2, "limits": SP_2}),
        },
        "initContainers": {"migrate": container("registry.example/migrate:1", command=["/bin/migrate"])},
        "imagePullCredentials": [
            {"dockerRegistry": {"server": "registry.example", "username": "pod", "password": "a-password", "email": ""}}
        ],
        "networkInterfaces": [
            {
                "network": "default",
                "ipFamilies": ["IPv4"],
                "subnet": "",
                "ipv6Subnet": "",
                "enableOneToOneNat": True,
            }
        ],
        "volumeClaimTemplates": [
            {
                "name": "data",
                "slug": "data",
                "metadata": {},
                "spec": {"resources": {"requests": {"storage": "1Gi"}, "limits": {"storage": "1Gi"}}},
            }
        ],
        "runtime": {
            "containers": {
                "terminationGracePeriodSeconds": "30",
                "shareProcessNamespace": True,
                "hostAliases": [{"ip": "192.0.2.10", "hostnames": ["db", "db.internal"]}],
                "dnsConfig": {
                    "nameservers": ["192.0.2.53"],
                    "searches": ["svc.example"],
                    "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}],
                },
                "securityContext": {
                    "runAsUser": "1000",
                    "supplementalGroups": ["2000"],
                    "sysctls": [{"name": "net.core.somaxconn", "value": "1024"}],
                },
            }
        },
    },
    "targets": {
        "city-code": {
            "spec": {
                "deploymentScope": "cityCode",
                "deployments": {
                    "minReplicas": 1,
                    "maxReplicas": 1,
                    "selectors": [{"key": "cityCode", "operator": "in", "values": ["AMS"]}],
                },
            }
        }
    },
}


def differences(sent: Any, found: Any, path: str = "") -> Iterator[str]:
    """Where the answer is otherwise than what was sent: what is empty or zero there may be absent here."""
    if isinstance(sent, dict) and isinstance(found, dict):
        for key in sorted({*sent, *found}):
            yield from differences(sent.get(key), found.get(key), f"{path}.{key}")
    elif isinstance(sent, list) and isinstance(found, list) and len(sent) == len(found):
        for n, (a, b) in enumerate(zip(sent, found, strict=True)):
            yield from differences(a, b, f"{path}[{n}]")
    elif sent != found and not (not sent and not found):
        yield f"{path}: sent {sent!r}, answered {found!r}"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("kubelet")) as made:
        yield made


def test_a_pod_is_taken_whole_and_comes_back_as_it_was_sent(world: World) -> None:
    """But for what the API sets itself, and the password; nothing of it is without effect."""
    answer = world.call("POST", BASE, json={"workload": copy.deepcopy(POD)})
    assert answer.status_code == 200, answer.text
    assert "warnings" not in answer.json()
    found = world.get(f"{BASE}/{SLUG}")["workload"]
    assert list(differences(POD, found)) == [
        ".id: sent None, answered " + repr(found["id"]),
        ".metadata.createdAt: sent None, answered " + repr(found["metadata"]["createdAt"]),
        ".metadata.version: sent None, answered '1'",
        ".spec.imagePullCredentials[0].dockerRegistry.password: sent 'a-password', answered None",
        ".spec.volumeClaimTemplates[0].phase: sent None, answered 'PENDING'",
        ".stackId: sent None, answered " + repr(found["stackId"]),
        ".status: sent None, answered 'ACTIVE'",
    ]


def test_the_pods_state_is_read_from_its_one_instance(world: World) -> None:
    """By slugs, in one page, with the statuses of each container."""
    if world.call("GET", f"{BASE}/{SLUG}").status_code == 404:
        world.send("POST", BASE, {"workload": copy.deepcopy(POD)})
    world.settle()
    assert [w["slug"] for w in world.get(f"{BASE}?page_request.first=99999")["results"]] == [SLUG]
    (instance,) = world.get(f"{BASE}/{SLUG}/instances?page_request.first=99999")["results"]
    assert instance["name"] == f"{SLUG}-city-code-ams-0" and instance["phase"] == "RUNNING"
    assert [(s["name"], s["phase"]) for s in instance["containerStatuses"]][:1] == [("web", "RUNNING")]
    assert instance["metadata"]["labels"]["podName"] == "web-7d4b9c6f5-x2x7k"
    assert instance["containers"]["web"]["resources"] == POD["spec"]["containers"]["web"]["resources"]  # type: ignore[index]
    assert world.call("DELETE", f"{BASE}/{SLUG}").status_code == 204
