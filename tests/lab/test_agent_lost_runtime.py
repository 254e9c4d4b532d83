"""Instances whose runtime has lost them: its monitor (conmon) is dead, so nobody tells Podman what becomes of them.
What counts is what the kernel says.
"""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from anypop.agent.naming import namespace_of
from anypop.host import inventory, ip, netns
from anypop.model.order import InstanceOrder
from tests.agent_lab import PopLab, container_pids, external, instance
from tests.wait import wait_until

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def pop() -> Iterator[PopLab]:
    """A PoP with three instances that run."""
    lab = PopLab("agl")
    try:
        lab.start_agent()
        lab.give(*THREE)
        lab.wait_running(*(i.name for i in THREE))
        # the neighbour may hear of their addresses later than they run
        wait_until(lambda: all(lab.get(external(i)) == i.name for i in THREE), timeout_s=15, reason="all three answer")
        yield lab
    finally:
        lab.close()


THREE = tuple(instance(n) for n in range(3))


def _monitor(pop: PopLab, one: InstanceOrder) -> int | None:
    """The pid of its conmon."""
    id_ = _id(pop, one).encode()
    for pid, words in inventory.command_lines():
        if Path(os.fsdecode(words[0])).name == "conmon" and id_ in words:
            return pid
    return None


def _id(pop: PopLab, one: InstanceOrder) -> str:
    rows = pop.podman.ask("GET", "/containers/json?all=true").json() or []
    return next((str(row["Id"]) for row in rows if row["Labels"]["anypop.uid"] == one.uid), "")


def _kill_monitor(pop: PopLab, one: InstanceOrder) -> None:
    pid = _monitor(pop, one)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: _monitor(pop, one) is None, timeout_s=9, reason="its monitor is gone")


def _serves_anew(pop: PopLab, one: InstanceOrder, before: str) -> bool:
    report = pop.reported(one.name)
    made_anew = (id_ := _id(pop, one)) != "" and id_ != before
    return bool(made_anew and report and report.healthy) and pop.get(external(one)) == one.name


def test_dead_by_the_kernels_word_is_made_anew(pop: PopLab) -> None:
    """Without its monitor an instance goes on serving and is watched, also when its namespace loses its name; when its
    process goes then, it is made anew although Podman says that it runs, also where Podman's service was away
    meanwhile.
    """
    ids = {i.uid: _id(pop, i) for i in THREE}
    pids = container_pids(pop)
    for one in THREE:
        _kill_monitor(pop, one)
    assert {i.uid: _id(pop, i) for i in THREE} == ids, "a dead monitor is no reason to end what serves"
    assert all(pop.get(external(i)) == i.name for i in THREE)

    killed, lost, away = THREE
    os.kill(pids[killed.name], signal.SIGKILL)
    ip.batch([f"netns del {namespace_of(pop.prefix, lost.uid)}"])
    wait_until(
        lambda: (r := pop.reported(killed.name)) is not None and not r.healthy,
        timeout_s=9,
        reason="a death is told although nobody tells Podman",
    )
    wait_until(lambda: _serves_anew(pop, killed, ids[killed.uid]), timeout_s=30, reason="it serves in a new life")
    wait_until(
        lambda: netns.exists(namespace_of(pop.prefix, lost.uid)),
        timeout_s=10,
        reason="the namespace has its name again",
    )
    assert _id(pop, lost) == ids[lost.uid]
    assert pop.get(external(lost)) == lost.name
    report = pop.reported(killed.name)
    assert report is not None
    (container,) = report.containers
    assert (container.restarts, container.last_exit_code) == (1, None), "nobody knows its exit code"

    pop.podman.kill()
    os.kill(pids[away.name], signal.SIGKILL)
    wait_until(
        lambda: (r := pop.reported(away.name)) is not None and not r.healthy,
        timeout_s=9,
        reason="a death is told although Podman is away",
    )
    pop.podman.start()
    wait_until(lambda: _serves_anew(pop, away, ids[away.uid]), timeout_s=60, reason="it serves in a new life")
    pop.wait_running(*(i.name for i in THREE))


def test_an_agent_that_was_away_believes_the_kernel(pop: PopLab) -> None:
    """Monitor and process die while no agent runs: Podman says that it runs, and the next agent makes it anew."""
    one = THREE[0]
    before, pid = _id(pop, one), container_pids(pop)[one.name]
    _kill_monitor(pop, one)
    pop.kill_agent()
    os.kill(pid, signal.SIGKILL)
    pop.start_agent()
    wait_until(lambda: _serves_anew(pop, one, before), timeout_s=30, reason="it serves in a new life")
