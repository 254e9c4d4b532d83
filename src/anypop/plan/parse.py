"""From the Workload API's JSON to a workload: the front door of the flow.

In: the object inside `{"workload": ...}`, with the ids that control gave it and the cities that exist. Out: the workload for the planner,
the document that may be shown to clients, and the secrets apart from it. Raises `Invalid` with all problems at once, each with its path
as the client wrote it. It must not fill in defaults that clients would see as drift.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from anypop.model.errors import Problem
from anypop.model.names import CityCode, StackId, WorkloadId
from anypop.model.plan import AnycastAddress
from anypop.model.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """A value that is never shown: `path` is where the client wrote it (`spec.containers.web.env.TOKEN.secretValue`)."""

    path: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """`document` has stackId, id, name, slug, metadata (labels, annotations), spec and targets; control adds status, metadata.version and
    times. `workload` holds env secrets too (its PoPs need them): store it as carefully as `secrets`. `unacted`: what was accepted and
    has no effect yet, as path and explanation."""

    workload: Workload
    document: dict[str, Any]
    secrets: tuple[Secret, ...] = ()
    unacted: tuple[Problem, ...] = ()


def parse(body: Mapping[str, Any], *, workload_id: WorkloadId, stack_id: StackId, stack_slug: str, cities: Collection[CityCode]) -> Parsed:
    """`body` as a workload. Raises `Invalid`."""
    raise NotImplementedError


def document_with_anycast(document: Mapping[str, Any], addresses: AnycastAddress | None, *, dual_stack: bool) -> dict[str, Any]:
    """`document` with the annotation that tells clients the anycast addresses, IPv4 first; unchanged without addresses."""
    raise NotImplementedError
