"""Instances and questions for tests of one PoP: who is ordered, and what the kernel and the last report say of them.

Beside `tests.agent_lab`, which makes the PoP itself. Nothing here starts or ends anything.
"""

from contextlib import suppress
from dataclasses import replace
from typing import Any

from anypop.agent.act.network import rtnl
from anypop.agent.act.network.netlink import Netlink
from anypop.agent.naming import LEARNT_TABLE, ROUTE_PROTOCOL
from anypop.host import netns
from anypop.model.errors import WorldError
from anypop.model.order import InstanceOrder
from anypop.model.reasons import Reason
from anypop.model.workload import Container
from tests.agent_lab import COVER4, PopLab, instance, web
from tests.podman_service import STAY

_lives = iter(range(1, 1000))


def fresh(n: int, container: Container | None = None) -> InstanceOrder:
    """Instance `n` in a life of its own."""
    return instance(n, uid=f"{next(_lives):08x}{n:02x}", containers=(container,) if container else None)


def shell(script: str, **more: Any) -> Container:
    """A container that runs `script`, and stays."""
    return replace(web(), command=("/bin/sh", "-c", f"{script}\n{STAY}"), **more)


def announced_because(pop: PopLab) -> Reason | None:
    """Why the anycast prefix stands as it does, by the last report."""
    prefix = pop.reported_prefix(COVER4)
    return prefix.reason if prefix else None


def group_size(pop: PopLab) -> int:
    """Members of the anycast address's group, straight from the kernel."""
    with netns.inside(pop.router), Netlink() as net:
        hops = {hop.id: hop for hop in rtnl.nexthops(net, ROUTE_PROTOCOL)}
    groups = (
        {hops[number].interface for number, _ in hop.group if number in hops} for hop in hops.values() if hop.group
    )
    return max((len(links) for links in groups), default=0)


def learnt_routes(pop: PopLab, family: str = "-4") -> set[str]:
    """What the kernel has of what neighbours told; an empty table is none at all."""
    with suppress(WorldError):
        return {row["dst"] for row in pop.kernel(family, "route", "show", "table", str(LEARNT_TABLE), "proto", "bird")}
    return set()
