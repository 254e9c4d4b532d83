"""The lives of containers as the agent decides them: who begins when, who ends how, what is told of it."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from anypop.agent.act.instances.hooks import Hooks
from anypop.agent.begun_file import Begun, BegunFile
from anypop.agent.decide import lives, memory
from anypop.agent.decide.converge import converge
from anypop.agent.decide.elements import ContainerState
from anypop.agent.decide.report import report_of
from anypop.agent.decide.steps import (
    CreateContainer,
    RemoveContainer,
    RemoveExternal,
    RunHook,
    StartContainer,
    Step,
    Stop,
    StopContainers,
)
from anypop.agent.observe.probes import Probes, Target
from anypop.model.announce import Address
from anypop.model.errors import WorldError
from anypop.model.order import Containers, InstanceOrder
from anypop.model.reasons import Reason
from anypop.model.report import InstanceReport, Phase
from anypop.model.workload import Container, Probe, ProbeKind
from tests.agent_fake_runtime import FakeRuntime
from tests.agent_world import HOST, POP, FakeHost, instance, order, settle, web

HERE = IPv4Address("127.0.0.1")
HOOK = Probe(kind=ProbeKind.EXEC, command=("true",))


def side(name: str) -> Container:
    return Container(name=name, image=f"{name}:1")


def made_of(*containers: Container, init: tuple[Container, ...] = (), **more: object) -> InstanceOrder:
    payload = Containers(containers=containers, init=init, **more)  # type: ignore[arg-type]
    return replace(instance(0), payload=payload)


def told(host: FakeHost) -> InstanceReport:
    (found,) = report_of(
        host.facts(), pop=POP, host=HOST, generation=1, at=host.now, refused=None, drift=(), errors=()
    ).instances  # fmt: skip
    return found


def of_life(steps: list[Step]) -> list[Step]:
    kinds = CreateContainer | StartContainer | RemoveContainer | RunHook | StopContainers
    return [step for step in steps if isinstance(step, kinds)]


def until_init(host: FakeHost, one: InstanceOrder, name: str, code: int) -> None:
    """Obey until this init container runs, and let it end."""
    for _ in range(60):
        seen = host.containers.get((one.uid, name))
        if seen is not None and seen.state is ContainerState.RUNNING:
            host.end({(one.uid, name)}, code)
            return
        for step in converge(host.facts(), host.now):
            host.apply(step)
        host.now += 0.1
    raise AssertionError(f"{name} never ran")


def test_init_containers_run_in_turn_and_one_that_fails_is_tried_again() -> None:
    """The next one is not even made before; the failure is told with its code, and counts; what waits says so."""
    host, one = FakeHost(), made_of(web(), init=(side("first"), side("second")))
    host.obey(order(1, one))
    until_init(host, one, "first", 1)
    seen = told(host)
    assert (seen.phase, seen.message) == (Phase.FAILED, "first: exit code 1")
    assert (seen.init[0].phase, seen.init[0].exit_code) == (Phase.FAILED, 1)
    assert seen.init[1].reason is seen.containers[0].reason is Reason.INITIALIZING
    assert {key[1] for key in host.containers} == {"first"}
    until_init(host, one, "first", 0)
    seen = told(host)
    assert (seen.phase, seen.reason, seen.message) == (Phase.STARTING, Reason.INITIALIZING, "init container second")
    assert (seen.init[0].phase, seen.init[0].ready, seen.init[0].restarts) == (Phase.STOPPED, True, 1)
    assert {key[1] for key in host.containers} == {"first"}
    until_init(host, one, "second", 0)
    settle(host)
    seen = told(host)
    assert (seen.phase, seen.healthy, [c.exit_code for c in seen.init]) == (Phase.RUNNING, True, [0, 0])


def test_what_has_completed_is_no_death_and_is_not_run_again_for_a_restart_of_the_others() -> None:
    """Neither by its end nor when a container dies; a new agent knows it as well."""
    host, one = FakeHost(), made_of(web(), init=(side("first"),))
    host.obey(order(1, one))
    until_init(host, one, "first", 0)
    settle(host)
    first = host.containers[one.uid, "first"]
    host.end({(one.uid, "web")}, 1)
    host.kill()
    settle(host)
    assert host.containers[one.uid, "first"] == first
    assert told(host).containers[0].restarts == 1
    assert (told(host).init[0].restarts, told(host).init[0].last_reason) == (0, Reason.COMPLETED)
    assert (one.uid, "first") not in host.memory.restarts


def test_a_restart_of_the_instance_begins_with_its_init_containers() -> None:
    """All that is there goes first, whatever its state."""
    host, one = FakeHost(), made_of(web(), init=(side("first"),))
    host.obey(order(1, one))
    until_init(host, one, "first", 0)
    settle(host)
    before = {seen.id for seen in host.containers.values()}
    host.obey(order(2, replace(one, restarts=1)))
    steps = of_life(converge(host.facts(), host.now))
    assert [(type(s), s.container) for s in steps if isinstance(s, RemoveContainer)] == [
        (RemoveContainer, "web"), (RemoveContainer, "first")
    ]  # fmt: skip
    assert len(steps) == 2, "nothing is made before all is gone"
    until_init(host, one, "first", 0)
    assert (one.uid, "web") not in host.containers
    settle(host)
    assert not before & {seen.id for seen in host.containers.values()}
    assert (told(host).init[0].restarts, told(host).containers[0].last_reason) == (1, Reason.RESTART_ASKED)


@pytest.mark.parametrize("kill_after", range(1, 26, 2))
def test_an_agent_that_dies_on_the_way_comes_to_the_same_end(kill_after: int) -> None:
    """After any step: up, through a restart, and down again; nothing is left, and nothing waits for ever."""
    one = made_of(
        replace(web(), post_start=HOOK, pre_stop=HOOK), side("beside"), init=(side("first"), side("second")),
        shared_processes=True, grace_s=5,
    )  # fmt: skip
    host = FakeHost(init_ends=True)
    host.obey(order(1, one))
    settle(host, kill_after=frozenset({kill_after}))
    assert told(host).healthy
    assert host.containers[one.uid, "web"].id in host.memory.hooked
    before = {seen.id for seen in host.containers.values()}
    host.obey(order(2, replace(one, restarts=1)))
    settle(host, kill_after=frozenset({kill_after}))
    assert told(host).healthy
    assert not before & {seen.id for seen in host.containers.values()}
    host.obey(order(3, removed=(one,)))
    settle(host, kill_after=frozenset({kill_after}))
    assert not host.containers
    assert not host.namespaces


def test_who_says_nothing_of_its_end_ends_as_before() -> None:
    """No step more than there was: an upgrade changes nothing."""
    host, one = FakeHost(), instance(0)
    host.obey(order(1, one))
    settle(host)
    seen = host.containers[one.uid, "web"]
    assert [type(s) for s in lives.ended([seen], one.name, one.uid, one, again=False)] == [RemoveContainer]


@pytest.mark.parametrize(("grace_s", "hook", "given"), [(5, None, 5), (None, HOOK, 30), (0, None, 0), (7, HOOK, 7)])
def test_an_instance_that_leaves_is_stopped_after_its_traffic_and_before_its_routes(
    grace_s: int | None, hook: Probe | None, given: int
) -> None:
    """All containers at once, each with its hook; they can still be answered meanwhile."""
    host, one = FakeHost(), made_of(replace(web(), pre_stop=hook), side("beside"), grace_s=grace_s)
    host.obey(order(1, one))
    settle(host)
    host.obey(order(2, removed=(one,)))
    for _ in range(60):
        steps = converge(host.facts(), host.now)
        if any(isinstance(s, StopContainers) for s in steps):
            break
        for step in steps:
            host.apply(step)
        host.now += 0.1
    own = [s for s in steps if isinstance(s, StopContainers | RemoveExternal | RemoveContainer)]
    (stop,) = [s for s in own if isinstance(s, StopContainers)]
    assert own[0] is stop
    assert stop.stops == (Stop(container="beside"), Stop(container="web", hook=hook))
    assert (stop.grace_s, stop.address) == (given, next(one.addresses()).private)
    assert host.facts().memberships == {}
    settle(host)
    assert not host.containers


def test_a_hook_is_run_once_in_a_life_and_one_that_fails_ends_it() -> None:
    """Its failure is told as the reason of the end; the next life has a hook of its own."""
    one = made_of(replace(web(), post_start=HOOK))
    host = FakeHost()
    host.obey(order(1, one))
    for _ in range(30):
        steps = converge(host.facts(), host.now)
        if hooks := [s for s in steps if isinstance(s, RunHook)]:
            break
        for step in steps:
            host.apply(step)
    (hook,) = hooks
    first = host.containers[one.uid, "web"]
    assert (hook.id, hook.hook) == (first.id, HOOK)
    host.memory = memory.step_failed(hook, "postStart hook: exit code 5", host.memory, host.now)
    (ending,) = of_life(converge(host.facts(), host.now))
    assert ending == RemoveContainer(uid=one.uid, container="web", again=first.id, lane=ending.lane)
    host.memory = memory.process_died(first, Reason.HOOK_FAILED, host.memory, host.now)
    host.containers[one.uid, "web"] = replace(first, state=ContainerState.EXITED, pid=0, exit_code=137)
    seen = told(host).containers[0]
    assert (seen.last_reason, seen.message) == (Reason.HOOK_FAILED, "postStart hook: exit code 5")
    settle(host)
    again = host.containers[one.uid, "web"]
    assert (again.past.restarts, again.id in host.memory.hooked) == (1, True)
    assert of_life(converge(host.facts(), host.now)) == []


def test_shared_processes_begin_with_the_first_container_and_end_with_it() -> None:
    """The others are made when it runs; when it dies they go before it is made again."""
    one = made_of(web(), side("beside"), shared_processes=True)
    host = FakeHost()
    host.obey(order(1, one))
    for _ in range(30):
        for step in converge(host.facts(), host.now):
            if isinstance(step, CreateContainer) and step.container.name == "beside":
                assert host.containers[one.uid, "web"].state is ContainerState.RUNNING
            host.apply(step)
    settle(host)
    assert host.containers[one.uid, "beside"].state is ContainerState.RUNNING
    host.end({(one.uid, "web"), (one.uid, "beside")}, 137)  # the kernel ends both
    (ending,) = of_life(converge(host.facts(), host.now))
    assert isinstance(ending, RemoveContainer)
    assert ending.container == "beside"
    settle(host)
    assert {s.state for s in host.containers.values()} == {ContainerState.RUNNING}
    host.end({(one.uid, "beside")}, 1)
    settle(host)
    assert host.containers[one.uid, "web"].past.restarts == 1, "the other way round nothing happens to it"


def test_a_hook_never_takes_more_than_the_grace_period() -> None:
    """What it leaves is what the process has; with nothing left it has a moment; a failure keeps nobody from ending."""
    asked, stopped = [], []

    class Runtime(FakeRuntime):
        async def stop(self, key: tuple[str, str], grace_s: int) -> None:
            stopped.append((key[1], grace_s))

    async def ask(probe: Probe, address: Address, run: object, link: str) -> str | None:
        asked.append((probe.command, probe.timeout_s, address))
        return "exit code 1"

    step = StopContainers(
        uid="u1", stops=(Stop(container="a", hook=HOOK), Stop(container="b")), address=HERE, grace_s=9, lane="x"
    )  # fmt: skip
    asyncio.run(Hooks(Runtime(), ask).stop(step))
    assert asked == [(("true",), 9, HERE)]
    assert sorted(stopped) == [("a", 9), ("b", 9)]
    asyncio.run(Hooks(Runtime(), ask).stop(replace(step, grace_s=0)))
    assert sorted(stopped[2:]) == [("a", 0), ("b", 0)]
    assert len(asked) == 1, "who is killed at once is not asked"
    hook = RunHook(uid="u1", container="a", id="c", hook=HOOK, address=HERE, lane="x")
    with pytest.raises(WorldError, match="postStart hook: exit code 1"):
        asyncio.run(Hooks(Runtime(), ask).run(hook))


def test_who_has_begun_is_known_to_a_later_agent(tmp_path: Path) -> None:
    """A file that is not there, or broken, tells nothing; ids that are gone are forgotten."""
    place = tmp_path / "begun.json"
    assert BegunFile(place).read() is None
    BegunFile(place).keep(Begun(hooked=frozenset({"a"}), started=frozenset({"b"})))
    assert BegunFile(place).read() == Begun(hooked=frozenset({"a"}), started=frozenset({"b"}))
    place.write_text("{")
    assert BegunFile(place).read() is None
    known = replace(memory.NOTHING, hooked=frozenset({"a"}), started=frozenset({"b"}))
    looked = memory.looked(known, containers=(), speaker=None, pins=(), uids=(), now=1.0)
    assert (looked.hooked, looked.started) == (frozenset(), frozenset())


KEY = ("u1", "web")
STARTUP = Probe(kind=ProbeKind.EXEC, command=("up",), period_s=0.02, failure_threshold=5)
SLOW = replace(
    web(),
    startup=STARTUP,
    readiness=Probe(kind=ProbeKind.EXEC, command=("ready",), period_s=60),
    liveness=Probe(kind=ProbeKind.EXEC, command=("live",), period_s=0.01, failure_threshold=1),
)


async def _until(predicate: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not predicate():  # noqa: ASYNC110 - tasks change it
            await asyncio.sleep(0.002)


def _probed(
    test: Callable[[Probes, list[str], set[str]], Awaitable[None]],
    *,
    started: bool = False,
    container: Container = SLOW,
) -> None:
    """`test` gets the probes, what was asked, and the commands that are answered well."""
    asked, well = list[str](), set[str]()

    async def run(_: tuple[str, str], command: tuple[str, ...], __: float) -> int:
        asked.append(command[0])
        return 0 if command[0] in well else 1

    async def whole() -> None:
        probes = Probes(wake=lambda: None, clock=time.time, run_inside=run)
        probes.set({KEY: Target(container=container, address=HERE, pid=1, found=False, started=started)})
        try:
            await test(probes, asked, well)
        finally:
            probes.close()

    asyncio.run(whole())


def test_a_startup_probe_holds_the_others_back() -> None:
    """Nothing else is asked before it is answered once, and it is not asked again."""

    async def test(probes: Probes, asked: list[str], well: set[str]) -> None:
        await _until(lambda: len(asked) > 1)
        assert set(asked) == {"up"}
        well.update(("up", "ready", "live"))
        await _until(lambda: probes.verdict("u1", ("web",)).healthy is True)
        assert probes.started == {(KEY, 1)}
        count = asked.count("up")
        await _until(lambda: asked.count("live") > 3)
        assert asked.count("up") == count

    _probed(test, container=replace(SLOW, startup=replace(STARTUP, failure_threshold=1000)))


def test_a_process_that_does_not_start_in_its_time_is_to_be_restarted() -> None:
    """After as many periods as it may fail."""

    async def test(probes: Probes, asked: list[str], _: set[str]) -> None:
        begun = time.monotonic()
        await _until(lambda: probes.liveness_failed == {KEY})
        assert time.monotonic() - begun > 0.09
        assert set(asked) == {"up"}
        assert "startup probe: exit code 1" in probes.verdict("u1", ("web",)).message

    _probed(test)


def test_what_has_started_once_is_not_asked_for_it_again() -> None:
    """Not by a later agent, and not where the probe is declared later."""

    async def found(probes: Probes, asked: list[str], well: set[str]) -> None:
        well.update(("ready", "live"))
        await _until(lambda: probes.verdict("u1", ("web",)).healthy is True)
        assert "up" not in asked

    _probed(found, started=True)

    async def later(probes: Probes, asked: list[str], well: set[str]) -> None:
        well.update(("ready", "live"))
        await _until(lambda: probes.verdict("u1", ("web",)).healthy is True)
        probes.set({KEY: Target(container=SLOW, address=HERE, pid=1, found=False)})
        assert probes.started == {(KEY, 1)}
        assert probes.verdict("u1", ("web",)).healthy is True
        await _until(lambda: asked.count("live") > 3)
        assert "up" not in asked

    _probed(later, container=replace(SLOW, startup=None))


def test_another_startup_probe_counts_from_its_beginning() -> None:
    """While it starts, it is asked as it is declared now; where none is left, nothing holds it back."""

    async def test(probes: Probes, asked: list[str], well: set[str]) -> None:
        well.update(("ready", "live"))
        await _until(lambda: "up" in asked)
        probes.set({KEY: Target(container=replace(SLOW, startup=None), address=HERE, pid=1, found=False)})
        await _until(lambda: probes.verdict("u1", ("web",)).healthy is True)
        assert probes.liveness_failed == set()

    _probed(test, container=replace(SLOW, startup=replace(STARTUP, failure_threshold=1000)))
