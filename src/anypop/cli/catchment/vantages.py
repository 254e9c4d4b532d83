"""Where the vantages land now, asked of control: what the waves of a repair are worked out from.

In: a workload. Out: the vantages' places, and the PoP where each lands. What to expect after each wave is
`advice.waves`' business; whether it came true is control's.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from anypop.advice.waves import Viewpoint

if TYPE_CHECKING:
    from anypop.cli.call import Call

REQUESTS = 3  # of each vantage: as many as control asks when it watches the waves


def viewpoints(call: "Call") -> list[Viewpoint]:
    """Empty where no vantage is attached."""
    listed = call.client.get("/anypop/v1/vantages", what="list vantages").get("results") or []
    return [Viewpoint(name=str(v["name"]), asn=int(v.get("asn") or 0), city=str(v.get("city") or "")) for v in listed]


def landings(call: "Call", workload: str) -> Mapping[str, str | None]:
    """PoP by vantage; None: nobody answered, or somebody unknown."""
    body = {"workload": workload, "stack": call.client.settings.stack, "requests": REQUESTS}
    rows: list[dict[str, Any]] = (
        call.client.call("POST", "/anypop/v1/probes", what="probe", body=body, patience_s=600).get("results") or []
    )
    return {str(row["vantage"]): row.get("pop") or None for row in rows}
