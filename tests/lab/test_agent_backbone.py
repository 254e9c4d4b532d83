"""Hosts that carry for each other, on real parts: three agents with BIRD and Podman, two of them in one PoP, and
clients that reach one of them.
"""

import os
import signal
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from anypop.agent.act.network.netlink import Netlink
from anypop.agent.act.network.router import Router
from anypop.agent.act.network.sockets import connections
from anypop.agent.decide.elements import Member
from anypop.agent.naming import (
    LOWEST_PEER_TABLE,
    TARGETS_TABLE,
    TUNNEL_NUMBER,
    TUNNEL_TABLE,
    namespace_of,
)
from anypop.host import ip, netns, process
from anypop.model.announce import Address
from anypop.model.order import InstanceOrder
from anypop.model.workload import Container, Port
from tests.agent_lab import ANYCAST4, ANYCAST6, tokens, web
from tests.agent_load import Requests
from tests.backbone_lab import CLIENT4, CLIENT6, BackboneLab, Host, container_pids
from tests.podman_service import SERVE, STAY

pytestmark = pytest.mark.lab

BIG = 1 << 20
BOTH = (ANYCAST4, ANYCAST6)
INBOUND = str(TUNNEL_TABLE)
BOX = "/bin/busybox"


def _web() -> Container:
    """On port 80 a page with the host's name, and a file of 1 MiB; port 81 tells how many bytes it was sent; port 82
    says the host's name and echoes.
    """
    ports = tuple(Port(name=f"p{port}", port=port, open_to_all=True) for port in (80, 81, 82))
    count = f"nc -ll -p 81 -e {BOX} wc -c &"
    echo = "nc -ll -p 82 -e /bin/sh -c 'hostname; exec cat' &"
    script = f"{BOX} dd if=/dev/zero of=/www/big bs=1024 count=1024; {SERVE}; {count} {echo}\n{STAY}"
    return replace(web(), command=("/bin/sh", "-c", script), ports=ports)


@pytest.fixture(scope="module")
def lab() -> Iterator[BackboneLab]:
    """Two hosts in London and one in Amsterdam, all tunnels up, nothing running yet."""
    found = BackboneLab(f"b{os.getpid() % 4096:x}", (("LHR", 0), ("LHR", 0), ("AMS", 350)))
    try:
        for host in found.hosts:
            host.give()
        found.wait(
            lambda: all(len(h.tunnels()) == 2 and all(t.up for t in h.tunnels().values()) for h in found.hosts),
            "all tunnels are up",
            timeout_s=40,
        )
        yield found
    finally:
        found.close()


@pytest.fixture
def hosts(lab: BackboneLab) -> Iterator[list[Host]]:
    """The hosts, without instances afterwards."""
    yield lab.hosts
    for host in lab.hosts:
        running = host.control.order.instances if host.control.order else ()
        host.give(removed=tokens(*running), drain_s=0.0, gated=False)
    for host in lab.hosts:
        lab.wait(lambda h=host: (r := h.report) and not r.instances, f"{host.name} is empty")  # type: ignore[misc]
        lab.wait(lambda h=host: not any(h.members(a) for a in BOTH), f"{host.name} carries nothing")  # type: ignore[misc]


def _serve(lab: BackboneLab, at: dict[Host, int]) -> dict[Host, list[InstanceOrder]]:
    """So many instances at each of these hosts, all of them healthy and told to all."""
    made = {host: [host.instance(i, containers=(_web(),)) for i in range(count)] for host, count in at.items()}
    for host, instances in made.items():
        host.give(*instances)
    for host, instances in made.items():
        lab.wait(
            lambda h=host, those=instances: all(len(h.members(a, table=INBOUND)) == len(those) for a in BOTH),  # type: ignore[misc]
            f"{len(instances)} instances of {host.name} have a way for what comes by the tunnel",
        )
    return made


def _led(host: Host, *others: Host) -> bool:
    """Whether exactly these other hosts, and no instance here, get the traffic of both families."""
    return all(set(host.members(a)) == {str(o.address) for o in others} for a in BOTH)


def test_an_instance_is_reached_through_every_host_and_sees_its_clients(lab: BackboneLab, hosts: list[Host]) -> None:
    """One instance in London, clients by London's other host and by Amsterdam, in both families; the answer comes
    straight from the host that served.
    """
    first, second, far = hosts
    (one,) = _serve(lab, {second: 1})[second]
    for entry in (first, far):
        lab.wait(lambda e=entry: _led(e, second), f"{entry.name} carries")  # type: ignore[misc]
        lab.enter_by(entry)
        for address, client in ((ANYCAST4, CLIENT4), (ANYCAST6, CLIENT6)):
            assert lab.get(address) == one.name
            with netns.inside(lab.core), closing(socket.create_connection((str(address), 82), timeout=3)) as flow:
                assert flow.recv(100).decode().strip() == one.name
                seen = connections(namespace_of(second.prefix, one.uid), [address])
                assert {c.peer for c in seen} == {client}
    lab.wait(lambda: first.carried().keys() == set(BOTH), f"{first.name} tells what it carries")
    assert {c.shares for c in first.carried().values()} == {((second.name, 100),)}
    assert second.carried() == {}


def test_large_answers_and_large_uploads_never_hang(lab: BackboneLab, hosts: list[Host]) -> None:
    """1 MiB each way, eight times in each family, through a tunnel that takes less than the clients' wires."""
    first, second, _ = hosts
    _serve(lab, {second: 1})
    lab.wait(lambda: _led(first, second), f"{first.name} carries")
    lab.enter_by(first)
    for address in BOTH:
        assert [len(lab.get(address, "/big", timeout_s=3)) for _ in range(8)] == [BIG] * 8
        assert [_upload(lab, address) for _ in range(8)] == [BIG] * 8


def test_an_error_about_a_packet_reaches_the_host_that_sent_it(lab: BackboneLab, hosts: list[Host]) -> None:
    """Two hosts serve what a third one carries, and a client's line takes packets of 1,300 bytes: the router before it
    says so to the anycast address, so to the third host, which cannot know whose packet it was. No answer hangs.
    """
    first, second, far = hosts
    _serve(lab, {first: 1, second: 1})
    lab.wait(lambda: _led(far, first, second), f"{far.name} carries to both")
    lab.enter_by(far)
    for address in BOTH:
        got = [len(lab.get(address, "/big", timeout_s=4, namespace=lab.small)) for _ in range(8)]
        assert got == [BIG] * 8
        ip.batch(["route flush cache"], netns=first.router)


def _upload(lab: BackboneLab, address: Address) -> int:
    """How many bytes of an upload arrive; 0 where it hangs."""
    with suppress(OSError), netns.inside(lab.core), socket.create_connection((str(address), 81), timeout=3) as flow:
        flow.sendall(bytes(BIG))
        flow.shutdown(socket.SHUT_WR)
        return int(flow.recv(100))
    return 0


def test_the_last_instance_dies_and_its_neighbour_carries_on(lab: BackboneLab, hosts: list[Host]) -> None:
    """Clients ask every 2 ms while the only instance of their host is killed, and until its successor has all new flows
    again. A connection that was carried meanwhile stays where it is.
    """
    first, second, far = hosts
    made = _serve(lab, {first: 1, second: 1, far: 1})
    names = {host: instances[0].name for host, instances in made.items()}
    lab.enter_by(first)
    lab.wait(lambda: all(lab.get(a) == names[first] for a in BOTH), "clients are served locally")
    with ExitStack() as stack:
        load = [stack.enter_context(Requests(lab.core, address)) for address in BOTH]
        lab.wait(lambda: all(r.sent > 100 for r in load), "requests are under way")
        os.kill(container_pids(lab)[names[first]], signal.SIGKILL)
        lab.wait(lambda: all(names[second] in r.answers for r in load), "the neighbour answers")
        flows = [stack.enter_context(closing(_Echo(lab, address))) for address in BOTH]
        carried = [flow.host == names[second] for flow in flows]
        lab.wait(lambda: all(first.members(a).get(f"i{made[first][0].uid[:10]}") for a in BOTH), "it is back")
        lab.wait(lambda: all(r.last == names[first] for r in load), "clients are served locally again")
        assert all(flow.lives() for flow in flows)
    for requests in load:
        # some 5 ms on an idle machine; without another host it is the time until the container has been made anew
        assert len(requests.failures) < 100, requests.failures
        assert names[far] not in requests.answers, "another PoP while the own one can serve"
    assert any(carried)
    for address in BOTH:
        there = first.members(address)
        assert there[str(second.address)] < there[f"i{made[first][0].uid[:10]}"] / 50


class _Echo:
    """A connection to port 82."""

    def __init__(self, lab: BackboneLab, address: Address) -> None:
        with netns.inside(lab.core):
            self._socket = socket.create_connection((str(address), 82), timeout=3)
        self.host = self._socket.recv(100).decode().strip()

    def lives(self) -> bool:
        with suppress(OSError):
            self._socket.sendall(b"ping")
            return self._socket.recv(100) == b"ping"
        return False

    def close(self) -> None:
        self._socket.close()


def test_a_host_that_is_lost_is_replaced_by_the_nearest_pop(lab: BackboneLab, hosts: list[Host]) -> None:
    """The wire of the host that serves is cut without a word, and mended."""
    first, second, far = hosts
    made = _serve(lab, {second: 1, far: 1})
    lab.wait(lambda: _led_newly(first, second), f"{first.name} carries")
    lab.enter_by(first)
    with Requests(lab.core, ANYCAST4) as requests:
        lab.wait(lambda: requests.sent > 50, "requests are under way")
        ip.batch([f"link set h{second.n} down"], netns=lab.core)
        try:
            lab.wait(lambda: made[far][0].name in requests.answers, "Amsterdam answers")
            lab.wait(lambda: not first.tunnels()[second.name].up, "the tunnel is told to be down")
            assert first.tunnels()[far.name].up
        finally:
            ip.batch([f"link set h{second.n} up"], netns=lab.core)
            second.mend(lab)
        lab.wait(lambda: _led_newly(first, second), "London serves itself again", timeout_s=40)
    assert requests.answers[made[far][0].name] > 20


def _led_newly(host: Host, other: Host) -> bool:
    """Whether new flows go to another host, or to hosts beside it that only keep what they have."""
    return all((there := host.members(a)) and max(there, key=lambda k: there[k]) == str(other.address) for a in BOTH)


def test_no_packet_goes_round_when_both_sides_are_wrong(lab: BackboneLab, hosts: list[Host]) -> None:
    """Two hosts whose agents are dead, each with a route that says that the other one serves: the packet is lost at the
    second. Without the rule and the firewall behind it, it goes round until its time to live ends.
    """
    first, second, _ = hosts
    _serve(lab, {second: 1})
    lab.wait(lambda: _led(first, second), f"{first.name} carries")
    lab.enter_by(first)
    for host in (first, second):
        host.kill_agent()
    try:
        with netns.inside(second.router), Netlink() as net:
            router = Router(net)
            router.set_next_hops(ANYCAST4, (Member(short="", peer=first.address),), {}, source=second.address)
            router.remove_route(ANYCAST4, inbound=True)
        assert _rounds(lab, first, second) < 20
        for host in (first, second):
            ip.batch(["rule del pref 62"], netns=host.router)
            flush = ("nft", "flush", "chain", "inet", f"anypop_{host.prefix}_tunnels", "forward")
            process.run(netns.command(host.router, *flush))
        assert _rounds(lab, first, second) > 20
    finally:
        for host in (first, second):
            host.start_agent()
    lab.wait(lambda: second.members(ANYCAST4, table=INBOUND), "all is mended")


def _rounds(lab: BackboneLab, first: Host, second: Host) -> int:
    """How many packets come to the second host by the tunnel for one that a client sends, with a time to live of 64,
    beside a few of the speakers.
    """
    before = second.received(first.address)
    with netns.inside(lab.core), closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sender:
        sender.sendto(b"once", (str(ANYCAST4), 80))
    lab.wait(lambda: second.received(first.address) > before, "it arrives")
    again = time.monotonic() + 0.1
    lab.wait(lambda: time.monotonic() > again, "it had time to go round")
    return second.received(first.address) - before


@pytest.mark.parametrize("forger", ["stranger", "peer"])
def test_only_other_hosts_can_put_packets_into_the_tunnel(lab: BackboneLab, hosts: list[Host], forger: str) -> None:
    """A packet for the instance, wrapped as a tunnel wraps it, from an address that is nobody's, and (the check can
    fail) from another host's.
    """
    first, second, _ = hosts
    (one,) = _serve(lab, {second: 1})[second]
    space = namespace_of(second.prefix, one.uid)
    source = first.address if forger == "peer" else IPv4Address("203.0.113.66")
    echo = struct.pack(">BBHHH", 8, 0, 0, 1, 1) + b"forged"
    inner = _packet(IPv4Address("203.0.113.99"), IPv4Address(str(ANYCAST4)), socket.IPPROTO_ICMP, echo)
    wrapped = struct.pack(">BBBB", 0x0C, 0, 0, 1) + (TUNNEL_NUMBER << 8).to_bytes(4, "big") + inner
    datagram = struct.pack(">HHHH", 4000, 4790, 8 + len(wrapped), 0) + wrapped
    outer = _packet(source, second.address, socket.IPPROTO_UDP, datagram)
    with netns.inside(space), closing(socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.ntohs(3))) as wire:
        with netns.inside(lab.core), closing(socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)) as raw:
            raw.sendto(outer, (str(second.address), 0))
        assert _arrives(wire, b"forged", within_s=0.5 if forger == "stranger" else 3) is (forger == "peer")


def _packet(source: IPv4Address, target: IPv4Address, protocol: int, data: bytes) -> bytes:
    """An IPv4 packet, its header with a checksum."""
    head = struct.pack(
        ">BBHHHBBH4s4s", 0x45, 0, 20 + len(data), 1, 0, 64, protocol, 0, source.packed, target.packed
    )  # fmt: skip
    total = sum(struct.unpack(">10H", head))
    total = (total >> 16) + (total & 0xFFFF)
    return head[:10] + struct.pack(">H", ~(total + (total >> 16)) & 0xFFFF) + head[12:] + data


def _arrives(wire: socket.socket, token: bytes, *, within_s: float) -> bool:
    """Whether a packet with the token comes; others do all the while."""
    end = time.monotonic() + within_s
    while (left := end - time.monotonic()) > 0:
        wire.settimeout(left)
        with suppress(TimeoutError):
            if token in wire.recv(4096):
                return True
    return False


def test_a_host_without_an_order_for_it_has_nothing_of_it(lab: BackboneLab, hosts: list[Host]) -> None:
    """Device, rules, tables, sessions and address go when the order has no backbone any more, its own instance serves
    on, and all is back with the next order.
    """
    first, second, _ = hosts
    (one,) = _serve(lab, {first: 1})[first]
    lab.enter_by(first)
    assert lab.get(ANYCAST4) == one.name
    first.give(one, backbone=False)
    lab.wait(lambda: _traces(first) == set(), "nothing of it is left")
    lab.wait(lambda: first.tunnels() == {}, "nor told")
    assert lab.get(ANYCAST4) == one.name
    lab.wait(lambda: not second.members(ANYCAST4), "the others carry nothing there any more")
    first.give(one)
    lab.wait(lambda: _led(second, first), "they do again")


def _traces(host: Host) -> set[str]:
    """What is there of a backbone, in words."""
    found = {row["ifname"] for row in ip.query("link", "show", netns=host.router) if row["ifname"].startswith("anypop")}
    for family in ("-4", "-6"):
        found |= {
            str(r["priority"]) for r in ip.query(family, "rule", "show", netns=host.router) if 60 <= r["priority"] <= 63
        }
        rows = ip.query(family, "route", "show", "table", "all", netns=host.router)
        tables = {int(row["table"]) for row in rows if row.get("table", "").isdigit()}
        found |= {f"table {t}" for t in tables if t >= LOWEST_PEER_TABLE or TUNNEL_TABLE <= t <= TARGETS_TABLE}
    if "t_" in host.bird("show protocols"):
        found.add("sessions")
    addresses = ip.query("-4", "address", "show", "dev", "lo", netns=host.router)
    found |= {a["local"] for row in addresses for a in row["addr_info"] if a["local"] == str(host.address)}
    rules = process.run(netns.command(host.router, "nft", "list", "tables"))
    return found | {line for line in rules.splitlines() if line.endswith("_tunnels")}
