"""A machine that runs moves from one host to another: QEMU really runs on both, and all goes by TLS between them. Its
guest is empty; what flows do meanwhile is the lab's.
"""

import asyncio
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from anypop.agent.act.instances.machines import leaving, migration, monitor
from anypop.agent.act.instances.machines.machines import Machines
from anypop.agent.act.instances.machines.move_words import Given, Opening, Said, Stream
from anypop.agent.act.instances.machines.place import ARRIVING, CAME, HANDED, LEAVING, OFF, ROOT, Place
from anypop.agent.act.instances.machines.talk import open_talk
from anypop.agent.between_hosts import reach
from anypop.agent.decide.elements import ContainerState
from anypop.agent.decide.steps import PowerOff
from anypop.agent.guests.word import Known
from anypop.host import ip, netns
from anypop.model.errors import WorldError
from anypop.model.machine import Firmware
from anypop.model.names import HostName
from tests.empty_guests import empty_image, machine_order
from tests.moving_hosts import HERE, Host, Process, free_port, serving, wired
from tests.wait import wait_until

pytestmark = pytest.mark.lab


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Host, Host]]:
    """Two hosts; the guest runs on the first."""
    image = empty_image(tmp_path, firmware=Firmware.UEFI)
    hosts = [
        Host(
            tmp_path, name, prefix=f"m{n}{os.getpid()}", images=tmp_path, authority=tmp_path / "ca",
            order=machine_order(n, image),
        )
        for n, name in enumerate(("LHR-1", "LHR-2"))
    ]  # fmt: skip
    first, second = hosts
    router = f"mr{os.getpid()}"
    ip.batch([f"netns add {router}"])
    ip.batch(["link set lo up"], netns=router)
    try:
        with netns.inside(router), wired(first), wired(second):
            try:
                asyncio.run(first.begin())
                yield first, second
            finally:
                for host in hosts:
                    asyncio.run(host.clear())
    finally:
        ip.batch([f"netns del {router}"])


async def status(host: Host) -> str:
    return str((await monitor.ask(host.place, "query-status"))["status"])


async def runs(host: Host) -> bool:
    return host.place.pid() is not None and await status(host) == "running"


def test_all_of_it_is_there_and_nothing_is_left_here(pair: tuple[Host, Host]) -> None:
    """Its memory, its disk with what was written last, its identity; it runs there alone, is seen there alone, and does
    not begin here anew. Only whom the order names may send it, and a host is not taken for another.
    """
    first, second = pair

    async def test() -> None:
        disk = "/machine/peripheral-anon/device[0]/virtio-backend"
        assert not await _by_hand(first, f'qemu-io -d {disk} "write -P 0x5a 64k 128k"'), "as its guest would"
        uuid = await monitor.ask(first.place, "query-uuid")
        bios = await _memory(first)
        closed = second.door(takes_from="LHR-9")
        port = await closed.open(HERE, 0)
        with pytest.raises(WorldError, match="not expected"):
            await first.send(second, port)
        with pytest.raises(WorldError, match="LHR-2 answers"):
            await reach(first.folder, first.ca, HostName("LHR-3"), HERE, port)
        await closed.close()
        assert await runs(first)

        first.word.keep(Known.READY)
        door = second.door(takes_from=first.name)
        port = await door.open(HERE, 0)
        await first.send(second, port)
        assert first.place.pid() is None
        assert first.place.marked(HANDED) == second.name
        assert await runs(second)
        assert await monitor.ask(second.place, "query-uuid") == uuid
        assert await _memory(second) == bios
        assert second.word.stands(), "it has told that it is ready, and is not asked to tell it again"
        (seen,) = await second.machines().seen()
        assert seen.state is ContainerState.RUNNING
        (left,) = await first.machines().seen()
        assert left.state is ContainerState.EXITED
        with pytest.raises(WorldError, match="moved to LHR-2"):
            await first.machines().carry_out(first.start())
        await door.close()

    asyncio.run(test())
    asyncio.run(second.machines().stop((second.order.uid, "web"), 0))
    _has_what_was_written(second)


def _has_what_was_written(host: Host) -> None:
    words = ["qemu-io", "-r", "-c", "read -P 0x5a 64k 128k", str(host.place.own / ROOT)]
    said = subprocess.run(words, capture_output=True, text=True, check=False)
    assert "verification failed" not in said.stdout + said.stderr, said
    assert said.returncode == 0, said


async def _memory(host: Host) -> str:
    return await _by_hand(host, "xp /64xb 0xfffc0")


async def _by_hand(host: Host, command: str) -> str:
    async with open_talk(host.place) as talk:
        return str(await talk.ask("human-monitor-command", command_line=command))


def test_one_that_takes_too_long_goes_on_here_and_may_move_later(
    pair: tuple[Host, Host], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of it stays there, and the next try finds no traces."""
    first, second = pair

    async def test() -> None:
        door = second.door(takes_from=first.name)
        port = await door.open(HERE, 0)
        with monkeypatch.context() as slow:
            slow.setattr(migration, "MOST_PER_S", 4096)
            with pytest.raises(WorldError, match="not whole there within 1 s"):
                await first.send(second, port, within_s=1)
        assert await runs(first)
        assert await monitor.ask(first.place, "query-block-jobs") == []
        await door.close()
        assert not second.place.folder.exists()
        door = second.door(takes_from=first.name)
        await first.send(second, await door.open(HERE, 0))
        assert await runs(second)
        await door.close()

    asyncio.run(test())


@pytest.mark.parametrize("whose", ["sender", "receiver"])
def test_an_agent_that_is_killed_on_the_way_leaves_one_guest_that_runs(
    pair: tuple[Host, Host], whose: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sender's next agent takes the move back, the receiver's forgets it; then it moves after all."""
    first, second = pair
    port = free_port()
    with monkeypatch.context() as slow:
        slow.setattr(migration, "MOST_PER_S", 4096)
        receiver = serving(second, port, takes_from=first.name)
        sender = Process(first, lambda: first.send(second, port))
        wait_until(lambda: asyncio.run(_is_sending(first)), timeout_s=20, reason="memory is on its way")
        (sender if whose == "sender" else receiver).kill()
    if whose == "sender":
        assert first.place.marked(LEAVING) == second.name
        asyncio.run(first.settle(second, port))
    else:
        wait_until(lambda: sender.code() is not None, timeout_s=20, reason="the sender has given up")
    assert asyncio.run(runs(first))
    assert first.place.marked(LEAVING) is None
    if whose == "receiver":
        receiver = serving(second, port, takes_from=first.name)
    asyncio.run(first.send(second, port))
    receiver.kill()
    assert asyncio.run(runs(second))
    assert first.place.pid() is None


async def _is_sending(host: Host) -> bool:
    return bool((await monitor.ask(host.place, "query-migrate")).get("status") == "active")


def test_killed_just_after_it_was_handed_over_it_runs_there_as_soon_as_somebody_asks(
    pair: tuple[Host, Host], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until then it runs nowhere, as nobody can know; where it has been lost there before it ran, it goes on here."""
    first, second = pair

    async def dies(*_: object, **__: object) -> None:
        raise ConnectionError("killed")

    async def test(*, lost: bool) -> None:
        door = second.door(takes_from=first.name)
        port = await door.open(HERE, 0)
        with monkeypatch.context() as dying:
            dying.setattr(leaving, "hand_over", dies)
            with pytest.raises(ConnectionError):
                await first.send(second, port)
        assert await status(first) == "postmigrate"
        assert await status(second) == "paused"
        assert second.place.marked(ARRIVING) is not None
        await door.close()
        door = second.door(takes_from=first.name)
        port = await door.open(HERE, 0)
        if lost:
            await second.machines().give_up_arrival(second.order.uid)
            with pytest.raises(WorldError, match="goes on here"):
                await first.settle(second, port)
            assert await runs(first)
            assert first.place.marked(HANDED) is None
        else:
            await first.settle(second, port)
            assert await runs(second)
            assert first.place.pid() is None
            await first.settle(second, port)
        await door.close()

    asyncio.run(test(lost=True))
    asyncio.run(test(lost=False))


async def _off(host: Host) -> None:
    container = host.order.containers[0].name
    await host.machines().carry_out(PowerOff(uid=host.order.uid, container=container, grace_s=0, lane=""))


async def _owners(*hosts: Host) -> list[str]:
    """The hosts at which it could be begun."""
    seen = [(host.name, one) for host in hosts for one in await host.machines().seen()]
    return [name for name, one in seen if one.state is ContainerState.CREATED and not one.moves]


def test_the_disk_of_one_that_is_off_goes_alone_and_is_begun_there(pair: tuple[Host, Host]) -> None:
    """What was written last is in it, it is the same machine to its guest, and nothing of it can be begun here."""
    first, second = pair

    async def test() -> None:
        disk = "/machine/peripheral-anon/device[0]/virtio-backend"
        assert not await _by_hand(first, f'qemu-io -d {disk} "write -P 0x5a 64k 128k"'), "as its guest would"
        assert not await _by_hand(first, f"qemu-io -d {disk} flush")
        uuid = await monitor.ask(first.place, "query-uuid")
        with pytest.raises(WorldError, match="not off here"):
            await first.send_at_rest(second, 1)
        await _off(first)
        closed = second.door(takes_from="LHR-9")
        port = await closed.open(HERE, 0)
        with pytest.raises(WorldError, match="not expected"):
            await first.send_at_rest(second, port)
        assert await _owners(first, second) == [first.name]
        await closed.close()
        door = second.door(takes_from=first.name)
        await first.send_at_rest(second, await door.open(HERE, 0))
        await door.close()
        assert await _owners(first, second) == [second.name]
        (left,) = await first.machines().seen()
        assert left.state is ContainerState.EXITED
        with pytest.raises(WorldError, match="moved to LHR-2"):
            await first.machines().carry_out(first.start())
        await asyncio.to_thread(_has_what_was_written, second)
        await second.machines().carry_out(second.start())
        assert await runs(second)
        assert await monitor.ask(second.place, "query-uuid") == uuid

    asyncio.run(test())


def test_agents_that_die_at_any_moment_leave_the_disk_with_one_host(
    pair: tuple[Host, Host], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each mark of either side is the last thing that both do: the next agents find out who has it, and it goes. Where
    it was handed over and is lost there before that was known, it is here again.
    """
    first, second = pair
    mark, unmark, say, give_up = Place.mark, Place.unmark, Stream.say, Machines.give_up_arrival

    async def killed_at(host: Host, name: str) -> None:
        dead = list[str]()

        def marks(place: Place, one: str, text: str = "") -> None:
            mark(place, one, text)
            if (place, one) == (host.place, name):
                dead.append(one)
                raise WorldError("mark", "killed")

        async def says(stream: Stream, what: Opening | Said | Given) -> None:
            if dead:
                raise OSError("killed")
            await say(stream, what)

        async def gives_up(machines: Machines, uid: str) -> None:
            if not dead:
                await give_up(machines, uid)

        door = second.door(takes_from=first.name)
        port = await door.open(HERE, 0)
        await first.settle(second, port)
        with monkeypatch.context() as dying:
            dying.setattr(Place, "mark", marks)
            dying.setattr(Place, "unmark", lambda place, one: None if dead else unmark(place, one))
            dying.setattr(Stream, "say", says)
            dying.setattr(Machines, "give_up_arrival", gives_up)
            with pytest.raises(WorldError):
                await first.send_at_rest(second, port)
            await door.close()
        assert dead == [name]

    async def settled() -> None:
        door = second.door(takes_from=first.name)
        try:
            await first.settle(second, await door.open(HERE, 0))
        finally:
            await door.close()

    async def test() -> None:
        await _off(first)
        for host, name in ((first, LEAVING), (second, ARRIVING), (second, CAME)):
            await killed_at(host, name)
            assert await _owners(first, second) == [first.name], name
        await killed_at(first, HANDED)
        assert await _owners(first, second) == []
        await second.machines().give_up_arrival(second.order.uid)
        with pytest.raises(WorldError, match="was lost there"):
            await settled()
        assert await _owners(first, second) == [first.name]
        await killed_at(second, OFF)
        assert await _owners(first, second) == []
        await settled()
        assert await _owners(first, second) == [second.name]
        await settled()
        assert await _owners(first, second) == [second.name]

    asyncio.run(test())
