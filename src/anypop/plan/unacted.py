"""What is accepted and shown again, but has no effect yet: told to the client instead of pretended.

In: a checked body. Out: a path and an explanation for each such field. These only tune how an instance runs; what an
application could not work without is refused by `plan.schema` instead. A field that gains its effect leaves this list.
"""

from collections.abc import Iterator

from anypop.model.errors import Problem
from anypop.plan.schema import Container, WorkloadBody

_OF_CONTAINERS = {
    "startup_probe": ("startupProbe", "instances are probed quickly until they first answer"),
    "termination_message_path": ("terminationMessagePath", "no termination message is read"),
    "termination_message_policy": ("terminationMessagePolicy", "no termination message is read"),
}
_OF_ALL_CONTAINERS = {
    "termination_grace_period_seconds": (
        "terminationGracePeriodSeconds",
        "an instance is drained, then has 2 s to end",
    ),
    "share_process_namespace": ("shareProcessNamespace", "each container has processes of its own"),
}


def unacted(body: WorkloadBody) -> Iterator[Problem]:
    """One entry for each field that was set and has no effect."""
    for name, container in (body.spec.containers or {}).items():
        yield from _of_container(f"spec.containers.{name}", container)
    if body.spec.image_pull_credentials:
        yield Problem(path="spec.imagePullCredentials", message="images are pulled without credentials")
    if body.spec.runtime is not None and (runtime := body.spec.runtime.containers) is not None:
        for attribute, (field, message) in _OF_ALL_CONTAINERS.items():
            if getattr(runtime, attribute):
                yield Problem(path=f"spec.runtime.containers.{field}", message=message)
    for name, target in body.targets.items():
        deployments = target.spec.deployments
        if deployments.max_replicas or deployments.scale_settings:
            message = "nothing scales by itself yet: minReplicas run in each city"
            yield Problem(path=f"targets.{name}.spec.deployments.scaleSettings", message=message)


def _of_container(path: str, container: Container) -> Iterator[Problem]:
    for attribute, (field, message) in _OF_CONTAINERS.items():
        if getattr(container, attribute):
            yield Problem(path=f"{path}.{field}", message=message)
    for name, port in (container.ports or {}).items():
        if port.protocol and port.protocol.upper() not in ("TCP", "UDP"):
            yield Problem(
                path=f"{path}.ports.{name}.protocol", message=f"{port.protocol!r} is unknown and taken as TCP"
            )
