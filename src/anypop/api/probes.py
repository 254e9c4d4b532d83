"""/anypop/v1/vantages, probes and why: what places to test from really see.

In: a workload (or an address) and vantages. Out: for each, which PoP and which instances answered, how long it took, and where it should
have landed; and the routers' own reasons. Without a lab or other eyes attached these answer that there is no vantage.
"""

import asyncio
import contextlib
import re
from collections import Counter
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from typing import Any, TypeVar

from fastapi import APIRouter, Request

from anypop.api.bodies import Body
from anypop.api.context import CallerAccount, Platform, PlatformDep
from anypop.api.threads import in_own_thread
from anypop.api.vantages import LookingGlass, Probed, Vantage, Vantages
from anypop.control.accounts import Account
from anypop.control.refusals import NotFound, Precondition
from anypop.control.state import Declaration
from anypop.model.announce import Address
from anypop.model.errors import Invalid, WorldError
from anypop.model.names import CityCode
from anypop.model.workload import Protocol
from anypop.routing.explain import nearest_pop

router = APIRouter(prefix="/anypop/v1")

T = TypeVar("T")

MOST_REQUESTS = 1000
LONGEST_PROBE_S = 600.0  # a hundred requests of which each times out; whoever asks for more must ask again
NO_VANTAGE = "no vantage is attached: start control with --lab, or attach other places to test from"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Goal:
    """What to ask: an address and a port; `pops`: where it is served."""

    address: Address
    port: int
    pops: tuple[CityCode, ...]


def _vantages(platform: Platform) -> Vantages:
    if platform.vantages is None:
        raise Precondition(NO_VANTAGE)
    return platform.vantages


def _glass(platform: Platform) -> LookingGlass:
    if platform.glass is None:
        raise Precondition(NO_VANTAGE)
    return platform.glass


@router.get("/vantages")
async def list_vantages(_: CallerAccount, platform: PlatformDep) -> dict[str, Any]:
    """Places to test from; none where no lab is attached, which is no error."""
    found = await in_own_thread(platform.vantages.all) if platform.vantages is not None else []
    rows = [
        {"name": v.name, "city": v.city, "asn": v.asn, "address": v.address, "nearest": nearest_pop(v.city, platform.cities())}
        for v in found
    ]
    return {"results": rows} | ({} if platform.vantages is not None else {"note": NO_VANTAGE})


@router.post("/probes")
async def probe(account: CallerAccount, platform: PlatformDep, body: Body) -> dict[str, Any]:
    """Requests from vantages, one after the other from each, all vantages side by side."""
    source = _vantages(platform)
    known = {v.name: v for v in await in_own_thread(source.all)}
    chosen = _chosen(body, known)
    requests = body.get("requests", 15)
    if isinstance(requests, bool) or not isinstance(requests, int) or not 1 <= requests <= MOST_REQUESTS:
        raise Invalid.one("requests", f"must be a whole number, 1 to {MOST_REQUESTS}")
    goal = _goal(platform, account, body)
    async with platform.probing:
        seen = await _unless_stopping(platform, asyncio.gather(*(_asked(source, v, goal, requests) for v in chosen)))
    pops = {str(p.incarnation.name): p.incarnation.pop for p in platform.core.state.incarnations.values()}
    return {"address": str(goal.address), "results": [_row(v, goal, found, requests, pops) for v, found in zip(chosen, seen, strict=True)]}


async def _unless_stopping(platform: Platform, work: Awaitable[T]) -> T:
    """The result of `work`; a `WorldError` instead when control stops meanwhile."""
    task = asyncio.ensure_future(work)
    stopping = asyncio.ensure_future(platform.core.bell.wait("stop", LONGEST_PROBE_S))
    try:
        await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        why = "control is being stopped" if platform.core.bell.closed else f"no end after {LONGEST_PROBE_S:g} s"
        raise WorldError("ask the vantages", why)
    finally:
        stopping.cancel()
        if not task.done():
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def _asked(source: Vantages, vantage: Vantage, goal: _Goal, requests: int) -> Probed | WorldError:
    try:
        return await in_own_thread(partial(source.probe, vantage.name, goal.address, goal.port, requests))
    except WorldError as error:
        return error


def _chosen(body: Mapping[str, Any], known: Mapping[str, Vantage]) -> list[Vantage]:
    wanted = body.get("vantages", [body["vantage"]] if "vantage" in body else list(known))
    if not isinstance(wanted, list) or not all(isinstance(name, str) for name in wanted):
        raise Invalid.one("vantages", "must be a list of names")
    missing = [name for name in wanted if name not in known]
    if missing:
        raise NotFound(f"no vantage {', '.join(missing)} (there are {', '.join(known) or 'none'})")
    return [known[name] for name in dict.fromkeys(wanted)]


def _row(vantage: Vantage, goal: _Goal, found: Probed | WorldError, requests: int, pops: Mapping[str, CityCode]) -> dict[str, Any]:
    row: dict[str, Any] = {
        "vantage": vantage.name,
        "city": vantage.city,
        "asn": vantage.asn,
        "requests": requests,
        "nearest": nearest_pop(vantage.city, goal.pops),
    }
    if isinstance(found, WorldError):
        return row | {"answered": 0, "seconds": 0.0, "pop": None, "hits": {}, "errors": [str(found)], "answers": []}
    bodies = [a.body.strip() for a in found.answers if not a.error]
    hits = Counter(body for body in bodies if body in pops)
    reached = Counter(pops[body] for body in bodies if body in pops)
    return row | {
        "answered": len(bodies),
        "seconds": round(found.seconds, 6),
        "pop": reached.most_common(1)[0][0] if reached else None,
        "hits": dict(sorted(hits.items())),
        "errors": [a.error for a in found.answers if a.error],
        "answers": [
            {"instance": a.body.strip() if a.body.strip() in pops else None, "seconds": round(a.seconds, 6), "error": a.error or None}
            for a in found.answers
        ],
    }


def _goal(platform: Platform, account: Account, asked: Mapping[str, Any]) -> _Goal:
    """From `address` (and `port`), or from `workload` and `stack`. `family` 6 means the workload's IPv6 address."""
    if asked.get("address"):
        try:
            address = ip_address(str(asked["address"]))
        except ValueError as error:
            raise Invalid.one("address", "must be an IPv4 or IPv6 address") from error
        owner = next((d for k, d in platform.core.state.workloads.items() if _holds(platform, d, address)), None)
        pops = _pops_of(platform, owner) if owner is not None else tuple(platform.cities())
        return _Goal(address=address, port=_port(asked, owner), pops=pops)
    declared = _workload(platform, account, asked)
    held = platform.core.state.anycast.get(declared.id)
    if held is None:
        raise Precondition(f"workload {declared.workload.slug} has no anycast address")
    six = str(asked.get("family", "4")) == "6"
    return _Goal(address=held.address6 if six else held.address4, port=_port(asked, declared), pops=_pops_of(platform, declared))


def _workload(platform: Platform, account: Account, asked: Mapping[str, Any]) -> Declaration:
    """The workload that is asked about: in the stack that is named, or in any of the account's."""
    ref = asked.get("workload")
    if not isinstance(ref, str) or not ref:
        raise Invalid.one("workload", "is required (or an address)")
    stacks = [platform.accounts.stack(account.id, str(asked["stack"]))] if asked.get("stack") else platform.accounts.stacks(account.id)
    found = [d for stack in stacks if (d := platform.core.state.find(stack.id, ref)) is not None]
    if len(found) > 1:
        raise Invalid.one("stack", f"is required: {len(found)} stacks have a workload {ref}")
    if not found:
        raise NotFound(f"no workload {ref}")
    return found[0]


def _holds(platform: Platform, declared: Declaration, address: Address) -> bool:
    held = platform.core.state.anycast.get(declared.id)
    return held is not None and address in (held.address4, held.address6)


def _pops_of(platform: Platform, declared: Declaration) -> tuple[CityCode, ...]:
    return tuple(sorted({p.incarnation.pop for p in platform.core.state.incarnations.values() if p.incarnation.workload_id == declared.id}))


def _port(asked: Mapping[str, Any], declared: Declaration | None) -> int:
    """What was asked for, else the workload's first TCP port, else HTTP's."""
    given = asked.get("port")
    if given is not None:
        if not re.fullmatch("[0-9]{1,5}", str(given)) or not 0 < int(str(given)) < 1 << 16:
            raise Invalid.one("port", "must be a port, 1 to 65535")
        return int(str(given))
    containers = declared.workload.containers if declared is not None else ()
    return next((p.port for c in containers for p in c.ports if p.protocol is Protocol.TCP), 80)


@router.get("/why")
async def why(request: Request, account: CallerAccount, platform: PlatformDep) -> Any:
    """Why a vantage (or a router of the lab) lands where it lands, from the running routers."""
    glass = _glass(platform)
    target = request.query_params.get("target") or request.query_params.get("vantage")
    if not target:
        raise Invalid.one("target", "is required: a vantage or a router")
    goal = _goal(platform, account, request.query_params)
    try:
        return await _unless_stopping(platform, in_own_thread(partial(glass.why, target, goal.address, goal.pops)))
    except KeyError as error:
        vantages = ", ".join(v.name for v in await in_own_thread(platform.vantages.all)) if platform.vantages is not None else ""
        raise NotFound(f"no vantage or router {target}" + (f" (vantages: {vantages})" if vantages else "")) from error
