"""/anypop/v1, the operator's view: PoPs, events, prices and quotes, the network document, the dictionaries of communities.

In: control's state. Out: what it knows and how sure it is: of a PoP whose last report is missing or too old nothing is shown as healthy.
"""

import asyncio
from collections import Counter
from typing import Any

from fastapi import APIRouter, Request

from anypop.api.context import Body, Here, Operator, Platform, Who, member, raw_body
from anypop.control import declare
from anypop.control.network import change_network
from anypop.judge.instances import shown
from anypop.model import codec
from anypop.model.errors import Invalid
from anypop.model.names import CityCode, StackId
from anypop.model.network import Host, network_from
from anypop.model.reasons import Reason
from anypop.plan.fields import location
from anypop.plan.parse import parse
from anypop.plan.price import as_data, quote, read_price_book
from anypop.routing import dictionary
from anypop.routing.dictionary import for_asn, known_asns

router = APIRouter(prefix="/anypop/v1")


@router.get("/healthz")
async def healthz(here: Here) -> dict[str, Any]:
    """Whether control works; needs no token, tells nothing."""
    return {"status": "ok" if not here.core.bell.closed else "stopping"}


@router.get("/pops")
async def pops(who: Who, here: Here) -> dict[str, Any]:
    """Every PoP. What names instances or the inside of a PoP (drift, errors, orphans) is for the operator alone."""
    return {"results": [_pop(here, city) | (_inside(here, city) if who.operator else {}) for city in sorted(here.cities())]}


def _inside(here: Platform, city: CityCode) -> dict[str, Any]:
    site = here.core.state.network.pop(city)
    reports = [r.report for host in (site.hosts if site else ()) if (r := here.core.state.reports.get(host.name)) is not None]
    return {name: [line for report in reports for line in getattr(report, name)] for name in ("drift", "errors", "orphans")}


def _pop(here: Platform, city: CityCode) -> dict[str, Any]:
    """A PoP as its hosts together: trusted when every one of them is, and what is wrong with the first that is not well."""
    site = here.core.state.network.pop(city)
    hosts = [_host(here, host) for host in (site.hosts if site is not None else ())]
    place = location(city)
    worst = next((h for h in hosts if not h["trusted"]), None) or next((h for h in hosts if h["reason"] != Reason.RUNNING), hosts[0])
    alike = ("trusted", "verdict", "reason", "says", "generation", "obeyed", "refused", "report_age_s")
    phases: Counter[str] = Counter()
    for host in hosts:
        phases.update(host["instances"]["phases"])
    return {
        "pop": city,
        "city": place["city"],
        "location": place,
        **{key: worst[key] for key in alike},
        "sessions": [session for host in hosts for session in host["sessions"]],
        "prefixes": [prefix for host in hosts for prefix in host["prefixes"]],
        "instances": {
            "total": sum(h["instances"]["total"] for h in hosts),
            "healthy": sum(h["instances"]["healthy"] for h in hosts),
            "phases": dict(sorted(phases.items())),
        },
        "hosts": hosts,
    }


def _host(here: Platform, host: Host) -> dict[str, Any]:
    state, now = here.core.state, here.clock()
    verdict = state.verdict.hosts.get(host.name)
    trusted = verdict is not None and verdict.trusted
    reason = verdict.reason if verdict is not None else Reason.NO_REPORT
    received = state.reports.get(host.name)
    report = received.report if received is not None else None
    issued = state.orders.get(host.name)
    placed = [p.incarnation for p in state.incarnations.values() if p.incarnation.host == host.name]
    leaving = [t.incarnation for t in state.tombstones.values() if t.incarnation.host == host.name]
    seen = [shown(s.name, s.uid, received, now=now) for s in placed]
    seen += [shown(s.name, s.uid, received, now=now, removing=True) for s in leaving]
    asns = {u.name: u.asn for u in host.upstreams}
    sessions = [{**codec.to_data(s), "asn": asns.get(s.upstream)} for s in report.sessions] if report is not None else []
    return {
        "host": host.name,
        "trusted": trusted,
        "verdict": "trusted" if trusted else "unknown",
        "reason": reason.value,
        "says": reason.says,
        "generation": issued.order.generation if issued is not None else 0,
        "obeyed": report.generation if report is not None else 0,
        "refused": report.refused.value if report is not None and report.refused is not None else None,
        "sessions": [{**s, "state": s["state"] if trusted else "unknown"} for s in sessions],
        "prefixes": [{**codec.to_data(p), "trusted": trusted, "says": p.reason.says} for p in report.prefixes]
        if report is not None
        else [],
        "instances": {
            "total": len(seen),
            "healthy": sum(s.healthy for s in seen),
            "phases": dict(sorted(Counter(s.word for s in seen).items())),
        },
        "report_age_s": round(now - received.at, 3) if received is not None else None,
    }


@router.get("/events")
async def events(request: Request, who: Who, here: Here) -> dict[str, Any]:
    """The newest events, oldest first. Tenants see those of their own stacks, the operator all."""
    limit, after = _count(request, "limit", 100), _count(request, "after", 0)
    own = None if who.operator else [stack.id for stack in here.accounts.stacks(who.id)]
    return {"results": await asyncio.to_thread(here.core.store.events, after=after, limit=min(limit, 1000), stacks=own)}


def _count(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name, "")
    if text == "":
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 15:
        raise Invalid.one(name, "must be a whole number")
    return int(text)


@router.post("/quote")
async def quoted(_: Who, here: Here, body: Body) -> Any:
    """The price of a workload that need not exist: parsed like a creation, and nothing is created. With it, what would have no effect."""
    made = parse(
        member(body, "workload"), workload_id=declare.new_id(), stack_id=StackId("quote"), stack_slug="quote", cities=here.cities()
    )
    idle = [{"field": problem.path, "description": problem.message} for problem in made.unacted]
    return codec.to_data(quote(made.workload, here.prices)) | ({"without_effect": idle} if idle else {})


@router.get("/prices")
async def prices(_: Who, here: Here) -> dict[str, Any]:
    return as_data(here.prices)


@router.put("/prices")
async def put_prices(request: Request, _: Operator, here: Here) -> dict[str, Any]:
    """Replace the price book. The body is YAML, as `plan/pricebook.yaml`."""
    text = (await raw_body(request)).decode("utf-8", "replace")
    book = read_price_book(text)
    await asyncio.to_thread(here.core.store.put_setting, "price_book", text)
    here.prices = book
    return as_data(book)


@router.get("/network")
async def network(_: Operator, here: Here) -> Any:
    return codec.to_data(here.core.state.network)


@router.put("/network")
async def put_network(_: Operator, here: Here, body: Body, confirm: bool = False) -> Any:
    """Replace the operator's network document. `confirm=true` also where it takes instances away."""
    wanted = network_from(body.get("network", body))
    confirmed = frozenset(here.core.state.workloads) if confirm else frozenset()
    state = await here.core.change(change_network(wanted), confirmed=confirmed)
    await asyncio.to_thread(here.on_network, here.hosts())
    return codec.to_data(state.network)


@router.get("/communities")
async def all_communities(_: Who) -> dict[str, Any]:
    return {"results": [{"asn": asn, "name": for_asn(asn).name, "entries": len(for_asn(asn).entries)} for asn in known_asns()]}


@router.get("/communities/{asn}")
async def communities(asn: str, _: Who) -> dict[str, Any]:
    if not asn.isascii() or not asn.isdigit() or len(asn) > 10 or not 0 < int(asn) < 1 << 32:
        raise Invalid.one("asn", "must be an AS number, 1 to 4294967295")
    return dictionary.as_data(for_asn(int(asn)))
