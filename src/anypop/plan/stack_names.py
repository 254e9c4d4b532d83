"""Whom the instances of a host may call by name: the instances of their own stacks and networks, in all PoPs.

In: the ground, and who stands where. Out: the names of a workload, and those that one host is told. Names are of
slots: of two incarnations the older one counts until it is asked to go, and that is asked once the newer one serves.
The work follows the workload; what a host is told follows its stacks. Pure.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping

from anypop.model.announce import Address
from anypop.model.names import HostName, StackId, WorkloadId
from anypop.model.order import Removal
from anypop.model.plan import HostPlan, Incarnation
from anypop.model.stack_names import MOST_NAMED, NamedInstance, NamedPort, NamedWorkload, in_order
from anypop.model.stack_network import domain_of
from anypop.model.workload import Workload
from anypop.plan.ground import Ground
from anypop.plan.sites import Site


def names_of(
    ground: Ground, sites: Mapping[HostName, Site], workload: WorkloadId, kept: Iterable[Incarnation]
) -> tuple[NamedWorkload, ...]:
    """Those of a workload: one entry for each network that its incarnations are in."""
    newest = ground.workload(workload)
    if newest is None:
        return ()
    slots: dict[str, Incarnation] = {}
    for one in kept:
        other = slots.get(one.name)
        if other is None or one.life < other.life:
            slots[one.name] = one
    by_network: defaultdict[str, list[tuple[Incarnation, Workload, int]]] = defaultdict(list)
    revisions = {number: ground.revision(workload, number) for number in {one.revision for one in slots.values()}}
    for one in slots.values():
        made_from = revisions[one.revision] or newest
        if one.host in sites:
            by_network[made_from.network].append((one, made_from, 0))
            for n, (interface, _) in enumerate(zip(made_from.further, one.further, strict=False), 1):
                by_network[interface.network].append((one, made_from, n))
    return tuple(
        NamedWorkload(
            id=workload,
            stack_id=newest.stack_id,
            stack=newest.stack_slug,
            network=network,
            slug=newest.slug,
            ports=_ports(max((of for _, of, _ in found), key=lambda of: of.revision)),
            instances=tuple(
                NamedInstance(
                    name=one.name,
                    pop=one.pop,
                    addresses=_addresses(sites[one.host], one, of, n),
                    inside=_inside(sites[one.host], one, of, n),
                )
                for one, of, n in sorted(found, key=lambda entry: entry[0].name)
            ),
        )
        for network, found in sorted(by_network.items())
    )


def _addresses(site: Site, one: Incarnation, made_from: Workload, interface: int) -> tuple[Address, ...]:
    """By which others of the network know it. At a further interface it is reached in its subnets alone: it answers
    there from where it was asked.
    """
    if interface:
        return _inside(site, one, made_from, interface)
    both = site.numbers.private(one.link)
    if made_from.families == (4, 6):
        return both
    return tuple(a for a in both if a.version in made_from.families)


def _inside(site: Site, one: Incarnation, made_from: Workload, interface: int) -> tuple[Address, ...]:
    if interface == 0 and not made_from.vpc.subnets:
        return ()
    return tuple(site.numbers.in_subnets(made_from.interfaces[interface].vpc, one.links[interface]).values())


def domains_on(part: HostPlan, ground: Ground, removals: Iterable[Removal] = ()) -> frozenset[str]:
    """The domains of a host's instances, those that leave included: they ask to the last."""
    found = {domain for i in part.instances for domain in i.domains}
    for removal in (*part.removed, *removals):
        newest = ground.workload(removal.workload_id)
        if newest is not None:
            made_from = ground.revision(newest.id, removal.revision) or newest
            found.update(domain_of(newest.stack_id, one.network) for one in made_from.interfaces)
    return frozenset(found)


def told_to(
    part: HostPlan,
    ground: Ground,
    *,
    of_stack: Callable[[StackId], Iterable[NamedWorkload]],
    of_workload: Callable[[WorkloadId], Iterable[NamedWorkload]],
    count_of: Callable[[StackId], int],
) -> tuple[NamedWorkload, ...]:
    """The names that a host is told. `count_of`: how many instances a stack has."""
    domains = domains_on(part, ground)
    here = {i.workload_id: i.stack_id for i in part.instances if i.stack_id}
    for removal in part.removed:
        if (newest := ground.workload(removal.workload_id)) is not None:
            here.setdefault(removal.workload_id, newest.stack_id)
    found: list[NamedWorkload] = []
    for stack in sorted({stack for stack in here.values() if stack}):
        if count_of(stack) <= MOST_NAMED:
            found += of_stack(stack)
        else:
            found += [one for workload, of in here.items() if of == stack for one in of_workload(workload)]
    return in_order(one for one in found if one.domain in domains)


def whole(
    ground: Ground,
    sites: Mapping[HostName, Site],
    parts: Mapping[HostName, HostPlan],
    *,
    workloads: Iterable[WorkloadId],
    kept: Callable[[WorkloadId], Iterable[Incarnation]],
) -> dict[HostName, tuple[NamedWorkload, ...]]:
    """All hosts at once."""
    names = {workload: names_of(ground, sites, workload, kept(workload)) for workload in workloads}
    by_stack: defaultdict[StackId, list[NamedWorkload]] = defaultdict(list)
    for found in names.values():
        for one in found:
            by_stack[one.stack_id].append(one)
    return {
        host: told_to(
            part,
            ground,
            of_stack=lambda stack: by_stack.get(stack, ()),
            of_workload=lambda workload: names.get(workload, ()),
            count_of=lambda stack: sum(len(one.instances) for one in by_stack.get(stack, ())),
        )
        for host, part in parts.items()
    }


def _ports(workload: Workload) -> tuple[NamedPort, ...]:
    found = {(port.name, port.protocol): port.port for container in workload.containers for port in container.ports}
    return tuple(NamedPort(name=name, port=port, protocol=protocol) for (name, protocol), port in sorted(found.items()))
