"""The checker: may this plan go out?

Stands between `plan` and `order_for`. In: a plan, the slots there were before, and the workloads whose loss a person
asked for. Out: nothing, or `Unsafe` with every objection, the numbers and the way out. It knows nothing of how the
plan was made and repairs nothing: what it finds beside losses would be a bug of the planner, or a network file that
no longer holds what was given out of it.
"""

from collections import defaultdict
from collections.abc import Collection, Container, Iterable, Iterator, Mapping

from anypop.model.announce import Address, Announcement, Prefix
from anypop.model.errors import Problem
from anypop.model.names import CityCode, HostName, WorkloadId
from anypop.model.network import Pop, UpstreamKind
from anypop.model.plan import Incarnation, Plan
from anypop.model.reasons import Reason
from anypop.plan.sites import Sites


class Unsafe(Exception):  # noqa: N818 - it reads as a verdict where it is raised
    """The plan would do damage that nobody asked for. Nothing of it was carried out. Carries all objections."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(p) for p in self.problems))


def check(plan: Plan, before: tuple[Incarnation, ...], *, confirmed: frozenset[WorkloadId] = frozenset()) -> None:
    """Raises `Unsafe` when `plan` loses too much or contradicts itself. `confirmed`: workloads that a person deleted or
    shrank.
    """
    sites = Sites.of(plan.network)
    problems = [*_losses(plan, before, confirmed), *_silenced(plan, before, confirmed), *contradictions(plan, sites)]
    if problems:
        raise Unsafe(problems)


def contradictions(plan: Plan, sites: Sites) -> Iterator[Problem]:
    """What a plan says twice, or of what is not ours. Of a part of a plan: within that part."""
    yield from _owners(plan)
    yield from _strangers(plan, sites)
    yield from _prefixes(plan, sites)


def _losses(plan: Plan, before: tuple[Incarnation, ...], confirmed: frozenset[WorkloadId]) -> Iterator[Problem]:
    """Of what nobody asked to take away: more than a third of everything or of a PoP, or all that a workload has."""
    still = {i.slot for i in plan.incarnations}  # a slot that changes its incarnation is not lost
    had: dict[tuple[str, str], int] = defaultdict(int)
    lost: dict[tuple[str, str], list[WorkloadId]] = defaultdict(list)
    for slot, pop in {i.slot: i.pop for i in before}.items():
        workload_id = slot[0]
        if workload_id in confirmed:
            continue
        for scope in (("", ""), ("PoP", pop), ("workload", workload_id)):
            had[scope] += 1
            if slot not in still:
                lost[scope].append(workload_id)
    yield from too_much(lost, had)


def too_much(lost: Mapping[tuple[str, str], list[WorkloadId]], had: Mapping[tuple[str, str], int]) -> Iterator[Problem]:
    """Losses that are too large. `lost`: by scope (everything, a PoP, a workload) whose instances; `had`: how many
    there were.
    """
    for kind, name in sorted(lost):
        gone, of = lost[kind, name], had[kind, name]
        if len(gone) <= (of - 1 if kind == "workload" else of // 3):
            continue
        whose = ", ".join(sorted(set(gone))[:5])
        yield Problem(
            path=f"{kind} {name}".strip(),
            message=f"{len(gone)} of {of} instances would be taken down and nobody asked for that "
            f"(of workload {whose}); "
            "nothing was changed. If it is meant, delete or change the workload by name, or confirm the loss",
        )
        if not kind:
            return  # the rest would only say the same again


def _silenced(plan: Plan, before: tuple[Incarnation, ...], confirmed: frozenset[WorkloadId]) -> Iterator[Problem]:
    was, stays = _homes(before), _homes(plan.incarnations)
    tenants: dict[Prefix, list[WorkloadId]] = defaultdict(list)
    for entry in plan.anycast:
        if entry.workload_id in was:
            tenants[entry.prefix4].append(entry.workload_id)
    told = {(part.pop, a.prefix) for part in plan.hosts.values() for a in part.announcements}
    pops = {part.pop for part in plan.hosts.values()}
    for prefix, sharing in tenants.items():
        if prefix in plan.carried:
            continue  # who stays is announced whoever leaves
        here = {pop for pop, one in told if one == prefix}
        yield from silenced(
            prefix,
            {w: was[w] for w in sharing},
            {w: stays.get(w, frozenset()) for w in sharing},
            pops=pops,
            told=here,
            confirmed=confirmed,
        )


def silenced(
    prefix: Prefix,
    was: Mapping[WorkloadId, frozenset[CityCode]],
    stays: Mapping[WorkloadId, frozenset[CityCode]],
    *,
    pops: Container[CityCode],
    told: Container[CityCode],
    confirmed: frozenset[WorkloadId],
) -> Iterator[Problem]:
    """A PoP where a workload stays and is announced no longer, since another in its covering prefix has left that PoP.

    BGP tells only whole prefixes, so the one who stays would pay for the one who goes, and nobody asked it. `was`
    and `stays`: where all who share the prefix stood and stand. `told`: where it is announced.
    """
    shared = frozenset(pop for pop in frozenset.intersection(*was.values()) if pop in pops)
    for workload in was:
        lost = sorted(c for c in shared & stays[workload] if c not in told)
        gone = sorted(w for w in was if w != workload and not shared <= stays[w])
        # where nobody leaves, hosts of one PoP that do not share all addresses were silent before
        if lost and gone and workload not in confirmed:
            yield Problem(
                path=f"workload {workload}",
                message=f"would no longer be announced at {', '.join(lost)}, "
                f"since workload {', '.join(gone)} in the same "
                "covering prefix "
                f"{prefix} leaves; nothing was changed. Create that workload anew in its new cities, which gives it a "
                "prefix to "
                "suit, and delete the old one",
            )


def _homes(incarnations: tuple[Incarnation, ...]) -> dict[WorkloadId, frozenset[CityCode]]:
    homes: dict[WorkloadId, set[CityCode]] = defaultdict(set)
    for incarnation in incarnations:
        if incarnation.serves:
            homes[incarnation.workload_id].add(incarnation.pop)
    return {workload: frozenset(cities) for workload, cities in homes.items()}


def _owners(plan: Plan) -> Iterator[Problem]:
    """One address, one owner: private ones belong to an incarnation, external ones to a slot."""
    owner: dict[Address, str] = {}
    for host, part in plan.hosts.items():
        for order in part.instances:
            slot = f"{order.workload_id}/{order.name}"
            for address in order.addresses():
                for one, holder in (
                    (address.private, order.uid),
                    (address.gateway, order.uid),
                    (address.external, slot),
                ):
                    other = owner.setdefault(one, holder) if one is not None else holder
                    if other != holder:
                        yield Problem(
                            path=host, message=f"{one} would belong to both {other} and {holder} ({order.name})"
                        )
            for one in order.beside:
                if (other := owner.setdefault(one, slot)) != slot:
                    yield Problem(path=host, message=f"{one} would belong to both {other} and {slot}")
    for entry in plan.anycast:
        for one in (entry.address4, entry.address6):
            other = owner.setdefault(one, entry.workload_id)
            if other != entry.workload_id:
                yield Problem(
                    path="anycast", message=f"{one} would belong to both {other} and workload {entry.workload_id}"
                )
    # an incarnation that is going holds its slot's place together with the one that takes it over, and its own link
    # alone
    places: dict[tuple[HostName, int], object] = {
        (h, r.index): (r.workload_id, r.name) for h, r in plan.removals if r.index >= 0
    }
    links: dict[tuple[HostName, int], str] = {(h, link): r.uid for h, r in plan.removals for link in r.links}
    # one that keeps its private address waits until the one before it is gone
    gone = (entry for entry in plan.removals if entry[1].reason is Reason.REPLACED)
    handed = {(h, link): (r.workload_id, r.name) for h, r in gone for link in r.links}
    for incarnation in plan.incarnations:
        held = places.setdefault((incarnation.host, incarnation.index), incarnation.slot)
        if held != incarnation.slot:
            message = f"index {incarnation.index} would belong to both {held} and {incarnation.slot}"
            yield Problem(path=incarnation.host, message=message)
        for number in (incarnation.link, *incarnation.further):
            link = incarnation.host, number
            other = links.setdefault(link, incarnation.uid)
            if other != incarnation.uid and handed.get(link) != incarnation.slot:
                message = f"link {number} would belong to both {other} and {incarnation.uid} ({incarnation.name})"
                yield Problem(path=incarnation.host, message=message)


def _strangers(plan: Plan, sites: Sites) -> Iterator[Problem]:
    """Addresses outside the prefixes they should lie in."""
    for name, part in plan.hosts.items():
        if name not in sites.hosts:
            yield Problem(path=name, message="the network has no such host")
            continue
        host = sites.hosts[name].host
        ours: dict[int, tuple[Prefix, Prefix]] = {
            4: (host.private4, host.external4),
            6: (host.private6, host.external6),
        }
        for order in part.instances:
            for address in order.addresses():
                private, external = ours[address.private.version]
                outside = address.external is not None and address.external not in external
                if outside and any(address.external in p for p in external_of(sites.hosts[name].pop)):
                    outside = False  # one that is kept, and has followed its slot
                if address.private in private and address.gateway in private and not outside:
                    continue
                yield Problem(
                    path=name,
                    message=f"{order.name} has addresses outside the host's prefixes; did its prefixes shrink? "
                    "Give them back, or move the instance away first",
                )
                break
            for one in order.beside:
                if not any(one in prefix for prefix in external_of(sites.hosts[name].pop)):
                    yield Problem(path=name, message=f"{order.name} has {one}, which is of no host of its PoP")


def _prefixes(plan: Plan, sites: Sites) -> Iterator[Problem]:
    """What is announced must be ours, and hold the addresses it is announced for."""
    anycast = sites.covering
    for entry in plan.anycast:
        if entry.prefix4 not in anycast or entry.prefix6 not in anycast:
            yield Problem(
                path="anycast",
                message=f"{entry.prefix4} and {entry.prefix6} of workload {entry.workload_id} "
                "are no longer both in the "
                "network; "
                "put them back, or delete the workload first",
            )
        if entry.address4 not in entry.prefix4 or entry.address6 not in entry.prefix6:
            yield Problem(
                path="anycast", message=f"workload {entry.workload_id} has an address outside its covering prefix"
            )
    right: dict[int, Announcement] = {}  # by their gates, which hosts share
    for name, part in plan.hosts.items():
        host = sites.hosts[name].host if name in sites.hosts else None
        own: set[Prefix] = {host.external4, host.external6} if host else set()
        near = external_of(sites.hosts[name].pop) if host else own
        edges = {u.name for u in host.upstreams if u.kind is UpstreamKind.EDGE} if host else set()
        for told in part.announcements:
            ours = told.prefix in own or told.prefix in anycast
            # the PoP's own edge router hears single addresses; nobody else ever does
            if not ours and not (told.upstream in edges and _is_part_of(told.prefix, near | anycast)):
                yield Problem(path=name, message=f"{told.prefix} would be announced to {told.upstream} and is not ours")
            known = right.get(id(told.gates))
            if known is None or known.prefix != told.prefix:
                wrong = list(_gates(name, told))
                yield from wrong
                if not wrong:
                    right[id(told.gates)] = told


def external_of(pop: Pop) -> set[Prefix]:
    """The external prefixes of all hosts of a PoP: an address that is kept may follow its slot from one to another."""
    return {prefix for host in pop.hosts for prefix in (host.external4, host.external6)}


def _is_part_of(prefix: Prefix, ours: Collection[Prefix]) -> bool:
    return any(prefix.network_address in whole for whole in ours if whole.version == prefix.version)


def _gates(host: HostName, told: Announcement) -> Iterator[Problem]:
    for gate in told.gates:
        if gate not in told.prefix:
            yield Problem(path=host, message=f"{told.prefix} would wait for {gate}, which is not in it")
