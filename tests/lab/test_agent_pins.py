"""The parts of a pin in a real kernel: made whole from any half, found again by name, and taken away without a
trace.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from anypop.agent.act.network import drain, drain_rules, newcomer_ways, pins, rtnl
from anypop.agent.act.network.drain import Drains
from anypop.agent.act.network.netlink import Netlink
from anypop.agent.act.network.nft import nft
from anypop.agent.act.network.pins import Pin
from anypop.agent.naming import DRAIN_PREFERENCE, DRAIN_TABLES, NEWCOMER_SLOTS, ROUTE_PROTOCOL, drain_table, short
from anypop.agent.teardown import take_down
from anypop.host import ip, netns, process
from tests.drain_lab import (
    ANYCAST,
    BOTH,
    EXTERNAL,
    NEW,
    OLD,
    PREFIX,
    Client,
    fresh,
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


def kernel() -> dict[str, object]:
    """Everything that a pin is made of, as the kernel's own programs tell it."""
    rules = [row for words in (["-4"], ["-6"]) for row in ip.query(*words, "rule", "show") if "fwmark" in row]
    routes = [
        row for words in (["-4"], ["-6"]) for row in ip.query(*words, "route", "show", "table", "all", "proto", "158")
    ]
    return {
        "rules": rules, "routes": [row for row in routes if str(row.get("table", "main")).startswith("158")],
        "nft": sorted(line for line in process.run(["nft", "list", "ruleset"]).splitlines() if "expires" not in line),
    }  # fmt: skip


def pin_in(slot: int) -> Pin:
    return Pin(slot=slot, key=short(OLD), addresses=(ANYCAST[4],))


LOST: dict[str, Callable[[Netlink, int], object]] = {
    "nothing": lambda net, slot: None,
    "the IPv4 rule": lambda net, slot: rtnl.delete_mark_rule(net, pin_in(slot).rule(4)),
    "the IPv6 rule": lambda net, slot: rtnl.delete_mark_rule(net, pin_in(slot).rule(6)),
    "a route": lambda net, slot: rtnl.delete_route(
        net, ip_network(ANYCAST[6]), ROUTE_PROTOCOL, table=DRAIN_TABLES + slot
    ),
    "all routes": lambda net, slot: [
        process.run(["ip", f"-{v}", "route", "flush", "table", str(DRAIN_TABLES + slot)]) for v in (4, 6)
    ],
    "the table": lambda net, slot: process.run(["nft", "delete", "table", "inet", drain_table(PREFIX)]),
    "the rules in it": lambda net, slot: process.run(["nft", "flush", "table", "inet", drain_table(PREFIX)]),
}


@pytest.mark.parametrize("lost", LOST)
def test_a_pin_that_lost_a_part_is_made_whole(net: Netlink, lost: str) -> None:
    """Killed anywhere, or a part taken away by hand: the same call ends in the same kernel, and keeps the same
    flows.
    """

    async def scenario() -> None:
        async with serving(old=BOTH[0].space, new=BOTH[1].space):
            client = await Client(EXTERNAL[4]).open()
            for _ in range(2):
                await Drains(net, PREFIX).pin(OLD, BOTH[0].behind)
            whole = kernel()
            assert pins.pinned(net, PREFIX) == {short(OLD): True}
            slot = next(rule.table for rule in rtnl.mark_rules(net) if rule.protocol == ROUTE_PROTOCOL) - DRAIN_TABLES
            LOST[lost](net, slot)
            seen = pins.pinned(net, PREFIX)
            assert seen == (
                {} if lost == "the table" else {short(OLD): lost in ("nothing", "a route", "the rules in it")}
            )
            await Drains(net, PREFIX).pin(OLD, BOTH[0].behind)
            assert kernel() == whole
            client.sock.close()

    before = kernel()
    asyncio.run(scenario())
    for _ in range(2):
        asyncio.run(Drains(net, PREFIX).unpin(OLD))
    assert kernel() == before
    assert pins.pinned(net, PREFIX) == {}


def test_a_mark_has_a_way_before_the_first_packet_has_it(net: Netlink, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the pin is made, too: not all flows that are marked meanwhile have a bucket that leads there. Nobody takes
    it for whole by then.
    """
    seen = []

    async def watched(*words: str, **more: str) -> str:
        ruled = {(r.version, r.table) for r in rtnl.mark_rules(net) if r.protocol == ROUTE_PROTOCOL}
        said = await nft(*words, **more)
        seen.append((ruled, pins.pinned(net, PREFIX)))
        return said

    async def scenario() -> None:
        async with serving(old=BOTH[0].space):
            client = await Client(EXTERNAL[4]).open()
            await Drains(net, PREFIX).pin(OLD, BOTH[0].behind)
            client.sock.close()

    monkeypatch.setattr(drain, "nft", watched)
    asyncio.run(scenario())
    (pin,) = pins.recorded(net, PREFIX)
    assert seen == [({(4, pin.table), (6, pin.table)}, {short(OLD): False})] * 2
    ours = [rule for rule in rtnl.mark_rules(net) if rule.protocol == ROUTE_PROTOCOL]
    assert sorted(rule.preference for rule in ours) == [DRAIN_PREFERENCE] * 2
    asyncio.run(Drains(net, PREFIX).unpin(OLD))


def test_each_has_a_mark_of_its_own_and_what_others_made_stays(net: Netlink) -> None:
    """Two that drain at once do not meet; rules, tables and marks of an operator are neither used nor removed."""
    process.run(["nft", "-f", "-"], stdin="table inet theirs { chain c { accept; }; }\n")
    first = DRAIN_TABLES + 1 + int(short(NEW), 16) % 255  # where the search for a free one begins
    ip.batch([f"rule add pref 90 fwmark 7 lookup {first}", f"route add 203.0.114.0/24 dev lo table {first}"])
    before = kernel()

    async def scenario() -> None:
        drains = Drains(net, PREFIX)
        await asyncio.gather(*(drains.pin(one.uid, one.behind) for one in BOTH))

    asyncio.run(scenario())
    assert pins.pinned(net, PREFIX) == {short(one.uid): True for one in BOTH}
    assert pins.pinned(net, "other") == {}
    ours = {rule.mark for rule in rtnl.mark_rules(net) if rule.protocol == ROUTE_PROTOCOL}
    assert len(ours) == 2
    assert first not in {rule.table for rule in rtnl.mark_rules(net) if rule.protocol == ROUTE_PROTOCOL}
    assert all(mark & 0x00FF_FFFF == 0 for mark in ours)
    asyncio.run(Drains(net, PREFIX).unpin(OLD))
    assert pins.pinned(net, PREFIX) == {short(NEW): True}
    for _ in range(2):
        pins.unpin_all(net, PREFIX)
    assert kernel() == before
    ip.batch(["rule del pref 90", f"route flush table {first}"])
    process.run(["nft", "delete", "table", "inet", "theirs"])


def test_an_operators_mark_survives(net: Netlink) -> None:
    """Only the highest byte is ours: what a rule before has written into the others is still there behind us."""
    check = "tcp dport 80 meta mark & 0x00ffffff == 0x5 meta mark & 0xff000000 != 0 counter"
    seen = f"table inet seen {{ chain f {{ type filter hook forward priority 0; {check}; }}; }}"
    marks = "table inet marks { chain p { type filter hook prerouting priority mangle; meta mark set 0x5; }; }"

    async def scenario() -> bool:
        async with serving(old=BOTH[0].space):
            client = await Client(EXTERNAL[4]).open()
            await Drains(net, PREFIX).pin(OLD, BOTH[0].behind)
            process.run(["nft", "-f", "-"], stdin=f"{seen}\n{marks}\n")
            whole = await client.is_whole()
            client.sock.close()
            return whole

    try:
        assert asyncio.run(scenario())
        assert "packets 0 " not in process.run(["nft", "list", "table", "inet", "seen"])
    finally:
        for name in ("seen", "marks"):
            process.run(["nft", "delete", "table", "inet", name])


def test_a_look_is_cheap(net: Netlink) -> None:
    """Asked at every pass: well under a millisecond of this process when nothing drains; the cheapest turn counts."""
    rounds, costs = 50, []
    for _ in range(4):
        begun = time.process_time()
        for _ in range(rounds):
            pins.pinned(net, PREFIX)
        costs.append((time.process_time() - begun) / rounds)
    assert min(costs) < 0.001


def test_a_teardown_takes_pins_along(tmp_path: Path) -> None:
    """Also one of an incarnation whose link is gone already; and the rules of a newcomer's way."""
    space, lonely = f"{PREFIX}-end", pin_in(77)
    ip.batch([f"netns add {space}"])
    try:
        with netns.inside(space), Netlink() as net:
            before = kernel()
            for version in (4, 6):
                rtnl.add_mark_rule(net, lonely.rule(version))
            for rule in newcomer_ways.rules_of(NEWCOMER_SLOTS.start):
                rtnl.add_mark_rule(net, rule)
            process.run(["nft", "-f", "-"], stdin=drain_rules.render(drain_table(PREFIX), [lonely]))
            assert pins.pinned(net, PREFIX) == {short(OLD): False}
            assert take_down(prefix=PREFIX, pop=None, state=tmp_path, podman=tmp_path / "none") == []
            assert kernel() == before
    finally:
        ip.batch([f"netns del {space}"])


def test_one_that_drains_goes_on_as_a_client_of_another_that_drains(net: Netlink) -> None:
    """Its packets are recorded as its own and marked as the other's."""
    service = ip_address("198.51.100.99")
    new = BOTH[1]
    ip.batch([f"addr add {service}/32 dev lo"], netns=new.space)
    ip.batch([f"route add {service}/32 via {new.private(4)}"])

    async def scenario() -> bool:
        async with serving(new=new.space):
            client = Client(service, space=BOTH[0].space)
            client.sock.bind((str(BOTH[0].private(4)), 0))  # the external address is on both
            await client.open()
            await Drains(net, PREFIX).pin(OLD, BOTH[0].behind)
            await Drains(net, PREFIX).pin(NEW, {service: new.private(4)})
            ip.batch([f"route del {service}/32", f"route add blackhole {service}/32"])
            whole = await client.is_whole()
            client.sock.close()
            return whole

    try:
        assert asyncio.run(scenario())
    finally:
        ip.batch([f"route del {service}/32", f"route del blackhole {service}/32"], force=True)
        ip.batch([f"addr del {service}/32 dev lo"], netns=new.space)
