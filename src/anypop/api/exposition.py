"""Where metrics are scraped: control's own, those of each host by way of control, and the list of both.

In: requests of the operator, or of a credential that may do nothing else. Out: OpenMetrics text, and targets for HTTP
service discovery. A host opens no port for it: control asks its agent over the stream that the agent opened.
"""

import asyncio
import re
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response

from anypop.api.context import OperatorAccount, Platform, PlatformDep
from anypop.api.documentation import answers
from anypop.api.errors import Code
from anypop.api.models.exposition import TargetGroups
from anypop.control.refusals import NotFound
from anypop.model.errors import Invalid
from anypop.model.names import HostName

router = APIRouter(prefix="/anypop/v1", tags=["platform"])

OPENMETRICS = "application/openmetrics-text"
MEDIA_TYPE = f"{OPENMETRICS}; version=1.0.0; charset=utf-8"
OWN = "/anypop/v1/metrics"
_ADDRESS = re.compile(r"[A-Za-z0-9.-]{1,253}(:[0-9]{1,5})?|\[[0-9a-fA-F:.]{2,45}\](:[0-9]{1,5})?")


@router.get("/metrics")
@answers(str, media_type=OPENMETRICS)
async def get_control_metrics(_: OperatorAccount, platform: PlatformDep) -> Response:
    """Get control's own metrics, as OpenMetrics text."""
    return Response(own_text(platform), media_type=MEDIA_TYPE)


@router.get("/hosts/{host}/metrics")
@answers(str, Code.NOT_FOUND, Code.UNAVAILABLE, media_type=OPENMETRICS)
async def get_host_metrics(
    host: Annotated[str, Path(description="the host's name")], _: OperatorAccount, platform: PlatformDep
) -> Response:
    """Get what a host measures at this moment, as OpenMetrics text.

    Control asks its agent. What names another host, or an instance that is not there, is left out.
    """
    known = _known(platform, host)
    text = await platform.measured.text(known)
    if platform.filling is not None:
        platform.filling.scraped(known)
    return Response(text, media_type=MEDIA_TYPE)


@router.get("/metrics/targets")
@answers(TargetGroups)
async def list_metrics_targets(request: Request, _: OperatorAccount, platform: PlatformDep) -> list[dict[str, Any]]:
    """List what there is to scrape, for the HTTP service discovery of Prometheus.

    Control and each host, all at the address by which this was asked.
    """
    address = request.headers.get("host", "")
    if _ADDRESS.fullmatch(address) is None:
        raise Invalid.one("host", "the header must name control by its address")
    own = {"targets": [address], "labels": {"__metrics_path__": OWN}}
    return [
        own,
        *(
            {
                "targets": [address],
                "labels": {
                    "__metrics_path__": f"/anypop/v1/hosts/{host.name}/metrics",
                    "pop": str(pop.city),
                    "host": str(host.name),
                },
            }
            for pop, host in platform.core.state.network.hosts()
        ),
    ]


def own_text(platform: Platform) -> bytes:
    """Of this control, now."""
    from anypop.control.metrics.exposition import Told, text_of  # noqa: PLC0415 - for those alone who are scraped

    accounts = platform.accounts
    return text_of(
        Told(
            counts=platform.core.counts,
            state=platform.core.state,
            now=platform.clock(),
            moment=asyncio.get_running_loop().time(),
            slugs={stack.id: stack.slug for one in accounts.accounts() for stack in accounts.stacks(one.id)},
            connected=platform.streams.connected,
            streams=platform.streams.open,
            dropped=platform.measured.dropped,
            objective=platform.objective,
        )
    )


def _known(platform: Platform, name: str) -> HostName:
    for host in platform.hosts():
        if host.upper() == name.upper():
            return host
    raise NotFound(f"no host {name}")
