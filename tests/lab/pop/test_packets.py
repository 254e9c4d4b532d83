"""The agent and the kernel: which packet reaches which instance, and what leads it there.

Clients are sockets in an upstream's namespace; the tables are read from the kernel.
"""

import asyncio
import os
import signal
import socket
import threading
import time
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from anypop.agent.act.network.error_ways import ErrorWays
from anypop.agent.act.network.inside import is_right
from anypop.agent.decide.inside import inside_for
from anypop.agent.decide.report import UDP_IS_KEPT
from anypop.agent.naming import INSIDE_TABLE, errors_table, link_of, namespace_of
from anypop.agent.observe.ask import ask
from anypop.host import ip, netns, process
from anypop.model.announce import Address
from anypop.model.errors import WorldError
from anypop.model.order import Containers, InstanceOrder
from anypop.model.reasons import Reason
from anypop.model.report import PrefixReport
from anypop.model.workload import Port, Probe, ProbeKind, Protocol
from tests.agent_lab import ANYCAST4, ANYCAST6, COVER4, COVER6, Flow, PopLab, container_pids, external, tokens
from tests.agent_pop import fresh, group_size, learnt_routes, shell
from tests.podman_service import SERVE
from tests.wait import wait_until

pytestmark = pytest.mark.lab

ECHO = "nc -ll -p 80 -e /bin/sh -c 'hostname; exec cat' &"


def test_instances_answer_on_every_address_and_memory_is_small(clean: PopLab) -> None:
    """Two instances answer on external and anycast addresses of both families, by host name; the agent stays below 80
    MB.
    """
    first, second = fresh(0), fresh(1)
    clean.give(first, second)
    clean.wait_running(first.name, second.name)
    for upstream, cover in (("one", COVER4), ("one", COVER6), ("two", COVER6)):  # each hears of it in its own time
        heard = partial(clean.upstreams.routes, upstream, cover)
        wait_until(heard, timeout_s=20, reason=f"{cover} is announced to {upstream}")
    assert clean.get(external(first)) == first.name
    assert clean.get(external(second, 6), upstream="two") == second.name
    assert {clean.get(ANYCAST4) for _ in range(30)} == {first.name, second.name}
    assert clean.get(ANYCAST6) in {first.name, second.name}
    rss = next(
        line for line in Path(f"/proc/{clean.agent_pid()}/status").read_text().splitlines() if line.startswith("VmRSS")
    )
    assert int(rss.split()[1]) < 80_000, rss


def test_a_killed_instance_leaves_the_group_in_milliseconds_and_returns(clean: PopLab) -> None:
    """The next hop of a killed process is gone within milliseconds; requests go on; it is restarted; nothing is
    withdrawn.
    """
    first, second = fresh(0), fresh(1)
    clean.give(first, second)
    clean.wait_running(first.name, second.name)
    times = []
    for kills in (1, 2, 3):  # a machine that does much else may take its time once; not thrice
        wait_until(lambda: group_size(clean) == 2, timeout_s=20, reason="both are next hops")
        pid = container_pids(clean)[first.name]
        begun = time.perf_counter()
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: group_size(clean) == 1, timeout_s=2, reason="the dead one is out", every_s=0.0002)
        times.append(time.perf_counter() - begun)
        assert {clean.get(ANYCAST4) for _ in range(5)} == {second.name}
        wait_until(lambda: group_size(clean) == 2, timeout_s=30, reason="it is back", every_s=0.02)
        clean.wait_running(first.name)
        again = clean.reported(first.name)
        assert again is not None
        assert again.containers[0].restarts == kills
        if times[-1] < 0.1:
            break
    print(f"next hop gone after {[f'{took * 1000:.1f} ms' for took in times]}")
    assert min(times) < 0.1
    assert clean.upstreams.routes("one", COVER4)


def test_what_the_host_itself_sends_follows_no_neighbour_while_the_operator_has_a_way(clean: PopLab) -> None:
    """Forwarded packets take what was learnt, the host's own take the operator's default route; where there is none,
    as here, they may take what was learnt.
    """
    wait_until(lambda: len(learnt_routes(clean)) >= 2, timeout_s=9, reason="both upstreams' routes are learnt")
    assert _way(clean, "203.0.113.2") == "up-two"
    ip.batch(["route add default via 10.99.0.1"], netns=clean.router)
    try:
        assert _way(clean, "203.0.113.2") == "up-one"
        assert _way(clean, "203.0.113.2", "from", "198.51.100.10", "iif", "up-one") == "up-two"
    finally:
        ip.batch(["route del default via 10.99.0.1"], netns=clean.router)


def _way(pop: PopLab, *words: str) -> str:
    """The interface by which the kernel would send something; empty: none."""
    with suppress(WorldError):
        return str(pop.kernel("route", "get", *words)[0].get("dev", ""))
    return ""


def test_a_probe_leaves_by_the_instances_link_whatever_a_route_says(clean: PopLab) -> None:
    """A route to the instance's very address leads away: the probe is answered all the same, another question not."""
    only = fresh(0)
    clean.give(only)
    clean.wait_running(only.name)
    private = only.private(4)
    assert private is not None
    ip.batch([f"route add {private}/32 via 10.99.0.1"], netns=clean.router)
    try:
        with netns.inside(clean.router):
            assert asyncio.run(_asked(private, link_of(only.uid))) is None
            assert asyncio.run(_asked(private, "")) is not None
    finally:
        ip.batch([f"route del {private}/32 via 10.99.0.1"], netns=clean.router)


async def _asked(address: Address, link: str) -> str | None:
    async def nobody(*_: object) -> int:
        raise AssertionError("no command is run")

    return await ask(Probe(kind=ProbeKind.TCP, port=80, timeout_s=0.5), address, nobody, link)


def _is_reached(lab: PopLab) -> bool:
    with suppress(OSError):
        Flow(lab).close()
        return True
    return False


def test_a_death_moves_only_its_own_flows(clean: PopLab) -> None:
    """Of thirty established connections over three instances, those of the survivors live on, also while a new one
    joins (invariant 11).
    """
    instances = [fresh(n, shell(ECHO)) for n in range(3)]
    clean.give(*instances[:2])
    clean.wait_running(*(i.name for i in instances[:2]))
    wait_until(lambda: group_size(clean) == 2, timeout_s=20, reason="two next hops")
    wait_until(lambda: _is_reached(clean), timeout_s=20, reason="the client's network has heard of it")
    flows = [Flow(clean) for _ in range(30)]
    try:
        assert {f.host for f in flows} == {i.name for i in instances[:2]}
        clean.give(*instances)
        clean.wait_running(instances[2].name)
        wait_until(lambda: group_size(clean) == 3, timeout_s=20, reason="three next hops")
        assert all(f.lives() for f in flows), "a newcomer moved a flow"
        os.kill(container_pids(clean)[instances[0].name], signal.SIGKILL)
        wait_until(lambda: group_size(clean) == 2, timeout_s=2, reason="the dead one is out", every_s=0.001)
        assert all(f.lives() for f in flows if f.host == instances[1].name), "a death moved another's flow"
    finally:
        for flow in flows:
            flow.close()


def test_only_open_ports_are_reached_and_the_way_out_is_free(clean: PopLab) -> None:
    """A port without open_to_all is closed to the outside, its neighbour is open, and the instance reaches the
    outside.
    """
    ports = (Port(name="http", port=80, open_to_all=True), Port(name="admin", port=81))
    both = shell(f"{SERVE}; httpd -p 81 -h /www", ports=ports)
    only = fresh(0, both)
    clean.give(only)
    clean.wait_running(only.name)
    assert clean.get(external(only)) == only.name
    space = f"{clean.prefix}-i-{only.uid}"
    with netns.inside(clean.upstreams.namespace("one")), socket.socket() as outside:
        outside.settimeout(0.3)
        with pytest.raises(TimeoutError):
            outside.connect((str(external(only)), 81))
        with socket.create_server(("203.0.113.1", 8080)) as server, netns.inside(space):
            socket.create_connection((str(server.getsockname()[0]), 8080), timeout=2).close()


def test_icmp_errors_are_led_to_each_instance_whatever_happens_to_the_tables(clean: PopLab) -> None:
    """Every instance has its way; a table that lacks a rule, an element or itself is whole again after a full look or
    a restart of the agent; who leaves takes its way along, and the last one the tables.
    """
    with netns.inside(clean.router), closing(ErrorWays(clean.prefix)) as errors:

        def led(*instances: InstanceOrder) -> bool:
            tables = errors.look() or {}
            names = {link_of(i.uid) for i in instances}
            return all((set(t.links) if (t := tables[v]) else set()) == names for v in (4, 6))

        first, second = fresh(0), fresh(1)
        clean.give(first, second)
        clean.wait_running(first.name, second.name)
        wait_until(lambda: led(first, second), timeout_s=20, reason="both are led to")
        before = errors.look()
        table = errors_table(clean.prefix)
        for spoil in (
            f"flush chain ip {table} error",
            f"delete element ip6 {table} anycast {{ {ANYCAST6} }}",
            f"delete table ip6 {table}",
        ):
            os.kill(clean.agent_pid(), signal.SIGSTOP)  # an event would tell it, and it might be quicker than this look
            process.run(netns.command(clean.router, "nft", spoil))
            assert errors.look() != before
            os.kill(clean.agent_pid(), signal.SIGCONT)
            os.kill(clean.agent_pid(), signal.SIGUSR1)
            wait_until(lambda: errors.look() == before, timeout_s=9, reason=f"mended after: {spoil}")
        clean.kill_agent()
        process.run(netns.command(clean.router, "nft", f"delete table ip {table}"))
        clean.start_agent()
        wait_until(lambda: errors.look() == before, timeout_s=15, reason="a new agent makes it whole")
        clean.give(second, removed=tokens(first))
        wait_until(lambda: led(second), timeout_s=15, reason="who left is not led to")
        clean.give(removed=tokens(second))
        wait_until(led, timeout_s=15, reason="nobody is led to")
        assert table not in process.run(netns.command(clean.router, "nft", "list", "tables"))


def test_an_instance_of_udp_keeps_its_answers_also_where_it_ran_before(clean: PopLab) -> None:
    """A port of UDP that is declared, or given up, while it runs changes its namespace and no process; what somebody
    takes away there comes back, and it is told.
    """
    plain = fresh(0)
    space = namespace_of(clean.prefix, plain.uid)
    (container,) = plain.containers
    dns = replace(container, ports=(*container.ports, Port(name="dns", port=53, protocol=Protocol.UDP)))
    udp = replace(plain, payload=Containers(containers=(dns,)))

    def tables() -> str:
        return process.run(netns.command(space, "nft", "list", "tables")).strip()

    def probing() -> str:
        return process.run(netns.command(space, "cat", "/proc/sys/net/ipv4/tcp_mtu_probing")).strip()

    clean.give(plain)
    clean.wait_running(plain.name)
    pid = container_pids(clean)[plain.name]
    assert (tables(), probing()) == ("", "1")
    clean.give(udp)
    wait_until(lambda: tables() == f"table inet {INSIDE_TABLE}", timeout_s=9, reason="its answers are kept")
    with netns.inside(clean.router):
        wait_until(lambda: is_right(clean.prefix, udp.uid, inside_for(udp)), timeout_s=20, reason="with its settings")
    told = wait_until(lambda: (r := clean.reported(udp.name)) and r.message, timeout_s=20, reason="it is told")
    assert told == f"not asked: UDP 53 (a dns or udp readiness probe does); {UDP_IS_KEPT}"
    process.run(netns.command(space, "nft", "delete", "table", "inet", INSIDE_TABLE))
    process.run(netns.command(space, "sh", "-c", "echo 0 > /proc/sys/net/ipv4/tcp_mtu_probing"))
    os.kill(clean.agent_pid(), signal.SIGUSR1)
    wait_until(lambda: tables() and probing() == "1", timeout_s=9, reason="both are back")
    clean.give(plain)
    wait_until(lambda: tables() == "", timeout_s=20, reason="nothing is kept any more")
    assert container_pids(clean)[plain.name] == pid


def test_an_application_of_ipv4_alone_is_announced_in_ipv4_and_told_why_not_in_ipv6(clean: PopLab) -> None:
    """It asks for both families and serves one. Who joins beside it is asked over its own link: nobody answers in its
    place.
    """
    only = fresh(0, shell("hostname > /www/index.html; httpd -p 0.0.0.0:80 -h /www"))
    mute = fresh(1, shell("true"))
    clean.give(only, mute)
    clean.wait_running(only.name)
    wait_until(lambda: clean.upstreams.routes("one", COVER4), timeout_s=20, reason="IPv4 is announced")

    def six() -> PrefixReport | None:
        return clean.reported_prefix(COVER6)

    wait_until(lambda: (p := six()) and p.reason is Reason.FAMILY_SILENT, timeout_s=20, reason="it is told why not 6")
    told = wait_until(lambda: (r := clean.reported(only.name)) and r.message, timeout_s=20, reason="and by what")
    assert told == "IPv6: port 80: Connection refused"
    assert not clean.upstreams.routes("one", COVER6)
    assert clean.get(ANYCAST4) == only.name
    other = clean.reported(mute.name)
    assert other is not None
    assert not other.healthy
    assert clean.members(ANYCAST4) == 1
    assert clean.members(ANYCAST6) == 0


def test_what_serves_at_the_anycast_address_alone_is_announced_and_asked_there(clean: PopLab) -> None:
    """A web server bound to it, and a DNS server that a probe asks: it is well once it answers, in each family, and
    ill when it stops. Ways that somebody takes away are made again.
    """
    bound = fresh(0, shell(f"hostname > /www/index.html; httpd -p {ANYCAST4}:80 -h /www"))
    probe = Probe(kind=ProbeKind.DNS, port=53, request="example", record="A", period_s=0.05, timeout_s=0.5)
    ports = (Port(name="dns", port=53, protocol=Protocol.UDP, open_to_all=True),)
    dns = fresh(1, replace(shell("true"), ports=ports, readiness=probe))
    clean.give(bound, dns)
    clean.wait_running(bound.name)
    wait_until(lambda: clean.get(ANYCAST4) == bound.name, timeout_s=20, reason="it is served")
    assert clean.upstreams.routes("one", COVER4)
    with netns.inside(namespace_of(clean.prefix, dns.uid)):
        server = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    over = threading.Event()

    def serve() -> None:
        while not over.is_set():
            with suppress(TimeoutError):
                asked, peer = server.recvfrom(512)
                server.sendto(asked[:2] + b"\x81\x80" + asked[4:], peer)

    thread = threading.Thread(target=serve)
    with server:
        server.settimeout(0.05)
        server.bind(("::", 53))
        thread.start()
        try:
            clean.wait_running(dns.name)
            wait_until(
                lambda: (
                    (r := clean.reported(dns.name))
                    and [(f.version, f.healthy) for f in r.families] == [(4, True), (6, True)]
                ),
                timeout_s=20, reason="each family is told",
            )  # fmt: skip
            for words in ("-6 rule del pref 57", "-6 route flush table 158256"):
                process.run(netns.command(clean.router, "ip", *words.split()))
            wait_until(
                lambda: clean.kernel("-6", "route", "show", "table", "158256"),
                timeout_s=9,
                reason="a question that found no way makes it anew",
            )
            clean.wait_running(dns.name)
        finally:
            over.set()
            thread.join()
    wait_until(lambda: (r := clean.reported(dns.name)) and not r.healthy, timeout_s=20, reason="it is ill")
