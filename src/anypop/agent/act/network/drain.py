"""Pinning the live flows of an incarnation that drains to it, so that it can leave groups and routes and loses none
of them.

In: its uid and its addresses. Out: its flows recorded in our nftables table of drains (`drain_rules`), which marks
their packets; mark, rule and routing table lead them over the old link (`pins`). A flow is client, port, address,
port, of TCP or UDP, in both families. Order counts: packets are recorded first, then sockets are read (they know the
quiet flows), and only then may the caller move anything. Where a server's queue was full, some flows have no socket,
and are waited for.
"""

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from anypop.agent.act.network import drain_rules, nftables, pins, rtnl, tracked
from anypop.agent.act.network.held import Held
from anypop.agent.act.network.netlink import NETFILTER, Netlink
from anypop.agent.act.network.nft import nft
from anypop.agent.act.network.nftables import Kind
from anypop.agent.act.network.pins import Pin
from anypop.agent.act.network.sockets import Connection, connections, full_queues
from anypop.agent.naming import drain_table, link_of, namespace_of, short
from anypop.model.announce import Address

# A client sends again after 0.2 s and its round trip, then after twice as long: by then most have done so once.
SENT_AGAIN_S = 1.0
_SILENT_S = 1.0  # who was heard since then has his client
_Ends = tuple[Address, int, Address, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveFlows:
    """What would be cut if the incarnation went now: TCP connections by who opened them, whether UDP passed in the last
    second, and whether a client that takes its connection for open waits for an answer.
    """

    inbound: int
    outbound: int
    udp: bool
    unanswered: bool


class Drains:
    """The pins of one prefix in the network namespace of `net`. Pins and unpins that come together are loaded
    together.
    """

    def __init__(self, net: Netlink, prefix: str) -> None:
        self._net, self._prefix = net, prefix
        self._loading = asyncio.Lock()
        self._waiting: dict[str, Pin | None] = {}  # by incarnation; None: its pin goes

    async def pin(
        self, uid: str, behind: Mapping[Address, Address], beside: Collection[str] = (), *, guest: bool = False
    ) -> int:
        """Pin what lives on the addresses that are keys of `behind` (the private address of the same family is the
        value). `beside`: others that answer there, by their uids or the names of their links. `guest`: its sockets are
        in a virtual machine, so its quiet flows are those that the router tracks.

        Returns how many flows its sockets had, or the router tracked. Made twice it is made once, and nothing recorded
        is lost; whatever part is missing is added.
        """
        what = f"pin the flows of {link_of(uid)}"
        mine, space = pins.reserve(self._net, self._prefix, uid, behind), namespace_of(self._prefix, uid)
        versions = sorted({address.version for address in behind})
        for version in versions:
            rtnl.add_mark_rule(self._net, mine.rule(version, early=True))
        await self._change(what, mine.key, mine)
        if full_queues(space):
            # A connection whose SYN was answered with a cookie, and whose next packets found the queue full, has no
            # socket: it is known by what its client sends again.
            await asyncio.sleep(SENT_AGAIN_S)
        flows = self._tracked(mine) if guest else await self._own(space, behind, beside)
        if flows:
            await nft(what, "-f", "-", stdin=drain_rules.elements(drain_table(self._prefix), mine, flows))
        for version in versions:
            rtnl.add_mark_rule(self._net, mine.rule(version))
            rtnl.delete_mark_rule(self._net, mine.rule(version, early=True))
        return len(flows)

    async def _own(
        self, space: str, behind: Collection[Address], beside: Collection[str]
    ) -> list[Connection]:  # fmt: skip
        """What its sockets know, without what is another's by now. A client that is gone without a word (its reset was
        lost, say) leaves a connection open here; when its port is used again, by a flow that another one was given,
        that one must not be led here. It is the one that was heard last.
        """
        flows = connections(space, behind, heard=bool(beside))
        silent = {flow.ends: flow.silent_s for flow in flows if flow.idle and flow.silent_s >= _SILENT_S}
        gone = set[_Ends]()
        for other in beside if silent else ():
            for flow in connections(namespace_of(self._prefix, other), behind, heard=True):
                if not flow.udp and flow.ends in silent and flow.silent_s < silent[flow.ends]:
                    gone.add(flow.ends)
            await asyncio.sleep(0)  # a look takes some milliseconds
        return [flow for flow in flows if flow.udp or flow.ends not in gone]

    def _tracked(self, mine: Pin) -> list[Connection]:
        """What the router tracks, without what stays with another one that drains."""
        index = next((link.index for link in rtnl.links(self._net) if link.name == f"i{mine.key}"), 0)
        with Netlink(NETFILTER) as tables:
            table, sets = drain_table(self._prefix), nftables.names(tables, drain_table(self._prefix), Kind.SET)
            others = [s for s in sets if s.startswith(("tcp", "udp")) and not s.endswith(mine.key)]
            theirs = {key for name in others for key in nftables.elements(tables, table, name)}
            return [f for f in tracked.flows(tables, mine.addresses, index) if drain_rules.key_of(f) not in theirs]

    async def unpin(self, uid: str) -> None:
        """Take the pin away. What is left of its flows goes where the main table says. Harmless when there is none."""
        mine = pins.find(self._net, self._prefix, uid)
        if mine is not None:
            pins.delete_rules(self._net, mine)
            await self._change(f"unpin the flows of {link_of(uid)}", mine.key, None)
            pins.delete_routes(self._net, mine.slot)

    async def _change(self, what: str, key: str, pin: Pin | None) -> None:
        """Load the table with this change, and with all others that wait. Back when this one is in force."""
        self._waiting[key] = pin
        async with self._loading:
            if key not in self._waiting:
                return  # another has taken it along
            changes, self._waiting = self._waiting, {}
            try:
                others = [other for other in pins.recorded(self._net, self._prefix) if other.key not in changes]
                await self._load(what, [*others, *(coming for coming in changes.values() if coming)])
            except BaseException:
                del changes[key]
                self._waiting = changes | self._waiting  # each tries itself, and tells what is wrong
                raise

    async def _load(self, what: str, those: list[Pin]) -> None:
        """The table of exactly these pins; none at all for none."""
        table = drain_table(self._prefix)
        with Netlink(NETFILTER) as tables:
            if not those:
                nftables.delete_table(tables, table)
                return
            chains, sets = (nftables.names(tables, table, kind) for kind in (Kind.CHAIN, Kind.SET))
        await nft(what, "-f", "-", stdin=drain_rules.render(table, those, chains, sets))


def live_flows(
    prefix: str, uid: str, addresses: Collection[Address], held: Held | None = None, *, guest: bool = False
) -> LiveFlows:
    """What still lives on these addresses: TCP by the sockets in its namespace, UDP by what passed while it was
    pinned. `held`: knows which connections have no client any more. `guest`: TCP too by what was pinned, and in which
    neither its last word was said nor the client has reset it.
    """
    space = namespace_of(prefix, uid)
    pending = [c for c in connections(space, addresses) if c.pending and not c.udp]
    if held is not None and any(c.inbound for c in pending):
        gone = held.gone(space, addresses)
        pending = [c for c in pending if c.ends not in gone]
    table, key = drain_table(prefix), f"_{short(uid)}"
    with Netlink(NETFILTER) as tables:
        mine = [name for name in nftables.names(tables, table, Kind.SET) if name.endswith(key)]
        filled = {
            kind
            for kind in ("talking_", "asked4_", "asked6_")
            if any(nftables.has_elements(tables, table, name) for name in mine if name.startswith(kind))
        }
        if guest:
            open_, closed = (
                {key for name in mine if name.startswith(kind) for key in nftables.elements(tables, table, name)}
                for kind in ("tcp", "closed")
            )
    inbound = len(open_ - closed) if guest else sum(c.inbound for c in pending)
    return LiveFlows(
        inbound=inbound,
        outbound=0 if guest else len(pending) - inbound,
        udp="talking_" in filled,
        unanswered=bool(filled - {"talking_"}),
    )
