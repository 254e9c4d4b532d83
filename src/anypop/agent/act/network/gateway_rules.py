"""The part of the firewall that lets packets of a network take its routes through gateways, and nothing else. Pure.

In: `Firewall`. Out: lines for its table; nothing where no network has such routes. What comes from a private address of
a link and goes where its network has a route gets the network's mark, by which it finds its table of ways. A gateway's
link may send, beside its own, what comes from where it leads; and that into its network alone, so nothing forged
leaves the host or reaches anybody else by it.
"""

from collections.abc import Iterator

from anypop.agent.decide.elements import Firewall
from anypop.agent.naming import DRAIN_MARK_MASK, DRAIN_MARK_SHIFT, GATEWAY_SLOTS, SIBLING_MARK, TUNNEL

_IP = {4: "ip", 6: "ip6"}
ERRORS = {
    4: "icmp type { destination-unreachable, time-exceeded, parameter-problem }",
    6: "icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem }",
}
_SIBLING = f"meta mark & {DRAIN_MARK_MASK:#010x} == {SIBLING_MARK:#010x}"
_ROUTED = (
    f"meta mark & {DRAIN_MARK_MASK:#010x} >= {GATEWAY_SLOTS[0] << DRAIN_MARK_SHIFT:#010x} "
    f"meta mark & {DRAIN_MARK_MASK:#010x} <= {GATEWAY_SLOTS[-1] << DRAIN_MARK_SHIFT:#010x}"
)


def fixed(rules: Firewall) -> tuple[object, ...]:
    """What is not an element: all of it, since it changes with routes and gateways alone."""
    return (rules.routed, rules.passing) if rules.routed else ()


def lines(rules: Firewall) -> Iterator[str]:
    """Maps and chains."""
    if not rules.routed:
        return
    for one in rules.routed:
        mark = (
            f"meta mark set meta mark & {~DRAIN_MARK_MASK & 0xFFFF_FFFF:#010x} | {one.slot << DRAIN_MARK_SHIFT:#010x}"
        )
        yield from (f"\tchain way_{one.slot} {{", f"\t\t{mark}", "\t}")
    for v in (4, 6):
        ways = [
            f"{one.group:#x} . {prefix} : goto way_{one.slot}"
            for one in rules.routed
            for prefix in one.prefixes
            if prefix.version == v
        ]
        yield from (f"\tmap routed{v} {{", f"\t\ttype devgroup . ipv{v}_addr : verdict", "\t\tflags interval")
        if ways:
            yield f"\t\telements = {{ {(',' + chr(10) + chr(9) * 3).join(ways)} }}"
        yield "\t}"
    for one_ in rules.passing:
        yield f"\tchain pass_{one_.link} {{"
        for v in (4, 6):
            if those := [str(prefix) for prefix in one_.prefixes if prefix.version == v]:
                yield f"\t\t{_IP[v]} saddr {{ {', '.join(those)} }} accept"
                yield f"\t\t{ERRORS[v]} accept"  # of routers on the way to there, which are anywhere
        yield "\t}"
        yield f"\tchain kept_{one_.link} {{"
        yield from (f"\t\tiifname . {_IP[v]} saddr @own{v} return" for v in (4, 6))
        yield "\t\tiifgroup . oifgroup @kin return"
        # the guard of the tunnels has found that it goes to somebody of the network elsewhere
        yield from ([f'\t\toifname "{TUNNEL}" {_SIBLING} return'] if rules.carries else [])
        yield from ("\t\tcounter drop", "\t}")
    if rules.passing:
        yield "\tchain passed_on {"
        yield from (f"\t\tiifname . {_IP[v]} saddr @own{v} return" for v in (4, 6))
        yield from ("\t\taccept", "\t}")
    # behind the marks of what goes to an instance itself
    yield "\tchain routed {"
    yield "\t\ttype filter hook prerouting priority raw + 2; policy accept;"
    free = f"meta mark & {DRAIN_MARK_MASK:#010x} != {SIBLING_MARK:#010x}"
    yield from (f"\t\t{free} {_IP[v]} saddr @hidden{v} iifgroup . {_IP[v]} daddr vmap @routed{v}" for v in (4, 6))
    yield "\t}"


def own(rules: Firewall) -> Iterator[str]:
    """Of what a link may send: what its gateway passes on."""
    if rules.passing:
        jumps = ", ".join(f'"{one.link}" : jump pass_{one.link}' for one in rules.passing)
        yield f"iifname vmap {{ {jumps} }}"


def leaving(rules: Firewall) -> Iterator[str]:
    """The first rules for what comes from a link and is passed on by the host."""
    if rules.passing:
        jumps = ", ".join(f'"{one.link}" : jump kept_{one.link}' for one in rules.passing)
        yield f"iifname vmap {{ {jumps} }}"
    if rules.routed:
        yield f"{_ROUTED} iifgroup . oifgroup @kin return"
        yield from ([f'{_ROUTED} oifname "{TUNNEL}" return'] if rules.carries else [])


def arriving(rules: Firewall) -> Iterator[str]:
    """What comes to a gateway to be passed on: whatever it is, since the ports are those of others."""
    yield from (f"{one} accept" for one in _to_gateways(rules))


def ruled(rules: Firewall, chain: str) -> Iterator[str]:
    """The same under a policy: its rules are asked in `chain`, whatever address it goes to."""
    yield from (f"{one} goto {chain}" for one in _to_gateways(rules))


def answering(rules: Firewall) -> Iterator[str]:
    """Answers of which no policy has spoken: those that go to a gateway of another host, and those that a gateway here
    passes on to whoever asked by it.
    """
    if rules.routed and rules.carries:
        for v, ip in _IP.items():
            yield f'{_ROUTED} oifname "{TUNNEL}" {ip} saddr . meta l4proto . th sport @inside{v} accept'
    if rules.passing:
        links = ", ".join(f'"{one.link}"' for one in rules.passing)
        yield f"iifname {{ {links} }} jump passed_on"


def _to_gateways(rules: Firewall) -> Iterator[str]:
    if rules.routed:
        yield f"{_ROUTED} iifgroup . oifgroup @kin"
        yield from ([f'{_ROUTED} iifname "{TUNNEL}"'] if rules.carries else [])
