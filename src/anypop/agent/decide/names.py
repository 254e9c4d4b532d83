"""What the resolver of this host is to know, from the order and from what is seen of those who are named. Pure.

In: facts. Out: who may ask, by link, and the names of their domains: how far away each instance is, and whether it
serves. Of instances here the agent knows; one elsewhere serves as long as its host tells that its link is there and
does not tell that it is unwell; both are heard within a blink, of that host's death as well. Without a backbone nobody
tells, and all count.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from anypop.agent.decide.facts import Facts
from anypop.agent.naming import link_of
from anypop.agent.resolver.wanted import Around, Asker, Called, CalledInstance, CalledWorkload
from anypop.model.announce import Address
from anypop.model.confinement import PUBLIC_RESOLVERS
from anypop.model.names import CityCode, InstanceName, host_label
from anypop.model.order import InstanceOrder, Order
from anypop.model.stack_names import DOMAIN, NamedInstance, NamedWorkload

HERE, NEAR = 0, 1
"""How far away one is: on this host, in this PoP; elsewhere it is behind that by kilometres."""

_NOBODY = "nobody.invalid"


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """See the module."""

    around: Around
    domains: tuple[Called, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """All of the facts that names follow from: while these are the same, so are the names. `present`: addresses of
    others that are heard of and serve; None: nobody tells.
    """

    order: Order
    leaving: tuple[str, ...]
    serving: Mapping[Address, bool]
    present: frozenset[Address] | None


def seen_by(facts: Facts) -> Seen:
    serving = {at: facts.serves(i) for i in facts.staying for a in i.addresses() for at in (a.private, a.known)}
    leaving = (x.removal.uid for x in facts.observed.leaving if x.instance is not None)
    return Seen(
        order=facts.order,
        leaving=tuple(leaving),
        serving=serving,
        present=frozenset(a for a, s in facts.siblings.items() if s.well) if facts.has_tunnel else None,
    )


def names_for(facts: Facts, seen: Seen) -> Names:
    order, instances = facts.order, list(facts.known.values())
    workloads: defaultdict[str, list[NamedWorkload]] = defaultdict(list)
    for one in order.names:
        workloads[one.domain].append(one)
    slugs = {(one.id, one.network): one.slug for one in order.names}
    suffixes = {_names_of(i): i.hosts_domain for i in instances if i.domain}
    joined = {_names_of(i): i.domains for i in instances}
    away = away_of(order)
    return Names(
        around=Around(
            askers={
                link_of(i.uid): _asker(i, order.pop, slugs.get((i.workload_id, i.links[0].network))) for i in instances
            },
            upstreams=upstreams_of(order),
        ),
        domains=tuple(
            Called(
                domain=domain,
                suffix=suffixes[domain] or _NOBODY,
                workloads=tuple(_workload(one, seen, away) for one in _known_in(joined[domain], workloads)),
            )
            for domain in sorted(suffixes)
        ),
    )


def _names_of(instance: InstanceOrder) -> str:
    """What the names that an instance knows are kept under: its domain, or all of them, the first one first."""
    return "+".join(instance.domains)


def _known_in(
    domains: Sequence[str], workloads: Mapping[str, Sequence[NamedWorkload]]
) -> Iterator[NamedWorkload]:  # fmt: skip
    """The names of these. Beyond the first one at addresses in subnets, which alone lead over another interface; who is
    in several is known in the first of them.
    """
    met: set[InstanceName] = set()
    for n, domain in enumerate(domains):
        there = workloads.get(domain, ())
        yield from there if n == 0 else (_inside(one, met) for one in there)
        met |= {i.name for one in there for i in one.instances}


def _inside(one: NamedWorkload, met: Collection[InstanceName]) -> NamedWorkload:
    """At addresses in subnets, without those that are known already."""
    reached = (replace(i, addresses=i.inside) for i in one.instances if i.inside and i.name not in met)
    return replace(one, instances=tuple(reached))


def upstreams_of(order: Order) -> tuple[str, ...] | None:
    """Whom this host asks for all other names; None: as it does itself. What an operator named as the name servers of
    instances, before hosts had resolvers, is asked by the host now.
    """
    if order.resolvers is not None:
        return tuple(map(str, order.resolvers))
    older = order.rules.nameservers
    return None if older == PUBLIC_RESOLVERS else tuple(map(str, older))


def away_of(order: Order) -> Mapping[CityCode, int]:
    """How far each PoP is; of one that is not told, behind all others."""
    peers = order.backbone.peers if order.backbone is not None else ()
    found = {order.pop: NEAR}
    for peer in peers:
        found.setdefault(peer.pop, NEAR + 1 + min(peer.distance_km, 30_000))
    return found


def _asker(instance: InstanceOrder, pop: CityCode, workload: str | None) -> Asker:
    private = tuple(str(a.private) for a in instance.links[0].addresses)
    external = tuple(map(str, instance.externals()))
    anycast = tuple(map(str, instance.anycast))
    return Asker(
        domain=_names_of(instance),
        name=host_label(instance.name),
        own=(*private, *external, *anycast),
        private=private,
        external=external,
        about=tuple(_about(instance, pop, workload)),
    )


def _about(instance: InstanceOrder, pop: CityCode, workload: str | None) -> Iterator[tuple[str, str]]:
    yield "name", instance.name
    yield "city", pop
    yield from (("network", link.network) for link in instance.links)
    if workload:
        yield "workload", workload
    if instance.hosts_domain:
        yield "stack", instance.hosts_domain.removesuffix(f".{DOMAIN}")
    for key, values in (
        ("ip", [a.known for a in instance.addresses()]),
        ("external-ip", list(instance.externals())),
        ("anycast-ip", list(instance.anycast)),
    ):
        yield from ((key, str(value)) for value in values)


def _workload(one: NamedWorkload, seen: Seen, away: Mapping[CityCode, int]) -> CalledWorkload:
    return CalledWorkload(
        slug=one.slug,
        ports=tuple((port.name, port.protocol.lower(), port.port) for port in one.ports),
        instances=tuple(_instance(each, seen, away) for each in one.instances),
    )


def _instance(one: NamedInstance, seen: Seen, away: Mapping[CityCode, int]) -> CalledInstance:
    first = one.addresses[0]
    here = seen.serving.get(first)
    present = seen.present is None or any(a in seen.present for a in one.addresses)
    return CalledInstance(
        name=one.name,
        addresses=tuple(map(str, one.addresses)),
        away=HERE if here is not None else away.get(one.pop, NEAR + 30_002),
        serves=here if here is not None else present,
    )
