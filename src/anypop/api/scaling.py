"""/anypop/v1/.../scaling: how many instances of a workload follow their load, in each PoP, and why there are so many.

In: a workload. Out: for each of its targets with `scaleSettings`, PoP by PoP: the bounds, how many there are, what they
use, and what was decided last. What is not known is left out, and the reason says so. It decides nothing.
"""

from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Path

from anypop.api import shapes
from anypop.api.context import CallerStack, PlatformDep
from anypop.api.documentation import answers
from anypop.api.models.scaling import Scalings
from anypop.control.load import Load, Told
from anypop.control.state import Declaration, State
from anypop.plan.life import taken

router = APIRouter(prefix="/anypop/v1/stacks/{stack_id}/workloads/{workload_id}", tags=["workloads"])


@router.get("/scaling")
@answers(Scalings)
async def get_scaling(
    workload_id: Annotated[str, Path(description="id or slug")], stack: CallerStack, platform: PlatformDep
) -> dict[str, Any]:
    """Get how the numbers of a workload's instances follow their load."""
    state, declared = platform.core.state, platform.workload(stack, workload_id)
    return {"results": list(scaling(state, declared, platform.clock()))}


def scaling(state: State, declared: Declaration, now: float) -> Iterator[dict[str, Any]]:
    """One row for each target that follows its load, in each of its PoPs."""
    load = Load(Told(state, now), declared)
    asked, _ = taken(declared.workload)
    for target in declared.workload.targets:
        for city in dict.fromkeys(target.cities):
            one = state.scaled.get((declared.id, target.name, city))
            if one is None or target.scale is None:
                continue
            look, threshold = load.look(target, city, one), target.scale.threshold(asked)
            serve = one.replicas - len(look.not_ready)
            mean = None if look.load is None or serve <= 0 else round(look.load / serve * threshold)
            row = {
                "target": target.name,
                "pop": city,
                "replicas": one.replicas,
                "least": target.replicas,
                "most": target.most,
                "serve": serve,
                "threshold_millis": threshold,
                "mean_millis": mean,
                "reason": one.reason.value,
                "says": one.reason.says,
                "message": one.message or None,
                "since": shapes.moment(one.since),
                "changed_at": shapes.moment(one.acted_at),
                "changed_for": one.last.value if one.last is not None else None,
            }
            yield {key: value for key, value in row.items() if value is not None}
