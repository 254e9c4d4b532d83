"""The life of containers on a real host: what runs before, beside and at the end, seen in /proc and inside."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from anypop.agent.naming import namespace_of
from anypop.host import netns
from anypop.model.order import Containers, InstanceOrder
from anypop.model.reasons import Reason
from anypop.model.report import ContainerReport, Phase
from anypop.model.workload import Container, Probe, ProbeKind
from tests.agent_lab import PopLab, instance, tokens
from tests.podman_service import SERVE, STAY, WEB
from tests.wait import wait_until

pytestmark = pytest.mark.lab
DEAF = "trap 'echo term >> /tmp/told' TERM; while true; do sleep 0.1; done"
OF_THE_NETWORK = "/proc/sys/net/ipv4/tcp_fin_timeout"  # what the second init container waits for


def sh(name: str, script: str, **more: object) -> Container:
    sizes = {"cpu_millis": 500, "memory_bytes": 64 << 20}
    return Container(name=name, image=WEB, command=("/bin/sh", "-c", script), **(sizes | more))  # type: ignore[arg-type]


def inside(script: str, **more: float) -> Probe:
    return Probe(kind=ProbeKind.EXEC, command=("/bin/sh", "-c", script), **more)  # type: ignore[arg-type]


def made_of(n: int, *containers: Container, **more: object) -> InstanceOrder:
    return replace(instance(n, anycast=False), payload=Containers(containers=containers, **more))  # type: ignore[arg-type]


IN_ORDER = made_of(
    0,
    sh("web", f"{SERVE}; {STAY}"),
    init=(sh("one", "sleep 0.3"), sh("two", f"test $(cat {OF_THE_NETWORK}) = 17")),
)
HOOKED = made_of(
    1,
    sh(
        "web",
        f"test -e /tmp/begun && echo early > /tmp/told; {DEAF}",
        post_start=inside("sleep 0.3; echo begun >> /tmp/begun"),
        pre_stop=inside("sleep 0.3; echo pre >> /tmp/told"),
        readiness=inside("cat /tmp/begun", period_s=0.1),
    ),
    sh(
        "beside",
        f"(printf 'HTTP/1.1 200 OK\\r\\n\\r\\n' | nc -l -p 81 > /tmp/asked) & {DEAF}",
        pre_stop=Probe(kind=ProbeKind.HTTP, port=81, path="/bye"),
    ),
    grace_s=2,
)
SLOW = made_of(
    2,
    sh(
        "web",
        f"sleep 1.2; echo up > /tmp/up; {STAY}",
        startup=inside("cat /tmp/up", period_s=1, failure_threshold=20),
        liveness=inside("cat /tmp/up", period_s=0.1, failure_threshold=1),
    ),
)
SAYS = made_of(
    3,
    sh("file", "echo out of cheese > /dev/termination-log; exit 3", message_path="/dev/termination-log"),
    sh("log", "echo last words; exit 4", message_path="/why", message_from_log=True),
    sh("hook", STAY, post_start=inside("exit 5")),
)
TOGETHER = made_of(4, sh("a", f"{SERVE}; {STAY}"), sh("b", STAY), shared_processes=True)
ALL = (IN_ORDER, HOOKED, SLOW, SAYS, TOGETHER)


@pytest.fixture(scope="module")
def lab() -> Iterator[PopLab]:
    lab = PopLab("lif")
    try:
        lab.start_agent()
        lab.give(*ALL)
        yield lab
    finally:
        lab.close()


def told(lab: PopLab, order: InstanceOrder, container: str) -> ContainerReport | None:
    report = lab.reported(order.name)
    return next((c for c in report.every_container if c.name == container), None) if report is not None else None


def history(lab: PopLab, order: InstanceOrder, container: str) -> list[ContainerReport]:
    """What was reported of it so far."""
    return [
        c
        for report in list(lab.control.reports)
        for i in report.instances
        if i.uid == order.uid
        for c in i.every_container
        if c.name == container
    ]


def pids(lab: PopLab, order: InstanceOrder) -> dict[str, int]:
    """Main processes by container."""
    rows = lab.podman.ask("GET", "/containers/json?all=true").json() or []
    mine = (row for row in rows if row["Labels"]["anypop.uid"] == order.uid)
    return {row["Labels"]["anypop.container"]: int(row["Pid"]) for row in mine}


def read(pid: int, path: str) -> str:
    """A file as the process sees it; empty where there is none."""
    try:
        return Path(f"/proc/{pid}/root{path}").read_text()
    except OSError:
        return ""


def run(lab: PopLab, order: InstanceOrder, container: str, script: str) -> str:
    """What a command says in a container."""
    id_ = f"{lab.prefix}-{order.uid[:10]}-{container}"
    body = {"Cmd": ["/bin/sh", "-c", script], "AttachStdout": True, "Tty": True}
    session = lab.podman.ask("POST", f"/containers/{id_}/exec", json=body).json()["Id"]
    return lab.podman.ask("POST", f"/exec/{session}/start", json={"Detach": False, "Tty": True}).text


def test_init_containers_end_well_one_after_the_other_before_the_rest_begins(lab: PopLab) -> None:
    """One that fails is tried again, and is told so; what follows waits. They stand there as they ended."""

    def fails() -> bool:
        return any(c.phase is Phase.FAILED and c.exit_code == 1 for c in history(lab, IN_ORDER, "two"))

    wait_until(fails, timeout_s=60, reason="the second one is told to fail")
    assert "web" not in pids(lab, IN_ORDER)
    with netns.inside(namespace_of(lab.prefix, IN_ORDER.uid)):
        Path(OF_THE_NETWORK).write_text("17")
    lab.wait_running(IN_ORDER.name, timeout_s=60)
    one, two, web = (told(lab, IN_ORDER, name) for name in ("one", "two", "web"))
    assert one is not None
    assert two is not None
    assert web is not None
    assert (one.phase, one.reason, one.exit_code, one.ready) == (Phase.STOPPED, Reason.COMPLETED, 0, True)
    assert (two.phase, two.exit_code, two.last_reason) == (Phase.STOPPED, 0, Reason.COMPLETED)
    assert two.restarts > 0
    assert any(c.reason is Reason.INITIALIZING for c in history(lab, IN_ORDER, "web"))
    times = [one.finished_at, two.started_at, two.finished_at, web.started_at]
    assert all(times)
    assert times == sorted(times, key=lambda at: at or 0)
    assert pids(lab, IN_ORDER)["one"] == 0


def test_hooks_and_startup_probes_hold_back_what_comes_after(lab: PopLab) -> None:
    """Nobody asks a process before its hook is through; its startup probe keeps the liveness probe from killing it."""
    lab.wait_running(HOOKED.name, SLOW.name, timeout_s=60)
    hooked, slow = told(lab, HOOKED, "web"), told(lab, SLOW, "web")
    assert hooked is not None
    assert slow is not None
    assert (hooked.restarts, slow.restarts) == (0, 0)
    assert read(pids(lab, HOOKED)["web"], "/tmp/begun") == "begun\n"
    ready = [c.ready for c in history(lab, SLOW, "web") if c.phase is Phase.RUNNING]
    assert ready[0] is False, "it answers after more than a second"
    assert read(pids(lab, SLOW)["web"], "/tmp/up") == "up\n"


def test_what_a_process_says_of_its_end_is_told(lab: PopLab) -> None:
    """By the file, or by its log; how often it was begun anew, and its exit code, stay."""

    def said(container: str) -> ContainerReport | None:
        return next((c for c in history(lab, SAYS, container) if c.phase is Phase.FAILED and c.last_message), None)

    wait_until(lambda: all(map(said, ("file", "log", "hook"))), timeout_s=60, reason="all three have said why")
    by_file, by_log, by_hook = said("file"), said("log"), said("hook")
    assert by_file is not None
    assert by_log is not None
    assert by_hook is not None
    assert (by_file.exit_code, by_file.message, by_file.last_reason) == (3, "out of cheese", Reason.EXITED)
    assert (by_log.exit_code, by_log.message) == (4, "last words")
    assert (by_hook.last_reason, by_hook.message) == (Reason.HOOK_FAILED, "postStart hook: exit code 5")
    assert by_file.started_at
    assert by_file.finished_at

    def again() -> bool:
        now = told(lab, SAYS, "file")
        return now is not None and now.restarts > 1 and now.last_message == "out of cheese"

    wait_until(again, timeout_s=60, reason="it is begun anew, and the message is carried along")


def test_containers_share_the_network_and_where_asked_their_processes(lab: PopLab) -> None:
    """Each sees the other in /proc; when the one that holds them ends, both begin anew."""
    lab.wait_running(TOGETHER.name, timeout_s=60)
    before = pids(lab, TOGETHER)
    spaces = {
        kind: {Path(f"/proc/{pid}/ns/{kind}").readlink() for pid in before.values()} for kind in ("net", "pid", "user")
    }
    assert {kind: len(found) for kind, found in spaces.items()} == {"net": 1, "pid": 1, "user": 1}
    seen = run(lab, TOGETHER, "b", "cat /proc/1/cmdline; busybox wget -q -O - http://127.0.0.1/")
    assert "httpd -p 80" in seen
    assert TOGETHER.name in seen
    alone = {Path(f"/proc/{pid}/ns/pid").readlink() for pid in (*pids(lab, SLOW).values(), before["a"])}
    assert len(alone) == 2
    assert "httpd" not in run(lab, SLOW, "web", "cat /proc/[0-9]*/cmdline")
    lab.podman.ask("POST", f"/containers/{lab.prefix}-{TOGETHER.uid[:10]}-a/kill?signal=KILL")

    def both_anew() -> bool:
        now = pids(lab, TOGETHER)
        return all(now.get(name, 0) not in (0, pid) for name, pid in before.items())

    wait_until(both_anew, timeout_s=60, reason="both run anew")
    after = pids(lab, TOGETHER)
    assert len({Path(f"/proc/{pid}/ns/pid").readlink() for pid in after.values()}) == 1


def test_a_restart_begins_with_the_init_containers_also_by_a_new_agent(lab: PopLab) -> None:
    """All of them, before the others; the processes before are gone. What has begun elsewhere goes on: no hook is run
    again, and nothing is asked again whether it has started.
    """
    others = (HOOKED, SLOW, TOGETHER)
    before, first, untouched = pids(lab, IN_ORDER), told(lab, IN_ORDER, "one"), [pids(lab, i) for i in others]
    assert first is not None
    lab.kill_agent()
    lab.give(*(replace(i, restarts=1) if i is IN_ORDER else i for i in ALL))
    lab.start_agent()

    def anew() -> bool:
        one, web = told(lab, IN_ORDER, "one"), told(lab, IN_ORDER, "web")
        return one is not None and web is not None and one.container_id not in ("", first.container_id) and web.ready

    wait_until(anew, timeout_s=60, reason="it has begun anew")
    one, web = told(lab, IN_ORDER, "one"), told(lab, IN_ORDER, "web")
    assert one is not None
    assert web is not None
    assert (one.exit_code, one.restarts, web.last_reason) == (0, 1, Reason.RESTART_ASKED)
    assert (one.finished_at or 0) <= (web.started_at or 0)
    assert pids(lab, IN_ORDER)["web"] != before["web"]
    lab.wait_running(*(i.name for i in others), timeout_s=60)
    assert [pids(lab, i) for i in others] == untouched
    assert read(untouched[0]["web"], "/tmp/begun") == "begun\n"


def test_an_end_begins_with_the_hook_and_takes_as_long_as_it_may(lab: PopLab) -> None:
    """Hook, signal, and when its time is over the kill; also all together, with nothing left behind."""
    pid, beside = (pids(lab, HOOKED)[name] for name in ("web", "beside"))
    asked = time.monotonic()
    lab.give(removed=tokens(*ALL))
    seen: set[str] = set()
    said: set[str] = set()

    def is_gone() -> bool:
        seen.add(read(pid, "/tmp/told"))
        said.update(read(beside, "/tmp/asked").splitlines()[:1])
        return not Path(f"/proc/{pid}/root/bin").exists()

    wait_until(is_gone, timeout_s=60, reason="it is killed in the end")
    took = time.monotonic() - asked
    assert "pre\nterm\n" in seen
    assert seen <= {"", "pre\n", "pre\nterm\n"}
    assert took > 1.9, "it has its two seconds"
    assert said == {"GET /bye HTTP/1.1"}
    wait_until(
        lambda: not any(pids(lab, i) for i in ALL) and set(lab.control.reports[-1].gone) >= {i.uid for i in ALL},
        timeout_s=60,
        reason="everything is gone",
    )  # fmt: skip
