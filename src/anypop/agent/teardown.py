"""The end of a PoP: everything that this agent made is taken away, also when Podman or BIRD are dead already.

In: prefix, state folder, socket. Out: nothing of the PoP's in the kernel, no process, no container; what could not be done, in words. For
`anypop down` and for decommissioning: no draining, no order. Run it in the PoP's router namespace, with no agent running.
"""

import asyncio
import contextlib
import os
import select
import signal
from collections.abc import Iterator
from pathlib import Path

from anypop.agent.bgp.bird import Bird
from anypop.agent.ledger import Ledger
from anypop.agent.naming import ROUTE_PROTOCOL, short, short_of_link
from anypop.agent.network import firewall, namespaces, rtnl
from anypop.agent.network.netlink import Netlink
from anypop.agent.runtime.podman import Podman
from anypop.host import netns
from anypop.model.errors import WorldError
from anypop.model.names import CityCode


async def take_down(*, prefix: str, pop: str | None, state: Path, socket: Path) -> list[str]:
    """Take all of it down; what failed, as lines. Harmless when there is nothing."""
    troubles: list[str] = []
    with Netlink() as net:
        shorts = {key for link in rtnl.links(net) if (key := short_of_link(link.name))} | _remembered(state, pop)
        with _tell(troubles):
            Bird(state / "bird").stop()
        if socket.exists():  # noqa: ASYNC240 - nothing else runs in this loop
            with _tell(troubles):
                await _remove_containers(prefix, pop, socket)
        killed = await asyncio.to_thread(_end_processes, {f"{prefix}-i-{key}" for key in shorts})
        if killed:
            troubles.append(f"ended {killed} processes of instances directly")
        for key in sorted(shorts):
            with _tell(troubles):
                rtnl.delete_link(net, f"i{key}")
                namespaces.remove_name(netns.path_of(f"{prefix}-i-{key}"))
        with _tell(troubles):
            _remove_routes(net)
        with _tell(troubles):
            await firewall.unload(prefix)
    _unmount_below(state)
    return troubles


@contextlib.contextmanager
def _tell(troubles: list[str]) -> Iterator[None]:
    try:
        yield
    except (WorldError, OSError) as error:
        troubles.append(str(error))


def _remembered(state: Path, pop: str | None) -> set[str]:
    """Instances that the last order knows of, so that a namespace whose link is gone is found too."""
    ledger = Ledger(state / "order.json", CityCode(pop or ""))
    ledger.restore()
    if ledger.page is None:
        return set()
    return {short(i.uid) for i in ledger.page.order.instances} | {short(x.removal.uid) for x in ledger.page.leaving}


async def _remove_containers(prefix: str, pop: str | None, socket: Path) -> None:
    """By Podman, as long as it answers."""
    runtime = Podman(socket, prefix=prefix, pop=CityCode(pop.upper()) if pop else None)
    try:
        async with asyncio.timeout(60):
            seen = await runtime.containers()
            results = await asyncio.gather(*(runtime.remove(c.uid, c.container) for c in seen), return_exceptions=True)
    except TimeoutError as error:
        raise WorldError("remove containers", "Podman did not do it within 60 s") from error
    finally:
        await runtime.close()
    for result in results:
        if isinstance(result, WorldError):
            raise result


def _end_processes(names: set[str]) -> int:
    """Kill whatever still lives in these network namespaces: containers that nobody else can stop any more."""
    inodes = {path.stat().st_ino for name in names if namespaces.is_namespace(path := netns.path_of(name))}
    if not inodes:
        return 0
    handles = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (folder / "ns/net").stat().st_ino in inodes:
                pid = int(folder.name)
                handles.append(os.pidfd_open(pid))
                os.kill(pid, signal.SIGKILL)
    for handle in handles:
        select.select([handle], [], [], 5)
        os.close(handle)
    return len(handles)


def _remove_routes(net: Netlink) -> None:
    for route in rtnl.routes(net, ROUTE_PROTOCOL):
        rtnl.delete_route(net, route.prefix, ROUTE_PROTOCOL, route.metric)
    for hop in rtnl.nexthops(net, ROUTE_PROTOCOL):
        rtnl.delete_nexthop(net, hop.id)


def _unmount_below(folder: Path) -> None:
    """Mounts of containers' file systems that a dead Podman left inside the state folder; deepest first."""
    inside = f"{folder.resolve()}/"
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for point in sorted((p for p in points if p.startswith(inside)), reverse=True):
        namespaces.unmount(Path(point))
