"""The tunnel in a real kernel: its device, addresses, rules and next hops, made twice, halfway and beside somebody
else's; other hosts in groups; and what is heard of them by events.
"""

import asyncio
import errno
import socket
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any

import pytest

from anypop.agent.act.network import guard, nftables, rtnl, tunnel, vxlan
from anypop.agent.act.network.netlink import NETFILTER, Netlink
from anypop.agent.act.network.router import Router
from anypop.agent.decide.backbone import FULL, LINGER, Tunnel
from anypop.agent.decide.elements import Member, TunnelGuard
from anypop.agent.naming import (
    ROUTE_PROTOCOL,
    SERVED_PROTOCOL,
    SERVED_TABLE,
    TUNNEL,
    TUNNEL_LABEL,
    TUNNEL_TABLE,
    UNWELL,
    sibling_number,
    tunnel_end,
)
from anypop.agent.observe.offers import Offers
from anypop.host import ip, netns
from anypop.model.announce import Address
from anypop.model.errors import WorldError
from tests.agent_lab import ANYCAST4, ANYCAST6
from tests.wait import wait_until

pytestmark = pytest.mark.lab

SPACE = "agt-host"
OF_BLUE = IPv4Address("10.64.0.131")  # an instance's own address at another host
OWN, ONE, TWO = (IPv4Address(f"10.77.0.{n}") for n in (1, 2, 3))
WANTED = Tunnel(
    own=OWN, end=tunnel_end(IPv4Address("10.64.255.1")), port=4790, mtu=1464,
    prefixes=(
        IPv4Network("10.64.0.0/25"), IPv6Network("fd00:64::/121"),
        IPv4Network("198.51.100.0/26"), IPv6Network("2001:db8:e::/64"),
    ),
    targets=tuple((a, tunnel_end(IPv4Address(f"10.64.255.{n}"))) for n, a in ((2, ONE), (3, TWO))),
)  # fmt: skip


@pytest.fixture
def net() -> Iterator[Netlink]:
    """The test's thread inside a new namespace, with a netlink socket there."""
    ip.batch([f"netns add {SPACE}"])
    try:
        with netns.inside(SPACE), Netlink() as net:
            rtnl.set_up(net, 1)
            yield net
    finally:
        ip.batch([f"netns del {SPACE}"])


def _run(*words: str) -> str:
    return subprocess.run([*words], capture_output=True, text=True, check=True).stdout


def _everything() -> str:
    words = (("link",), ("-4", "addr"), ("rule",), ("-6", "rule"), ("nexthop",))
    tables = (("-4", "route", "show", "table", "all"), ("-6", "route", "show", "table", "all"))
    return "".join(_run("ip", *each) for each in (*words, *tables))


def test_it_is_made_once_however_often_and_leaves_nothing(net: Netlink) -> None:
    before = _everything()
    assert tunnel.is_right(net, None)
    for _ in range(2):
        tunnel.prepare(net, WANTED)
        assert tunnel.is_right(net, WANTED)
        assert not tunnel.is_right(net, None)
    made = _everything()
    tunnel.prepare(net, WANTED)
    assert _everything() == made
    for _ in range(2):
        tunnel.prepare(net, None)
        assert tunnel.is_right(net, None)
        assert _everything() == before


@pytest.mark.parametrize(
    "damage",
    [
        f"link del {TUNNEL}", f"link set {TUNNEL} down", f"link set {TUNNEL} mtu 1300", f"addr del {OWN}/32 dev lo",
        f"-6 addr flush dev {TUNNEL}", "rule del pref 60", "rule del pref 62", "-6 rule del pref 62",
        "rule del pref 64", "-6 rule del pref 64",
        f"route del {ONE} table {TUNNEL_TABLE + 2}", f"-6 route del {WANTED.targets[0][1]} dev {TUNNEL}",
    ],
)  # fmt: skip
def test_what_somebody_takes_away_is_seen_and_made_again(net: Netlink, damage: str) -> None:
    tunnel.prepare(net, WANTED)
    _run("ip", *damage.split())
    assert not tunnel.is_right(net, WANTED)
    tunnel.prepare(net, WANTED)
    assert tunnel.is_right(net, WANTED)


def test_an_operators_own_address_stays_the_operators(net: Netlink) -> None:
    """On another interface, and without our label: neither made again nor taken away; ours goes when another is
    asked for.
    """
    _run("ip", "addr", "add", f"{OWN}/24", "dev", "lo")
    tunnel.prepare(net, WANTED)
    assert vxlan.labelled(net, TUNNEL_LABEL) == set()
    tunnel.prepare(net, replace(WANTED, own=TWO, targets=WANTED.targets[:1]))
    assert vxlan.labelled(net, TUNNEL_LABEL) == {TWO}
    tunnel.prepare(net, None)
    assert OWN in rtnl.addresses(net)
    assert TWO not in rtnl.addresses(net)


def test_another_port_address_or_host_is_followed(net: Netlink) -> None:
    """What is like before is left as it is: a host that stays keeps its next hops, and with them its flows."""
    tunnel.prepare(net, WANTED)
    hops = {hop.id: hop for hop in rtnl.nexthops(net, 158)}
    less = replace(WANTED, targets=WANTED.targets[:1])
    tunnel.prepare(net, less)
    left = {hop.id: hop for hop in rtnl.nexthops(net, 158)}
    assert left == {number: hop for number, hop in hops.items() if hop.target == ONE}
    for changed in (replace(less, mtu=1400), replace(less, own=TWO, targets=less.targets), replace(less, port=4791)):
        tunnel.prepare(net, changed)
        assert tunnel.is_right(net, changed)
        assert not tunnel.is_right(net, less)


def _away(*those: tuple[IPv4Address, int]) -> tuple[Member, ...]:
    return tuple(Member(short="", peer=peer, weight=weight) for peer, weight in those)


@pytest.mark.parametrize("address", [ANYCAST4, ANYCAST6])
def test_other_hosts_are_members_as_they_are_set(net: Netlink, address: Address) -> None:
    """Alone, two, and one that lingers; a host that joins moves no busy bucket of the one that was alone."""
    tunnel.prepare(net, WANTED)
    router = Router(net)
    for members in (_away((ONE, 100)), _away((ONE, 1), (TWO, 100)), _away((TWO, 37))):
        router.set_next_hops(address, members, {}, source=OWN)
        router.set_route(address)
        assert router.look().balanced == {address: members}
    assert router.look().inbound == {}
    router.tell(address, 3)
    assert router.look().served == {address: 3}
    router.tell(address, 0)
    assert router.look().served == {address: 0}
    router.tell(address, None)
    router.tell(address, None)
    router.remove_route(address)
    assert (router.look().served, router.look().balanced) == ({}, {})


@pytest.mark.parametrize("address", [ANYCAST4, ANYCAST6])
def test_who_lingers_keeps_busy_buckets_and_no_other(net: Netlink, address: Address, monkeypatch: Any) -> None:
    """One host had all; another one takes over. What the first one has left are the buckets of flows that were there
    before, no share of new ones; without any flow, or once they have been silent, it counts as idle.
    """
    tunnel.prepare(net, WANTED)
    router, lingers = Router(net), _away((ONE, LINGER), (TWO, FULL))

    def first_buckets() -> list[float]:
        groups = [hop.id for hop in rtnl.nexthops(net, ROUTE_PROTOCOL) if hop.group]
        return [idle for group in groups for hop in _hops_to(net, ONE) for idle in rtnl.idle_times(net, group, hop)]

    for flows in (0, 3):
        router.set_next_hops(address, _away((ONE, FULL)), {}, source=OWN)
        router.set_route(address)
        # used in the kernel's tick in which it was made, a bucket counts as never used
        wait_until(lambda: min(first_buckets()) > 0.02, timeout_s=20, reason="a tick has passed")
        for port in range(flows):
            with socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6, socket.SOCK_DGRAM) as one:
                one.sendto(b"?", (str(address), 7 + port))
        router.set_next_hops(address, lingers, {}, source=OWN)
        assert bool(flows) <= len(first_buckets()) <= flows
        seen = router.look()
        assert seen.balanced == {address: lingers}
        assert seen.idle == (frozenset() if flows else {(address, ONE)})
        if flows:
            monkeypatch.setattr("anypop.agent.act.network.router.IDLE_S", 0)
            assert router.look().idle == {(address, ONE)}
        router.remove_route(address)


def test_a_kernel_that_knows_small_weights_alone_is_given_those(net: Netlink, monkeypatch: Any) -> None:
    """It refuses the others, which is taken for what it is: from then on it is asked no more."""
    tunnel.prepare(net, WANTED)
    router, asked, set_group = Router(net), list[bool](), rtnl.set_group

    def older(net: Netlink, number: int, members: Sequence[tuple[int, int]], **more: Any) -> None:
        asked.append(wide := any(weight > 256 for _, weight in members))
        if wide:
            raise WorldError("set", "reserved fields in nexthop_grp must be 0") from OSError(errno.EINVAL, "")
        set_group(net, number, members, **more)

    monkeypatch.setattr(rtnl, "set_group", older)
    for members in (_away((ONE, FULL)), _away((ONE, LINGER), (TWO, FULL)), _away((TWO, FULL))):
        router.set_next_hops(ANYCAST4, members, {}, source=OWN)
        router.set_route(ANYCAST4)
        assert Router(net).look().balanced == {ANYCAST4: members}
    assert asked == [True, False, False, False]


def _hops_to(net: Netlink, target: IPv4Address) -> set[int]:
    return {hop.id for hop in rtnl.nexthops(net, ROUTE_PROTOCOL) if hop.target == target}


def test_what_comes_by_the_tunnel_and_has_no_instance_is_lost_whatever_other_tables_say(net: Netlink) -> None:
    """Also where the main table has a way for it, even back into the tunnel: without the rule it would go round."""
    tunnel.prepare(net, WANTED)
    router = Router(net)
    router.set_next_hops(ANYCAST4, _away((ONE, 100)), {}, source=OWN)
    router.set_route(ANYCAST4)
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    words = ("ip", "route", "get", str(ANYCAST4), "from", "203.0.113.9", "iif", TUNNEL)
    asked = subprocess.run(words, capture_output=True, text=True, check=False)
    assert "Invalid argument" in asked.stderr  # what a black hole answers
    _run("ip", "rule", "del", "pref", "62")
    assert f"dev {TUNNEL}" in _run(*words)


def test_who_serves_what_is_heard_by_events_and_read_anew_where_they_are_lost(net: Netlink) -> None:
    """As BIRD writes it: an IPv6 route is replaced by taking it away first, which is no moment without."""
    table, other = 172031746, 172031747

    def told(verb: str, address: Address, count: int = 1, of: int = table) -> None:
        whose, number = count & ~UNWELL, (count & ~UNWELL) + 1
        more = ["initcwnd", str(number & 0x7FFF_FFFF)] if verb != "del" else []
        more += ["window", str(whose >> 31)] if whose >> 31 else []
        more += ["initrwnd", "1"] if count & UNWELL else []
        where = ["proto", "bird", "metric", "32", "table", str(of)]
        _run("ip", "route", verb, "blackhole", str(ip_network(address)), *where, *more)

    async def story() -> None:
        changed = asyncio.Event()
        loop = asyncio.get_running_loop()

        async def until(expected: dict[IPv4Address, dict[Address, int]]) -> None:
            for _ in range(500):
                if found.offers() == expected:
                    return
                await asyncio.sleep(0.002)
            raise AssertionError(found.offers())

        told("add", ANYCAST4, 2)
        found = Offers(net, changed.set)
        found.follow({table: ONE})
        assert found.offers() == {ONE: {ANYCAST4: 2}}
        told("add", ANYCAST6, 1)
        told("add", ANYCAST4, 5, of=other)
        await until({ONE: {ANYCAST4: 2, ANYCAST6: 1}})
        told("replace", ANYCAST4, 0)
        await until({ONE: {ANYCAST4: 0, ANYCAST6: 1}})
        blue = sibling_number("blue")
        for number in (blue, blue | UNWELL):
            told("replace", OF_BLUE, number)
            await until({ONE: {ANYCAST4: 0, ANYCAST6: 1, OF_BLUE: number}})
        router = Router(net)
        for number in (blue | UNWELL, blue):
            router.tell(OF_BLUE, number)
            assert [r.count - 1 for r in rtnl.routes(net, SERVED_PROTOCOL, SERVED_TABLE)] == [number]
        router.tell(OF_BLUE, None)
        told("del", OF_BLUE)
        await until({ONE: {ANYCAST4: 0, ANYCAST6: 1}})
        changed.clear()
        told("del", ANYCAST4)
        async with asyncio.timeout(1):  # the agent's loop is woken, and need not ask
            await changed.wait()
        assert found.offers() == {ONE: {ANYCAST6: 1}}
        batch = "\n".join(
            f"route {verb} blackhole {ANYCAST6} proto bird metric 32 table {table}{more}"
            for verb, more in (("del", ""), ("add", " initcwnd 8"))
        )
        seen: list[object] = []
        ip.batch(batch.splitlines(), netns=SPACE)
        end = loop.time() + 0.05
        while loop.time() < end:
            seen.append(found.offers().get(ONE))
            await asyncio.sleep(0)
        assert None not in seen, "it was never gone"
        assert seen[-1] == {ANYCAST6: 7}
        found.speaker_died()
        told("del", ANYCAST6)
        await asyncio.sleep(0)
        assert found.offers() == {ONE: {ANYCAST6: 7}}, "a new speaker takes away what the dead one had heard"
        told("add", ANYCAST6, 3)
        await until({ONE: {ANYCAST6: 3}})
        found._recovers_until = 0.0
        _run("ip", "link", "add", TUNNEL, "type", "veth")
        _run("ip", "link", "del", TUNNEL)
        told("del", ANYCAST6)
        await asyncio.sleep(0.1)
        assert found.offers() == {ONE: {ANYCAST6: 3}}, "the own device is gone, and nobody else has said a word"
        told("add", ANYCAST6, 3)
        found.follow({other: TWO})
        assert found.offers() == {TWO: {ANYCAST4: 5}}
        assert not found.read_anew()
        found.follow({})
        assert found.offers() == {}

    asyncio.run(story())


def test_the_guard_counts_what_each_tunnel_carries_and_is_missed_when_it_is_touched(net: Netlink) -> None:
    rules = TunnelGuard(own=OWN, end=WANTED.end, port=4790, mtu=1464, peers=(ONE, TWO), halves=(ANYCAST4,))

    async def story() -> None:
        await guard.load(rules, None, "agt")
        assert await guard.holds(rules, "agt")
        assert guard.counted("agt") == {ONE: guard.Carried(), TWO: guard.Carried()}
        more = replace(rules, halves=(ANYCAST6,))
        with Netlink(NETFILTER) as tables:
            before = nftables.rule_counts(tables, "anypop_agt_tunnels")
        await guard.load(more, rules, "agt")
        assert await guard.holds(more, "agt")
        with Netlink(NETFILTER) as tables:
            assert nftables.rule_counts(tables, "anypop_agt_tunnels") == before
        _run("nft", "flush", "chain", "inet", "anypop_agt_tunnels", "outside")
        assert not await guard.holds(more, "agt")
        await guard.load(more, None, "agt")
        assert await guard.holds(more, "agt")
        assert guard.is_there("agt")
        await guard.load(None, more, "agt")
        assert not guard.is_there("agt")

    asyncio.run(story())


def test_the_device_is_made_by_one_agent_and_found_by_the_next(net: Netlink) -> None:
    """A next hop with the same target but another source, as a kernel has it after a change of addresses."""
    tunnel.prepare(net, WANTED)
    found = vxlan.find(net, TUNNEL)
    assert found is not None
    assert (found.port, found.mtu, found.up, found.fit) == (4790, 1464, True, True)
    wait_until(lambda: vxlan.find(net, TUNNEL) == found, timeout_s=1, reason="it stays")
    _run("ip", "link", "del", TUNNEL)
    _run("ip", "link", "add", TUNNEL, "type", "veth", "peer", "name", "agt-other")
    other = vxlan.find(net, TUNNEL)
    assert other is not None
    assert not other.fit
