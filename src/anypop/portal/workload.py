"""One workload's page: its state as it is now, its addresses, what can be done to it.

In: a workload by its slug; forms. Out: the page, its parts that are asked for again, and for each form the API's own
operation. What cannot be undone needs the workload's name, typed.
"""

import asyncio
from typing import Any

from starlette.responses import Response

from anypop.portal import summary, workloads
from anypop.portal.calls import Refused
from anypop.portal.visit import Visit

PAGE = 100  # instances
EVENTS = 12
LOOKED_THROUGH = 1000

# what is said after a form; by word, since a text that comes with an address could be anybody's
DONE = {
    "created": "Created. Instances start now, and appear here as they do.",
    "scaled": "The number of instances is changed.",
    "restarting": "Every instance is made anew, city by city; the old one serves until the new one does.",
    "restarted": "The instance starts anew in its place.",
    "rolled-back": "The revision is declared anew, and brought out city by city.",
    "draining": "The drain has begun: no new connection goes there.",
    "undrained": "The traffic comes back, stage by stage.",
    "deleting": "Deletion has begun: announcements end first, instances last.",
}


async def shown(visit: Visit) -> Response:
    return await _page(visit)


async def _page(visit: Visit, *, refused: Refused | None = None) -> Response:
    stack, ref = _place(visit)
    begin = workloads.beginning(visit)
    declared = await _declared(visit)
    here = ("workload/v1/stacks", stack, "workloads", declared["id"])
    page = {"page_request.first": PAGE, "page_request.after": begin - 1}
    whole = {"page_request.filter": f"id='{declared['id']}'"}
    drains, seen, status, summaries = await asyncio.gather(
        _drains(visit),
        visit.api.get(*here, "instances", **page),
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
        drains=[d for d in drains if str(d["target"]).startswith(_beginnings(declared))],
        targets=summary.targets(declared),
        ports=summary.ports(declared),
        **told(
            declared, seen["results"], counted=summaries["results"][0], revision=status["revision"], rollout=rollout,
            begin=begin,
        ),
    )  # fmt: skip


def told(
    declared: Any, instances: list[Any], *, counted: Any, revision: int, rollout: Any, begin: int = 0
) -> dict[str, Any]:
    """What the live part shows, the same on the page and in the stream. `counted`: the summary of all instances;
    `begin`: how many there are before those of this page.
    """
    leaving = "deleteRequestedAt" in declared["metadata"]
    glance = summary.glance(counted["phases"], leaving=leaving)
    return {
        "workload": declared,
        "leaving": leaving,
        "glance": glance,
        "continents": summary.by_place(instances, counted["cities"]),
        "anycast": summary.anycast(declared),
        "images": summary.images(declared),
        "revision": revision,
        "rollout": rollout,
        "count": len(instances),
        "begin": begin,
        "pages": summary.pages(begin, PAGE, glance.total),
    }


async def _drains(visit: Visit) -> list[Any]:
    try:
        found: list[Any] = (await visit.api.get("anypop/v1/drains"))["results"]
    except Refused as refused:
        if refused.status != 403:  # a credential for one stack alone is told of none
            raise
        return []
    return found


async def revisions(visit: Visit) -> Response:
    """The part of the page that lists them."""
    stack, ref = _place(visit)
    found = await visit.api.get("anypop/v1/stacks", stack, "workloads", ref, "revisions")
    kept = list(reversed(found["results"]))
    return visit.page("revisions.html", stack=stack, slug=ref, revisions=kept)


async def events(visit: Visit) -> Response:
    """The part of the page that tells what happened to it, the newest first."""
    declared = await _declared(visit)
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


async def scale(visit: Visit) -> Response:
    """So many instances in each city of each target."""
    wanted, problems = {}, []
    declared = {target.name: target for target in summary.targets(await _declared(visit))}
    for name, target in declared.items():
        text = visit.form.get(f"replicas-{name}", str(target.least)).strip()
        if not text.isdecimal() or len(text) > 4:
            problems.append(f"{name}: a whole number")
        elif int(text) != target.least:
            wanted[name] = {"spec": {"deployments": {"minReplicas": int(text)}}}
    if problems:
        return await _page(visit, refused=Refused(400, "; ".join(problems)))
    if not wanted:
        return visit.to(_own(visit))
    body = {"workload": {"targets": wanted, "metadata": {"version": visit.form.get("version", "")}}}
    return await _did(visit, "scaled", "PATCH", "workload/v1/stacks", *_workload(visit), body=body)


async def restart(visit: Visit) -> Response:
    return await _did(visit, "restarting", "POST", "anypop/v1/stacks", *_workload(visit), "restart")


async def restart_instance(visit: Visit) -> Response:
    path = (*_workload(visit), "instances", visit.form.get("instance", ""), "power", "restart")
    return await _did(visit, "restarted", "POST", "workload/v1/stacks", *path)


async def roll_back(visit: Visit) -> Response:
    text = visit.form.get("revision", "")
    body = {"revision": int(text)} if text.isdecimal() and len(text) < 10 else {}
    return await _did(visit, "rolled-back", "POST", "anypop/v1/stacks", *_workload(visit), "rollback", body=body)


async def drain(visit: Visit) -> Response:
    stack, _ = _place(visit)
    body = {"drain": {"target": visit.form.get("instance", ""), "stack": stack}}
    return await _did(visit, "draining", "POST", "anypop/v1/drains", body=body)


async def undrain(visit: Visit) -> Response:
    return await _did(visit, "undrained", "POST", "anypop/v1/drains", visit.form.get("drain", ""), "undrain")


async def delete(visit: Visit) -> Response:
    declared = await _declared(visit)
    if visit.form.get("confirm", "").strip() != declared["slug"]:
        return await _page(visit, refused=Refused(400, f"To delete it, type its name: {declared['slug']}"))
    return await _did(visit, "deleting", "DELETE", "workload/v1/stacks", *_workload(visit))


async def _did(visit: Visit, word: str, method: str, *path: str, body: object = None) -> Response:
    """The page again: with what is under way, or with the API's words where it refused."""
    try:
        await visit.api.send(method, *path, body=body)
    except Refused as refused:
        if refused.status == 401:
            raise
        return await _page(visit, refused=refused)
    return visit.to(_own(visit), done=word)


async def _declared(visit: Visit) -> Any:
    found = await visit.api.get("workload/v1/stacks", *_workload(visit))
    return found["workload"]


def _place(visit: Visit) -> tuple[str, str]:
    return visit.request.path_params["stack"], visit.request.path_params["workload"]


def _workload(visit: Visit) -> tuple[str, str, str]:
    stack, ref = _place(visit)
    return stack, "workloads", ref


def _own(visit: Visit) -> str:
    stack, ref = _place(visit)
    return f"/portal/stacks/{stack}/workloads/{ref}"
