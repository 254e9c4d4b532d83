"""The agent and its instances: what it starts, restarts and ends, and what it mends that somebody else spoilt.

Also across its own death, a reboot and the absence of control.
"""

import os
import signal
import socket
import threading
from contextlib import closing, suppress
from dataclasses import replace
from difflib import unified_diff
from functools import partial
from pathlib import Path

import pytest

from anypop.agent.act.network.error_ways import ErrorWays
from anypop.agent.act.network.namespaces import is_namespace
from anypop.agent.naming import link_of, namespace_of
from anypop.host import ip, netns, process
from anypop.model.confinement import InstanceRules
from anypop.model.errors import WorldError
from anypop.model.order import Containers
from anypop.model.reasons import Reason
from anypop.model.workload import Probe, ProbeKind
from tests.agent_lab import ANYCAST4, COVER4, PopLab, container_pids, external, instance, times_apart, web
from tests.agent_pop import fresh, group_size, learnt_routes, shell
from tests.podman_service import SERVE, STAY
from tests.wait import wait_until

pytestmark = pytest.mark.lab

HASH_POLICY = "/proc/sys/net/ipv4/fib_multipath_hash_policy"


def test_a_killed_agent_comes_back_and_changes_nothing(clean: PopLab) -> None:
    """kill -9 and a new start: the same processes, next hops, BGP sessions and routes; no container is restarted
    (invariants 1, 12).
    """
    first, second = fresh(0), fresh(1)
    clean.give(first, second)
    clean.wait_running(first.name, second.name)
    wait_until(lambda: clean.upstreams.routes("one", COVER4), timeout_s=20, reason="it is announced")
    before = (container_pids(clean), clean.kernel("nexthop"))
    routes, since = times_apart(clean.upstreams.routes("one", COVER4))
    clean.kill_agent()
    assert clean.get(ANYCAST4)
    count = len(clean.control.reports)
    clean.start_agent()
    wait_until(lambda: len(clean.control.reports) > count, timeout_s=10, reason="the new agent reports")
    clean.wait_running(first.name, second.name)
    assert (container_pids(clean), clean.kernel("nexthop")) == before
    assert times_apart(clean.upstreams.routes("one", COVER4)) == (routes, pytest.approx(since, abs=0.1))


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
    """Agent, BIRD, BFD and applications are dead, namespaces, links, routes and rules gone, control away: the last
    order on disk brings back every instance and every announcement (invariants 1, 13).
    """
    first, second = fresh(0), fresh(1)
    clean.give(first, second)
    clean.wait_running(first.name, second.name)
    wait_until(lambda: clean.upstreams.routes("one", COVER4), timeout_s=20, reason="it is announced")
    clean.control.away = True
    try:
        clean.kill_agent()
        for name in ("bird.pid", "bfd/bfd.pid"):
            process.end(clean.state / "bird" / name, grace_s=0, group=True)
        for pid in container_pids(clean).values():
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
        wait_until(lambda: not clean.upstreams.routes("one", COVER4), timeout_s=9, reason="the upstream saw it go")
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
    one = fresh(0, shell(flood))
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
    wait_until(
        lambda: (
            set(found := logs()) == {"ctr.log", "ctr.log.1", "ctr.log.now"}
            and found["ctr.log"].samefile(found["ctr.log.now"])
        ),
        timeout_s=20,
        reason=lambda: f"the log that is written and the one before it are kept: {sorted(logs())}",
    )
    most = InstanceRules().log_bytes
    sizes = {name: file.stat().st_size for name, file in logs().items()}
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


def test_what_others_take_away_comes_back(clean: PopLab) -> None:
    """A deleted route, a deleted cover and a killed BIRD are mended at once; the agent's routes survive BIRD's death,
    and so does what was announced.
    """
    only = fresh(0)
    clean.give(only)
    clean.wait_running(only.name)
    wait_until(lambda: clean.upstreams.routes("one", COVER4), timeout_s=20, reason="it is announced")
    ip.batch(
        [f"route del {external(only)}/32 proto 158", f"route del unreachable {COVER4} proto 158 metric 4000000"],
        netns=clean.router,
    )
    wait_until(lambda: clean.get(external(only)) == only.name, timeout_s=9, reason="the external route is back")
    wait_until(lambda: clean.kernel("route", "show", "exact", str(COVER4)), timeout_s=9, reason="the cover is back")
    bird = clean.state / "bird" / "bird.pid"
    killed = process.alive(bird)
    os.kill(killed or 0, signal.SIGKILL)
    wait_until(lambda: process.alive(bird) not in (None, killed), timeout_s=9, reason="a new BIRD runs")
    assert clean.members(ANYCAST4) == 1
    wait_until(lambda: _stand(clean), timeout_s=15, reason="its sessions stand")
    assert clean.upstreams.routes("one", COVER4)


def _stand(pop: PopLab) -> bool:
    report = pop.control.report
    return report is not None and all(s.state == "established" for s in report.sessions)


def test_a_name_and_a_speaker_that_somebody_takes_are_back_by_their_own_event(clean: PopLab) -> None:
    """The instance whose namespace lost its name goes on as the same process, and nobody misses it; a BIRD that is
    stopped, which no kernel tells of, is found within a second or so, and another one speaks.
    """
    only = fresh(0)
    clean.give(only)
    clean.wait_running(only.name)
    wait_until(lambda: clean.upstreams.routes("one", COVER4), timeout_s=20, reason="it is announced")
    path = netns.path_of(namespace_of(clean.prefix, only.uid))
    space, pids = path.stat().st_ino, container_pids(clean)
    ip.batch([f"netns del {path.name}"])
    wait_until(lambda: is_namespace(path), timeout_s=9, reason="the name is back")
    assert path.stat().st_ino == space
    assert container_pids(clean) == pids
    assert clean.get(external(only)) == only.name
    bird = clean.state / "bird" / "bird.pid"
    pid = process.alive(bird)
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: process.alive(bird) not in (None, pid), timeout_s=9, reason="another BIRD runs")
    wait_until(lambda: clean.upstreams.routes("one", COVER4), timeout_s=15, reason="it announces")


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

    def missing(harm: str) -> str:
        return f"mended: {harm}\n{_difference(before, loaded())}\n{clean.agent_log()}"

    before = loaded()
    assert before
    own = f'{{ "{link_of(only.uid)}" . {external(only)} }}'
    nft = netns.command(clean.router, "nft", "-f", "-")
    for harm in (
        "flush ruleset\nadd table inet theirs",
        f"flush chain inet {name} sources",
        f"delete element inet {name} own4 {own}",
        f"flush set inet {name} neighbors4",
        f"delete table arp {name}",
    ):
        process.run(nft, stdin=harm + "\n")
        wait_until(lambda: loaded() == before, timeout_s=9, reason=partial(missing, harm))
    for n in range(12):  # at any moment of what mends the one before
        first, second = f"flush set inet {name} neighbors4", f"delete table arp {name}"
        process.run(nft, stdin=first + "\n")
        if n % 4:
            threading.Event().wait(0.03 * n)
        process.run(nft, stdin=second + "\n")
        wait_until(lambda: loaded() == before, timeout_s=9, reason=partial(missing, second))
    wait_until(
        lambda: any("SetFirewall in lane firewall" in report.drift for report in clean.control.reports[told:]),
        timeout_s=9,
        reason="it is told",
    )
    assert "inet theirs" in process.run(netns.command(clean.router, "nft", "list", "tables"))
    process.run(netns.command(clean.router, "nft", "delete table inet theirs"))


def _difference(wanted: list[str], found: list[str]) -> str:
    return "\n".join(unified_diff("\n".join(wanted).splitlines(), "\n".join(found).splitlines(), lineterm="", n=1))


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
        lambda: clean.kernel("link", "show", "dev", link)[0]["group"] == group, timeout_s=9, reason="the group is back"
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
    wait_until(lambda: (neighbours(), ignoring()) == (known, "1"), timeout_s=9, reason="the link is mended")
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

        wait_until(led, timeout_s=20, reason="errors are led to it")
    before, told = rules(), len(clean.control.reports)
    process.run(netns.command(clean.router, "nft", "flush", "ruleset"))
    process.run(netns.command(clean.router, "sh", "-c", f"echo 0 > {HASH_POLICY}"))
    os.kill(clean.agent_pid(), signal.SIGUSR1)
    wait_until(
        lambda: rules() == before, timeout_s=9,
        reason=lambda: f"the firewall is back\n{_difference(before, rules())}\n{clean.agent_log()}",
    )  # fmt: skip
    mended = {"SetFirewall in lane firewall", "PrepareRouter in lane router"}
    wait_until(
        lambda: mended <= {word for report in clean.control.reports[told:] for word in report.drift},
        timeout_s=9,
        reason="the drift is told",
    )
    policy = process.run(netns.command(clean.router, "cat", HASH_POLICY))
    assert policy.strip() == "3"
    os.kill(clean.agent_pid(), signal.SIGUSR1)
    wait_until(
        lambda: clean.control.report and not clean.control.report.drift,
        timeout_s=9,
        reason="then nothing is left to mend",
    )


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
    wait_until(lambda: group_size(clean) == 0, timeout_s=2, reason="half an instance gets no traffic", every_s=0.001)
    wait_until(lambda: group_size(clean) == 1, timeout_s=15, reason="it is whole again")
    assert process.start_time(pids["web"]) is not None


def test_bad_orders_are_refused_and_said(clean: PopLab) -> None:
    """An order that drops an instance without a token changes nothing and is reported as refused (invariants 6, 14)."""
    only = fresh(0)
    clean.give(only)
    clean.wait_running(only.name)
    clean.give()
    wait_until(
        lambda: clean.control.report and clean.control.report.refused is Reason.SHRINKS_WITHOUT_TOKEN,
        timeout_s=9,
        reason="it is refused",
    )
    assert clean.get(external(only)) == only.name
    clean.give(only)
    wait_until(
        lambda: clean.control.report and clean.control.report.refused is None,
        timeout_s=9,
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
        assert not learnt_routes(lab)
        assert [row["priority"] for row in lab.kernel("rule", "show")] == [0, 32766, 32767]
        assert [row["priority"] for row in lab.kernel("-6", "rule", "show")] == [0, 32766]
        assert [row["ifname"] for row in lab.kernel("link")] == ["lo", "up-one"]
        rules = process.run(netns.command(lab.router, "nft", "list", "ruleset"))
        assert rules.strip() == ""
        lab.teardown()  # once more is harmless
    finally:
        lab.close()
