"""What instances use, as charts: on a workload's page and for a whole stack.

In: a chart, whose, by what, how far back. Out: pages with room for charts, and for the script that draws them the API's
own answer, with the moments between which it lies and a name for each curve. Which charts there are is the API's closed
list; a control without a store of metrics asks the hosts, and this does not care.
"""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.responses import JSONResponse, Response

from anypop.portal import shields
from anypop.portal.calls import Refused
from anypop.portal.visit import Page, Visit


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """`name`: of the API's list."""

    name: str
    title: str


CHARTS = (
    Chart(name="cpu", title="CPU"),
    Chart(name="memory", title="Memory"),
    Chart(name="receive", title="Received"),
    Chart(name="transmit", title="Sent"),
    Chart(name="new_flows", title="New connections"),
    Chart(name="probe", title="Time of a probe"),
)
OF_WORKLOAD = CHARTS[:4]
SPANS: Mapping[str, tuple[str, int]] = {
    "15m": ("15 min", 900), "1h": ("1 h", 3600), "6h": ("6 h", 21_600), "1d": ("1 day", 86_400),
    "7d": ("7 days", 604_800), "30d": ("30 days", 2_592_000),
}  # fmt: skip
USUAL = "15m"
SECONDS = re.compile(r"[0-9]{1,11}(\.[0-9]{1,6})?")

wall: Callable[[], float] = time.time
# what tells the curves apart, and which of the answer's labels is its name
BY: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "workload": ("Workload", ("workload",)),
    "pop": ("PoP", ("workload", "pop")),
    "instance": ("Instance", ("instance",)),
}


async def page(visit: Visit) -> Response:
    """All charts of a stack."""
    stack = visit.request.path_params["stack"]
    found = await visit.api.get("anypop/v1/stacks", stack, "summaries", **{"page_request.first": 1})
    everything = int(found["pageInfo"]["totalCount"])
    return visit.page("metrics.html", stack=stack, everything=everything, **room(CHARTS, by="workload"))


def room(charts: tuple[Chart, ...], *, by: str, only: tuple[str, ...] = tuple(BY)) -> dict[str, Any]:
    """What a page with charts needs. `only`: what the curves may be told apart by there."""
    return {"charts": charts, "spans": SPANS, "span": USUAL, "bys": {key: BY[key][0] for key in only}, "by": by}


async def data(visit: Visit) -> Response:
    """One chart; with `since` and `step` what is new of it, for a script that keeps the rest. A refusal is told in
    words, since a script reads it.
    """
    query = visit.request.query_params
    span = SPANS.get(query.get("span", ""), SPANS[USUAL])[1]
    by = query.get("by", "") if query.get("by", "") in BY else "workload"
    now = wall()
    asked = {"chart": query.get("chart", ""), "stack": visit.request.path_params["stack"], "by": by}
    since = _seconds(query.get("since", ""))
    begin = now - span if since is None else min(max(since, now - span), now - 1)
    asked |= {"from": f"{begin:.0f}", "workload": query.get("workload", "")}
    asked |= {"step": query.get("step", "")} if since is not None else {}
    headers = shields.of_page(visit.nonce)
    try:
        found = await visit.api.get("anypop/v1/metrics/query", **{key: one for key, one in asked.items() if one})
    except Refused as refused:
        says = "; ".join(f"{p.field}: {p.says}" for p in refused.problems) or refused.message
        return JSONResponse({"message": f"{says[:1].upper()}{says[1:]}"}, status_code=refused.status, headers=headers)
    series = [
        {"name": _name(one["labels"], by, whole=not asked["workload"]), "points": one["points"]}
        for one in found["series"]
    ]
    return JSONResponse(
        {
            "unit": found["unit"],
            "step": found["step"],
            "age": found.get("age"),
            "missing": found.get("missing", []),
            "source": found["source"],
            "from": now - span,
            "to": now,
            "series": series,
        },
        headers=headers,
    )


def _seconds(text: str) -> float | None:
    """Since the epoch; None: not given."""
    return float(text) if SECONDS.fullmatch(text) else None


def _name(labels: Mapping[str, str], by: str, *, whole: bool) -> str:
    """Of a curve. `whole`: of many workloads, which a PoP's name alone would not tell apart."""
    wanted = BY[by][1] if whole else BY[by][1][-1:]
    return " ".join(labels[key] for key in wanted if key in labels) or "all"


PAGES: tuple[tuple[str, str, Page], ...] = (
    ("GET", "/portal/stacks/{stack}/metrics", page),
    ("GET", "/portal/stacks/{stack}/measured", data),
)
