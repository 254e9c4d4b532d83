"""Network policies resolved: whose policies apply to which instance, and which addresses their selectors mean now.

In: the policies of a stack, and its instances with their labels, hosts and addresses. Out: each host's `HostRules`.
Selectors see instances of their own stack alone, so no policy can open or read another tenant's. The work follows the
stack: its policies times the kinds of its instances, and once through its instances. Pure.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from anypop.model.allocation import Pin
from anypop.model.announce import Address
from anypop.model.names import HostName, StackId, WorkloadId
from anypop.model.order import Removal
from anypop.model.plan import Incarnation
from anypop.model.policy import (
    AddressGroup,
    HostPolicy,
    HostRule,
    HostRules,
    LabelSelector,
    NetworkPolicy,
    Operator,
    Peers,
    PolicyRule,
    Ruling,
    at_interface,
)
from anypop.model.stack_network import StackNetwork, labels_of
from anypop.model.subnets import Interface
from anypop.model.workload import Workload
from anypop.plan import following
from anypop.plan.fields import instance_labels
from anypop.plan.ground import Ground
from anypop.plan.sites import Site

Labels = Mapping[str, str]
DEFAULT: Labels = labels_of("default", None)


class Networks:
    """The labels of networks, one object for each."""

    def __init__(self, declared: Iterable[StackNetwork]) -> None:
        self._known: dict[tuple[StackId, str], Labels] = {(n.stack_id, n.slug): labels_of(n.slug, n) for n in declared}

    def of(self, stack_id: StackId, slug: str) -> Labels:
        key = stack_id, slug
        if key not in self._known:
            self._known[key] = labels_of(slug, None)
        return self._known[key]


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One interface of an incarnation of a stack, also of one that is leaving. `labels`, and those of its `network`,
    are one object for all that have the same.
    """

    uid: str
    interface: int = 0
    host: HostName
    labels: Labels
    addresses: tuple[Address, ...]
    network: Labels = field(default_factory=lambda: DEFAULT)

    @property
    def kind(self) -> tuple[int, int]:
        """The same for all that policies cannot tell apart."""
        return id(self.labels), id(self.network)


def rules_of_stack(policies: Iterable[NetworkPolicy], members: Sequence[Member]) -> dict[HostName, HostRules]:
    """What each host of the stack's instances holds. A host to whose instances nothing applies has no entry."""
    turn = sorted(policies, key=lambda p: (p.priority, p.created_at, p.id))
    kinds = {m.kind: (m.labels, m.network) for m in members}
    applied = {key: tuple(p.id for p in turn if _applies(p, *labels)) for key, labels in kinds.items()}
    held = {p.id: _held(p) for p in turn}
    groups: dict[str, AddressGroup] = {}
    for policy in turn:
        for rule in policy.rules:
            if (name := _group_of(policy.stack_id, rule.peers)) and name not in groups:
                fits = {key for key, labels in kinds.items() if _fits_peers(rule.peers, *labels)}
                addresses = {a for m in members if m.kind in fits for a in m.addresses}
                groups[name] = AddressGroup(name=name, addresses=tuple(sorted(addresses, key=_turn_of)))
    on: defaultdict[HostName, defaultdict[tuple[str, ...], list[str]]] = defaultdict(lambda: defaultdict(list))
    for member in members:
        if ids := applied[member.kind]:
            on[member.host][ids].append(at_interface(member.uid, member.interface))
    found = {}
    for host, rulings in on.items():
        used = {policy for ids in rulings for policy in ids}
        mine = tuple(held[p.id] for p in turn if p.id in used)
        names = sorted({r.group for p in mine for r in (*p.ingress, *p.egress) if r.group})
        found[host] = HostRules(
            policies=mine,
            rulings=tuple(Ruling(policies=ids, uids=tuple(sorted(uids))) for ids, uids in sorted(rulings.items())),
            groups=tuple(groups[name] for name in names),
        )
    return found


def joined(parts: Iterable[HostRules]) -> HostRules:
    """Those of several stacks on one host. They have nothing in common."""
    found = list(parts)
    if len(found) == 1:
        return found[0]
    return HostRules(
        policies=tuple(policy for part in found for policy in part.policies),
        rulings=tuple(ruling for part in found for ruling in part.rulings),
        groups=tuple(sorted((group for part in found for group in part.groups), key=lambda g: g.name)),
    )


def members_of(
    ground: Ground,
    sites: Mapping[HostName, Site],
    workload: WorkloadId,
    *,
    networks: Networks,
    kept: Iterable[Incarnation],
    removals: Iterable[tuple[HostName, Removal]],
) -> list[Member]:
    """The instances of a workload, those that leave included: they serve until their flows are over, and are guarded to
    the last. What leaves is known by the labels of the newest revision.
    """
    newest = ground.workload(workload)
    if newest is None:
        return []
    known: dict[tuple[str, int], Labels] = {}

    def labels(target: str, of: Workload) -> Labels:
        key = target, of.revision
        if key not in known:
            known[key] = instance_labels(target, of)
        return known[key]

    pins = ground.pins_of(workload) if newest.assignments else {}
    places: list[tuple[Incarnation | Removal, HostName, tuple[int, ...], str, Workload]] = [
        (i, i.host, i.links, i.target, ground.revision(workload, i.revision) or newest) for i in kept
    ]
    places += [
        (r, host, r.links or (-1,), r.target, ground.revision(workload, r.revision) or newest) for host, r in removals
    ]
    return [
        Member(
            uid=one.uid,
            interface=n,
            host=host,
            labels=labels(target, made_from),
            addresses=_addresses(
                sites[host],
                one.index if n == 0 and made_from.external else None,
                link,
                interface,
                pins.get(one.name) if n == 0 else None,
            ),
            network=networks.of(newest.stack_id, interface.network),
        )
        for one, host, links, target, made_from in places
        if host in sites
        for n, (interface, link) in enumerate(zip(made_from.interfaces, links, strict=False))
    ]


def whole(
    ground: Ground,
    sites: Mapping[HostName, Site],
    policies: Iterable[NetworkPolicy],
    *,
    networks: Iterable[StackNetwork],
    workloads: Iterable[WorkloadId],
    kept: Callable[[WorkloadId], Iterable[Incarnation]],
    removals: Callable[[WorkloadId], Iterable[tuple[HostName, Removal]]],
) -> dict[HostName, HostRules]:
    """All stacks at once: what each host holds."""
    by_stack: defaultdict[StackId, list[NetworkPolicy]] = defaultdict(list)
    for policy in policies:
        by_stack[policy.stack_id].append(policy)
    members: defaultdict[StackId, list[Member]] = defaultdict(list)
    named = Networks(networks)
    for workload in workloads:
        declared = ground.workload(workload)
        if declared is not None and declared.stack_id in by_stack:
            members[declared.stack_id] += members_of(
                ground, sites, workload, networks=named, kept=kept(workload), removals=removals(workload)
            )
    parts: defaultdict[HostName, list[HostRules]] = defaultdict(list)
    for stack in sorted(by_stack):
        for host, rules in rules_of_stack(by_stack[stack], members[stack]).items():
            parts[host].append(rules)
    return {host: joined(found) for host, found in parts.items()}


def selects(selectors: Iterable[LabelSelector], labels: Labels) -> bool:
    """Whether all of them hold."""
    return all(_holds(selector, labels) for selector in selectors)


def _holds(selector: LabelSelector, labels: Labels) -> bool:
    value = labels.get(selector.key)
    match selector.operator:
        case Operator.IN:
            return value is not None and value in selector.values
        case Operator.NOT_IN:
            return value is None or value not in selector.values
        case Operator.EXISTS:
            return value is not None
        case _:
            return value is None


def _applies(policy: NetworkPolicy, labels: Labels, network: Labels) -> bool:
    return selects(policy.networks, network) and selects(policy.instances, labels)


def _fits_peers(peers: Peers, labels: Labels, network: Labels) -> bool:
    return selects(peers.networks or (), network) and selects(peers.instances or (), labels)


def _held(policy: NetworkPolicy) -> HostPolicy:
    def held(rule: PolicyRule) -> HostRule:
        return HostRule(
            action=rule.action,
            everybody=rule.peers.everybody,
            ranges=rule.peers.ranges,
            group=_group_of(policy.stack_id, rule.peers),
            traffic=rule.traffic,
        )

    return HostPolicy(id=policy.id, ingress=tuple(map(held, policy.ingress)), egress=tuple(map(held, policy.egress)))


def _group_of(stack_id: StackId, peers: Peers) -> str:
    """The name of the group that selectors make in a stack; empty where there are none."""
    if peers.instances is None and peers.networks is None:
        return ""
    text = repr((stack_id, peers.instances, peers.networks))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _addresses(site: Site, index: int | None, link: int, interface: Interface, pin: Pin | None) -> tuple[Address, ...]:
    """Its own: an anycast address is not one instance's. `pin`: what its slot claims."""
    if link < 0 or (index is not None and index < 0):
        return ()
    found = site.numbers.on_link(index, link, interface.families)
    if pin is not None and index is not None:
        found = following.as_claimed(found, pin, site.host.name, index)
    own = (a for one in found for a in (one.private, one.external) if a is not None)
    beside = following.beside(pin) if pin is not None else ()
    return (*own, *site.numbers.in_subnets(interface.vpc, link).values(), *beside)


def _turn_of(address: Address) -> tuple[int, int]:
    return address.version, int(address)
