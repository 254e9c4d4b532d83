"""Health is asked of what is announced, in each family by itself: probes, what a host makes of them, and what the
judge does.
"""

import asyncio
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Any

import pytest

from anypop.agent.decide.announcements import reason_for
from anypop.agent.decide.elements import ContainerSeen, ContainerState, FamilyVerdict, Member, ProbeVerdict
from anypop.agent.decide.facts import Facts
from anypop.agent.decide.observed import Observed
from anypop.agent.decide.report import report_of, unasked_ports
from anypop.agent.decide.traffic import members_for
from anypop.agent.naming import short
from anypop.agent.observe import dns
from anypop.agent.observe.ask import ask
from anypop.agent.observe.probes import Probes, Target, ports_of
from anypop.judge.memory import History
from anypop.judge.verdict import Received, judge
from anypop.model.announce import Announcement, Scope
from anypop.model.codec import from_json, to_json
from anypop.model.plan import World
from anypop.model.reasons import Reason
from anypop.model.report import FamilyReport, InstanceReport, Phase, Report
from anypop.model.workload import Container, Port, Probe, ProbeKind, Protocol
from anypop.plan.planner import plan
from tests.agent_world import instance, order, web
from tests.worlds import HOSTS, network, report, workload

FOUR, SIX = IPv4Address("127.0.0.1"), IPv6Address("::1")
KEY = ("u1", "web")


async def _nobody(*_: object) -> int:
    raise AssertionError("no command was asked for")


@contextmanager
def udp_server(answer: Callable[[bytes], bytes]) -> Iterator[int]:
    """A server on loopback that answers each datagram; gives its port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(0.05)
        over = threading.Event()

        def serve() -> None:
            while not over.is_set():
                try:
                    asked, peer = server.recvfrom(2048)
                except TimeoutError:
                    continue
                server.sendto(answer(asked), peer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            over.set()
            thread.join()


def told(probe: Probe) -> str | None:
    return asyncio.run(ask(probe, FOUR, _nobody))


def test_a_udp_probe_sends_its_bytes_and_wants_the_expected_in_the_answer() -> None:
    """Any answer is good where none is expected; a port that is closed refuses, and one that is silent runs out of
    time.
    """
    with udp_server(lambda asked: b"got " + asked[::-1]) as port:
        probe = Probe(kind=ProbeKind.UDP, port=port, request=b"abc".hex(), timeout_s=2)
        assert told(probe) is None
        assert told(replace(probe, expect="got cba")) is None
        assert told(replace(probe, expect="got abc")) == f"port {port}: the answer is not the expected one"
    refused = told(probe)
    assert refused is not None
    assert refused.startswith(f"port {port}: ")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        assert told(replace(probe, port=silent.getsockname()[1], timeout_s=0.05)) == "no answer within 0.05 s"


@pytest.mark.parametrize(
    ("flags", "trouble"),
    [(0x8180, None), (0x8003, "DNS answers no such name"), (0x8002, "DNS answers server failure"),
     (0x0100, "the answer is not DNS")],
)  # fmt: skip
def test_a_dns_probe_wants_an_answer_without_an_error(flags: int, trouble: str | None) -> None:
    """The question is one that a server reads: id, one question, name, type."""
    seen: list[bytes] = []

    def answer(asked: bytes) -> bytes:
        seen.append(asked)
        return asked[:2] + flags.to_bytes(2, "big") + asked[4:]

    with udp_server(answer) as port:
        probe = Probe(kind=ProbeKind.DNS, port=port, request="www.example.", record="AAAA", timeout_s=2)
        assert told(probe) == trouble
    assert seen[0][2:] == bytes.fromhex("0000 0001 0000 0000 0000") + b"\3www\7example\0" + bytes.fromhex("001c 0001")
    assert dns.trouble_of(b"\0\1", 1) == "the answer is not DNS"
    assert dns.trouble_of(seen[0][:2] + b"\x81\x80" + seen[0][4:], 70_000) == "the answer is not DNS"


def probed(container: Container, test: Callable[[Probes], Awaitable[None]], *, found: bool = False) -> None:
    async def run() -> None:
        probes = Probes(wake=lambda: None, clock=time.time, run_inside=_nobody)
        announced = ((FOUR, FOUR), (SIX, SIX))
        probes.set({KEY: Target(container=container, address=FOUR, pid=1, found=found, announced=announced)})
        try:
            await test(probes)
        finally:
            probes.close()

    asyncio.run(run())


async def until(predicate: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not predicate():  # noqa: ASYNC110 - sockets change it
            await asyncio.sleep(0.002)


def test_each_family_has_its_own_health_and_the_whole_is_as_the_best() -> None:
    """A server of IPv4 alone is healthy, and is told not to answer in IPv6; one that never answered is no fall."""

    async def test(probes: Probes) -> None:
        await until(lambda: probes.verdict("u1", ("web",)).healthy is True)
        await until(lambda: probes.verdict("u1", ("web",)).message != "")
        verdict = probes.verdict("u1", ("web",))
        assert [(f.version, f.healthy, f.ever) for f in verdict.families] == [(4, True, True), (6, False, False)]
        assert verdict.reason is Reason.PROBE_PASSED
        assert verdict.message.startswith("IPv6: port ")
        assert (verdict.of(4).healthy, verdict.of(6).healthy) == (True, False)
        assert verdict.never_answered(6)
        probes.died(KEY)
        assert probes.verdict("u1", ("web",)).healthy is False

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        probed(replace(web(), ports=(Port(name="http", port=port, open_to_all=True),)), test)


def test_every_open_port_of_tcp_is_asked() -> None:
    """One of two that nobody listens at is told; a port that is not open to all is nobody's business."""
    open_, shut = Port(name="a", port=80, open_to_all=True), Port(name="b", port=81)
    assert ports_of(replace(web(), ports=(shut, open_, replace(open_, name="c", port=443)))) == (80, 443)
    assert ports_of(replace(web(), ports=(shut, replace(shut, name="c", port=82)))) == (81,)

    async def test(probes: Probes) -> None:
        await until(lambda: "port 1: " in probes.verdict("u1", ("web",)).message)
        assert probes.verdict("u1", ("web",)).healthy is False

    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as server:
        ports = (replace(open_, port=server.getsockname()[1]), replace(open_, name="c", port=1))
        probed(replace(web(), ports=ports), test)


def test_what_cannot_be_asked_is_told_as_not_asked() -> None:
    """A port of UDP without a probe: it runs, and nobody claims that it answers. With a probe at that port one does."""
    udp = Port(name="dns", port=53, protocol=Protocol.UDP)

    async def test(probes: Probes) -> None:
        verdict = probes.verdict("u1", ("web",))
        assert (verdict.healthy, verdict.reason, verdict.families) == (True, Reason.NOT_ASKED, ())

    container = replace(web(), ports=(udp,))
    probed(container, test)
    one = instance(0)
    with_udp = replace(one, payload=replace(one.payload, containers=(container,)))
    assert unasked_ports(with_udp) == [53]
    asked = replace(container, readiness=Probe(kind=ProbeKind.DNS, port=53, request="example", record="A"))
    assert unasked_ports(replace(one, payload=replace(one.payload, containers=(asked,)))) == []


def test_a_port_that_comes_to_be_asked_resets_no_health() -> None:
    """From nothing to ask to both families and back: what it answered before, it answered."""
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as server:
        port = server.getsockname()[1]

        async def test(probes: Probes) -> None:
            base = dict[str, Any](address=FOUR, pid=1, found=False, announced=((FOUR, FOUR), (SIX, SIX)))
            asked = replace(web(), ports=(Port(name="http", port=port, open_to_all=True),))
            for container in (asked, replace(web(), ports=()), asked):
                probes.set({KEY: Target(container=container, **base)})
                assert probes.verdict("u1", ("web",)).healthy is True

        probed(replace(web(), ports=()), test)


def _v4only(healthy6: bool | None = False, *, ever: bool = False) -> ProbeVerdict:
    six = FamilyVerdict(version=6, healthy=healthy6, reason=Reason.PROBE_FAILED, ever=ever)
    four = FamilyVerdict(version=4, healthy=True, reason=Reason.PROBE_PASSED)
    return ProbeVerdict(healthy=True, reason=Reason.PROBE_PASSED, families=(four, six))


A4, A6, OTHER6 = IPv4Address("192.0.2.1"), IPv6Address("2001:db8:a::1"), IPv6Address("2001:db8:a::77")
COVER6 = ip_network("2001:db8:a::/48")


def _host(verdict: ProbeVerdict, *, gates: tuple[IPv6Address, ...] = (A6,), member: bool = False) -> Facts:
    """One instance that runs, with an address of each family; `member`: of the group of IPv6 already."""
    plain = instance(0)
    both = replace(plain, anycast=(A4, A6))
    asked = order(1, plain)
    six = tuple(Announcement(prefix=COVER6, upstream=u.name, scope=Scope(), gates=gates) for u in asked.upstreams)
    runs = ContainerSeen(id="c", instance=both.name, uid=both.uid, container="web", state=ContainerState.RUNNING, pid=7)
    seen = Observed(
        containers=(runs,),
        links={short(both.uid): True},
        balanced={A6: (Member(short=short(both.uid)),)} if member else {},
        health={both.uid: verdict},
    )
    return Facts(replace(asked, instances=(both,), announcements=(*asked.announcements, *six)), seen)


def test_one_of_ipv4_alone_serves_ipv4_and_says_why_not_ipv6() -> None:
    """It is to be in the group of IPv4 and in none of IPv6; health that is not known yet changes nothing."""
    facts = _host(_v4only())
    one = (Member(short=short(instance(0).uid)),)
    assert (members_for(A4, facts, 0.0), members_for(A6, facts, 0.0)) == (one, ())
    assert reason_for(COVER6, facts, 0.0) == (Reason.FAMILY_SILENT, False)
    assert members_for(A6, _host(_v4only(None), member=True), 0.0) == one
    assert members_for(A6, _host(_v4only(None)), 0.0) == ()


def test_who_never_answered_in_a_family_keeps_nobody_elses_prefix_back() -> None:
    """Beside another address its gate does not count; alone it does; and it counts once it has answered there, or
    while it has traffic there.
    """
    assert _host(_v4only(), gates=(A6, OTHER6)).gates(COVER6) == {OTHER6}
    assert _host(_v4only(), gates=(A6,)).gates(COVER6) == {A6}
    assert _host(_v4only(ever=True), gates=(A6, OTHER6)).gates(COVER6) == {A6, OTHER6}
    assert _host(_v4only(), gates=(A6, OTHER6), member=True).gates(COVER6) == {A6, OTHER6}


def test_who_lacks_a_family_that_its_predecessor_answers_in_does_not_replace_it() -> None:
    """It is not told as healthy, and the older one keeps the slot; where that one lacks it as well, all is as ever."""
    old, new = instance(0), instance(0, life=1, link=1)
    both = [replace(i, anycast=(A4, A6)) for i in (old, new)]
    asked = replace(order(1, old), instances=tuple(both))
    runs = tuple(
        ContainerSeen(id=i.uid, instance=i.name, uid=i.uid, container="web", state=ContainerState.RUNNING, pid=7)
        for i in both
    )
    whole = ProbeVerdict(
        healthy=True,
        reason=Reason.PROBE_PASSED,
        families=tuple(FamilyVerdict(version=v, healthy=True, reason=Reason.PROBE_PASSED) for v in (4, 6)),
    )
    links = {short(i.uid): True for i in both}
    for before, front in ((whole, old), (_v4only(), new)):
        seen = Observed(containers=runs, links=links, health={old.uid: before, new.uid: _v4only()})
        facts = Facts(asked, seen)
        assert facts.fronts[old.name].uid == front.uid
        told = report_of(facts, pop=asked.pop, host=asked.host, generation=1, at=1.0, refused=None, drift=(), errors=())
        said = {i.uid: (i.healthy, i.reason) for i in told.instances}
        assert said[new.uid] == ((True, Reason.RUNNING) if front is new else (False, Reason.FAMILY_SILENT))


def _in_families(one: InstanceReport, *, six: bool) -> InstanceReport:
    families = tuple(
        FamilyReport(version=v, healthy=well, reason=Reason.PROBE_PASSED if well else Reason.PROBE_FAILED)
        for v, well in ((4, True), (6, six))
    )
    return replace(one, families=families)


def test_the_governor_asks_who_answers_in_the_prefixs_own_family() -> None:
    """Where IPv6 answers in no other PoP, nothing is gained by leaving; where it does, one may go."""
    planned = plan(World(network=network(), workloads=(workload(dual_stack=True),)))
    prefix = planned.anycast[0].prefix6

    def answer(*silent: object) -> Reason:
        reports, history, now = {}, History(), 1000.0
        for wants in (False, True):
            for host in HOSTS:
                one = report(planned, host, wants=[prefix] if wants and host == HOSTS[0] else [])
                six = not (wants and host in silent)
                one = replace(one, instances=tuple(_in_families(i, six=six) for i in one.instances))
                reports[host] = Received(report=one, at=now)
            verdict, history = judge(planned, reports, now=now, history=history, generations=dict.fromkeys(HOSTS, 1))
            now += 1
        return next(g.reason for g in verdict.hosts[HOSTS[0]].grants if g.prefix == prefix)

    assert answer(HOSTS[0]) is Reason.GRANTED
    assert answer(*HOSTS) is Reason.NOWHERE_BETTER


def test_a_report_of_an_older_agent_is_read_as_before() -> None:
    """Without families an instance is in each as it is on the whole; one that is down is down in all."""
    text = (
        b'{"pop":"LHR","host":"LHR","at":1,"generation":1,"instances":[{"name":"a","uid":"u","phase":"RUNNING",'
        b'"healthy":true,"reason":"running"}]}'
    )
    (one,) = from_json(Report, text).instances
    assert (one.healthy_in(4), one.healthy_in(6)) == (True, True)
    half = _in_families(one, six=False)
    assert (half.healthy_in(4), half.healthy_in(6)) == (True, False)
    assert from_json(InstanceReport, to_json(half)) == half
    assert not replace(half, healthy=False, phase=Phase.FAILED).healthy_in(4)
