"""Network policies as nftables chains, in the firewall's own table, as text for `nft`. Pure.

In: the policies, groups and rulings of `Firewall`. Out: lines of sets, maps and chains, and the elements that change
with instances: which link meets which ruling, and the addresses of groups. A packet meets the rules of its own
instance alone, by one look into a map, and each is judged by itself: nothing is let through for being old. An answer
is judged by the rules of the question, with both ends exchanged, so a flow that is no longer allowed ends at once, in
both directions, and one that still is goes on.
"""

import hashlib
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address

from anypop.agent.act.network import gateway_rules, sets
from anypop.agent.act.network.sets import INET, Place
from anypop.agent.decide.elements import Firewall, RuledLinks
from anypop.agent.naming import DRAIN_MARK_MASK, SIBLING_MARK, TUNNEL
from anypop.model.policy import Action, AddressGroup, AddressRange, HostRule, PortRange, Traffic

_WHOLE = (
    AddressRange(first=IPv4Address(0), last=IPv4Address(2**32 - 1)),
    AddressRange(first=IPv6Address(0), last=IPv6Address(2**128 - 1)),
)
_IP = {4: "ip", 6: "ip6"}
_PORTED = {6: "tcp", 17: "udp"}
_ICMP = "meta l4proto { icmp, ipv6-icmp }"
# Without these no sender learns how large its packets may be (RFC 1191, RFC 8201), or that a way is none.
ERRORS = (
    "icmp type { destination-unreachable, time-exceeded, parameter-problem }",
    "icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem }",
)
_SIBLING = f"meta mark & {DRAIN_MARK_MASK:#x} == {SIBLING_MARK:#x}"


def fixed(rules: Firewall) -> tuple[object, ...]:
    """All of it that is not an element; empty where there is none."""
    if not rules.rulings:
        return ()
    return rules.policies, tuple(r.policies for r in rules.rulings), tuple(g.name for g in rules.groups), rules.inner


def elements(rules: Firewall) -> dict[Place, frozenset[bytes]]:
    """As the kernel has them."""
    if not rules.rulings:
        return {}
    found: dict[Place, frozenset[bytes]] = {}
    for way in ("ingress", "egress"):
        found[INET, way] = frozenset(
            sets.jump_key(sets.name_key(link), f"{_name(ruling)}_{way}")
            for ruling in rules.rulings
            for link in ruling.links
        )
    for v in (4, 6):
        found[INET, f"here{v}"] = frozenset(sets.address_key(a) for a in rules.here if a.version == v)
    for group in rules.groups:
        for v in (4, 6):
            found[INET, _set(group, v)] = frozenset(sets.address_key(a) for a in group.addresses if a.version == v)
    return found


def lines(rules: Firewall) -> Iterator[str]:
    """Everything that belongs into the table; nothing where no instance here has a policy."""
    if not rules.rulings:
        return
    for group in rules.groups:
        for v in (4, 6):
            yield from _a_set(_set(group, v), f"ipv{v}_addr", [str(a) for a in group.addresses if a.version == v])
    for v in (4, 6):
        yield from _a_set(
            f"inner{v}", f"ipv{v}_addr", [str(p) for p in rules.inner if p.version == v], "flags interval"
        )
        yield from _a_set(f"here{v}", f"ipv{v}_addr", [str(a) for a in rules.here if a.version == v])
    yield from _chain("unruled", *_unruled(rules))
    yield from _chain("unruled_answers", *_unruled_answers(rules))
    for policy in rules.policies:
        for name, found, answers in (
            ("in", policy.ingress, False),
            ("in_answers", policy.ingress, True),
            ("out", policy.egress, False),
            ("out_answers", policy.egress, True),
        ):
            incoming = name.startswith("in")
            if not found:
                continue
            yield from _chain(
                f"{_policy(policy.id)}_{name}",
                *(line for rule in found for line in rule_lines(rule, source=incoming is not answers, answers=answers)),
            )
    for ruling in rules.rulings:
        yield from _of_ruling(ruling, rules)
    for way in ("ingress", "egress"):
        found_links = [f'"{link}" : jump {_name(r)}_{way}' for r in rules.rulings for link in r.links]
        yield f"\tmap {way} {{"
        yield "\t\ttype ifname : verdict"
        if found_links:
            yield f"\t\telements = {{ {(',' + chr(10) + chr(9) * 3).join(found_links)} }}"
        yield "\t}"
    # a base chain of its own, before that of the firewall: what it accepts, the firewall still has to let out
    yield from _chain(
        "leaving_ruled", "type filter hook forward priority filter - 1; policy accept;", "iifname vmap @egress"
    )


def _of_ruling(ruling: RuledLinks, rules: Firewall) -> Iterator[str]:
    name = _name(ruling)
    asked = [policy for policy in rules.policies if policy.id in ruling.policies]
    asked.sort(key=lambda policy: ruling.policies.index(policy.id))
    into, out = [p for p in asked if p.ingress], [p for p in asked if p.egress]
    yield from _chain(
        f"{name}_in", *(f"{e} accept" for e in ERRORS), *(f"jump {_policy(p.id)}_in" for p in into), "goto unruled"
    )
    yield from _chain(f"{name}_in_answers", *(f"jump {_policy(p.id)}_in_answers" for p in into), "goto unruled_answers")
    yield from _chain(f"{name}_out_answers", *(f"jump {_policy(p.id)}_out_answers" for p in out), "accept")
    yield from _chain(
        f"{name}_ingress",
        f"ct state related {_ICMP} accept",
        f"ct state established ct direction reply goto {name}_out_answers",
        # nobody out there has these
        *(f"iifname @uplinks {_IP[v]} saddr @{name}{v} counter drop" for name in ("inner", "here") for v in (4, 6)),
        f"iifgroup . oifgroup @kin goto {name}_in",
        *([f'iifname "{TUNNEL}" {_SIBLING} goto {name}_in'] if rules.carries else []),
        *gateway_rules.ruled(rules, f"{name}_in"),
        "ip daddr @hidden4 counter drop",
        "ip6 daddr @hidden6 counter drop",
        f"goto {name}_in",
    )
    yield from _chain(
        f"{name}_egress",
        f"ct state related {_ICMP} accept",
        *(f"{e} accept" for e in ERRORS),
        f"ct state established ct direction reply goto {name}_in_answers",
        # of a flow that other hosts carry nothing is known here; what an instance sends in it is an answer, but for the
        # first packet of a connection
        *(
            [
                f"ct state untracked tcp flags & (syn | ack) != syn goto {name}_in_answers",
                f"ct state untracked meta l4proto != tcp goto {name}_in_answers",
            ]
            if rules.carries
            else []
        ),
        *(f"jump {_policy(p.id)}_out" for p in out),
        "accept",
    )


def _unruled(rules: Firewall) -> Iterator[str]:
    """What no policy has spoken of: ports that are open to all, those of the stack to its own, pings."""
    for v, ip in _IP.items():
        yield f"{ip} daddr . meta l4proto . th dport @open{v} accept"
    yield "iifgroup . oifgroup @kin jump kin"
    if rules.carries:
        yield f'iifname "{TUNNEL}" {_SIBLING} jump kin'
    yield from gateway_rules.arriving(rules)
    yield f"{_ICMP} accept"
    yield "counter drop"


def _unruled_answers(rules: Firewall) -> Iterator[str]:
    """The same of answers."""
    for v, ip in _IP.items():
        yield f"{ip} saddr . meta l4proto . th sport @open{v} accept"
    for v, ip in _IP.items():
        yield f"iifgroup . oifgroup @kin {ip} saddr . meta l4proto . th sport @inside{v} accept"
        if rules.carries:
            yield f'oifname "{TUNNEL}" {_SIBLING} {ip} saddr . meta l4proto . th sport @inside{v} accept'
    yield from gateway_rules.answering(rules)
    yield f"{_ICMP} accept"
    yield "counter drop"


def rule_lines(rule: HostRule, *, source: bool, answers: bool) -> Iterator[str]:
    """A rule in nft's words. `source`: the other side is where the packet comes from; `answers`: ports swap."""
    verdict = "accept" if rule.action is Action.ALLOW else "counter drop"
    for peer in _peers(rule, "saddr" if source else "daddr"):
        for traffic in _traffic(rule.traffic, answers=answers):
            yield " ".join(filter(None, (peer, traffic, verdict)))


def _peers(rule: HostRule, word: str) -> Iterator[str]:
    if rule.everybody:
        yield ""
        return
    for v, ip in _IP.items():
        ranges = [r for r in rule.ranges if r.first.version == v]
        if any(r in _WHOLE for r in ranges):
            yield f"meta nfproto ipv{v}"
        elif ranges:
            yield f"{ip} {word} {{ {', '.join(map(_range, ranges))} }}"
        if rule.group:
            yield f"{ip} {word} @g_{rule.group}_{v}"


def _traffic(found: Iterable[Traffic], *, answers: bool) -> Iterator[str]:
    whole = list(found)
    if not whole:
        yield ""
    for one in whole:
        if not one.destination and not one.source:
            yield f"meta l4proto {{ {', '.join(map(str, one.numbers))} }}"
            continue
        to, back = ("sport", "dport") if answers else ("dport", "sport")
        for number in one.numbers:
            word = _PORTED[number]
            yield " ".join(
                f"{word} {side} {{ {', '.join(map(_ports, ports))} }}"
                for side, ports in ((to, one.destination), (back, one.source))
                if ports
            )


def _range(found: AddressRange) -> str:
    return str(found.first) if found.first == found.last else f"{found.first}-{found.last}"


def _ports(found: PortRange) -> str:
    return str(found.first) if found.first == found.last else f"{found.first}-{found.last}"


def _name(ruling: RuledLinks) -> str:
    return f"r_{_hash(' '.join(ruling.policies))}"


def _policy(identity: str) -> str:
    return f"p_{_hash(identity)}"


def _set(group: AddressGroup, version: int) -> str:
    return f"g_{group.name}_{version}"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _chain(name: str, *rules: str) -> list[str]:
    return [f"\tchain {name} {{", *(f"\t\t{rule}" for rule in rules), "\t}"]


def _a_set(name: str, kind: str, elements: list[str], *more: str) -> list[str]:
    lines = [f"\tset {name} {{", f"\t\ttype {kind}", *(f"\t\t{word}" for word in more)]
    if elements:
        lines.append(f"\t\telements = {{ {(',' + chr(10) + chr(9) * 3).join(elements)} }}")
    return [*lines, "\t}"]
