"""The map: PoPs and how they are, where every vantage lands, why, and what mends it.

In: a stack and one of its workloads with an anycast address. Out: the page, its live part, the explanation of one
vantage, the doctor's repairs with what each would do; and for the operator the repair made, watched wave by wave. All
of it is what the API measures, explains, proposes and does.
"""

import asyncio
import contextlib
import json
import time
from typing import Any
from urllib.parse import urlencode

from starlette.responses import Response

from anypop.picture.land import land
from anypop.picture.landing_map import flow_radius, inside, whole
from anypop.portal import cookies, landings, shields, summary
from anypop.portal.acting import did
from anypop.portal.calls import Refused
from anypop.portal.choosing import choice
from anypop.portal.visit import Page, Visit, rendered

MOST_WORKLOADS = 100  # to choose from; any other one by its name
MOST_NETWORKS = 200  # of a prediction
CAUSES = REPAIRS = 4

DONE = {
    "begun": "The repair has begun. Each PoP is watched until it comes out as predicted, else all is taken back.",
    "tested": "The test is kept. This is what it saw.",
    "aborted": "The change is ended, and what it changed is taken back.",
}


async def shown(visit: Visit) -> Response:
    return await _page(visit)


async def _page(visit: Visit, *, refused: Refused | None = None) -> Response:
    stack = visit.request.path_params["stack"]
    query = visit.request.query_params
    chosen = await choice(visit, stack, most=MOST_WORKLOADS)
    declared = chosen.declared
    if declared is None:
        return visit.page("map_none.html", stack=stack, choice=chosen, workload=None)
    by_model = query.get("by") == "model"
    shown = await told(visit, stack, declared, rollout=await _newest(visit, stack, declared))
    if by_model or not shown["vantages"]:
        shown |= {"by_model": True}
    vantage = query.get("why", "")
    why, unexplained = await _why(visit, stack, declared, vantage) if vantage else (None, None)
    return visit.page(
        "map.html",
        status=refused.status if refused is not None else 200,
        stack=stack,
        choice=chosen,
        refused=refused,
        done=DONE.get(query.get("done", ""), ""),
        vantage=vantage,
        why=why,
        unexplained=unexplained,
        **shown,
    )


def may_mend(visit: Visit) -> bool:
    """What the button goes by; whether it is so, the API says."""
    return visit.may_edit and bool(visit.who.get("operator"))


async def told(visit: Visit, stack: str, declared: Any, *, rollout: Any) -> dict[str, Any]:
    """What the live part shows, the same on the page and in the stream."""
    pops, vantages, test = await asyncio.gather(
        visit.api.get("anypop/v1/pops"), visit.api.get("anypop/v1/vantages"), _newest_test(visit, stack, declared)
    )
    seen = landings.seen(pops["results"], vantages["results"], test, rollout, time.time())
    _count_up(pops["results"])
    own = address(stack, declared["slug"])
    picture = landings.picture(f"Where {declared['name']} is reached", pops["results"], seen, own=own)
    return {
        "workload": declared,
        "anycast": summary.anycast(declared),
        "pops": pops["results"],
        "vantages": vantages["results"],
        "seen": seen,
        "picture": picture,
        "drawing": inside(picture),
        "rollout": rollout if rollout and rollout["kind"] == "scopes" else None,
        "own": own,
        "by_model": False,
        "may_mend": may_mend(visit),
    }


def _count_up(pops: list[Any]) -> None:
    """Of each how many of its sessions stand: a template takes many times as long to count them."""
    for pop in pops:
        pop["up"] = sum(session["state"] == "established" for session in pop["sessions"])


def address(stack: str, slug: str) -> str:
    return f"/portal/stacks/{stack}/map?{urlencode({'workload': slug})}"


async def piece(visit: Visit, stack: str, declared: Any, rollout: Any) -> str:
    """The live part, for the stream."""
    sign = cookies.sign_for(visit.secret)
    return rendered(
        "map_live.html", stack=stack, visit=visit, sign=sign, **await told(visit, stack, declared, rollout=rollout)
    )


async def _meant(visit: Visit, stack: str) -> Any:
    return (await choice(visit, stack, most=MOST_WORKLOADS)).declared


async def _newest(visit: Visit, stack: str, declared: Any) -> Any:
    found = await visit.api.get("anypop/v1/stacks", stack, "workloads", declared["id"], "rollouts")
    return found["results"][-1] if found["results"] else None


async def _newest_test(visit: Visit, stack: str, declared: Any) -> Any:
    path = ("anypop/v1/stacks", stack, "workloads", declared["id"], "tests")
    with contextlib.suppress(KeyError, IndexError):
        kept = (await visit.api.get(*path))["results"][0]
        return (await visit.api.get(*path, kept["id"]))["test"]
    return None


async def _why(visit: Visit, stack: str, declared: Any, vantage: str) -> tuple[Any, Refused | None]:
    """The routers' own reasons, or why there are none."""
    query = {"workload": declared["id"], "stack": stack, "target": vantage}
    try:
        return await visit.api.get("anypop/v1/why", **query), None
    except Refused as refused:
        return None, refused


async def test(visit: Visit) -> Response:
    """Fifteen requests from every vantage; and the map of what they saw."""
    stack = visit.request.path_params["stack"]
    declared = await _meant(visit, stack)
    path = ("anypop/v1/stacks", stack, "workloads", visit.form.get("workload", "-"), "tests")
    try:
        await visit.api.send("POST", *path, body={})
    except Refused as refused:
        return await _page(visit, refused=refused)
    return visit.to(f"/portal/stacks/{stack}/map", workload=declared["slug"] if declared else "", done="tested")


async def traffic(visit: Visit) -> Response:
    """PoPs with what comes in and goes out of them now, as their hosts count it."""
    stack = visit.request.path_params["stack"]
    pops, rates = await asyncio.gather(visit.api.get("anypop/v1/pops"), _rates(visit, stack))
    _count_up(pops["results"])
    total = sum(sum(one.values()) for one in rates.values()) or 1.0
    flows = {pop: flow_radius(sum(one.values()) / total) for pop, one in rates.items()}
    return visit.page("map_pops.html", stack=stack, pops=pops["results"], rates=rates, flows=flows, asked=True)


async def _rates(visit: Visit, stack: str) -> dict[str, dict[str, float]]:
    """Bits in a second of each PoP by direction; nothing of those that do not answer."""
    query = {"type": "BANDWIDTH", "workload_id": visit.request.query_params.get("workload", "")}
    try:
        found = await visit.api.get("workload/v1/stacks", stack, "metrics", **query)
    except Refused:
        return {}
    rates: dict[str, dict[str, float]] = {}
    for one in found.get("data", {}).get("matrix", {}).get("results", ()):
        metric, values = one["metric"], one["values"]
        if values and "direction" in metric:
            rates.setdefault(str(metric["pop"]), {})[str(metric["direction"])] = float(values[-1]["value"])
    return rates


async def model(visit: Visit) -> Response:
    """The picture by the model, which takes a moment."""
    stack = visit.request.path_params["stack"]
    declared = await _meant(visit, stack)
    if declared is None:
        raise Refused(404, "there is no such workload")
    body = {"workload": declared["id"], "stack": stack, "top": MOST_NETWORKS}
    pops, found = await asyncio.gather(
        visit.api.get("anypop/v1/pops"), visit.api.send("POST", "anypop/v1/predictions", body=body)
    )
    seen = landings.predicted(found, time.time())
    own = address(stack, declared["slug"])
    title = f"Where networks would reach {declared['name']}"
    shares = {share["name"]: share["weight"] for share in found["by_pop"]}
    picture = landings.picture(title, pops["results"], seen, own=own, by_model=True, shares=shares)
    return visit.page(
        "map_model.html", stack=stack, found=found, seen=seen, picture=picture, drawing=inside(picture), own=own
    )


async def file(visit: Visit) -> Response:
    """The picture as a file of its own."""
    stack = visit.request.path_params["stack"]
    declared = await _meant(visit, stack)
    if declared is None:
        raise Refused(404, "there is no such workload")
    shown = await told(visit, stack, declared, rollout=await _newest(visit, stack, declared))
    headers = shields.of_page(visit.nonce) | {
        "content-disposition": f'attachment; filename="{declared["slug"]}-map.svg"'
    }
    return Response(whole(shown["picture"], land()), media_type="image/svg+xml", headers=headers)


async def repairs(visit: Visit) -> Response:
    """What the doctor says of who lands too far away: that of the vantage first."""
    stack = visit.request.path_params["stack"]
    query = visit.request.query_params
    landed, nearest = query.get("landed", ""), query.get("nearest", "")
    body = {"workload": query.get("workload", ""), "stack": stack, "causes": CAUSES, "repairs": REPAIRS}
    found = await visit.api.send("POST", "anypop/v1/proposals", body=body)
    causes = sorted(found["causes"], key=lambda one: (one["landed"], one["nearest"]) != (landed, nearest))
    for cause in causes:
        for repair in cause["repairs"]:
            repair["rules"] = json.dumps(
                [{key: change[key] for key in ("pop", "upstream", "scope")} for change in repair["changes"]]
            )
    return visit.page("map_repairs.html", stack=stack, found=found, causes=causes, slug=query.get("workload", ""))


async def effect(visit: Visit) -> Response:
    """What one repair would do, vantage by vantage, before anybody makes it."""
    stack = visit.request.path_params["stack"]
    slug = visit.form.get("workload", "")
    plan, vantages, pops = await asyncio.gather(
        visit.api.send("POST", *_repairs(stack, slug), "plan", body={"rules": _rules(visit)}),
        visit.api.get("anypop/v1/vantages"),
        visit.api.get("anypop/v1/pops"),
    )
    last = plan["waves"][-1]["expected"] if plan["waves"] else {}
    rows = [
        {"name": one["name"], "city": one.get("city_name", one["city"]), "nearest": one["nearest"],
         "before": plan["seen"].get(one["name"]), "after": last.get(one["name"])}
        for one in vantages["results"]
    ]  # fmt: skip
    own = address(stack, slug)
    pictures = []
    for name, how, where in (
        ("Now", "a look of this moment", plan["seen"]),
        ("After it", f"predicted, {plan['graph']}", {name: (pops or [None])[0] for name, pops in last.items()}),
    ):
        told = landings.foreseen(pops["results"], vantages["results"], where, time.time(), how)
        picture = landings.picture(name, pops["results"], told, own=own, by_model=name != "Now")
        pictures.append((name, picture, inside(picture)))
    return visit.page(
        "map_effect.html", stack=stack, slug=slug, plan=plan, rows=rows, title=visit.form.get("title", ""),
        rules=visit.form.get("rules", ""), may_mend=may_mend(visit), pictures=pictures, own=own,
    )  # fmt: skip


async def mend(visit: Visit) -> Response:
    """The repair, made by the operator."""
    stack = visit.request.path_params["stack"]
    slug = visit.form.get("workload", "")
    body = {"rules": _rules(visit), "title": visit.form.get("title", "")[:200]}
    return await _did(visit, "begun", *_repairs(stack, slug), body=body)


async def abort(visit: Visit) -> Response:
    stack = visit.request.path_params["stack"]
    path = ("anypop/v1/stacks", stack, "workloads", visit.form.get("workload", "-"), "rollouts")
    return await _did(visit, "aborted", *path, visit.form.get("rollout", "-"), "abort", body={})


async def _did(visit: Visit, word: str, *call: str, body: object) -> Response:
    path = f"/portal/stacks/{visit.request.path_params['stack']}/map"
    after = visit.to(path, workload=visit.form.get("workload", ""), done=word)
    return await did(visit, _page, after, "POST", *call, body=body)


def _repairs(stack: str, slug: str) -> tuple[str, ...]:
    return "anypop/v1/stacks", stack, "workloads", slug or "-", "repairs"


def _rules(visit: Visit) -> Any:
    """As the page has them; what is not right in them, the API says."""
    try:
        return json.loads(visit.form.get("rules", ""))
    except ValueError as error:
        raise Refused(400, "this form cannot be read: load the page again") from error


_AT = "/portal/stacks/{stack}/map"
PAGES: tuple[tuple[str, str, Page], ...] = (
    ("GET", _AT, shown),
    ("GET", f"{_AT}.svg", file),
    ("GET", f"{_AT}/pops", traffic),
    ("GET", f"{_AT}/model", model),
    ("GET", f"{_AT}/repairs", repairs),
    ("POST", f"{_AT}/effect", effect),
    ("POST", f"{_AT}/mend", mend),
    ("POST", f"{_AT}/abort", abort),
    ("POST", f"{_AT}/test", test),
)
