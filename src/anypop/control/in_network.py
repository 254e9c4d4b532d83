"""What a network's subnets may be on this platform, who has addresses in them, and who is told of a change.

In: a state, a network of a stack, prefixes. Out: refusals in words, or the next state with every workload of the
network told where others of it may be. Pure.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from anypop.control.refusals import Precondition
from anypop.control.state import Declaration, State
from anypop.model.announce import Prefix
from anypop.model.errors import Invalid, Problem
from anypop.model.gateway_route import Way, in_turn
from anypop.model.network import Network
from anypop.model.stack_network import StackNetwork
from anypop.model.subnets import Vpc, overlaps, problems
from anypop.model.table import with_entries
from anypop.model.workload import Workload


def refuse_in_use(state: State, network: StackNetwork, prefixes: Iterable[Prefix], what: str) -> None:
    """Raises `Precondition` where instances have, or may have by a rollback, addresses in one of these."""
    those = frozenset(prefixes)
    held = sorted(
        declared.workload.slug
        for declared in _declared_in(state, network)
        if any(
            those & {*one.vpc.subnets}
            for w in _revisions(state, declared)
            for one in w.interfaces
            if one.network == network.slug
        )
    )
    if held:
        raise Precondition(f"{what} is in use by {', '.join(held)}")


def check(platform: Network, wanted: dict[str, Prefix]) -> None:
    """Raises `Invalid` where one of these, by the path to its field, cannot be given on a platform."""
    if not wanted:
        return  # most workloads have no subnet, and hosts need not be looked through for them
    numbers, taken = platform.numbers().values(), list(_taken(platform))
    found = [
        Problem(path=path, message=why) for path, prefix in wanted.items() for why in problems(prefix, numbers, taken)
    ]
    if found:
        raise Invalid(found)


def _taken(platform: Network) -> Iterator[tuple[str, Prefix]]:
    covering: tuple[Prefix, ...] = (*platform.anycast4, *platform.anycast6)
    for prefix in covering:
        yield "which is the platform's for anycast addresses", prefix
    for _, host in platform.hosts():
        own: tuple[Prefix, ...] = (host.private4, host.private6, host.external4, host.external6)
        for prefix in own:
            yield f"which is the platform's in {host.name}", prefix


def check_platform(state: State, wanted: Network) -> None:
    """Raises `Invalid` where hosts would have no part of a subnet that instances have addresses in."""
    used = {
        prefix: f"{declared.workload.stack_slug}/{one.network}"
        for declared in state.workloads.values()
        for workload in _revisions(state, declared)
        for one in workload.interfaces
        for prefix in one.vpc.subnets
    }
    if not used:
        return
    numbers, taken = wanted.numbers().values(), list(_taken(wanted))
    found = [
        Problem(path="pops", message=f"network {where} is in use: {why}")
        for prefix, where in used.items()
        for why in problems(prefix, numbers, taken)
    ]
    if found:
        raise Invalid(found)


def with_network(state: State, network: StackNetwork) -> State:
    """With a network as it is now; its instances are told where others of it may be, and those of networks whose routes
    lead to it.
    """
    state = replace(state, networks=with_entries(state.networks, {network.id: network}))
    for other in state.networks_of(network.stack_id).values():
        if other.id == network.id or any(network.slug in route.networks for route in other.routes):
            state = _told(state, other)
    return state


def _told(state: State, network: StackNetwork) -> State:
    declared, revisions, ways = {}, {}, ways_of(state, network)
    for one in _declared_in(state, network):
        for key, revision in state.revisions_of(one.id).items():
            if (told := _reaching(revision.workload, network, ways)) != revision.workload:
                revisions[key] = replace(revision, workload=told)
        if (told := _reaching(one.workload, network, ways)) != one.workload:
            declared[one.id] = replace(one, newest=replace(one.newest, workload=told))
    if revisions:
        state = replace(state, revisions=with_entries(state.revisions, revisions))
    return replace(state, workloads=with_entries(state.workloads, declared)) if declared else state


def ways_of(state: State, network: StackNetwork) -> tuple[Way, ...]:
    """Its routes as they are carried out: with the subnets of the networks that they lead to, as these are now; in the
    families in which it has subnets itself, since an answer finds its way back by an address in one.
    """
    there = {one.slug: one for one in state.networks_of(network.stack_id).values()}
    versions = {subnet.version for subnet in network.reach}
    return tuple(
        Way(
            prefixes=in_turn(
                (
                    *(p for p in route.prefixes if p.version in versions),
                    *(
                        p
                        for slug in route.networks
                        if slug in there
                        for p in there[slug].reach
                        if p.version in versions
                    ),
                )
            ),
            gateways=route.gateways,
        )
        for route in network.routes
    )


def _reaching(workload: Workload, network: StackNetwork, ways: tuple[Way, ...]) -> Workload:
    def told(vpc: Vpc, of: str) -> Vpc:
        return replace(vpc, reach=network.reach, ways=ways) if of == network.slug else vpc

    further = tuple(replace(one, vpc=told(one.vpc, one.network)) for one in workload.further)
    return replace(workload, vpc=told(workload.vpc, workload.network), further=further)


def refuse_overlaps(state: State, network: StackNetwork, prefixes: Iterable[Prefix]) -> None:
    """Raises `Precondition` where instances that are in this network and in others could not tell by an address any
    more which of them it is in. `prefixes`: those that it is to have.
    """
    those = list(prefixes)
    for declared in _declared_in(state, network):
        for workload in _revisions(state, declared):
            for other in workload.interfaces:
                if workload.further and other.network != network.slug and (both := overlap(those, other.vpc.reach)):
                    raise Precondition(
                        f"{both[0]} overlaps {both[1]} of network {other.network}, and instances of "
                        f"{workload.slug} are in both"
                    )


def overlap(some: Iterable[Prefix], others: Iterable[Prefix]) -> tuple[Prefix, Prefix] | None:
    """Two of them that have addresses in common."""
    there = list(others)
    return next(((one, other) for one in some for other in there if overlaps(one, other)), None)


def _declared_in(state: State, network: StackNetwork) -> list[Declaration]:
    """The workloads of its stack that are in it, or may be by a rollback."""
    return [
        declared
        for declared in state.in_stack(network.stack_id)
        if any(w.is_in(network.slug) for w in _revisions(state, declared))
    ]


def _revisions(state: State, declared: Declaration) -> list[Workload]:
    return [declared.workload, *(r.workload for r in state.revisions_of(declared.id).values())]
