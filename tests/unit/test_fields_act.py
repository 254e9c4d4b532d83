"""No field of a workload is accepted without effect: each changes what is made, or is told as one that does nothing.

A full document is parsed with and without each of its members. Where both give the same workload and the same secrets,
the member must stand in a warning, or below with the reason why its absence means the same.
"""

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from anypop.model.errors import Invalid
from anypop.model.names import CityCode, StackId, WorkloadId
from anypop.plan.parse import Parsed, parse
from tests.control_world import a_body

TIMES = {"initialDelaySeconds": 7, "timeoutSeconds": 8, "periodSeconds": 9, "failureThreshold": 5}
HOOK = {"httpGet": {"path": "/h", "port": 80}}
# The value that was sent is the one that holds without it.
THE_DEFAULT = {
    "slug": "it is made of the name",
    "name": "it is made of the slug",
    "spec.containers.web.ports.http.protocol": "TCP",
    "spec.networkInterfaces.0.network": "default",
    "targets.eu.spec.deploymentScope": "there is no other",
    "spec.imagePullCredentials.0.dockerRegistry.email": "no registry asks for it",
    "spec.containers.web.env.C.valueFrom.instanceFieldRef.optional": "it only says what is refused",
}


def document() -> dict[str, Any]:
    body: dict[str, Any] = a_body()["workload"]
    body["metadata"] |= {"labels": {"a": "b"}}
    body["metadata"]["annotations"]["x"] = "y"
    body["spec"]["containers"]["web"] |= {
        "command": ["a"],
        "args": ["b"],
        "workingDir": "/srv",
        "env": {
            "A": {"value": "1"},
            "B": {"secretValue": "s"},
            "C": {"valueFrom": {"instanceFieldRef": {"fieldPath": ".name", "optional": True}}},
        },
        "ports": {
            "http": {"port": 80, "protocol": "TCP", "enableImplicitNetworkPolicy": True},
            "dns": {"port": 53, "protocol": "UDP"},
            "odd": {"port": 81, "protocol": "SCTP"},
        },
        "livenessProbe": {"tcpSocket": {"port": 80}, **TIMES},
        "readinessProbe": {
            "httpGet": {"path": "/x", "port": 80, "scheme": "HTTPS", "httpHeaders": {"a": "b"}},
            "successThreshold": 4,
            **TIMES,
        },
        "startupProbe": {"exec": {"command": ["x"]}, **TIMES},
        "lifecycle": {"postStart": HOOK, "preStop": HOOK},
        "resources": {
            "requests": {"cpu": "1", "memory": "1Gi", "ephemeral-storage": "1Gi"},
            "limits": {"cpu": "2", "memory": "2Gi"},
        },
        "terminationMessagePath": "/why",
        "terminationMessagePolicy": "FALLBACK_TO_LOGS_ON_ERROR",
        "imagePullPolicy": "ALWAYS",
        "securityContext": {
            "runAsUser": "1",
            "runAsGroup": "2",
            "runAsNonRoot": True,
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": True,
            "capabilities": {"add": ["NET_BIND_SERVICE"], "drop": ["CHOWN"]},
        },
    }
    body["spec"] |= {
        "initContainers": {"first": {"image": "r.example/first:1", "command": ["x"]}},
        "imagePullCredentials": [
            {"dockerRegistry": {"server": "r.example", "username": "me", "password": "p", "email": "a@b"}}
        ],
        "runtime": {
            "containers": {
                "terminationGracePeriodSeconds": "31",
                "shareProcessNamespace": True,
                "securityContext": {
                    "supplementalGroups": ["7"],
                    "sysctls": [{"name": "net.core.somaxconn", "value": "100"}],
                },
                "hostAliases": [{"ip": "192.0.2.1", "hostnames": ["x"]}],
                "dnsConfig": {
                    "nameservers": ["192.0.2.2"],
                    "searches": ["a.b"],
                    "options": [{"name": "ndots", "value": "1"}],
                },
            }
        },
    }
    body["targets"]["eu"]["spec"]["deployments"] |= {
        "maxReplicas": 5,
        "scaleSettings": {"metrics": [{"metric": "cpu", "averageUtilization": 50}]},
    }
    return body


def parsed(body: dict[str, Any]) -> Parsed:
    cities = [CityCode(city) for city in ("AMS", "LHR", "JFK")]
    return parse(body, workload_id=WorkloadId("w"), stack_id=StackId("s"), stack_slug="s", cities=cities)


def members(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if path:
        yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in inner:
        yield from members(member, (*path, key))


def without(body: dict[str, Any], path: tuple[str | int, ...]) -> dict[str, Any]:
    less = copy.deepcopy(body)
    part: Any = less
    for key in path[:-1]:
        part = part[key]
    del part[path[-1]]
    return less


FULL = document()
WHOLE = parsed(FULL)
TOLD = tuple(problem.path.replace("[", ".").replace("]", "") for problem in WHOLE.unacted)


@pytest.mark.parametrize("path", list(members(FULL)), ids=lambda path: ".".join(map(str, path)))
def test_a_member_acts_or_is_told_to_do_nothing(path: tuple[str | int, ...]) -> None:
    try:
        less = parsed(without(FULL, path))
    except Invalid:
        return  # it cannot be left out
    if (less.workload, less.secrets) == (WHOLE.workload, WHOLE.secrets):
        name = ".".join(map(str, path))
        told = any(name == one or name.startswith(f"{one}.") for one in TOLD)
        # a part of what is told, or the whole that holds nothing else
        assert told or name in THE_DEFAULT, f"{name} is accepted, does nothing, and nobody is told"
