"""The list of a stack's workloads, page by page.

In: a stack, a page's beginning, a text to look for. Out: the rows of that page, each with its state; whoever looks at
a filtered list is told so, and how many there are without the filter.
"""

import asyncio
from typing import Any
from urllib.parse import urlencode

from starlette.responses import Response

from anypop.portal import summary
from anypop.portal.calls import Refused
from anypop.portal.visit import Visit

PAGE = 25
MOST_SHOWN = 1000  # of one workload's instances; beyond that its page says so


async def first(visit: Visit) -> Response:
    """The first page of all: the list of the first stack."""
    if not visit.stacks:
        return visit.page("no_stack.html")
    return visit.to(f"/portal/stacks/{visit.stacks[0]['slug']}/workloads")


async def listed(visit: Visit) -> Response:
    stack = visit.request.path_params["stack"]
    query = visit.request.query_params
    sought = query.get("q", "").strip()
    begin = int(text) if (text := query.get("from", "0")).isdecimal() and len(text) < 9 else 0
    found = await _page(visit, stack, begin=begin, sought=sought)
    info = found["pageInfo"]
    everything = info if not sought else (await _page(visit, stack, begin=0, sought="", first=1))["pageInfo"]
    rows = await asyncio.gather(*(_row(visit, stack, one) for one in found["results"]))

    def at(start: int) -> str:
        return "?" + urlencode({**({"q": sought} if sought else {}), **({"from": start} if start else {})})

    return visit.page(
        "workloads.html",
        stack=stack,
        rows=rows,
        sought=sought,
        count=int(info["totalCount"]),
        everything=int(everything["totalCount"]),
        begin=begin,
        earlier=at(max(0, begin - PAGE)) if begin else "",
        later=at(begin + PAGE) if info["hasNextPage"] else "",
    )


async def _page(visit: Visit, stack: str, *, begin: int, sought: str, first: int = PAGE) -> Any:
    query: dict[str, object] = {"page_request.first": first, "page_request.after": begin - 1}
    if sought:
        # the API's filters know two kinds of quotes, and no way to write both of them in one text
        quote = "'" if '"' in sought else '"'
        query["page_request.filter"] = f"name~{quote}{sought.replace(quote, '')}{quote}"
    return await visit.api.get("workload/v1/stacks", stack, "workloads", **query)


async def _row(visit: Visit, stack: str, workload: Any) -> dict[str, Any]:
    leaving = "deleteRequestedAt" in workload["metadata"]
    try:
        found = await visit.api.get(
            "workload/v1/stacks", stack, "workloads", workload["id"], "instances", **{"page_request.first": MOST_SHOWN}
        )
        instances = found["results"]
    except Refused as refused:
        if refused.status != 404:  # gone since the list was made
            raise
        instances, leaving = [], True
    return row(workload, instances, leaving=leaving)


def row(workload: Any, instances: list[Any], *, leaving: bool) -> dict[str, Any]:
    """What a row shows."""
    return {
        "workload": workload,
        "glance": summary.glance(instances, leaving=leaving),
        "cities": sorted({i["location"]["cityCode"] for i in instances}),
        "anycast": summary.anycast(workload),
        "images": summary.images(workload),
    }
