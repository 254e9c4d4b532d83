"""/anypop/v1/hosts: every host with its room and its state; give one up, or take it back into use.

In: the operator's requests. Out: what control knows of hosts: what they have, what is placed there, what is left, and
whether they are lost.
"""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Path

from anypop.api import shapes
from anypop.api.context import OperatorAccount, Platform, PlatformDep
from anypop.api.documentation import answers
from anypop.api.errors import Code
from anypop.api.host_states import tunnels_data
from anypop.api.models.joins import JoinToken
from anypop.api.models.platform import Hosts, HostState
from anypop.control import hosts
from anypop.control.drain_facts import drains_over, is_drained
from anypop.control.refusals import NotFound
from anypop.control.state import State
from anypop.model.names import HostName
from anypop.model.network import Capacity, Host, Pop

router = APIRouter(prefix="/anypop/v1/hosts", tags=["platform"])

Name = Annotated[str, Path(description="the host's name")]


@router.get("")
@answers(Hosts)
async def list_hosts(_: OperatorAccount, platform: PlatformDep) -> dict[str, Any]:
    """List every host with its room and its state."""
    return {"results": [_row(platform, pop, host) for pop, host in platform.core.state.network.hosts()]}


@router.post("/{host}/evict")
@answers(HostState, Code.NOT_FOUND, Code.FAILED_PRECONDITION)
async def evict_host(host: Name, _: OperatorAccount, platform: PlatformDep) -> dict[str, Any]:
    """Give a host up.

    Its instances are placed on the other hosts of its PoP, one after the other; it takes down what it has when it
    returns.
    """
    return await _changed(platform, host, hosts.evict)


@router.post("/{host}/readmit")
@answers(HostState, Code.NOT_FOUND, Code.FAILED_PRECONDITION)
async def readmit_host(host: Name, _: OperatorAccount, platform: PlatformDep) -> dict[str, Any]:
    """Take a host back into use: new instances may be placed on it again."""
    return await _changed(platform, host, hosts.readmit)


@router.post("/{host}/reset")
@answers(HostState, Code.NOT_FOUND)
async def reset_host(host: Name, _: OperatorAccount, platform: PlatformDep) -> dict[str, Any]:
    """Let a host go on that control has forgotten, after its store was lost or restored.

    The next generation that it claims within ten minutes is believed, whatever it is, and gone on above. Where it
    refuses its order for instances that control knows nothing of, it is told to take these down.
    """
    known = _known(platform, host)
    state = await platform.core.reset(known)
    return next(_row(platform, pop, one) for pop, one in state.network.hosts() if one.name == known)


@router.post("/{host}/token")
@answers(JoinToken, Code.NOT_FOUND)
async def give_join_token(host: Name, _: OperatorAccount, platform: PlatformDep) -> dict[str, Any]:
    """Get a token with which a host's agent joins, once and within an hour.

    One that was given before counts no more. The agent gets a client certificate for it and renews that by itself.
    """
    known = _there(platform, host)
    token, until = await asyncio.to_thread(platform.joins.token_for, known)
    return {"host": known, "token": token, "expiresAt": shapes.moment(until)}


@router.post("/{host}/revoke")
@answers(HostState, Code.NOT_FOUND)
async def revoke_host(host: Name, _: OperatorAccount, platform: PlatformDep) -> dict[str, Any]:
    """Let no certificate and no token that a host's agent has got so far count any more.

    What runs there goes on by the last order. A new join token lets it come back.
    """
    known = _there(platform, host)
    await asyncio.to_thread(platform.joins.revoke, known)
    await asyncio.to_thread(platform.accounts.agents.drop_agent, known)
    return next(_row(platform, pop, one) for pop, one in platform.core.state.network.hosts() if one.name == known)


def _there(platform: Platform, name: str) -> HostName:
    """The host as the network spells it. Raises `NotFound`."""
    known = _known(platform, name)
    if known not in platform.hosts():
        raise NotFound(f"no host {name}")
    return known


async def _changed(platform: Platform, name: str, step: Any) -> dict[str, Any]:
    known = _known(platform, name)
    state = await platform.core.change(step(known))
    return next(_row(platform, pop, host) for pop, host in state.network.hosts() if host.name == known)


def _known(platform: Platform, name: str) -> HostName:
    """The host as the network spells it; the name itself where there is none."""
    return next(
        (h.name for _, h in platform.core.state.network.hosts() if h.name.upper() == name.upper()), HostName(name)
    )


def _row(platform: Platform, pop: Pop, host: Host) -> dict[str, Any]:
    state = platform.core.state
    evicted = state.evicted.get(host.name)
    capacity = host.capacity or _told(state, host.name)
    return shapes.filled(
        {
            **{
                key: value
                for key, value in platform.host_states.of(state, pop.city, host, platform.clock()).items()
                if key in ("host", "trusted", "reason", "says", "instances", "drain")
            },
            "pop": pop.city,
            "state": _state(state, pop, host),
            "evictedAt": shapes.moment(evicted) if evicted is not None else None,
            "capacity": _amounts(capacity) if capacity is not None else None,
            "capacity_by": "operator" if host.capacity is not None else "agent" if capacity is not None else None,
            "machines": _machines(state, host.name),
            "taken": _amounts(platform.host_states.taken(state, host.name)),
            **tunnels_data(state, host.name),
        }
    )


def _state(state: State, pop: Pop, host: Host) -> str:
    if host.name in state.evicted:
        return "evicted"
    if host.name in state.lost:
        return "lost"
    return "drained" if is_drained(drains_over(state, pop.city, host.name)) else "in use"


def _told(state: State, host: HostName) -> Capacity | None:
    received = state.reports.get(host)
    return received.report.capacity if received is not None else None


def _machines(state: State, host: HostName) -> str | None:
    """With what it runs virtual machines, as its agent told last."""
    received = state.reports.get(host)
    return received.report.machines if received is not None else None


def _amounts(amounts: Capacity) -> dict[str, int]:
    return {"cpu_millis": amounts.cpu_millis, "memory_bytes": amounts.memory_bytes, "disk_bytes": amounts.disk_bytes}
