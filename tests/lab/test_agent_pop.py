"""The agent as its own process on real parts: Podman, the kernel, BIRD, and upstreams that hear what it says."""

import asyncio
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from anypop.agent.act.network import rtnl
from anypop.agent.act.network.error_ways import ErrorWays
from anypop.agent.act.network.inside import is_right
from anypop.agent.act.network.netlink import Netlink
from anypop.agent.decide.inside import inside_for
from anypop.agent.decide.report import UDP_IS_KEPT
from anypop.agent.naming import (
    INSIDE_TABLE,
    LEARNT_PREFERENCE,
    LEARNT_TABLE,
    ROUTE_PROTOCOL,
    errors_table,
    link_of,
    namespace_of,
)
from anypop.agent.observe.ask import ask
from anypop.host import ip, netns, process
from anypop.model.announce import Address, Announcement, Mode, Scope
from anypop.model.confinement import InstanceRules
from anypop.model.errors import WorldError
from anypop.model.order import Containers, Grant, InstanceOrder
from anypop.model.reasons import Reason
from anypop.model.report import PrefixReport, SessionReport
from anypop.model.workload import Container, Port, Probe, ProbeKind, Protocol
from tests.agent_lab import (
    ANYCAST4,
    ANYCAST6,
    COVER4,
    COVER6,
    EXTERNAL4,
    Flow,
    PopLab,
    container_pids,
    external,
    instance,
    tokens,
    web,
)
from tests.podman_service import SERVE, STAY
from tests.wait import wait_until

HASH_POLICY = "/proc/sys/net/ipv4/fib_multipath_hash_policy"
pytestmark = pytest.mark.lab

ECHO = "nc -ll -p 80 -e /bin/sh -c 'hostname; exec cat' &"
_lives = iter(range(1, 1000))


@pytest.fixture(scope="module")
def pop() -> Iterator[PopLab]:
    """A PoP with two upstreams and a running agent that obeys an order without instances."""
    lab = PopLab("agt", ("one", "two"))
    try:
        lab.start_agent()
        lab.give()
        wait_until(
            lambda: lab.upstreams.routes("one", EXTERNAL4), timeout_s=20, reason="the PoP's own prefix is announced"
        )
        yield lab
    finally:
        lab.close()


@pytest.fixture
def clean(pop: PopLab) -> Iterator[PopLab]:
    """The PoP without instances before and after."""
    yield pop
    known = {i.uid: i for i in (pop.control.order.instances if pop.control.order else ())}
    pop.give(removed=tokens(*known.values()))
    try:
        wait_until(lambda: _is_empty(pop), timeout_s=20, reason="the PoP is empty again")
    except AssertionError as error:
        raise AssertionError(f"{error}\n{pop.control.report}\n{pop.agent_log()}") from error


def _is_empty(pop: PopLab) -> bool:
    report = pop.control.report
    return (
        report is not None
        and report.generation == pop._generation
        and not report.instances
        and not pop.upstreams.routes("one", COVER4)
    )


def fresh(n: int, container: Container | None = None) -> InstanceOrder:
    """Instance `n` in a life of its own."""
    return instance(n, uid=f"{next(_lives):08x}{n:02x}", containers=(container,) if container else None)


def _shell(script: str, **more: object) -> Container:
    return replace(web(), command=("/bin/sh", "-c", f"{script}\n{STAY}"), **more)  # type: ignore[arg-type]


def _reason(pop: PopLab) -> Reason | None:
    """Why the anycast prefix stands as it does, by the last report."""
    prefix = pop.reported_prefix(COVER4)
    return prefix.reason if prefix else None


def _hops(pop: PopLab) -> int:
    """Members of the anycast address's group, straight from the kernel."""
    with netns.inside(pop.router), Netlink() as net:
        hops = {hop.id: hop for hop in rtnl.nexthops(net, ROUTE_PROTOCOL)}
    groups = (
        {hops[number].interface for number, _ in hop.group if number in hops} for hop in hops.values() if hop.group
    )
    return max((len(links) for links in groups), default=0)


def test_instances_answer_on_every_address_and_memory_is_small(clean: PopLab) -> None:
    """Two instances answer on external and anycast addresses of both families, by host name; the agent stays below 80
    MB.
    """
    first, second = fresh(0), fresh(1)
    clean.give(first, second)
    clean.wait_running(first.name, second.name)
    for upstream, cover in (("one", COVER4), ("one", COVER6), ("two", COVER6)):  # each hears of it in its own time
        heard = partial(clean.upstreams.routes, upstream, cover)
        wait_until(heard, timeout_s=5, reason=f"{cover} is announced to {upstream}")
    assert clean.get(external(first)) == first.name
    assert clean.get(external(second, 6), upstream="two") == second.name
    assert {clean.get(ANYCAST4) for _ in range(30)} == {first.name, second.name}
    assert clean.get(ANYCAST6) in {first.name, second.name}
    rss = next(
        line for line in Path(f"/proc/{clean.agent_pid()}/status").read_text().splitlines() if line.startswith("VmRSS")
    )
    assert int(rss.split()[1]) < 80_000, rss


def test_nothing_is_announced_before_an_instance_answers(clean: PopLab) -> None:
    """While the application starts slowly, its upstream hears nothing; at the moment it hears, the address answers
    (invariant 8).
    """
    slow = fresh(0, _shell(f"sleep 1; {SERVE}"))
    clean.give(slow)
    wait_until(lambda: container_pids(clean).get(slow.name), timeout_s=10, reason="its process runs")
    assert not clean.upstreams.routes("one", COVER4)
    wait_until(lambda: _reason(clean) is Reason.NO_HEALTHY_INSTANCE, timeout_s=5, reason="the report says why")
    wait_until(lambda: clean.upstreams.routes("one", COVER4), timeout_s=10, reason="it is announced", every_s=0.002)
    assert clean.get(ANYCAST4) == slow.name


def test_a_killed_instance_leaves_the_group_in_milliseconds_and_returns(clean: PopLab) -> None:
    """The next hop of a killed process is gone within milliseconds; requests go on; it is restarted; nothing is
    withdrawn.
    """
    first, second = fresh(0), fresh(1)
    clean.give(first, second)
    clean.wait_running(first.name, second.name)
    wait_until(lambda: _hops(clean) == 2, timeout_s=5, reason="both are next hops")
    pid = container_pids(clean)[first.name]
    begun = time.perf_counter()
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: _hops(clean) == 1, timeout_s=2, reason="the dead one is out", every_s=0.0002)
    took = time.perf_counter() - begun
    print(f"next hop gone after {took * 1000:.1f} ms")
    assert took < 0.1
    assert {clean.get(ANYCAST4) for _ in range(5)} == {second.name}
    wait_until(lambda: _hops(clean) == 2, timeout_s=15, reason="it is back", every_s=0.02)
    clean.wait_running(first.name)
    again = clean.reported(first.name)
    assert again is not None
    assert again.containers[0].restarts == 1
    assert clean.upstreams.routes("one", COVER4)


def test_a_prefix_without_instances_is_kept_until_the_governor_grants(clean: PopLab) -> None:
    """With every instance sick the agent asks to withdraw, keeps announcing, obeys the grant, and announces again
    after recovery.
    """
    probed = _shell(
        f"touch /www/on; while true; do if [ -e /www/on ]; then {SERVE}; fi; sleep 0.02; done 2>/dev/null &"
    )
    probed = replace(probed, readiness=Probe(kind=ProbeKind.HTTP, port=80, period_s=0.05, failure_threshold=2))
    only = fresh(0, probed)
    clean.give(only)
    clean.wait_running(only.name)
    wait_until(lambda: clean.upstreams.routes("one", COVER4), timeout_s=5, reason="it is announced")
    pid = container_pids(clean)[only.name]
    Path(f"/proc/{pid}/root/www/on").unlink()

    def wants_withdraw() -> bool:
        _stop_server(pid)  # again and again: one may have been about to start
        prefix = clean.reported_prefix(COVER4)
        return prefix is not None and prefix.wants_withdraw

    wait_until(wants_withdraw, timeout_s=10, reason="it wants to withdraw")
    assert _reason(clean) is Reason.AWAITING_GRANT
    assert clean.upstreams.routes("one", COVER4)
    grants = tuple(Grant(prefix=p, allowed=True, reason=Reason.GRANTED) for p in (COVER4, COVER6))
    clean.give(only, grants=grants)
    wait_until(lambda: not clean.upstreams.routes("one", COVER4), timeout_s=5, reason="the grant withdraws it")
    assert clean.reported(only.name)
    Path(f"/proc/{pid}/root/www/on").touch()
    wait_until(lambda: clean.upstreams.routes("one", COVER4), timeout_s=10, reason="recovery announces it again")


def _stop_server(pid: int) -> None:
    """End the web server inside the container whose main process is `pid`."""
    space = Path(f"/proc/{pid}/ns/pid").stat().st_ino
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (
                int(folder.name) != pid
                and (folder / "ns/pid").stat().st_ino == space
                and (folder / "cmdline").read_bytes().startswith(b"httpd\0")
            ):
                os.kill(int(folder.name), signal.SIGKILL)


def test_removal_goes_in_order_as_its_upstream_sees_it(clean: PopLab) -> None:
    """First the graceful-shutdown community, then the withdrawal, both while the instance still answers; then it is
    gone (invariant 9).
    """
    only = fresh(0)
    clean.give(only)
    clean.wait_running(only.name)
    wait_until(lambda: clean.upstreams.routes("one", COVER4), timeout_s=5, reason="it is announced")
    clean.give(removed=tokens(only))
    wait_until(
        lambda: "(65535,0)" in clean.upstreams.routes("one", COVER4),
        timeout_s=5,
        reason="it prefers less",
        every_s=0.005,
    )
    assert clean.get(ANYCAST4) == only.name
    wait_until(lambda: not clean.upstreams.routes("one", COVER4), timeout_s=5, reason="it is withdrawn", every_s=0.002)
    assert clean.get(external(only)) == only.name
    wait_until(
        lambda: only.uid in (clean.control.report.gone if clean.control.report else ()),
        timeout_s=10,
        reason="it is gone",
    )
    assert not netns.exists(f"{clean.prefix}-i-{only.uid}")
    assert only.name not in container_pids(clean)


def test_a_killed_agent_comes_back_and_changes_nothing(clean: PopLab) -> None:
    """kill -9 and a new start: the same processes, next hops, BGP sessions and routes; no container is restarted
    (invariants 1, 12).
    """
    first, second = fresh(0), fresh(1)
    clean.give(first, second)
    clean.wait_running(first.name, second.name)
    wait_until(lambda: clean.upstreams.routes("one", COVER4), timeout_s=5, reason="it is announced")
    before = (container_pids(clean), clean.kernel("nexthop"), clean.upstreams.routes("one", COVER4))
    clean.kill_agent()
    assert clean.get(ANYCAST4)
    count = len(clean.control.reports)
    clean.start_agent()
    wait_until(lambda: len(clean.control.reports) > count, timeout_s=10, reason="the new agent reports")
    clean.wait_running(first.name, second.name)
    assert (container_pids(clean), clean.kernel("nexthop"), clean.upstreams.routes("one", COVER4)) == before


def test_without_control_a_restarted_agent_obeys_its_last_order(clean: PopLab) -> None:
    """With control away, a new agent restores the order from disk, and restarts what died (invariant 1)."""
    only = fresh(0)
    clean.give(only)
    clean.wait_running(only.name)
    clean.kill_agent()
    clean.control.away = True
    try:
        os.kill(container_pids(clean)[only.name], signal.SIGKILL)
        clean.start_agent()
        wait_until(
            lambda: clean.get(ANYCAST4) == only.name,
            timeout_s=15,
            reason="the instance is restarted by the order on disk",
        )
    finally:
        clean.control.away = False
    clean.wait_running(only.name)


def test_after_a_reboot_the_pop_comes_back_from_disk_without_control(clean: PopLab) -> None:
    """Agent, BIRD and applications are dead, namespaces, links, routes and rules gone, control away: the last order
    on disk brings back every instance and every announcement (invariants 1, 13).
    """
    first, second = fresh(0), fresh(1)
    clean.give(first, second)
    clean.wait_running(first.name, second.name)
    wait_until(lambda: clean.upstreams.routes("one", COVER4), timeout_s=5, reason="it is announced")
    clean.control.away = True
    try:
        clean.kill_agent()
        bird = process.alive(clean.state / "bird" / "bird.pid")
        assert bird is not None
        for pid in (bird, *container_pids(clean).values()):
            os.kill(pid, signal.SIGKILL)
        ip.batch([f"netns del {name}" for name in netns.names(f"{clean.prefix}-i-")])
        links = [row["ifname"] for row in clean.kernel("link") if row["ifname"].startswith("i")]
        # some went with their namespace
        ip.batch([f"link del {name}" for name in links], netns=clean.router, force=True)
        ip.batch(
            ["route flush proto 158", "-6 route flush proto 158", "nexthop flush proto 158"],
            netns=clean.router,
            force=True,
        )
        process.run(netns.command(clean.router, "nft", "flush", "ruleset"))
        wait_until(lambda: not clean.upstreams.routes("one", COVER4), timeout_s=5, reason="the upstream saw it go")
        clean.start_agent()
        wait_until(lambda: clean.get(ANYCAST4) in (first.name, second.name), timeout_s=20, reason="it answers again")
        wait_until(lambda: clean.upstreams.routes("one", COVER4), timeout_s=10, reason="it is announced again")
        names = {first.name, second.name}
        wait_until(
            lambda: {clean.get(external(i)) for i in (first, second)} == names, timeout_s=10, reason="both are back"
        )
    finally:
        clean.control.away = False
    clean.wait_running(first.name, second.name)


def test_a_route_learnt_from_one_upstream_never_reaches_the_other(clean: PopLab) -> None:
    """The speaker exports our own prefixes and nothing else; what it learns, the kernel uses (invariant 10)."""
    learnt = clean.upstreams.learnt("two")
    assert str(EXTERNAL4) in learnt
    assert "203.0.113.1/32" not in learnt
    assert "2001:db8:ff0::/48" not in learnt
    assert {"203.0.113.1", "203.0.113.2"} <= _learnt(clean)


def _learnt(pop: PopLab, family: str = "-4") -> set[str]:
    """What the kernel has of what neighbours told; an empty table is none at all."""
    with suppress(WorldError):
        return {row["dst"] for row in pop.kernel(family, "route", "show", "table", str(LEARNT_TABLE), "proto", "bird")}
    return set()


def _way(pop: PopLab, *words: str) -> str:
    """The interface by which the kernel would send something; empty: none."""
    with suppress(WorldError):
        return str(pop.kernel("route", "get", *words)[0].get("dev", ""))
    return ""


def test_learnt_routes_and_rules_that_somebody_takes_away_are_back_within_a_second(clean: PopLab) -> None:
    """An operator's flush of routes, in either family's table, and of rules; the agent hears of both."""
    there = _learnt(clean)
    wait_until(lambda: len(_learnt(clean)) >= 2, timeout_s=5, reason="both upstreams' routes are learnt")
    there = _learnt(clean)
    for family in ("-4", "-6"):
        argv = ["ip", family, "route", "flush", "table", str(LEARNT_TABLE)]
        process.run(netns.command(clean.router, *argv))
    wait_until(lambda: _learnt(clean) == there, timeout_s=1, reason="what was flushed is there again")
    wait_until(lambda: "2001:db8:ff0::/48" in _learnt(clean, "-6"), timeout_s=1, reason="and of IPv6")
    rules = clean.kernel("rule", "show")
    ip.batch([f"rule del pref {LEARNT_PREFERENCE}", f"rule del pref {LEARNT_PREFERENCE + 1}"], netns=clean.router)
    wait_until(lambda: clean.kernel("rule", "show") == rules, timeout_s=1, reason="the rules are there again")


def test_what_the_host_itself_sends_follows_no_neighbour_while_the_operator_has_a_way(clean: PopLab) -> None:
    """Forwarded packets take what was learnt, the host's own take the operator's default route; where there is none,
    as here, they may take what was learnt.
    """
    wait_until(lambda: len(_learnt(clean)) >= 2, timeout_s=5, reason="both upstreams' routes are learnt")
    assert _way(clean, "203.0.113.2") == "up-two"
    ip.batch(["route add default via 10.99.0.1"], netns=clean.router)
    try:
        assert _way(clean, "203.0.113.2") == "up-one"
        assert _way(clean, "203.0.113.2", "from", "198.51.100.10", "iif", "up-one") == "up-two"
    finally:
        ip.batch(["route del default via 10.99.0.1"], netns=clean.router)


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


def test_a_session_that_bird_refuses_holds_up_no_other(clean: PopLab) -> None:
    """It is left out and told with BIRD's words; what is announced and withdrawn meanwhile reaches everybody else, and
    no session that stands is reset.
    """
    since = {(s.upstream, s.family): s.since for s in _sessions(clean)}
    bad = replace(clean.upstreams.all[0], name="bad", hold_s=1, neighbor4=IPv4Address("10.99.0.9"), neighbor6=None)
    secret = replace(bad, name="secret", hold_s=None, neighbor4=IPv4Address("10.99.0.10"), password_file="/none")
    clean.give(fresh(0), upstreams=(*clean.upstreams.all, bad, secret))
    for name in ("one", "two"):
        wait_until(partial(clean.upstreams.routes, name, COVER4), timeout_s=20, reason=f"{name} hears it all the same")
    wait_until(lambda: _refused(clean) == {"bad", "secret"}, timeout_s=5, reason="both are told")
    told = {s.upstream: s.error for s in _sessions(clean)}
    assert "old time" in told["bad"]
    assert "/none" in told["secret"]
    assert since.items() <= {(s.upstream, s.family): s.since for s in _sessions(clean)}.items()


def _sessions(pop: PopLab) -> tuple[SessionReport, ...]:
    return pop.control.report.sessions if pop.control.report is not None else ()


def _refused(pop: PopLab) -> set[str]:
    return {s.upstream for s in _sessions(pop) if s.state == "refused"}


def test_a_cable_that_flaps_is_told_of_a_few_times_and_not_at_each_flap(clean: PopLab) -> None:
    """Three cuts, one after the other: gone, back, gone; then the rest, in which the other upstream has the prefix."""
    clean.give(fresh(0))
    for name in ("one", "two"):
        wait_until(partial(clean.upstreams.routes, name, COVER4), timeout_s=20, reason=f"{name} hears it")
    heard, over = [True], threading.Event()

    def listen() -> None:
        while not over.wait(0.02):
            now = bool(clean.upstreams.routes("two", COVER4))
            if now is not heard[-1]:
                heard.append(now)

    listener = threading.Thread(target=listen)
    listener.start()
    far = clean.upstreams.namespace("two")
    try:
        for number in range(3):
            if number == 1:  # one loss is an accident
                wait_until(lambda: heard[-1] and len(heard) == 3, timeout_s=5, reason="two hears it again at once")
            ip.batch(["link set pop down"], netns=far)
            wait_until(lambda: not _stands(clean, "two"), timeout_s=5, reason="the session is lost")
            ip.batch(["link set pop up", "addr add fd00:99:1::1/126 dev pop nodad"], netns=far)
            wait_until(lambda: _stands(clean, "two"), timeout_s=10, reason="the session stands again")
        wait_until(lambda: "flaps" in _error(clean, "two"), timeout_s=5, reason="it is told")
    finally:
        over.set()
        listener.join()
        clean.kill_agent()  # the next one knows of no flaps
        clean.start_agent()
    assert heard == [True, False, True, False]
    assert clean.upstreams.routes("one", COVER4)
    wait_until(partial(clean.upstreams.routes, "two", COVER4), timeout_s=10, reason="two hears it again")


def _stands(pop: PopLab, name: str) -> bool:
    return any(s.upstream == name and s.family == 4 and s.state == "established" for s in _sessions(pop))


def _error(pop: PopLab, name: str) -> str:
    return next((s.error for s in _sessions(pop) if s.upstream == name and s.family == 4), "")


def test_scopes_reach_each_upstream(clean: PopLab) -> None:
    """Prepends and communities go to the upstream they are meant for; a withheld announcement goes away alone."""
    only = fresh(0)
    order = clean.order(only)
    scoped = [_scoped(a) for a in order.announcements]
    clean.control.give(replace(order, announcements=tuple(scoped)))
    text = wait_until(lambda: clean.upstreams.routes("one", COVER4), timeout_s=15, reason="it is announced to one")
    assert "33438 33438 33438" in text
    assert "(209,2009)" in text
    clean.wait_running(only.name)
    assert not clean.upstreams.routes("two", COVER4)


def _scoped(announcement: Announcement) -> Announcement:
    if announcement.prefix != COVER4:
        return announcement
    if announcement.upstream == "two":
        return replace(announcement, scope=Scope(mode=Mode.WITHHOLD))
    return replace(announcement, scope=Scope(prepend=2, communities=((209, 2009),)))


def test_one_poisoned_instance_holds_up_nobody(clean: PopLab) -> None:
    """An image that cannot be pulled, and a registry that never answers, are reported; the others come up (invariant
    16).
    """
    with netns.inside(None), socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        hanging = fresh(2, web(f"127.0.0.1:{silent.getsockname()[1]}/hangs:1"))
        missing = fresh(1, web("127.0.0.1:1/missing:1"))
        good = fresh(0)
        listed = ("127.0.0.1:1", f"127.0.0.1:{silent.getsockname()[1]}")
        clean.give(hanging, missing, good, rules=InstanceRules(registries=listed))
        clean.wait_running(good.name)
        wait_until(
            lambda: (
                (r := clean.reported(missing.name))
                and r.reason is Reason.PULL_FAILED
                and "127.0.0.1:1" in r.message
            ),
            timeout_s=10, reason="it says why",
        )  # fmt: skip
        waiting = clean.reported(hanging.name)
        assert waiting is not None
        assert waiting.reason in (Reason.PULLING, Reason.PULL_FAILED)


def test_a_log_stays_within_its_limit_and_tells_that_it_was_full(clean: PopLab) -> None:
    """200 MiB within seconds leave the log that is written and the one before it, and the instance serves on."""
    line = "x" * 6000
    flood = f"{SERVE}; /bin/busybox yes {line} | /bin/busybox head -c 209715200; echo the end; {STAY}"
    one = fresh(0, _shell(flood))
    clean.give(one)

    def logs() -> dict[str, Path]:
        folder = clean.podman.folder / "root" / "overlay-containers"
        return {file.name: file for file in folder.glob("*/userdata/ctr.log*")}

    def told() -> tuple[int, int] | None:
        os.kill(clean.agent_pid(), signal.SIGUSR1)
        seen = clean.reported(one.name)
        log = seen.containers[0] if seen and seen.containers else None
        return (log.log_bytes or 0, log.log_turns) if log and log.log_turns else None

    wait_until(
        lambda: "ctr.log" in logs() and b"the end" in _tail(logs()["ctr.log"]), timeout_s=40, reason="all is said"
    )
    most = InstanceRules().log_bytes
    sizes = {name: file.stat().st_size for name, file in logs().items()}
    assert set(sizes) == {"ctr.log", "ctr.log.1", "ctr.log.now"}
    assert logs()["ctr.log"].samefile(logs()["ctr.log.now"])
    assert sizes["ctr.log.1"] > most // 2, "the full one is kept"
    assert all(size <= most for size in sizes.values())
    size, turns = wait_until(told, timeout_s=10, reason="it is told", every_s=0.2)
    assert 0 < size <= 2 * most
    assert turns >= 5
    clean.wait_running(one.name)


def _tail(file: Path) -> bytes:
    with suppress(FileNotFoundError), file.open("rb") as log:
        log.seek(0, os.SEEK_END)
        log.seek(max(log.tell() - 200, 0))
        return log.read()
    return b""


def test_a_death_moves_only_its_own_flows(clean: PopLab) -> None:
    """Of thirty established connections over three instances, those of the survivors live on, also while a new one
    joins (invariant 11).
    """
    instances = [fresh(n, _shell(ECHO)) for n in range(3)]
    clean.give(*instances[:2])
    clean.wait_running(*(i.name for i in instances[:2]))
    wait_until(lambda: _hops(clean) == 2, timeout_s=5, reason="two next hops")
    flows = [Flow(clean) for _ in range(30)]
    try:
        assert {f.host for f in flows} == {i.name for i in instances[:2]}
        clean.give(*instances)
        clean.wait_running(instances[2].name)
        wait_until(lambda: _hops(clean) == 3, timeout_s=5, reason="three next hops")
        assert all(f.lives() for f in flows), "a newcomer moved a flow"
        os.kill(container_pids(clean)[instances[0].name], signal.SIGKILL)
        wait_until(lambda: _hops(clean) == 2, timeout_s=2, reason="the dead one is out", every_s=0.001)
        assert all(f.lives() for f in flows if f.host == instances[1].name), "a death moved another's flow"
    finally:
        for flow in flows:
            flow.close()


def test_only_open_ports_are_reached_and_the_way_out_is_free(clean: PopLab) -> None:
    """A port without open_to_all is closed to the outside, its neighbour is open, and the instance reaches the
    outside.
    """
    ports = (Port(name="http", port=80, open_to_all=True), Port(name="admin", port=81))
    both = _shell(f"{SERVE}; httpd -p 81 -h /www", ports=ports)
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


def test_what_others_take_away_comes_back(clean: PopLab) -> None:
    """A deleted route, a deleted cover and a killed BIRD are mended at once; the agent's routes survive BIRD's
    death.
    """
    only = fresh(0)
    clean.give(only)
    clean.wait_running(only.name)
    wait_until(lambda: clean.upstreams.routes("one", COVER4), timeout_s=5, reason="it is announced")
    ip.batch(
        [f"route del {external(only)}/32 proto 158", f"route del unreachable {COVER4} proto 158 metric 4000000"],
        netns=clean.router,
    )
    wait_until(lambda: clean.get(external(only)) == only.name, timeout_s=3, reason="the external route is back")
    wait_until(lambda: clean.kernel("route", "show", "exact", str(COVER4)), timeout_s=3, reason="the cover is back")
    process.end(clean.state / "bird" / "bird.pid", grace_s=0)
    wait_until(lambda: not clean.upstreams.routes("one", COVER4), timeout_s=5, reason="the upstream saw BIRD die")
    assert clean.members(ANYCAST4) == 1
    wait_until(lambda: clean.upstreams.routes("one", COVER4), timeout_s=15, reason="a new BIRD announces it")


def test_rules_that_somebody_takes_out_are_back_at_once(clean: PopLab) -> None:
    """All rules, one chain's, one element, or one of the few that say who may speak BGP: the kernel tells of it, what
    is missing comes back without a look being asked for, and it is told as drift. Another's table is left alone.
    """
    only = fresh(0)
    clean.give(only)
    clean.wait_running(only.name)
    name, told = f"anypop_{clean.prefix}", len(clean.control.reports)
    rules = [netns.command(clean.router, "nft", "-s", "list", "table", family, name) for family in ("inet", "arp")]

    def loaded() -> list[str]:
        with suppress(WorldError):
            return [process.run(words) for words in rules]
        return []

    before = loaded()
    assert before
    own = f'{{ "{link_of(only.uid)}" . {external(only)} }}'
    for harm in (
        "flush ruleset\nadd table inet theirs",
        f"flush chain inet {name} sources",
        f"delete element inet {name} own4 {own}",
        f"flush set inet {name} neighbors4",
        f"delete table arp {name}",
    ):
        process.run(netns.command(clean.router, "nft", "-f", "-"), stdin=harm + "\n")
        wait_until(lambda: loaded() == before, timeout_s=5, reason=f"mended: {harm}")
    wait_until(
        lambda: any("SetFirewall in lane firewall" in report.drift for report in clean.control.reports[told:]),
        timeout_s=5,
        reason="it is told",
    )
    assert "inet theirs" in process.run(netns.command(clean.router, "nft", "list", "tables"))
    process.run(netns.command(clean.router, "nft", "delete table inet theirs"))


def test_a_link_that_somebody_changed_is_mended(clean: PopLab) -> None:
    """Its device group by the kernel's own word, its neighbours and what it answers for with the next full look; its
    process goes on.
    """
    only = fresh(0)
    clean.give(only)
    clean.wait_running(only.name)
    link, pids = link_of(only.uid), container_pids(clean)
    (group,) = {row["group"] for row in clean.kernel("link", "show", "dev", link)}
    ip.batch([f"link set dev {link} group 0"], netns=clean.router)
    wait_until(
        lambda: clean.kernel("link", "show", "dev", link)[0]["group"] == group, timeout_s=5, reason="the group is back"
    )

    def neighbours() -> list[str]:
        return sorted(row["dst"] for row in clean.kernel("neigh", "show", "dev", link, "nud", "permanent"))

    def ignoring() -> str:
        path = f"/proc/sys/net/ipv4/conf/{link}/arp_ignore"
        return process.run(netns.command(clean.router, "cat", path)).strip()

    known = sorted(str(a.private) for a in only.addresses())
    assert (neighbours(), ignoring()) == (known, "1")
    ip.batch([f"neigh del {known[0]} dev {link}"], netns=clean.router)
    process.run(netns.command(clean.router, "sh", "-c", f"echo 0 > /proc/sys/net/ipv4/conf/{link}/arp_ignore"))
    os.kill(clean.agent_pid(), signal.SIGUSR1)
    wait_until(lambda: (neighbours(), ignoring()) == (known, "1"), timeout_s=5, reason="the link is mended")
    assert container_pids(clean) == pids


def test_a_full_look_mends_what_no_event_told_of_and_says_so(clean: PopLab) -> None:
    """All rules that somebody flushed, and a changed kernel setting that no event tells of, come back, and are told as
    drift.
    """
    only = fresh(0)
    clean.give(only)
    clean.wait_running(only.name)
    listing = netns.command(clean.router, "nft", "-s", "list", "ruleset")

    def rules() -> list[str]:
        """One text for each table: which of them comes first is nobody's business."""
        return sorted(table.strip() for table in ("\n" + process.run(listing)).split("\ntable "))

    with netns.inside(clean.router), closing(ErrorWays(clean.prefix)) as errors:

        def led() -> bool:
            tables = errors.look() or {}
            return all((t := tables[v]) is not None and set(t.links) == {link_of(only.uid)} for v in (4, 6))

        wait_until(led, timeout_s=5, reason="errors are led to it")
    before, told = rules(), len(clean.control.reports)
    process.run(netns.command(clean.router, "nft", "flush", "ruleset"))
    process.run(netns.command(clean.router, "sh", "-c", f"echo 0 > {HASH_POLICY}"))
    os.kill(clean.agent_pid(), signal.SIGUSR1)
    wait_until(lambda: rules() == before, timeout_s=5, reason="the firewall is back")
    mended = {"SetFirewall in lane firewall", "PrepareRouter in lane router"}
    wait_until(
        lambda: mended <= {word for report in clean.control.reports[told:] for word in report.drift},
        timeout_s=5,
        reason="the drift is told",
    )
    policy = process.run(netns.command(clean.router, "cat", HASH_POLICY))
    assert policy.strip() == "3"
    os.kill(clean.agent_pid(), signal.SIGUSR1)
    wait_until(
        lambda: clean.control.report and not clean.control.report.drift,
        timeout_s=5,
        reason="then nothing is left to mend",
    )


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
        wait_until(lambda: led(first, second), timeout_s=5, reason="both are led to")
        before = errors.look()
        table = errors_table(clean.prefix)
        for spoil in (
            f"flush chain ip {table} error",
            f"delete element ip6 {table} anycast {{ {ANYCAST6} }}",
            f"delete table ip6 {table}",
        ):
            process.run(netns.command(clean.router, "nft", spoil))
            assert errors.look() != before
            os.kill(clean.agent_pid(), signal.SIGUSR1)
            wait_until(lambda: errors.look() == before, timeout_s=5, reason=f"mended after: {spoil}")
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
    wait_until(lambda: tables() == f"table inet {INSIDE_TABLE}", timeout_s=5, reason="its answers are kept")
    with netns.inside(clean.router):
        wait_until(lambda: is_right(clean.prefix, udp.uid, inside_for(udp)), timeout_s=5, reason="with its settings")
    told = wait_until(lambda: (r := clean.reported(udp.name)) and r.message, timeout_s=5, reason="it is told")
    assert told == f"not asked: UDP 53 (a dns or udp readiness probe does); {UDP_IS_KEPT}"
    process.run(netns.command(space, "nft", "delete", "table", "inet", INSIDE_TABLE))
    process.run(netns.command(space, "sh", "-c", "echo 0 > /proc/sys/net/ipv4/tcp_mtu_probing"))
    os.kill(clean.agent_pid(), signal.SIGUSR1)
    wait_until(lambda: tables() and probing() == "1", timeout_s=5, reason="both are back")
    clean.give(plain)
    wait_until(lambda: tables() == "", timeout_s=5, reason="nothing is kept any more")
    assert container_pids(clean)[plain.name] == pid


def test_an_application_of_ipv4_alone_is_announced_in_ipv4_and_told_why_not_in_ipv6(clean: PopLab) -> None:
    """It asks for both families and serves one. Who joins beside it is asked over its own link: nobody answers in its
    place.
    """
    only = fresh(0, _shell("hostname > /www/index.html; httpd -p 0.0.0.0:80 -h /www"))
    mute = fresh(1, _shell("true"))
    clean.give(only, mute)
    clean.wait_running(only.name)
    wait_until(lambda: clean.upstreams.routes("one", COVER4), timeout_s=5, reason="IPv4 is announced")

    def six() -> PrefixReport | None:
        return clean.reported_prefix(COVER6)

    wait_until(lambda: (p := six()) and p.reason is Reason.FAMILY_SILENT, timeout_s=5, reason="it is said why not IPv6")
    told = wait_until(lambda: (r := clean.reported(only.name)) and r.message, timeout_s=5, reason="and by what")
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
    bound = fresh(0, _shell(f"hostname > /www/index.html; httpd -p {ANYCAST4}:80 -h /www"))
    probe = Probe(kind=ProbeKind.DNS, port=53, request="example", record="A", period_s=0.05, timeout_s=0.5)
    ports = (Port(name="dns", port=53, protocol=Protocol.UDP, open_to_all=True),)
    dns = fresh(1, replace(_shell("true"), ports=ports, readiness=probe))
    clean.give(bound, dns)
    clean.wait_running(bound.name)
    wait_until(lambda: clean.get(ANYCAST4) == bound.name, timeout_s=5, reason="it is served")
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
            told = clean.reported(dns.name)
            assert told is not None
            assert [(f.version, f.healthy) for f in told.families] == [(4, True), (6, True)]
            for words in ("-6 rule del pref 57", "-6 route flush table 158256"):
                process.run(netns.command(clean.router, "ip", *words.split()))
            wait_until(
                lambda: clean.kernel("-6", "route", "show", "table", "158256"),
                timeout_s=5,
                reason="a question that found no way makes it anew",
            )
            clean.wait_running(dns.name)
        finally:
            over.set()
            thread.join()
    wait_until(lambda: (r := clean.reported(dns.name)) and not r.healthy, timeout_s=5, reason="it is ill")


def test_containers_of_an_instance_share_its_network(clean: PopLab) -> None:
    """A second container reaches the first on 127.0.0.1, by an exec probe; the death of either takes the instance out
    and heals alone.
    """
    asks = Probe(kind=ProbeKind.EXEC, command=("/bin/sh", "-c", "echo GET / | nc 127.0.0.1 80"), period_s=0.2)
    side = replace(web(), name="side", ports=(), command=("/bin/sh", "-c", STAY), readiness=asks)
    only = replace(fresh(0), payload=Containers(containers=(web(), side)))
    clean.give(only)
    clean.wait_running(only.name)
    seen = clean.reported(only.name)
    assert seen is not None
    assert [(c.name, c.ready) for c in seen.containers] == [("web", True), ("side", True)]
    rows = clean.podman.ask("GET", "/containers/json").json()
    pids = {row["Labels"]["anypop.container"]: int(row["Pid"]) for row in rows}
    os.kill(pids["side"], signal.SIGKILL)
    wait_until(lambda: _hops(clean) == 0, timeout_s=2, reason="half an instance gets no traffic", every_s=0.001)
    wait_until(lambda: _hops(clean) == 1, timeout_s=15, reason="it is whole again")
    assert process.start_time(pids["web"]) is not None


def test_bad_orders_are_refused_and_said(clean: PopLab) -> None:
    """An order that drops an instance without a token changes nothing and is reported as refused (invariants 6, 14)."""
    only = fresh(0)
    clean.give(only)
    clean.wait_running(only.name)
    clean.give()
    wait_until(
        lambda: clean.control.report and clean.control.report.refused is Reason.SHRINKS_WITHOUT_TOKEN,
        timeout_s=5,
        reason="it is refused",
    )
    assert clean.get(external(only)) == only.name
    clean.give(only)
    wait_until(
        lambda: clean.control.report and clean.control.report.refused is None,
        timeout_s=5,
        reason="a whole order is taken",
    )


def test_teardown_leaves_nothing_even_when_podman_and_bird_are_dead() -> None:
    """The cleaning command removes processes, namespaces, links, routes, rules; also with every daemon killed
    before.
    """
    lab = PopLab("agtd")
    try:
        lab.start_agent()
        only = instance(0)
        lab.give(only)
        lab.wait_running(only.name)
        pid = container_pids(lab)[only.name]
        lab.kill_agent()
        process.end(lab.state / "bird" / "bird.pid", grace_s=0)
        lab.podman.kill()
        lab.teardown()
        assert process.start_time(pid) is None
        assert not netns.names(f"{lab.prefix}-i-")
        assert not lab.kernel("route", "show", "proto", "158")
        assert not lab.kernel("nexthop")
        assert not _learnt(lab)
        assert [row["priority"] for row in lab.kernel("rule", "show")] == [0, 32766, 32767]
        assert [row["priority"] for row in lab.kernel("-6", "rule", "show")] == [0, 32766]
        assert [row["ifname"] for row in lab.kernel("link")] == ["lo", "up-one"]
        rules = process.run(netns.command(lab.router, "nft", "list", "ruleset"))
        assert rules.strip() == ""
        lab.teardown()  # once more is harmless
    finally:
        lab.close()


def test_a_killed_bird_moves_no_flow_where_the_neighbour_can_wait() -> None:
    """A neighbour without BFD keeps the routes of a BIRD that was killed until the agent's next one has told them
    again (RFC 4724), and the kernel keeps what it learnt; a BIRD that is ended properly leaves nothing.
    """
    lab = PopLab("agtg", ("nobfd",))
    try:
        lab.start_agent()
        only = instance(0)
        lab.give(only)
        lab.wait_running(only.name)
        wait_until(lambda: lab.upstreams.routes("nobfd", COVER4), timeout_s=10, reason="it is announced")
        wait_until(lambda: lab.upstreams.routes("nobfd", COVER6), timeout_s=5, reason="it is announced by IPv6")
        bird = lab.state / "bird" / "bird.pid"
        pid = process.alive(bird)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        lost: list[str] = []

        def told_again() -> bool:
            lost.extend(str(p) for p in (COVER4, COVER6) if not lab.upstreams.routes("nobfd", p))
            lost.extend([] if _learnt(lab) else ["a learnt route"])
            return "Graceful restart done" in (lab.state / "bird" / "bird.log").read_text()

        wait_until(told_again, timeout_s=15, reason="a new BIRD has told them again", every_s=0.005)
        assert not lost
        process.end(bird)
        wait_until(lambda: not lab.upstreams.routes("nobfd", COVER4), timeout_s=5, reason="an orderly end withdraws")
    finally:
        lab.close()
