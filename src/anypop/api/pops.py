"""/anypop/v1/pops and healthz: every PoP as it was ordered, and as its last report shows it.

In: control's state. Out: what it knows and how sure it is: of a PoP whose last report is missing or too old nothing is shown as healthy.
"""

from collections import Counter
from typing import Any

from fastapi import APIRouter

from anypop.api.context import CallerAccount, Platform, PlatformDep
from anypop.judge.instances import shown
from anypop.model import codec
from anypop.model.names import CityCode
from anypop.model.reasons import Reason
from anypop.plan.fields import location

router = APIRouter(prefix="/anypop/v1")


@router.get("/healthz")
async def healthz(platform: PlatformDep) -> dict[str, Any]:
    """Whether control works; needs no token, tells nothing."""
    return {"status": "ok" if not platform.core.bell.closed else "stopping"}


@router.get("/pops")
async def pops(account: CallerAccount, platform: PlatformDep) -> dict[str, Any]:
    """Every PoP. What names instances or the inside of a PoP (drift, errors, orphans) is for the operator alone."""
    return {"results": [_pop(platform, city) | (_inside(platform, city) if account.operator else {}) for city in sorted(platform.cities())]}


def _inside(platform: Platform, city: CityCode) -> dict[str, Any]:
    received = platform.core.state.reports.get(city)
    report = received.report if received is not None else None
    return {name: list(getattr(report, name, ())) for name in ("drift", "errors", "orphans")}


def _pop(platform: Platform, city: CityCode) -> dict[str, Any]:
    state, now = platform.core.state, platform.clock()
    verdict = state.verdict.pops.get(city)
    trusted = verdict is not None and verdict.trusted
    reason = verdict.reason if verdict is not None else Reason.NO_REPORT
    received = state.reports.get(city)
    report = received.report if received is not None else None
    issued = state.orders.get(city)
    placed = [p.slot for p in state.slots.values() if p.slot.pop == city]
    leaving = [t.slot for t in state.tombstones.values() if t.slot.pop == city]
    seen = [shown(s.name, s.uid, received, now=now) for s in placed]
    seen += [shown(s.name, s.uid, received, now=now, removing=True) for s in leaving]
    site = state.network.pop(city)
    asns = {u.name: u.asn for u in site.upstreams} if site is not None else {}
    place = location(city)
    sessions = [{**codec.to_data(s), "asn": asns.get(s.upstream)} for s in report.sessions] if report is not None else []
    return {
        "pop": city,
        "city": place["city"],
        "location": place,
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
