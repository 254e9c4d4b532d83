"""The part of the firewall that keeps addresses in subnets of stacks' networks to their network. Pure.

In: `Firewall`. Out: lines for its table, and the elements that change with instances; nothing where no instance has
such an address. What comes from a link of a network and goes to somebody of the same network gets the mark by which it
finds its way; what comes from an address in a subnet and has not got it goes nowhere. An error about a packet
that was too large for a tunnel finds its way back by the same mark.
"""

from collections.abc import Iterator

from anypop.agent.act.network import sets
from anypop.agent.act.network.sets import INET, Place
from anypop.agent.decide.elements import Firewall
from anypop.agent.naming import DRAIN_MARK_MASK, SIBLING_MARK

_IP = {4: "ip", 6: "ip6"}
_MARK = f"meta mark set meta mark & {~DRAIN_MARK_MASK & 0xFFFF_FFFF:#010x} | {SIBLING_MARK:#010x}"
_ERRORS = {
    4: "icmp type { destination-unreachable, time-exceeded }",
    6: "icmpv6 type { destination-unreachable, packet-too-big, time-exceeded }",
}


def fixed(rules: Firewall) -> tuple[object, ...]:
    """What is not an element."""
    return (rules.parts,) if rules.parts else ()


def elements(rules: Firewall) -> dict[Place, frozenset[bytes]]:
    """As the kernel has them."""
    if not rules.parts:
        return {}
    return {
        (INET, f"vpc{v}"): frozenset(
            sets.group_key(group) + sets.address_key(a) for group, a in rules.vpc if a.version == v
        )
        for v in (4, 6)
    }


def lines(rules: Firewall) -> Iterator[str]:
    """Sets and chains."""
    if not rules.parts:
        return
    for v in (4, 6):
        yield from (f"\tset vpc{v} {{", f"\t\ttype devgroup . ipv{v}_addr")
        if there := [f"{group:#x} . {a}" for group, a in rules.vpc if a.version == v]:
            yield f"\t\telements = {{ {(',' + chr(10) + chr(9) * 3).join(there)} }}"
        yield "\t}"
    yield "\tchain vpc {"
    yield "\t\ttype filter hook prerouting priority raw + 1; policy accept;"
    yield from (f"\t\tiifgroup . {_IP[v]} daddr @vpc{v} {_MARK}" for v in (4, 6))
    yield "\t}"
    yield "\tchain vpc_errors {"
    yield "\t\ttype route hook output priority mangle; policy accept;"
    yield from (f"\t\t{_IP[v]} daddr {_parts(rules, v)} {_ERRORS[v]} {_MARK}" for v in _versions(rules))
    yield "\t}"


def leaving(rules: Firewall) -> Iterator[str]:
    """The first rules for what comes from a link and is passed on."""
    for v in _versions(rules):
        marked = f"meta mark & {DRAIN_MARK_MASK:#010x} != {SIBLING_MARK:#010x}"
        yield f"{_IP[v]} saddr {_parts(rules, v)} {marked} counter drop"


def _versions(rules: Firewall) -> list[int]:
    return [v for v in (4, 6) if any(p.version == v for p in rules.parts)]


def _parts(rules: Firewall, version: int) -> str:
    return f"{{ {', '.join(str(p) for p in rules.parts if p.version == version)} }}"
