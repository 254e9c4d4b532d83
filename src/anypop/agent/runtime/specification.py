"""A container as Podman's API wants it told (libpod's SpecGenerator). Pure.

In: the order's container and its instance. Out: the JSON body of `containers/create`. The container joins the instance's ready-made network
namespace, is called by the instance's name, and gets its limits. Environment values from the instance have been filled in by the planner.
"""

from typing import Any

from anypop.agent.naming import LABEL, namespace_of
from anypop.agent.runtime.seam import STOP_GRACE_S, Spec
from anypop.host import netns

_CPU_PERIOD_US = 100_000  # the kernel's default


def body_for(spec: Spec, *, prefix: str, name: str, limits: tuple[tuple[str, int], ...]) -> dict[str, Any]:
    """The request's body. Contains secrets: never log it."""
    instance, container = spec.instance, spec.container
    body: dict[str, Any] = {
        "name": name,
        "image": container.image,
        "hostname": instance.name,
        "netns": {"nsmode": "path", "value": str(netns.path_of(namespace_of(prefix, instance.uid)))},
        "labels": labels_for(spec, prefix),
        "env": {**dict(container.env), **dict(container.secrets)},
        "r_limits": [{"type": kind, "hard": value, "soft": value} for kind, value in limits],
        "resource_limits": {
            "cpu": {"quota": container.cpu_millis * _CPU_PERIOD_US // 1000, "period": _CPU_PERIOD_US},
            "memory": {"limit": container.memory_bytes},
        },
        "hostadd": [f"{host}:{address}" for host in _hosts(spec) for address in (a.private for a in instance.addresses())],
        "restart_policy": "no",  # restarts are ours, with health and back-off
        "stop_timeout": STOP_GRACE_S,
    }
    if container.command:
        body["entrypoint"] = list(container.command)  # replaces the image's entry point and, with it, the image's arguments
    if container.args:
        body["command"] = list(container.args)
    return body


def labels_for(spec: Spec, prefix: str) -> dict[str, str]:
    """What a later agent finds the container by."""
    told = {
        "prefix": prefix,
        "pop": spec.pop,
        "instance": spec.instance.name,
        "uid": spec.instance.uid,
        "workload": spec.instance.workload_id,
        "template": spec.instance.template,
        "revision": str(spec.instance.revision),
        "generation": str(spec.generation),
        "container": spec.container.name,
    }
    return {LABEL + key: value for key, value in told.items()}


def _hosts(spec: Spec) -> list[str]:
    domain = spec.instance.hosts_domain
    return [spec.instance.name, f"{spec.instance.name}.{domain}"] if domain else [spec.instance.name]
