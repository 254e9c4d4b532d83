"""The dials in the kernel: the nftables table that marks the flows which leave, and the policy rule for what is marked.

In: `Steer` (pure data). Out: kernel state, or whether it is right, and whether any flow that left lives. The flows that
are known stay known while rules change. Without any dial nothing of it is there.
"""

from collections.abc import Sequence

from anypop.agent.act.network import nftables, rtnl
from anypop.agent.act.network.netlink import NETFILTER, Netlink
from anypop.agent.act.network.nft import listed, nft
from anypop.agent.act.network.nftables import Kind
from anypop.agent.act.network.steering_rules import GONE, name_of, render
from anypop.agent.act.network.tunnel import away_rules
from anypop.agent.decide.elements import Steer
from anypop.agent.naming import dials_table
from anypop.model.errors import WorldError

_shapes: dict[str, str] = {}  # by prefix: the table without its elements, as nft told it right after loading


async def load(net: Netlink, steers: Sequence[Steer], prefix: str) -> None:
    """Make it so. The rule for marks comes first and goes first: what is marked has a way, or goes where all goes."""
    table = dials_table(prefix)
    _shapes.pop(prefix, None)
    if not steers:
        remove(net, prefix)
        return
    for rule in away_rules():
        rtnl.add_mark_rule(net, rule)
    with Netlink(NETFILTER) as tables:
        chains = nftables.names(tables, table, Kind.CHAIN)
    await nft("load the dials", "-f", "-", stdin=render(table, steers, chains))
    _shapes[prefix] = await _shape(prefix)


async def holds(net: Netlink, steers: Sequence[Steer], prefix: str) -> bool:
    """Whether the kernel has what `load` made of these."""
    if not steers:
        return not is_there(prefix)
    shape = await _shape(prefix)
    return (
        shape == _shapes.get(prefix) and name_of(steers) in shape and set(away_rules()) <= set(rtnl.mark_rules(net))
    )  # fmt: skip


def is_there(prefix: str) -> bool:
    """Whether there is such a table, right or not."""
    try:
        with Netlink(NETFILTER) as tables:
            return bool(nftables.names(tables, dials_table(prefix), Kind.CHAIN))
    except (WorldError, OSError):
        return False  # a kernel without nftables


def lives(prefix: str) -> bool:
    """Whether any flow that left is known."""
    with Netlink(NETFILTER) as tables:
        return any(nftables.has_elements(tables, dials_table(prefix), name) for name in GONE)


def remove(net: Netlink, prefix: str) -> None:
    """Take all of it away, but the ways themselves. Harmless when there is nothing."""
    for rule in away_rules():
        rtnl.delete_mark_rule(net, rule)
    with Netlink(NETFILTER) as tables:
        nftables.delete_table(tables, dials_table(prefix))


async def _shape(prefix: str) -> str:
    """All of the table but counters and elements; empty when it is not there."""
    return await listed("read the dials", dials_table(prefix))
