"""/anypop/v1/.../preview and .../changes: what a new declaration of a workload would change, or a kept one did.

In: a body as PUT takes it (or PATCH, with `merge=true`). Out: each field that differs, whether instances have to be
made anew for it, how many there are then, and the price. Nothing is stored.
"""

import asyncio
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query

from anypop.api import shapes
from anypop.api.bodies import JsonObject
from anypop.api.context import AskingCaller, CallerStack, PlatformDep
from anypop.api.documentation import answers
from anypop.api.models.rollouts import Preview, RevisionChanges
from anypop.api.models.workloads import WorkloadPatch, WorkloadRequest
from anypop.api.parameters import whole
from anypop.control import declare
from anypop.control.refusals import NotFound
from anypop.control.state import Declaration, Revision
from anypop.plan.parse import Parsed
from anypop.plan.price import quote
from anypop.plan.rollout import waves_of
from anypop.plan.template import template_of

router = APIRouter(prefix="/anypop/v1/stacks/{stack_id}/workloads/{workload_id}", tags=["rollouts"])

Documented = Declaration | Parsed | Revision


@router.post("/preview")
@answers(Preview)
async def preview_change(
    *,
    workload_id: Annotated[str, Path(description="id or slug")],
    stack: CallerStack,
    caller: AskingCaller,
    platform: PlatformDep,
    body: Annotated[dict[str, Any], Depends(JsonObject(WorkloadRequest | WorkloadPatch, member="workload"))],
    merge: Annotated[bool, Query(description="the body is as PATCH takes it, not as PUT does")] = False,
) -> dict[str, Any]:
    """Preview a change of a workload: what would differ, and what it would cost; nothing changes."""
    current = platform.workload(stack, workload_id)
    wanted = declare.merged(current, body) if merge else body
    made = declare.redeclared(wanted, current, stack, platform.cities(), platform.rules())
    made = await asyncio.to_thread(platform.with_images, made, caller, current.workload)
    state = platform.core.state
    template = template_of(made.workload, state.template_key)
    anew = template != current.workload.template
    pops = {city: target.replicas for target in made.workload.targets for city in target.cities}
    return shapes.filled(
        {
            "changes": list(differences(current, made)),
            "new_processes": anew,
            "waves": [list(wave) for wave in waves_of(pops)] if anew else [],
            "instances": {"before": state.count_of(current.workload), "after": state.count_of(made.workload)},
            "quote": {
                "before": shapes.quoted(quote(current.workload, platform.prices)),
                "after": shapes.quoted(quote(made.workload, platform.prices)),
            },
            "without_effect": [{"field": problem.path, "description": problem.message} for problem in made.unacted],
        }
    ) | {"new_processes": anew}


@router.get("/revisions/{revision}/changes")
@answers(RevisionChanges)
async def compare_revisions(
    *,
    workload_id: Annotated[str, Path(description="id or slug")],
    revision: Annotated[int, whole(9), Path(description="a kept one", ge=0)],
    stack: CallerStack,
    platform: PlatformDep,
    since: Annotated[int, whole(9), Query(description="default: the kept one before it", ge=0)] = 0,
) -> dict[str, Any]:
    """Compare two revisions of a workload: each field that differs; of secrets only that they do."""
    declared = platform.workload(stack, workload_id)
    kept = {one.number: one for one in (*platform.core.state.revisions_of(declared.id).values(), declared.newest)}
    before = since or max((number for number in kept if number < revision), default=0)
    for number in filter(None, (revision, before)):
        if number not in kept:
            raise NotFound(f"no revision {number}; kept are {', '.join(map(str, sorted(kept)))}")
    if not before:
        raise NotFound(f"no revision before {revision} is kept")
    told = {"revision": revision, "since": before}
    return told | {"changes": list(differences(kept[before], kept[revision]))}


def differences(current: Documented, made: Documented) -> Iterator[dict[str, Any]]:
    """What differs, field by field, with the path; of secrets only that they differ."""
    before, after = dict(_leaves(current.document)), dict(_leaves(made.document))
    for path in sorted({*before, *after}):
        if before.get(path) != after.get(path):
            yield {"path": path, "before": before.get(path), "after": after.get(path)}
    old, new = {s.path: s.value for s in current.secrets}, {s.path: s.value for s in made.secrets}
    for path in sorted({*old, *new}):
        if old.get(path) != new.get(path):
            yield {"path": path, "secret": True}


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path, value
