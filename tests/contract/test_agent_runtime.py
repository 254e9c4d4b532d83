"""The contract of `InstanceRuntime`, held by the fake and by Podman alike."""

import asyncio
import os
import re
import signal
import subprocess
import tempfile
import termios
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from anypop.agent.act.instances.machines.machines import Machines
from anypop.agent.act.instances.podman import Podman
from anypop.agent.act.instances.runtime import InstanceRuntime
from anypop.agent.act.network.namespaces import make_namespace, remove_name
from anypop.agent.decide.elements import NO_PAST, ContainerSeen, ContainerState, Ending, Past
from anypop.agent.decide.steps import CreateContainer, DropImage, PullImage, RemoveContainer, StartContainer
from anypop.agent.naming import namespace_of
from anypop.agent.observe.deaths import DeathWatch
from anypop.host import control_groups, inventory, netns
from anypop.model.confinement import Security
from anypop.model.errors import WorldError
from anypop.model.order import Containers, InstanceOrder
from anypop.model.reasons import Reason
from anypop.model.streams import CommandRequest, Frame
from anypop.model.workload import Container, Probe, ProbeKind
from tests.agent_fake_runtime import FakeRuntime
from tests.agent_lab import POP, instance, web
from tests.empty_guests import EmptyGuests
from tests.podman_service import WEB, PodmanService
from tests.private_registry import PrivateRegistry
from tests.wait import until, wait_until

PREFIX = f"agc{os.getpid()}"
GUEST_PREFIX = f"agq{os.getpid()}"
KEY = (instance(0).uid, "web")
EXITED = ContainerState.EXITED


@dataclass
class Case:
    """A runtime to test, a way to kill a container's process from outside, and a way to run a test in its event
    loop.
    """

    make: Callable[[], InstanceRuntime]
    kill: Callable[[InstanceRuntime, ContainerSeen], None]
    order: InstanceOrder = field(default_factory=lambda: instance(0))

    def create(self, past: Past = NO_PAST) -> CreateContainer:
        return create(self.order, past=past)

    def run(self, test: Callable[[InstanceRuntime], Awaitable[None]]) -> None:
        async def whole() -> None:
            runtime = self.make()
            try:
                await asyncio.wait_for(test(runtime), 60)
            finally:
                for seen in await runtime.seen():
                    await runtime.carry_out(RemoveContainer(uid=seen.uid, container=seen.container, lane=""))
                if isinstance(runtime, Podman):
                    await runtime.close()
                if isinstance(runtime, Machines):
                    runtime.close()

        asyncio.run(whole())


@pytest.fixture(scope="module")
def service() -> Iterator[PodmanService]:
    """A Podman of this module's own, with a namespace for its one instance."""
    podman = PodmanService(Path(tempfile.mkdtemp(prefix="agc-", dir="/tmp")))
    try:
        podman.start()
        podman.import_web_image()
        make_namespace(PREFIX, KEY[0])
        yield podman
    finally:
        remove_name(netns.path_of(namespace_of(PREFIX, KEY[0])))
        podman.stop()


@pytest.fixture
def case_of(request: pytest.FixtureRequest) -> Callable[[str], Case]:
    """One by its name."""

    def of(name: str) -> Case:
        if name == "fake":
            return Case(make=lambda: FakeRuntime(images={WEB}), kill=die)
        socket = request.getfixturevalue("service").socket
        return Case(
            make=lambda: Podman(socket, prefix=PREFIX, pop=POP), kill=lambda _, seen: os.kill(seen.pid, signal.SIGKILL)
        )

    def die(runtime: InstanceRuntime, seen: ContainerSeen) -> None:
        assert isinstance(runtime, FakeRuntime)
        runtime.die(seen.key)

    return of


@pytest.fixture(params=["fake", pytest.param("podman", marks=pytest.mark.lab)])
def case(request: pytest.FixtureRequest, case_of: Callable[[str], Case]) -> Case:
    """The fake, and its real twin."""
    return case_of(request.param)


@pytest.fixture(scope="module")
def guests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmptyGuests]:
    """Virtual machines of this module's own, with a namespace for the one instance."""
    make_namespace(GUEST_PREFIX, KEY[0])
    try:
        yield EmptyGuests(tmp_path_factory.mktemp("guests"), prefix=GUEST_PREFIX)
    finally:
        remove_name(netns.path_of(namespace_of(GUEST_PREFIX, KEY[0])))


@pytest.fixture(params=["fake", *(pytest.param(name, marks=pytest.mark.lab) for name in ("podman", "qemu"))])
def either(request: pytest.FixtureRequest) -> Case:
    """The fake and both real ones: what follows means the same for containers and virtual machines."""
    if request.param != "qemu":
        found: Case = request.getfixturevalue("case_of")(request.param)
        return found
    guests: EmptyGuests = request.getfixturevalue("guests")
    return Case(make=guests.machines, kill=lambda _, seen: os.kill(seen.pid, signal.SIGKILL), order=guests.order)


START = StartContainer(uid=KEY[0], container=KEY[1], lane="")
REMOVE = RemoveContainer(uid=KEY[0], container=KEY[1], lane="")


def create(one: InstanceOrder | None = None, past: Past = NO_PAST) -> CreateContainer:
    one = one or instance(0)
    return CreateContainer(instance=one, container=one.containers[0], generation=1, past=past, lane="")


async def only(runtime: InstanceRuntime) -> ContainerSeen:
    """The one container there is."""
    (seen,) = await runtime.seen()
    return seen


async def becomes(runtime: InstanceRuntime, state: ContainerState) -> ContainerSeen:
    """Wait until the one container is in `state`."""
    async with asyncio.timeout(10):
        seen = await only(runtime)
        while seen.state is not state or (state is EXITED and seen.exit_code is None):
            await asyncio.sleep(0.02)
            seen = await only(runtime)
    return seen


async def asked_to_end(runtime: InstanceRuntime) -> None:
    """Wait until the one process would hear that it is to end: just begun, it has not said so yet, and as the first
    process of its namespace it is then told nothing.
    """
    if not isinstance(runtime, Podman):
        return
    async with asyncio.timeout(20):
        while not _catches((await only(runtime)).pid, signal.SIGTERM):  # noqa: ASYNC110 - the process itself says so
            await asyncio.sleep(0.02)


def _catches(pid: int, number: signal.Signals) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt:")).split()[1]
    return bool(int(caught, 16) >> (number - 1) & 1)


async def all_become(runtime: InstanceRuntime, state: ContainerState) -> Sequence[ContainerSeen]:
    """The same of all that there are."""
    seen = await runtime.seen()
    async with asyncio.timeout(20):
        while {one.state for one in seen} != {state}:
            await asyncio.sleep(0.02)
            seen = await runtime.seen()
    return seen


def test_a_container_lives_from_create_to_remove(either: Case) -> None:
    """Created, running with a pid, ended with an exit code, removed; found by uid and name all the way."""

    async def test(runtime: InstanceRuntime) -> None:
        await runtime.carry_out(either.create())
        seen = await only(runtime)
        assert (seen.uid, seen.container, seen.instance, seen.state) == (*KEY, instance(0).name, ContainerState.CREATED)
        assert seen.past == NO_PAST
        await runtime.carry_out(START)
        seen = await only(runtime)
        assert seen.state is ContainerState.RUNNING
        assert seen.pid > 0
        assert seen.started_at
        assert seen.image
        either.kill(runtime, seen)
        seen = await becomes(runtime, ContainerState.EXITED)
        assert seen.pid == 0
        assert seen.exit_code == 137
        assert seen.finished_at
        assert not seen.out_of_memory
        await runtime.carry_out(REMOVE)
        assert await runtime.seen() == []

    either.run(test)


def test_every_step_may_be_repeated(either: Case) -> None:
    """Creating, starting and removing twice is as good as once: a killed agent repeats itself (invariant 12)."""

    async def test(runtime: InstanceRuntime) -> None:
        for _ in range(2):
            await runtime.carry_out(either.create())
        for _ in range(2):
            await runtime.carry_out(START)
        pid = (await only(runtime)).pid
        await runtime.carry_out(START)
        assert (await only(runtime)).pid == pid
        for _ in range(2):
            await runtime.carry_out(REMOVE)  # it runs: its process is ended first
        assert await runtime.seen() == []

    either.run(test)


@pytest.mark.lab
def test_what_cannot_be_started_is_taken_away_with_its_processes(service: PodmanService) -> None:
    """A Podman that was killed in the middle of a start may not know that the process runs: it then fails to start it
    for ever. The container goes, and the next one can be made and started.
    """

    async def test(runtime: InstanceRuntime) -> None:
        await runtime.carry_out(create())
        id_ = (await only(runtime)).id
        assert service.ask("POST", f"/containers/{id_}/init").status_code == 204
        await asyncio.to_thread(subprocess.run, ["crun", "start", id_], check=True)  # behind Podman's back
        with pytest.raises(WorldError, match="start container web"):
            await runtime.carry_out(START)
        assert await runtime.seen() == []
        assert not [pid for pid in inventory.others() if control_groups.holds(pid, id_)]
        await runtime.carry_out(create())
        await runtime.carry_out(START)
        await becomes(runtime, ContainerState.RUNNING)

    Case(make=lambda: Podman(service.socket, prefix=PREFIX, pop=POP), kill=lambda *_: None).run(test)


@pytest.mark.lab
def test_a_pid_that_is_somebody_elses_by_now_is_a_death(service: PodmanService) -> None:
    """Who watches a container's process looks whether the process is the container's."""

    async def test(runtime: InstanceRuntime) -> None:
        await runtime.carry_out(create())
        await runtime.carry_out(START)
        seen = await becomes(runtime, ContainerState.RUNNING)
        other = await asyncio.create_subprocess_exec("sleep", "60")
        try:
            for pid, is_dead in ((seen.pid, False), (other.pid, True)):
                found: list[int] = []
                watch = DeathWatch(
                    lambda _, pid, __, found=found: found.append(pid),  # type: ignore[misc]
                    lambda _, pid: control_groups.holds(pid, seen.id),
                )
                watch.set({seen.key: pid})
                watch.close()
                assert found == ([pid] if is_dead else [])
        finally:
            other.kill()
            await other.wait()

    Case(make=lambda: Podman(service.socket, prefix=PREFIX, pop=POP), kill=lambda *_: None).run(test)


def test_a_container_knows_its_past_and_is_made_of_the_same_image(either: Case) -> None:
    """The next life carries how often there was one before and how the last ended, and its image is the very one."""

    async def test(runtime: InstanceRuntime) -> None:
        await runtime.carry_out(either.create())
        image = (await only(runtime)).image
        await runtime.carry_out(REMOVE)
        last = Ending(reason=Reason.OUT_OF_MEMORY, code=137, at=12.5)
        await runtime.carry_out(either.create(past=Past(restarts=2, last=last, image=image)))
        seen = await only(runtime)
        assert (seen.past, seen.image) == (Past(restarts=2, last=last), image)
        await runtime.carry_out(REMOVE)
        await runtime.carry_out(either.create(past=Past(restarts=3, last=last, image="0" * 64)))
        assert (await only(runtime)).image == image, "an image that is gone is taken by its name"

    either.run(test)


@pytest.mark.lab
def test_a_process_that_wants_too_much_memory_is_known_as_such(service: PodmanService) -> None:
    """One that grows beyond its limit is ended by the kernel, and at its death we know why; one that just fails with
    the same code is not suspected.
    """
    eats = "sleep 0.5; x=x; while true; do x=$x$x; done"
    for script, for_memory in ((eats, True), ("sleep 0.5; exit 137", False)):
        container = replace(web(), command=("/bin/sh", "-c", script), memory_bytes=16 << 20)
        one = replace(instance(0), payload=Containers(containers=(container,)))
        deaths: list[bool] = []

        async def test(runtime: InstanceRuntime, one: InstanceOrder = one, deaths: list[bool] = deaths) -> None:
            await runtime.carry_out(create(one))
            await runtime.carry_out(START)
            watch = DeathWatch(lambda _, __, out_of_memory: deaths.append(out_of_memory))
            watch.set({KEY: (await becomes(runtime, ContainerState.RUNNING)).pid})
            seen = await becomes(runtime, ContainerState.EXITED)
            watch.close()
            assert seen.exit_code == 137

        Case(make=lambda: Podman(service.socket, prefix=PREFIX, pop=POP), kill=lambda *_: None).run(test)
        assert deaths == [for_memory]


def test_what_a_container_was_made_from_can_be_compared(case: Case) -> None:
    """The same words are the same; any other image, command, argument, variable, secret or limit is not; ports and
    probes do not count.

    That is how containers are taken over that an older version made, which kept no template.
    """
    made = web(
        command=("/bin/sh", "-c"), args=("sleep 60",), env=(("A", "1"), ("B", "x=y z")), secrets=(("S", "hidden"),)
    )
    one = replace(instance(0), template="t1", payload=Containers(containers=(made,)))
    others = [
        replace(made, **change)
        for change in (
            {"image": "localhost/other:1"}, {"command": ("/bin/sh",)}, {"args": ()}, {"args": ("sleep 61",)},
            {"env": made.env[:1]},
            {"env": (*made.env, ("C", ""))}, {"env": (("A", "2"), made.env[1])}, {"secrets": ()},
            {"secrets": (("S", "known"),)},
            {"cpu_millis": 500}, {"memory_bytes": 65 << 20},
        )
    ]  # fmt: skip

    async def test(runtime: InstanceRuntime) -> None:
        await runtime.carry_out(create(one))
        seen = await only(runtime)
        assert seen.template == "t1"
        assert seen.image_digest.startswith("sha256:")
        assert await runtime.is_made_of(seen, replace(made, ports=(), readiness=Probe(kind=ProbeKind.TCP, port=1)))
        assert [o for o in others if await runtime.is_made_of(seen, o)] == []
        await runtime.carry_out(REMOVE)
        await runtime.carry_out(create())  # nothing but an image
        seen = await only(runtime)
        assert await runtime.is_made_of(seen, web())
        assert not await runtime.is_made_of(seen, web(args=("x",)))
        await runtime.carry_out(REMOVE)
        assert not await runtime.is_made_of(replace(seen, uid="gone", id="gone"), web())

    case.run(test)


def test_the_disk_of_instances_has_a_size(either: Case) -> None:
    """Bytes of the file system that images and containers are on."""

    async def test(runtime: InstanceRuntime) -> None:
        assert await runtime.disk_bytes() > 1 << 30

    either.run(test)


def test_changes_tell_of_a_death(either: Case) -> None:
    """Whoever listens hears of a death that nobody asked for."""

    async def test(runtime: InstanceRuntime) -> None:
        async def listen() -> None:
            await anext(aiter(runtime.changes()))

        listening = asyncio.create_task(listen())
        for _ in range(20):  # nothing tells when a subscription has taken effect: die until it is heard
            await runtime.carry_out(either.create())
            await runtime.carry_out(START)
            either.kill(runtime, await becomes(runtime, ContainerState.RUNNING))
            await becomes(runtime, ContainerState.EXITED)
            await runtime.carry_out(REMOVE)
            if (await asyncio.wait({listening}, timeout=0.3))[0]:
                return
        listening.cancel()
        raise AssertionError("no death was heard of")

    either.run(test)


def test_commands_run_inside_and_give_their_code(case: Case) -> None:
    """An exec probe's command gives its exit code; one that takes too long is an error in words."""

    async def test(runtime: InstanceRuntime) -> None:
        await runtime.carry_out(create())
        await runtime.carry_out(START)
        assert await runtime.run_inside(KEY, ("/bin/true",), 5) == 0
        assert await runtime.run_inside(KEY, ("/bin/false",), 5) == 1
        with pytest.raises(WorldError, match="too long"):
            await runtime.run_inside(KEY, ("/bin/sleep", "5"), 0.3)

    case.run(test)


def test_a_process_is_asked_to_end_and_killed_when_it_does_not(case: Case) -> None:
    """It stays there as one that has ended; where nothing runs there is nothing to do."""

    async def test(runtime: InstanceRuntime) -> None:
        await runtime.stop(KEY, 5)
        await runtime.carry_out(create())
        await runtime.stop(KEY, 5)
        assert (await only(runtime)).state is ContainerState.CREATED
        for grace_s, code in ((5, 0), (0, 137)):
            await runtime.carry_out(START)
            await asked_to_end(runtime)
            await runtime.stop(KEY, grace_s)
            assert (await becomes(runtime, ContainerState.EXITED)).exit_code == code
            await runtime.carry_out(REMOVE)
            await runtime.carry_out(create())

    case.run(test)


def test_an_init_container_is_known_as_one(case: Case) -> None:
    """By who looks at it later, too; the others are not."""
    first = replace(web(), name="first", command=("/bin/true",), args=())
    one = replace(instance(0), payload=Containers(containers=(web(),), init=(first,)))

    async def test(runtime: InstanceRuntime) -> None:
        await runtime.carry_out(replace(create(one), container=first))
        await runtime.carry_out(create(one))
        assert {seen.container: seen.init for seen in await runtime.seen()} == {"first": True, "web": False}

    case.run(test)


@pytest.mark.lab
def test_a_command_that_takes_too_long_is_ended_and_may_say_anything(service: PodmanService) -> None:
    """With what it has begun; what it says is not kept."""
    mark = "97531"

    async def test(runtime: InstanceRuntime) -> None:
        await runtime.carry_out(create())
        await runtime.carry_out(START)
        with pytest.raises(WorldError, match="too long"):
            await runtime.run_inside(KEY, ("/bin/sh", "-c", f"sleep {mark} & while true; do echo much; done"), 0.5)
        wait_until(lambda: not _sleeping(mark), timeout_s=10, reason="what it began is ended too")

    Case(make=lambda: Podman(service.socket, prefix=PREFIX, pop=POP), kill=lambda *_: None).run(test)


@pytest.mark.lab
def test_what_a_process_says_of_its_end_is_read_within_its_own_root(service: PodmanService) -> None:
    """The last 4096 bytes of a plain file that was there before the first instruction, whoever runs inside; no link
    leads elsewhere, and what is the host's is not read. A later agent finds the file as well.
    """
    cases = {
        "test -e /dev/termination-log && echo why > /dev/termination-log; exit 3": ("/dev/termination-log", "why"),
        "busybox yes | busybox head -c 9000 > /tmp/why; exit 3": ("/tmp/why", "y\n" * 2047 + "y"),
        "busybox rm /tmp/why; busybox ln -s /etc/hostname /tmp/why; exit 3": ("/tmp/why", ""),
        "busybox rm /tmp/why; busybox mkfifo /tmp/why; exit 3": ("/tmp/why", ""),
        "exit 3": ("/proc/version", ""),
        "exit 4": ("/no/such/folder/why", ""),
        "echo said; exit 3": ("/why", "said"),
    }

    def go(pid: int) -> None:
        Path(f"/proc/{pid}/root/tmp/go").touch()

    made = [
        replace(
            web(), name=f"c{n}", command=("/bin/sh", "-c", f"while ! test -e /tmp/go; do sleep 0.02; done; {script}"),
            message_path=path, message_from_log=path == "/why",
            security=Security(user=1000 if path == "/dev/termination-log" else None),
        )
        for n, (script, (path, _)) in enumerate(cases.items())
    ]  # fmt: skip
    one = replace(instance(0), payload=Containers(containers=tuple(made)))

    async def begin(runtime: InstanceRuntime, container: Container) -> None:
        await runtime.carry_out(replace(create(one), container=container))
        await runtime.carry_out(replace(START, container=container.name))

    async def test(runtime: InstanceRuntime) -> None:
        await asyncio.gather(*(begin(runtime, container) for container in made))
        later = Podman(service.socket, prefix=PREFIX, pop=POP)
        try:
            await later.seen()
            for seen in await runtime.seen():
                go(seen.pid)
            for who in (runtime, later):
                ended = {seen.container: seen for seen in await all_become(who, ContainerState.EXITED)}
                told = [ended[container.name].message for container in made]
                assert told == [said for _, said in cases.values()]
                assert {seen.exit_code for seen in ended.values()} == {3, 4}
        finally:
            await later.close()

    Case(make=lambda: Podman(service.socket, prefix=PREFIX, pop=POP), kill=lambda *_: None).run(test)


def _sleeping(seconds: str) -> list[int]:
    """Numbers of processes."""
    folders = [folder for folder in Path("/proc").iterdir() if folder.name.isdigit()]
    said = b"\0".join([b"sleep", seconds.encode()])
    return [int(folder.name) for folder in folders if said in _read(folder / "cmdline")]


def _terminal_size(pid: int) -> tuple[int, int]:
    """Rows and columns."""
    terminal = os.open(f"/proc/{pid}/fd/0", os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        return termios.tcgetwinsize(terminal)
    finally:
        os.close(terminal)


def test_a_command_has_input_output_and_a_code(case: Case) -> None:
    """Frames of output as they come, and the code at last; input reaches it, and its end too."""

    async def said(runtime: InstanceRuntime, *words: str, given: bytes = b"") -> tuple[bytes, bytes]:
        command = await runtime.begin(KEY, CommandRequest(uid=KEY[0], container=KEY[1], command=words))
        try:
            if given:
                await command.take(bytes([Frame.INPUT]) + given)
                await command.take(bytes([Frame.END]))
            frames = [frame async for frame in command.frames()]
        finally:
            await command.close()
        assert frames[-1][0] == Frame.EXIT
        return b"".join(frame[1:] for frame in frames[:-1] if frame[0] == Frame.OUTPUT), frames[-1][1:]

    async def test(runtime: InstanceRuntime) -> None:
        await runtime.carry_out(create())
        await runtime.carry_out(START)
        assert await said(runtime, "sh", "-c", "echo a  b") == (b"a b\n", b'{"code": 0}')
        assert await said(runtime, "/bin/false") == (b"", b'{"code": 1}')
        assert await said(runtime, "sh", "-c", "read x; echo $x", given=b"hello") == (b"hello\n", b'{"code": 0}')
        assert await said(runtime, "/no/such/program") == (b"", b'{"code": 127}')

    case.run(test)


@pytest.mark.lab
def test_a_command_that_nobody_waits_for_any_more_is_ended(service: PodmanService) -> None:
    """Its process is gone from the container, though it would sleep on; and with a terminal its size is as told."""

    async def test() -> None:
        runtime = Podman(service.socket, prefix=PREFIX, pop=POP)
        try:
            await runtime.carry_out(create())
            await runtime.carry_out(START)
            # The size comes when the command has begun: stty finds none, and fails, until then.
            told = "until stty size 2>&-; do :; done; exec sleep 98765"
            asked = CommandRequest(
                uid=KEY[0], container=KEY[1], command=("sh", "-c", told), terminal=True, rows=33, columns=44
            )
            command = await runtime.begin(KEY, asked)
            try:
                # What it says at once may be lost by Podman's monitor on a busy machine, so its terminal is asked.
                await until(lambda: len(sleeping()) == 1, "it sleeps", timeout_s=60)
                assert _terminal_size(sleeping()[0]) == (33, 44)
            finally:
                await command.close()
            wait_until(lambda: not sleeping(), timeout_s=60, reason="it is ended")
        finally:
            await runtime.carry_out(REMOVE)
            await runtime.close()

    def sleeping() -> list[int]:
        return _sleeping("98765")

    asyncio.run(test())


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:  # it ended meanwhile
        return b""


def test_an_image_that_is_here_is_enough_and_a_failed_pull_says_why(case: Case) -> None:
    """An image that is here is not asked for; one that no registry has raises an error that names it; creating
    without an image fails.
    """

    async def test(runtime: InstanceRuntime) -> None:
        await runtime.carry_out(PullImage(image=WEB, lane=""))
        for image, anew in (("127.0.0.1:1/none:1", False), ("127.0.0.1:1/none:1", True)):
            with pytest.raises(WorldError, match=re.escape(image)):
                await runtime.carry_out(PullImage(image=image, anew=anew, lane=""))
        lost = replace(instance(0), payload=Containers(containers=(web("127.0.0.1:1/none:1"),)))
        with pytest.raises(WorldError, match=instance(0).name):
            await runtime.carry_out(create(lost))
        with pytest.raises(WorldError):
            await runtime.carry_out(StartContainer(uid="ffffffffff", container="web", lane=""))

    case.run(test)


@pytest.fixture(params=["fake", pytest.param("podman", marks=pytest.mark.lab)])
def guarded(request: pytest.FixtureRequest) -> Iterator[tuple[Case, PrivateRegistry]]:
    """A runtime, and a registry that wants a password."""
    folder = Path(tempfile.mkdtemp(prefix="agp-", dir="/tmp"))
    registry = PrivateRegistry(folder / "registry")
    if request.param == "fake":
        fake = FakeRuntime(images={WEB}, registry={registry.image}, logins={registry.image: registry.login})
        yield Case(make=lambda: fake, kill=lambda *_: None), registry
        return
    podman = PodmanService(folder, registry.environment)
    try:
        registry.open()
        podman.start()
        podman.import_web_image()
        registry.publish(podman)
        yield Case(make=lambda: Podman(podman.socket, prefix=PREFIX, pop=POP), kill=lambda *_: None), registry
    finally:
        registry.close()
        podman.stop()


def test_an_image_that_is_guarded_comes_with_its_password_alone(guarded: tuple[Case, PrivateRegistry]) -> None:
    """Without one, or with a wrong one, it is told why, and the password stands in no word of it."""
    case, registry = guarded
    wrong = replace(registry.login, password="close sesame")

    async def test(runtime: InstanceRuntime) -> None:
        pull = PullImage(image=registry.image, registries=(registry.host,), lane="")
        for login in (None, wrong, replace(registry.login, server="127.0.0.2:1")):
            with pytest.raises(WorldError, match="authentication required") as error:
                await runtime.carry_out(replace(pull, login=login, whose="s"))
            assert "sesame" not in str(error.value)
        assert not runtime.fetched()
        await runtime.carry_out(replace(pull, login=registry.login, whose="s"))
        assert registry.image in runtime.fetched()
        # what is here is asked for again only where that is wanted, and then it needs the password again
        await runtime.carry_out(pull)
        with pytest.raises(WorldError, match="authentication required"):
            await runtime.carry_out(replace(pull, anew=True))

    case.run(test)


def test_an_image_that_a_container_is_made_of_cannot_be_dropped(case: Case) -> None:
    """Whoever asks; one that is not here is dropped already; what was here before was not fetched."""

    async def test(runtime: InstanceRuntime) -> None:
        await runtime.carry_out(PullImage(image=WEB, lane=""))
        await runtime.carry_out(create())
        with pytest.raises(WorldError, match="in use"):
            await runtime.carry_out(DropImage(image=WEB, lane=""))
        await runtime.carry_out(START)
        await runtime.carry_out(DropImage(image="127.0.0.1:1/none:1", lane=""))
        assert not runtime.fetched()

    case.run(test)


@pytest.mark.lab
def test_what_a_container_wrote_is_measured(service: PodmanService) -> None:
    """Beside its image, by its id."""
    script = "/bin/busybox dd if=/dev/zero of=/big bs=1M count=8; exec sleep 1000"
    one = replace(instance(0), payload=Containers(containers=(web(command=("/bin/sh", "-c", script)),)))

    async def test(runtime: InstanceRuntime) -> None:
        await runtime.carry_out(create(one))
        assert (await runtime.written())[(await only(runtime)).id] < 1 << 20
        await runtime.carry_out(START)
        async with asyncio.timeout(10):
            while not 8 << 20 <= (await runtime.written())[(await only(runtime)).id] < 9 << 20:  # noqa: ASYNC110 - another process writes
                await asyncio.sleep(0.05)

    Case(make=lambda: Podman(service.socket, prefix=PREFIX, pop=POP), kill=lambda *_: None).run(test)
