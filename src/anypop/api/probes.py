"""/anypop/v1/vantages, probes and why: what places to test from really see.

In: a workload (or an address) and vantages. Out: for each, which PoP and which instances answered, how long it took,
and where it should have landed; and the routers' own reasons. Where no lab is attached these answer that there is no
vantage.
"""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Query

from anypop.api.bodies import JsonBody
from anypop.api.context import AskingCaller, Platform, PlatformDep
from anypop.api.documentation import answers
from anypop.api.errors import Code
from anypop.api.models.probes import Goal, ProbeRequest, Probes, VantageList, WhyQuery
from anypop.api.threads import in_own_thread
from anypop.api.vantages import LookingGlass, Probed, Vantage, Vantages
from anypop.control.accounts import Caller
from anypop.control.addresses import owner_of
from anypop.control.refusals import NotFound, Precondition
from anypop.control.state import Declaration, State
from anypop.judge.onward import onward, sentences
from anypop.model import codec
from anypop.model.announce import Address
from anypop.model.cities import find_city
from anypop.model.errors import Invalid, WorldError
from anypop.model.names import CityCode, WorkloadId
from anypop.model.workload import Protocol
from anypop.routing.explain import nearest_pop
from anypop.routing.why import Why

router = APIRouter(prefix="/anypop/v1", tags=["probes"])

T = TypeVar("T")
log = logging.getLogger("anypop.api")

LONGEST_PROBE_S = 600.0  # a hundred requests of which each times out; whoever asks for more must ask again
NO_VANTAGE = "no vantage is attached: start control with --lab, or attach other places to test from"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Served:
    """What is asked: an address and a port; `pops`: where it is served, or announced where hosts carry it. `workload`:
    whose anycast address it is, if it is one.
    """

    address: Address
    port: int
    pops: tuple[CityCode, ...]
    workload: WorkloadId | None = None
    carried: bool = False


def _vantages(platform: Platform) -> Vantages:
    if platform.vantages is None:
        raise Precondition(NO_VANTAGE)
    return platform.vantages


def _glass(platform: Platform) -> LookingGlass:
    if platform.glass is None:
        raise Precondition(NO_VANTAGE)
    return platform.glass


@router.get("/vantages")
@answers(VantageList)
async def list_vantages(_: AskingCaller, platform: PlatformDep) -> dict[str, Any]:
    """List the places to test from; none where no lab is attached, which is no error."""
    found = await in_own_thread(platform.vantages.all) if platform.vantages is not None else []
    rows = [
        {
            "name": v.name,
            "city": v.city,
            "asn": v.asn,
            "address": v.address,
            "nearest": nearest_pop(v.city, platform.cities()),
            **_place(v.city),
        }
        for v in found
    ]
    return {"results": rows} | ({} if platform.vantages is not None else {"note": NO_VANTAGE})


def _place(code: str) -> dict[str, Any]:
    """A city's name and where it is; nothing of one that nobody knows."""
    found = find_city(code)
    if found is None:
        return {}
    return {"city_name": found.name, "latitude": found.latitude, "longitude": found.longitude}


@router.post("/probes")
@answers(Probes, Code.NOT_FOUND, Code.FAILED_PRECONDITION)
async def probe(
    caller: AskingCaller, platform: PlatformDep, body: Annotated[ProbeRequest, Depends(JsonBody(ProbeRequest))]
) -> dict[str, Any]:
    """Probe a workload or an address from vantages, and see where each lands."""
    return await probed(platform, caller, body)


async def probed(platform: Platform, caller: Caller, body: ProbeRequest) -> dict[str, Any]:
    """What each vantage sees."""
    source = _vantages(platform)
    known = {v.name: v for v in await in_own_thread(source.all)}
    chosen = _chosen(body, known)
    goal = _goal(platform, caller, body)
    async with platform.probing:
        work = asyncio.gather(*(_asked(source, v, goal, body.requests) for v in chosen))
        seen = await unless_stopping(platform, work)
    entered = await entered_in(platform, [v.name for v in chosen], goal.address) if goal.carried else {}
    state = platform.core.state
    lives = state.incarnations_of(goal.workload) if goal.workload is not None else state.incarnations
    pops = {str(p.incarnation.name): p.incarnation.pop for p in lives.values()}
    rows = [
        _row(v, goal, found, body.requests, pops) | _came_in(v, found, entered, pops)
        for v, found in zip(chosen, seen, strict=True)
    ]
    return {"address": str(goal.address), "results": rows}


async def entered_in(platform: Platform, vantages: Sequence[str], address: Address) -> Mapping[str, CityCode | None]:
    """In which PoP the packets of each come in, by the routers; empty where nobody can say."""
    if platform.glass is None:
        return {}
    try:
        return await in_own_thread(partial(platform.glass.entered, vantages, address))
    except WorldError as error:
        log.warning("where vantages come in: %s", error)
        return {}


def _came_in(
    vantage: Vantage, found: Probed | WorldError, entered: Mapping[str, CityCode | None], pops: Mapping[str, CityCode]
) -> dict[str, Any]:
    """Of an address that hosts carry for each other: who answered need not stand where the packet came in."""
    if vantage.name not in entered:
        return {}
    came_in = entered[vantage.name]
    bodies = [a.body.strip() for a in found.answers if not a.error] if isinstance(found, Probed) else []
    served = Counter(pops[body] for body in bodies if body in pops)
    carried = sum(count for pop, count in served.items() if pop != came_in) if came_in is not None else 0
    return {"pop": came_in, "served": dict(sorted(served.items())), "carried": carried}


async def unless_stopping(platform: Platform, work: Awaitable[T], *, what: str = "ask the vantages") -> T:
    """The result of `work`; a `WorldError` instead when control stops meanwhile."""
    task = asyncio.ensure_future(work)
    stopping = asyncio.ensure_future(platform.core.bell.wait("stop", LONGEST_PROBE_S))
    try:
        await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        why = "control is being stopped" if platform.core.bell.closed else f"no end after {LONGEST_PROBE_S:g} s"
        raise WorldError(what, why)
    finally:
        stopping.cancel()
        if not task.done():
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def _asked(source: Vantages, vantage: Vantage, goal: _Served, requests: int) -> Probed | WorldError:
    try:
        return await in_own_thread(partial(source.probe, vantage.name, goal.address, goal.port, requests))
    except WorldError as error:
        return error


def _chosen(body: ProbeRequest, known: Mapping[str, Vantage]) -> list[Vantage]:
    wanted = body.vantages if body.vantages is not None else [body.vantage] if body.vantage is not None else list(known)
    missing = [name for name in wanted if name not in known]
    if missing:
        raise NotFound(f"no vantage {', '.join(missing)} (there are {', '.join(known) or 'none'})")
    return [known[name] for name in dict.fromkeys(wanted)]


def _row(
    vantage: Vantage, goal: _Served, found: Probed | WorldError, requests: int, pops: Mapping[str, CityCode]
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "vantage": vantage.name,
        "city": vantage.city,
        "asn": vantage.asn,
        "requests": requests,
        "nearest": nearest_pop(vantage.city, goal.pops),
    }
    if isinstance(found, WorldError):
        row |= {"asked": 0, "answered": 0, "seconds": 0.0, "pop": None, "hits": {}}
        return row | {"errors": [str(found)], "answers": []}
    bodies = [a.body.strip() for a in found.answers if not a.error]
    hits = Counter(body for body in bodies if body in pops)
    reached = Counter(pops[body] for body in bodies if body in pops)
    return row | {
        "asked": requests - sum(not a.asked for a in found.answers),
        "answered": len(bodies),
        "seconds": round(found.seconds, 6),
        "pop": reached.most_common(1)[0][0] if reached else None,
        "hits": dict(sorted(hits.items())),
        "errors": [a.error for a in found.answers if a.error],
        "answers": [
            {
                "instance": a.body.strip() if a.body.strip() in pops else None,
                "seconds": round(a.seconds, 6),
                "error": a.error or None,
            }
            | ({} if a.asked else {"asked": False})
            for a in found.answers
        ],
    }


def _goal(platform: Platform, caller: Caller, asked: Goal) -> _Served:
    """From an address (and a port), or from a workload and its stack. A credential for one stack asks about that one's
    addresses alone.
    """
    if asked.address is not None:
        if caller.stack_id not in (None, owner_of(platform.core.state, asked.address).stack_id):
            raise NotFound(f"no address {asked.address} of this stack")
        owner = _owner(platform.core.state, asked.address)
        pops = pops_of(platform, owner) if owner is not None else tuple(platform.cities())
        whose = owner.id if owner is not None else None
        return _Served(
            address=asked.address,
            port=asked.port or _first_port(owner),
            pops=pops,
            workload=whose,
            carried=owner is not None and is_carried(platform.core.state, owner.id),
        )
    declared = _workload(platform, caller, asked)
    held = platform.core.state.anycast.get(declared.id)
    if held is None:
        raise Precondition(f"workload {declared.workload.slug} has no anycast address")
    address = held.address6 if asked.family == 6 else held.address4
    return _Served(
        address=address,
        port=asked.port or _first_port(declared),
        pops=pops_of(platform, declared),
        workload=declared.id,
        carried=is_carried(platform.core.state, declared.id),
    )


def _workload(platform: Platform, caller: Caller, asked: Goal) -> Declaration:
    """The workload that is asked about: in the stack that is named, or in any of the caller's."""
    if not asked.workload:
        raise Invalid.one("workload", "is required (or an address)")
    stacks = [platform.stack_of(caller, asked.stack)] if asked.stack else platform.stacks_of(caller)
    found = [d for stack in stacks if (d := platform.core.state.find(stack.id, asked.workload)) is not None]
    if len(found) > 1:
        raise Invalid.one("stack", f"is required: {len(found)} stacks have a workload {asked.workload}")
    if not found:
        raise NotFound(f"no workload {asked.workload}")
    return found[0]


def _owner(state: State, address: Address) -> Declaration | None:
    """Whose anycast address it is."""
    workload = state.plan.owner_of(address) if state.plan is not None else None
    return state.workloads.get(workload) if workload is not None else None


def is_carried(state: State, workload: WorkloadId) -> bool:
    """Whether hosts carry its anycast address for each other."""
    return state.plan is not None and not state.plan.carried.isdisjoint(state.plan.prefixes_of(workload))


def pops_of(platform: Platform, declared: Declaration) -> tuple[CityCode, ...]:
    """The PoPs that may serve its anycast address: where instances are, or where it is announced and carried on."""
    state = platform.core.state
    if state.plan is not None and is_carried(state, declared.id):
        telling = (h for prefix in state.plan.prefixes_of(declared.id) for h in state.plan.tellers(prefix))
        return tuple(sorted({state.plan.sites.pop_of(host) for host in telling}))
    return tuple(sorted({p.incarnation.pop for p in platform.core.state.incarnations_of(declared.id).values()}))


def _first_port(declared: Declaration | None) -> int:
    """The workload's first TCP port, else HTTP's."""
    containers = declared.workload.containers if declared is not None else ()
    return next((p.port for c in containers for p in c.ports if p.protocol is Protocol.TCP), 80)


@router.get("/why")
@answers(Why, Code.NOT_FOUND, Code.FAILED_PRECONDITION)
async def explain_landing(caller: AskingCaller, platform: PlatformDep, query: Annotated[WhyQuery, Query()]) -> Any:
    """Explain why a vantage (or a router of the lab) lands where it lands, from the running routers."""
    glass = _glass(platform)
    target = query.target or query.vantage
    if not target:
        raise Invalid.one("target", "is required: a vantage or a router")
    goal = _goal(platform, caller, query)
    try:
        found = await unless_stopping(platform, in_own_thread(partial(glass.why, target, goal.address, goal.pops)))
        return with_onward(platform, goal.address, found) if goal.carried else found
    except KeyError as error:
        known = [v.name for v in await in_own_thread(platform.vantages.all)] if platform.vantages is not None else []
        more = f" (vantages: {', '.join(known)})" if known else ""
        raise NotFound(f"no vantage or router {target}{more}") from error


def with_onward(platform: Platform, address: Address, why: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same answer with the second half of the way: how the hosts of the PoP pass the traffic on."""
    state, landed = platform.core.state, why.get("landed")
    site = state.pop(CityCode(landed)) if landed else None
    if site is None or state.plan is None:
        return why
    verdicts = state.verdict.hosts
    found = onward(
        address,
        [part for host in site.hosts if (part := state.plan.hosts.get(host.name)) is not None],
        {
            host.name: received.report
            for host in site.hosts
            if (received := state.reports.get(host.name)) is not None
            and (verdict := verdicts.get(host.name)) is not None
            and verdict.trusted
        },
        state.plan.sites.pop_of,
    )
    words = sentences(site.city, found)
    return {
        **why,
        "onward": [codec.to_data(one) for one in found],
        "sentences": [*why.get("sentences", ()), *words],
    }
