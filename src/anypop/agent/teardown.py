"""The end of a PoP: everything that this agent made is taken away, also when Podman or BIRD are dead already.

In: prefix, state folder, socket. Out: nothing of the PoP's in the kernel, no process, no container; what could not be
done, in words. For `anypop down` and for decommissioning: no draining, no order. Run it in the PoP's router
namespace, with no agent running. It imports little and speaks to Podman plainly: the agent's own libraries take
longer to load, on a busy machine, than all of this takes to do.
"""

import contextlib
import http.client
import json
import os
import select
import shutil
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlencode

from anypop.agent.act.network import (
    gateway_ways,
    learnt,
    loopback,
    namespaces,
    newcomer_ways,
    nftables,
    pins,
    probe_ways,
    rtnl,
    tunnel,
    vpc_ways,
)
from anypop.agent.act.network.netlink import Netlink
from anypop.agent.bfd import orphans
from anypop.agent.naming import (
    LABEL,
    ROUTE_PROTOCOL,
    arrivals_table,
    firewall_table,
    own_files_of,
    short,
    short_of_link,
    sources_table,
)
from anypop.host import inventory, limited_groups, netns, process
from anypop.model.errors import WorldError

KEPT = (
    ("names", "resolver"),
    ("shipping", "shipping"),
    ("guests", "guests"),
)  # processes beside the agent, which outlive it
_API = "/v4.0.0/libpod/containers"
_PATIENCE_S = 60.0  # for one container, on a machine under heavy load


def take_down(*, prefix: str, pop: str | None, state: Path, podman: Path) -> list[str]:
    """Take all of it down; what failed, as lines. Harmless when there is nothing. `podman`: the service's socket."""
    troubles: list[str] = []
    with Netlink() as net:
        shorts = {key for link in rtnl.links(net) if (key := short_of_link(link.name))} | _remembered(state)
        process.end(state / "bird" / "bird.pid")
        process.end(state / "bird" / "bfd" / "bfd.pid")
        orphans.end(state / "bird" / "bfd")
        for folder, name in KEPT:
            process.end(state / folder / f"{name}.pid", grace_s=2)
        with _tell(troubles):
            _remove_machines(state / "machines")
        if podman.exists():
            with _tell(troubles):
                _remove_containers(prefix, pop, podman)
        killed = _end_processes({f"{prefix}-i-{key}" for key in shorts})
        if killed:
            troubles.append(f"ended {killed} processes of instances directly")
        for key in sorted(shorts):
            shutil.rmtree(own_files_of(prefix, key), ignore_errors=True)
            with _tell(troubles):
                rtnl.delete_link(net, f"i{key}")
                namespaces.remove_name(netns.path_of(f"{prefix}-i-{key}"))
        with contextlib.suppress(OSError):  # another host's, on one machine
            Path(own_files_of(prefix, "")).parent.rmdir()
        with _tell(troubles):
            tunnel.remove(net)
            vpc_ways.remove(net)
            gateway_ways.remove(net)
        with _tell(troubles):
            nftables.delete_tunnels_tables(prefix)
        with _tell(troubles):
            loopback.remove(net)
        with _tell(troubles):
            _remove_routes(net)
        with _tell(troubles):
            pins.unpin_all(net, prefix)
            newcomer_ways.remove(net)
            learnt.remove(net)
        with _tell(troubles):
            probe_ways.close_all(net)
        with _tell(troubles):
            remove_firewall(prefix)
        with _tell(troubles):
            nftables.delete_error_tables(prefix)
    _unmount_below(state)
    return troubles


@contextlib.contextmanager
def _tell(troubles: list[str]) -> Iterator[None]:
    try:
        yield
    except (WorldError, OSError) as error:
        troubles.append(str(error))


def _remembered(state: Path) -> set[str]:
    """Instances that the last order knows of, so that a namespace whose link is gone is found too. A damaged order
    names none.
    """
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
        page = json.loads((state / "order.json").read_bytes())
        return {short(i["uid"]) for i in (*page["order"]["instances"], *(x["removal"] for x in page["leaving"]))}
    return set()


class _Plain(http.client.HTTPConnection):
    """HTTP over a UNIX socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("podman", timeout=_PATIENCE_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _ask(podman: Path, method: str, path: str, query: dict[str, str]) -> bytes:
    what = f"{method} {path}"
    link = _Plain(podman)
    try:
        link.request(method, f"{_API}{path}?{urlencode(query)}")
        answer = link.getresponse()
        said = answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise WorldError(what, f"Podman does not answer at {podman} ({error or type(error).__name__})") from error
    finally:
        link.close()
    if answer.status not in (200, 204, 404):
        raise WorldError(what, said.decode(errors="replace").strip())
    return said


def _remove_containers(prefix: str, pop: str | None, podman: Path) -> None:
    """By Podman, as long as it answers."""
    labels = [f"{LABEL}prefix={prefix}", *([f"{LABEL}pop={pop.upper()}"] if pop else [])]
    rows = json.loads(_ask(podman, "GET", "/json", {"all": "true", "filters": json.dumps({"label": labels})})) or []
    query = {"force": "true", "timeout": "0", "ignore": "true", "v": "true", "depend": "true"}
    with ThreadPoolExecutor() as pool:
        for done in [pool.submit(_ask, podman, "DELETE", f"/{row['Id']}", query) for row in rows]:
            done.result()


def _remove_machines(folder: Path) -> None:
    """Virtual machines: QEMU, who waits for it, its control group, its disk."""
    for machine in folder.glob("*"):
        process.end(machine / "qemu.pid", grace_s=0)
        process.end(machine / "keeper.pid", grace_s=1)
        with contextlib.suppress(OSError, ValueError, LookupError):
            limited_groups.remove(str(json.loads((machine / "spec.json").read_bytes())["id"]), limited_groups.LEAVES_S)
        shutil.rmtree(machine)


def _end_processes(names: set[str]) -> int:
    """Kill whatever still lives in these network namespaces: containers that nobody else can stop any more."""
    handles = []
    for pid in inventory.pids_inside(names):
        with contextlib.suppress(OSError):
            handles.append(os.pidfd_open(pid))
            os.kill(pid, signal.SIGKILL)
    for handle in handles:
        select.select([handle], [], [], 5)
        os.close(handle)
    return len(handles)


def remove_firewall(prefix: str) -> None:
    """Remove our tables; harmless when they are not there."""
    tables = [f"{family} {firewall_table(prefix)}" for family in ("inet", "arp")]
    tables += [f"inet {arrivals_table(prefix)}", f"inet {sources_table(prefix)}"]
    process.run(["nft", "-f", "-"], stdin="".join(f"table {table}\ndelete table {table}\n" for table in tables))


def _remove_routes(net: Netlink) -> None:
    for route in rtnl.routes(net, ROUTE_PROTOCOL):
        rtnl.delete_route(net, route.prefix, ROUTE_PROTOCOL, route.metric)
    for hop in rtnl.nexthops(net, ROUTE_PROTOCOL):
        rtnl.delete_nexthop(net, hop.id)


def _unmount_below(folder: Path) -> None:
    """Mounts of containers' file systems that a dead Podman left inside the state folder; deepest first."""
    for point in inventory.mounts_below(folder.resolve()):
        namespaces.unmount(Path(point))
