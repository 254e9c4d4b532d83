"""What is accepted and shown again, but has no effect yet: told to the client instead of pretended.

In: a checked body. Out: a path and an explanation for each such field. These only tune how an instance runs; what an
application could not work without is refused by `plan.schema` instead. A field that gains its effect leaves this list.
"""

from collections.abc import Iterator

from anypop.model.errors import Problem
from anypop.plan.claims import unmounted
from anypop.plan.life import notes
from anypop.plan.schema import Unit, WorkloadBody, every_unit


def unacted(body: WorkloadBody) -> Iterator[Problem]:
    """One entry for each field that was set and has no effect."""
    for path, container in every_unit(body):
        yield from _of_container(path, container)
    yield from notes(body)
    yield from unmounted(body)
    for name, target in body.targets.items():
        deployments = target.spec.deployments
        path = f"targets.{name}.spec.deployments"
        if deployments.metrics and deployments.max_replicas == deployments.replicas:
            message = "maxReplicas is minReplicas: their number follows no load"
            yield Problem(path=f"{path}.scaleSettings", message=message)
        elif deployments.scale_settings and not deployments.metrics:
            yield Problem(path=f"{path}.scaleSettings", message="names no metric: minReplicas run in each city")
        elif (deployments.max_replicas or 0) > deployments.replicas and not deployments.metrics:
            message = "without scaleSettings nothing asks for more: minReplicas run in each city"
            yield Problem(path=f"{path}.maxReplicas", message=message)


def _of_container(path: str, container: Unit) -> Iterator[Problem]:
    resources = container.resources
    for side in ("requests", "limits"):
        amounts = getattr(resources, side) if resources is not None else None
        if amounts is not None and amounts.ephemeral_storage:
            message = "is deprecated and has no effect: how much an instance may write is the operator's to say"
            yield Problem(path=f"{path}.resources.{side}.ephemeral-storage", message=message)
    for name, port in (container.ports or {}).items():
        if port.protocol and port.protocol.upper() not in ("TCP", "UDP"):
            yield Problem(
                path=f"{path}.ports.{name}.protocol", message=f"{port.protocol!r} is unknown and taken as TCP"
            )
