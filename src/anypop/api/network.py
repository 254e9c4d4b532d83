"""/anypop/v1/network: the operator's network document, shown and replaced.

In: the whole document. Out: the document that holds now. What would take instances away needs `confirm=true`;
`control.network` decides.
"""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query

from anypop.api.bodies import JsonObject
from anypop.api.context import OperatorAccount, PlatformDep
from anypop.api.documentation import answers
from anypop.api.errors import Code
from anypop.api.models.platform import NetworkRequest
from anypop.control.network import change_network
from anypop.model import codec
from anypop.model.network import Network, network_from

router = APIRouter(prefix="/anypop/v1", tags=["platform"])


@router.get("/network")
@answers(Network)
async def get_network(_: OperatorAccount, platform: PlatformDep) -> Any:
    """Get the operator's network document."""
    return codec.to_data(platform.core.state.network)


@router.put("/network")
@answers(Network, Code.FAILED_PRECONDITION)
async def replace_network(
    _: OperatorAccount,
    platform: PlatformDep,
    body: Annotated[dict[str, Any], Depends(JsonObject(Network | NetworkRequest))],
    confirm: Annotated[
        bool,
        Query(
            description="also where it takes down more than a third of the instances, or the backbone from workloads "
            "that depend on it"
        ),
    ] = False,
) -> Any:
    """Replace the operator's network document."""
    wanted = network_from(body.get("network", body))
    confirmed = frozenset(platform.core.state.workloads) if confirm else frozenset()
    state = await platform.core.change(change_network(wanted, darken=confirm), confirmed=confirmed)
    await asyncio.to_thread(platform.on_network, platform.hosts())
    return codec.to_data(state.network)
