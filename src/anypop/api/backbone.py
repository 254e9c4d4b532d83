"""/anypop/v1/backbone: the tunnels between hosts, what is carried through them, and what was sent each month.

In: control's state and the price book. Out: tunnels by the hosts' last reports, and sums of bytes with their price. For
the operator alone: backbone traffic is his to pay.
"""

from typing import Any

from fastapi import APIRouter

from anypop.api.context import AskingCaller, OperatorAccount, Platform, PlatformDep
from anypop.api.dials import data_of, shown, stands
from anypop.api.documentation import answers
from anypop.api.host_states import tunnels_data
from anypop.api.models.platform import BackboneState
from anypop.control.traffic import Month, months
from anypop.model import codec
from anypop.plan.announcements import order_of
from anypop.plan.price import backbone_price

router = APIRouter(prefix="/anypop/v1", tags=["platform"])

MOST_MONTHS = 24


@router.get("/backbone")
@answers(BackboneState)
async def show_backbone(_: OperatorAccount, caller: AskingCaller, platform: PlatformDep) -> dict[str, Any]:
    """Show the tunnels between hosts, what is carried, and what was sent each month."""
    state = platform.core.state
    rules, plan = state.network.backbone, state.plan
    hosts = [host.name for _, host in state.network.hosts()]
    parts = plan.sites.backbones if plan is not None else {}
    distances = {(name, peer.host): peer.distance_km for name, part in parts.items() for peer in part.peers}
    return {
        "on": rules is not None,
        **({"rules": codec.to_data(rules)} if rules is not None else {}),
        "carried": [str(prefix) for prefix in sorted(plan.carried, key=order_of)] if plan is not None else [],
        "tunnels": [
            {"from": name, "distance_km": distances.get((name, t["host"])), **t}
            for name in hosts
            for t in tunnels_data(state, name).get("tunnels", ())
        ],
        "dials": [data_of(state, d) for d in shown(platform, caller) if stands(d)],
        "months": [_month(platform, month) for month in months(state.traffic.values())[:MOST_MONTHS]],
    }


def _month(platform: Platform, month: Month) -> dict[str, Any]:
    return {
        "month": month.month,
        "sent_bytes": month.sent,
        "price": backbone_price(month.sent, platform.prices),
        "currency": platform.prices.currency,
        "tunnels": [
            {"from": host, "host": peer, "sent_bytes": sent, "price": backbone_price(sent, platform.prices)}
            for host, peer, sent in month.tunnels
        ],
    }
