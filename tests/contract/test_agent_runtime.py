"""The contract of `seam.Runtime`, held by the fake and by Podman alike."""

import asyncio
import os
import re
import signal
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from anypop.agent.naming import namespace_of
from anypop.agent.network.namespaces import make_namespace, remove_name
from anypop.agent.observed import ContainerSeen, ContainerState
from anypop.agent.runtime.podman import Podman
from anypop.agent.runtime.seam import Runtime, Spec
from anypop.host import netns
from anypop.model.errors import WorldError
from anypop.model.order import Containers, InstanceOrder
from tests.agent_fake_runtime import FakeRuntime
from tests.agent_lab import POP, instance, web
from tests.podman_service import WEB, PodmanService

PREFIX = "agc"
KEY = (instance(0).uid, "web")


@dataclass
class Case:
    """A runtime to test, a way to kill a container's process from outside, and a way to run a test in its event loop."""

    make: Callable[[], Runtime]
    kill: Callable[[Runtime, ContainerSeen], None]

    def run(self, test: Callable[[Runtime], Awaitable[None]]) -> None:
        async def whole() -> None:
            runtime = self.make()
            try:
                await asyncio.wait_for(test(runtime), 60)
            finally:
                for seen in await runtime.containers():
                    await runtime.remove(seen.uid, seen.container)
                if isinstance(runtime, Podman):
                    await runtime.close()

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


@pytest.fixture(params=["fake", pytest.param("podman", marks=pytest.mark.lab)])
def case(request: pytest.FixtureRequest) -> Case:
    """The fake, and its real twin."""
    if request.param == "fake":

        def die(runtime: Runtime, seen: ContainerSeen) -> None:
            assert isinstance(runtime, FakeRuntime)
            runtime.die(seen.uid, seen.container)

        return Case(make=lambda: FakeRuntime(images={WEB}), kill=die)
    socket = request.getfixturevalue("service").socket
    return Case(make=lambda: Podman(socket, prefix=PREFIX, pop=POP), kill=lambda _, seen: os.kill(seen.pid, signal.SIGKILL))


def spec(one: InstanceOrder | None = None) -> Spec:
    one = one or instance(0)
    return Spec(pop=POP, generation=1, instance=one, container=one.containers[0])


async def only(runtime: Runtime) -> ContainerSeen:
    """The one container there is."""
    (seen,) = await runtime.containers()
    return seen


async def becomes(runtime: Runtime, state: ContainerState) -> ContainerSeen:
    """Wait until the one container is in `state`."""
    async with asyncio.timeout(10):
        while (seen := await only(runtime)).state is not state:  # noqa: ASYNC110 - another process changes it
            await asyncio.sleep(0.02)
    return seen


def test_a_container_lives_from_create_to_remove(case: Case) -> None:
    """Created, running with a pid, stopped with an exit code, removed; found by uid and name all the way."""

    async def test(runtime: Runtime) -> None:
        await runtime.create(spec())
        seen = await only(runtime)
        assert (seen.uid, seen.container, seen.instance, seen.state) == (*KEY, instance(0).name, ContainerState.CREATED)
        await runtime.start(*KEY)
        seen = await only(runtime)
        assert seen.state is ContainerState.RUNNING
        assert seen.pid > 0
        assert seen.started_at
        await runtime.stop(*KEY)
        seen = await becomes(runtime, ContainerState.EXITED)
        assert seen.pid == 0
        assert seen.exit_code is not None
        await runtime.remove(*KEY)
        assert await runtime.containers() == []

    case.run(test)


def test_every_verb_may_be_repeated(case: Case) -> None:
    """Creating, starting, stopping and removing twice is as good as once: a killed agent repeats itself (invariant 12)."""

    async def test(runtime: Runtime) -> None:
        for _ in range(2):
            await runtime.create(spec())
        for _ in range(2):
            await runtime.start(*KEY)
        pid = (await only(runtime)).pid
        await runtime.start(*KEY)
        assert (await only(runtime)).pid == pid
        for _ in range(2):
            await runtime.stop(*KEY)
        for _ in range(2):
            await runtime.remove(*KEY)
        await runtime.stop(*KEY)

    case.run(test)


def test_a_dead_container_is_seen_and_can_be_started_again(case: Case) -> None:
    """A killed process shows as exited with its code; the same container starts anew with another pid."""

    async def test(runtime: Runtime) -> None:
        await runtime.create(spec())
        await runtime.start(*KEY)
        first = await only(runtime)
        case.kill(runtime, first)
        dead = await becomes(runtime, ContainerState.EXITED)
        assert dead.exit_code == 137
        await runtime.start(*KEY)
        assert (await becomes(runtime, ContainerState.RUNNING)).pid != first.pid

    case.run(test)


def test_changes_tell_of_a_death(case: Case) -> None:
    """Whoever listens hears of a death that nobody asked for."""

    async def test(runtime: Runtime) -> None:
        async def listen() -> None:
            await anext(aiter(runtime.changes()))

        await runtime.create(spec())
        listening = asyncio.create_task(listen())
        for _ in range(20):  # nothing tells when a subscription has taken effect: die until it is heard
            await runtime.start(*KEY)
            case.kill(runtime, await becomes(runtime, ContainerState.RUNNING))
            await becomes(runtime, ContainerState.EXITED)
            if (await asyncio.wait({listening}, timeout=0.3))[0]:
                return
        listening.cancel()
        raise AssertionError("no death was heard of")

    case.run(test)


def test_commands_run_inside_and_give_their_code(case: Case) -> None:
    """An exec probe's command gives its exit code; one that takes too long is an error in words."""

    async def test(runtime: Runtime) -> None:
        await runtime.create(spec())
        await runtime.start(*KEY)
        assert await runtime.run_inside(*KEY, ("/bin/true",), 5) == 0
        assert await runtime.run_inside(*KEY, ("/bin/false",), 5) == 1
        with pytest.raises(WorldError, match="too long"):
            await runtime.run_inside(*KEY, ("/bin/sleep", "5"), 0.3)

    case.run(test)


def test_images_are_known_and_a_failed_pull_says_why(case: Case) -> None:
    """An image that is here is found; one that no registry has raises an error that names it; creating without an image fails."""

    async def test(runtime: Runtime) -> None:
        assert await runtime.has_image(WEB)
        assert not await runtime.has_image("127.0.0.1:1/none:1")
        with pytest.raises(WorldError, match=re.escape("127.0.0.1:1/none:1")):
            await runtime.pull("127.0.0.1:1/none:1")
        lost = replace(instance(0), payload=Containers(containers=(web("127.0.0.1:1/none:1"),)))
        with pytest.raises(WorldError, match=instance(0).name):
            await runtime.create(spec(lost))
        with pytest.raises(WorldError):
            await runtime.start("ffffffffff", "web")

    case.run(test)
