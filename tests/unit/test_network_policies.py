"""Network policies as they are read and resolved: what is taken, what is refused in words, who is meant, and what hosts
are told when instances come and go.
"""

from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest

from anypop.cli.policies import lines
from anypop.control.policies import MOST_PIECES, MOST_POLICIES, create, delete, replace_with
from anypop.control.refusals import Exists, NotFound, Precondition, VersionConflict
from anypop.control.state import State
from anypop.model.errors import Invalid
from anypop.model.names import HostName, StackId
from anypop.model.order import Order
from anypop.model.order_delta import apply, delta
from anypop.model.policy import Action, HostRules, NetworkPolicy, PortRange
from anypop.model.stack_network import NETWORK_LABEL
from anypop.plan.policies import Member, joined, rules_of_stack
from anypop.plan.policy_read import read
from tests.agent_world import order

LHR, JFK = HostName("LHR"), HostName("JFK")
STACK = StackId("stack")


def policy(spec: dict[str, Any], n: int = 0, stack: str = STACK) -> NetworkPolicy:
    body = {"name": f"p{n}", "spec": {"priority": 100 + n, **spec}}
    return read(body, policy_id=f"id-{n}-{stack}", stack_id=StackId(stack), created_at=float(n))[0]


def wrong(spec: dict[str, Any]) -> str:
    with pytest.raises(Invalid) as found:
        policy(spec)
    return str(found.value)


def member(n: int, labels: dict[str, str], host: HostName = LHR) -> Member:
    return Member(uid=f"u{n}", host=host, labels=labels, addresses=(ip_address(f"10.0.0.{n}"),))


WEB, DB = {"app": "web"}, {"app": "db"}
IN_WEB = [{"key": "app", "operator": "In", "values": ["web"]}]


def test_a_block_without_its_exceptions_is_ranges() -> None:
    """In both families; what touches is one range, and a block of which nothing is left is nobody, not everybody."""
    blocks = [{"cidr": "10.0.0.0/30", "except": ["10.0.0.1"]}, {"cidr": "10.0.0.4/31"}, {"cidr": "::/126"}]
    (rule,) = policy({"ingress": [{"action": "ALLOW", "from": {"ipBlock": blocks}}]}).ingress
    told = [(str(r.first), str(r.last)) for r in rule.peers.ranges]
    assert told == [("10.0.0.0", "10.0.0.0"), ("10.0.0.2", "10.0.0.5"), ("::", "::3")]
    nothing = [{"cidr": "10.0.0.0/8", "except": ["10.0.0.0/9", "10.128.0.0/9"]}]
    (rule,) = policy({"ingress": [{"action": "ALLOW", "from": {"ipBlock": nothing}}]}).ingress
    assert not rule.peers.ranges and not rule.peers.everybody


def test_ports_are_numbers_texts_and_ranges() -> None:
    """Sorted, and joined where they touch; without any, all of them."""
    protocols = {"tcp": {"destinationPorts": [443, "80", "81-90"], "sourcePorts": ["1024-65535"]}, "icmp": {}}
    (rule,) = policy({"ingress": [{"action": "BLOCK", "protocols": protocols}]}).ingress
    tcp, icmp = rule.traffic
    assert tcp.destination == (PortRange(first=80, last=90), PortRange(first=443, last=443))
    assert tcp.source == (PortRange(first=1024, last=65535),) and icmp.numbers == (1, 58)


def test_a_direction_without_rules_blocks_in_and_allows_out() -> None:
    """And where only the other is named, it has nothing to say."""
    both = policy({"policyTypes": ["INGRESS", "EGRESS"]})
    assert [r.action for r in (*both.ingress, *both.egress)] == [Action.BLOCK, Action.ALLOW]
    only = policy({"policyTypes": ["EGRESS"]})
    assert not only.ingress and only.egress


def test_what_is_wrong_is_said_with_its_place() -> None:
    """All of it at once, each by its path, and what to do."""
    said = wrong(
        {
            "priority": 65001,
            "policyTypes": ["INWARD"],
            "instanceSelectors": [{"key": "a", "operator": "In"}],
            "ingress": [
                {"from": {"ipBlock": [{"cidr": "10.0.0.0/8", "except": ["11.0.0.0/9"]}]}, "protocols": {"tpc": {}}}
            ],
            "egress": [
                {"action": "ALLOW", "protocols": {"udp": {"destinationPorts": ["90-80"]}, "ip6extfh": {"x": 1}}}
            ],
        }
    )
    assert "spec.priority: is 65001; it must be 1 to 65000" in said
    assert "spec.instanceSelectors[0]: values: is required" in said
    assert "spec.ingress[0].action: is required" in said
    assert "spec.ingress[0].from.ipBlock[0]: except[0]: 11.0.0.0/9 is not inside 10.0.0.0/8" in said
    assert "spec.ingress[0].protocols.tpc: there is no such field; is tcp meant?" in said
    assert "'90-80' is outside of 1 to 65535, or ends before it begins" in said
    assert "spec.egress[0].protocols.ip6extfh: fragments are put together" in said
    assert "policyTypes: is required where there are no rules" in wrong({})
    assert "ingress: has rules, and policyTypes does not name INGRESS" in wrong(
        {"policyTypes": ["EGRESS"], "ingress": [{"action": "ALLOW"}]}
    )


def test_a_document_comes_back_as_it_was_sent() -> None:
    """Without null and empty values, but for a protocol, whose name says it all."""
    spec = {
        "priority": 7,
        "policyTypes": ["INGRESS"],
        "instanceSelectors": [],
        "egress": None,
        "ingress": [
            {"action": "ALLOW", "description": "", "from": {}, "protocols": {"icmp": {}, "tcp": {"sourcePorts": []}}}
        ],
    }
    _, document = read({"name": "A b", "spec": spec}, policy_id="i", stack_id=STACK, created_at=0)
    assert document["spec"] == {
        "priority": 7,
        "policyTypes": ["INGRESS"],
        "ingress": [{"action": "ALLOW", "protocols": {"icmp": {}, "tcp": {}}}],
    }
    assert document["slug"] == "a-b" and "metadata" not in document


def test_policies_are_asked_by_priority_and_apply_to_whom_they_select() -> None:
    """Every instance without selectors; the shared priority is asked in the order of creation; a network that an
    instance is not in is not it.
    """
    shut = {"policyTypes": ["INGRESS"]}
    found = [
        policy({**shut, "priority": 65534}, 1),
        policy({**shut, "priority": 65534}, 0),
        policy({**shut, "priority": 5, "instanceSelectors": IN_WEB}, 2),
        policy({**shut, "networkSelectors": [{"key": NETWORK_LABEL, "operator": "In", "values": ["blue"]}]}, 3),
        policy({**shut, "networkSelectors": [{"key": NETWORK_LABEL, "operator": "In", "values": ["default"]}]}, 4),
    ]
    rules = rules_of_stack(found, [member(1, WEB), member(2, DB), member(3, WEB, JFK)])
    by_uid = {
        uid: [p.split("-")[1] for p in r.policies] for part in rules.values() for r in part.rulings for uid in r.uids
    }
    assert by_uid == {"u1": ["2", "4", "0", "1"], "u2": ["4", "0", "1"], "u3": ["2", "4", "0", "1"]}
    assert {r.uids for r in rules[JFK].rulings} == {("u3",)}


@pytest.mark.parametrize(
    ("operator", "values", "fits"),
    [("in", ["web"], {1}), ("NotIn", ["web"], {2, 3}), ("exists", None, {1, 2}), ("DOESNOTEXIST", None, {3})],
)
def test_selectors_mean_addresses_and_follow_instances(operator: str, values: list[str] | None, fits: set[int]) -> None:
    """A group holds those that fit now, of the own stack alone."""
    selector = {"key": "app", "operator": operator, **({"values": values} if values else {})}
    one = policy({"ingress": [{"action": "ALLOW", "from": {"instanceSelectors": [selector]}}]})
    (group,) = rules_of_stack([one], [member(1, WEB), member(2, DB), member(3, {})])[LHR].groups
    assert group.addresses == tuple(ip_address(f"10.0.0.{n}") for n in sorted(fits))
    other = policy({"ingress": [{"action": "ALLOW", "from": {"instanceSelectors": [selector]}}]}, 0, "another")
    (theirs,) = rules_of_stack([other], [member(9, WEB)])[LHR].groups
    assert theirs.name != group.name


def test_an_order_tells_what_changed_of_policies() -> None:
    """One instance more is one address more in each group, and no rule; what is gone is told gone; the difference makes
    the same order.
    """
    spec = {"ingress": [{"action": "ALLOW", "from": {"instanceSelectors": IN_WEB}}]}
    everybody = [member(n, WEB) for n in range(1, 101)]

    def ordered(generation: int, rules: HostRules) -> Order:
        return replace(order(generation), policies=rules.policies, rulings=rules.rulings, groups=rules.groups)

    first = ordered(1, rules_of_stack([policy(spec)], everybody[:99])[LHR])
    second = ordered(2, rules_of_stack([policy(spec)], everybody)[LHR])
    change = delta(first, second)
    assert change.policies is None and change.frame is None
    assert [(c.come, c.gone) for c in change.groups] == [((ip_address("10.0.0.100"),), ())]
    none = ordered(3, HostRules())
    both = ordered(
        4,
        joined(
            [rules_of_stack([policy(spec)], everybody)[LHR], rules_of_stack([policy(spec, 1, "b")], everybody)[LHR]]
        ),
    )
    for before, after in ((first, second), (second, none), (none, first), (first, both), (both, second)):
        assert apply(before, delta(before, after)) == after


def test_what_does_not_fit_beside_the_others_is_refused() -> None:
    """A priority that is taken but for the shared one, a slug that is taken, an older version, too many pieces."""
    allow = {"action": "ALLOW"}

    def body(name: str, priority: int, **more: Any) -> dict[str, Any]:
        return {"name": name, "spec": {"priority": priority, "ingress": [allow], **more}}

    state = create(body("a", 7), STACK, "1")(State(), 1.0)
    with pytest.raises(Invalid, match="network policy with priority 7 already exists on stack"):
        create(body("b", 7), STACK, "2")(state, 2.0)
    state = create(body("b", 7), StackId("another"), "9")(state, 2.0)
    for n in (2, 3):
        state = create(body(f"s{n}", 65534), STACK, str(n))(state, 2.0)
    with pytest.raises(Exists):
        create(body("a", 8), STACK, "4")(state, 2.0)
    with pytest.raises(NotFound):
        delete(STACK, "9")(state, 3.0)
    same = replace_with(body("a", 7), STACK, "a")(state, 3.0)
    assert same is state
    changed = replace_with(body("a", 8), STACK, "a")(state, 3.0).policies["1"]
    assert (changed.version, changed.policy.created_at, changed.updated_at) == (2, 1.0, 3.0)
    with pytest.raises(VersionConflict):
        replace_with({**body("a", 9), "metadata": {"version": "5"}}, STACK, "a")(state, 3.0)
    with pytest.raises(Invalid, match="cannot be changed"):
        replace_with({**body("a", 9), "slug": "other"}, STACK, "1")(state, 3.0)
    blocks = [{"cidr": f"10.{n}.0.0/32"} for n in range(250)]
    large = [{"action": "ALLOW", "from": {"ipBlock": blocks}}] * 8
    with pytest.raises(Precondition, match=f"may have {MOST_PIECES} rules, blocks"):
        create({"name": "large", "spec": {"priority": 9, "ingress": large}}, STACK, "5")(state, 3.0)
    for n in range(MOST_POLICIES - 3):
        state = create(body(f"m{n}", 100 + n), STACK, f"m{n}")(state, 3.0)
    with pytest.raises(Precondition, match=f"may have {MOST_POLICIES}"):
        create(body("more", 9), STACK, "6")(state, 3.0)


def test_a_person_reads_each_rule_as_a_sentence() -> None:
    block = [{"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}]
    rule = {"action": "ALLOW", "from": {"ipBlock": block}, "protocols": {"tcp": {"destinationPorts": ["80", "443"]}}}
    shown = lines({"spec": {"ingress": [rule], "egress": [{"action": "BLOCK", "description": "nobody calls out"}]}})
    assert ["".join(text for text, _ in line) for line in shown] == [
        "allow in: tcp 80, 443 from 10.0.0.0/8 without 10.1.0.0/16",
        "block out: everything to everybody (nobody calls out)",
    ]
