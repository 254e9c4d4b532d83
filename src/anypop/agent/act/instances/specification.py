"""A container as Podman's API wants it told (libpod's SpecGenerator). Pure.

In: the step that asks for it. Out: the JSON body of `containers/create`. The container joins the instance's
ready-made network namespace, is called by the instance's name, and gets its limits. Environment values that the
workload asks for have been filled in by the planner; those that every instance has (`ANYPOP_...`) are added here, so
that they are no part of what a container is made from.
"""

from pathlib import Path
from typing import Any

from anypop.agent.act.instances import own_files
from anypop.agent.act.instances.labels import labels_for
from anypop.agent.act.instances.runtime import STOP_GRACE_S
from anypop.agent.act.instances.shutting_in import cpu, resources, shut_in
from anypop.agent.act.volumes.mounts import place
from anypop.agent.decide.steps import CreateContainer
from anypop.agent.naming import container_of, namespace_of
from anypop.host import netns
from anypop.model.confinement import Confinement
from anypop.model.names import host_label
from anypop.model.order import InstanceOrder
from anypop.model.volume import volume_id
from anypop.model.workload import Container

OWN = "ANYPOP_"  # what the names of these variables begin with
_SUFFIX = {4: "IP", 6: "IPV6"}
# whoever may take more memory than it is sure of goes before all others where the host itself runs out of it
_FIRST_TO_GO = 500


def body_for(
    step: CreateContainer,
    *,
    prefix: str,
    pop: str,
    name: str,
    limits: tuple[tuple[str, int], ...],
    confinement: Confinement = Confinement.OWN_USERS,
    volumes: Path | None = None,
) -> dict[str, Any]:
    """The request's body. Contains secrets: never log it. `volumes`: where volumes are mounted for instances."""
    instance, container = step.instance, step.container
    body: dict[str, Any] = {
        "name": name,
        "image": container.image,
        "hostname": host_label(instance.name),
        "netns": {"nsmode": "path", "value": str(netns.path_of(namespace_of(prefix, instance.uid)))},
        "labels": labels_for(step, prefix=prefix, pop=pop, confinement=confinement),
        "env": {**own_environment(instance, pop), **dict(container.env), **dict(container.secrets)},
        "r_limits": [{"type": kind, "hard": value, "soft": value} for kind, value in limits],
        "resource_limits": {
            "cpu": cpu(container, confinement),
            **resources(container, step.rules, confinement),
        },
        "restart_policy": "no",  # restarts are ours, with health and back-off
        "stop_timeout": STOP_GRACE_S,
        # begun anew when it is full; the agent keeps the one before
        "log_configuration": {"driver": "k8s-file", "size": step.rules.log_bytes},
        **shut_in(instance, container, confinement),
        **_processes(instance, container, prefix, confinement),
    }
    if confinement is Confinement.OLDER:
        body["hostadd"] = [
            f"{host}:{address.private}" for host in _hosts(instance) for address in instance.links[0].addresses
        ]
    else:
        folder = own_files.folder_of(prefix, instance.uid, container.name)
        body["mounts"] = [*body["mounts"], *own_files.mounts(folder, read_only=container.security.read_only)]
        if container.most_memory_bytes > container.memory_bytes:
            body["oom_score_adj"] = _FIRST_TO_GO
    if container.working_dir:
        body |= {"work_dir": container.working_dir, "create_working_dir": True}
    if container.command:
        # replaces the image's entry point and, with it, the image's arguments
        body["entrypoint"] = list(container.command)
    if container.mounts:
        body["mounts"] = [*body.get("mounts", ()), *_mounts(instance, container, volumes)]
    if container.args:
        body["command"] = list(container.args)
    return body


def _mounts(instance: InstanceOrder, container: Container, volumes: Path | None) -> list[dict[str, Any]]:
    """Its volumes. What is mounted elsewhere later never shows inside, nor the other way round."""
    assert volumes is not None  # whoever makes containers with volumes has mounted them
    return [
        {
            "destination": mount.path,
            "type": "bind",
            "source": str(place(volumes, instance.uid, volume_id(instance.workload_id, instance.name, mount.claim))),
            "options": ["rbind", "rprivate", "rw", "nosuid", "nodev"],
        }
        for mount in container.mounts
    ]


def _processes(instance: InstanceOrder, container: Container, prefix: str, confinement: Confinement) -> dict[str, Any]:
    """Where an instance's containers see each other's processes, all but the first join the first one's, and its
    users with them: nobody else may look into them.
    """
    owner = instance.containers[0].name
    is_main = any(c.name == container.name for c in instance.containers)
    if not instance.payload.shared_processes or container.name == owner or not is_main:
        return {}
    joined = {"nsmode": "container", "value": container_of(prefix, instance.uid, owner)}
    if confinement is not Confinement.OWN_USERS:
        return {"pidns": joined}
    return {"pidns": joined, "userns": joined, "idmappings": None}


def own_environment(instance: InstanceOrder, pop: str) -> dict[str, str]:
    """Who and where it is: its addresses, its name and its PoP. A workload's own variable of the same name wins."""
    found = {f"{OWN}INSTANCE": str(instance.name), f"{OWN}POP": pop, f"{OWN}CITY": pop}
    for address in instance.links[0].addresses:
        suffix = _SUFFIX[address.private.version]
        found |= {
            f"{OWN}PRIVATE_{suffix}": str(address.known),
            f"{OWN}EXTERNAL_{suffix}": str(address.external or ""),
        }
    for anycast in instance.anycast:
        found.setdefault(f"{OWN}ANYCAST_{_SUFFIX[anycast.version]}", str(anycast))
    return dict(sorted((name, value) for name, value in found.items() if value))


def _hosts(instance: InstanceOrder) -> list[str]:
    domain = instance.hosts_domain
    return [instance.name, f"{instance.name}.{domain}"] if domain else [instance.name]
