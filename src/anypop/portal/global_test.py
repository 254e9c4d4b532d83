"""The global test: fifteen requests from every vantage by one button, what they saw, and two tests side by side.

In: a stack and one of its workloads with an anycast address. Out: the newest test, or the one that is meant, with hits
for each instance and seconds; beside an earlier one where two are chosen. All of it is the API's: it keeps the tests
and compares them.
"""

from typing import Any

from starlette.responses import Response

from anypop.portal import landing_map, summary
from anypop.portal.calls import Refused
from anypop.portal.choosing import choice
from anypop.portal.visit import Page, Visit


async def shown(visit: Visit) -> Response:
    stack = visit.request.path_params["stack"]
    query = visit.request.query_params
    chosen = await choice(visit, stack, most=landing_map.MOST_WORKLOADS)
    declared = chosen.declared
    if declared is None:
        return visit.page("map_none.html", stack=stack, choice=chosen, workload=None)
    path = ("anypop/v1/stacks", stack, "workloads", declared["id"], "tests")
    kept = (await visit.api.get(*path))["results"]
    wanted, against = query.get("test", ""), query.get("against", "")
    one: Any = None
    if wanted or kept:
        more = {"against": against} if against else {}
        one = (await visit.api.get(*path, wanted or kept[0]["id"], **more))["test"]
    vantages = (await visit.api.get("anypop/v1/vantages"))["results"]
    return visit.page(
        "tests.html",
        stack=stack,
        workload=declared,
        anycast=summary.anycast(declared),
        kept=kept,
        test=one,
        against=against,
        vantages=vantages,
        most=max((one or {}).get("hits", {}).values(), default=0),
        done=landing_map.DONE.get(query.get("done", ""), ""),
        refused=None,
    )


async def run(visit: Visit) -> Response:
    """The test; then what it saw."""
    stack = visit.request.path_params["stack"]
    slug = visit.form.get("workload", "")
    try:
        await visit.api.send("POST", "anypop/v1/stacks", stack, "workloads", slug or "-", "tests", body={})
    except Refused as refused:
        return visit.page("refused.html", status=refused.status, refused=refused)
    return visit.to(f"/portal/stacks/{stack}/map/tests", workload=slug, done="tested")


_AT = "/portal/stacks/{stack}/map/tests"
PAGES: tuple[tuple[str, str, Page], ...] = (("GET", _AT, shown), ("POST", _AT, run))
