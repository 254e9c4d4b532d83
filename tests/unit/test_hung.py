"""What hangs is found although the kernel goes on to take its connections: a process that is stopped, a queue that is
full.
"""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address

import pytest

from anypop.agent.observe import probes
from anypop.agent.observe.ask import ask
from anypop.agent.observe.probes import BACK_S, DEFAULT, DOUBT_S, QUICK_S, STOPPED, Probes, Target, _pause
from anypop.host import process
from anypop.judge.health import Event, Health, Stage
from anypop.model.workload import Container, Port, Probe, ProbeKind
from tests.wait import wait_until

HERE = ip_address("127.0.0.1")
KEY = ("u1", "web")


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listening:
        yield listening


def _tcp(listener: socket.socket) -> Probe:
    return Probe(kind=ProbeKind.TCP, port=listener.getsockname()[1], period_s=1, timeout_s=0.2)


def _asked(probe: Probe) -> str | None:
    async def nobody(_: tuple[str, ...], __: float) -> int:
        raise AssertionError

    return asyncio.run(ask(probe, HERE, nobody))


def test_three_questions_fit_into_two_seconds() -> None:
    """Also where it stops right after an answer, and each question has to be given up."""
    more = (DEFAULT.failure_threshold - 1) * (max(DOUBT_S, DEFAULT.timeout_s) + QUICK_S)
    assert DEFAULT.period_s + more + DEFAULT.timeout_s < 1.95


def test_who_answers_is_asked_each_second_and_sooner_while_there_is_a_doubt() -> None:
    """A probe that somebody declared keeps its period, whatever it finds."""
    well = Health(stage=Stage.HEALTHY, last=Event.SUCCESS)
    doubted, ill = replace(well, last=Event.FAILURE), Health(stage=Stage.UNHEALTHY, last=Event.FAILURE)
    paces = [_pause(DEFAULT, health, 60.0, own=True) for health in (well, doubted, ill)]
    assert paces == [1.0, DOUBT_S, BACK_S]
    assert {_pause(DEFAULT, health, 60.0, own=False) for health in (well, doubted, ill)} == {DEFAULT.period_s}


def test_a_server_whose_queue_is_full_does_not_answer(listener: socket.socket) -> None:
    """It listens all the while."""
    assert _asked(_tcp(listener)) is None
    listener.accept()[0].close()
    with contextlib.ExitStack() as waiting:
        for _ in range(4):  # the kernel lets one more in than it was told
            sock = waiting.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex(listener.getsockname())
        assert _asked(_tcp(listener)) == "no answer within 0.2 s"


def test_a_server_that_does_not_listen_is_told_as_before(listener: socket.socket) -> None:
    probe = _tcp(listener)
    listener.close()
    assert _asked(probe) == f"port {probe.port}: Connection refused"


def test_a_process_that_is_stopped_is_sick_while_its_port_takes_connections(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And well again once it goes on; with a probe of its own it is asked that alone."""
    monkeypatch.setattr(
        probes, "DEFAULT", Probe(kind=ProbeKind.TCP, period_s=0.02, timeout_s=0.02, failure_threshold=3)
    )
    listener.listen(512)
    port = listener.getsockname()[1]
    container = Container(name="web", image="i", ports=(Port(name="http", port=port, open_to_all=True),))

    async def test(pid: int) -> None:
        async def inside(*_: object) -> int:
            raise AssertionError

        watched = Probes(wake=lambda: None, clock=time.time, run_inside=inside)
        watched.set({KEY: Target(container=container, address=HERE, pid=pid, found=False)})
        try:
            await _until(watched, healthy=True)
            os.kill(pid, signal.SIGSTOP)
            await _until(watched, healthy=False)
            assert STOPPED in watched.verdict("u1", ("web",)).message
            os.kill(pid, signal.SIGCONT)
            await _until(watched, healthy=True)
        finally:
            watched.close()

    with subprocess.Popen(["sleep", "60"]) as sleeper:
        try:
            asyncio.run(test(sleeper.pid))
        finally:
            sleeper.kill()


async def _until(watched: Probes, *, healthy: bool) -> None:
    async with asyncio.timeout(60):
        while watched.verdict("u1", ("web",)).healthy is not healthy:  # noqa: ASYNC110 - the kernel changes it
            await asyncio.sleep(0.005)


def test_a_file_that_stays_open_tells_of_the_same_process_alone() -> None:
    """Stopped, running, dead: a number that somebody else has later makes no difference."""
    with subprocess.Popen(["sleep", "60"]) as sleeper, process.StoppedOrNot(sleeper.pid) as looked_at:
        assert not looked_at.is_stopped()
        os.kill(sleeper.pid, signal.SIGSTOP)
        wait_until(looked_at.is_stopped, timeout_s=20, reason="it is stopped")
        sleeper.kill()
        sleeper.wait()
        assert not looked_at.is_stopped()
    with process.StoppedOrNot(0) as nobody:
        assert not nobody.is_stopped()


def test_a_question_costs_little_more_than_the_connection_that_it_is(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hundreds of them a second must not be felt: 200 containers without a probe of their own, as the agent asks them,
    but twice as often, beside as many bare connections of a loop that also wakes up for each. The least of some turns
    counts: what else the machine does is not ours.
    """
    monkeypatch.setattr(probes, "DEFAULT", replace(DEFAULT, period_s=PERIOD_S))
    listener.listen(4096)
    listener.setblocking(False)
    port = listener.getsockname()[1]

    async def inside(*_: object) -> int:
        raise AssertionError

    async def asked() -> float:
        container = Container(name="web", image="i", ports=(Port(name="http", port=port, open_to_all=True),))
        watched = Probes(wake=lambda: None, clock=time.time, run_inside=inside)
        target = Target(container=container, address=HERE, pid=os.getpid(), found=False)
        watched.set({(f"u{n}", "web"): target for n in range(200)})
        try:
            return await _cheapest(listener)
        finally:
            watched.close()

    async def bare() -> float:
        tasks = [asyncio.create_task(_connects(port)) for _ in range(200)]
        try:
            return await _cheapest(listener)
        finally:
            for task in tasks:
                task.cancel()

    mine, others = asyncio.run(asked()), asyncio.run(bare())
    assert mine < 2 * others, f"{mine * 1e6:.0f} us for a question, {others * 1e6:.0f} us for a bare connection"


PERIOD_S = 0.5


async def _cheapest(listener: socket.socket) -> float:
    """Seconds of processor time for each connection that comes, in the cheapest of some turns."""
    costs = []
    for _ in range(6):
        _accepted(listener)
        begun = time.process_time()
        await asyncio.sleep(PERIOD_S)
        spent = time.process_time() - begun
        costs.append(spent / max(1, _accepted(listener)))
    return min(costs)


async def _connects(port: int) -> None:
    """Again and again, and waits between two."""
    loop = asyncio.get_running_loop()
    while True:
        with socket.socket() as sock:
            sock.setblocking(False)
            await loop.sock_connect(sock, ("127.0.0.1", port))
        await asyncio.sleep(PERIOD_S)


def _accepted(listener: socket.socket) -> int:
    """How many connections waited."""
    count = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            listener.accept()[0].close()
            count += 1
    return count
