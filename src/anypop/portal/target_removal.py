"""The page that takes a target away from a workload: what would go, what it would cost then, and the button.

In: a workload and the name of one of its targets. Out: the API's plan for the same workload without it; and that change
itself. It needs no script. Nothing else is changed with it, and who asked before somebody else changed the workload is
refused.
"""

import copy
from typing import Any

from starlette.responses import Response

from anypop.portal import planned_landings, summary
from anypop.portal.calls import Refused
from anypop.portal.visit import Page, Visit
from anypop.portal.workload import declared_of, done, place


async def ask(visit: Visit) -> Response:
    return await _page(visit, await declared_of(visit))


async def plan_landings(visit: Visit) -> Response:
    """Where every network would land without it."""
    declared = await declared_of(visit)
    wanted = _without(declared, visit, version=declared["metadata"]["version"])
    return await planned_landings.part(visit, {"workload": wanted})


async def take_away(visit: Visit) -> Response:
    stack, _ = place(visit)
    declared = await declared_of(visit)
    wanted = _without(declared, visit, version=visit.form.get("version", ""))
    try:
        await visit.api.send(
            "PUT", "workload/v1/stacks", stack, "workloads", declared["id"], body={"workload": wanted}
        )  # fmt: skip
    except Refused as refused:
        return await _page(visit, declared, refused=refused)
    return done(visit, "taken-away")


async def _page(visit: Visit, declared: Any, *, refused: Refused | None = None) -> Response:
    stack, _ = place(visit)
    wanted = _without(declared, visit, version=declared["metadata"]["version"])
    planned = None
    if refused is None:
        try:
            planned = await visit.api.send(
                "POST", "anypop/v1/stacks", stack, "plan", body={"workload": wanted}
            )  # fmt: skip
        except Refused as error:
            refused = error
    return visit.page(
        "target_removal.html",
        status=refused.status if refused is not None else 200,
        stack=stack,
        workload=declared,
        target=visit.request.path_params["target"],
        planned=planned,
        refused=refused,
        name=declared["name"],
        anycast=summary.anycast(declared),
    )


def _without(declared: Any, visit: Visit, *, version: str) -> dict[str, Any]:
    """The document without the target. Raises `Refused`."""
    made: dict[str, Any] = copy.deepcopy(dict(declared))
    if made.setdefault("targets", {}).pop(name := visit.request.path_params["target"], None) is None:
        raise Refused(404, f"{declared['slug']} has no target {name}")
    made["metadata"] = {**made["metadata"], "version": version}
    return made


_AT = "/portal/stacks/{stack}/workloads/{workload}/targets/{target}/remove"
PAGES: tuple[tuple[str, str, Page], ...] = (
    ("GET", _AT, ask),
    ("POST", f"{_AT}/landings", plan_landings),
    ("POST", _AT, take_away),
)
