"""Probes and lanes, with real sockets on loopback and no container: answers, refusals, timeouts, deaths, and lanes
that hang.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from anypop.agent.act.bgp.speaker import Speaker
from anypop.agent.act.lanes import Lanes
from anypop.agent.act.network.netlink import Netlink
from anypop.agent.act.network.router import Router
from anypop.agent.act.volumes.keeper import Keeper
from anypop.agent.decide.elements import ContainerSeen, Key
from anypop.agent.decide.steps import CreateContainer, MakeNamespace, PrepareRouter, PullImage, Step
from anypop.agent.guests.word import Known, Word
from anypop.agent.observe import probes
from anypop.agent.observe.ask import SILENT, ask
from anypop.agent.observe.by_word import BY_WORD
from anypop.agent.observe.observer import Observer
from anypop.agent.observe.probes import Probes, RunInside, Target, readiness_of
from anypop.model.errors import WorldError
from anypop.model.machine import Machine
from anypop.model.reasons import Reason
from anypop.model.workload import Container, Probe, ProbeKind, Protocol
from tests.agent_fake_runtime import FakeRuntime
from tests.agent_world import instance, web

HERE = IPv4Address("127.0.0.1")
KEY = ("u1", "web")


async def _nobody(_: tuple[str, ...], __: float) -> int:
    raise AssertionError("no command was asked for")


async def _nobody_inside(_: Key, __: tuple[str, ...], ___: float) -> int:
    raise AssertionError("no command was asked for")


async def _served(answer: bytes, test: Callable[[int], Awaitable[None]]) -> None:
    """Run `test` with the port of a server that gives `answer` to whoever has asked; an empty one never answers."""

    serving: list[asyncio.Task[None]] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            await reader.readline()
            if answer:
                writer.write(answer)
                await writer.drain()
            else:
                await reader.read()
        writer.transport.abort()
        with suppress(OSError):
            await writer.wait_closed()

    def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.append(asyncio.create_task(talk(reader, writer)))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        await test(server.sockets[0].getsockname()[1])
        await _until(lambda: bool(serving))
        await asyncio.gather(*serving)


@pytest.mark.parametrize(
    ("answer", "trouble"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", None),
        (b"HTTP/1.0 399 Fine\r\n\r\n", None),
        (b"HTTP/1.1 400 Bad\r\n\r\n", "HTTP status 400"),
        (b"HTTP/1.1 503 Busy\r\n\r\n", "HTTP status 503"),
        (b"SSH-2.0-OpenSSH\r\n", "the answer is not HTTP"),
        (b"", "no answer within 0.05 s"),
    ],
)
def test_http_is_good_from_200_to_399(answer: bytes, trouble: str | None) -> None:
    """The status decides; what is not HTTP, or never comes, is said in words."""

    async def test(port: int) -> None:
        probe = Probe(kind=ProbeKind.HTTP, port=port, timeout_s=10 if answer else 0.05)
        assert await ask(probe, HERE, _nobody) == trouble

    asyncio.run(_served(answer, test))


def test_tcp_is_good_on_a_connection_and_says_who_refused() -> None:
    """A listener is enough; a closed port is named."""

    async def test(port: int) -> None:
        assert await ask(Probe(kind=ProbeKind.TCP, port=port), HERE, _nobody) is None

    asyncio.run(_served(b"x", test))
    told = asyncio.run(ask(Probe(kind=ProbeKind.TCP, port=1), HERE, _nobody))
    assert told is not None
    assert told.startswith("port 1: ")


def test_exec_is_good_on_exit_code_zero() -> None:
    """The command's code decides; a runtime that fails is a reason like any other."""

    async def run(command: tuple[str, ...], _: float) -> int:
        if command == ("broken",):
            raise WorldError("run broken", "no such file")
        return 0 if command == ("true",) else 3

    async def told(*command: str) -> str | None:
        return await ask(Probe(kind=ProbeKind.EXEC, command=command), HERE, run)

    assert asyncio.run(told("true")) is None
    assert asyncio.run(told("false")) == "exit code 3"
    assert asyncio.run(told("broken")) == "run broken: no such file"


def test_without_a_probe_the_first_tcp_port_is_asked() -> None:
    """A declared probe wins; without one a TCP connection to the first TCP port; without a port, to run is enough."""
    declared = Probe(kind=ProbeKind.HTTP, port=8080)
    assert readiness_of(replace(web(), readiness=declared)) == declared
    default = readiness_of(web())
    assert default is not None
    assert (default.kind, default.port) == (ProbeKind.TCP, 80)
    udp = replace(web().ports[0], protocol=Protocol.UDP)
    assert readiness_of(replace(web(), ports=(udp,))) is None


def _inside(run: Callable[[tuple[str, ...], float], Awaitable[int]]) -> RunInside:
    """Commands run in whatever container."""
    return lambda _, command, timeout_s: run(command, timeout_s)


async def _probed(
    container: Container,
    test: Callable[[Probes], Awaitable[None]],
    *,
    found: bool = False,
    run: RunInside = _nobody_inside,
) -> None:
    probes = Probes(wake=lambda: None, clock=time.time, run_inside=run)
    probes.set({KEY: Target(container=container, address=HERE, pid=1, found=found)})
    try:
        await test(probes)
    finally:
        probes.close()


async def _until(predicate: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not predicate():  # noqa: ASYNC110 - sockets change it
            await asyncio.sleep(0.002)


def test_health_follows_the_probe_within_milliseconds_of_the_first_answer() -> None:
    """Pending while refused, healthy soon after the first answer although the period is long, pending again after a
    death.
    """
    answers: list[int] = []

    async def run(_: tuple[str, ...], __: float) -> int:
        answers.append(1)
        return 0 if len(answers) > 3 else 1

    async def test(probes: Probes) -> None:
        assert probes.verdict("u1", ("web",)).reason is Reason.PROBE_PENDING
        await _until(lambda: probes.verdict("u1", ("web",)).healthy is True)
        assert len(answers) == 4
        probes.died(KEY)
        assert probes.verdict("u1", ("web",)).healthy is False

    container = replace(web(), readiness=Probe(kind=ProbeKind.EXEC, command=("x",), period_s=60))
    asyncio.run(_probed(container, test, run=_inside(run)))


def test_who_answers_is_asked_on_without_a_task_that_wakes_up_until_there_is_a_doubt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A task for each container and family cost as much as its questions; the first one that fails wakes it."""
    slow, connected = list[Probe](), list[str]()

    async def asked_alone(probe: Probe, *rest: object) -> str | None:
        slow.append(probe)
        return await ask(probe, *rest)  # type: ignore[arg-type]

    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.append("one")
        writer.close()

    async def run() -> None:
        server = await asyncio.start_server(talk, str(HERE), 0)
        port = server.sockets[0].getsockname()[1]
        readiness = Probe(kind=ProbeKind.TCP, port=port, period_s=0.02, failure_threshold=2)

        async def test(one: Probes) -> None:
            await _until(lambda: one.verdict("u1", ("web",)).healthy is True)
            await _until(lambda: len(connected) > 9)
            assert len(slow) < 4, "the first ones alone"
            server.close()
            await server.wait_closed()
            await _until(lambda: one.verdict("u1", ("web",)).healthy is False)

        await _probed(replace(web(), readiness=readiness), test)

    monkeypatch.setattr(probes, "ask", asked_alone)
    asyncio.run(run())


def test_a_guest_whose_network_refuses_is_asked_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has taken long until then, and serves a moment later."""
    asked: list[int] = []

    async def refuses(*_: object) -> str | None:
        asked.append(1)
        return f"port 80: {probes.REFUSED}" if len(asked) < 8 else None

    async def test(one: Probes) -> None:
        await _until(lambda: one.verdict("u1", ("web",)).healthy is True)  # gives up before eight whole seconds

    monkeypatch.setattr(probes, "ask", refuses)
    monkeypatch.setattr(probes, "QUICK_FOR_S", 0.0)
    asyncio.run(_probed(replace(web(), machine=Machine()), test))


def test_the_word_of_a_guest_stands_for_an_echo_until_it_has_answered_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One that lets no echo through serves by its word; a lost network is no silence; one that has answered an echo
    must go on doing so, in the eyes of the next agent too.
    """
    said: list[str | None] = ["no route to host"]
    console = tmp_path / "console"
    console.touch()
    word = Word(tmp_path / "u1", console)

    async def answers(*_: object) -> str | None:
        return said[-1]

    async def test(one: Probes) -> None:
        def healthy(wanted: bool) -> Callable[[], bool]:
            return lambda: one.verdict("u1", ("web",)).healthy is wanted

        one.word_of = lambda uid: word if uid == "u1" else None
        word.keep(Known.READY)
        await _until(lambda: one.verdict("u1", ("web",)).message == said[0])
        assert one.verdict("u1", ("web",)).healthy is not True
        said.append(f"{SILENT} 1 s")
        await _until(healthy(True))
        assert one.verdict("u1", ("web",)).message == BY_WORD
        said.append(None)
        await _until(lambda: word.holds(Known.ECHOES))
        await _until(lambda: one.verdict("u1", ("web",)).message == "")
        said.append(f"{SILENT} 1 s")
        await _until(healthy(False))

    async def next_agent(one: Probes) -> None:
        one.word_of = lambda _: word
        await _until(lambda: one.verdict("u1", ("web",)).healthy is False)

    monkeypatch.setattr(probes, "ask", answers)
    monkeypatch.setattr(probes, "PING", replace(probes.PING, period_s=0))
    guest = replace(web(), machine=Machine(), ports=())
    asyncio.run(_probed(guest, test))
    asyncio.run(_probed(guest, next_agent, found=True))


def test_what_was_found_running_is_unknown_until_it_has_been_asked() -> None:
    """A new agent says nothing about an instance before its first probe; the worst container speaks for an instance."""

    async def run(_: tuple[str, ...], __: float) -> int:
        return 0

    async def test(probes: Probes) -> None:
        assert probes.verdict("u1", ("web",)).healthy is None
        await _until(lambda: probes.verdict("u1", ("web",)).healthy is True)
        assert probes.verdict("u1", ("web", "other")).healthy is False

    container = replace(web(), readiness=Probe(kind=ProbeKind.EXEC, command=("x",)))
    asyncio.run(_probed(container, test, found=True, run=_inside(run)))


def test_a_failed_liveness_probe_asks_for_a_restart_and_takes_it_out_of_traffic() -> None:
    """After as many failures as it allows, the container is marked, and no longer healthy, whatever readiness says: nor
    as long as its end takes.
    """
    alive, asked = [True], [0]

    async def run(command: tuple[str, ...], _: float) -> int:
        asked[0] += command == ("ready",)
        return 0 if command == ("ready",) or alive[0] else 1

    async def test(probes: Probes) -> None:
        await _until(lambda: probes.verdict("u1", ("web",)).healthy is True)
        alive[0] = False
        await _until(lambda: probes.liveness_failed == {KEY})
        assert probes.verdict("u1", ("web",)).healthy is False
        since = asked[0]
        await _until(lambda: asked[0] > since + 3)
        assert probes.verdict("u1", ("web",)).healthy is False
        probes.set({})
        assert probes.liveness_failed == set()

    container = replace(
        web(),
        readiness=Probe(kind=ProbeKind.EXEC, command=("ready",), period_s=0.01),
        liveness=Probe(kind=ProbeKind.EXEC, command=("live",), period_s=0.01, failure_threshold=3),
    )
    asyncio.run(_probed(container, test, run=_inside(run)))


def test_another_probe_for_the_same_process_keeps_its_health() -> None:
    """A healthy process stays healthy while it is asked otherwise, at once and without that probe's initial delay;
    another pid is new.
    """

    asked: list[tuple[str, ...]] = []

    async def run(command: tuple[str, ...], _: float) -> int:
        asked.append(command)
        return 0 if command in (("old",), ("live",)) else 1

    async def test(probes: Probes) -> None:
        await _until(lambda: probes.verdict("u1", ("web",)).healthy is True)
        other = Probe(kind=ProbeKind.EXEC, command=("new",), period_s=0.01, initial_delay_s=60, failure_threshold=3)
        live = Probe(kind=ProbeKind.EXEC, command=("live",), period_s=60, initial_delay_s=60)
        changed = replace(container, readiness=other, liveness=live, ports=())
        for ports in ((), web().ports):
            probes.set({KEY: Target(container=replace(changed, ports=ports), address=HERE, pid=1, found=False)})
            assert probes.verdict("u1", ("web",)).healthy is True
        await _until(lambda: probes.verdict("u1", ("web",)).reason is Reason.PROBE_FAILED)
        assert asked.count(("new",)) == 3
        assert asked.count(("live",)) == 1
        probes.set({KEY: Target(container=changed, address=HERE, pid=2, found=False)})
        assert probes.verdict("u1", ("web",)).reason is Reason.PROBE_PENDING

    container = replace(web(), readiness=Probe(kind=ProbeKind.EXEC, command=("old",), period_s=60))
    asyncio.run(_probed(container, test, run=_inside(run)))


def test_a_process_that_has_not_answered_yet_keeps_the_rest_of_its_delay() -> None:
    """A new delay counts from the start of the process, not from the change."""

    asked: list[float] = []

    async def run(_: tuple[str, ...], __: float) -> int:
        asked.append(time.monotonic())
        return 0

    async def test(probes: Probes) -> None:
        begun = time.monotonic()
        await asyncio.sleep(1.5)  # the process grows older
        later = replace(container, readiness=Probe(kind=ProbeKind.EXEC, command=("x",), initial_delay_s=2))
        changed = time.monotonic()
        probes.set({KEY: Target(container=later, address=HERE, pid=1, found=False)})
        await _until(lambda: bool(asked))
        assert asked[0] - begun > 1.9
        assert asked[0] - changed < 2

    container = replace(web(), readiness=Probe(kind=ProbeKind.EXEC, command=("x",), initial_delay_s=60))
    asyncio.run(_probed(container, test, run=_inside(run)))


def test_without_a_probe_any_more_to_run_is_to_be_healthy() -> None:
    """A process that failed a probe which is gone is judged without it."""

    async def run(command: tuple[str, ...], _: float) -> int:
        return 0 if command == ("old",) else 1

    async def test(probes: Probes) -> None:
        await _until(lambda: probes.verdict("u1", ("web",)).healthy is True)
        bad = Probe(kind=ProbeKind.EXEC, command=("new",), period_s=0.01, failure_threshold=1)
        probes.set({KEY: Target(container=replace(container, readiness=bad), address=HERE, pid=1, found=False)})
        await _until(lambda: probes.verdict("u1", ("web",)).healthy is False)
        probes.set(
            {KEY: Target(container=replace(container, readiness=None, ports=()), address=HERE, pid=1, found=False)}
        )
        assert probes.verdict("u1", ("web",)).healthy is True

    container = replace(web(), readiness=Probe(kind=ProbeKind.EXEC, command=("old",), period_s=60))
    asyncio.run(_probed(container, test, run=_inside(run)))


@dataclass
class Acts:
    """Performs by waiting for an event per lane, or fails."""

    gates: dict[str, asyncio.Event] = field(default_factory=dict)
    failing: set[str] = field(default_factory=set)

    def perform_now(self, step: Step) -> None:
        pass

    async def perform(self, step: Step) -> None:
        if step.lane in self.failing:
            raise WorldError("try", "in vain")
        if step.lane in self.gates:
            await self.gates[step.lane].wait()


@dataclass
class Told:
    """Writes down what became of steps and lanes."""

    steps: list[Step] = field(default_factory=list)
    troubles: dict[str, str] = field(default_factory=dict)
    ended: list[tuple[str, bool]] = field(default_factory=list)

    def done(self, step: Step) -> None:
        self.steps.append(step)

    def failed(self, step: Step, message: str) -> None:
        self.troubles[step.lane] = message

    async def seen(self, _: Sequence[Step]) -> None:
        await asyncio.sleep(0)

    def lane_ended(self, lane: str, *, well: bool) -> None:
        self.ended.append((lane, well))


def test_a_hanging_lane_and_a_failing_lane_hold_up_nobody() -> None:
    """One lane waits for ever, one fails in its own words, the third and the router's are done (invariant 16)."""

    async def test() -> None:
        acts, told = Acts(gates={"image slow": asyncio.Event()}, failing={"bad"}), Told()
        lanes = Lanes(acts, told)
        good = [MakeNamespace(uid="1", lane="good"), MakeNamespace(uid="2", lane="good")]
        bad = MakeNamespace(uid="3", lane="bad")
        lanes.run([PullImage(image="slow", lane="image slow"), bad, *good, PrepareRouter()])
        assert told.steps == [PrepareRouter()]
        await _until(lambda: lanes.busy == {"image slow"})
        assert [s for s in told.steps if s.lane == "good"] == good
        assert told.troubles == {"bad": "try: in vain"}
        assert set(told.ended) == {("router", True), ("good", True), ("bad", False)}
        acts.failing.clear()
        lanes.run([bad])
        await _until(lambda: ("bad", True) in told.ended)
        acts.gates["image slow"].set()
        await _until(lambda: not lanes.busy)

    asyncio.run(test())


def test_a_new_order_drops_what_still_waits() -> None:
    """Steps of a lane that come after a new order are not taken: they are decided anew."""

    async def test() -> None:
        acts, told = Acts(gates={"a": asyncio.Event()}), Told()
        lanes = Lanes(acts, told)
        lanes.run([MakeNamespace(uid="1", lane="a"), MakeNamespace(uid="2", lane="a")])
        await asyncio.sleep(0)
        lanes.new_order()
        acts.gates["a"].set()
        await _until(lambda: not lanes.busy)
        assert told.steps == [MakeNamespace(uid="1", lane="a")]

    asyncio.run(test())


class _Slow(FakeRuntime):
    """Answers each list when its gate opens, as it was when it was asked for."""

    def __init__(self) -> None:
        super().__init__(images={"web:1"})
        self.gates: list[asyncio.Event] = []

    async def seen(self) -> Sequence[ContainerSeen]:
        found = await super().seen()
        self.gates.append(asyncio.Event())
        await self.gates[-1].wait()
        return found


def test_an_older_list_of_containers_never_replaces_a_newer_one() -> None:
    """Two looks at once, the first answered last: what it does not know of yet stays known, and so stays in traffic."""

    async def test() -> None:
        runtime = _Slow()
        observer = Observer(
            prefix="t", net=cast(Netlink, None), runtime=runtime, router=cast(Router, None),
            speaker=cast(Speaker, None), keeper=Keeper(Path("/nonexistent"), None), clock=time.time,
            wake=lambda: None, died=lambda _: None,
        )  # fmt: skip
        old = asyncio.create_task(observer.look_at_containers(quietly=True))
        await _until(lambda: len(runtime.gates) == 1)
        await runtime.carry_out(CreateContainer(instance=instance(0), container=web(), lane="x"))
        new = asyncio.create_task(observer.look_at_containers(quietly=True))
        await _until(lambda: len(runtime.gates) == 2)
        for gate, look in zip(reversed(runtime.gates), (new, old), strict=True):
            gate.set()
            await look
        assert observer.containers is not None
        assert [c.uid for c in observer.containers] == [instance(0).uid]

    asyncio.run(test())


class _Filling(FakeRuntime):
    """A runtime with a storage, in which each container has written a gigabyte more than the one before."""

    def __init__(self, folder: Path) -> None:
        super().__init__(images={"web:1"})
        self._folder = folder
        self.asked = 0

    async def storage(self) -> Path | None:
        return self._folder

    async def written(self) -> Mapping[str, int]:
        self.asked += 1
        return {seen.id: n << 30 for n, seen in enumerate(await self.seen())}


def test_a_disk_that_is_nearly_full_tells_who_wrote_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is measured while there is room; then whoever wrote more than 10 GiB ends for that reason."""
    free = 50

    def statvfs(_: object) -> SimpleNamespace:
        return SimpleNamespace(f_bavail=free, f_blocks=100, f_frsize=1 << 30)

    async def test() -> None:
        nonlocal free
        runtime = _Filling(tmp_path)
        for n in range(12):
            await runtime.carry_out(CreateContainer(instance=instance(n), container=web(), lane="x"))
        observer = Observer(
            prefix="t", net=cast(Netlink, None), runtime=runtime, router=cast(Router, None),
            speaker=cast(Speaker, None), keeper=Keeper(Path("/nonexistent"), None), clock=time.time,
            wake=lambda: None, died=lambda _: None,
        )  # fmt: skip
        await observer.look_at_containers(quietly=True)
        await observer.measure()
        assert (runtime.asked, observer.overfull, observer.disk_error) == (0, frozenset(), "")
        free = 5
        await observer.measure()
        seen = list(observer.containers or ())
        assert observer.overfull == {seen[11].id}
        assert "5 % left" in observer.disk_error
        assert (observer.why_ended(seen[11], ()), observer.why_ended(seen[10], ())) == (
            Reason.OUT_OF_DISK,
            Reason.EXITED,
        )
        free = 50
        await observer.measure()
        assert (observer.overfull, observer.disk_error) == (frozenset(), "")

    monkeypatch.setattr("anypop.agent.observe.observer.os.statvfs", statvfs)
    asyncio.run(test())
