"""A speaker that is stopped or hangs is ended, so that another one can be started; one that is slow is left alone."""

import contextlib
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from anypop.agent.act.bgp import bird
from anypop.agent.act.bgp.bird import Bird
from anypop.agent.act.bgp.protocols import without_timers
from anypop.host import process
from tests.wait import wait_until


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[int]:
    """A process in the daemon's place, with a control socket that takes connections and never says a word."""
    with subprocess.Popen(["sleep", "60"]) as sleeper, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        process.write_pid(tmp_path / "bird.pid", sleeper.pid)
        listener.bind(str(tmp_path / "bird.ctl"))
        listener.listen(8)
        yield sleeper.pid
        with contextlib.suppress(ProcessLookupError):
            sleeper.kill()


def test_one_that_is_stopped_is_ended_at_the_second_look_and_one_that_runs_never(daemon: int, tmp_path: Path) -> None:
    """A debugger's moment is no reason; and its pid file stays, since it died and took no leave."""
    speaker = Bird(tmp_path)
    assert not speaker.end_stopped()
    assert not speaker.end_stopped()
    os.kill(daemon, signal.SIGSTOP)
    wait_until(lambda: process.is_stopped(daemon), timeout_s=20, reason="it is stopped")
    assert speaker.end_stopped(), "look again soon"
    assert speaker.pid() == daemon
    speaker.end_stopped()
    wait_until(lambda: speaker.pid() is None, timeout_s=20, reason="it is ended")
    assert "stopped by a signal" in speaker.look().error
    assert (tmp_path / "bird.pid").exists()


def test_one_that_does_not_answer_is_ended_only_after_a_long_time(
    daemon: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two looks within that time leave it alone; its answers in between begin the count anew."""
    monkeypatch.setattr(bird, "_ASK_S", 0.02)
    speaker = Bird(tmp_path)
    assert not speaker.look().answers
    assert not speaker.look().answers
    assert speaker.pid() == daemon
    monkeypatch.setattr(bird, "HUNG_S", 0.01)
    assert not speaker.look().answers
    wait_until(lambda: speaker.pid() is None, timeout_s=20, reason="it is ended")
    assert "did not answer" in speaker.look().error


def test_a_look_that_waits_for_a_stopped_daemon_comes_back_when_that_is_ended(daemon: int, tmp_path: Path) -> None:
    """The thread that asks is not the one that ends it."""
    os.kill(daemon, signal.SIGSTOP)
    wait_until(lambda: process.is_stopped(daemon), timeout_s=20, reason="it is stopped")
    speaker = Bird(tmp_path)
    asking = threading.Thread(target=speaker.look)
    asking.start()
    speaker.end_stopped()
    speaker.end_stopped()
    wait_until(lambda: speaker.pid() is None, timeout_s=20, reason="it is ended")
    asking.join(timeout=10)
    assert not asking.is_alive()


def test_what_a_daemon_tells_without_its_timers_is_the_same_while_nothing_happens() -> None:
    """So it need not be read again each second."""
    told = (
        "up1_4  BGP  ---  up  2026-01-02 03:04:05  Established\n    Hold timer:       {}/240\n    Routes: 1 imported\n"
    )
    assert without_timers(told.format(201.5)) == without_timers(told.format(17))
    assert without_timers(told.format(1)) != without_timers(told.format(1).replace("1 imported", "2 imported"))
