"""A host whose processors a tenant takes: the sessions of its speaker stand, also with BFD at 10 ms x 3."""

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from anypop.agent.bfd import files
from anypop.host import process
from anypop.model.order import Containers
from tests.agent_lab import PopLab, instance, web
from tests.wait import wait_until

pytestmark = pytest.mark.lab
HOGS = 16  # instances, with a control group each: the kernel gives all of them the same, and each its turn
_HOG = ("sh", "-c", "while :; do :; done & while :; do :; done & while :; do :; done & wait")
_FELL = re.compile(r"bfd1: Session .* changed state from Up to Down")


@pytest.fixture
def lab() -> Iterator[PopLab]:
    lab = PopLab("agts", bfd_ms=10)
    try:
        # it stands for another machine
        _come(lab.folder / "one.pid", os.SCHED_RR, 10, -20)
        lab.start_agent()
        yield lab
    finally:
        lab.close()


def test_a_tenant_that_takes_all_processors_makes_no_session_fall(lab: PopLab) -> None:
    """Forty-eight busy processes on two cores: BFD, which may be 30 ms late at most, is never late, and BIRD answers.
    Whether the kernel lets a process be late that has no such priority differs from one to the next: so it is looked at
    too what they have.
    """
    told = lab.state / "bird" / "bfd"
    calm = instance(0)
    lab.give(calm)
    lab.wait_running(calm.name)
    wait_until(lambda: len(files.read_told(told).up()) == 2, timeout_s=10, reason="BFD is up")
    hogs = [
        replace(instance(n), payload=Containers(containers=(replace(web(cpu_millis=2000), command=_HOG, ports=()),)))
        for n in range(1, 1 + HOGS)
    ]
    lab.give(calm, *hogs)
    lab.wait_running(*(hog.name for hog in hogs), timeout_s=90)
    begun = _busy_s()
    wait_until(lambda: _busy_s() > begun + 4, timeout_s=60, reason="they have had the processors for a while")
    assert not _FELL.findall(lab.upstreams.log("one"))
    assert {s.state for s in lab.control.report.sessions} == {"established"} if lab.control.report else False
    first = [p or 0 for p in (process.alive(told.parent / "bird.pid"), lab.agent_pid())]
    nice = [os.getpriority(os.PRIO_PROCESS, p) for p in first]
    assert nice == [-15, -10], "BIRD goes before the agent, and both before tenants"
    sessions = [group for p in first if (group := Path(f"/proc/{p}/autogroup")).exists()]
    assert [int(group.read_text().split()[-1]) for group in sessions] in ([], nice), "their sessions too"
    worker = files.read_told(told).worker
    assert worker is not None
    threads = [int(task.name) for task in Path(f"/proc/{worker}/task").iterdir()]
    assert {os.sched_getscheduler(thread) for thread in threads} == {os.SCHED_RR}, "BFD goes before all of them"


def _busy_s() -> float:
    """Seconds that all processors together have worked."""
    user, nice, system = Path("/proc/stat").read_text().split()[1:4]
    return (int(user) + int(nice) + int(system)) / os.sysconf("SC_CLK_TCK")


def _come(who: Path | int, policy: int, priority: int, nice: int) -> None:
    """Set how a process is scheduled, with all its threads."""
    pid = who if isinstance(who, int) else process.alive(who)
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(ProcessLookupError):
            os.sched_setscheduler(int(task.name), policy, os.sched_param(priority))
            os.setpriority(os.PRIO_PROCESS, int(task.name), nice)
