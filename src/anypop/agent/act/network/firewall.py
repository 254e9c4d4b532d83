"""The firewall's two nftables tables of our own names, in the kernel: loaded, changed by elements, and looked at.

In: `Firewall` (pure data), and what was loaded before. Out: the tables; all of it in one transaction, so there is no
moment without it and connection tracking is not disturbed: established flows survive every change. Where only
instances differ, elements are changed and nothing is loaded.
"""

import asyncio
from collections.abc import Iterable
from ipaddress import ip_network

from anypop.agent.act.network import nftables, rtnl, sets
from anypop.agent.act.network.firewall_rules import FIXED_SETS, digest, elements, render
from anypop.agent.act.network.netlink import NETFILTER, Netlink
from anypop.agent.act.network.nft import listed, nft
from anypop.agent.decide.elements import Firewall
from anypop.agent.naming import firewall_table
from anypop.model.announce import Prefix
from anypop.model.errors import WorldError

_MOST_ELEMENTS = 1500  # in one datagram; more at once are loaded as text
_TRIES = 5
_shapes: dict[str, str] = {}  # by prefix: the tables without their elements, as nft told them right after loading


async def load(rules: Firewall, before: Firewall | None, prefix: str) -> None:
    """Make the tables those of `rules`. `before`: what is loaded now; None: not known."""
    networks = _near(rules.uplinks)
    if before is not None and digest(rules, networks) == digest(before, networks) and _change(rules, before, prefix):
        return
    _shapes.pop(prefix, None)
    for _ in range(_TRIES):
        before_it = _generation()
        await nft("load the firewall", "-f", "-", stdin=render(rules, prefix, networks))
        shape = await _shape(prefix)
        if _generation() == before_it + 1:  # nobody has changed any rule between loading and looking
            _shapes[prefix] = shape
            return


async def holds(rules: Firewall, prefix: str) -> bool:
    """Whether the tables in the kernel are those that `load` made of `rules`, and still right for this host."""
    shape = await _shape(prefix)
    if shape != _shapes.get(prefix) or f'"{digest(rules, _near(rules.uplinks))}"' not in shape:
        return False
    with Netlink(NETFILTER) as net:
        wanted = elements(rules)
        return all(sets.keys(net, firewall_table(prefix), place) == keys for place, keys in wanted.items())


def _change(rules: Firewall, before: Firewall, prefix: str) -> bool:
    """Change what differs. False: too much of it, or the kernel has something else than was believed."""
    was, now = elements(before), elements(rules)
    gone = {place: sorted(was[place] - keys) for place, keys in now.items() if was[place] - keys}
    new = {place: sorted(keys - was[place]) for place, keys in now.items() if keys - was[place]}
    if sum(map(len, (*gone.values(), *new.values()))) > _MOST_ELEMENTS:
        return False
    try:
        with Netlink(NETFILTER) as net:
            sets.change(net, firewall_table(prefix), gone=gone, new=new)
    except WorldError:
        return False
    return True


async def _shape(prefix: str) -> str:
    """All of the tables but counters and what changes with instances."""
    table = firewall_table(prefix)
    with Netlink(NETFILTER) as net:
        fixed = [f"{name} {sorted(sets.keys(net, table, (sets.INET, name)))}" for name in FIXED_SETS]
    both = (listed("read the firewall", table, family=family) for family in ("inet", "arp"))
    return "\n".join([*await asyncio.gather(*both), *fixed])


def _generation() -> int:
    with Netlink(NETFILTER) as net:
        return nftables.generation(net)


def _near(uplinks: Iterable[str]) -> tuple[Prefix, ...]:
    """The networks on these interfaces, without those of links themselves: neighbours on the same wire, who are
    nobody's Internet.
    """
    with Netlink() as net:
        index = {link.index for link in rtnl.links(net) if link.name in set(uplinks)}
        found = {
            ip_network((address, length), strict=False) for at, address, length in rtnl.networks(net) if at in index
        }
    return tuple(sorted((n for n in found if not n.is_link_local), key=str))
