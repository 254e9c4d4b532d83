"""Network policies in the kernel: packets between a client outside, two instances of a stack and one of another, under
policies that were read, resolved and loaded as an agent does it.

What must not arrive is sent before something that does, by the same way, so nothing is waited for that never comes.
"""

import asyncio
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address
from pathlib import Path
from typing import Any

import pytest
from bench.forged import checksum

from anypop.agent.act.network import firewall, namespaces, rtnl
from anypop.agent.act.network.netlink import Netlink
from anypop.agent.decide.elements import Firewall
from anypop.agent.decide.firewall import firewall_for
from anypop.agent.naming import link_of, namespace_of
from anypop.host import ip, netns
from anypop.model.announce import Address
from anypop.model.names import HostName, StackId, WorkloadId
from anypop.model.network import UpstreamKind
from anypop.model.order import Containers, InstanceOrder
from anypop.model.policy import NetworkPolicy
from anypop.model.workload import Port, Protocol
from anypop.plan.policies import Member, rules_of_stack
from anypop.plan.policy_read import read
from tests.agent_lab import EXTERNAL4, EXTERNAL6, instance, web
from tests.agent_world import order
from tests.wait import wait_until

pytestmark = pytest.mark.lab

PREFIX = "npl"
ROUTER, CLIENT = f"{PREFIX}-pop", f"{PREFIX}-c"
NEAR, FAR = {4: "203.0.113.9", 6: "2001:db8:c::9"}, {4: "203.0.113.10", 6: "2001:db8:c::a"}
HIDDEN, OPEN, CONTROL = 9000, 53, 9999
EVERYBODY: dict[str, Any] = {}


def made(n: int, stack: str, slug: str) -> InstanceOrder:
    ports = tuple(Port(name=f"u{p}", port=p, protocol=Protocol.UDP, open_to_all=True) for p in (OPEN, CONTROL))
    container = replace(web(), ports=(*ports, *web().ports))
    return replace(
        instance(n, anycast=False), stack_id=StackId(stack), workload_id=WorkloadId(slug),
        payload=Containers(containers=(container,)),
    )  # fmt: skip


def inward(one: InstanceOrder) -> InstanceOrder:
    """The same without public addresses."""
    (link,) = one.links
    return replace(one, links=(replace(link, addresses=tuple(replace(a, external=None) for a in link.addresses)),))


WEB, DB, OTHER = made(0, "s", "web"), made(1, "s", "db"), made(2, "t", "other")
INWARD = inward(made(3, "s", "inward"))
BLUE, AZURE = (
    replace(one, links=(replace(one.links[0], network="blue"),))
    for one in (made(4, "s", "blue"), made(5, "s", "azure"))
)
ALL = (WEB, DB, OTHER, INWARD, BLUE, AZURE)


class Lab:
    """The router with its three instances and a client, and the firewall that is loaded in it."""

    def __init__(self, net: Netlink) -> None:
        self._net = net
        self._loaded: Firewall | None = None
        self._ears: dict[tuple[str, int, int], socket.socket] = {}
        self._stack = ExitStack()

    def rule(self, *policies: dict[str, Any], edge: bool = False) -> None:
        """Put these policies in force; beside them always one that lets in what shows that all else has arrived.
        `edge`: the PoP's edge router is the only way out.
        """
        found = [_policy(n, body) for n, body in enumerate((_witness(), *policies))]
        members = [
            Member(
                uid=one.uid, host=HostName("LHR"), labels={"app": one.workload_id},
                addresses=(*(a.private for a in one.addresses()), *one.externals()),
            )
            for one in ALL if one.stack_id == "s"
        ]  # fmt: skip
        rules = rules_of_stack(found, members)[HostName("LHR")]
        ordered = replace(
            order(1), instances=ALL, policies=rules.policies, rulings=rules.rulings, groups=rules.groups,
            private4=IPv4Network("10.64.0.0/16"), private6=IPv6Network("fd00:64::/64"), external4=EXTERNAL4,
            external6=EXTERNAL6,
        )  # fmt: skip
        if edge:
            ends: dict[str, Any] = {"neighbor6": IPv6Address("fd00:99::1"), "local6": IPv6Address("fd00:99::2")}
            ways = (replace(u, kind=UpstreamKind.EDGE, **ends) for u in ordered.upstreams)
            ordered = replace(ordered, upstreams=tuple(ways))
        wanted = replace(firewall_for(ordered, ALL), uplinks=("up-c",), neighbors=(), unreachable=())
        asyncio.run(firewall.load(wanted, self._loaded, PREFIX))
        self._loaded = wanted

    def is_right(self) -> bool:
        """Whether a look at the kernel finds what was loaded."""
        return self._loaded is not None and asyncio.run(firewall.holds(self._loaded, PREFIX))

    def ear(self, where: str, version: int, port: int) -> socket.socket:
        """A socket that hears datagrams in a namespace, on all addresses."""
        key = where, version, port
        if key not in self._ears:
            with netns.inside(where):
                made = socket.socket(socket.AF_INET if version == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
            self._stack.enter_context(closing(made))
            if version == 6:
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            made.bind(("0.0.0.0" if version == 4 else "::", port))
            made.setblocking(False)
            self._ears[key] = made
        return self._ears[key]

    def heard(self, where: str, version: int, port: int) -> list[bytes]:
        found = []
        with suppress(BlockingIOError):
            while True:
                found.append(self.ear(where, version, port).recv(64))
        return found

    def close(self) -> None:
        self._stack.close()


def _policy(n: int, body: dict[str, Any]) -> NetworkPolicy:
    whole = {"name": f"p{n}", "spec": body}
    return read(whole, policy_id=f"id-{n}", stack_id=StackId("s"), created_at=float(n))[0]


def _witness() -> dict[str, Any]:
    port = {"udp": {"destinationPorts": [CONTROL]}}
    return {
        "priority": 1,
        "ingress": [{"action": "ALLOW", "protocols": port}],
        "egress": [{"action": "ALLOW", "protocols": port}],
    }


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    ip.batch([f"netns add {ROUTER}", f"netns add {CLIENT}"])
    try:
        ip.batch([f"link add up-c type veth peer name pop netns {CLIENT}", "link set lo up"], netns=ROUTER)
        with netns.inside(ROUTER), Netlink() as net:
            for name in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
                Path(f"/proc/sys/net/{name}").write_text("1", encoding="ascii")
            ip.batch(["addr add 10.99.0.2/30 dev up-c", "addr add fd00:99::2/126 dev up-c nodad", "link set up-c up"])
            far = ["addr add 10.99.0.1/30 dev pop", "addr add fd00:99::1/126 dev pop nodad", "link set pop up"]
            own = [f"addr add {a} dev lo" for a in (*NEAR.values(), *FAR.values())]
            ways = ["route add default via 10.99.0.2", "route add default via fd00:99::2"]
            ip.batch(["link set lo up", *far, *own, *ways], netns=CLIENT)
            ip.batch(["route add 203.0.113.0/24 via 10.99.0.1", "route add 2001:db8:c::/48 via fd00:99::1"])
            for one in ALL:
                namespaces.make_namespace(PREFIX, one.uid)
                namespaces.add_link(net, PREFIX, one)
                index = next(link.index for link in rtnl.links(net) if link.name == link_of(one.uid))
                namespaces.set_external_routes(net, index, one)
            made = Lab(net)
            try:
                made.rule()
                for one in (WEB, DB, OTHER, BLUE):
                    for version in (4, 6):
                        _warm(made, one, version)
                yield made
            finally:
                made.close()
                for one in ALL:
                    namespaces.delete_namespace(net, PREFIX, one.uid)
    finally:
        ip.batch([f"netns del {ROUTER}", f"netns del {CLIENT}"])


def _warm(lab: Lab, one: InstanceOrder, version: int) -> None:
    """Until a packet gets through: an address that has just come up takes a while to be found."""
    to = own(one, version)
    lab.ear(inside(one), version, CONTROL)

    def arrives() -> bool:
        with suppress(OSError):
            _send(CLIENT, NEAR[version], to, CONTROL, b"warm")
        return bool(lab.heard(inside(one), version, CONTROL))

    wait_until(arrives, timeout_s=10, reason=f"{to} is reached")


def inside(one: InstanceOrder) -> str:
    return namespace_of(PREFIX, one.uid)


def own(one: InstanceOrder, version: int) -> Address:
    """Its external address."""
    return next(a for a in one.externals() if a.version == version)


def private(one: InstanceOrder, version: int) -> Address:
    found = one.private(version)
    assert found is not None
    return found


def arrive(lab: Lab, *packets: tuple[str, Address | str, Address | str, int], at: str) -> list[bool]:
    """Whether each datagram (namespace, source, destination, port), sent in turn, arrives in the namespace `at`."""
    versions = {ip_address(str(to)).version for _, _, to, _ in packets}
    for version in versions:
        for port in (HIDDEN, OPEN, CONTROL):
            lab.heard(at, version, port)
    for number, (where, source, to, port) in enumerate(packets):
        _send(where, source, to, port, b"%d" % number)
    where, source, to, _ = packets[-1]
    _send(where, source, to, CONTROL, b"last")
    version = ip_address(str(to)).version
    got = wait_until(lambda: lab.heard(at, version, CONTROL), timeout_s=20, reason="the last one arrives")
    assert got == [b"last"]
    found = {text for v in versions for port in (HIDDEN, OPEN) for text in lab.heard(at, v, port)}
    return [b"%d" % number in found for number in range(len(packets))]


def _send(where: str, source: Address | str, to: Address | str, port: int, what: bytes) -> None:
    with netns.inside(where):
        mouth = socket.socket(
            socket.AF_INET if ip_address(str(to)).version == 4 else socket.AF_INET6, socket.SOCK_DGRAM
        )
    with closing(mouth):
        mouth.bind((str(source), 0))
        mouth.sendto(what, (str(to), port))


@pytest.mark.parametrize("version", [4, 6])
def test_what_comes_in_is_what_is_allowed(lab: Lab, version: int) -> None:
    """A port that nobody has opened is reached from a block, but not from its exception; without the policy from
    nowhere. Another direction, protocol or instance is not meant by it.
    """
    near, far, to = NEAR[version], FAR[version], own(WEB, version)
    block = {"cidr": "203.0.113.8/29" if version == 4 else "2001:db8:c::/64", "except": [f"{far}"]}
    allow = {
        "priority": 100,
        "instanceSelectors": [{"key": "app", "operator": "in", "values": ["web"]}],
        "ingress": [
            {"action": "ALLOW", "from": {"ipBlock": [block]}, "protocols": {"udp": {"destinationPorts": ["8999-9001"]}}}
        ],
    }
    asked = [(CLIENT, near, to, HIDDEN), (CLIENT, far, to, HIDDEN), (CLIENT, far, to, OPEN)]
    lab.rule(allow)
    assert arrive(lab, *asked, at=inside(WEB)) == [True, False, True]
    assert arrive(lab, (CLIENT, near, own(DB, version), HIDDEN), at=inside(DB)) == [False]
    assert lab.is_right()
    lab.rule()
    assert arrive(lab, *asked, at=inside(WEB)) == [False, False, True]


def test_the_lower_number_wins_and_open_ports_come_last(lab: Lab) -> None:
    """A port that is open to all is closed by any policy, even one of the shared priority; what is allowed before that
    stays allowed.
    """
    asked = [(CLIENT, NEAR[4], own(WEB, 4), OPEN), (CLIENT, FAR[4], own(WEB, 4), OPEN)]
    block = {"priority": 65534, "policyTypes": ["INGRESS"]}
    allow = {
        "ingress": [{"action": "ALLOW", "from": {"ipBlock": [{"cidr": f"{NEAR[4]}/32"}]}, "protocols": {"udp": {}}}],
    }
    lab.rule(block)
    assert arrive(lab, *asked, at=inside(WEB)) == [False, False]
    lab.rule(block, {**allow, "priority": 65000})
    assert arrive(lab, *asked, at=inside(WEB)) == [True, False]
    lab.rule({**block, "priority": 2}, {**allow, "priority": 65000})
    assert arrive(lab, *asked, at=inside(WEB)) == [False, False]


def test_selectors_mean_the_stacks_own_instances(lab: Lab) -> None:
    """By their labels, at private and external addresses; a policy opens nothing to others, who reach what they
    reached, and it closes nothing of theirs.
    """
    ask = [
        (inside(DB), private(DB, 4), private(WEB, 4), HIDDEN),
        (inside(DB), own(DB, 4), own(WEB, 4), HIDDEN),
        (inside(OTHER), own(OTHER, 4), own(WEB, 4), HIDDEN),
        (CLIENT, NEAR[4], own(WEB, 4), HIDDEN),
    ]
    from_db = {"instanceSelectors": [{"key": "app", "operator": "In", "values": ["db"]}]}
    lab.rule({"priority": 10, "ingress": [{"action": "ALLOW", "from": from_db}]})
    assert arrive(lab, *ask, at=inside(WEB)) == [True, True, False, False]
    lab.rule({"priority": 10, "ingress": [{"action": "BLOCK", "from": from_db}, {"action": "ALLOW"}]})
    assert arrive(lab, *ask, at=inside(WEB)) == [False, False, True, True]
    hidden = (inside(OTHER), own(OTHER, 4), private(WEB, 4), HIDDEN)
    assert arrive(lab, hidden, ask[2], at=inside(WEB)) == [False, True], "a private address is nobody else's"
    lab.rule({"priority": 10, "policyTypes": ["INGRESS"]})
    assert arrive(lab, (CLIENT, NEAR[4], own(OTHER, 4), OPEN), at=inside(OTHER)) == [True]


def test_nobody_outside_passes_for_an_instance(lab: Lab) -> None:
    """A source that is one of this host's own instances does not come from outside, whoever is allowed."""
    ip.batch([f"addr add {own(DB, 4)} dev lo"], netns=CLIENT)
    lab.rule({"priority": 10, "ingress": [{"action": "ALLOW"}]})
    forged = (CLIENT, own(DB, 4), own(WEB, 4), HIDDEN)
    assert arrive(lab, forged, (CLIENT, NEAR[4], own(WEB, 4), HIDDEN), at=inside(WEB)) == [False, True]
    ip.batch([f"addr del {own(DB, 4)}/32 dev lo"], netns=CLIENT)


@pytest.mark.parametrize("version", [4, 6])
def test_an_address_that_followed_its_instance_to_another_host_is_no_forgery(lab: Lab, version: int) -> None:
    """One of this host's prefix that nobody here has may come in by the edge router, and by no other way; those of
    instances here come from nobody else even then.
    """
    moved = (EXTERNAL4 if version == 4 else EXTERNAL6)[200]
    length = 32 if version == 4 else 128
    ip.batch([f"addr add {a}/{length} dev lo nodad" for a in (moved, own(DB, version))], netns=CLIENT)
    allow = {"priority": 10, "ingress": [{"action": "ALLOW"}]}
    asked = [(CLIENT, source, own(WEB, version), HIDDEN) for source in (moved, own(DB, version), NEAR[version])]
    lab.rule(allow, edge=True)
    assert arrive(lab, *asked, at=inside(WEB)) == [True, False, True]
    assert lab.is_right()
    lab.rule(allow)
    assert arrive(lab, *asked, at=inside(WEB)) == [False, False, True]
    ip.batch([f"addr del {a}/{length} dev lo" for a in (moved, own(DB, version))], netns=CLIENT)


@pytest.mark.parametrize("version", [4, 6])
def test_without_a_public_address_an_instance_is_its_stacks_alone(lab: Lab, version: int) -> None:
    """It reaches siblings and is reached by them at its private address; nothing of it goes out, and nobody outside or
    of another stack comes in, whatever a policy allows. It has no public address, and no route leads to one.
    """
    me, sibling = private(INWARD, version), private(DB, version)
    out = [(inside(INWARD), me, NEAR[version], HIDDEN)]
    for policies in ((), ({"priority": 5, "ingress": [{"action": "ALLOW"}], "egress": [{"action": "ALLOW"}]},)):
        lab.rule(*policies)
        assert arrive(lab, *out, (inside(DB), own(DB, version), NEAR[version], HIDDEN), at=CLIENT) == [False, True]
        assert arrive(lab, (inside(INWARD), me, sibling, OPEN), at=inside(DB)) == [True]
        ask = [(CLIENT, NEAR[version], me, OPEN), (inside(OTHER), own(OTHER, version), me, OPEN)]
        assert arrive(lab, *ask, (inside(DB), sibling, me, OPEN), at=inside(INWARD)) == [False, False, True]
    shown = ip.query(f"-{version}", "addr", "show", "scope", "global", netns=inside(INWARD))
    assert {a["local"] for link in shown for a in link["addr_info"] if "local" in a} == {str(me)}
    ways = ip.query(f"-{version}", "route", "show", "dev", link_of(INWARD.uid), "proto", "158", netns=ROUTER)
    assert ways == []


@pytest.mark.parametrize("version", [4, 6])
def test_two_networks_of_a_stack_are_strangers(lab: Lab, version: int) -> None:
    """In one network private addresses are reached; from the other one they are not, either way, whatever a policy
    allows; public ones are reached as by anybody.
    """
    everything = {"priority": 5, "ingress": [{"action": "ALLOW"}]}
    for policies in ((), (everything,)):
        lab.rule(*policies)
        ask = [(inside(DB), private(DB, version), private(BLUE, version), OPEN)]
        ask += [(inside(AZURE), private(AZURE, version), private(BLUE, version), OPEN)]
        assert arrive(lab, *ask, at=inside(BLUE)) == [False, True]
        back = [(inside(BLUE), private(BLUE, version), private(DB, version), OPEN)]
        back += [(inside(BLUE), own(BLUE, version), own(DB, version), OPEN)]
        assert arrive(lab, *back, at=inside(DB)) == [False, True]


@pytest.mark.parametrize("version", [4, 6])
def test_what_goes_out_is_what_is_allowed(lab: Lab, version: int) -> None:
    """Without a policy of that direction everything; a block for an address and for a protocol holds, also to a
    sibling.
    """
    me = own(WEB, version)
    out = [(inside(WEB), me, NEAR[version], HIDDEN), (inside(WEB), me, FAR[version], HIDDEN)]
    mine = {"instanceSelectors": [{"key": "app", "operator": "In", "values": ["web"]}]}
    length = 32 if version == 4 else 128
    lab.rule({"priority": 5, "policyTypes": ["INGRESS"]})
    assert arrive(lab, *out, at=CLIENT) == [True, True]
    far = {"to": {"ipBlock": [{"cidr": f"{FAR[version]}/{length}"}]}}
    lab.rule({**mine, "priority": 5, "egress": [{"action": "BLOCK", **far}]})
    assert arrive(lab, *out[::-1], at=CLIENT) == [False, True]
    lab.rule({**mine, "priority": 5, "egress": [{"action": "BLOCK", "protocols": {"udp": {}}}]})
    assert arrive(lab, *out, at=CLIENT) == [False, False]
    sibling = (inside(WEB), private(WEB, version), private(DB, version), OPEN)
    assert arrive(lab, sibling, at=inside(DB)) == [False]
    lab.rule()
    assert arrive(lab, sibling, at=inside(DB)) == [True]


def test_a_flow_that_stays_allowed_goes_on_and_one_that_does_not_ends(lab: Lab) -> None:
    """While an unrelated rule changes the connection answers as before. Revoked, neither side hears the other any more,
    also where an instance asked; allowed anew, both go on where they were.
    """
    tcp = {"protocols": {"tcp": {"destinationPorts": [str(HIDDEN)]}}}
    inward = {"priority": 10, "ingress": [{"action": "ALLOW", **tcp}]}
    outward = {"priority": 11, "egress": [{"action": "ALLOW", **tcp}]}
    unrelated = {"priority": 12, "ingress": [{"action": "BLOCK", "protocols": {"udp": {"destinationPorts": ["1"]}}}]}
    shut = {"priority": 13, "egress": [{"action": "BLOCK"}]}
    lab.rule(inward, outward)
    with ExitStack() as stack:
        asked_in = _connected(stack, CLIENT, inside(WEB), own(WEB, 4))
        asked_out = _connected(stack, inside(WEB), CLIENT, NEAR[4])
        for policies in ((inward, outward), (inward, outward, unrelated), (inward, outward), (inward, outward, shut)):
            lab.rule(*policies)
            assert _talk(asked_in) == _talk(asked_out) == [True, True], policies
        lab.rule(outward, shut)
        assert _talk(asked_out) == [True, True] and _talk(asked_in, within=0.3) == [False, False]
        lab.rule(inward, shut)
        assert _talk(asked_out, within=0.3) == [False, False]
        assert [one.recv(1) for one in asked_in] == [b"!", b"!"], "what was lost is sent again"
        lab.rule(inward, outward)
        assert [one.recv(1) for one in asked_out] == [b"!", b"!"]
        assert _talk(asked_in) == _talk(asked_out) == [True, True]


Ends = tuple[socket.socket, socket.socket]


def _connected(stack: ExitStack, who: str, whom: str, address: Address | str) -> Ends:
    """Both ends of a connection from one namespace to another."""
    with netns.inside(whom):
        listening = stack.enter_context(socket.create_server((str(address), HIDDEN)))
    with netns.inside(who):
        asking = stack.enter_context(socket.create_connection((str(address), HIDDEN), timeout=5))
    asked = stack.enter_context(listening.accept()[0])
    return asking, asked


def _talk(ends: Ends, within: float = 5.0) -> list[bool]:
    """Whether what each end sends by itself reaches the other."""
    found = []
    for one, other in (ends, ends[::-1]):
        other.settimeout(within)
        one.sendall(b"!")
        try:
            found.append(other.recv(1) == b"!")
        except TimeoutError:
            found.append(False)
        other.settimeout(5)
    return found


def test_errors_arrive_whatever_is_blocked(lab: Lab) -> None:
    """With everything blocked both ways but a question, who asked learns that nobody listens: an instance and its
    client alike. A ping is blocked, and the host's own probes are not.
    """
    udp = {"protocols": {"udp": {"destinationPorts": [str(CONTROL + 1)]}}}
    shut = {"priority": 50, "policyTypes": ["INGRESS", "EGRESS"], "egress": [{"action": "BLOCK"}]}
    lab.rule(shut, {"priority": 49, "ingress": [{"action": "ALLOW", **udp}], "egress": [{"action": "ALLOW", **udp}]})
    for where, to in ((inside(WEB), NEAR[4]), (inside(WEB), NEAR[6]), (CLIENT, own(WEB, 4)), (CLIENT, own(WEB, 6))):
        with netns.inside(where):
            asks = socket.socket(socket.AF_INET6 if ":" in str(to) else socket.AF_INET, socket.SOCK_DGRAM)
        with closing(asks):
            asks.connect((str(to), CONTROL + 1))
            asks.settimeout(5)
            asks.send(b"?")
            with pytest.raises(ConnectionRefusedError):
                asks.recv(1)
    assert not pings(lab)
    with ExitStack() as stack:  # the host's own probes go on
        assert _talk(_connected(stack, ROUTER, inside(WEB), private(WEB, 4))) == [True, True]
    lab.rule()
    assert pings(lab)


def pings(lab: Lab) -> bool:
    """Whether one from the client arrives."""
    with netns.inside(inside(WEB)):
        ear = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    with netns.inside(CLIENT):
        mouth = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    with closing(ear), closing(mouth):
        ear.setblocking(False)
        head = struct.pack(">BBHHH", 8, 0, 0, 1, 1)
        mouth.sendto(struct.pack(">BBHHH", 8, 0, checksum(head), 1, 1), (str(own(WEB, 4)), 0))
        arrive(lab, (CLIENT, NEAR[4], own(WEB, 4), HIDDEN), at=inside(WEB))
        with suppress(BlockingIOError):
            return bool(ear.recv(64))
    return False


@pytest.mark.parametrize(("name", "number"), [("gre", 47), ("esp", 50), ("ah", 51), ("sctp", 132), ("ipip", 4)])
def test_other_protocols_are_told_apart(lab: Lab, name: str, number: int) -> None:
    """One is let in by its name, and another is not let in by it."""
    other = 47 if number != 47 else 50
    lab.rule({"priority": 10, "instanceSelectors": [], "ingress": [{"action": "ALLOW", "protocols": {name: {}}}]})
    with ExitStack() as stack:
        ears = {}
        with netns.inside(inside(WEB)):
            for one in (number, other):
                ears[one] = stack.enter_context(closing(socket.socket(socket.AF_INET, socket.SOCK_RAW, one)))
        with netns.inside(CLIENT):
            mouths = {
                one: stack.enter_context(closing(socket.socket(socket.AF_INET, socket.SOCK_RAW, one)))
                for one in (number, other)
            }
        for one in (other, number):
            mouths[one].bind((NEAR[4], 0))
            mouths[one].sendto(b"x" * 24, (str(own(WEB, 4)), 0))
        ears[number].settimeout(5)
        assert ears[number].recv(64)
        ears[other].setblocking(False)
        with pytest.raises(BlockingIOError):
            ears[other].recv(64)
