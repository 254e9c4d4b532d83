"""/anypop/v1/pops: every PoP as it was ordered, and as its last report shows it.

In: control's state. Out: what it knows and how sure it is: of a PoP whose last report is missing or too old nothing is
shown as healthy.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter

from anypop.api.announcements import shared_data
from anypop.api.context import CallerAccount, Platform, PlatformDep
from anypop.api.dials import words_of
from anypop.api.documentation import answers
from anypop.api.host_states import tunnels_data
from anypop.api.models.platform import Pops
from anypop.control.accounts import Account
from anypop.control.drain_facts import drain_words
from anypop.control.sharing import Shared, shared
from anypop.model.drain import DrainKind
from anypop.model.network import Pop
from anypop.model.reasons import Reason
from anypop.plan.fields import location

router = APIRouter(prefix="/anypop/v1", tags=["platform"])


@router.get("/pops")
@answers(Pops)
async def list_pops(account: CallerAccount, platform: PlatformDep) -> dict[str, Any]:
    """List every PoP.

    What names instances or the inside of a PoP (drift, errors, orphans) is for the operator alone.
    """
    state = platform.core.state
    sites = sorted(state.network.pops, key=lambda site: site.city)
    if not account.operator:
        return {"results": [_pop(platform, site) for site in sites]}
    of_several = tuple(shared(state))  # looked for once, whatever the number of PoPs
    return {"results": [_pop(platform, site) | _inside(platform, account, site, of_several) for site in sites]}


def _inside(platform: Platform, account: Account, site: Pop, of_several: Sequence[Shared]) -> dict[str, Any]:
    reports = [r.report for host in site.hosts if (r := platform.core.state.reports.get(host.name)) is not None]
    here = {p.prefix for report in reports for p in report.prefixes}
    hosts = [host.name for host in site.hosts]
    tunnels = [
        {"from": name, **t} for name in hosts for t in tunnels_data(platform.core.state, name).get("tunnels", ())
    ]
    found = [shared_data(platform, account, one) for one in of_several if one.prefix in here]
    told = {"shared": found, "tunnels": tunnels}
    return {name: rows for name, rows in told.items() if rows} | {
        name: [line for report in reports for line in getattr(report, name)] for name in ("drift", "errors", "orphans")
    }


def _pop(platform: Platform, site: Pop) -> dict[str, Any]:
    """A PoP as its hosts together: trusted when each of them is, and what is wrong with the first that is not well."""
    city = site.city
    state, now = platform.core.state, platform.clock()
    hosts = [platform.host_states.of(state, city, host, now) for host in site.hosts]
    place = location(city)
    fine = (Reason.RUNNING, Reason.DRAINED)
    worst = next((h for h in hosts if not h["trusted"]), None) or next(
        (h for h in hosts if h["reason"] not in fine), next((h for h in hosts if h["verdict"] != "drained"), hosts[0])
    )
    drains = [d for d in state.drains_at(city) if d.kind in (DrainKind.POP, DrainKind.UPSTREAM)]
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
        **({"dial": words} if (words := words_of(state, city)) else {}),
        "sessions": [session for host in hosts for session in host["sessions"]],
        "prefixes": [prefix for host in hosts for prefix in host["prefixes"]],
        "instances": {
            "total": sum(h["instances"]["total"] for h in hosts),
            "healthy": sum(h["instances"]["healthy"] for h in hosts),
            "phases": dict(sorted(phases.items())),
        },
        "hosts": hosts,
    }
