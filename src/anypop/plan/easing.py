"""Easing: what a drain makes of an announcement's scope while it stands over it.

In: the scope that the rules give, the way (PoP, host, upstream), and the drains there. Out: the scope as it is told.
The most cautious reading of all wins, as where rules meet: withheld before lowered, the most prepends, communities
united. What would raise a route above the lowest preference is left out while it is to be low. Pure.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from anypop.model.announce import GRACEFUL_SHUTDOWN, AnyCommunity, Mode, Prefix, Scope
from anypop.model.drain import Drain, Level
from anypop.model.names import CityCode, HostName
from anypop.model.network import Upstream
from anypop.model.scopes import with_communities, without_communities
from anypop.plan.drain import concerns, level_at

# Most paths are 3 to 6 ASes long: three more lose against nearly all of them, one or two against most.
PREPENDS = {Level.PREPENDED: 2, Level.LOWERED: 3}


def standing_over(
    drains: Iterable[Drain], pop: CityCode, host: HostName, upstream: str, prefix: Prefix
) -> tuple[Level, tuple[Drain, ...]]:
    """The drains that stand over a way, and the most cautious level of them."""
    found = tuple(d for d in drains if d.active and concerns(d, pop, host, upstream))
    return max((level_at(d, prefix) for d in found), default=Level.PLAIN), found


def eased(scope: Scope, level: Level, upstream: Upstream, drains: Sequence[Drain], *, shared: bool = False) -> Scope:
    """The scope of one announcement at a level. `shared`: others beyond an edge router hear the same communities, so
    only those that are meant for this upstream may be among them.
    """
    if level is Level.PLAIN or scope.mode is Mode.WITHHOLD:
        return scope
    if level is Level.WITHHELD:
        return replace(scope, mode=Mode.WITHHOLD)
    eased_scope = replace(scope, prepend=max(scope.prepend, PREPENDS[level]))
    if level is not Level.LOWERED:
        return eased_scope
    low = lows_of(drains, upstream.asn)
    own = {c for c in scope.every_community if c not in low[1:]}
    asked = {*own, *low[:1], *(() if shared else (GRACEFUL_SHUTDOWN,))}
    return with_communities(without_communities(eased_scope), sorted(asked))


def lows_of(drains: Iterable[Drain], asn: int) -> tuple[AnyCommunity, ...]:
    """What is known of a network's preferences: the community of the lowest first, then those of all others."""
    return next((found for d in drains for number, found in d.lows if number == asn and found), ())
