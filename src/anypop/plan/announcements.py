"""Announcements: which prefix each host tells which upstream, and how far it may go.

In: the network, the incarnations, the anycast table and the operator's rules. Out: the announcements of each host,
and a note where a PoP has instances and must stay silent. Whether a gate is open is decided on the host, by local
evidence, not here. A prefix that the backbone carries is announced by every PoP that the operator lets, whoever stands
there.

How rules meet: a prefix goes out once, for all workloads in it. Of their rules for a PoP and an upstream WITHHOLD
wins, prepends are as many as the highest asks for, and communities are united: the most cautious reading of each.
Drains are laid over that (`easing`).
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import NamedTuple

from anypop.model.announce import Address, Announcement, Mode, Prefix, Scope, ScopeRule
from anypop.model.drain import Drain, DrainKind, Level
from anypop.model.names import CityCode, HostName, WorkloadId
from anypop.model.network import Host, Pop, Upstream, UpstreamKind
from anypop.model.plan import AnycastAddress, Homes, PlanNote
from anypop.model.reasons import Reason
from anypop.plan.easing import eased, standing_over
from anypop.plan.edge_scopes import towards_edge
from anypop.plan.ground import Ground
from anypop.plan.sites import Sites

_Gates = list[tuple[WorkloadId, Address]]
_Rules = Mapping[tuple[CityCode, str], list[ScopeRule]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A covering prefix as it is announced: what each host tells, where it must stay silent, and whether its addresses
    are carried.
    """

    hosts: Mapping[HostName, tuple[Announcement, ...]] = field(default_factory=dict)
    notes: tuple[PlanNote, ...] = ()
    carried: bool = False


class Outside(NamedTuple):
    """Public addresses of a host's instances: `places`, by family and index; `kept`: those that follow from no index
    there, since they followed their slots, or stand beside others.
    """

    places: list[tuple[int, int]]
    kept: list[Address]


def order_of(prefix: Prefix) -> tuple[int, Prefix]:
    """The order of covering prefixes on a host: IPv4 first."""
    return prefix.version, prefix


def own(
    pop: Pop,
    host: Host,
    outside: Outside,
    drains: Iterable[Drain] = (),
    *,
    tunnels: bool,
) -> Iterator[Announcement]:
    """A host's own external prefixes; towards an edge router the external addresses in use, one by one (`outside`).
    `tunnels`: there is a backbone, so its end of the tunnels is in use as well.
    `drains`: of the PoP. Those of an upstream hold for them too, while another session tells them; nobody else can
    answer for them, so no other drain takes them.
    """
    used = sorted(set(outside.places))
    gone = [d for d in drains if d.active and d.kind is DrainKind.UPSTREAM]
    for whole in (host.external4, host.external6):
        ways = [u for u in host.upstreams if u.has_session(whole.version)]
        stays = any(standing_over(gone, pop.city, host.name, u.name, whole)[0] < Level.WITHHELD for u in ways)
        for upstream in ways:
            if upstream.kind is not UpstreamKind.EDGE:
                level, over = standing_over(gone, pop.city, host.name, upstream.name, whole)
                scope = eased(Scope(), level if stays else min(level, Level.LOWERED), upstream, over)
                yield Announcement(prefix=whole, upstream=upstream.name, scope=scope, drains=bool(over))
                continue
            if tunnels and host.tunnel_address in whole:
                yield Announcement(prefix=ip_network(host.tunnel_address), upstream=upstream.name, scope=Scope())
            for index in (index for version, index in used if version == whole.version):
                yield Announcement(prefix=ip_network(whole[1 + index]), upstream=upstream.name, scope=Scope())
            for address in (a for a in dict.fromkeys(outside.kept) if a.version == whole.version):
                yield Announcement(prefix=ip_network(address), upstream=upstream.name, scope=Scope())


def told_of(
    ground: Ground, sites: Sites, prefix: Prefix, tenants: Iterable[AnycastAddress], homes: Mapping[WorkloadId, Homes]
) -> Told:
    """A covering prefix on all hosts. `tenants`: who has an address in it; `homes`: of each of them.

    Towards the PoP's own edge router a host tells each address that it holds, since the edge router spreads over
    hosts by them; towards other networks whole prefixes.
    """
    tenants = tuple(tenants)
    carried = is_carried(ground, sites, tenants)
    gates = _gates(ground, prefix, tenants, homes)
    rules: dict[tuple[CityCode, str], list[ScopeRule]] = defaultdict(list)
    for workload, _ in gates:
        for rule in ground.rules_of(workload):
            rules[rule.pop, rule.upstream].append(rule)
    found: dict[HostName, tuple[Announcement, ...]] = {}
    notes: list[PlanNote] = []
    stands = {city for workload, _ in gates for city in homes[workload].pops if city in sites.pops}
    # one tuple for all hosts: whoever works on it later (judge, orders, their text) sees that it is the same
    every = tuple(address for _, address in gates) if carried else ()
    held: dict[HostName, _Gates] = defaultdict(list)
    for workload, address in gates:
        for name in homes[workload].hosts:
            held[name].append((workload, address))
    for city in sites.pops if carried and gates else sorted(stands, key=sites.ranks.__getitem__):
        told = False
        pop, drains = sites.pops[city], tuple(ground.drains_at(city))
        if not sites.may_announce(prefix, city):
            notes += [] if carried else _kept_back(ground, prefix, city, gates, homes)
            continue
        for host in pop.hosts:
            if announced := tuple(
                _of_prefix(
                    pop,
                    host,
                    prefix,
                    gates,
                    every=every,
                    mine=held.get(host.name, ()),
                    asn=sites.network.asn,
                    rules=rules,
                    homes=homes,
                    drains=drains,
                )
            ):
                found[host.name] = announced
                told = True
        if not told and not carried:
            slugs = {w: known.slug for w, _ in gates if (known := ground.workload(w)) is not None}
            here = [w for w, _ in gates if city in homes[w].pops]
            absent = ", ".join(slugs[w] for w, _ in gates if city not in homes[w].pops) or "another workload"
            detail = f"{prefix} not announced at {city}: {absent} has no instance there"
            notes += [PlanNote(subject=slugs[w], reason=Reason.SHARED_PREFIX, detail=detail) for w in here]
    return Told(hosts=found, notes=tuple(notes), carried=carried)


def is_carried(ground: Ground, sites: Sites, tenants: Iterable[AnycastAddress]) -> bool:
    """Whether hosts carry the addresses of a covering prefix for each other: where there is a backbone, and somebody in
    the prefix who does not want to be served locally alone.
    """
    if not sites.backbones:
        return False
    known = (ground.workload(held.workload_id) for held in tenants)
    return any(workload is not None and not workload.local_only for workload in known)


def _kept_back(
    ground: Ground, prefix: Prefix, city: CityCode, gates: _Gates, homes: Mapping[WorkloadId, Homes]
) -> Iterator[PlanNote]:
    """Who has an instance in a PoP that the operator does not let announce the prefix."""
    for workload, _ in gates:
        known = ground.workload(workload)
        if known is not None and city in homes[workload].pops:
            detail = f"{prefix} not announced at {city}: the operator's policy names other PoPs"
            yield PlanNote(subject=known.slug, reason=Reason.WITHHELD, detail=detail)


def merged(rules: Iterable[ScopeRule]) -> Scope:
    """One scope for a prefix out of the rules of all workloads in it. No rules: announce plainly."""
    scopes = [rule.scope for rule in rules]
    return Scope(
        mode=Mode.WITHHOLD if any(s.mode is Mode.WITHHOLD for s in scopes) else Mode.ANNOUNCE,
        prepend=max((s.prepend for s in scopes), default=0),
        communities=tuple(sorted({c for s in scopes for c in s.communities})),
        large_communities=tuple(sorted({c for s in scopes for c in s.large_communities})),
        extended_communities=tuple(sorted({c for s in scopes for c in s.extended_communities})),
    )


def _of_prefix(
    pop: Pop,
    host: Host,
    prefix: Prefix,
    gates: _Gates,
    *,
    every: tuple[Address, ...],
    mine: Sequence[tuple[WorkloadId, Address]],
    asn: int,
    rules: _Rules,
    homes: Mapping[WorkloadId, Homes],
    drains: Sequence[Drain],
) -> Iterator[Announcement]:
    """A covering prefix as one host tells it. To another network only where every address of the prefix has an instance
    on this host (`mine`), for it draws the traffic of all; to the PoP's edge router where each has one in this PoP. One
    that is carried it tells in any case, with all its addresses (`every`) as gates; an edge router then hears of each
    address, too.
    """
    for upstream in host.upstreams:
        if not upstream.has_session(prefix.version) or not (mine or every):
            continue
        edge = upstream.kind is UpstreamKind.EDGE
        if not every and len(mine) < len(gates) and not (edge and all(pop.city in homes[w].pops for w, _ in gates)):
            continue
        scope, drained = _scope(pop, host, upstream, prefix, rules=rules, asn=asn, drains=drains)
        held = every or tuple(a for _, a in mine)
        yield Announcement(prefix=prefix, upstream=upstream.name, scope=scope, gates=held, drains=drained)
        if edge:
            # which host of the PoP answers: who has an instance is preferred to who would carry the address to one;
            # what the PoP is told by is the prefix, so only a drain of the host counts here
            level, over = standing_over(
                (d for d in drains if d.kind is DrainKind.HOST), pop.city, host.name, upstream.name, prefix
            )
            for one in gates if every else mine:
                scope = Scope(prepend=0 if one in mine else 1)
                yield Announcement(
                    prefix=ip_network(one[1]),
                    upstream=upstream.name,
                    scope=eased(scope, min(level, Level.LOWERED), upstream, over),
                    gates=(one[1],),
                    drains=bool(over),
                )


def _scope(
    pop: Pop, host: Host, upstream: Upstream, prefix: Prefix, *, rules: _Rules, asn: int, drains: Sequence[Drain]
) -> tuple[Scope, bool]:
    """Of a covering prefix on one session of a host, and whether a drain stands over it. Rules and drains name
    upstreams of the PoP, also those beyond its edge router.
    """

    def asked(name: str) -> Scope:
        return merged(rules.get((pop.city, name), ()))

    if upstream.kind is not UpstreamKind.EDGE or not pop.edge:
        level, over = standing_over(drains, pop.city, host.name, upstream.name, prefix)
        return eased(asked(upstream.name), level, upstream, over), bool(over)
    beyond = []
    for one in pop.edge:
        level, over = standing_over(drains, pop.city, host.name, one.name, prefix)
        alone = all(d.kind is DrainKind.UPSTREAM for d in over)
        beyond.append((one, eased(asked(one.name), level, one, over, shared=alone), bool(over)))
    scope = towards_edge(asn, ((one, eased_scope) for one, eased_scope, _ in beyond))
    return scope, any(drained for _, _, drained in beyond)


def _gates(
    ground: Ground, prefix: Prefix, tenants: Iterable[AnycastAddress], homes: Mapping[WorkloadId, Homes]
) -> _Gates:
    """The addresses in use of a covering prefix. A workload without any instance has no say: it must not silence the
    others.
    """
    found: _Gates = []
    for held in sorted(tenants, key=lambda held: held.address4):
        workload = ground.workload(held.workload_id)
        if workload is None or workload.deleting or not homes[held.workload_id].pops:
            continue
        if prefix.version == 4:
            found.append((workload.id, held.address4))
        elif workload.dual_stack:
            found.append((workload.id, held.address6))
    return found
