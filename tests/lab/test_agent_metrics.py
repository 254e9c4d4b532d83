"""The metrics of a host that really runs: the text on its socket, read by the library's own parser, against what the
kernel's own programs say.
"""

import json
import os
import re
import signal
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from anypop.agent.naming import link_of, traffic_table
from anypop.agent.samples.rows import Wanted
from anypop.agent.samples.tiers import Tiers
from anypop.host import birdc, process
from anypop.model.metrics import METRICS
from tests.agent_lab import ANYCAST4, ANYCAST6, PopLab, external, instance
from tests.wait import wait_until

pytestmark = pytest.mark.lab
ONE, TWO = instance(0), instance(1)
OF_ONE = {
    "pop": "LHR", "host": "LHR", "stack": "", "workload": "w1", "instance": ONE.name, "incarnation": ONE.uid,
}  # fmt: skip
ROOT = Path("/sys/fs/cgroup")


@pytest.fixture(scope="module")
def pop() -> Iterator[PopLab]:
    pop = PopLab("agx")
    try:
        pop.give(ONE, TWO)
        pop.start_agent()
        pop.wait_running(ONE.name, TWO.name)
        wait_until(
            lambda: all(pop.get(a) for a in (external(ONE), ANYCAST4, ANYCAST6)), timeout_s=30,
            reason="the upstream has heard of all of it",
        )  # fmt: skip
        yield pop
    finally:
        pop.close()


def told(pop: PopLab) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """All samples, as the official parser reads them; it raises where the text is none."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as plain:
        plain.settimeout(10)
        plain.connect(str(pop.state / "metrics.sock"))
        plain.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = b"".join(iter(lambda: plain.recv(1 << 16), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"application/openmetrics-text" in head
    families = text_string_to_metric_families(body.decode())  # type: ignore[no-untyped-call]
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for f in families for s in f.samples}


def value(pop: PopLab, name: str, labels: Mapping[str, str]) -> float | None:
    return told(pop).get((name, tuple(sorted(labels.items()))))


def is_the_kernels(pop: PopLab, name: str, labels: Mapping[str, str], kernel: Callable[[], float]) -> float:
    """A counter is told as the kernel has it: not behind what it had before, nor ahead of what it has now."""
    before = kernel()
    found = wait_until(
        lambda: v if (v := value(pop, name, labels)) is not None and v >= before else None,
        timeout_s=20, reason=f"{name} reaches the kernel's {before}",
    )  # fmt: skip
    assert before <= found <= kernel()
    return found


def group(pid: int, controller: str) -> Path:
    """The folder of a process's control group."""
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        if controller in names.split(","):
            return ROOT / controller / path.lstrip("/")
    path = next(line for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines() if line.startswith("0::"))
    return ROOT / path[4:]


def pid_of(pop: PopLab, uid: str) -> int:
    name = f"{pop.prefix}-{uid[:10]}-web"
    return int(pop.podman.ask("GET", f"/containers/{name}/json").json()["State"]["Pid"])


def processor_s(pid: int) -> float:
    folder = group(pid, "cpuacct")
    if (folder / "cpuacct.usage").exists():
        return int((folder / "cpuacct.usage").read_text()) // 1000 / 1e6
    return int(re.findall(r"usage_usec (\d+)", (folder / "cpu.stat").read_text())[0]) / 1e6


def test_every_series_is_one_of_those_that_are_documented(pop: PopLab) -> None:
    """And those of the table of instances are there for each instance."""

    def all_there() -> bool:
        names = {name for name, labels in told(pop) if dict(labels).get("incarnation") == TWO.uid}
        return len([n for n in names if n.startswith("anypop_instance_")]) == 9

    wait_until(all_there, timeout_s=20, reason="all metrics of an instance are told")
    pages = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
    for name, labels in told(pop):
        plain = re.sub(r"_(bucket|count|sum|created)$", "", name)
        assert name in METRICS or plain == "anypop_agent_pass_seconds"
        assert f"`{plain}`" in pages, f"{plain} is not in docs/metrics.md"
        assert {"pop", "host"} <= dict(labels).keys()


def test_processor_time_and_links_are_the_kernels(pop: PopLab) -> None:
    """Of an instance that was just asked a lot; its links as it sees them itself."""
    pid = pid_of(pop, ONE.uid)
    for _ in range(20):
        assert pop.get(external(ONE), timeout_s=10) == ONE.name
    assert is_the_kernels(pop, "anypop_instance_cpu_seconds_total", OF_ONE, lambda: processor_s(pid)) > 0

    def link(way: str, what: str) -> Callable[[], float]:
        def read() -> float:
            (row,) = pop.kernel("-s", "link", "show", "dev", link_of(ONE.uid))
            return float(row["stats64"][way][what])

        return read

    for metric, way in (("receive", "tx"), ("transmit", "rx")):
        for what in ("bytes", "packets"):
            name = f"anypop_instance_network_{metric}_{what}_total"
            assert is_the_kernels(pop, name, OF_ONE, link(way, what)) > 0
    limit = 64 << 20
    assert 0 < (value(pop, "anypop_instance_memory_bytes", OF_ONE) or 0) < limit
    assert 0 < (value(pop, "anypop_instance_probe_seconds", OF_ONE) or 0) < 1


@pytest.mark.parametrize("address", [ANYCAST4, ANYCAST6], ids=["IPv4", "IPv6"])
def test_each_flow_to_an_anycast_address_is_counted_once(pop: PopLab, address: object) -> None:
    """By the member that got it; what probes ask, and what goes to an instance's own address, is none of it."""

    def flows() -> dict[str, float]:
        rows = told(pop).items()
        kept = ((dict(labels), v) for (name, labels), v in rows if name == "anypop_anycast_new_flows_total")
        return {labels["member"]: v for labels, v in kept if labels["address"] == str(address)}

    before, got = flows(), dict[str, int]()
    for _ in range(12):
        name = pop.get(address, timeout_s=10)
        got[name] = got.get(name, 0) + 1
        assert pop.get(external(ONE), timeout_s=10) == ONE.name
    wanted = {name: before.get(name, 0) + n for name, n in got.items()}
    wait_until(lambda: (before | wanted) == flows(), timeout_s=20, reason=f"flows by member are {wanted}")
    version = getattr(address, "version", 0)

    def apart() -> list[tuple[str, object, object]]:
        """What is told otherwise than the kernel has it: the end of a connection may come after a row was counted."""
        ruleset = json.loads(
            process.run(["nsenter", f"--net=/run/netns/{pop.router}", "nft", "-j", "list", "table", "inet",
                         traffic_table(pop.prefix)])
        )["nftables"]  # fmt: skip
        (led,) = (row["set"] for row in ruleset if row.get("set", {}).get("name") == f"led{version}")
        found = list[tuple[str, object, object]]()
        for element in (row["elem"] for row in led["elem"]):
            link, to = element["val"]["concat"]
            if to == str(address):
                member = ONE if link == link_of(ONE.uid) else TWO
                labels = OF_ONE | {
                    "instance": member.name, "incarnation": member.uid, "member": member.name, "address": to,
                }  # fmt: skip
                for what in ("bytes", "packets"):
                    found.append((what, value(pop, f"anypop_anycast_{what}_total", labels), element["counter"][what]))
        assert found
        return [row for row in found if row[1] != row[2]]

    wait_until(lambda: not apart(), timeout_s=60, reason="bytes and packets are the kernel's")


def test_sessions_are_told_as_the_speaker_has_them(pop: PopLab) -> None:
    """A session that is lost and comes back is one flap."""
    way = {"pop": "LHR", "host": "LHR", "upstream": "one", "family": "4"}

    def is_told(name: str, wanted: float, **more: str) -> None:
        wait_until(
            lambda: value(pop, f"anypop_session_{name}", way | more) == wanted, timeout_s=30, reason=f"{name} {wanted}"
        )

    is_told("up", 1)
    is_told("bfd_up", 1)
    is_told("prefixes", 2, direction="out")
    is_told("prefixes", 1, direction="in")
    is_told("flaps_total", 0)
    birdc.ask(pop.folder / "one.ctl", "restart b4")
    is_told("flaps_total", 1)
    is_told("up", 1)


def test_processor_time_goes_on_when_a_container_is_started_anew(pop: PopLab) -> None:
    """And an agent that begins anew goes on where the one before it was."""
    name = "anypop_instance_cpu_seconds_total"
    before = value(pop, name, OF_ONE) or 0
    assert before > 0
    os.kill(pid_of(pop, ONE.uid), signal.SIGKILL)
    wait_until(
        lambda: value(pop, "anypop_instance_restarts_total", OF_ONE) == 1, timeout_s=20, reason="one restart is told"
    )
    pop.wait_running(ONE.name)
    pid = pid_of(pop, ONE.uid)
    wait_until(
        lambda: (value(pop, name, OF_ONE) or 0) >= before + processor_s(pid) / 2, timeout_s=20,
        reason="the sum of both lives is told",
    )  # fmt: skip
    known = value(pop, name, OF_ONE) or 0
    pop.kill_agent()
    pop.start_agent()
    again = wait_until(lambda: value_or_none(pop, name), timeout_s=30, reason="the next agent tells it")
    assert known <= again < known + 10 and pid_of(pop, ONE.uid) == pid
    kept = Tiers(pop.state / "samples").ask(0, 10**15, 1000, Wanted(names=(name,), uids=(ONE.uid,)))
    values = [v for points in kept for v in points.values]
    assert len(values) > 3 and values == sorted(values) and values[-1] <= again


def value_or_none(pop: PopLab, name: str) -> float | None:
    with suppress(OSError):  # its socket is not there yet
        return value(pop, name, OF_ONE)
    return None
