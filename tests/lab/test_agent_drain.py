"""Draining without loss, on a real kernel: flows stay with the incarnation that leaves, new ones go elsewhere, nobody
is cut.

Each test of what must not break has its control: the same without the pin breaks.
"""

import asyncio
import contextlib
import itertools
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest

from anypop.agent.act.network import rtnl
from anypop.agent.act.network.drain import Drains, LiveFlows, live_flows
from anypop.agent.act.network.held import Held
from anypop.agent.act.network.netlink import Netlink
from anypop.agent.act.network.sockets import connections, full_queues
from anypop.agent.naming import link_of
from anypop.host import netns, process
from anypop.model.announce import Address
from tests.drain_lab import (
    ANYCAST,
    BOTH,
    CLIENT,
    CLIENTS,
    ENOUGH,
    EXTERNAL,
    OLD,
    PORT,
    PREFIX,
    ROUTER,
    Client,
    Load,
    answer_all,
    balance,
    dropped,
    fresh,
    made_in,
    own,
    serving,
    wired,
)

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def place() -> Iterator[None]:
    with wired():
        yield


@pytest.fixture
def net(place: None) -> Iterator[Netlink]:
    with fresh() as net:
        yield net


async def _drained(net: Netlink, addresses: tuple[Address, ...], move: Callable[[], None], *, pinned: bool) -> Load:
    load = Load(addresses)

    async def change() -> None:
        if pinned:
            await Drains(net, PREFIX).pin(OLD, BOTH[0].behind)
        move()

    async with serving(old=BOTH[0].space, new=BOTH[1].space):
        await load.run(change)
        load.close()
    return load


@pytest.mark.parametrize("version", [4, 6])
def test_who_leaves_a_group_keeps_its_flows_and_gets_no_new_one(net: Netlink, version: int) -> None:
    """Short, talking and quiet connections live through it, in both families; whoever comes later meets the other
    one.
    """
    load = asyncio.run(_drained(net, (ANYCAST[version],), lambda: balance(net, BOTH[1]), pinned=True))
    assert {client.server for client in load.long} == {"old", "new"}
    assert load.broken == 0
    assert set(load.after) == {"new"}
    assert len(load.after) > ENOUGH


def test_without_a_pin_flows_break(net: Netlink) -> None:
    """The control: leaving the group alone cuts connections of every kind."""
    load = asyncio.run(_drained(net, tuple(ANYCAST.values()), lambda: balance(net, BOTH[1]), pinned=False))
    assert load.broken > 8  # half of 50 in the mean
    assert set(load.after) == {"new"}


def test_external_addresses_move_to_the_newer_without_loss(net: Netlink) -> None:
    """The old one keeps what it has on the addresses that both have; what comes later reaches the newer one."""
    load = asyncio.run(_drained(net, tuple(EXTERNAL.values()), lambda: own(net, BOTH[1]), pinned=True))
    assert {client.server for client in load.long} == {"old"}
    assert load.broken == 0
    assert set(load.after) == {"new"}
    assert len(load.after) > ENOUGH


def test_without_a_pin_moving_external_addresses_breaks_everything(net: Netlink) -> None:
    """The control: all 50 long ones at least."""
    load = asyncio.run(_drained(net, tuple(EXTERNAL.values()), lambda: own(net, BOTH[1]), pinned=False))
    assert load.broken >= 50


TRACKED = """table inet tracked {
	chain forward {
		type filter hook forward priority mangle;
		meta l4proto tcp ct state established ct mark != 0 accept
%s
	}
}
"""


def track(net: Netlink) -> None:
    """The router remembers by which link a flow goes, as it does for ICMP errors."""
    index = {link.name: link.index for link in rtnl.links(net)}
    rules = [
        f"ct direction original {ip} daddr {ANYCAST[v]} oifname {name} ct mark set {index[name]}"
        for name in (link_of(one.uid) for one in BOTH)
        for ip, v in (("ip", 4), ("ip6", 6))
    ]
    process.run(netns.command(ROUTER, "nft", "-f", "-"), stdin=TRACKED % "\n".join(rules))


@pytest.mark.parametrize("shared", [True, False])
def test_flows_into_a_guest_stay_by_what_the_router_tracks_of_them(net: Netlink, shared: bool) -> None:
    """Nobody outside sees the sockets of a virtual machine. Quiet ones stay too, in both families; each counts until
    its guest has said its last word, and what is closed holds up no drain.
    """
    load = Load(tuple((ANYCAST if shared else EXTERNAL).values()))
    track(net)

    async def change() -> None:
        assert await Drains(net, PREFIX).pin(OLD, BOTH[0].behind, guest=True) > 0
        balance(net, BOTH[1]) if shared else own(net, BOTH[1])

    async def scenario() -> None:
        async with serving(old=BOTH[0].space, new=BOTH[1].space):
            await load.run(change)
            old = sum(client.server == "old" for client in load.long)
            assert live_flows(PREFIX, OLD, BOTH[0].behind, guest=True).inbound == old > 0
            load.close()
            async with asyncio.timeout(5):
                while live_flows(PREFIX, OLD, BOTH[0].behind, guest=True).inbound:  # noqa: ASYNC110 - of the kernel
                    await asyncio.sleep(0.01)

    try:
        asyncio.run(scenario())
    finally:
        process.run(netns.command(ROUTER, "nft", "delete", "table", "inet", "tracked"))
    assert load.broken == 0
    assert set(load.after) == {"new"}


@pytest.mark.parametrize("pinned", [True, False])
def test_what_the_old_one_opened_itself_goes_on(net: Netlink, pinned: bool) -> None:
    """Connections out from the external address, of before and of during the drain, are answered to the one that
    asked.
    """

    async def scenario() -> list[bool]:
        async with serving(there=CLIENT):
            clients = [await Client(CLIENTS[v], space=BOTH[0].space).open() for v in (4, 6)]
            if pinned:
                await Drains(net, PREFIX).pin(OLD, BOTH[0].behind)
            own(net, BOTH[1])
            for v in (4, 6):
                with contextlib.suppress(TimeoutError, OSError):
                    clients.append(await Client(CLIENTS[v], space=BOTH[0].space).open(timeout_s=0.5))
            whole = await asyncio.gather(*(client.is_whole() for client in clients))
            live = live_flows(PREFIX, OLD, EXTERNAL.values())
            assert (live.inbound, live.outbound) == (0, len(clients))
            for client in clients:
                client.sock.close()
        return list(whole)

    assert asyncio.run(scenario()) == ([True] * 4 if pinned else [False] * 2)


async def half_open(address: Address, change: Callable[[], Awaitable[None]]) -> str:
    """Who serves a connection whose SYN was answered before `change`, where the answer is lost on its way and sent
    again after it.
    """
    process.run(
        netns.command(CLIENT, "nft", "-f", "-"),
        stdin=(
            "table inet t { chain c { type filter hook input priority 0; tcp flags & (syn | ack) == syn | ack drop; }; "
            "}"
        ),
    )
    client = Client(address)
    opening = asyncio.create_task(client.open())
    try:
        async with asyncio.timeout(3):
            while not any(connections(one.space, [address]) for one in BOTH):  # noqa: ASYNC110 - the kernel changes it
                await asyncio.sleep(0.001)
        await change()
    finally:
        process.run(netns.command(CLIENT, "nft", "delete", "table", "inet", "t"))
    try:
        return (await opening).server
    except (OSError, TimeoutError):
        return "broken"
    finally:
        client.sock.close()


@pytest.mark.parametrize("version", [4, 6])
def test_a_half_open_connection_is_completed_by_the_one_that_has_it(net: Netlink, version: int) -> None:
    """Its SYN came before anything was recorded: the socket tells of it (IPv4 on a `::` socket here)."""

    async def scenario() -> str:
        async def change() -> None:
            assert await Drains(net, PREFIX).pin(OLD, BOTH[0].behind) == 1
            assert live_flows(PREFIX, OLD, BOTH[0].behind).inbound == 1
            own(net, BOTH[1])

        async with serving(old=BOTH[0].space, new=BOTH[1].space):
            return await half_open(EXTERNAL[version], change)

    assert asyncio.run(scenario()) == "old"


@pytest.mark.parametrize("version", [4, 6])
def test_an_old_port_that_is_used_again_is_a_new_connection(net: Netlink, version: int) -> None:
    """Closed before the pin, at its time half, or after it: the next connection from there reaches the newer one and
    is not disturbed.
    """
    ports = (40001, 40002, 40003)

    async def scenario() -> list[str]:
        async with serving(old=BOTH[0].space, new=BOTH[1].space):
            early, halfway, late = [await Client(EXTERNAL[version], port=port).open() for port in ports]
            served = [early.server, halfway.server, late.server]
            await early.end()
            await halfway.hear_the_end()
            await Drains(net, PREFIX).pin(OLD, BOTH[0].behind)
            own(net, BOTH[1])
            halfway.sock.close()
            await late.end()
            for port in ports:
                client = await Client(EXTERNAL[version], port=port).open()
                served += [client.server, await client.ask()]
                client.sock.close()
            return served

    assert asyncio.run(scenario()) == ["old"] * 3 + ["new"] * 6


@pytest.mark.parametrize("version", [4, 6])
def test_udp_flows_stay_and_tell_when_they_are_silent(net: Netlink, version: int) -> None:
    """A UDP flow that spoke since the pin stays; another peer gets the newer one; a second of silence and nothing
    lives.
    """

    async def scenario() -> list[str]:
        loop = asyncio.get_running_loop()

        async def ask(sock: socket.socket) -> str:
            await loop.sock_sendto(sock, b"who", (str(ANYCAST[version]), PORT))
            return (await loop.sock_recv(sock, 100)).decode()

        family = socket.AF_INET if version == 4 else socket.AF_INET6
        balance(net, BOTH[0])
        with made_in(CLIENT, family, socket.SOCK_DGRAM) as first, made_in(CLIENT, family, socket.SOCK_DGRAM) as second:
            async with serving(old=BOTH[0].space, new=BOTH[1].space), asyncio.timeout(5):
                await Drains(net, PREFIX).pin(OLD, BOTH[0].behind)
                assert not live_flows(PREFIX, OLD, BOTH[0].behind).udp
                said = [await ask(first)]
                balance(net, BOTH[1])
                said += [await ask(first), await ask(second)]
                assert live_flows(PREFIX, OLD, BOTH[0].behind).udp
                while live_flows(PREFIX, OLD, BOTH[0].behind).udp:  # noqa: ASYNC110 - the kernel changes it
                    await asyncio.sleep(0.01)
                await Drains(net, PREFIX).pin(OLD, BOTH[0].behind)  # keeps what is recorded
                return [*said, await ask(first)]

    assert asyncio.run(scenario()) == ["old", "old", "new", "old"]


@pytest.mark.parametrize("version", [4, 6])
def test_udp_that_nobody_answers_stays_too(net: Netlink, version: int) -> None:
    """Telemetry, say: what arrived at the old one after the pin goes on arriving there."""

    async def scenario() -> list[str]:
        loop, family = asyncio.get_running_loop(), socket.AF_INET if version == 4 else socket.AF_INET6
        own(net, BOTH[0])
        client, old, new = (
            made_in(space, family, socket.SOCK_DGRAM) for space in (CLIENT, BOTH[0].space, BOTH[1].space)
        )
        with client, old, new:
            for one in (old, new):
                one.bind(("", PORT))
            await Drains(net, PREFIX).pin(OLD, BOTH[0].behind)
            heard = []
            async with asyncio.timeout(3):
                for _ in range(2):
                    await loop.sock_sendto(client, b"42", (str(EXTERNAL[version]), PORT))
                    tasks = {
                        asyncio.create_task(loop.sock_recv(one, 100)): name
                        for one, name in ((old, "old"), (new, "new"))
                    }
                    done, rest = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                    heard += [tasks[task] for task in done]
                    for task in rest:
                        task.cancel()
                    own(net, BOTH[1])
        return heard

    assert asyncio.run(scenario()) == ["old", "old"]


def test_clients_on_the_host_itself_stay_too(net: Netlink) -> None:
    """A connection from the router's own namespace passes no forwarding: it is led by the output hook."""

    async def scenario() -> list[bool]:
        async with serving(old=BOTH[0].space, new=BOTH[1].space):
            clients = [await Client(EXTERNAL[v], space=ROUTER).open() for v in (4, 6)]
            await Drains(net, PREFIX).pin(OLD, BOTH[0].behind)
            own(net, BOTH[1])
            whole = [await client.is_whole() for client in clients]
            for client in clients:
                client.sock.close()
            return whole

    assert asyncio.run(scenario()) == [True, True]


def test_what_was_sent_and_not_yet_received_is_still_alive(net: Netlink) -> None:
    """A connection that the server has closed counts until the client has everything; after that nothing would be
    cut.
    """

    async def scenario() -> list[int]:
        loop, counts = asyncio.get_running_loop(), []
        listener = made_in(BOTH[0].space, socket.AF_INET)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((str(EXTERNAL[4]), PORT))
        listener.listen()
        with listener, made_in(CLIENT, socket.AF_INET) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            await loop.sock_connect(client, (str(EXTERNAL[4]), PORT))
            server, _ = await loop.sock_accept(listener)
            server.setblocking(False)
            server.send(bytes(100_000))
            server.close()
            counts.append(live_flows(PREFIX, OLD, [EXTERNAL[4]]).inbound)
            while await loop.sock_recv(client, 65536):
                pass
            async with asyncio.timeout(3):
                while live_flows(PREFIX, OLD, [EXTERNAL[4]]).inbound:  # noqa: ASYNC110 - the kernel changes it
                    await asyncio.sleep(0.001)
            counts.append(live_flows(PREFIX, OLD, [EXTERNAL[4]]).inbound)
        return counts

    assert asyncio.run(scenario()) == [1, 0]


def test_a_namespace_that_is_gone_has_no_flows() -> None:
    """Nothing to wait for."""
    assert live_flows(PREFIX, "dd" * 16, [EXTERNAL[4]]) == LiveFlows(inbound=0, outbound=0, udp=False, unanswered=False)


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("sent_before", [True, False])
def test_a_connection_that_no_socket_tells_of_stays(net: Netlink, version: int, sent_before: bool) -> None:
    """The server is slow and its queue is full; the SYN was answered with a cookie, so the client takes its connection
    for open and nobody else knows of it, whether it asked before the pin or after it.
    """
    old = BOTH[0].space

    async def scenario() -> list[str]:
        clients = [Client(EXTERNAL[version]) for _ in range(3)]
        loop, drains = asyncio.get_running_loop(), Drains(net, PREFIX)
        listener = made_in(old, socket.AF_INET6)
        with listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("::", PORT))
            listener.listen(0)
            with without_lone_acknowledgements():
                for client in clients:
                    await loop.sock_connect(client.sock, (str(client.address), PORT))
            if not sent_before:
                await drains.pin(OLD, BOTH[0].behind)
            before = full_queues(old)
            asking = [asyncio.create_task(client.ask()) for client in clients]
            async with asyncio.timeout(3):
                while full_queues(old) == before:  # noqa: ASYNC110 - the kernel changes it
                    await asyncio.sleep(0.001)
            if sent_before:
                await drains.pin(OLD, BOTH[0].behind)
            assert len(connections(old, [EXTERNAL[version]])) < len(clients)
            assert live_flows(PREFIX, OLD, [EXTERNAL[version]]).unanswered
            own(net, BOTH[1])
            answering = asyncio.create_task(answer_all(listener, "old"))
            async with serving(new=BOTH[1].space), asyncio.timeout(8):
                said = await asyncio.gather(*asking, return_exceptions=True)
                later = await Client(EXTERNAL[version]).open()
                while live_flows(PREFIX, OLD, [EXTERNAL[version]]).unanswered:  # noqa: ASYNC110 - the kernel changes it
                    await asyncio.sleep(0.01)
            answering.cancel()
            await asyncio.gather(answering, return_exceptions=True)
        for client in (*clients, later):
            client.sock.close()
        return [*map(str, said), later.server]

    process.run(netns.command(old, "sysctl", "-qw", "net.ipv4.tcp_syncookies=2"))  # an answer to every SYN
    try:
        assert asyncio.run(scenario()) == ["old"] * 3 + ["new"]
    finally:
        process.run(netns.command(old, "sysctl", "-qw", "net.ipv4.tcp_syncookies=1"))


HOLDS = f"""
import socket
kept, listener = [], socket.create_server(("::", {PORT + 1}), family=socket.AF_INET6, dualstack_ipv6=True)
print(flush=True)
while True:
    kept.append(listener.accept())
"""


@contextlib.asynccontextmanager
async def holding(space: str) -> AsyncIterator[None]:
    """A server that is a process in there, takes every connection on the next port and says nothing."""
    words = netns.command(space, sys.executable, "-c", HOLDS)
    server = await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.PIPE)
    try:
        assert server.stdout is not None
        await server.stdout.readline()
        yield
    finally:
        server.kill()
        await server.wait()


def test_a_connection_that_no_client_holds_is_no_flow(net: Netlink) -> None:
    """The clients' packets are led elsewhere, as by a route that has changed: two connections are left half open, and
    two open and idle. Those of clients that are there count for as long as they like.
    """
    old, ports = BOTH[0].space, {"half open": 41001, "idle": 41002, "held": 41003}
    addresses = list(EXTERNAL.values())

    async def scenario() -> list[int]:
        loop, drains, held = asyncio.get_running_loop(), Drains(net, PREFIX), Held(time.monotonic)
        async with holding(old):
            clients = []
            with dropped(f"tcp sport {ports['half open']} tcp flags & syn == 0 drop"):
                for address, port in itertools.product(addresses, ports.values()):
                    client = Client(address, port=port)
                    await loop.sock_connect(client.sock, (str(address), PORT + 1))
                    clients.append(client)
                lost = f"tcp sport {{ {ports['half open']}, {ports['idle']} }} drop"
                with dropped(lost, "gone"):
                    for client in clients:
                        if client.sock.getsockname()[1] != ports["held"]:
                            client.sock.close()
                    await drains.pin(OLD, BOTH[0].behind)
                    own(net, BOTH[1])
                    before = live_flows(PREFIX, OLD, addresses).inbound
                    async with asyncio.timeout(15):
                        while live_flows(PREFIX, OLD, addresses, held).inbound > 2:  # noqa: ASYNC110 - the kernel changes it
                            await asyncio.sleep(0.1)  # as often as the agent looks
                    # the server has just sent its answer to their SYN again, and that says nothing of a client
                    assert not live_flows(PREFIX, OLD, addresses, held).unanswered
                    over, later = loop.time() + 2.5, []
                    while loop.time() < over:
                        later.append(live_flows(PREFIX, OLD, addresses, held).inbound)
                        await asyncio.sleep(0.1)
            for client in clients:
                client.sock.close()
        return [before, *later]

    before, *later = asyncio.run(scenario())
    assert before == 6
    assert set(later) == {2}  # they are asked and answer, and are never given up


def test_a_client_that_a_full_queue_did_not_take_is_there(net: Netlink) -> None:
    """Its connection is half open at the server for as long as the queue is full, although the client has it and
    answers; when there is room it is served.
    """
    old = BOTH[0].space

    async def scenario() -> list[str]:
        loop, drains, held = asyncio.get_running_loop(), Drains(net, PREFIX), Held(time.monotonic)
        listener = made_in(old, socket.AF_INET6)
        with listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("::", PORT))
            listener.listen(2)
            full = full_queues(old)
            clients = [Client(EXTERNAL[4], port=41011 + n) for n in range(5)]
            with dropped("tcp sport { 41011, 41012 } tcp flags & (syn | fin | rst | psh | ack) == ack drop"):
                for client in clients:  # the others fill the queue
                    await loop.sock_connect(client.sock, (str(client.address), PORT))
            await drains.pin(OLD, BOTH[0].behind)
            own(net, BOTH[1])
            async with asyncio.timeout(9):
                while min(c.tries for c in connections(old, [EXTERNAL[4]]) if c.inbound and c.half_open) < 2:
                    assert not held.gone(old, [EXTERNAL[4]])
                    await asyncio.sleep(0.1)
            assert not held.gone(old, [EXTERNAL[4]])
            assert full_queues(old) > full
            answering = asyncio.create_task(answer_all(listener, "old"))
            async with asyncio.timeout(9):
                said = await asyncio.gather(*(client.ask() for client in clients))
            answering.cancel()
            await asyncio.gather(answering, return_exceptions=True)
            for client in clients:
                client.sock.close()
        return list(said)

    assert asyncio.run(scenario()) == ["old"] * 5


@contextlib.contextmanager
def without_lone_acknowledgements() -> Iterator[None]:
    """The client's packets that acknowledge and say nothing else are lost meanwhile."""
    with dropped("tcp flags & (syn | fin | rst | psh | ack) == ack drop"):
        yield
