"""/anypop/v1/network: the operator's network document, shown and replaced.

In: the whole document. Out: the document that holds now. What would take instances away needs `confirm=true`; `control.network` decides.
"""

import asyncio
from typing import Any

from fastapi import APIRouter

from anypop.api.bodies import Body
from anypop.api.context import OperatorAccount, PlatformDep
from anypop.control.network import change_network
from anypop.model import codec
from anypop.model.network import network_from

router = APIRouter(prefix="/anypop/v1")


@router.get("/network")
async def network(_: OperatorAccount, platform: PlatformDep) -> Any:
    return codec.to_data(platform.core.state.network)


@router.put("/network")
async def put_network(_: OperatorAccount, platform: PlatformDep, body: Body, confirm: bool = False) -> Any:
    """Replace the operator's network document. `confirm=true` also where it takes instances away."""
    wanted = network_from(body.get("network", body))
    confirmed = frozenset(platform.core.state.workloads) if confirm else frozenset()
    state = await platform.core.change(change_network(wanted), confirmed=confirmed)
    await asyncio.to_thread(platform.on_network, platform.hosts())
    return codec.to_data(state.network)
