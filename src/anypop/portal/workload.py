"""One workload's page: its state as it is now, its addresses, what can be done to it.

In: a workload by its slug. Out: the page, and its parts that are asked for again or come by the stream. What can be
done to it is in `workload_acts`.
"""

import asyncio
import re
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from anypop.portal import measured, shields, summary, workloads
from anypop.portal.calls import Refused
from anypop.portal.creating import images
from anypop.portal.visit import Page, Visit, asked_again

PAGE = 100  # instances
NUMBER = re.compile(r"[0-9]{1,9}")
EVENTS = 12
LOOKED_THROUGH = 1000

# what is said after a form; by word, since a text that comes with an address could be anybody's
DONE = {
    "created": "Created. Instances start now, and appear here as they do.",
    "scaled": "The number of instances is changed.",
    "restarting": "Every instance is made anew, city by city; the old one serves until the new one does.",
    "restarted": "The instance starts anew in its place.",
    "powered-off": "The virtual machine is asked to shut down, and stays off. It keeps its place and costs the same.",
    "powered-on": "The virtual machine starts, with its disks as they were.",
    "mending": "The virtual machine starts with the other image, and gets no traffic. Power on ends it.",
    "captured": "Its host copies the disk. The image is among those to start from once all of it is here and verified.",
    "changed": "The change is declared, and brought out city by city.",
    "taken-away": "The target is no longer declared. Its instances leave their traffic, and end.",
    "paused": "The rollout is paused: what is changed already stays, and nothing more is.",
    "resumed": "The rollout goes on.",
    "aborted": "The rollout is ended, and what it changed is taken back.",
    "undone": "It is declared again as it was before.",
    "rolled-back": "The revision is declared anew, and brought out city by city.",
    "draining": "The drain has begun: no new connection goes there.",
    "undrained": "The traffic comes back, stage by stage.",
    "deleting": "Deletion has begun: announcements end first, instances last.",
}


async def shown(visit: Visit) -> Response:
    return await page(visit)


async def page(visit: Visit, *, refused: Refused | None = None) -> Response:
    """The whole page. `refused`: what was asked for just now, and why it was not done."""
    stack, ref = place(visit)
    begin = workloads.beginning(visit)
    declared = await declared_of(visit)
    here = ("workload/v1/stacks", stack, "workloads", declared["id"])
    part = {"page_request.first": PAGE, "page_request.after": begin - 1}
    whole = {"page_request.filter": f"id='{declared['id']}'"}
    drains, seen, status, summaries = await asyncio.gather(
        _drains(visit),
        visit.api.get(*here, "instances", **part),
        visit.api.get("anypop/v1/stacks", stack, "workloads", declared["id"], "rollouts"),
        visit.api.get("anypop/v1/stacks", stack, "summaries", **whole),
    )
    if not summaries["results"]:
        raise Refused(404, f"no workload {ref}")  # gone since it was looked for
    rollout = status["results"][-1] if status["results"] else None
    return visit.page(
        "workload.html",
        status=refused.status if refused is not None else 200,
        stack=stack,
        refused=refused,
        done=DONE.get(visit.request.query_params.get("done", ""), ""),
        undo=_undo(visit, declared),
        drains=[d for d in drains if str(d["target"]).startswith(_beginnings(declared))],
        targets=summary.targets(declared),
        ports=summary.ports(declared),
        rescuers=await images(visit) if declared["spec"].get("virtualMachines") and visit.may_edit else [],
        **measured.room(measured.OF_WORKLOAD, by="pop", only=("pop", "instance")),
        **told(
            declared, seen["results"], counted=summaries["results"][0], status=status, rollout=rollout, begin=begin
        ),
    )  # fmt: skip


def told(
    declared: Any, instances: list[Any], *, counted: Any, status: Any, rollout: Any, begin: int = 0
) -> dict[str, Any]:
    """What the live part shows, the same on the page and in the stream. `counted`: the summary of all instances;
    `begin`: how many there are before those of this page.
    """
    leaving = "deleteRequestedAt" in declared["metadata"]
    glance = summary.glance(counted, leaving=leaving)
    return {
        "workload": declared,
        "leaving": leaving,
        "glance": glance,
        "continents": summary.by_place(instances, counted["cities"]),
        "anycast": summary.anycast(declared),
        "images": summary.images(declared),
        "revision": status["revision"],
        "on_it": status["instances_on_it"],
        "rollout": rollout,
        "count": len(instances),
        "begin": begin,
        "pages": summary.pages(begin, PAGE, glance.total),
    }


def way_back(declared: Any, *, content: bool, numbers: bool) -> dict[str, str]:
    """From what will be done to what is declared now: the revision for its `content`, which leaves the numbers of
    instances as they are, and these `numbers` for themselves.
    """
    found = {"revision": str(declared["metadata"]["version"])} if content else {}
    if numbers:
        found["replicas"] = ",".join(f"{one.name}:{one.least}" for one in summary.targets(declared))
    return found


def _undo(visit: Visit, declared: Any) -> dict[str, str]:
    """The way back from what was done just now, as far as the address tells one that there is."""
    query = visit.request.query_params
    revision, replicas = query.get("revision", ""), query.get("replicas", "")
    is_older = NUMBER.fullmatch(revision) and 0 < int(revision) < int(declared["metadata"]["version"])
    names = {target.name for target in summary.targets(declared)}
    pairs = [pair.partition(":") for pair in replicas.split(",")]
    are_known = all(name in names and NUMBER.fullmatch(count) for name, _, count in pairs)
    return ({"revision": revision} if is_older else {}) | ({"replicas": replicas} if are_known else {})


async def _drains(visit: Visit) -> list[Any]:
    try:
        found: list[Any] = (await visit.api.get("anypop/v1/drains"))["results"]
    except Refused as refused:
        if refused.status != 403:  # a credential for one stack alone is told of none
            raise
        return []
    return found


async def events(visit: Visit) -> Response:
    """The part of the page that tells what happened to it, the newest first."""
    try:
        declared = await declared_of(visit)
    except Refused as refused:
        if refused.status != 404 or "hx-request" not in visit.request.headers:
            raise
        # it went while its page was asking: what stands there last stays
        return Response(status_code=204, headers=shields.of_page(visit.nonce))
    found = await visit.api.get("anypop/v1/events", limit=LOOKED_THROUGH)
    slug, beginnings = declared["slug"], _beginnings(declared)
    own = [
        e
        for e in found["results"]
        if e.get("stack_id") == declared["stackId"]
        and (slug in (e["subject"], e["fields"].get("workload")) or str(e["subject"]).startswith(beginnings))
    ]
    return visit.page("events.html", events=list(reversed(own))[:EVENTS], slug=slug)


def _beginnings(declared: Any) -> tuple[str, ...]:
    """Of the names of its instances."""
    return tuple(f"{declared['slug']}-{target}-" for target in declared.get("targets", ()))


async def declared_of(visit: Visit) -> Any:
    """The workload of the address. Raises `Refused`."""
    found = await visit.api.get("workload/v1/stacks", *workload(visit))
    return found["workload"]


def place(visit: Visit) -> tuple[str, str]:
    """The stack and the workload of the address."""
    return visit.request.path_params["stack"], visit.request.path_params["workload"]


def workload(visit: Visit) -> tuple[str, str, str]:
    """Where the API has it, below its stacks."""
    stack, ref = place(visit)
    return stack, "workloads", ref


def done(visit: Visit, word: str = "", *, way_back: Mapping[str, str] | None = None) -> Response:
    """Its page again, which says what was done, and has the way back where there is one."""
    stack, ref = place(visit)
    told = {"done": word} if word else {}
    return visit.to(f"/portal/stacks/{stack}/workloads/{ref}", **told, **(way_back or {}))


PAGES: tuple[tuple[str, str, Page], ...] = (
    ("GET", "/portal/stacks/{stack}/workloads/{workload}", shown),
    ("GET", "/portal/stacks/{stack}/workloads/{workload}/events", asked_again(events)),
)
