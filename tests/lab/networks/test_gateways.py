"""Gateways that serve instances of another host: real containers on two hosts of one PoP with a backbone, packets in
both families. Two networks of a stack that reach each other by gateways alone; instances without public addresses that
reach the outside by gateways which translate; policies at a gateway's links.
"""

import os
import signal
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Address, ip_network
from pathlib import Path

import pytest

from anypop.agent.act.network.netlink import Netlink
from anypop.agent.act.network.router import Router
from anypop.agent.decide.gateways import GatewayWay, routed
from anypop.agent.naming import (
    GATEWAY_TUNNEL_NUMBER,
    TUNNEL_NUMBER,
    device_group_of,
    firewall_table,
    link_of,
    namespace_of,
)
from anypop.host import netns, process
from anypop.model.announce import Address, Prefix
from anypop.model.errors import WorldError
from anypop.model.names import StackId
from anypop.model.order import InstanceOrder
from anypop.model.policy import Action, HostPolicy, HostRule, PortRange, Ruling, Traffic, at_interface
from anypop.model.workload import Port
from tests.agent_lab import external, tokens
from tests.backbone_lab import CLIENT4, CLIENT6, BackboneLab, Host, container_pids
from tests.family_lab import talker
from tests.lab.networks.conftest import BLUE, RED, emptied, inside, link
from tests.lab.wrapped import Wire

pytestmark = pytest.mark.lab

OUTSIDE: tuple[Prefix, ...] = (ip_network("203.0.113.0/24"), ip_network("2001:db8:f00::/48"))
CLIENTS: dict[int, Address] = {4: CLIENT4, 6: CLIENT6}
OUT_PORT, FLOWS = 8080, 24


class Far:
    """At the first host `asker` in blue, without a public address, and `red`; at the second one `gate`, which is in
    both, and `red_far`. A gateway for the first host, `near`, stands ready.
    """

    def __init__(self, lab: BackboneLab) -> None:
        self.lab = lab
        self.one, self.two, _ = lab.hosts
        self.asker = inward(self.made(self.one, 30, "blue"))
        self.red = self.made(self.one, 31, "red")
        self.other = replace(inward(self.made(self.one, 32, "blue")), stack_id=StackId("other"))
        self.near = gateway(self.made(self.one, 33, "blue", "red"))
        self.gate = gateway(self.made(self.two, 30, "blue", "red"))
        self.red_far = self.made(self.two, 31, "red")
        self.at_one = [self.asker, self.red, self.other]
        self.homes = {i.uid: self.one for i in (*self.at_one, self.near)} | {
            i.uid: self.two for i in (self.gate, self.red_far)
        }
        self.one.give(*self.at_one)
        self.two.give(self.gate, self.red_far)

    def made(self, host: Host, i: int, *networks: str) -> InstanceOrder:
        ports = (Port(name="p82", port=82), Port(name="p80", port=80, open_to_all=True))
        plain = replace(host.instance(i, containers=(replace(talker(), ports=ports),)), stack_id=StackId("one"))
        links = [
            link(host, name, i if n == 0 else 20 + i, plain if n == 0 else None) for n, name in enumerate(networks)
        ]
        ways = {"blue": (*RED, *OUTSIDE), "red": BLUE}
        return replace(plain, anycast=(), links=tuple(replace(one, ways=ways[one.network]) for one in links))

    def says(self, asker: InstanceOrder, address: Address, *, timeout_s: float = 5) -> list[str]:
        """Who answers at port 82, and from which address was asked; nothing: nobody."""
        with suppress(OSError, WorldError), closing(self.connect(asker, address, 82, timeout_s)) as flow:
            return [flow.recv(100).decode().strip(), flow.getsockname()[0]]
        return []

    def connect(self, asker: InstanceOrder, address: Address, port: int, timeout_s: float = 5) -> socket.socket:
        with netns.inside(namespace_of(self.homes[asker.uid].prefix, asker.uid)):
            return socket.create_connection((str(address), port), timeout=timeout_s)

    def has_policies(self, host: Host) -> bool:
        return "leaving_ruled" in process.run(
            netns.command(host.router, "nft", "list", "table", "inet", firewall_table(host.prefix))
        )

    def way(self, network: str, prefix: Prefix) -> tuple[list[str], list[str]]:
        """At the first host: the links of gateways, and the other hosts, to which a destination leads."""
        (slot,) = [r.slot for r in routed(self.at_one) if r.group == device_group_of(f"one/{network}")]
        with netns.inside(self.one.router), Netlink() as net:
            found = {(w.slot, w.prefix, w.coming): w for w in Router(net).look().gateways}
        way = found.get((slot, prefix, False), GatewayWay(slot=slot, prefix=prefix))
        return [name for name, _ in way.hops], [str(peer) for peer, _ in way.away]

    def wait_for(self, asker: InstanceOrder, asked: InstanceOrder, network: str, source: str) -> None:
        for v in (4, 6):
            wanted = [asked.name, str(inside(asker, source, v))]
            self.lab.wait(
                partial(lambda t, w: self.says(asker, t) == w, inside(asked, network, v), wanted),
                f"{asked.name} answers {asker.name} in IPv{v}", 60,
            )  # fmt: skip


def inward(one: InstanceOrder) -> InstanceOrder:
    (first,) = one.links
    return replace(one, links=(replace(first, addresses=tuple(replace(a, external=None) for a in first.addresses)),))


def gateway(one: InstanceOrder) -> InstanceOrder:
    return replace(one, links=tuple(replace(at, passes=at.ways) for at in one.links))


@pytest.fixture(scope="module")
def far(lab: BackboneLab) -> Iterator[Far]:
    yield Far(lab)
    emptied(lab)


def test_a_gateway_serves_instances_of_another_host(far: Far) -> None:
    """Both ways, whether who is asked is at the host of the gateway or at the own one, from the asker's own address;
    and for its own network alone.
    """
    for asked in (far.red, far.red_far):
        far.wait_for(far.asker, asked, "red", "blue")
    for asker in (far.red, far.red_far):
        far.wait_for(asker, far.asker, "blue", "red")
    assert far.way("blue", RED[0]) == ([], [str(far.two.address)])
    # by the gateway, and not past it
    with netns.inside(namespace_of(far.two.prefix, far.gate.uid)):
        Path("/proc/sys/net/ipv4/ip_forward").write_text("0")
        assert [far.says(far.asker, inside(one, "red", 4), timeout_s=0.5) for one in (far.red, far.red_far)] == [[], []]
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    for v in (4, 6):
        far.lab.wait(lambda v=v: longest(far, v) == 1300, f"what routers out there say comes back in IPv{v}")  # type: ignore[misc]
    tries = [inside(one, "red", v) for one in (far.red, far.red_far) for v in (4, 6)]
    assert [far.says(far.other, address, timeout_s=0.5) for address in tries] == [[]] * 4


def test_what_other_hosts_send_goes_to_gateways_or_to_whom_it_names_and_never_both(far: Far) -> None:
    """Wrapped as the first host wraps it. For a gateway it is passed on where its sender is a member of the network,
    and lost else, also where the one whom it names is here; from a gateway it goes to whom it names.
    """
    target, nobody = inside(far.red_far, "red", 4), IPv4Address("198.18.5.5")
    source, other = (IPv4Address(str(inside(one, "blue", 4))) for one in (far.asker, far.other))
    with Wire(far.lab, far.two, far.gate, target) as gate, Wire(far.lab, far.two, far.red_far, target) as end:
        takes = partial(gate.takes, far.one.address), partial(end.takes, far.one.address)
        assert takes[0](source, number=GATEWAY_TUNNEL_NUMBER) and takes[1](source)
        for wrong, number in ((other, GATEWAY_TUNNEL_NUMBER), (nobody, GATEWAY_TUNNEL_NUMBER), (nobody, TUNNEL_NUMBER)):
            assert not any(one(wrong, number=number, within_s=0.2) for one in takes), f"{wrong} by {number}"
        assert not takes[0](source, within_s=0.2), "what a gateway has passed on goes by no second one"


def test_policies_hold_at_each_link_of_a_gateway_in_each_direction(far: Far) -> None:
    """One that has nothing against it lets it pass: no port of the gateway is asked for. Nor is one at the instances
    that ask and answer by a gateway of another host.
    """
    blue, red = (at_interface(far.gate.uid, n) for n in (0, 1))
    forth, back = (far.asker, far.red, "red"), (far.red, far.asker, "blue")
    nothing = HostRule(action=Action.BLOCK, everybody=True, traffic=(Traffic(numbers=(17,)),))
    shut = HostRule(
        action=Action.BLOCK, everybody=True,
        traffic=(Traffic(numbers=(6,), destination=(PortRange(first=82, last=82),)),),
    )  # fmt: skip
    cases = (
        (blue, "ingress", forth), (red, "egress", forth), (red, "ingress", back), (blue, "egress", back),
    )  # fmt: skip
    ends = HostPolicy(id="ends", ingress=(nothing,), egress=(nothing,))
    held = Ruling(policies=("ends",), uids=(far.asker.uid, far.red.uid))
    far.one.give(*far.at_one, policies=(ends,), rulings=(held,))
    far.lab.wait(lambda: far.has_policies(far.one), "the policies are in force")
    for where, direction, stopped in cases:
        for rule, stops in ((shut, True), (nothing, False)):
            policy = HostPolicy(id="p", **{direction: (rule,)})
            far.two.give(far.gate, far.red_far, policies=(policy,), rulings=(Ruling(policies=("p",), uids=(where,)),))
            for asker, asked, network in (forth, back):
                says = partial(far.says, asker, inside(asked, network, 4), timeout_s=0.4)
                if stops and (asker, asked, network) == stopped:
                    far.lab.wait(lambda s=says: not s(), f"{direction} at {where} stops it")  # type: ignore[misc]
                else:
                    far.lab.wait(says, f"{direction} at {where} lets it pass")
    far.two.give(far.gate, far.red_far)
    far.one.give(*far.at_one)


def test_gateways_of_a_pop_share_flows_and_keep_them(far: Far) -> None:
    """The use that people want it for: gateways with public addresses lead those without to the outside, and translate.
    Those of two hosts share new connections; when one dies the connections by the other one stay, also when it returns.
    """
    far.at_one.append(far.near)
    far.one.give(*far.at_one)
    for v in (4, 6):
        far.lab.wait(
            lambda p=OUTSIDE[v == 6]: far.way("blue", p) == ([link_of(far.near.uid)], [str(far.two.address)]),  # type: ignore[misc]
            "both gateways share", 60,
        )  # fmt: skip
    with ExitStack() as stack:
        outside(far, stack)
        names = {str(external(g, v)): g.name for g in (far.near, far.gate) for v in (4, 6)}
        for v in (4, 6):
            far.lab.wait(lambda v=v: seen_as(far, v), f"the outside answers in IPv{v}")  # type: ignore[misc]
        flows = [
            (names[told], flow)
            for v in (4, 6)
            for _ in range(FLOWS)
            for flow in [stack.enter_context(closing(far.connect(far.asker, CLIENTS[v], OUT_PORT)))]
            for told in [flow.recv(100).decode().split()[0]]
        ]
        assert set(Counter(name for name, _ in flows)) == {far.near.name, far.gate.name}, "both translate"
        staying = [flow for name, flow in flows if name == far.gate.name]

        os.kill(container_pids(far.lab)[far.near.name], signal.SIGKILL)
        far.lab.wait(lambda: far.way("blue", OUTSIDE[0])[0] == [], "the dead one is no way")
        assert all(map(lives, staying))
        far.lab.wait(lambda: far.way("blue", OUTSIDE[0])[0] != [], "it is one again", 60)
        assert all(map(lives, staying))
        for v in (4, 6):
            assert names[seen_as(far, v)]

    # the last one goes: who sends is told so, and what is not led anywhere is not sent by another way
    far.at_one.remove(far.near)
    far.one.give(*far.at_one, removed=tokens(far.near), drain_s=0.0)
    far.two.give(far.red_far, removed=tokens(far.gate), drain_s=0.0)
    far.lab.wait(lambda: far.way("blue", RED[0]) == ([], []), "there is no gateway any more")
    with pytest.raises(OSError, match=r"unreachable|No route"):
        far.connect(far.asker, inside(far.red_far, "red", 4), 82)


def outside(far: Far, stack: ExitStack) -> None:
    """A server at the clients' place: it says whom it takes the other end for, and echoes."""
    for address in CLIENTS.values():
        with netns.inside(far.lab.core):
            listening = socket.create_server(
                (str(address), OUT_PORT), family=socket.AF_INET if address.version == 4 else socket.AF_INET6, backlog=64
            )
        stack.callback(listening.close)
        stack.callback(listening.shutdown, socket.SHUT_RDWR)
        threading.Thread(target=_serve, args=(listening,), daemon=True).start()


def _serve(listening: socket.socket) -> None:
    with suppress(OSError):
        while True:
            flow, peer = listening.accept()
            threading.Thread(target=_echo, args=(flow, peer[0]), daemon=True).start()


def _echo(flow: socket.socket, peer: str) -> None:
    with suppress(OSError), closing(flow):
        flow.sendall(f"{peer}\n".encode())
        while data := flow.recv(100):
            flow.sendall(data)


def seen_as(far: Far, version: int) -> str:
    with suppress(OSError), closing(far.connect(far.asker, CLIENTS[version], OUT_PORT, 1)) as flow:
        return flow.recv(100).decode().strip()
    return ""


def longest(far: Far, version: int) -> int:
    """What the asker knows of how long a packet to the client behind the small line may be, after one that is longer:
    the router in front of it said so, and no route of the network leads to that one.
    """
    client = "203.0.113.62" if version == 4 else "2001:db8:f00:1::2"
    family, level, mode, known = (
        (socket.AF_INET, socket.IPPROTO_IP, 10, 14) if version == 4 else (socket.AF_INET6, socket.IPPROTO_IPV6, 23, 24)
    )  # IP_MTU_DISCOVER and IP_MTU, IPV6_MTU_DISCOVER and IPV6_MTU
    with netns.inside(namespace_of(far.one.prefix, far.asker.uid)):
        asks = socket.socket(family, socket.SOCK_DGRAM)
    with closing(asks):
        asks.setsockopt(level, mode, 2)
        asks.connect((client, 9))
        with suppress(OSError):
            asks.send(bytes(1350))
        return asks.getsockopt(level, known)


def lives(flow: socket.socket) -> bool:
    with suppress(OSError):
        flow.sendall(b"ping")
        return flow.recv(100) == b"ping"
    return False
