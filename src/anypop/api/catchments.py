"""/anypop/v1/catchments: where answers to pings from an anycast address come in, which is where networks land; and
where hosts have seen them land by themselves.

In: addresses to ask, the PoP that sends, the address that it sends from. One host of that PoP sends, all hosts of the
platform listen, each for echoes of this measurement's key alone. Out: who answered and where. The operator's alone, off
unless the network document allows a rate, one measurement at a time.
"""

import asyncio
import secrets
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path

from anypop.api.bodies import JsonBody
from anypop.api.context import OperatorAccount, Platform, PlatformDep
from anypop.api.documentation import answers
from anypop.api.errors import Code
from anypop.api.models.catchments import Catchment, CatchmentRequest, SeenCatchment, SeenCatchments
from anypop.api.shapes import moment
from anypop.control.audit import Noted
from anypop.control.refusals import Busy, NotFound, Precondition, Refused
from anypop.control.streams import Socket
from anypop.model.announce import Prefix
from anypop.model.codec import from_json
from anypop.model.errors import Invalid, Problem, WorldError
from anypop.model.names import CityCode, HostName
from anypop.model.network import Network, Pop
from anypop.model.streams import EchoesRequest, Heard, Pinged, PingsRequest

router = APIRouter(prefix="/anypop/v1", tags=["platform"])

LATE_S = 3.0  # answers take less than half a second from anywhere on Earth; the rest is for hosts that are busy
PATIENCE_S, LONGEST_S = 10.0, 100


@router.get("/catchments")
@answers(SeenCatchments)
async def list_catchments(_: OperatorAccount, platform: PlatformDep) -> dict[str, Any]:
    """List the announcements under which the PoPs' own traffic was looked at, the last one first."""
    found = await asyncio.to_thread(platform.catchments.listed)
    return {
        "results": [
            {
                "id": one.id,
                "prefix": one.prefix,
                "plan": one.plan,
                "first_at": moment(one.first_at),
                "begun_at": moment(one.begun_at),
                "sources": one.sources,
            }
            for one in found
        ]
    }


@router.get("/catchments/{catchment_id}")
@answers(SeenCatchment, Code.NOT_FOUND)
async def get_catchment(
    catchment_id: Annotated[str, Path(description="of a catchment, as they are listed")],
    _: OperatorAccount,
    platform: PlatformDep,
) -> dict[str, Any]:
    """Get the networks (/24 and /48) whose connections came in under one announcement, by PoP."""
    found = await asyncio.to_thread(platform.catchments.landed, catchment_id)
    return {"landed": [{"pop": pop, "sources": sources} for pop, sources in found.items()]}


@router.post("/catchments")
@answers(Catchment, Code.NOT_FOUND, Code.FAILED_PRECONDITION, Code.RESOURCE_EXHAUSTED, Code.UNAVAILABLE)
async def measure_catchment(
    account: OperatorAccount,
    platform: PlatformDep,
    body: Annotated[CatchmentRequest, Depends(JsonBody(CatchmentRequest))],
) -> dict[str, Any]:
    """Ping addresses from an anycast address, and tell in which PoP each answer came in.

    As fast as `pings_per_s` of the network document allows; 0, which is the default, allows none.
    """
    network = platform.core.state.network
    pop = _checked(network, body)
    if platform.pinging.locked():
        raise Busy("a catchment is being measured: ask again when that is over")
    async with platform.pinging:
        # it sends packets to others, who may ask about them
        became = {"address": str(body.address), "targets": len(body.targets), "pings_per_s": network.pings_per_s}
        await asyncio.to_thread(platform.core.store.note, Noted(subject=pop.city, became=became))
        return await _measured(platform, network, pop, body, account.id)


def _checked(network: Network, body: CatchmentRequest) -> Pop:
    pop = network.pop(CityCode(body.pop.upper()))
    if pop is None:
        raise NotFound(f"no PoP {body.pop}")
    problems = [
        Problem(path=f"targets[{index}]", message=f"is not IPv{body.address.version}, as the address is")
        for index, target in enumerate(body.targets)
        if target.version != body.address.version
    ]
    covers: tuple[Prefix, ...] = (*network.anycast4, *network.anycast6)
    if not any(body.address in prefix for prefix in covers if prefix.version == body.address.version):
        problems.append(Problem(path="address", message="is in no covering prefix of this platform"))
    if problems:
        raise Invalid(problems)
    if not network.pings_per_s:
        raise Precondition("no pings are sent from here: pings_per_s of the network document allows them")
    if len(body.targets) > LONGEST_S * network.pings_per_s:
        why = f"would take longer than {LONGEST_S} s at {network.pings_per_s} in a second: ask fewer"
        raise Invalid.one("targets", why)
    return pop


async def _measured(
    platform: Platform, network: Network, pop: Pop, body: CatchmentRequest, account: str
) -> dict[str, Any]:
    key = secrets.token_hex(16)
    # a host that does not answer is waited for while the others listen
    lasts = len(body.targets) / network.pings_per_s + platform.streams.patience_s + LATE_S
    listens = EchoesRequest(key=key, source=body.address, listen_s=lasts)
    pings = PingsRequest(key=key, source=body.address, targets=tuple(body.targets), per_s=network.pings_per_s)
    cities = {host.name: each.city for each, host in network.hosts()}
    begun = {host: asyncio.Event() for host in cities}

    async def heard(host: HostName) -> set[str] | None:
        """None: it did not listen to the end."""
        try:
            async with platform.streams.ask(host, listens, account, one_of_many=True) as there:
                begun[host].set()
                return await _heard(there, lasts + PATIENCE_S)
        except (WorldError, Refused):
            return None
        finally:
            begun[host].set()

    listening = {host: asyncio.create_task(heard(host)) for host in cities}
    try:
        await asyncio.gather(*(event.wait() for event in begun.values()))
        told = await _sent(platform, pop, pings, account, lasts + PATIENCE_S)
        found = {host: await task for host, task in listening.items()}
    finally:
        for task in listening.values():
            task.cancel()
    asked = {str(target) for target in body.targets}
    landed = sorted(
        {(target, cities[host]) for host, seen in found.items() for target in seen or () if target in asked}
    )
    return {
        "sent": told.sent,
        "unsent": told.unsent,
        "deaf": [host for host, seen in found.items() if seen is None],
        "results": [{"target": target, "pop": city} for target, city in landed],
    }


async def _sent(platform: Platform, pop: Pop, wanted: PingsRequest, account: str, patience_s: float) -> Pinged:
    """By the first host of the PoP that can."""
    why: WorldError | Refused = Precondition(f"{pop.city} has no host")
    for host in pop.hosts:
        try:
            async with (
                platform.streams.ask(host.name, wanted, account, one_of_many=True) as there,
                asyncio.timeout(patience_s),
            ):
                told = await there.receive()
                if told is not None:
                    return from_json(Pinged, told)
                why = WorldError(f"send pings from {host.name}", "it ended before all were out")
        except TimeoutError:
            raise WorldError(f"send pings from {host.name}", "it does not say that all are out") from None
        except (WorldError, Refused) as error:
            why = error
    raise why


async def _heard(there: Socket, patience_s: float) -> set[str] | None:
    found: set[str] = set()
    try:
        async with asyncio.timeout(patience_s):
            while (told := await there.receive()) is not None:
                found.update(map(str, from_json(Heard, told).addresses))
    except TimeoutError:
        return None
    return found if there.said_all else None
