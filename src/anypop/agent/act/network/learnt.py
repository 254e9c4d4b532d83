"""The table of what BGP neighbours told, and the policy rules that say who looks into it.

In: the operator's management prefixes. Out: rules, in both families. What is forwarded looks into the main table
without its default route (links, instances, what is ours), then into what was learnt. What this host sends itself
(agent, probes, image pulls) follows the operator's routes; only where these say nothing, as on a host that has no other
way out, it follows what was learnt, and to a management prefix never. So no neighbour can lead this host's own traffic
away. Pings by which catchments are measured follow what was learnt alone.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from anypop.agent.act.network import rtnl
from anypop.agent.act.network.netlink import Netlink
from anypop.agent.act.network.rtnl import MAIN_TABLE, Rule
from anypop.agent.naming import LEARNT_LAST_PREFERENCE, LEARNT_PREFERENCE, LEARNT_TABLE, PING_MARK, ROUTE_PROTOCOL
from anypop.model.announce import Prefix

_OURS = range(LEARNT_PREFERENCE, LEARNT_LAST_PREFERENCE + 2)
_IPV6 = Path("/proc/sys/net/ipv6")
_BIRD, _OLD_METRIC = 12, 1000  # an earlier version of this program had BIRD put what it learnt into the main table


def is_prepared(net: Netlink, management: Iterable[Prefix]) -> bool:
    """Whether exactly the rules that should be there are there, and nothing learnt is left in the main table."""
    return set(rtnl.rules(net, ROUTE_PROTOCOL, _OURS)) == set(_wanted(management)) and not any(_left_over(net))


def prepare(net: Netlink, management: Iterable[Prefix]) -> None:
    """Make it so. Additions come first: no packet is without a way meanwhile."""
    wanted, there = list(_wanted(management)), set(rtnl.rules(net, ROUTE_PROTOCOL, _OURS))
    for rule in wanted:
        if rule not in there:
            rtnl.add_rule(net, rule, ROUTE_PROTOCOL)
    for rule in there - set(wanted):
        rtnl.delete_rule(net, rule, ROUTE_PROTOCOL)
    for route in _left_over(net):
        rtnl.delete_route(net, route.prefix, _BIRD, _OLD_METRIC)


def remove(net: Netlink) -> None:
    """Take the rules and what was learnt away: the end of a PoP."""
    for rule in rtnl.rules(net, ROUTE_PROTOCOL, _OURS):
        rtnl.delete_rule(net, rule, ROUTE_PROTOCOL)
    for route in rtnl.routes(net, _BIRD, LEARNT_TABLE):
        rtnl.delete_route(net, route.prefix, _BIRD, route.metric, LEARNT_TABLE)


def _wanted(management: Iterable[Prefix]) -> Iterator[Rule]:
    for version in (4, 6) if _IPV6.exists() else (4,):
        first, last = LEARNT_PREFERENCE, LEARNT_LAST_PREFERENCE
        yield Rule(version=version, preference=first, table=MAIN_TABLE, forwarded=True, no_default=True)
        yield Rule(version=version, preference=first + 1, table=LEARNT_TABLE, forwarded=True)
        yield Rule(version=version, preference=first + 2, table=LEARNT_TABLE, mark=PING_MARK)
        for prefix in management:
            if prefix.version == version:
                yield Rule(version=version, preference=last, to=prefix)
        yield Rule(version=version, preference=last + 1, table=LEARNT_TABLE)


def _left_over(net: Netlink) -> Iterator[rtnl.Route]:
    """Routes in the main table by an earlier version, once the speaker has filled the new one."""
    old = [route for route in rtnl.routes(net, _BIRD) if route.metric == _OLD_METRIC]
    if old:
        filled = {route.prefix.version for route in rtnl.routes(net, _BIRD, LEARNT_TABLE)}
        yield from (route for route in old if route.prefix.version in filled)
