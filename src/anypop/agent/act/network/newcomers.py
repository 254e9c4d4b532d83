"""Flows of newcomers in the kernel: the nftables table that marks them, and the policy rules for what is marked.

In: `Joining` (pure data). Out: kernel state, or whether it is right, and of which slots flows are known. The flows that
are known stay known while rules change. Without any newcomer that needs it nothing of it is there.
"""

from collections.abc import Iterable, Mapping, Sequence

from anypop.agent.act.network import newcomer_ways, nftables, rtnl
from anypop.agent.act.network.netlink import NETFILTER, Netlink
from anypop.agent.act.network.newcomer_rules import name_of, render, whose
from anypop.agent.act.network.nft import listed, nft
from anypop.agent.act.network.nftables import Kind
from anypop.agent.decide.elements import Joining
from anypop.agent.naming import newcomers_table
from anypop.model.announce import Address
from anypop.model.errors import WorldError

_shapes: dict[str, str] = {}  # by prefix: the table without its elements, as nft told it right after loading


async def load(net: Netlink, joinings: Sequence[Joining], prefix: str) -> None:
    """Make it so. What is marked has a way, or goes where all goes."""
    table = newcomers_table(prefix)
    _shapes.pop(prefix, None)
    if not joinings:
        remove(net, prefix)
        return
    slots = _slots(joinings)
    for slot in slots:
        for rule in newcomer_ways.rules_of(slot):
            rtnl.add_mark_rule(net, rule)
    with Netlink(NETFILTER) as tables:
        chains, sets = (nftables.names(tables, table, kind) for kind in (Kind.CHAIN, Kind.SET))
    await nft("load the rules for newcomers", "-f", "-", stdin=render(table, joinings, chains, sets))
    _shapes[prefix] = await _shape(prefix)


async def holds(net: Netlink, joinings: Sequence[Joining], prefix: str) -> bool:
    """Whether the kernel has what `load` made of these."""
    if not joinings:
        return not is_there(prefix)
    shape, rules = await _shape(prefix), set(rtnl.mark_rules(net))
    ruled = all(rule in rules for slot in _slots(joinings) for rule in newcomer_ways.rules_of(slot))
    return ruled and shape == _shapes.get(prefix) and name_of(joinings) in shape


def is_there(prefix: str) -> bool:
    """Whether there is such a table, right or not."""
    try:
        with Netlink(NETFILTER) as tables:
            return bool(nftables.names(tables, newcomers_table(prefix), Kind.CHAIN))
    except (WorldError, OSError):
        return False  # a kernel without nftables


def remembered(prefix: str) -> Mapping[tuple[Address, int], bool] | None:
    """The addresses and slots that the table has, and whether any flow of theirs is known; None: nobody can tell."""
    table, found = newcomers_table(prefix), dict[tuple[Address, int], bool]()
    try:
        with Netlink(NETFILTER) as tables:
            names = nftables.names(tables, table, Kind.SET)
        for name in names:
            if (place := whose(name)) is not None:
                found[place] = found.get(place, False) or nftables.has_any(table, name)
    except (WorldError, OSError):
        return None
    return found


def remove(net: Netlink, prefix: str) -> None:
    """Take all of it away. Harmless when there is nothing."""
    newcomer_ways.remove(net)
    with Netlink(NETFILTER) as tables:
        nftables.delete_table(tables, newcomers_table(prefix))


def _slots(joinings: Iterable[Joining]) -> list[int]:
    return sorted({slot for j in joinings for slot in j.slots})


async def _shape(prefix: str) -> str:
    """All of the table but counters and elements; empty when it is not there."""
    return await listed("read the rules for newcomers", newcomers_table(prefix))
