"""/anypop/v1/pops: every PoP as it was ordered, and as its last report shows it.

In: control's state. Out: what it knows and how sure it is: of a PoP whose last report is missing or too old nothing is
shown as healthy.
"""

from collections import Counter
from typing import Any

from fastapi import APIRouter

from anypop.api.announcements import shared_data
from anypop.api.context import CallerAccount, Platform, PlatformDep
from anypop.api.dials import words_of
from anypop.api.documentation import answers
from anypop.api.models.platform import Pops
from anypop.control.accounts import Account
from anypop.control.drain_facts import drain_words, drains_over, is_drained
from anypop.control.sharing import shared
from anypop.judge.instances import shown
from anypop.judge.verdict import Received
from anypop.model import codec
from anypop.model.drain import DrainKind
from anypop.model.names import CityCode, HostName
from anypop.model.network import Host
from anypop.model.reasons import Reason
from anypop.model.report import PrefixReport
from anypop.plan.fields import location

router = APIRouter(prefix="/anypop/v1", tags=["platform"])


@router.get("/pops")
@answers(Pops)
async def list_pops(account: CallerAccount, platform: PlatformDep) -> dict[str, Any]:
    """List every PoP.

    What names instances or the inside of a PoP (drift, errors, orphans) is for the operator alone.
    """
    cities = sorted(platform.cities())
    return {
        "results": [
            _pop(platform, city) | (_inside(platform, account, city) if account.operator else {}) for city in cities
        ]
    }


def _inside(platform: Platform, account: Account, city: CityCode) -> dict[str, Any]:
    site = platform.core.state.network.pop(city)
    reports = [
        r.report
        for host in (site.hosts if site else ())
        if (r := platform.core.state.reports.get(host.name)) is not None
    ]
    here = {p.prefix for report in reports for p in report.prefixes}
    hosts = [host.name for host in site.hosts] if site is not None else []
    tunnels = [{"from": name, **t} for name in hosts for t in tunnels_data(platform, name).get("tunnels", ())]
    found = [shared_data(platform, account, one) for one in shared(platform.core.state) if one.prefix in here]
    told = {"shared": found, "tunnels": tunnels}
    return {name: rows for name, rows in told.items() if rows} | {
        name: [line for report in reports for line in getattr(report, name)] for name in ("drift", "errors", "orphans")
    }


def _pop(platform: Platform, city: CityCode) -> dict[str, Any]:
    """A PoP as its hosts together: trusted when each of them is, and what is wrong with the first that is not well."""
    site = platform.core.state.network.pop(city)
    hosts = [host_data(platform, host) for host in (site.hosts if site is not None else ())]
    place = location(city)
    fine = (Reason.RUNNING, Reason.DRAINED)
    worst = next((h for h in hosts if not h["trusted"]), None) or next(
        (h for h in hosts if h["reason"] not in fine), next((h for h in hosts if h["verdict"] != "drained"), hosts[0])
    )
    drains = [d for d in platform.core.state.drains_at(city) if d.kind in (DrainKind.POP, DrainKind.UPSTREAM)]
    alike = ("trusted", "verdict", "reason", "says", "generation", "obeyed", "refused", "report_age_s")
    phases: Counter[str] = Counter()
    for host in hosts:
        phases.update(host["instances"]["phases"])
    return {
        "pop": city,
        "city": place["city"],
        "location": place,
        **{key: worst[key] for key in alike},
        **({"drain": drain_words(drains)} if drains else {}),
        **({"dial": words} if (words := words_of(platform.core.state, city)) else {}),
        "sessions": [session for host in hosts for session in host["sessions"]],
        "prefixes": [prefix for host in hosts for prefix in host["prefixes"]],
        "instances": {
            "total": sum(h["instances"]["total"] for h in hosts),
            "healthy": sum(h["instances"]["healthy"] for h in hosts),
            "phases": dict(sorted(phases.items())),
        },
        "hosts": hosts,
    }


def host_data(platform: Platform, host: Host) -> dict[str, Any]:
    state, now = platform.core.state, platform.clock()
    verdict = state.verdict.hosts.get(host.name)
    trusted = verdict is not None and verdict.trusted
    reason = verdict.reason if verdict is not None else Reason.NO_REPORT
    pop = next(p.city for p, h in state.network.hosts() if h.name == host.name)
    drains = drains_over(state, pop, host.name)
    drained = trusted and is_drained(drains)
    reason = Reason.DRAINED if drained else reason
    received = state.reports.get(host.name)
    report = received.report if received is not None else None
    issued = state.orders.get(host.name)
    placed = [p.incarnation for p in state.incarnations_on(host.name).values()]
    leaving = [t.incarnation for t in state.tombstones_on(host.name).values()]
    seen = [shown(s.name, s.uid, received, now=now) for s in placed]
    seen += [shown(s.name, s.uid, received, now=now, removing=True) for s in leaving]
    asns = {u.name: u.asn for u in host.upstreams}
    sessions = (
        [{**codec.to_data(s), "asn": asns.get(s.upstream)} for s in report.sessions] if report is not None else []
    )
    return {
        "host": host.name,
        "trusted": trusted,
        "verdict": "unknown" if not trusted else "drained" if drained else "trusted",
        "reason": reason.value,
        "says": reason.says,
        **({"drain": drain_words(drains)} if drains else {}),
        "generation": issued.order.generation if issued is not None else 0,
        "obeyed": report.generation if report is not None else 0,
        "refused": report.refused.value if report is not None and report.refused is not None else None,
        "sessions": [{**s, "state": s["state"] if trusted else "unknown"} for s in sessions],
        "prefixes": [_prefix_data(p, trusted) for p in report.prefixes] if report is not None else [],
        "instances": {
            "total": len(seen),
            "healthy": sum(s.healthy for s in seen),
            "phases": dict(sorted(Counter(s.word for s in seen).items())),
        },
        "report_age_s": round(now - received.at, 3) if received is not None else None,
        "agent_age_s": _age(received, now),
    }


def _age(received: Received | None, now: float) -> float | None:
    """How old the agent's process is: by its own clock until its last report, by ours since then."""
    if received is None or received.report.began is None:
        return None
    return round(received.report.at - received.report.began + now - received.at, 3)


def tunnels_data(platform: Platform, host: HostName) -> dict[str, Any]:
    """A host's tunnels by its last report; nothing where it has none. One that is not to be believed proves nothing:
    then none is up.
    """
    verdict = platform.core.state.verdict.hosts.get(host)
    trusted = verdict is not None and verdict.trusted
    received = platform.core.state.reports.get(host)
    tunnels = received.report.tunnels if received is not None else ()
    return {"tunnels": [{**codec.to_data(t), "up": t.up and trusted} for t in tunnels]} if tunnels else {}


def _prefix_data(prefix: PrefixReport, trusted: bool) -> dict[str, Any]:
    """Without the single addresses in it: they may be another account's. How it is told and what comes in for it is
    told of drains, to whom they concern.
    """
    hidden = ("shut", "exported", "arrived")
    told = {key: value for key, value in codec.to_data(prefix).items() if key not in hidden}
    return {**told, "trusted": trusted, "says": prefix.reason.says}
