"""Instances with an interface in each of two networks, in real containers on two hosts with a backbone: who reaches
whom by which of them, and what keeps the networks apart.
"""

import errno
import json
import os
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from ipaddress import IPv4Address, ip_network
from pathlib import Path
from typing import Any

import pytest

from anypop.agent.decide.gateways import routed
from anypop.agent.naming import GATEWAY_SLOTS, GATEWAY_TABLES, device_group_of, link_of, namespace_of
from anypop.host import ip, netns, process
from anypop.model.announce import Address
from anypop.model.errors import WorldError
from anypop.model.names import StackId
from anypop.model.order import InstanceOrder
from anypop.model.workload import Port
from tests.agent_lab import external, tokens
from tests.backbone_lab import CLIENT4, BackboneLab, Host, container_pids
from tests.family_lab import talker
from tests.lab.networks.conftest import BLUE, RED, emptied, inside, link

ELSEWHERE = ip_network("198.18.77.0/24")


class Two:
    """In London `both` and `spare`, which are in the networks blue and red, and one of each alone; in Amsterdam
    as well, without the spare one.
    """

    def __init__(self, lab: BackboneLab) -> None:
        self.lab = lab
        self.here, _, self.there = lab.hosts
        self.both, self.blue, self.red, self.spare = self.in_london = [
            self.made(self.here, i, *n) for i, n in enumerate(_NETWORKS)
        ]
        self.both_far, self.blue_far, self.red_far = self.in_amsterdam = far = [
            self.made(self.there, i, *n) for i, n in enumerate(_NETWORKS[:3])
        ]
        self.here.give(*self.in_london)
        self.there.give(*far)
        for network, alone, afar in (("blue", self.blue, self.blue_far), ("red", self.red, self.red_far)):
            asked = [(self.both, one) for one in (alone, afar, self.both_far)]
            for asker, one in (*asked, (alone, self.both), (afar, self.both)):
                for address in (inside(one, network, v) for v in (4, 6)):
                    lab.wait(lambda a=asker, t=address: self.says(a, t), f"{one.name} answers", 60)  # type: ignore[misc]

    def made(self, host: Host, i: int, *networks: str) -> InstanceOrder:
        ports = (Port(name="p82", port=82), Port(name="p80", port=80, open_to_all=True))
        plain = replace(host.instance(i, containers=(replace(talker(), ports=ports),)), stack_id=StackId("one"))
        links = (link(host, network, i if n == 0 else 20 + i, plain if n == 0 else None) for n, network in
                 enumerate(networks))  # fmt: skip
        return replace(plain, links=tuple(links))

    def says(
        self, asker: InstanceOrder, address: Address, source: Address | None = None, *, timeout_s: float = 5
    ) -> list[str]:
        """Who answers an instance at port 82, and from which address it asked; nothing: nobody. `source`: it insists
        on that one.
        """
        home = self.here if asker in self.in_london else self.there
        gone = (OSError, WorldError)
        bound = (str(source), 0) if source is not None else None
        space = namespace_of(home.prefix, asker.uid)
        with (
            suppress(*gone),
            netns.inside(space),
            socket.create_connection((str(address), 82), timeout=timeout_s, source_address=bound) as flow,
        ):
            return [flow.recv(100).decode().strip(), flow.getsockname()[0]]
        return []

    def ways(self, group: str) -> dict[str, list[str]]:
        """In London, where the gateways of a network lead: by prefix the links, none where nobody here passes it on."""
        rows = self._rows(group)
        hops = {row["dst"]: [hop for hop in row.get("nexthops", [row]) if "gateway" in hop] for row in rows}
        return {dst: list(dict.fromkeys(hop["dev"] for hop in those)) for dst, those in hops.items()}

    def ends(self, group: str, prefix: str) -> bool:
        """Whether in London a network's way to a prefix ends, since no gateway is left anywhere."""
        return any(row["dst"] == prefix and row.get("type") == "unreachable" for row in self._rows(group))

    def _rows(self, group: str) -> list[dict[str, Any]]:
        (slot,) = [r.slot for r in routed(map(led, self.in_london)) if r.group == device_group_of(f"one/{group}")]
        rows: list[dict[str, Any]] = []
        for family in ("-4", "-6"):
            with suppress(WorldError):  # a table exists while it has routes
                rows += ip.query(family, "route", "show", "table", str(GATEWAY_TABLES + slot), netns=self.here.router)
        return rows

    def nft(self, host: Host, *words: str) -> None:
        process.run(netns.command(host.router, "nft", *words))

    def firewall(self, host: Host) -> tuple[str, str]:
        return "inet", f"anypop_{host.prefix}"


_NETWORKS = (("blue", "red"), ("blue",), ("red",), ("blue", "red"))


def led(instance: InstanceOrder) -> InstanceOrder:
    """With a route in each network to the other one, by all who are in both."""
    links = tuple(
        replace(one, ways=other, passes=other if len(instance.links) > 1 else ())
        for one in instance.links
        for other in [(*RED, ELSEWHERE) if one.network == "blue" else BLUE]
    )
    return replace(instance, links=links)


@pytest.fixture(scope="module")
def two(lab: BackboneLab) -> Iterator[Two]:
    yield Two(lab)
    emptied(lab)


def test_each_interface_reaches_its_own_network_in_all_pops(two: Two) -> None:
    """From the address there, in both families, here and by the tunnel; and who is asked answers from where it was
    asked, whoever asks it.
    """
    for network, alone, far in (("blue", two.blue, two.blue_far), ("red", two.red, two.red_far)):
        for version in (4, 6):
            own = str(inside(two.both, network, version))
            for asked in (alone, far, two.both_far):
                address = inside(asked, network, version)
                assert two.says(two.both, address) == [asked.name, own], f"{address} in {network}"
            for asker in (alone, far):
                found = two.says(asker, inside(two.both, network, version))
                assert found == [two.both.name, str(inside(asker, network, version))]
    # at the link's own address it answers by the interface that was asked, too
    (private, _) = (a.private for a in two.both.links[1].addresses)
    assert two.says(two.red, private)[:1] == [two.both.name]


def test_the_container_sees_its_interfaces(two: Two) -> None:
    """In its own namespace: eth0 with the default route, eth1 without one; and it passes nothing on."""
    pid = container_pids(two.lab)[two.both.name]
    command = ("nsenter", "-t", str(pid), "-n", "ip", "-json", "address")
    names = {row["ifname"]: row for row in json.loads(process.run(list(command)))}
    assert set(names) == {"lo", "eth0", "eth1"}
    for name, network in (("eth0", "blue"), ("eth1", "red")):
        assert names[name]["addr_info"][0]["local"] == str(inside(two.both, network, 4))
    space = namespace_of(two.here.prefix, two.both.uid)
    for family in ("-4", "-6"):
        (default,) = ip.query(family, "route", "show", "default", netns=space)
        assert default["dev"] == "eth0"
    with netns.inside(space):
        for path in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
            assert Path("/proc/sys/net", path).read_text().strip() == "0"
    assert {row["ifname"] for row in ip.query("address", netns=namespace_of(two.here.prefix, two.blue.uid))} == {
        "lo",
        "eth0",
    }


def test_one_network_does_not_reach_the_other_unless_the_rules_are_gone(two: Two) -> None:
    """In both directions, at this host and at the other: neither by the address of the one that is in both, nor from
    the address in one network by the interface in the other. With the rules of the host taken out it gets through.
    """
    wrong = (
        (two.red, inside(two.blue, "blue", 4)), (two.red, inside(two.both, "blue", 4)),
        (two.blue, inside(two.red, "red", 4)), (two.blue, inside(two.both, "red", 4)),
        (two.blue, two.both.links[1].addresses[0].private), (two.red, two.both.links[0].addresses[0].private),
        (two.blue, inside(two.both_far, "red", 4)), (two.red, inside(two.both_far, "blue", 6)),
    )  # fmt: skip
    tries = [
        (asker, address, source)
        for asker, address in wrong
        for source in (None, *(a for a in asker.externals() if a.version == address.version))
    ]
    with ThreadPoolExecutor(len(tries)) as pool:
        found = list(pool.map(lambda one: two.says(*one, timeout_s=1), tries))
    assert found == [[]] * len(tries), list(zip(tries, found, strict=True))
    for agent in (two.here, two.there):
        agent.kill_agent()
    try:
        for chain in ("leaving", "arriving"):
            two.nft(two.here, "flush", "chain", *two.firewall(two.here), chain)
        for asker, asked in ((two.blue, two.both.links[1]), (two.red, two.both.links[0])):
            address = asked.addresses[0].private
            source = external(asker)  # which it has a way back to; to an address in a subnet there is none here
            two.lab.wait(lambda a=asker, t=address, s=source: two.says(a, t, s), f"{address} is reached")  # type: ignore[misc]
    finally:
        for agent in (two.here, two.there):
            agent.start_agent()
    two.lab.wait(lambda: not two.says(two.blue, two.both.links[1].addresses[0].private, timeout_s=1), "refused", 40)


def test_an_interface_that_somebody_takes_away_is_made_again(two: Two) -> None:
    """Without a new process: the other interface serves all the while."""
    pid, red = container_pids(two.lab)[two.both.name], inside(two.red, "red", 4)
    ip.batch([f"link del {link_of(two.both.uid, 1)}"], netns=two.here.router)
    assert two.says(two.both, inside(two.blue, "blue", 4))
    two.lab.wait(lambda: two.says(two.both, red), "eth1 is back", 90)
    assert container_pids(two.lab)[two.both.name] == pid


def test_routes_lead_through_gateways_and_die_with_them(two: Two) -> None:
    """From a network into the other one and back, in both families, by those who are in both: told to instances that
    run, whose processes stay. Each of two gateways is a way; when one dies its way is gone; when the last one
    has gone the one in Amsterdam serves, and when that is none nobody is reached, which who asks is told.
    """
    pids = container_pids(two.lab)
    pairs = [
        (asker, asked, inside(asked, network, v), str(inside(asker, other, v)))
        for asker, asked, network, other in ((two.blue, two.red, "red", "blue"), (two.red, two.blue, "blue", "red"))
        for v in (4, 6)
    ]
    assert [two.says(asker, address, timeout_s=0.5) for asker, _, address, _ in pairs] == [[]] * 4
    two.here.give(*map(led, two.in_london))
    for asker, asked, address, own in pairs:
        two.lab.wait(lambda a=asker, t=address, s=[asked.name, own]: two.says(a, t) == s, f"{asked.name} is reached")  # type: ignore[misc]
    assert container_pids(two.lab) == pids
    gateways = [link_of(one.uid) for one in (two.both, two.spare)]
    red4, red6 = map(str, RED)
    two.lab.wait(lambda: sorted(two.ways("blue").get(red4, [])) == sorted(gateways), "both pass it on")
    two.lab.wait(lambda: sorted(two.ways("blue").get(red6, [])) == sorted(gateways), "in both families")

    # what is forged gets out of a gateway neither to its network, nor with a source that it passes on to anybody else
    for source, target in (("203.0.113.9", inside(two.blue, "blue", 4)), (str(ELSEWHERE[9]), CLIENT4)):
        before = dropped(two)
        send(two, two.both, source, target)
        two.lab.wait(lambda b=before: dropped(two) > b, f"a packet from {source} is refused")  # type: ignore[misc]

    os.kill(pids[two.both.name], signal.SIGKILL)
    two.lab.wait(lambda: two.ways("blue").get(red4) == [gateways[1]], "the way of the one that died is gone")
    (_, _, address, _), *_ = pairs
    two.lab.wait(lambda: two.says(two.blue, address)[:1] == [two.red.name], "the other one passes it on")
    two.lab.wait(lambda: len(two.ways("blue").get(red4, [])) == 2, "and comes back with it", 40)

    # without one in its PoP those of the nearest other one serve, both ways; and without these nobody
    two.there.give(*map(led, two.in_amsterdam))
    two.here.give(*(led(one) for one in (two.blue, two.red)), removed=tokens(two.both, two.spare), drain_s=0.0)
    two.lab.wait(lambda: two.ways("blue").get(red4) == [], "nobody here passes it on")
    for asker, asked, address, own in pairs:
        two.lab.wait(lambda a=asker, t=address, s=[asked.name, own]: two.says(a, t) == s, f"{asked.name} is reached")  # type: ignore[misc]
    two.there.give(*two.in_amsterdam)
    two.lab.wait(lambda: two.ends("blue", red4), "London knows of none")
    # each time within a second, however often it asks
    for _ in range(4):
        assert trouble(two, two.blue, inside(two.red, "red", 4)) in UNREACHABLE
    two.here.give(two.blue, two.red)
    two.lab.wait(lambda: not rules(two), "without routes there is nothing of them")


UNREACHABLE = (errno.EHOSTUNREACH, errno.ENETUNREACH)


def trouble(two: Two, asker: InstanceOrder, address: Address) -> int | None:
    """What the kernel says to one in London who asks; None: it answers, or nobody says anything."""
    try:
        with netns.inside(namespace_of(two.here.prefix, asker.uid)):
            socket.create_connection((str(address), 82), timeout=5).close()
    except OSError as error:
        return error.errno
    return None


def rules(two: Two) -> list[str]:
    """The host's own rules that lead to tables of gateways."""
    tables = {str(GATEWAY_TABLES + slot) for slot in GATEWAY_SLOTS}
    return [row["table"] for row in ip.query("rule", netns=two.here.router) if row.get("table") in tables]


def dropped(two: Two) -> int:
    """Packets that the rules about sources, and about what gateways may send, have dropped."""
    rows = json.loads(
        process.run(netns.command(two.here.router, "nft", "-j", "list", "table", *two.firewall(two.here)))
    )
    return sum(
        part["counter"]["packets"]
        for row in rows["nftables"]
        if "rule" in row and (row["rule"]["chain"] == "own" or row["rule"]["chain"].startswith("kept_"))
        for part in row["rule"]["expr"]
        if "counter" in part
    )


def send(two: Two, sender: InstanceOrder, source: str, target: Address) -> None:
    """A ping with a source that may be anybody's."""
    with netns.inside(namespace_of(two.here.prefix, sender.uid)):
        raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    head = bytes.fromhex("4500001c00004000400100000000000000000000")[:12]
    packet = head + IPv4Address(source).packed + target.packed + bytes.fromhex("0800f7ff00000000")
    with raw:
        raw.sendto(packet, (str(target), 0))
