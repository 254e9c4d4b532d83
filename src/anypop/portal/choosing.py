"""Which workload with an anycast address a page is of, and which others there are to choose from.

In: a stack, and what the address or a form says: a workload by its slug or id, or what its name contains. Out: a
`Choice`. Where there are more than are listed it says so, and the others are found by their names; it decides nothing
of who may see them, the API does.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from anypop.portal import summary
from anypop.portal.visit import Visit
from anypop.portal.workloads import containing

WITH_ANYCAST = "anycast!=''"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """`declared`: the workload that is meant, else the first; None: there is none. `listed`: what there is to choose
    from; `whole`: that is all. `sought`: what names must contain, and those of `count` of `everything` do.
    """

    declared: Any
    listed: Sequence[Any]
    whole: bool
    sought: str = ""
    count: int = 0
    everything: int = 0


async def choice(visit: Visit, stack: str, *, most: int) -> Choice:
    """`most`: so many are listed. Raises `Refused` where one is meant that is not there."""
    query = visit.request.query_params
    wanted = query.get("workload", "") or visit.form.get("workload", "")
    if sought := query.get("q", "").strip():
        return await _sought(visit, stack, wanted, sought, most)
    found = await visit.api.get("workload/v1/stacks", stack, "workloads", **{"page_request.first": most})
    listed = [one for one in found["results"] if summary.anycast(one)]
    whole = not found["pageInfo"]["hasNextPage"]
    if not listed and not whole:
        listed = (await _summaries(visit, stack, WITH_ANYCAST, 1))["results"]
    declared = await _meant(visit, stack, wanted, listed, found["results"])
    return Choice(declared=declared, listed=_with(declared, listed), whole=whole)


async def _sought(visit: Visit, stack: str, wanted: str, sought: str, most: int) -> Choice:
    found, every = await asyncio.gather(
        _summaries(visit, stack, f"{WITH_ANYCAST} and {containing(sought)}", most),
        _summaries(visit, stack, WITH_ANYCAST, 1),
    )
    declared = await _meant(visit, stack, wanted, found["results"], ())
    return Choice(
        declared=declared,
        listed=_with(declared, found["results"]),
        whole=False,
        sought=sought,
        count=int(found["pageInfo"]["totalCount"]),
        everything=int(every["pageInfo"]["totalCount"]),
    )


async def _meant(visit: Visit, stack: str, wanted: str, listed: Sequence[Any], there: Sequence[Any]) -> Any:
    """The whole of it: from those that are `there`, or asked for."""
    wanted = wanted or (str(listed[0]["id"]) if listed else "")
    if not wanted:
        return None
    for one in there:
        if wanted in (one["slug"], one["id"]):
            return one
    return (await visit.api.get("workload/v1/stacks", stack, "workloads", wanted))["workload"]


def _with(declared: Any, listed: Sequence[Any]) -> Sequence[Any]:
    """What a page is of can be chosen on it, too."""
    if declared is None or any(one["id"] == declared["id"] for one in listed):
        return listed
    return [declared, *listed]


async def _summaries(visit: Visit, stack: str, condition: str, first: int) -> Any:
    query = {"page_request.first": first, "page_request.filter": condition}
    return await visit.api.get("anypop/v1/stacks", stack, "summaries", **query)
