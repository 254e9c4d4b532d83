"""Names, asked for from inside: by programs of a running container, and by plain messages out of instances' namespaces.
The resolver is the host's own process, its upstream a small server in a neighbour's namespace.

One order for all of it: two instances of a stack, one of another stack, one in another network of the first.
"""

import os
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

from anypop.agent.naming import RESOLVER4, RESOLVER6, firewall_table, namespace_of
from anypop.host import ip, netns, process
from anypop.model.announce import Address
from anypop.model.names import CityCode, InstanceName, StackId, WorkloadId
from anypop.model.order import InstanceOrder
from anypop.model.stack_names import NamedInstance, NamedPort, NamedWorkload
from anypop.model.workload import Protocol
from tests.agent_lab import POP, PopLab, container_pids, instance, tokens
from tests.wait import wait_until

pytestmark = pytest.mark.lab

FAR = (ip_address("10.99.99.1"), ip_address("fd00:99:99::1"))
UPSTREAM = (ip_address("10.99.0.1"),)
LARGE = [f"192.0.2.{n}" for n in range(1, 201)]
HTTP = NamedPort(name="http", port=80, protocol=Protocol.TCP)


def made(n: int, slug: str, stack: str = "s", network: str = "default") -> InstanceOrder:
    one = instance(n, anycast=False, name=f"{slug}-eu-lhr-0", uid=f"{n + 7:032x}"[::-1])
    return replace(
        one,
        workload_id=WorkloadId(f"w-{stack}-{slug}"),
        stack_id=StackId(stack),
        hosts_domain=f"{stack}.edgeengine.internal",
        links=(replace(one.links[0], network=network),),
    )


WEB, DB, OTHER, BLUE = made(0, "web"), made(1, "db"), made(2, "other", "t"), made(3, "blue", network="blue")
ALL = (WEB, DB, OTHER, BLUE)


def named(one: InstanceOrder, *more: NamedInstance) -> NamedWorkload:
    slug = one.name.removesuffix("-eu-lhr-0")
    here = NamedInstance(name=one.name, pop=POP, addresses=tuple(a.private for a in one.addresses()))
    return NamedWorkload(
        id=one.workload_id, stack_id=StackId(one.stack_id), stack=one.stack_id, slug=slug, ports=(HTTP,),
        network=one.links[0].network, instances=(here, *more),
    )  # fmt: skip


AWAY = NamedInstance(name=InstanceName("web-eu-jfk-0"), pop=CityCode("JFK"), addresses=FAR)
NAMES = tuple(sorted((named(WEB, AWAY), named(DB), named(OTHER), named(BLUE)), key=lambda n: n.key))


class Server:
    """An authoritative server of somebody: answers every A question below `example`, and counts who asked for what."""

    def __init__(self, namespace: str, address: Address) -> None:
        self.asked: list[str] = []
        self._ends = threading.Event()
        with netns.inside(namespace):
            self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._tcp = socket.create_server((str(address), 53))
        self._udp.bind((str(address), 53))
        for one, work in ((self._udp, self._by_udp), (self._tcp, self._by_tcp)):
            one.settimeout(0.2)
            threading.Thread(target=work, daemon=True).start()

    def close(self) -> None:
        self._ends.set()
        self._udp.close()
        self._tcp.close()

    def _by_udp(self) -> None:
        while not self._ends.is_set():
            with suppress(OSError, dns.exception.DNSException):
                wire, source = self._udp.recvfrom(4096)
                self._udp.sendto(self._answer(wire, 1232), source)

    def _by_tcp(self) -> None:
        while not self._ends.is_set():
            with suppress(OSError, dns.exception.DNSException):
                connection, _ = self._tcp.accept()
                with connection, connection.makefile("rwb") as file:
                    wire = file.read(int.from_bytes(file.read(2), "big"))
                    answer = self._answer(wire, 65535)
                    file.write(len(answer).to_bytes(2, "big") + answer)

    def _answer(self, wire: bytes, most: int) -> bytes:
        query = dns.message.from_wire(wire)
        asked = query.question[0]
        self.asked.append(asked.name.to_text())
        answer = dns.message.make_response(query)
        if asked.name.to_text().startswith("silent"):
            raise OSError
        if asked.rdtype == dns.rdatatype.A:
            addresses = LARGE if asked.name.to_text().startswith("large") else LARGE[:1]
            answer.answer.append(dns.rrset.from_text_list(asked.name, 60, "IN", "A", addresses))
        try:
            return answer.to_wire(max_size=most)
        except dns.exception.TooBig:
            answer.answer, answer.flags = [], answer.flags | dns.flags.TC
            return answer.to_wire()


@dataclass
class Asking:
    """Who asks."""

    pop: PopLab
    server: Server
    pids: dict[str, int] = field(default_factory=dict)

    def ask(
        self, who: InstanceOrder | str, name: str, kind: str = "A", *, by: Address = RESOLVER4, tcp: bool = False,
        wait_s: float = 10, **more: Any,
    ) -> dns.message.Message:  # fmt: skip
        query = dns.message.make_query(name, kind, **more)
        with netns.inside(who if isinstance(who, str) else namespace_of(self.pop.prefix, who.uid)):
            if tcp:
                return dns.query.tcp(query, str(by), timeout=wait_s)
            return dns.query.udp(query, str(by), timeout=wait_s)

    def found(self, who: InstanceOrder, name: str, kind: str = "A", **more: Any) -> list[str]:
        """What the answer says; its code where that is none."""
        answer = self.ask(who, name, kind, **more)
        if answer.rcode() != dns.rcode.NOERROR:
            return [dns.rcode.to_text(answer.rcode())]
        return [record.to_text() for rrset in answer.answer for record in rrset]

    def run(self, who: InstanceOrder, *words: str) -> "subprocess.CompletedProcess[str]":
        """A program of the container's image, with its files and in its network."""
        argv = ["nsenter", "--target", str(self.pids[who.name]), "--mount", "--net", "/bin/busybox", *words]
        return subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)

    def resolver(self) -> int:
        pid = process.alive(self.pop.state / "names" / "resolver.pid")
        assert pid is not None
        return pid

    def knows_who_serves(self) -> bool:
        with suppress(dns.exception.DNSException, OSError):
            return all(private(one) in self.found(WEB, name, wait_s=1) for name, one in (("web", WEB), ("db", DB)))
        return False


@pytest.fixture(scope="module")
def asking(pop: PopLab) -> Iterator[Asking]:
    server = Server(pop.upstreams.namespace("one"), UPSTREAM[0])
    try:
        pop.give(*ALL, names=NAMES, resolvers=UPSTREAM)
        pop.wait_running(*(one.name for one in ALL))
        found = Asking(pop, server, container_pids(pop))
        wait_until(found.knows_who_serves, timeout_s=20, reason="the resolver has been told that both serve")
        yield found
    finally:
        server.close()
        pop.give(removed=tokens(*ALL))
        wait_until(
            lambda: pop.control.report is not None and not pop.control.report.instances,
            timeout_s=20, reason="all are gone",
        )  # fmt: skip


def private(one: InstanceOrder, version: int = 4) -> str:
    return str(one.private(version))


def test_programs_inside_find_their_siblings_by_the_bare_name(asking: Asking) -> None:
    """By the file that they were given and their libc: bare, whole, and as a service of a stack in the plural."""
    said = asking.run(WEB, "cat", "/etc/resolv.conf").stdout
    assert said == f"nameserver {RESOLVER4}\nnameserver {RESOLVER6}\nsearch s.edgeengine.internal\n"
    for name in ("db-eu-lhr-0", "db-eu-lhr-0.s.edgeengine.internal", "db"):
        assert asking.run(WEB, "wget", "-q", "-O", "-", f"http://{name}/").stdout.strip() == DB.name, name
    said = asking.run(WEB, "nslookup", "db-eu-lhr-0.s.edgeengine.internal").stdout
    assert private(DB) in said and private(DB, 6) in said
    assert asking.run(WEB, "wget", "-q", "-O", "-", "http://other-eu-lhr-0/").returncode != 0


@pytest.mark.parametrize("by", [RESOLVER4, RESOLVER6])
@pytest.mark.parametrize("tcp", [False, True])
def test_each_name_means_what_is_written(asking: Asking, by: Address, tcp: bool) -> None:
    """In both families, by UDP and by TCP."""

    def found(name: str, kind: str = "A") -> list[str]:
        return asking.found(WEB, name, kind, by=by, tcp=tcp)

    suffix = "s.edgeengine.internal"
    assert found(f"WEB-eu-lhr-0.{suffix}") == found("web-eu-lhr-0") == [private(WEB)]
    assert found(f"db-eu-lhr-0.{suffix}", "AAAA") == [private(DB, 6)]
    assert found(f"web.{suffix}") == [private(WEB), str(FAR[0])]  # the own PoP first
    assert found(f"web-eu-jfk.{suffix}", "AAAA") == found("web-eu-jfk-0", "AAAA") == [str(FAR[1])]
    services = {f"0 1 80 web-eu-lhr-0.{suffix}.", f"30003 1 80 web-eu-jfk-0.{suffix}."}
    assert set(found(f"_http._tcp.web.{suffix}", "SRV")) == services
    assert found(ip_address(private(DB)).reverse_pointer, "PTR") == [f"db-eu-lhr-0.{suffix}."]
    assert found(ip_address(private(DB, 6)).reverse_pointer, "PTR") == [f"db-eu-lhr-0.{suffix}."]
    assert found("self.metadata.edgeengine.internal") == [private(WEB)]
    assert found("self.metadata.edgeengine.internal", "AAAA") == [private(WEB, 6)]
    assert found("self.metadata.compute.edgeengine.io") == [str(next(WEB.externals()))]
    assert found("city.self.metadata.edgeengine.internal", "TXT") == ['"LHR"']


def test_what_has_no_such_record_is_not_taken_for_what_is_not_there(asking: Asking) -> None:
    """Resolvers take NXDOMAIN for every type; both carry how long they hold."""
    nothing = asking.ask(WEB, "db-eu-lhr-0.s.edgeengine.internal", "MX")
    assert (nothing.rcode(), nothing.answer) == (dns.rcode.NOERROR, [])
    missing = asking.ask(WEB, "db-eu-lhr-1.s.edgeengine.internal", "AAAA")
    assert missing.rcode() == dns.rcode.NXDOMAIN
    for answer in (nothing, missing):
        assert answer.authority[0].rdtype == dns.rdatatype.SOA and answer.flags & dns.flags.AA


@pytest.mark.parametrize(
    "name",
    [
        "db-eu-lhr-0",
        "db-eu-lhr-0.s.edgeengine.internal",
        "db.s.edgeengine.internal",
        "_http._tcp.db.s.edgeengine.internal",
    ],
)
def test_no_name_of_a_stack_is_known_to_another_stack_or_network(asking: Asking, name: str) -> None:
    """Nor is it told that there is one, nor does the question leave the host."""
    kind = "SRV" if name.startswith("_") else "A"
    assert asking.found(WEB, name, kind) not in (["NXDOMAIN"], [])
    before = list(asking.server.asked)
    for who in (OTHER, BLUE):
        assert asking.found(who, name, kind) == ["NXDOMAIN"]
        assert asking.found(who, ip_address(private(DB)).reverse_pointer, "PTR") == ["NXDOMAIN"]
    assert asking.found(WEB, "other-eu-lhr-0.t.edgeengine.internal") == ["NXDOMAIN"]
    assert asking.found(WEB, "blue-eu-lhr-0") == ["NXDOMAIN"]
    assert asking.found(BLUE, "blue-eu-lhr-0") == [private(BLUE)]
    assert asking.server.asked == before


def test_the_link_says_who_asks_not_the_packet(asking: Asking) -> None:
    """Another stack's instance that sends from an address of this one gets nothing; with its own it is answered."""
    for taken, own in ((private(WEB), private(OTHER)), (private(WEB, 6), private(OTHER, 6))):
        version = ip_address(own).version
        to = RESOLVER4 if version == 4 else RESOLVER6
        space = namespace_of(asking.pop.prefix, OTHER.uid)
        # without nodad it is tentative for a moment, and nobody can bind to it
        ip.batch([f"addr add {taken}/32 dev lo" if version == 4 else f"addr add {taken}/128 dev lo nodad"], netns=space)
        try:
            query = dns.message.make_query("db-eu-lhr-0", "A").to_wire()
            with netns.inside(space):
                forged, honest = (_bound(version, address) for address in (taken, own))
            with forged, honest:
                forged.sendto(query, (str(to), 53))
                honest.sendto(query, (str(to), 53))
                assert dns.message.from_wire(honest.recv(4096)).rcode() == dns.rcode.NXDOMAIN
                forged.setblocking(False)
                with pytest.raises(BlockingIOError):  # it was sent before what has been answered
                    forged.recv(4096)
        finally:
            ip.batch([f"addr del {taken}/{32 if version == 4 else 128} dev lo"], netns=space)


def _bound(version: int, address: str) -> socket.socket:
    made = socket.socket(socket.AF_INET if version == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
    made.settimeout(10)
    made.bind((address, 0))
    return made


def _connected(by: Address) -> socket.socket:
    made = socket.socket(socket.AF_INET if by.version == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
    made.settimeout(10)
    made.connect((str(by), 53))
    return made


def test_nobody_outside_is_answered(asking: Asking) -> None:
    """Nor the host itself: only who lives on a link."""
    space = asking.pop.upstreams.namespace("one")
    ip.batch([f"route add {RESOLVER4} via 10.99.0.2", f"route add {RESOLVER6} via fd00:99:0::2"], netns=space)
    mine = namespace_of(asking.pop.prefix, WEB.uid)
    for by in (RESOLVER4, RESOLVER6):
        with ExitStack() as stack:
            outside = []
            for where in (space, asking.pop.router):
                for name in ("db-eu-lhr-0.s.edgeengine.internal", "www.example"):
                    with netns.inside(where):
                        one = stack.enter_context(_connected(by))
                    one.send(dns.message.make_query(name, "A").to_wire())
                    outside.append(one)
            with netns.inside(mine):
                inside = stack.enter_context(_connected(by))
            inside.send(dns.message.make_query("db-eu-lhr-0", "A").to_wire())
            assert inside.recv(4096)  # it came last, to the same socket
            for one in outside:
                one.setblocking(False)
                with pytest.raises(BlockingIOError):
                    one.recv(4096)


def test_other_names_go_to_the_operators_resolver(asking: Asking) -> None:
    """By UDP and TCP, with the bits and sizes that the asker takes."""
    assert asking.found(OTHER, "www.example") == LARGE[:1]
    assert asking.found(OTHER, "www.example", tcp=True, by=RESOLVER6) == LARGE[:1]
    cut = asking.ask(WEB, "large.example")
    assert cut.flags & dns.flags.TC and not cut.answer
    assert sorted(asking.found(WEB, "large.example", tcp=True)) == sorted(LARGE)
    assert set(asking.server.asked) >= {"www.example.", "large.example."}


def test_who_asks_without_end_takes_nothing_from_others(asking: Asking) -> None:
    """Neither with questions that the host answers nor with those that nobody answers."""
    known, silent = (dns.message.make_query(name, "A").to_wire() for name in ("db-eu-lhr-0", "silent.example"))
    with netns.inside(namespace_of(asking.pop.prefix, OTHER.uid)):
        flood = _bound(4, private(OTHER))
    before, dropped = len(asking.server.asked), _dropped(asking)
    with flood:
        for _ in range(20_000):
            flood.sendto(known, (str(RESOLVER4), 53))
            flood.sendto(silent, (str(RESOLVER4), 53))
        assert asking.found(WEB, "db-eu-lhr-0") == [private(DB)]
        assert asking.found(WEB, "calm.example") == LARGE[:1]
    assert _dropped(asking) > dropped + 1_000  # by the kernel, before the socket that all share
    # of one instance so many wait at once; each is asked of one server once
    assert asking.server.asked[before:].count("silent.example.") < 1_000


def _dropped(asking: Asking) -> int:
    """Packets of links that asked too much."""
    argv = ["nft", "list", "chain", "inet", firewall_table(asking.pop.prefix), "host"]
    said = process.run(netns.command(asking.pop.router, *argv))
    return sum(int(n) for n in re.findall(r"limit rate over .* counter packets (\d+)", said))


def test_a_change_is_in_force_with_the_order(asking: Asking) -> None:
    """What is gone has no name any more, and what is new has one, without a new process."""
    pid = asking.resolver()
    changed = tuple(named(WEB) if one.id == WEB.workload_id else one for one in NAMES)
    asking.pop.give(*ALL, names=changed, resolvers=())
    wait_until(lambda: asking.found(WEB, "web-eu-jfk-0") == ["NXDOMAIN"], timeout_s=20, reason="the name is gone")
    assert asking.found(WEB, "www.example") == ["REFUSED"]
    asking.pop.give(*ALL, names=NAMES, resolvers=UPSTREAM)
    wait_until(lambda: asking.found(WEB, "web-eu-jfk-0") == [str(FAR[0])], timeout_s=20, reason="the name is back")
    assert asking.resolver() == pid


def test_names_outlive_the_agent_and_whoever_is_killed_comes_back(asking: Asking) -> None:
    """Without the agent and without control; a worker is replaced with the questions that wait."""
    asking.pop.control.away = True
    pid = asking.resolver()
    try:
        asking.pop.kill_agent()
        assert asking.found(WEB, "db-eu-lhr-0") == [private(DB)]
        worker = int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
        os.kill(worker, signal.SIGKILL)
        assert asking.found(WEB, "db-eu-lhr-0", wait_s=20) == [private(DB)]
        assert asking.resolver() == pid
        asking.pop.start_agent()
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: _other_than(asking, pid), timeout_s=20, reason="another process is there")
        wait_until(asking.knows_who_serves, timeout_s=20, reason="it answers")
    finally:
        asking.pop.control.away = False
        if process.alive(asking.pop._agent_pid) is None:
            asking.pop.start_agent()


def _other_than(asking: Asking, pid: int) -> bool:
    found = process.alive(asking.pop.state / "names" / "resolver.pid")
    return found is not None and found != pid
