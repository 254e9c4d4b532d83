"""Routing: hosts with room left, sessions, announcements with their scope, drains, a looking glass, and a box to paste
what somebody else's router prints.

In: a stack, questions, forms. Out: the page, and for each form the API's own operation. What is the operator's alone
(hosts, the looking glass, drains of a PoP) is shown to the operator alone; whether it is so, the API says.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from anypop.portal.acting import did
from anypop.portal.calls import Refused
from anypop.portal.choosing import choice
from anypop.portal.visit import Page, Visit

MOST_WORKLOADS = 40  # to choose from; any other one by its name
MOST_ROWS = 50  # of a table; where there are more, those that are not well come first, and a link leads to all

DONE = {
    "drained": "The drain has begun: new connections go elsewhere, stage by stage.",
    "undrained": "The traffic comes back, stage by stage.",
}
QUESTIONS = {
    "sessions": "How its sessions stand",
    "route": "Which routes it has for an address",
    "told": "What it tells an upstream",
    "heard": "What it hears from an upstream",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Of a table: what is shown of it, and of how many."""

    shown: Sequence[Any]
    total: int


def rows(every: Sequence[Any], is_well: Callable[[Any], bool], most: int) -> Rows:
    """In their own order, as long as all of them are shown."""
    few = every if len(every) <= most else sorted(every, key=is_well)[:most]
    return Rows(shown=few, total=len(every))


async def shown(visit: Visit) -> Response:
    return await _page(visit)


async def _page(visit: Visit, *, refused: Refused | None = None, **more: Any) -> Response:
    stack = visit.request.path_params["stack"]
    chosen = await choice(visit, stack, most=MOST_WORKLOADS)
    declared = chosen.declared
    pops, drains, announced, hosts = await asyncio.gather(
        visit.api.get("anypop/v1/pops"), _drains(visit), _announced(visit, stack, declared), _hosts(visit)
    )
    sessions = [{"pop": pop["pop"], **session} for pop in pops["results"] for session in pop["sessions"]]
    every = max(len(sessions), len(hosts), len(announced))
    most = every if visit.request.query_params.get("all") == "1" else MOST_ROWS
    told = {"asked": None, "answer": None, "unanswered": None, "explained": None, "unread": None, "pasted": {}} | more
    return visit.page(
        "routing.html",
        status=refused.status if refused is not None else 200,
        stack=stack,
        choice=chosen,
        workload=declared,
        pops=pops["results"],
        drains=drains,
        announced=rows(announced, lambda one: one["announced"] and not one["dark"], most),
        hosts=hosts,
        ages={host["host"]: host["report_age_s"] for pop in pops["results"] for host in pop["hosts"]},
        host_rows=rows(hosts, lambda one: one["trusted"] and one["state"] == "in use", most),
        session_rows=rows(sessions, lambda one: one["state"] == "established", most),
        upstreams=sorted({session["upstream"] for session in sessions}),
        questions=QUESTIONS,
        operator=bool(visit.who.get("operator")),
        refused=refused,
        done=DONE.get(visit.request.query_params.get("done", ""), ""),
        **told,
    )


async def _drains(visit: Visit) -> list[Any]:
    found: list[Any] = (await visit.api.get("anypop/v1/drains"))["results"]
    return found


async def _announced(visit: Visit, stack: str, declared: Any) -> list[Any]:
    if declared is None:
        return []
    found: list[Any] = (await visit.api.get("anypop/v1/stacks", stack, "workloads", declared["id"], "announcements"))[
        "results"
    ]
    return found


async def _hosts(visit: Visit) -> list[Any]:
    """For the operator; nobody else is told of them."""
    if not visit.who.get("operator"):
        return []
    found: list[Any] = (await visit.api.get("anypop/v1/hosts"))["results"]
    for host in found:
        capacity, taken = host.get("capacity"), host["taken"]
        host["left"] = {key: capacity[key] - taken.get(key, 0) for key in taken} if capacity else None
    return found


async def glass(visit: Visit) -> Response:
    """One question of the closed list to one host's router."""
    asked = {key: visit.form.get(key, "") for key in ("host", "question", "address", "upstream", "family")}
    query = {key: value for key, value in asked.items() if value and key != "host"}
    try:
        answer = await visit.api.get("anypop/v1/hosts", asked["host"], "routes", **query)
    except Refused as refused:
        return await _page(visit, asked=asked, unanswered=refused)
    return await _page(visit, asked=asked, answer=answer)


async def explain(visit: Visit) -> Response:
    """What was pasted, explained."""
    pasted = {key: visit.form.get(key, "").strip() for key in ("text", "asn", "at")}
    body: dict[str, Any] = {"text": visit.form.get("text", "")}
    if pasted["asn"]:
        text = pasted["asn"].upper().removeprefix("AS")
        body["asn"] = int(text) if text.isdecimal() and len(text) < 11 else text
    if pasted["at"]:
        body |= {
            "at": pasted["at"],
            "stack": visit.request.path_params["stack"],
            "workload": visit.form.get("workload", ""),
        }
    try:
        found = await visit.api.send("POST", "anypop/v1/routes/explain", body=body)
    except Refused as refused:
        return await _page(visit, pasted=pasted, unread=refused)
    return await _page(visit, pasted=pasted, explained=found["results"])


async def drain(visit: Visit) -> Response:
    body = {"drain": {"target": visit.form.get("target", "")}}
    return await did(visit, _page, _at(visit, "drained"), "POST", "anypop/v1/drains", body=body)


async def undrain(visit: Visit) -> Response:
    call = ("anypop/v1/drains", visit.form.get("drain", "-"), "undrain")
    return await did(visit, _page, _at(visit, "undrained"), "POST", *call)


def _at(visit: Visit, word: str) -> Response:
    return visit.to(f"/portal/stacks/{visit.request.path_params['stack']}/routing", done=word)


_AT = "/portal/stacks/{stack}/routing"
PAGES: tuple[tuple[str, str, Page], ...] = (
    ("GET", _AT, shown),
    ("POST", f"{_AT}/glass", glass),
    ("POST", f"{_AT}/explain", explain),
    ("POST", f"{_AT}/drain", drain),
    ("POST", f"{_AT}/undrain", undrain),
)
