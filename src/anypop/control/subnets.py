"""Subnets of stacks' networks: what may be one, which instances have addresses in it, and who is told of it.

In: what a request brings, or a workload that is declared. Out: the `alter` step for `Core.change`; the workload with
the subnets of its interface. A subnet that instances have, or may have by a rollback, stays as it is: an address
lasts for an incarnation's life. Pure.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from anypop.control import networks
from anypop.control.in_network import check, overlap, refuse_in_use, refuse_overlaps, ways_of, with_network
from anypop.control.network_parts import named, new_slug, refuse_another_slug
from anypop.control.refusals import Exists
from anypop.control.state import State
from anypop.control.versions import check_version
from anypop.model.announce import Prefix
from anypop.model.errors import Invalid
from anypop.model.names import StackId
from anypop.model.stack_network import StackNetwork, Subnet
from anypop.model.subnets import Interface, Vpc
from anypop.model.workload import Workload

Alter = Callable[[State, float], State]

MOST_SUBNETS = 32  # of a network
_INTERFACE = "spec.networkInterfaces[0]"


def of(network: StackNetwork, ref: str) -> Subnet:
    """A subnet by id or slug. Raises `NotFound`."""
    return named(network.subnets, ref, "subnet", network)


def create(stack_id: StackId, ref: str, made: Subnet, *, since: float) -> Alter:
    """Add a subnet to a network; without a slug its name makes one. The step raises `Invalid`, `NotFound`, `Exists`,
    and `Precondition` where the network has too many.
    """

    def alter(state: State, now: float) -> State:
        there = networks.of(state, stack_id, ref, since=since)
        slug = new_slug(made, there.subnets, "subnet", there, most=MOST_SUBNETS)
        _check(state, there, made.prefix, "subnet.prefix")
        refuse_overlaps(state, there, (made.prefix,))
        subnet = replace(made, slug=slug, name=made.name or slug, created_at=now)
        return with_network(state, replace(there, subnets=(*there.subnets, subnet)))

    return alter


def change(stack_id: StackId, ref: str, subnet_ref: str, wanted: Subnet, *, version: Any, since: float) -> Alter:
    """Put what a subnet is called, and its prefix while nobody has an address in it. What changes nothing is no new
    version. The step raises `NotFound`, `Invalid`, `VersionConflict`, and `Precondition` where it is in use.
    """

    def alter(state: State, now: float) -> State:
        there = networks.of(state, stack_id, ref, since=since)
        subnet = of(there, subnet_ref)
        refuse_another_slug(wanted, subnet, "subnet")
        check_version(version, subnet.version, f"subnet {subnet.slug}")
        made = replace(
            subnet,
            name=wanted.name or subnet.name,
            prefix=wanted.prefix,
            labels=wanted.labels,
            annotations=wanted.annotations,
        )
        if made == subnet:
            return state
        if made.prefix != subnet.prefix:
            refuse_in_use(state, there, (subnet.prefix,), f"subnet {subnet.slug} of network {there.slug}")
            _check(state, there, made.prefix, "subnet.prefix")
            refuse_overlaps(state, there, (made.prefix,))
        made = replace(made, version=subnet.version + 1, updated_at=now)
        return with_network(state, replace(there, subnets=tuple(made if s is subnet else s for s in there.subnets)))

    return alter


def delete(stack_id: StackId, ref: str, subnet_ref: str) -> Alter:
    """Take a subnet away. The step raises `NotFound`, and `Precondition` while it is in use."""

    def alter(state: State, now: float) -> State:
        there = networks.of(state, stack_id, ref)
        subnet = of(there, subnet_ref)
        refuse_in_use(state, there, (subnet.prefix,), f"subnet {subnet.slug} of network {there.slug}")
        return with_network(state, replace(there, subnets=tuple(s for s in there.subnets if s is not subnet)))

    return alter


def _check(state: State, network: StackNetwork, prefix: Prefix, path: str) -> None:
    if prefix.version not in network.families:
        raise Invalid.one(path, f"network {network.slug} has no IPv{prefix.version}")
    if prefix in network.reach:
        raise Exists(f"network {network.slug} has {prefix} already")
    check(state.network, {path: prefix})


def resolved(state: State, workload: Workload) -> Workload:
    """With the subnets of its interfaces. Raises `Invalid` where a network, or a subnet that it names, is not there or
    cannot be given.
    """
    first, *others = networks.check_networks(state, workload)
    families = _families(first, workload)
    vpc = _in_network(state, first, workload.vpc, families, 0)
    further = tuple(
        _further(state, network, one, n)
        for n, (network, one) in enumerate(zip(others, workload.further, strict=True), 1)
    )
    if further or vpc != workload.vpc or families != workload.families:
        workload = replace(workload, vpc=vpc, families=families, further=further)
    _refuse_ambiguous(workload)
    return workload


def _in_network(state: State, network: StackNetwork, asked: Vpc, families: tuple[int, ...], n: int) -> Vpc:
    """The subnets of an interface."""
    interface = f"spec.networkInterfaces[{n}]"
    by_version: dict[int, Prefix] = {root.version: root for root in network.roots if root.version in families}
    paths: dict[int, str] = {root.version: f"{interface}.network" for root in network.roots}
    fields: tuple[tuple[int, str], ...] = ((4, "subnet"), (6, "ipv6Subnet"))
    for (version, field), slug in zip(fields, asked.named, strict=True):
        if slug:
            paths[version] = f"{interface}.{field}"
            if version not in families:
                raise Invalid.one(paths[version], f"its instances have no IPv{version}; leave it out")
            by_version[version] = _named(network, slug, version, paths[version])
    check(state.network, {paths[version]: prefix for version, prefix in by_version.items()})
    subnets = tuple(by_version[version] for version in sorted(by_version))
    return Vpc(subnets=subnets, reach=network.reach, named=asked.named, ways=ways_of(state, network))


def _further(state: State, network: StackNetwork, asked: Interface, n: int) -> Interface:
    """A further interface: in the families in which it has a subnet, since only by addresses in subnets an instance can
    tell which interface leads to somebody.
    """
    families = tuple(version for version in asked.families if version in network.families)
    vpc = _in_network(state, network, asked.vpc, families, n)
    if not vpc.subnets:
        message = (
            f"network {network.slug} has no subnet of IPv{' or IPv'.join(map(str, families or asked.families))}, and a "
            "further interface has its addresses in one: give the network a rootSubnet or ipv6Subnet, or name a subnet"
        )
        raise Invalid.one(f"spec.networkInterfaces[{n}].network", message)
    return replace(asked, vpc=vpc, families=tuple(subnet.version for subnet in vpc.subnets))


def _refuse_ambiguous(workload: Workload) -> None:
    """Raises `Invalid` where an instance could not tell by an address which of its interfaces leads there."""
    interfaces = workload.interfaces
    for n, one in enumerate(interfaces):
        for m, other in enumerate(interfaces[:n]):
            if both := overlap(one.vpc.reach, other.vpc.reach):
                message = (
                    f"{both[0]} of network {one.network} overlaps {both[1]} of network {other.network}, which is "
                    f"networkInterfaces[{m}]: an instance could not tell by an address which of them leads there"
                )
                raise Invalid.one(f"spec.networkInterfaces[{n}].network", message)


def _families(network: StackNetwork, workload: Workload) -> tuple[int, ...]:
    """Of the addresses of its instances: those of the network, or IPv6 alone where the workload says so."""
    path = f"{_INTERFACE}.ipFamilies"
    if network.families == (4,) and workload.dual_stack:
        raise Invalid.one(path, f"network {network.slug} has IPv4 alone: say [IPv4], or leave it out")
    if network.families == (6,) and workload.families != (6,):
        raise Invalid.one(path, f"network {network.slug} has IPv6 alone: say [IPv6]")
    return (6,) if workload.families == (6,) else network.families


def _named(network: StackNetwork, slug: str, version: int, path: str) -> Prefix:
    found = next((s for s in network.subnets if slug in (s.slug, s.id)), None)
    if found is None:
        there = ", ".join(s.slug for s in network.subnets) or "none"
        raise Invalid.one(path, f"there is no subnet {slug} in network {network.slug}; there are {there}")
    if found.prefix.version != version:
        raise Invalid.one(path, f"{slug} is {found.prefix}; name it as {'ipv6Subnet' if version == 4 else 'subnet'}")
    return found.prefix
