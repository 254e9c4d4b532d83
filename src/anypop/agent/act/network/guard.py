"""The table that guards the tunnels, in the kernel: loaded, changed by elements, looked at, and what it has counted.

In: `TunnelGuard` (pure data), and what was loaded before. Out: the table, in one transaction; where only the addresses
of half-seen flows differ, those elements alone. No other table is touched.
"""

from collections.abc import Mapping
from ipaddress import IPv4Address
from typing import NamedTuple

from anypop.agent.act.network import nftables, sets
from anypop.agent.act.network.guard_rules import RECEIVED, SENT, digest, elements, render
from anypop.agent.act.network.netlink import NETFILTER, Netlink
from anypop.agent.act.network.nft import listed, nft
from anypop.agent.decide.elements import TunnelGuard
from anypop.agent.naming import tunnels_table
from anypop.model.backbone import OVERHEAD
from anypop.model.errors import WorldError

_shapes: dict[str, str] = {}  # by prefix: the table without its elements, as nft told it right after loading


async def load(rules: TunnelGuard | None, before: TunnelGuard | None, prefix: str) -> None:
    """Make the table that of `rules`, or none. `before`: what is loaded now; None: not known."""
    if rules is None:
        _shapes.pop(prefix, None)
        with Netlink(NETFILTER) as net:
            nftables.delete_table(net, tunnels_table(prefix))
        return
    if before is not None and digest(rules) == digest(before) and _change(rules, before, prefix):
        return
    _shapes.pop(prefix, None)
    await nft("load the guard of the tunnels", "-f", "-", stdin=render(rules, prefix))
    _shapes[prefix] = await _shape(prefix)


async def holds(rules: TunnelGuard, prefix: str) -> bool:
    """Whether the table in the kernel is the one that `load` made of `rules`."""
    shape = await _shape(prefix)
    if shape != _shapes.get(prefix) or f'"{digest(rules)}"' not in shape:
        return False
    with Netlink(NETFILTER) as net:
        return all(sets.keys(net, tunnels_table(prefix), place) == keys for place, keys in elements(rules).items())


class Carried(NamedTuple):
    """To and from one other host: bytes of packets inside the tunnel, and packets."""

    sent: int = 0
    received: int = 0
    sent_packets: int = 0
    received_packets: int = 0


def counted(prefix: str) -> Mapping[IPv4Address, Carried]:
    """What went to and came from each other host since the table was loaded."""
    with Netlink(NETFILTER) as net:
        sent, received = (nftables.counted(net, tunnels_table(prefix), name) for name in (SENT, RECEIVED))
    found, none = {}, (0, 0)
    for key in sent.keys() | received.keys():
        out, back = sent.get(key, none), received.get(key, none)
        found[IPv4Address(key)] = Carried(_inside(out), _inside(back), out[0], back[0])
    return found


def is_there(prefix: str) -> bool:
    """Whether there is such a table, right or not."""
    try:
        with Netlink(NETFILTER) as net:
            return bool(nftables.names(net, tunnels_table(prefix), nftables.Kind.CHAIN))
    except (WorldError, OSError):
        return False  # a kernel without nftables


def _inside(told: tuple[int, int]) -> int:
    packets, whole = told
    return max(whole - OVERHEAD * packets, 0)


def _change(rules: TunnelGuard, before: TunnelGuard, prefix: str) -> bool:
    """Change what differs. False: the kernel has something else than was believed."""
    was, now = elements(before), elements(rules)
    try:
        with Netlink(NETFILTER) as net:
            gone = {place: sorted(was[place] - keys) for place, keys in now.items()}
            new = {place: sorted(keys - was[place]) for place, keys in now.items()}
            sets.change(net, tunnels_table(prefix), gone=gone, new=new)
    except WorldError:
        return False
    return True


async def _shape(prefix: str) -> str:
    """All of the table but counters and elements; empty when it is not there."""
    text = await listed("read the guard of the tunnels", tunnels_table(prefix))
    if not text:
        return ""
    with Netlink(NETFILTER) as net:
        fixed = (SENT, RECEIVED, "ends", "carried4", "carried6", "forged4", "forged6", "own4", "own6")
        return text + "".join(
            f"{name} {sorted(sets.keys(net, tunnels_table(prefix), (sets.INET, name)))}\n" for name in fixed
        )
