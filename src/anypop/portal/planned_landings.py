"""Where every network would land by a plan that nobody has carried out yet, on one map with where it lands now.

In: the body of a plan. Out: a part of a page that is asked for once the plan is there, since the model takes a moment.
What it says, and what it cannot say, is the API's.
"""

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from anypop.picture.landing_map import inside
from anypop.portal import landings
from anypop.portal.calls import Refused
from anypop.portal.visit import Visit


async def part(visit: Visit, body: Any) -> Response:
    stack = visit.request.path_params["stack"]
    try:
        pops, found = await asyncio.gather(
            visit.api.get("anypop/v1/pops"),
            visit.api.send("POST", "anypop/v1/stacks", stack, "plan", "landings", body=body),
        )
    except Refused as refused:  # a platform without a graph has plans too
        return visit.page("planned_landings.html", unknown=refused.message, found=None)
    seen = landings.predicted(found, time.time())
    shares = {share["name"]: share["weight"] for share in found["by_pop"]}
    picture = landings.picture("Where networks would land", pops["results"], seen, own="", by_model=True, shares=shares)
    return visit.page(
        "planned_landings.html",
        unknown="",
        found=found,
        seen=seen,
        parts=parts(found),
        picture=picture,
        drawing=inside(picture),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A PoP's part of everybody, `now` and by the plan (`then`); `pop` empty: no route. `answered`: where what comes is
    answered then.
    """

    pop: str
    now: float
    then: float
    extra_km: float | None
    answered: str


def parts(found: Any) -> tuple[Part, ...]:
    """As it is now is as it would be, with all who move taken back."""
    then = {share["name"] or "": share for share in found["by_pop"]}
    now = {pop: float(share["weight"]) for pop, share in then.items()}
    for move in found.get("change", {}).get("moves", ()):
        for pop, weight in ((move["to"] or "", -move["weight"]), (move["from"] or "", move["weight"])):
            now[pop] = now.get(pop, 0.0) + weight
    return tuple(
        Part(
            pop=pop,
            now=max(0.0, part),
            then=then[pop]["weight"] if pop in then else 0.0,
            extra_km=then[pop]["extra_km"] if pop in then else None,
            answered=found["carried_to"].get(pop, pop) if pop in then else "",
        )
        for pop, part in now.items()
    )
