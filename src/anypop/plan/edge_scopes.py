"""Scopes across an edge router: what a host tells it, so that each of its upstreams hears what was meant for that one.

In: the scope of a prefix towards each upstream of a PoP's edge router. Out: the one scope that a host attaches on its
session with it; and back again, what the edge router makes of that for one upstream. Pure.

Conditions that are the same for all pass through the edge router as they are. What differs is told by large
communities in our own AS number, which it obeys and does not pass on (docs/hosts.md): `OWN:0:N` not to AS N, `OWN:K:N`
K prepends towards AS N. Communities are united, as everywhere where several rules meet: each has its meaning in one
network alone, and the well-known ones ask for caution.
"""

from collections.abc import Iterable, Iterator

from anypop.model.announce import Announcement, LargeCommunity, Mode, Scope
from anypop.model.names import HostName
from anypop.model.network import Network, Upstream, UpstreamKind

MOST_PREPENDS = 8  # that a community of ours can ask for: as many as a scope has at most
WITHHELD = Scope(mode=Mode.WITHHOLD)


def towards_edge(asn: int, wanted: Iterable[tuple[Upstream, Scope]]) -> Scope:
    """What a host attaches. `asn`: our own. Without any upstream: announce plainly."""
    scopes = tuple(wanted)
    told = [scope for _, scope in scopes if scope.mode is Mode.ANNOUNCE]
    if scopes and not told:
        return WITHHELD
    prepend = min((scope.prepend for scope in told), default=0)
    marks: set[LargeCommunity] = {(asn, 0, upstream.asn) for upstream, scope in scopes if scope.mode is Mode.WITHHOLD}
    marks |= {
        (asn, scope.prepend - prepend, u.asn)
        for u, scope in scopes
        if scope.mode is Mode.ANNOUNCE and scope.prepend > prepend
    }
    return Scope(
        prepend=prepend,
        communities=tuple(sorted({c for scope in told for c in scope.communities})),
        large_communities=tuple(sorted({c for scope in told for c in scope.large_communities} | marks)),
        extended_communities=tuple(sorted({c for scope in told for c in scope.extended_communities})),
    )


def beyond_edge(asn: int, scope: Scope, upstream: Upstream) -> Scope:
    """What the edge router tells `upstream` of a prefix that a host gave this scope."""
    asked = {kind for own, kind, whom in scope.large_communities if (own, whom) == (asn, upstream.asn)}
    if scope.mode is Mode.WITHHOLD or 0 in asked:
        return WITHHELD
    return Scope(
        prepend=scope.prepend + sum(asked),
        communities=scope.communities,
        large_communities=tuple(c for c in scope.large_communities if not (c[0] == asn and c[1] <= MOST_PREPENDS)),
        extended_communities=scope.extended_communities,
    )


def heard(network: Network, host: HostName, told: Announcement) -> Iterator[tuple[Upstream, Scope]]:
    """Who in other networks hears what a host announces, and with which scope."""
    for pop, site in network.hosts():
        if site.name != host:
            continue
        for upstream in site.upstreams:
            if upstream.name != told.upstream:
                continue
            if upstream.kind is not UpstreamKind.EDGE or not pop.edge:
                yield upstream, told.scope
            else:
                yield from (
                    (u, beyond_edge(network.asn, told.scope, u)) for u in pop.edge if u.has_session(told.prefix.version)
                )
