"""Forwarding with the rules of few and of many instances: whether a packet costs the same however many there are.

In: the compiled program of `pour.c`. Out: megabytes per second of CPU, in turns with each set of rules. A host's router
with one instance that is there, made with the agent's own functions; the other instances are in the rules alone (source
check, openings, confinement, and the ways of ICMP errors), for a packet to the one that is there meets no other's link.
"""

import asyncio
import contextlib
import subprocess
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path

from anypop.agent.act.network import firewall, namespaces, rtnl, sysctl
from anypop.agent.act.network.error_ways import ErrorWays
from anypop.agent.act.network.netlink import Netlink
from anypop.agent.act.network.router import Router
from anypop.agent.decide.elements import Member
from anypop.agent.decide.error_ways import ErrorWay
from anypop.agent.decide.firewall import firewall_for
from anypop.agent.naming import link_of, namespace_of, short
from anypop.agent.teardown import remove_firewall
from anypop.host import ip, netns
from anypop.lab.until import until
from anypop.model.announce import Announcement, Scope
from anypop.model.names import CityCode, HostName, InstanceName, StackId, WorkloadId
from anypop.model.network import Upstream
from anypop.model.order import Containers, InstanceLink, InstanceOrder, LinkAddress, Order
from anypop.model.workload import Container, Port
from bench.scene import Scene
from bench.ways import PORT, SINK, Way, is_answered, speed

EXTERNAL4, EXTERNAL6 = IPv4Network("198.18.0.0/20"), IPv6Network("2001:db8:e::/48")
COVER4, COVER6 = IPv4Network("192.0.2.0/24"), IPv6Network("2001:db8:a::/48")
_OF_EACH_WORKLOAD = 4


def with_rules_of(prefix: str, program: Path, *, counts: Sequence[int], runs: int) -> list[list[float]]:
    """For each number of instances the samples."""
    found: list[list[float]] = [[] for _ in counts]
    with _Scene(prefix, program) as scene:
        for _ in range(runs):
            for samples, count in zip(found, counts, strict=True):
                scene.load(count)
                samples.append(speed(program, scene.way))
    return found


class _Scene(Scene):
    def __init__(self, prefix: str, program: Path) -> None:
        super().__init__()
        self._prefix, self._program = prefix, program
        self._router, self._client = f"{prefix}-pop", f"{prefix}-cl"

    def make(self) -> None:
        ip.batch([f"netns add {self._router}", f"netns add {self._client}"])
        self.undo.callback(ip.batch, [f"netns del {self._router}", f"netns del {self._client}"], force=True)
        ip.batch([f"link add up-one netns {self._router} type veth peer name eth0 netns {self._client}"])
        ip.batch(["link set lo up", "addr add 10.99.0.2/30 dev up-one", "link set up-one up"], netns=self._router)
        there = [
            "link set lo up",
            "addr add 10.99.0.1/30 dev eth0",
            "link set eth0 up",
            "route add default via 10.99.0.2",
        ]
        ip.batch(there, netns=self._client)
        one = _instance(0)
        with netns.inside(self._router), Netlink() as net:
            sysctl.prepare(["up-one"])
            self.undo.callback(self._remove, one)
            namespaces.make_namespace(self._prefix, one.uid)
            namespaces.add_link(net, self._prefix, one)
            self._index = next(link.index for link in rtnl.links(net) if link.name == link_of(one.uid))
            namespaces.set_external_routes(net, self._index, one)
            private = one.private(4)
            assert private is not None
            router = Router(net)
            router.set_next_hops(one.anycast[0], (Member(short=short(one.uid)),), {short(one.uid): private})
            router.set_route(one.anycast[0])
        server = subprocess.Popen(
            netns.command(namespace_of(self._prefix, one.uid), str(self._program), "serve", str(PORT))
        )
        self.undo.callback(server.wait)
        self.undo.callback(server.kill)
        self.way = Way(client=self._client, address=str(one.anycast[0]), pids=(server.pid,))
        self.load(1)
        until(lambda: is_answered(self._program, self.way), timeout_s=10, what="the instance to answer")

    def _remove(self, one: InstanceOrder) -> None:
        with netns.inside(self._router), Netlink() as net:
            namespaces.delete_namespace(net, self._prefix, one.uid)

    def load(self, count: int) -> None:
        """The rules of so many instances, made anew."""
        instances = tuple(_instance(n) for n in range(count))
        ways = tuple(
            ErrorWay(
                short=short(i.uid), number=self._index + n, privates=tuple(a.private for a in i.addresses()),
                anycast=i.anycast,
            )
            for n, i in enumerate(instances)
        )  # fmt: skip
        with netns.inside(self._router), contextlib.closing(ErrorWays(self._prefix)) as errors:
            remove_firewall(self._prefix)
            asyncio.run(errors.set(ways))
            asyncio.run(firewall.load(firewall_for(_order(instances), instances), None, self._prefix))


def _instance(n: int) -> InstanceOrder:
    four = LinkAddress(
        private=IPv4Address("10.64.0.1") + 2 * n, gateway=IPv4Address("10.64.0.0") + 2 * n, external=EXTERNAL4[10 + n]
    )
    six = LinkAddress(
        private=IPv6Address("fd00:64::1") + 2 * n, gateway=IPv6Address("fd00:64::") + 2 * n, external=EXTERNAL6[10 + n]
    )
    ports = (Port(name="web", port=PORT, open_to_all=True), Port(name="sink", port=SINK, open_to_all=True))
    workload = n // _OF_EACH_WORKLOAD
    return InstanceOrder(
        name=InstanceName(f"web-{n}"), uid=f"{n:08x}{0:024x}", workload_id=WorkloadId(f"w{workload}"),
        stack_id=StackId(f"s{workload}"), links=(InstanceLink(addresses=(four, six)),),
        anycast=(COVER4[1 + workload], COVER6[1 + workload]),
        payload=Containers(containers=(Container(name="web", image="none", ports=ports),)),
    )  # fmt: skip


def _order(instances: tuple[InstanceOrder, ...]) -> Order:
    upstream = Upstream(
        name="one", asn=64600, interface="up-one", neighbor4=IPv4Address("10.99.0.1"), local4=IPv4Address("10.99.0.2")
    )
    return Order(
        pop=CityCode("LHR"), host=HostName("LHR"), generation=1, asn=64500, router_id=IPv4Address("10.64.255.1"),
        private4=IPv4Network("10.64.0.0/16"), private6=IPv6Network("fd00:64::/64"),
        external4=EXTERNAL4, external6=EXTERNAL6, upstreams=(upstream,), instances=instances,
        announcements=tuple(Announcement(prefix=p, upstream="one", scope=Scope()) for p in (COVER4, COVER6)),
    )  # fmt: skip
