"""What a platform survives of itself: an `up` that is killed at any of its starts, programs that die, a supervisor that
dies, a `down` that is killed. One small platform lives through all of it.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from anypop.host import process
from anypop.lab import platform
from anypop.lab.generate import generate
from anypop.lab.leftovers import left_behind
from anypop.lab.topology_read import load
from tests.lab.chaos.whole import doubles
from tests.lab.story import Shell
from tests.wait import wait_until

pytestmark = pytest.mark.lab

# `up` that dies between the start of a program and the moment when it would write that down
UP = """
import os, signal, sys
from pathlib import Path
from anypop.host import process
from anypop.lab import platform
written = process.write_pid
def record(file, pid):
    if file.name == sys.argv[4]:
        os.kill(os.getpid(), signal.SIGKILL)
    written(file, pid)
process.write_pid = record
platform.up(Path(sys.argv[1]), state=Path(sys.argv[2]), prefix=sys.argv[3], api_port=0, registry_port=0, progress=print)
"""
# `down` that dies at one of its steps
DOWN = """
import os, signal, sys
from pathlib import Path
from anypop.lab import platform
def step(name):
    if name == sys.argv[2]:
        os.kill(os.getpid(), signal.SIGKILL)
platform.down(Path(sys.argv[1]), progress=step, purge=True)
"""


def test_whoever_dies_nothing_is_started_twice_and_nothing_is_left(short_folder: Path) -> None:
    """`up` killed right after the start of a Podman, and another right after that of control: the supervisor starts
    the rest, one of each, and the next `up` makes it whole. Killed programs are back by themselves, seen in events;
    after the supervisor's own death `up` starts another, which takes what runs for its own; `down --purge` killed
    halfway can be asked for again, and leaves nothing.
    """
    state, prefix, topology = short_folder / "lives", f"s{os.getpid() % 46656:x}", short_folder / "lives.yaml"
    topology.write_text(generate(ases=3, pops=1, seed=5))
    try:
        host = load(topology.read_text(), name="lives").own.pops[0].city.lower()
        for program in (f"podman-{host}", "control"):
            _killed(UP, str(topology), str(state), prefix, f"{program}.pid")
        place = platform.find(state)
        assert place is not None
        wait_until(lambda: not place.dead(), timeout_s=30, reason="the supervisor has started what was missing")
        wait_until(lambda: not doubles(place), timeout_s=20, reason="nothing runs twice, but for the moment of a fork")
        assert not platform._has_image(place), "that is for an `up` to make"
        _up(topology, state, prefix)
        assert platform._has_image(place)
        wait_until(lambda: not doubles(place), timeout_s=20, reason="nothing runs twice, but for the moment of a fork")
        _comes_back(place)
        _is_adopted(place)
        _killed(DOWN, str(state), "internet")
        assert platform.find(state) is not None, "its record goes last"
    finally:
        platform.down(state, progress=lambda _: None, purge=True)
    assert left_behind(state, prefix) == []
    assert not state.exists()


def _comes_back(place: platform.Platform) -> None:
    """Everything that the supervisor looks after, at once."""
    host, shell = place.hosts[0].lower(), Shell(place=place)
    wait_until(lambda: _agent_age(shell) is not None, timeout_s=30, reason="the agent has reported")
    names = ("control", "registry", f"podman-{host}", f"agent-{host}", "wire")
    pids = {name: process.alive(place.pid_file(name)) for name in names}
    for pid in pids.values():
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
    for name, pid in pids.items():
        wait_until(
            lambda name=name, pid=pid: process.alive(place.pid_file(name)) not in (None, pid),  # type: ignore[misc]
            timeout_s=10,
            reason=f"{name} runs again",
        )

    def kinds() -> set[str]:
        said = shell.try_("events", "-o", "json")
        return {event["kind"] for event in said.data} if said.code == 0 else set()

    wait_until(lambda: {"agent-restarted", "control-started"} <= kinds(), timeout_s=30, reason="it is told")
    assert 0 <= (_agent_age(shell) or 0) < 60
    wait_until(lambda: not doubles(place), timeout_s=20, reason="nothing runs twice, but for the moment of a fork")


def _agent_age(shell: Shell) -> float | None:
    (pop,) = shell.json("pops")
    age: float | None = pop["hosts"][0]["agent_age_s"]
    return age


def _is_adopted(place: platform.Platform) -> None:
    """Without a supervisor what dies stays dead; the next one takes over what runs, and starts what does not."""
    supervisor, control = process.alive(place.pid_file("supervisor")), process.alive(place.pid_file("control"))
    assert supervisor is not None and control is not None
    os.kill(supervisor, signal.SIGKILL)
    wait_until(lambda: process.start_time(supervisor) is None, timeout_s=20, reason="the supervisor is gone")
    os.kill(control, signal.SIGKILL)
    agent = process.alive(place.pid_file(f"agent-{place.hosts[0].lower()}"))
    _up(place.topology, place.state, place.prefix)
    assert process.alive(place.pid_file("supervisor")) not in (None, supervisor)
    assert process.alive(place.pid_file("control")) not in (None, control)
    assert process.alive(place.pid_file(f"agent-{place.hosts[0].lower()}")) == agent
    wait_until(lambda: not doubles(place), timeout_s=20, reason="nothing runs twice, but for the moment of a fork")


def _up(topology: Path, state: Path, prefix: str) -> platform.Platform:
    return platform.up(topology, state=state, prefix=prefix, api_port=0, registry_port=0, progress=lambda _: None)


def _killed(script: str, *words: str) -> None:
    done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
