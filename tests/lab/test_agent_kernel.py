"""The agent on a real kernel: routes, next-hop groups, links and namespaces in a router namespace of the
test's own.
"""

import asyncio
import contextlib
import socket
import socketserver
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from bench.forged import checksum

from anypop.agent.act.network import firewall, namespaces, rtnl, sysctl
from anypop.agent.act.network.hop_numbers import hop_number
from anypop.agent.act.network.netlink import Netlink
from anypop.agent.act.network.nft import nft, started
from anypop.agent.act.network.router import BUCKETS, Router, buckets_for
from anypop.agent.decide.elements import Firewall, GuardedLink, Member
from anypop.agent.decide.firewall import firewall_for
from anypop.agent.naming import (
    COVER_METRIC,
    ROUTE_PROTOCOL,
    SERVED_PROTOCOL,
    SERVED_TABLE,
    firewall_table,
    inside_mac,
    link_of,
    router_mac,
    short,
)
from anypop.agent.observe.kernel_monitor import KernelMonitor
from anypop.agent.teardown import remove_firewall
from anypop.host import ip, netns, process
from anypop.model.announce import Address
from anypop.model.errors import WorldError
from tests.agent_lab import ANYCAST4, ANYCAST6, COVER4, COVER6, external, instance
from tests.agent_world import instance as instance_of
from tests.agent_world import order
from tests.wait import wait_until

pytestmark = pytest.mark.lab

PREFIX = "agk"
SPACE = f"{PREFIX}-pop"
ALL = [instance(n) for n in range(3)]
_FILE = Path("/proc/sys/net/ipv4/neigh/default/gc_thresh3")  # of the whole machine, so told in its own namespace alone
LIMIT = int(_FILE.read_text()) if _FILE.exists() else 1024


@pytest.fixture
def net() -> Iterator[Netlink]:
    """The test's thread inside a new router namespace, with a netlink socket there."""
    ip.batch([f"netns add {SPACE}"])
    try:
        with netns.inside(SPACE), Netlink() as net:
            rtnl.set_up(net, 1)
            yield net
            for one in ALL:
                namespaces.delete_namespace(net, PREFIX, one.uid)
    finally:
        for one in ALL:
            namespaces.remove_name(netns.path_of(f"{PREFIX}-i-{short(one.uid)}"))
        ip.batch([f"netns del {SPACE}"])


def wire(net: Netlink, *numbers: int) -> Router:
    """Instances with namespace, link and external routes."""
    for n in numbers:
        namespaces.make_namespace(PREFIX, ALL[n].uid)
        namespaces.add_link(net, PREFIX, ALL[n])
        index = next(link.index for link in rtnl.links(net) if link.name == link_of(ALL[n].uid))
        namespaces.set_external_routes(net, index, ALL[n])
    return Router(net)


def gateways(version: int) -> dict[str, Address]:
    return {short(i.uid): own for i in ALL if (own := i.private(version)) is not None}


def members(*numbers: int, weight: int = 100) -> tuple[Member, ...]:
    return tuple(sorted((Member(short=short(ALL[n].uid), weight=weight) for n in numbers), key=lambda m: m.short))


def test_what_is_set_is_what_is_seen(net: Netlink) -> None:
    """Covers, external routes and groups of both families are read back as they were set; setting them again changes
    nothing.
    """
    router = wire(net, 0, 1)
    for _ in range(2):
        for cover in (COVER4, COVER6):
            router.set_cover(cover)
        for address in (ANYCAST4, ANYCAST6):
            router.set_next_hops(address, members(0, 1), gateways(address.version))
            router.set_route(address)
    seen = router.look()
    assert seen.covers == {COVER4, COVER6}
    assert seen.links == {short(i.uid): True for i in ALL[:2]}
    assert seen.external == {ip_network(a): short(i.uid) for i in ALL[:2] for a in (external(i), external(i, 6))}
    assert seen.balanced == {ANYCAST4: members(0, 1), ANYCAST6: members(0, 1)}
    router.remove_route(ANYCAST4)
    router.remove_cover(COVER6)
    router.remove_cover(COVER6)
    assert router.look().balanced == {ANYCAST6: members(0, 1)}
    assert router.look().covers == {COVER4}


def test_a_dead_member_leaves_alone_and_a_newcomer_joins_in_place(net: Netlink) -> None:
    """Dropping one member leaves the others' buckets where they are; the last one takes group and route with it."""
    router = wire(net, 0, 1, 2)
    router.set_next_hops(ANYCAST4, members(0, 1, 2), gateways(4))
    router.set_route(ANYCAST4)
    before = _buckets()
    begun = time.process_time()
    assert router.drop_member(short(ALL[1].uid))
    assert time.process_time() - begun < 0.05
    after = _buckets()
    gone = set(before.values()) - set(after.values())
    assert len(gone) == 1
    assert all(after[bucket] == hop for bucket, hop in before.items() if hop not in gone)
    assert router.look().balanced == {ANYCAST4: members(0, 2)}
    router.set_next_hops(ANYCAST4, members(0, 1, 2), gateways(4))
    assert router.look().balanced == {ANYCAST4: members(0, 1, 2)}
    for one in ALL:
        router.drop_member(short(one.uid))
    assert router.look().balanced == {}


def _buckets() -> dict[int, int]:
    """Bucket index to next hop."""
    return {row["bucket"]["index"]: row["bucket"]["nhid"] for row in ip.query("nexthop", "bucket", "list")}


def test_a_draining_member_gets_no_bucket(net: Netlink) -> None:
    """Weight 1 beside 100 leaves none of the buckets, once they are idle (kernels before 6.12: a hundredth)."""
    router = wire(net, 0, 1)
    router.set_next_hops(ANYCAST4, members(0, 1), gateways(4))
    router.set_next_hops(ANYCAST4, (*members(0), *members(1, weight=1)), gateways(4))
    router.set_route(ANYCAST4)
    shares = list(_buckets().values())
    assert shares.count(hop_number(_index(1), 4)) == 0
    assert shares.count(hop_number(_index(0), 4)) == len(shares)
    assert {m.weight for m in router.look().balanced[ANYCAST4]} == {1, 100}


def test_a_group_keeps_its_buckets_until_the_hash_changes(net: Netlink) -> None:
    """A group of another count takes newcomers and keeps its count; renewed, it has the new one, the same members,
    and one group.
    """
    router = wire(net, 0, 1)
    router.set_next_hops(ANYCAST4, members(0), gateways(4))
    router.set_route(ANYCAST4)
    assert len(_buckets()) == BUCKETS
    hop = hop_number(next(link.index for link in rtnl.links(net) if link.name == link_of(ALL[0].uid)), 4)
    rtnl.set_group(net, 4711, [(hop, 100)], protocol=ROUTE_PROTOCOL, buckets=128, idle_s=60)
    rtnl.set_route(net, ip_network(ANYCAST4), ROUTE_PROTOCOL, nexthop=4711)
    rtnl.delete_nexthop(net, next(h.id for h in rtnl.nexthops(net, ROUTE_PROTOCOL) if h.buckets == BUCKETS))
    router.set_next_hops(ANYCAST4, members(0, 1), gateways(4))
    assert len(_buckets()) == 128
    for _ in range(2):
        router.renew_groups()
        assert [h.buckets for h in rtnl.nexthops(net, ROUTE_PROTOCOL) if h.group] == [BUCKETS]
        assert router.look().balanced == {ANYCAST4: members(0, 1)}


def test_two_hundred_members_get_their_weights_within_a_twentieth(net: Netlink) -> None:
    """A group is made for as many as are expected, in both families; half of them have the double weight."""
    ip.batch(["link add many type veth peer name far", "link set many up", "link set far up"])
    ip.batch(["addr add 10.77.0.0/16 dev many", "addr add fd00:77::/64 dev many nodad"])
    index = socket.if_nametoindex("many")
    assert [buckets_for(n) for n in (1, 15, 16, 200, 400)] == [1021, 1021, 2039, 16_381, 16_381]
    for version, first in ((4, ip_address("10.77.1.1")), (6, ip_address("fd00:77::1:1"))):
        hops = {n: 1000 * version + n for n in range(200)}
        for n, hop in hops.items():
            rtnl.set_nexthop(net, hop, interface=index, gateway=first + n, protocol=ROUTE_PROTOCOL)
        weights = {hop: 200 if n % 2 else 100 for n, hop in hops.items()}
        rtnl.set_group(
            net, version, list(weights.items()), protocol=ROUTE_PROTOCOL, buckets=buckets_for(200), idle_s=60
        )
        (group,) = (h for h in rtnl.nexthops(net, ROUTE_PROTOCOL) if h.id == version)
        assert dict(group.group) == weights
        counts = Counter(row["bucket"]["nhid"] for row in ip.query("nexthop", "bucket", "list", "id", str(version)))
        due = {hop: group.buckets * weight / sum(weights.values()) for hop, weight in weights.items()}
        assert max(abs(counts[hop] - share) / share for hop, share in due.items()) < 0.05


def test_a_group_that_is_too_small_gets_a_larger_successor(net: Netlink) -> None:
    """It is made for those that are expected; when far more come, a larger one takes its place, and that is told."""
    router = wire(net, 0, 1, 2)
    assert router.set_next_hops(ANYCAST4, members(0), gateways(4), 40) is None
    assert len(_buckets()) == 4093
    router.remove_route(ANYCAST4)
    for h in rtnl.nexthops(net, ROUTE_PROTOCOL):
        if h.group:
            rtnl.delete_nexthop(net, h.id)
    hop = hop_number(_index(0), 4)
    rtnl.set_group(net, 4711, [(hop, 100)], protocol=ROUTE_PROTOCOL, buckets=31, idle_s=60)
    rtnl.set_route(net, ip_network(ANYCAST4), ROUTE_PROTOCOL, nexthop=4711)
    assert router.set_next_hops(ANYCAST4, members(0), gateways(4)) is None
    grown = router.set_next_hops(ANYCAST4, members(0, 1, 2), gateways(4))
    assert grown is not None
    assert (grown.address, grown.before, grown.after, len(grown.members)) == (ANYCAST4, 31, BUCKETS, 3)
    assert [h.buckets for h in rtnl.nexthops(net, ROUTE_PROTOCOL) if h.group] == [BUCKETS]
    assert router.look().balanced == {ANYCAST4: members(0, 1, 2)}
    assert router.set_next_hops(ANYCAST4, members(0, 1), gateways(4)) is None


FLOWS = 60


def test_who_joins_one_that_was_alone_moves_no_flow(net: Netlink) -> None:
    """A second and a third member get their share of new connections, and none of the sixty that the first one has, in
    both families; when the first one leaves, the group is what it would have been without it.
    """
    router = wire(net, 0, 1, 2)
    sysctl.prepare([])
    with _client(net), contextlib.ExitStack() as stack:
        for one in ALL:
            with netns.inside(f"{PREFIX}-i-{short(one.uid)}"):
                for address in (ANYCAST4, ANYCAST6):
                    stack.enter_context(EchoServer((str(address), 80)))
        flows = []
        for address in (ANYCAST4, ANYCAST6):
            router.set_next_hops(address, members(0), gateways(address.version))
            router.set_route(address)
            assert router.look().balanced[address] == members(0)
            with netns.inside(f"{SPACE}-c"):
                flows += [
                    stack.enter_context(socket.create_connection((str(address), 80), timeout=5)) for _ in range(FLOWS)
                ]
        assert all(_echoes(flow) for flow in flows)
        for others in ((1,), (1, 2)):
            for address in (ANYCAST4, ANYCAST6):
                router.set_next_hops(address, members(0, *others), gateways(address.version))
                assert router.look().balanced[address] == members(0, *others)
            broken = [flow for flow in flows if not _echoes(flow)]
            assert not broken, f"{len(broken)} of {len(flows)} connections broke"
    shares = [row["bucket"]["nhid"] for row in ip.query("nexthop", "bucket", "list")]
    for version in (4, 6):
        assert all(shares.count(hop_number(_index(n), version)) > BUCKETS / 5 for n in (1, 2))
    router.set_next_hops(ANYCAST4, members(1, 2), gateways(4))
    (group,) = (hop.group for hop in rtnl.nexthops(net, ROUTE_PROTOCOL) if hop.group and hop.group[0][0] % 2 == 0)
    assert sorted(number for number, _ in group) == [hop_number(_index(n), 4) for n in (1, 2)]


def _index(n: int) -> int:
    return socket.if_nametoindex(link_of(ALL[n].uid))


@contextlib.contextmanager
def _client(net: Netlink) -> Iterator[None]:
    """A namespace for clients behind the router's link `up-c`."""
    ip.batch([f"netns add {SPACE}-c", f"link add up-c type veth peer name pop netns {SPACE}-c"])
    try:
        ip.batch(["addr add 10.99.0.2/30 dev up-c", "addr add fd00:99::2/126 dev up-c nodad", "link set up-c up"])
        far = ["addr add 10.99.0.1/30 dev pop", "addr add fd00:99::1/126 dev pop nodad", "link set pop up"]
        ip.batch([*far, "route add default via 10.99.0.2", "route add default via fd00:99::2"], netns=f"{SPACE}-c")
        yield
    finally:
        ip.batch([f"netns del {SPACE}-c"])


@pytest.mark.parametrize(("policy", "is_broken"), [("3", False), ("1", True)])
def test_an_outage_moves_no_flow(net: Netlink, policy: str, is_broken: bool) -> None:
    """After half a second without a way, every connection still reaches its own instance; with the policy that takes
    a packet's own hash (the socket's, which a retransmission changes) some do not.
    """
    router = wire(net, 0, 1, 2)
    assert sysctl.prepare([])
    assert not sysctl.prepare([])
    Path("/proc/sys/net/ipv4/fib_multipath_hash_policy").write_text(policy)
    router.set_next_hops(ANYCAST4, members(0, 1, 2), gateways(4))
    router.set_route(ANYCAST4)
    with _client(net), contextlib.ExitStack() as stack:
        for one in ALL:
            with netns.inside(f"{PREFIX}-i-{short(one.uid)}"):
                stack.enter_context(EchoServer((str(ANYCAST4), 80)))
        with netns.inside(f"{SPACE}-c"):
            flows = [
                stack.enter_context(socket.create_connection((str(ANYCAST4), 80), timeout=5)) for _ in range(FLOWS)
            ]
        assert all(_echoes(flow) for flow in flows)
        ip.batch(["link set up-c down"])
        for flow in flows:
            flow.send(b"?")
        retransmits = struct.Struct("8B24I")

        def has_timed_out() -> bool:
            told = [
                retransmits.unpack(f.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, retransmits.size)) for f in flows
            ]
            return all(info[2] >= 1 for info in told)

        wait_until(has_timed_out, timeout_s=5, reason="every connection has had a retransmission timeout")
        ip.batch(["link set up-c up"])
        broken = [flow for flow in flows if not _echoes(flow, left=2)]
        assert bool(broken) is is_broken, f"{len(broken)} of {FLOWS} connections broke"


class EchoServer(socketserver.ThreadingTCPServer):
    """Gives back what it gets, in the namespace in which it was made, until the block ends."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128  # a full queue drops what comes, and that is sent again a second later

    def __init__(self, place: tuple[str, int]) -> None:
        self.address_family = socket.AF_INET6 if ":" in place[0] else socket.AF_INET
        super().__init__(place, _Echo)
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class _Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        with contextlib.suppress(OSError):
            while data := self.request.recv(64):
                self.request.sendall(data)


def _echoes(flow: socket.socket, *, left: int = 1) -> bool:
    """Whether one more byte comes back, with those that are still on their way."""
    with contextlib.suppress(OSError):
        flow.sendall(b"!")
        got = b""
        while len(got) < left:
            more = flow.recv(left - len(got))
            if not more:
                return False
            got += more
        return True
    return False


def test_routes_of_others_are_neither_seen_nor_touched(net: Netlink) -> None:
    """A route of another protocol for the same prefix stays through all of our changes."""
    router = wire(net, 0)
    ip.batch(
        [f"route add unreachable {COVER4} proto static metric 5", "route add 203.0.113.0/24 via 10.64.0.1 proto static"]
    )
    router.set_cover(COVER4)
    router.remove_cover(COVER4)
    assert router.look().covers == frozenset()
    left = [row["dst"] for row in ip.query("route", "show", "proto", "static")]
    assert sorted(left) == ["192.0.2.0/24", "203.0.113.0/24"]


def test_a_half_made_link_is_made_again(net: Netlink) -> None:
    """A link that is there but not up was interrupted: it counts as incomplete and is replaced (invariant 12)."""
    router = wire(net, 0)
    ip.batch([f"link set {link_of(ALL[0].uid)} down"])
    assert router.look().links == {short(ALL[0].uid): False}
    namespaces.add_link(net, PREFIX, ALL[0])
    assert router.look().links == {short(ALL[0].uid): True}
    with netns.inside(f"{PREFIX}-i-{short(ALL[0].uid)}"), Netlink() as inside:
        assert {ALL[0].private(4), external(ALL[0]), external(ALL[0], 6), ANYCAST4, ANYCAST6} <= rtnl.addresses(inside)


def test_a_half_made_namespace_is_made_again(net: Netlink) -> None:
    """An empty file where a namespace should be is no namespace."""
    path = netns.path_of(f"{PREFIX}-i-{short(ALL[0].uid)}")
    path.touch()
    assert not namespaces.is_namespace(path)
    namespaces.make_namespace(PREFIX, ALL[0].uid)
    assert namespaces.is_namespace(path)
    assert rtnl.links(net)[0].name == "lo"


def test_errors_are_the_kernels_own_words(net: Netlink) -> None:
    """A refused change names what was tried and why the kernel refused it."""
    with pytest.raises(WorldError, match="Nexthop id does not exist") as told:
        rtnl.set_route(net, COVER4, ROUTE_PROTOCOL, nexthop=4711)
    assert told.value.what == "set route 192.0.2.0/24"


def test_the_monitor_hears_our_routes_and_not_the_worlds(net: Netlink) -> None:
    """A change of a route with our number wakes; thousands of learnt routes do not (the kernel filters them)."""

    async def listen() -> tuple[int, int]:
        heard: list[float] = []
        monitor = KernelMonitor(lambda: heard.append(time.monotonic()), burst_s=0)
        try:
            ip.batch([f"route add unreachable 10.{n}.0.0/16 proto bird" for n in range(200)])
            rtnl.set_unreachable(net, ip_network("10.200.0.0/16"), 12, COVER_METRIC)
            rtnl.set_told(net, COVER4, SERVED_PROTOCOL, 2, SERVED_TABLE)
            for _ in range(5):
                await asyncio.sleep(0)
            foreign = len(heard)
            rtnl.set_unreachable(net, COVER4, ROUTE_PROTOCOL, COVER_METRIC)
            async with asyncio.timeout(60):
                while len(heard) == foreign:  # noqa: ASYNC110 - the kernel changes it
                    await asyncio.sleep(0.001)
            ours = len(heard)
            rtnl.delete_route(net, COVER4, ROUTE_PROTOCOL, COVER_METRIC)
            monitor.looked()
            for _ in range(5):
                await asyncio.sleep(0)
            assert len(heard) == ours, "what a look has seen wakes nobody"
            ip.batch([f"route flush table {SERVED_TABLE}"])
            async with asyncio.timeout(60):
                while len(heard) == ours:  # noqa: ASYNC110 - the kernel changes it
                    await asyncio.sleep(0.001)
            return foreign, ours
        finally:
            monitor.close()

    foreign, ours = asyncio.run(listen())
    assert (foreign, ours) == (0, 1)


def test_kernel_settings_are_made_once(net: Netlink) -> None:
    """Forwarding, flow hashing and no reverse-path filter; an upstream's own filter counts too."""
    ip.batch(["link add up-x type veth peer name x2"])
    assert not sysctl.is_prepared(["up-x"])
    sysctl.prepare(["up-x"])
    assert sysctl.is_prepared(["up-x"])
    assert rtnl.links(net)


def test_the_firewall_replaces_only_its_own_table(net: Netlink) -> None:
    """Another table in the same namespace survives loading, reloading and unloading ours; what is loaded is told
    from what is not.
    """
    process.run(["nft", "-f", "-"], stdin="table ip theirs { chain c { accept; }; }\n")
    rules = Firewall(links=(GuardedLink(name=link_of(ALL[0].uid), own=tuple(namespaces.own_addresses(ALL[0]))),))

    async def change() -> list[bool]:
        found = [await firewall.holds(Firewall(), PREFIX)]
        for wanted in (Firewall(), rules):
            await firewall.load(wanted, None, PREFIX)
            found += [await firewall.holds(Firewall(), PREFIX), await firewall.holds(rules, PREFIX)]
        before = list(started)
        assert await firewall.holds(rules, PREFIX) and list(started) == before, "nobody changed anything: no process"
        process.run(["nft", "add", "chain", "inet", firewall_table(PREFIX), "foreign"])
        assert not await firewall.holds(rules, PREFIX), "a chain of somebody else is seen"
        remove_firewall(PREFIX)
        remove_firewall(PREFIX)
        return [*found, await firewall.holds(rules, PREFIX)]

    assert asyncio.run(change()) == [False, True, False, False, True, False]
    assert process.run(["nft", "list", "tables"]).split() == ["table", "ip", "theirs"]
    assert rtnl.links(net)


def test_an_instance_that_comes_or_goes_changes_elements_and_loads_nothing(
    net: Netlink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both ways by one transaction without a process, and the tables are as if they had been loaded; where the kernel
    holds something else than was believed, they are loaded.
    """
    one, two = (firewall_for(order(1, *all_), all_) for all_ in ([instance_of(0)], [instance_of(0), instance_of(1)]))
    started: list[str] = []

    async def counted(what: str, *words: str, stdin: str | None = None) -> str:
        started.append(what)
        return await nft(what, *words, stdin=stdin)

    async def change() -> None:
        await firewall.load(one, None, PREFIX)
        with monkeypatch.context() as patched:
            patched.setattr(firewall, "nft", counted)
            await firewall.load(two, one, PREFIX)
            assert started == []
            assert await firewall.holds(two, PREFIX)
            assert not await firewall.holds(one, PREFIX)
            started.clear()
            await firewall.load(one, two, PREFIX)
            assert started == []
            assert await firewall.holds(one, PREFIX)
            started.clear()
            await firewall.load(one, two, PREFIX)
            assert "load the firewall" in started
            assert await firewall.holds(one, PREFIX)

    asyncio.run(change())
    assert rtnl.links(net)


def test_many_links_do_not_fill_the_neighbour_table_of_the_machine(net: Netlink) -> None:
    """Permanent entries beyond the threshold at which the kernel refuses new ones, which is one for all namespaces,
    and a neighbour that has to be asked for is still found.
    """
    with _client(net):
        index = socket.if_nametoindex("up-c")
        for number in range(1, LIMIT + 200):
            rtnl.set_neighbor(net, index, ip_address("10.98.0.0") + number, b"\x02\0\0\0\0\1")
        assert len(rtnl.permanent_neighbors(net)) >= LIMIT + 199
        with netns.inside(f"{SPACE}-c"):
            server = EchoServer(("10.99.0.1", 80))
        with server, socket.create_connection(("10.99.0.1", 80), timeout=5) as flow:
            assert _echoes(flow)


def test_an_instance_can_say_nothing_about_who_is_where(net: Netlink) -> None:
    """ARP and neighbour discovery with another's address, or with its own and a false hardware address, leave no
    entry behind and change none; without the rules they do. It is told of its own gateway alone.
    """
    wire(net, 0, 1)
    mine, link = ALL[0], link_of(ALL[0].uid)
    (mine4, gateway4), (_, gateway6) = ((a.private, a.gateway) for a in mine.addresses())
    other = next(a.gateway for a in ALL[1].addresses())
    rules = Firewall(links=(GuardedLink(name=link, own=tuple(a.private for a in mine.addresses())),))
    asyncio.run(firewall.load(rules, None, PREFIX))
    with netns.inside(f"{PREFIX}-i-{short(mine.uid)}"):
        mouth = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806))
    with mouth:
        mouth.bind(("eth0", 0x0806))
        mouth.settimeout(0.3)

        def told(target: Address) -> bool:
            """Whether the router says where `target` is."""
            mouth.send(_arp(mine4, inside_mac(mine.uid), target))
            with contextlib.suppress(TimeoutError):
                while (heard := mouth.recv(64))[20:22] != b"\0\2" or heard[28:32] != target.packed:
                    pass
                return True
            return False

        def lie() -> dict[str, str]:
            false = b"\x02\0\0\0\0\x66"
            for address in (ip_address("8.8.8.8"), other, mine4):
                mouth.send(_arp(address, false, gateway4))
            for address in (ip_address("fe80::bad"), ip_address("2001:db8::bad")):
                mouth.send(_solicitation(address, false, gateway6))
            told(gateway4)  # what was sent before has been taken in by now
            return {row["dst"]: row.get("lladdr", "") for row in ip.query("neigh", "show", "dev", link)}

        known = {str(a.private): inside_mac(mine.uid).hex(":") for a in mine.addresses()}
        assert (told(gateway4), told(other)) == (True, False)
        assert {a: mac for a, mac in lie().items() if not a.startswith("fe80::1:")} == known
        remove_firewall(PREFIX)
        found = lie()
        assert {"8.8.8.8", "fe80::bad"} <= set(found)
        assert known.items() <= found.items()


def _arp(source: Address, mac: bytes, target: Address) -> bytes:
    """A question where `target` is, from `source` at `mac`."""
    head = b"\xff" * 6 + mac + b"\x08\x06" + b"\0\1\x08\0\6\4\0\1"
    return head + mac + source.packed + bytes(6) + target.packed


def _solicitation(source: Address, mac: bytes, target: Address) -> bytes:
    """The same of IPv6 (RFC 4861, 4.3)."""
    body = b"\x87\0\0\0\0\0\0\0" + target.packed + b"\1\1" + mac
    sum_ = checksum(source.packed + target.packed + struct.pack(">IHBB", len(body), 0, 0, 58) + body)
    body = body[:2] + struct.pack(">H", sum_) + body[4:]
    head = struct.pack(">IHBB", 6 << 28, len(body), 58, 255) + source.packed + target.packed
    return router_mac(ALL[0].uid) + mac + b"\x86\xdd" + head + body
