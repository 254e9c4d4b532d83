"""Where the time of a workload's deployment went, as a waterfall: a bar for each step of each instance, by one scale.

In: the API's timeline. Out: a page; its bars are pictures beside figures that say the same, so nobody has to see them.
"""

from itertools import pairwise
from typing import Any

from starlette.responses import Response

from anypop.portal.visit import Page, Visit

WIDTH = 400  # units of the picture


async def shown(visit: Visit) -> Response:
    stack, ref = visit.request.path_params["stack"], visit.request.path_params["workload"]
    found = await visit.api.get("anypop/v1/stacks", stack, "workloads", ref, "timeline")
    longest = max((float(s["after_ms"]) for one in found["instances"] for s in one["steps"]), default=0.0) or 1.0
    instances = [{**one, "bars": _bars(one, longest)} for one in found["instances"]]
    return visit.page(
        "timeline.html", stack=stack, slug=found["workload"], found=found, instances=instances, width=WIDTH
    )


def _bars(instance: Any, longest: float) -> list[dict[str, Any]]:
    """One for each step after the first: from the end of the step before it to its own."""
    steps = sorted(instance["steps"], key=lambda step: float(step["after_ms"]))
    bars = []
    for before, step in pairwise(steps):
        begin, end = (WIDTH * max(0.0, float(one["after_ms"])) / longest for one in (before, step))
        took = float(step["after_ms"]) - float(before["after_ms"])
        bars.append({"step": step["step"], "by": step["by"], "took": took, "x": begin, "width": max(1.0, end - begin)})
    return bars


PAGES: tuple[tuple[str, str, Page], ...] = (("GET", "/portal/stacks/{stack}/workloads/{workload}/timeline", shown),)
