"""Routes of stacks' networks through gateways: declared, changed, deleted; and how each stands at the hosts.

In: what a request brings. Out: the `alter` step for `Core.change`, by which every workload of the network is told where
its gateways lead; or for each host with instances of the network whether a gateway there serves. Pure.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from anypop.control import networks
from anypop.control.in_network import ways_of, with_network
from anypop.control.network_parts import named, new_slug, refuse_another_slug
from anypop.control.state import State
from anypop.control.versions import check_version
from anypop.model.announce import Address
from anypop.model.errors import Invalid, Problem
from anypop.model.gateway_route import GatewayRoute, Way, led_domains, trouble
from anypop.model.names import HostName, StackId
from anypop.model.order import InstanceLink, InstanceOrder, Order
from anypop.model.stack_network import StackNetwork

Alter = Callable[[State, float], State]

MOST_ROUTES = 32  # of a network


def of(network: StackNetwork, ref: str) -> GatewayRoute:
    """A route by id or slug. Raises `NotFound`."""
    return named(network.routes, ref, "route", network)


def create(stack_id: StackId, ref: str, made: GatewayRoute, *, since: float) -> Alter:
    """Add a route to a network; without a slug its name makes one. `networks` of it may be named by id. The step raises
    `Invalid`, `NotFound`, `Exists`, and `Precondition` where the network has too many.
    """

    def alter(state: State, now: float) -> State:
        there = networks.of(state, stack_id, ref, since=since)
        slug = new_slug(made, there.routes, "route", there, most=MOST_ROUTES)
        whole = replace(_checked(state, there, made), slug=slug, name=made.name or slug, created_at=now)
        return with_network(state, replace(there, routes=(*there.routes, whole)))

    return alter


def change(stack_id: StackId, ref: str, route_ref: str, wanted: GatewayRoute, *, version: Any, since: float) -> Alter:
    """Put another route in its place. What changes nothing is no new version. The step raises `NotFound`, `Invalid` and
    `VersionConflict`.
    """

    def alter(state: State, now: float) -> State:
        there = networks.of(state, stack_id, ref, since=since)
        route = of(there, route_ref)
        refuse_another_slug(wanted, route, "route")
        check_version(version, route.version, f"route {route.slug}")
        checked = _checked(state, there, wanted)
        made = replace(
            checked, id=route.id, slug=route.slug, name=wanted.name or route.name, version=route.version,
            created_at=route.created_at, updated_at=route.updated_at,
        )  # fmt: skip
        if made == route:
            return state
        made = replace(made, version=route.version + 1, updated_at=now)
        return with_network(state, replace(there, routes=tuple(made if r is route else r for r in there.routes)))

    return alter


def delete(stack_id: StackId, ref: str, route_ref: str) -> Alter:
    """Take a route away: what went by it goes nowhere else. The step raises `NotFound`."""

    def alter(state: State, now: float) -> State:
        there = networks.of(state, stack_id, ref)
        route = of(there, route_ref)
        return with_network(state, replace(there, routes=tuple(r for r in there.routes if r is not route)))

    return alter


def _checked(state: State, network: StackNetwork, made: GatewayRoute) -> GatewayRoute:
    """With its networks by slug. Raises `Invalid` with all that is wrong."""
    problems, versions = [], {subnet.version for subnet in network.reach}
    for n, prefix in enumerate(made.prefixes):
        path = f"route.destinationPrefixes[{n}]"
        if prefix.version not in versions:
            problems.append(Problem(path=path, message=_lacks(network, prefix.version)))
        elif why := trouble(prefix):
            problems.append(Problem(path=path, message=why))
    there = {key: one for one in networks.in_stack(state, network.stack_id) for key in (one.slug, one.id)}
    slugs = []
    for n, ref in enumerate(made.networks):
        path, other = f"route.destinationNetworks[{n}].networkId", there.get(ref) if ref else network
        if other is None:
            problems.append(Problem(path=path, message=f"there is no network {ref} on stack"))
        elif other.slug == network.slug:
            message = "is the network of the route itself, whose instances reach each other without one; name another"
            problems.append(Problem(path=path, message=message))
        elif not other.reach:
            message = f"network {other.slug} has no subnet, so there is nothing to lead to: give it a rootSubnet"
            problems.append(Problem(path=path, message=message))
        elif not versions & {subnet.version for subnet in other.reach}:
            problems.append(Problem(path=path, message=_lacks(network, other.reach[0].version)))
        else:
            slugs.append(other.slug)
    if problems:
        raise Invalid(problems)
    return replace(made, networks=tuple(dict.fromkeys(slugs)))


def _lacks(network: StackNetwork, version: int) -> str:
    return (
        f"network {network.slug} has no subnet of IPv{version}, and only to an address in one an answer is led back: "
        f"give it a {'rootSubnet' if version == 4 else 'ipv6Subnet'}"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a route stands at one host that has instances of its network: the addresses of the gateways that serve its
    instances, there or at another host; none: who takes it is told that nobody can be reached.
    """

    host: HostName
    gateways: tuple[Address, ...] = ()


def standings(state: State, network: StackNetwork, route: GatewayRoute) -> list[Standing]:
    """Of each host, by name. What a host that is silent has is not known, so it does not count."""
    (way,) = [w for r, w in zip(network.routes, ways_of(state, network), strict=True) if r.id == route.id]
    orders = {host: issued.order for host, issued in state.orders.items() if any(_members(issued.order, network))}
    known = {host for host in orders if (found := state.verdict.hosts.get(host)) is not None and found.trusted}
    serving = {host: _serving(state, orders[host], network, way) for host in known}
    return [
        Standing(host=host, gateways=_taken(order, serving) if host in known and _is_led(order, network) else ())
        for host, order in sorted(orders.items())
    ]


def _serving(state: State, order: Order, network: StackNetwork, way: Way) -> tuple[Address, ...]:
    """The gateways of one host that serve."""
    received = state.reports.get(order.host)
    healthy = {i.uid for i in received.report.instances if i.healthy} if received is not None else set()
    return tuple(
        address.known
        for one, link in _members(order, network)
        if one.uid in healthy and way.prefixes and set(way.prefixes) <= set(link.passes)
        for address in link.addresses
    )


def _taken(order: Order, serving: Mapping[HostName, tuple[Address, ...]]) -> tuple[Address, ...]:
    """Those that a host uses: of all hosts of its PoP; where these have none, of the nearest PoP that has. Others are
    reached by the tunnels alone.
    """
    found = {order.pop: [*serving[order.host]]}
    for peer in order.backbone.peers if order.backbone is not None else ():  # the nearest first
        found.setdefault(peer.pop, []).extend(serving.get(peer.host, ()))
    those = next((addresses for addresses in found.values() if addresses), [])
    return tuple(sorted(those, key=lambda a: (a.version, int(a))))


def _members(order: Order, network: StackNetwork) -> Iterator[tuple[InstanceOrder, InstanceLink]]:
    for one in order.instances:
        if one.stack_id == network.stack_id:
            yield from ((one, link) for link in one.links if link.network == network.slug)


def _is_led(order: Order, network: StackNetwork) -> bool:
    """Whether the host carries the routes of this network out, and not those of so many others alone."""
    domains: Iterable[tuple[str, InstanceLink]] = (
        pair for one in order.instances for pair in zip(one.domains, one.links, strict=False)
    )
    led = led_domains(domain for domain, link in domains if link.ways)
    return any(d in led for one, _ in _members(order, network) for d, link in zip(one.domains, one.links, strict=False)
               if link.network == network.slug)  # fmt: skip
