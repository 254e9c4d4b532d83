"""What the rules in front of instances say: whose addresses a link lets out, who reaches which port, and what is
changed when an instance comes.
"""

from dataclasses import replace
from ipaddress import ip_address, ip_network

from anypop.agent.act.network import firewall_rules
from anypop.agent.act.network.firewall_rules import digest, elements, render
from anypop.agent.decide.firewall import firewall_for
from anypop.agent.naming import device_group_of, is_device_group, link_of
from anypop.model.confinement import InstanceRules
from anypop.model.names import StackId
from anypop.model.order import Containers, InstanceOrder
from anypop.model.workload import Port, Protocol
from tests.agent_world import COVERS, instance, order, web

CLOSED = Port(name="admin", port=9000, protocol=Protocol.TCP, open_to_all=False)


def one(n: int, stack: str) -> InstanceOrder:
    container = replace(web(), ports=(*web().ports, CLOSED))
    return replace(instance(n), stack_id=StackId(stack), payload=Containers(containers=(container,)))


def test_a_link_lets_out_its_own_addresses_alone() -> None:
    """Private, external and anycast ones, and nothing of its neighbour but the anycast address that both have."""
    first, second = one(0, "a"), one(1, "b")
    links = {link.name: set(link.own) for link in firewall_for(order(1, first, second), (first, second)).links}
    for mine, other in ((first, second), (second, first)):
        own = {*(a.private for a in mine.addresses()), *(a.external for a in mine.addresses()), *mine.anycast}
        assert links[link_of(mine.uid)] == own
        assert own & links[link_of(other.uid)] <= set(mine.anycast)


def test_ports_are_open_to_the_world_on_public_addresses_and_to_the_stack_on_all() -> None:
    """A port that is not open to all is reached from the same stack; a private address from nowhere else."""
    mine = one(0, "a")
    rules = firewall_for(order(1, mine), (mine,))
    private = {a.private for a in mine.addresses()}
    assert not private & {o.address for o in rules.openings}
    assert {o.port for o in rules.openings} == {80}
    assert {(o.address, o.port) for o in rules.inside} >= {(a, port) for a in private for port in (80, 9000)}


def test_instances_without_a_stack_and_stacks_with_one_number_are_nobodys_kin() -> None:
    """What an older control orders names no stack; and where two stacks happen on one number, neither trusts it."""
    a, b, older = one(0, "a"), one(1, "b"), one(2, "")
    assert firewall_for(order(1, a, b, older), (a, b, older)).kin == tuple(sorted(map(device_group_of, ("a", "b"))))
    assert all(is_device_group(device_group_of(name)) for name in ("a", "b", ""))
    same = next(n for n in range(1, 10) if device_group_of(f"{n}") != device_group_of("a"))
    assert device_group_of(f"{same}") not in firewall_for(order(1, a), (a,)).kin


def test_one_more_instance_is_some_elements_and_no_other_rule() -> None:
    """Of a hundred instances that stay nothing is touched, and the rules themselves keep their digest; another
    upstream is other rules.
    """
    all_ = [one(n, "a") for n in range(101)]
    before, after = (firewall_for(order(1, *some), some) for some in (all_[:100], all_))
    assert digest(before) == digest(after)
    was, now = elements(before), elements(after)
    assert all(was[place] <= now[place] for place in now)
    assert sum(len(now[place] - was[place]) for place in now) < 20
    assert digest(replace(after, uplinks=("up-other",))) != digest(after)
    assert digest(after, (ip_network("203.0.113.0/24"),)) != digest(after)


def test_what_is_forwarded_for_others_is_ours() -> None:
    """The host's external prefixes and all that is announced from here; whoever may speak BGP is a neighbour of the
    order, on its own interface.
    """
    asked = order(1, one(0, "a"))
    rules = firewall_for(asked, asked.instances)
    assert set(rules.ours) == {asked.external4, asked.external6, *(a.prefix for a in asked.announcements)}
    assert COVERS[0] in rules.ours
    assert set(rules.neighbors) == {(u.interface, u.neighbor4) for u in asked.upstreams}
    far = replace(asked.upstreams[0], multihop=2)
    distant = firewall_for(replace(asked, upstreams=(far,)), asked.instances)
    assert distant.neighbors == (("", far.neighbor4),)
    assert distant.uplinks == (far.interface,)
    assert set(rules.hidden) == {asked.private4, asked.private6}


def test_private_networks_are_closed_and_the_operator_says_which() -> None:
    """By default those where managements are; what the network document says instead holds, and is other rules."""
    asked = order(1, one(0, "a"))
    plain = firewall_for(asked, asked.instances)
    opened = firewall_for(
        replace(asked, rules=InstanceRules(unreachable=(ip_network("192.0.0.0/24"),))), asked.instances
    )
    assert "10.0.0.0/8" in render(plain, "any")
    assert "10.0.0.0/8" not in render(opened, "any")
    assert "192.0.0.0/24" in render(opened, "any")
    assert digest(plain) != digest(opened)


def test_overlapping_prefixes_are_one_range() -> None:
    """nft refuses ranges that overlap."""
    rules = replace(firewall_for(order(1), ()), ours=(ip_network("192.0.2.0/24"), ip_network("192.0.2.128/25")))
    assert "192.0.2.128/25" not in render(rules, "any")


def test_the_address_that_a_kernel_makes_of_a_hardware_address() -> None:
    """RFC 4291, appendix A: the second bit turned over, FFFE in the middle."""
    mac = bytes.fromhex("020123456789")
    assert firewall_rules._link_local(mac) == ip_address("fe80::1:23ff:fe45:6789")
