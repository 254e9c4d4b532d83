"""The part of the tunnels' guard that lets packets go by gateways of other hosts, as text for `nft`. Pure.

In: `TunnelGuard`. Out: lines for its table, and elements that change with instances; nothing where no network has
routes through gateways. At a gateway's host: what a known member of the network elsewhere sends to where gateways here
lead gets the network's mark, and goes to links of that network alone. At the receiver's host: to members of a network
comes also what gateways of it elsewhere pass on, which has any source to which the network's routes lead. What a
gateway here passes on to a member elsewhere goes there as if it were the gateway's own.
"""

from collections.abc import Iterator

from anypop.agent.act.network import sets
from anypop.agent.act.network.gateway_rules import ERRORS
from anypop.agent.act.network.sets import INET, Place
from anypop.agent.decide.elements import TunnelGuard
from anypop.agent.naming import DRAIN_MARK_MASK, DRAIN_MARK_SHIFT, TUNNEL

_IP = {4: "ip", 6: "ip6"}
_REST = f"meta mark & {~DRAIN_MARK_MASK & 0xFFFF_FFFF:#010x}"


def elements(rules: TunnelGuard) -> dict[Place, frozenset[bytes]]:
    """As the kernel has them."""
    found: dict[Place, frozenset[bytes]] = {}
    for v in (4, 6):
        if rules.led:
            found[INET, f"members{v}"] = frozenset(sets.address_key(a) for _, a in rules.members if a.version == v)
        if rules.passed:
            slots = {one.group: one.slot for one in rules.passed}
            found[INET, f"senders{v}"] = frozenset(
                sets.jump_key(sets.address_key(a), f"came_{slots[group]}")
                for group, a in rules.siblings
                if group in slots and a.version == v
            )
            for slot in slots.values():
                found[INET, _near(slot, v)] = frozenset(
                    sets.address_key(a) for of, a in rules.members if of == slot and a.version == v
                )
    if rules.passed:
        found[INET, "gateways"] = frozenset(sets.name_key(link) for link in rules.gateways)
    return found


def lines(rules: TunnelGuard, mark: str) -> Iterator[str]:
    """Sets, maps and chains. `mark`: the words that mark what goes to a sibling."""
    for v in (4, 6):
        if rules.led:
            yield from _set(f"members{v}", f"ipv{v}_addr", [str(a) for _, a in rules.members if a.version == v])
            led = [f"{one.group:#x} . {p}" for one in rules.led for p in one.prefixes if p.version == v]
            yield from _set(f"led{v}", f"devgroup . ipv{v}_addr", led, "flags interval")
    if rules.led:
        # the packet around it is led by the host's own routes, and not by a tenant's
        yield "\tchain wrapped {"
        yield "\t\ttype filter hook postrouting priority mangle; policy accept;"
        yield from (f'\t\toifname "{TUNNEL}" meta mark set {_REST}', "\t}")
    if not rules.passed:
        return
    yield from _set("gateways", "ifname", [f'"{link}"' for link in rules.gateways])
    for one in rules.passed:
        for v in (4, 6):
            near = [str(a) for slot, a in rules.members if slot == one.slot and a.version == v]
            yield from _set(_near(one.slot, v), f"ipv{v}_addr", near)
        yield f"\tchain came_{one.slot} {{"
        for v in (4, 6):
            if those := [str(p) for p in one.prefixes if p.version == v]:
                yield f"\t\t{_IP[v]} daddr @{_near(one.slot, v)} return"  # of the network itself
                to = f"{_IP[v]} daddr {{ {', '.join(those)} }}"
                yield f"\t\t{to} meta mark set {_REST} | {one.slot << DRAIN_MARK_SHIFT:#010x} return"
        yield "\t}"
    slots = {one.group: one.slot for one in rules.passed}
    for v in (4, 6):
        those = [f"{a} : jump came_{slots[g]}" for g, a in rules.siblings if g in slots and a.version == v]
        yield from _set(f"senders{v}", f"ipv{v}_addr : verdict", those, kind="map")
    yield "\tchain passed_on {"
    for v in (4, 6):
        # not from an anycast address: whoever has it would get the answer
        yield f"\t\t{_IP[v]} saddr != @carried{v} iifgroup . {_IP[v]} daddr @siblings{v} {mark}"
    yield "\t}"


def sent(rules: TunnelGuard) -> Iterator[str]:
    """Of what an instance here sends: what it passes on."""
    if rules.passed:
        yield "iifname @gateways jump passed_on"


def inside(rules: TunnelGuard) -> Iterator[str]:
    """Of what comes by the tunnel, after who may be no source at all and before who is here: what goes to a gateway is
    marked; to members anything comes so far, since what they send to others may come back by a gateway elsewhere.
    """
    if rules.passed:
        yield from (f"{_IP[v]} saddr vmap @senders{v}" for v in (4, 6))
    if rules.led:
        yield from (f"{_IP[v]} daddr @members{v} return" for v in (4, 6))


def coming(rules: TunnelGuard, mark: str) -> Iterator[str]:
    """Of what is passed on to a link, before all else."""
    for one in rules.passed:
        marked = f"meta mark & {DRAIN_MARK_MASK:#010x} == {one.slot << DRAIN_MARK_SHIFT:#010x}"
        yield f"{marked} oifgroup {one.group:#x} oifname @gateways accept"
    if rules.led:
        for v in (4, 6):
            yield f"oifgroup . {_IP[v]} saddr @led{v} {_IP[v]} daddr @members{v} {mark} accept"
        groups = ", ".join(f"{one.group:#x}" for one in rules.led)
        for v in (4, 6):  # of routers on the way, which are anywhere
            yield f"oifgroup {{ {groups} }} {_IP[v]} daddr @members{v} {ERRORS[v]} {mark} accept"


def _near(slot: int, version: int) -> str:
    return f"near_{slot}_{version}"


def _set(name: str, type_: str, elements: list[str], *more: str, kind: str = "set") -> list[str]:
    lines = [f"\t{kind} {name} {{", f"\t\ttype {type_}", *(f"\t\t{word}" for word in more)]
    if elements:
        lines.append(f"\t\telements = {{ {(',' + chr(10) + chr(9) * 3).join(dict.fromkeys(elements))} }}")
    return [*lines, "\t}"]
