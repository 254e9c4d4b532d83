"""The list of a stack's workloads, page by page.

In: a stack, a page's beginning, a text to look for. Out: the rows of that page, each with its state; whoever looks at
a filtered list is told so, and how many there are without the filter.
"""

from typing import Any
from urllib.parse import urlencode

from starlette.responses import Response

from anypop.portal import summary
from anypop.portal.visit import Visit

PAGE = 25


async def first(visit: Visit) -> Response:
    """The first page of all: the list of the first stack."""
    if not visit.stacks:
        return visit.page("no_stack.html")
    return visit.to(f"/portal/stacks/{visit.stacks[0]['slug']}/workloads")


async def listed(visit: Visit) -> Response:
    stack = visit.request.path_params["stack"]
    query = visit.request.query_params
    sought = query.get("q", "").strip()
    begin = beginning(visit)
    found = await _page(visit, stack, begin=begin, sought=sought)
    info = found["pageInfo"]
    everything = info if not sought else (await _page(visit, stack, begin=0, sought="", first=1))["pageInfo"]
    rows = [row(one) for one in found["results"]]

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


def beginning(visit: Visit) -> int:
    """Where the page begins that the address asks for."""
    text = visit.request.query_params.get("from", "0")
    return int(text) if text.isdecimal() and len(text) < 9 else 0


async def _page(visit: Visit, stack: str, *, begin: int, sought: str, first: int = PAGE) -> Any:
    query: dict[str, object] = {"page_request.first": first, "page_request.after": begin - 1}
    if sought:
        query["page_request.filter"] = containing(sought)
    return await visit.api.get("anypop/v1/stacks", stack, "summaries", **query)


def containing(text: str) -> str:
    """A filter of the API: those that have it in their name."""
    # it knows two kinds of quotes, and no way to write both of them in one text
    quote = "'" if '"' in text else '"'
    return f"name~{quote}{text.replace(quote, '')}{quote}"


def row(told: Any) -> dict[str, Any]:
    """What a row shows of a summary."""
    return {
        "id": told["id"],
        "slug": told["slug"],
        "name": told["name"],
        "glance": summary.glance(told, leaving="deleteRequestedAt" in told),
        "cities": [one["cityCode"] for one in told["cities"]],
        "anycast": told["anycast"],
        "images": told["images"],
    }
