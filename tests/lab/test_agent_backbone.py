"""Hosts that carry for each other, on real parts: three agents with BIRD and Podman, two of them in one PoP, and
clients that reach one of them.
"""

import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import dns.exception
import dns.message
import dns.query
import pytest

from anypop.agent.act.network.netlink import Netlink
from anypop.agent.act.network.router import Router
from anypop.agent.act.network.sockets import connections
from anypop.agent.decide.elements import Entry, Member
from anypop.agent.naming import (
    LOWEST_PEER_TABLE,
    RESOLVER4,
    SIBLING_MARK,
    SIBLINGS_TABLE,
    TUNNEL_TABLE,
    VPC_TABLE,
    device_group_of,
    namespace_of,
    short,
)
from anypop.host import ip, netns, process
from anypop.model.announce import Address
from anypop.model.backbone import DialledPop
from anypop.model.errors import WorldError
from anypop.model.names import StackId
from anypop.model.order import InstanceOrder
from anypop.model.reasons import Reason
from anypop.model.stack_names import NamedInstance, NamedWorkload
from anypop.model.workload import Probe, ProbeKind
from tests.agent_lab import ANYCAST4, ANYCAST6, tokens
from tests.agent_load import Requests, pour
from tests.backbone_lab import CLIENT4, CLIENT6, BackboneLab, Host, container_pids
from tests.family_lab import Family, VpcFamily, carried, guard_nft, inside, own, siblings, talker
from tests.lab.wrapped import Wire

pytestmark = pytest.mark.lab

BIG = 1 << 20
BOTH = (ANYCAST4, ANYCAST6)
INBOUND = str(TUNNEL_TABLE)
BOX = "/bin/busybox"


@pytest.fixture(scope="module")
def lab() -> Iterator[BackboneLab]:
    """Two hosts in London and one in Amsterdam, all tunnels up, nothing running yet."""
    found = BackboneLab(f"b{os.getpid() % 4096:x}", (("LHR", 0), ("LHR", 0), ("AMS", 350)))
    try:
        for host in found.hosts:
            host.give()
        found.wait(
            lambda: all(len(h.tunnels()) == 2 and all(t.up for t in h.tunnels().values()) for h in found.hosts),
            "all tunnels are up",
            timeout_s=40,
        )
        yield found
    finally:
        found.close()


@pytest.fixture
def hosts(lab: BackboneLab) -> Iterator[list[Host]]:
    """The hosts, without instances afterwards."""
    yield lab.hosts
    for host in lab.hosts:
        running = host.control.order.instances if host.control.order else ()
        host.give(removed=tokens(*running), drain_s=0.0, gated=False)
    for host in lab.hosts:
        lab.wait(lambda h=host: (r := h.report) and not r.instances, f"{host.name} is empty")  # type: ignore[misc]
        lab.wait(lambda h=host: not any(h.members(a) for a in BOTH), f"{host.name} carries nothing")  # type: ignore[misc]


def _serve(lab: BackboneLab, at: dict[Host, int]) -> dict[Host, list[InstanceOrder]]:
    """So many instances at each of these hosts, all of them healthy and told to all."""
    made = {host: [host.instance(i, containers=(talker(),)) for i in range(count)] for host, count in at.items()}
    for host, instances in made.items():
        host.give(*instances)
    for host, instances in made.items():
        lab.wait(
            lambda h=host, those=instances: all(len(h.members(a, table=INBOUND)) == len(those) for a in BOTH),  # type: ignore[misc]
            f"{len(instances)} instances of {host.name} have a way for what comes by the tunnel",
        )
    return made


def _led(host: Host, *others: Host) -> bool:
    """Whether exactly these other hosts, and no instance here, get the traffic of both families."""
    return all(set(host.members(a)) == {str(o.address) for o in others} for a in BOTH)


def test_an_instance_is_reached_through_every_host_and_sees_its_clients(lab: BackboneLab, hosts: list[Host]) -> None:
    """One instance in London, clients by London's other host and by Amsterdam, in both families; the answer comes
    straight from the host that served.
    """
    first, second, far = hosts
    (one,) = _serve(lab, {second: 1})[second]
    for entry in (first, far):
        lab.wait(lambda e=entry: _led(e, second), f"{entry.name} carries")  # type: ignore[misc]
        lab.enter_by(entry)
        for address, client in ((ANYCAST4, CLIENT4), (ANYCAST6, CLIENT6)):
            assert lab.get(address) == one.name
            with netns.inside(lab.core), closing(socket.create_connection((str(address), 82), timeout=3)) as flow:
                assert flow.recv(100).decode().strip() == one.name
                held = namespace_of(second.prefix, one.uid)
                lab.wait(  # a probe of its own host may be under way
                    lambda a=address, c=client, n=held: {s.peer for s in connections(n, [a])} == {c},  # type: ignore[misc]
                    f"{client} alone is seen",
                )
    lab.wait(lambda: first.carried().keys() == set(BOTH), f"{first.name} tells what it carries")
    assert {c.shares for c in first.carried().values()} == {((second.name, 100),)}
    assert second.carried() == {}


def test_large_answers_and_large_uploads_never_hang(lab: BackboneLab, hosts: list[Host]) -> None:
    """1 MiB each way, eight times in each family, through a tunnel that takes less than the clients' wires."""
    first, second, _ = hosts
    _serve(lab, {second: 1})
    lab.wait(lambda: _led(first, second), f"{first.name} carries")
    lab.enter_by(first)
    for address in BOTH:
        assert [len(lab.get(address, "/big", timeout_s=3)) for _ in range(8)] == [BIG] * 8
        assert [_upload(lab, address) for _ in range(8)] == [BIG] * 8


def test_connections_by_a_tunnel_begin_with_segments_that_it_takes(lab: BackboneLab, hosts: list[Host]) -> None:
    """Before any router has had to say so: what the client may send is cut in the instance's first answer, in both
    families; without the rule it is as much as the client's own line takes.
    """
    first, second, _ = hosts
    _serve(lab, {second: 1})
    lab.wait(lambda: _led(first, second), f"{first.name} carries")
    lab.enter_by(first)
    most = {4: 1464 - 40, 6: 1464 - 60}
    assert all(_segment(lab, a) <= most[a.version] for a in BOTH)
    second.kill_agent()
    try:
        guard_nft(second, "flush", "chain", "cut")
        assert all(_segment(lab, a) > most[a.version] for a in BOTH)
    finally:
        second.start_agent()
    lab.wait(lambda: all(_segment(lab, a) <= most[a.version] for a in BOTH), "the rule is mended")


def _segment(lab: BackboneLab, address: Address) -> int:
    """The longest segment that a client may send on a new connection, by what it was answered."""
    for family in ("-4", "-6"):  # what routers said before
        process.run(netns.command(lab.core, "ip", family, "route", "flush", "cache"))
    with netns.inside(lab.core), socket.create_connection((str(address), 82), timeout=3) as flow:
        return flow.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG) + 12  # of options


def test_an_operators_rule_about_connections_ends_none_that_iscarried(lab: BackboneLab, hosts: list[Host]) -> None:
    """`ct state invalid drop` on the host that carries, and sees one half: connections go through, a download is whole.
    Without our own rule none does.
    """
    first, second, _ = hosts
    _serve(lab, {second: 1})
    lab.wait(lambda: _led(first, second), f"{first.name} carries")
    lab.enter_by(first)
    strict = "table inet strict { chain f { type filter hook forward priority 10; ct state invalid drop; }; }"
    process.run(netns.command(first.router, "nft", strict))
    try:
        lab.wait(lambda: all(lab.get(a) for a in BOTH), "the guard knows whom it sees in half")
        assert [len(lab.get(a, "/big", timeout_s=3)) for a in BOTH] == [BIG, BIG]
        first.kill_agent()
        try:
            guard_nft(first, "flush", "chain", "arriving")
            assert [lab.get(a) for a in BOTH] == ["", ""]
        finally:
            first.start_agent()
        lab.wait(lambda: all(lab.get(a) for a in BOTH), "the rule is mended")
    finally:
        process.run(netns.command(first.router, "nft", "delete table inet strict"))


def test_what_a_hosts_own_instances_are_too_few_for_goes_to_its_neighbour(lab: BackboneLab, hosts: list[Host]) -> None:
    """One of four instances of the PoP here, and half of its traffic: half of that is sent on, and none to another PoP;
    the neighbour sends nothing back.
    """
    first, second, _ = hosts
    made = _serve(lab, {first: 1, second: 3})
    own, other = f"i{made[first][0].uid[:10]}", str(second.address)
    lab.wait(
        lambda: all(_are_even(first.members(a), own, other) for a in BOTH), f"{first.name} sends on what is too much"
    )
    for there in [
        second.members(a) for a in BOTH
    ]:  # who carried before it had instances keeps what it sent, and nobody new
        assert sum(weight for key, weight in there.items() if not key.startswith("i")) < sum(there.values()) / 100
    lab.enter_by(first)
    names = {host: {i.name for i in those} for host, those in made.items()}
    told = [lab.get(a) for a in BOTH for _ in range(24)]
    assert {host.name for host in (first, second) if names[host] & set(told)} == {first.name, second.name}


def _are_even(members: dict[str, int], one: str, other: str) -> bool:
    return members.keys() == {one, other} and members[one] == members[other]


def test_an_error_about_a_packet_reaches_the_host_that_sent_it(lab: BackboneLab, hosts: list[Host]) -> None:
    """Two hosts serve what a third one carries, and a client's line takes packets of 1,300 bytes: the router before it
    says so to the anycast address, so to the third host, which cannot know whose packet it was. No answer hangs.
    """
    first, second, far = hosts
    _serve(lab, {first: 1, second: 1})
    lab.wait(lambda: _led(far, first, second), f"{far.name} carries to both")
    lab.enter_by(far)
    for address in BOTH:
        got = [len(lab.get(address, "/big", timeout_s=4, namespace=lab.small)) for _ in range(8)]
        assert got == [BIG] * 8
        ip.batch(["route flush cache"], netns=first.router)


def _upload(lab: BackboneLab, address: Address) -> int:
    """How many bytes of an upload arrive; 0 where it hangs."""
    with suppress(OSError), netns.inside(lab.core), socket.create_connection((str(address), 81), timeout=3) as flow:
        flow.sendall(bytes(BIG))
        flow.shutdown(socket.SHUT_WR)
        return int(flow.recv(100))
    return 0


def test_the_last_instance_dies_and_its_neighbour_carries_on(lab: BackboneLab, hosts: list[Host]) -> None:
    """Clients ask every 2 ms while the only instance of their host is killed, and until its successor has all new flows
    again. A connection that was carried meanwhile stays where it is.
    """
    first, second, far = hosts
    made = _serve(lab, {first: 1, second: 1, far: 1})
    names = {host: instances[0].name for host, instances in made.items()}
    lab.enter_by(first)
    lab.wait(lambda: all(lab.get(a) == names[first] for a in BOTH), "clients are served locally")
    with ExitStack() as stack:
        load = [stack.enter_context(Requests(lab.core, address)) for address in BOTH]
        lab.wait(lambda: all(r.sent > 100 for r in load), "requests are under way")
        os.kill(container_pids(lab)[names[first]], signal.SIGKILL)
        lab.wait(lambda: all(names[second] in r.answers for r in load), "the neighbour answers")
        flows = [stack.enter_context(closing(_Echo(lab, address))) for address in BOTH]
        carried = [flow.host == names[second] for flow in flows]
        lab.wait(lambda: all(first.members(a).get(f"i{made[first][0].uid[:10]}") for a in BOTH), "it is back")
        lab.wait(lambda: all(r.last == names[first] for r in load), "clients are served locally again")
        assert all(flow.lives() for flow in flows)
    for requests in load:
        # some 5 ms on an idle machine; without another host it is the time until the container has been made anew
        assert len(requests.failures) < 100, requests.failures
        assert names[far] not in requests.answers, "another PoP while the own one can serve"
    assert any(carried)
    for address in BOTH:
        there = first.members(address)
        assert there[str(second.address)] < there[f"i{made[first][0].uid[:10]}"] / 50


class _Echo:
    """A connection to port 82."""

    def __init__(self, lab: BackboneLab, address: Address) -> None:
        with netns.inside(lab.core):
            self._socket = socket.create_connection((str(address), 82), timeout=3)
        self.host = self._socket.recv(100).decode().strip()

    def lives(self) -> bool:
        with suppress(OSError):
            self._socket.sendall(b"ping")
            return self._socket.recv(100) == b"ping"
        return False

    def close(self) -> None:
        self._socket.close()


def test_a_host_that_is_lost_is_replaced_by_the_nearest_pop(lab: BackboneLab, hosts: list[Host]) -> None:
    """The wire of the host that serves is cut without a word, and mended."""
    first, second, far = hosts
    made = _serve(lab, {second: 1, far: 1})
    lab.wait(lambda: _led_newly(first, second), f"{first.name} carries")
    lab.enter_by(first)
    with Requests(lab.core, ANYCAST4) as requests:
        lab.wait(lambda: requests.sent > 50, "requests are under way")
        ip.batch([f"link set h{second.n} down"], netns=lab.core)
        try:
            lab.wait(lambda: requests.answers.get(made[far][0].name, 0) > 20, "Amsterdam answers")
            lab.wait(lambda: not first.tunnels()[second.name].up, "the tunnel is told to be down")
            assert first.tunnels()[far.name].up
        finally:
            ip.batch([f"link set h{second.n} up"], netns=lab.core)
            second.mend(lab)
        lab.wait(lambda: _led_newly(first, second), "London serves itself again", timeout_s=40)
    assert requests.answers[made[far][0].name] > 20


@pytest.mark.parametrize("percent", [0, 40])
def test_a_dial_sends_its_share_of_new_connections_away_and_moves_no_other(
    lab: BackboneLab, hosts: list[Host], percent: int
) -> None:
    """Amsterdam is dialled down under load, each bucket of its group in use, and back: the kernel's own counters say
    what left, by TCP in both families; connections that stood stay where they were, and so do those that left.
    """
    first, _, far = hosts
    made = _serve(lab, {first: 1, far: 1})
    near, there = made[first][0].name, made[far][0].name
    lab.enter_by(far)
    lab.wait(lambda: all(lab.get(a) == there for a in BOTH), "clients are served where they come in")
    with ExitStack() as stack:
        load = [stack.enter_context(Requests(lab.core, address)) for address in BOTH]
        stood = [stack.enter_context(closing(_Echo(lab, a))) for a in BOTH for _ in range(100)]
        far.give(*made[far], dials=(DialledPop(pop=far.pop, percent=percent),))
        lab.wait(lambda: far.dialled() == dict.fromkeys(BOTH, percent), "the dial is in force, and told")
        counted = far.steered()
        lab.wait(lambda: min(far.steered()[0] - counted[0], 300) == 300, "new connections have left")
        left = [stack.enter_context(closing(_Echo(lab, a))) for a in BOTH for _ in range(100)]
        gone, kept = (now - before for now, before in zip(far.steered(), counted, strict=True))
        assert abs(100 * gone / (gone + kept) - (100 - percent)) < (8 if percent else 0.001)
        assert {flow.host for flow in stood} == {there}
        assert near in {flow.host for flow in left}
        assert percent or {flow.host for flow in left} == {near}
        assert all(flow.lives() for flow in (*stood, *left))
        assert all(there not in r.last for r in load) or percent
        far.give(*made[far])
        lab.wait(lambda: far.dialled() == {}, "all that is new stays again")
        assert {lab.get(a) for a in BOTH for _ in range(20)} == {there}
        assert all(flow.lives() for flow in (*stood, *left)), "what has left goes on where it is"
    assert [r.failures for r in load] == [[], []]


def test_a_host_that_joins_gets_its_share_while_every_bucket_is_busy(lab: BackboneLab, hosts: list[Host]) -> None:
    """Three instances come up at the other host of a PoP, which is due half of the traffic then: by buckets it gets
    nothing, by its way what is due. What stands stays.
    """
    first, second, _ = hosts
    made = _serve(lab, {first: 1})
    lab.enter_by(first)
    lab.wait(lambda: all(lab.get(a) == made[first][0].name for a in BOTH), "clients are served where they come in")
    with ExitStack() as stack:
        stood = [stack.enter_context(closing(_Echo(lab, a))) for a in BOTH for _ in range(30)]
        pour(lab.core, BOTH)
        made |= _serve(lab, {second: 3})
        there = {i.name for i in made[second]}
        lab.wait(
            lambda: all(any(lab.get(a) in there for _ in range(10)) for a in BOTH),
            f"new connections reach {second.name}",
        )
        with netns.inside(first.router), Netlink() as net:
            seen = Router(net).look()
        assert {m.peer for a in BOTH for m in seen.newcomers[a].values()} == {second.address}
        assert all(seen.buckets[a, Entry.CLIENTS]["", second.address] < 20 for a in BOTH), "buckets are idle"
        after = [stack.enter_context(closing(_Echo(lab, a))) for a in BOTH for _ in range(60)]
        assert sum(flow.host in there for flow in after) >= len(after) / 4
        assert all(flow.lives() for flow in (*stood, *after))


def test_a_newcomer_gets_its_share_of_what_comes_by_the_tunnel(lab: BackboneLab, hosts: list[Host]) -> None:
    """Clients reach Amsterdam, which has no instance; in London a second one joins a first while each bucket there is
    busy. What stands stays where it is, and new connections are shared.
    """
    first, _, far = hosts
    (old,) = _serve(lab, {first: 1})[first]
    lab.wait(lambda: _led(far, first), f"{far.name} carries")
    lab.enter_by(far)
    with ExitStack() as stack:
        stood = [stack.enter_context(closing(_Echo(lab, a))) for a in BOTH for _ in range(30)]
        pour(lab.core, BOTH)
        new = first.instance(1, containers=(talker(),))
        first.give(old, new)
        lab.wait(
            lambda: all(any(lab.get(a) == new.name for _ in range(10)) for a in BOTH),
            "new connections reach the newcomer",
        )
        with netns.inside(first.router), Netlink() as net:
            seen = Router(net).look()
        assert all(seen.buckets[a, Entry.TUNNEL][short(new.uid), None] < 20 for a in BOTH), "buckets are idle"
        after = [stack.enter_context(closing(_Echo(lab, a))) for a in BOTH for _ in range(60)]
        assert sum(flow.host == new.name for flow in after) >= len(after) / 4
        assert all(flow.lives() for flow in (*stood, *after))


def test_a_host_that_leaves_gets_no_new_connection_while_every_bucket_is_busy(
    lab: BackboneLab, hosts: list[Host]
) -> None:
    """Amsterdam carries to two hosts in London, one of which drains: a connection that began there now would end with
    it. Those that it has go on.
    """
    first, second, far = hosts
    made = _serve(lab, {first: 1, second: 1})
    lab.wait(lambda: _led(far, first, second), f"{far.name} carries to both")
    lab.enter_by(far)
    stays, leaves = made[first][0], made[second][0]
    with ExitStack() as stack:
        stood = [stack.enter_context(closing(_Echo(lab, a))) for a in BOTH for _ in range(60)]
        assert {flow.host for flow in stood} == {stays.name, leaves.name}
        pour(lab.core, BOTH)
        second.give(removed=tokens(leaves), gated=False, drain_s=60.0)

        def all_led() -> bool:
            with netns.inside(far.router), Netlink() as net:
                seen = Router(net).look()
            busy = [seen.buckets.get((a, Entry.CLIENTS), {}).get(("", second.address), 0) for a in BOTH]
            led = [{m.peer for m in seen.newcomers.get(a, {}).values()} for a in BOTH]
            return min(busy) > 100 and led == [{first.address}] * 2

        lab.wait(all_led, "new connections are led to who stays, and none of the buckets of the other is idle")
        lab.wait(lambda: {_host(lab, a) for a in BOTH * 20} == {stays.name}, "new connections reach who stays")
        after = [stack.enter_context(closing(_Echo(lab, a))) for a in BOTH for _ in range(100)]
        assert {flow.host for flow in after} == {stays.name}
        assert all(flow.lives() for flow in (*stood, *after))


def _host(lab: BackboneLab, address: Address) -> str:
    with closing(_Echo(lab, address)) as flow:
        return flow.host


def test_a_host_that_settles_goes_on_with_that_when_its_agent_dies(lab: BackboneLab, hosts: list[Host]) -> None:
    """Its machine was dead: its containers and its speaker are gone. While it has not been well for long enough its
    agent is killed, and the next one waits as well: until nobody wants it to.
    """
    first, second, _ = hosts
    made = _serve(lab, {first: 1, second: 1})
    order = first.give(*made[first], return_after_s=50.0)
    lab.wait(lambda: (r := first.report) and r.generation == order.generation, "the order is obeyed")
    assert not _settles(first), "it has not been away"
    first.kill_agent()
    process.end(first.state / "bird" / "bird.pid", grace_s=0)
    names = {one.name for one in made[first]}
    for row in lab.podman.ask("GET", "/containers/json?all=true").json():
        if row["Labels"]["anypop.instance"] in names:
            lab.podman.ask("DELETE", f"/containers/{row['Id']}?force=true&timeout=0")
    for agent in ("the one that meets this", "the next one"):
        first.kill_agent()
        first.control.reports.clear()
        first.start_agent()
        lab.wait(lambda: all(first.members(a, table=INBOUND) for a in BOTH) and _settles(first), f"{agent} settles")
    first.give(*made[first], return_after_s=0.0)
    lab.wait(lambda: not _settles(first), "it is announced")


def _settles(host: Host) -> bool:
    """Whether each of its prefixes waits since the host has come back."""
    told = host.report.prefixes if host.report else ()
    return bool(told) and all(one.reason is Reason.SETTLES for one in told)


def _led_newly(host: Host, other: Host) -> bool:
    """Whether new flows go to another host, or to hosts beside it that only keep what they have."""
    return all((there := host.members(a)) and max(there, key=lambda k: there[k]) == str(other.address) for a in BOTH)


def test_no_packet_goes_round_when_both_sides_are_wrong(lab: BackboneLab, hosts: list[Host]) -> None:
    """Two hosts whose agents are dead, each with a route that says that the other one serves: the packet is lost at the
    second. Without the rule and the firewall behind it, it goes round until its time to live ends.
    """
    first, second, _ = hosts
    _serve(lab, {second: 1})
    lab.wait(lambda: _led(first, second), f"{first.name} carries")
    lab.enter_by(first)
    for host in (first, second):
        host.kill_agent()
    try:
        with netns.inside(second.router), Netlink() as net:
            router = Router(net)
            router.set_next_hops(ANYCAST4, (Member(short="", peer=first.address),), {}, source=second.address)
            router.remove_route(ANYCAST4, entry=Entry.TUNNEL)
        assert _rounds(lab, first, second) < 20
        for host in (first, second):
            ip.batch(["rule del pref 62"], netns=host.router)
            flush = ("nft", "flush", "chain", "inet", f"anypop_{host.prefix}_tunnels", "forward")
            process.run(netns.command(host.router, *flush))
        assert _rounds(lab, first, second) > 20
    finally:
        for host in (first, second):
            host.start_agent()
    lab.wait(lambda: second.members(ANYCAST4, table=INBOUND), "all is mended")


def _rounds(lab: BackboneLab, first: Host, second: Host) -> int:
    """How many packets come to the second host by the tunnel for one that a client sends, with a time to live of 64,
    beside a few of the speakers.
    """
    before = second.received(first.address)
    with netns.inside(lab.core), closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sender:
        sender.sendto(b"once", (str(ANYCAST4), 80))
    lab.wait(lambda: second.received(first.address) > before, "it arrives")
    again = time.monotonic() + 0.1
    lab.wait(lambda: time.monotonic() > again, "it had time to go round")
    return second.received(first.address) - before


def test_only_other_hosts_put_packets_into_the_tunnel_and_none_from_this_host(
    lab: BackboneLab, hosts: list[Host]
) -> None:
    """A packet for the instance, wrapped as a tunnel wraps it: from an address that is nobody's, and with a source
    inside that this host alone has; from another host, which comes in; and with the rules taken out all do.
    """
    first, second, _ = hosts
    (one,) = _serve(lab, {second: 1})[second]
    anybody, nobody = IPv4Address("203.0.113.99"), IPv4Address("203.0.113.66")
    forged = [(nobody, anybody), *((first.address, p[9]) for p in (second.private4, second.external4))]
    with Wire(lab, second, one, ANYCAST4) as wire:
        assert wire.takes(first.address, anybody)
        for source, inner in forged:
            assert not wire.takes(source, inner, within_s=0.3), f"{inner} from {source}"
        second.kill_agent()
        try:
            for chain in ("outside", "inside"):
                guard_nft(second, "flush", "chain", chain)
            for source, inner in forged:
                assert wire.takes(source, inner), f"{inner} from {source}"
        finally:
            second.start_agent()
        lab.wait(lambda: not wire.takes(*forged[1], within_s=0.3), "the rules are mended")


def test_a_host_without_an_order_for_it_has_nothing_of_it(lab: BackboneLab, hosts: list[Host]) -> None:
    """Device, rules, tables, sessions and address go when the order has no backbone any more, its own instance serves
    on, and all is back with the next order.
    """
    first, second, _ = hosts
    (one,) = _serve(lab, {first: 1})[first]
    lab.enter_by(first)
    assert lab.get(ANYCAST4) == one.name
    first.give(one, backbone=False)
    lab.wait(lambda: _traces(first) == set(), "nothing of it is left")
    lab.wait(lambda: first.tunnels() == {}, "nor told")
    assert lab.get(ANYCAST4) == one.name
    lab.wait(lambda: not second.members(ANYCAST4), "the others carry nothing there any more")
    first.give(one)
    lab.wait(lambda: _led(second, first), "they do again")


def _traces(host: Host) -> set[str]:
    """What is there of a backbone, in words."""
    found = {row["ifname"] for row in ip.query("link", "show", netns=host.router) if row["ifname"].startswith("anypop")}
    for family in ("-4", "-6"):
        found |= {
            str(r["priority"]) for r in ip.query(family, "rule", "show", netns=host.router) if 60 <= r["priority"] <= 64
        }
        rows = ip.query(family, "route", "show", "table", "all", netns=host.router)
        tables = {int(row["table"]) for row in rows if row.get("table", "").isdigit()}
        found |= {f"table {t}" for t in tables if t >= LOWEST_PEER_TABLE or TUNNEL_TABLE <= t <= SIBLINGS_TABLE}
    if "t_" in host.bird("show protocols"):
        found.add("sessions")
    addresses = ip.query("-4", "address", "show", "dev", "lo", netns=host.router)
    found |= {a["local"] for row in addresses for a in row["addr_info"] if a["local"] == str(host.address)}
    rules = process.run(netns.command(host.router, "nft", "list", "tables"))
    return found | {line for line in rules.splitlines() if line.endswith("_tunnels")}


def test_siblings_reach_each_other_by_the_tunnel_and_no_other_stack_does(lab: BackboneLab, hosts: list[Host]) -> None:
    """By private and external addresses, in both families, on all declared ports, and much at once. Another stack
    reaches what is open to all, by the Internet; with its host's word forged the other host still refuses it, and with
    the rule there taken out it comes in.
    """
    here, _, there = hosts
    family = Family(lab, here, there)
    for address in own(family.blue_there):
        assert family.says(family.blue, address) == family.blue_there.name
        before = carried(there, here)
        assert len(family.page(address, "/big")) == BIG
        assert carried(there, here) - before > BIG, f"{address} was reached, and not by the tunnel"
        assert family.says(family.red, address) == ""
    for external in own(family.blue_there)[2:]:
        space = namespace_of(here.prefix, family.red.uid)
        before = carried(there, here)
        assert len(lab.get(external, "/big", timeout_s=3, namespace=space)) == BIG
        assert carried(there, here) - before < BIG / 2, f"{external} was reached by the tunnel"
    for host in (here, there):
        host.kill_agent()
    try:
        for v, address in ((4, own(family.blue_there)[0]), (6, own(family.blue_there)[1])):
            group = f"{device_group_of('red'):#x}"
            guard_nft(here, "add", "element", f"siblings{v}", "{", group, ".", str(address), "}")
            assert family.says(family.red, address) == ""
            assert family.says(family.blue, address) == family.blue_there.name
        guard_nft(there, "flush", "chain", "coming")
        guard_nft(there, "add", "rule", "coming", "meta", "mark", "set", f"{SIBLING_MARK:#x}")
        for address in own(family.blue_there)[:2]:
            assert family.says(family.red, address) == family.blue_there.name
    finally:
        for host in (here, there):
            host.start_agent()
    lab.wait(lambda: siblings(here) == {str(a) for a in (*own(family.blue_there), *own(family.red_there))}, "mended")
    lab.wait(lambda: not family.says(family.red, own(family.blue_there)[0]), "refused again")


def test_a_name_leads_to_who_is_well_at_another_host(lab: BackboneLab, hosts: list[Host]) -> None:
    """The instance in Amsterdam fails its probe: London's resolver gives it to nobody while another serves, and again
    once it is well; it is reached all the while, and its own name leads to it.
    """
    here, _, there = hosts
    page = Probe(kind=ProbeKind.HTTP, port=80, path="/index.html", period_s=0.2, failure_threshold=1)
    made = [
        replace(
            h.instance(0, containers=(replace(talker(), readiness=page),)),
            stack_id=StackId("s"), hosts_domain="s.edgeengine.internal",
        )
        for h in (here, there)
    ]  # fmt: skip
    named = [
        NamedInstance(name=i.name, pop=h.pop, addresses=tuple(a.private for a in i.addresses()))
        for i, h in zip(made, (here, there), strict=True)
    ]
    names = NamedWorkload(
        id=made[0].workload_id, stack_id=StackId("s"), stack="s", slug="web", ports=(), network="default",
        instances=tuple(named),
    )  # fmt: skip
    for host, one in zip((here, there), made, strict=True):
        host.give(one, names=(names,))
    for host in (here, there):
        lab.wait(lambda h=host: (r := h.report) and any(i.healthy for i in r.instances), "it serves")  # type: ignore[misc]
    near, far = (str(own(one)[0]) for one in made)
    space = namespace_of(here.prefix, made[0].uid)

    def found(name: str) -> list[str]:
        query = dns.message.make_query(f"{name}.s.edgeengine.internal", "A")
        with suppress(dns.exception.DNSException, OSError, WorldError), netns.inside(space):
            answer = dns.query.udp(query, str(RESOLVER4), timeout=2)
            return [record.to_text() for rrset in answer.answer for record in rrset]
        return []

    lab.wait(lambda: found("web") == [near, far], "both are given, the nearest first")
    file = Path(f"/proc/{container_pids(lab)[made[1].name]}/root/www/index.html")
    text = file.read_text()
    file.unlink()
    lab.wait(lambda: found("web") == [near], "who is not well is given to nobody")
    assert found(made[1].name) == [far]
    assert far in siblings(here), "it is reached all the same"
    file.write_text(text)
    lab.wait(lambda: found("web") == [near, far], "and again when it is well")


def test_ways_to_siblings_outlive_the_agent_and_go_with_sibling_and_tunnel(lab: BackboneLab, hosts: list[Host]) -> None:
    """The agents die and come back: no request fails. The tunnel is cut: external addresses are reached by the
    Internet, private ones not at all. A sibling is deleted: its ways go.
    """
    here, _, there = hosts
    family = Family(lab, here, there)
    space = namespace_of(here.prefix, family.blue.uid)
    with ExitStack() as stack:
        load = [stack.enter_context(Requests(space, address)) for address in own(family.blue_there)[:2]]
        for host in (here, there):
            host.kill_agent()
            host.start_agent()
        seen = [r.sent for r in load]
        lab.wait(lambda: all(h.report and h.report.generation for h in (here, there)), "the agents are back")
        lab.wait(lambda: all(r.sent > n + 200 for r, n in zip(load, seen, strict=True)), "requests went on")
    assert [r.failures for r in load] == [[], []]
    rules = "table inet cut { chain c { type filter hook forward priority 0; udp dport 4790 drop; }; }"
    process.run(netns.command(lab.core, "nft", rules))
    try:
        lab.wait(lambda: not siblings(here), "the ways go with the tunnel")
        private4, private6, external4, external6 = own(family.blue_there)
        assert [family.page(a) for a in (external4, external6)] == [family.blue_there.name] * 2
        assert [family.says(family.blue, a, 80) for a in (private4, private6)] == ["", ""]
    finally:
        process.run(netns.command(lab.core, "nft", "delete table inet cut"))
    family.wait_until_joined()
    there.give(family.red_there, removed=tokens(family.blue_there), drain_s=0.0)
    lab.wait(lambda: siblings(here) == {str(a) for a in own(family.red_there)}, "its ways go with the sibling")


def test_addresses_in_subnets_are_reached_by_the_own_network_alone(lab: BackboneLab, hosts: list[Host]) -> None:
    """Two networks with the same subnets, which overlap what hosts and routers have themselves. Inside a network they
    answer, at this host and at another, in both families, and ask from their addresses there. The host finds no way to
    them, and neither does the other network, with its word forged to both hosts. What is sent from such an address to
    anybody else goes nowhere. Each gets through once its rule is taken out.
    """
    here, _, there = hosts
    vpc = VpcFamily(lab, here, there)
    for asked in (vpc.near, vpc.far):
        for version in (4, 6):
            address = inside(asked, version)
            assert vpc.says(vpc.blue, address) == [asked.name, str(inside(vpc.blue, version))]
            assert vpc.says(vpc.red, address) == []
            (way,) = ip.query("route", "get", str(address), netns=here.router)
            assert way["dev"] == "core", "the host's own traffic goes where it went"
    (eth0,) = ip.query("address", "show", "dev", "eth0", netns=namespace_of(here.prefix, vpc.blue.uid))
    assert eth0["addr_info"][0]["local"] == str(inside(vpc.blue, 4))
    for version in (4, 6):
        lab.wait(lambda v=version: vpc.longest(vpc.far, v) == lab.rules.mtu, "it hears what a tunnel takes")  # type: ignore[misc]
    for alone, family in ((vpc.four, "inet"), (vpc.six, "inet6")):
        space = namespace_of(there.prefix, alone.uid)
        rows = [
            a for row in ip.query("address", "show", netns=space) if row["ifname"] != "lo" for a in row["addr_info"]
        ]
        assert rows and {a["family"] for a in rows} == {family}, "no address of the other one, not even of the link"
    ip.batch([f"route del {inside(vpc.near, 4)} table {VPC_TABLE}"], netns=here.router)
    lab.wait(lambda: vpc.says(vpc.blue, inside(vpc.near, 4)), "a way that somebody took away is back")
    for host in (here, there):
        host.kill_agent()
    try:
        firewall = ("inet", f"anypop_{here.prefix}")
        for asked in (vpc.near, vpc.far):
            for version in (4, 6):
                forged = ("{", f"{device_group_of(vpc.red.domain):#x}", ".", str(inside(asked, version)), "}")
                command = ("nft", "add", "element", *firewall, f"vpc{version}", *forged)
                process.run(netns.command(here.router, *command))
                guard_nft(here, "add", "element", f"siblings{version}", *forged)
                assert vpc.says(vpc.red, inside(asked, version)) == []
        assert not vpc.leaks() and not vpc.intrudes(vpc.near, here) and not vpc.intrudes(vpc.far, there)
        for chain in ("leaving", "arriving"):
            process.run(netns.command(here.router, "nft", "flush", "chain", *firewall, chain))
        guard_nft(there, "flush", "chain", "coming")
        guard_nft(there, "add", "rule", "coming", "meta", "mark", "set", f"{SIBLING_MARK:#x}")
        lab.wait(vpc.leaks, "it gets out without the rule")
        lab.wait(lambda: vpc.intrudes(vpc.near, here) and vpc.intrudes(vpc.far, there), "and in without the others")
    finally:
        for host in (here, there):
            host.start_agent()
    lab.wait(lambda: not vpc.leaks(), "refused again")
