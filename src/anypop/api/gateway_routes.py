"""/ipam/v1alpha/.../networks/{network}/routes: where instances of a network are led by gateways among them.

In: requests of the Workload API. Out: routes, wrapped, each with how it stands at the hosts. Hosts carry them out
(`agent.decide.gateways`); what one host has no gateway for is told, and goes nowhere else.
"""

from ipaddress import ip_network
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Response

from anypop.api import pages, shapes
from anypop.api.bodies import JsonBody
from anypop.api.context import CallerStack, PlatformDep
from anypop.api.documentation import answers
from anypop.api.errors import Code
from anypop.api.models import gateway_routes as models
from anypop.api.models.gateway_routes import RouteAnswer, RoutePage, RouteRequest
from anypop.api.networks import NetworkId
from anypop.control import gateway_routes, networks
from anypop.control.accounts import Stack
from anypop.control.state import State
from anypop.model.errors import Invalid, Problem
from anypop.model.gateway_route import GatewayRoute
from anypop.model.policy import LabelSelector, Operator
from anypop.model.stack_network import NETWORK_LABEL, StackNetwork

router = APIRouter(prefix="/ipam/v1alpha/stacks/{stack_id}/networks/{network_id}/routes", tags=["networks"])

RouteId = Annotated[str, Path(description="id or slug")]
Body = Annotated[RouteRequest, Depends(JsonBody(RouteRequest))]
_OPERATORS = {operator.lower(): operator for operator in Operator}


@router.get("")
@answers(RoutePage)
async def list_network_routes(
    network_id: NetworkId, query: pages.PageQuery, stack: CallerStack, platform: PlatformDep
) -> dict[str, Any]:
    """List the routes of a network through gateways."""
    state = platform.core.state
    network = networks.of(state, stack.id, network_id, since=stack.created_at)
    return pages.page(network.routes, query, lambda route: shown(state, network, route), models.Route)


@router.post("")
@answers(RouteAnswer, Code.ALREADY_EXISTS, Code.FAILED_PRECONDITION)
async def create_network_route(
    network_id: NetworkId, stack: CallerStack, platform: PlatformDep, body: Body
) -> dict[str, Any]:
    """Add a route through gateways to a network.

    Instances of the network send what goes to its destinations to a gateway of their host, and nobody is started anew.
    `statuses` says at which hosts one serves.
    """
    made = _route(body, networks.new_id(), stack)
    if not made.name and not made.slug:
        raise Invalid.one("route.name", "is required (or slug)")
    state = await platform.core.change(gateway_routes.create(stack.id, network_id, made, since=stack.created_at))
    network = networks.of(state, stack.id, network_id)
    return {"route": shown(state, network, gateway_routes.of(network, made.id))}


@router.get("/{route_id}")
@answers(RouteAnswer)
async def get_network_route(
    network_id: NetworkId, route_id: RouteId, stack: CallerStack, platform: PlatformDep
) -> dict[str, Any]:
    """Get one route of a network, and how it stands."""
    state = platform.core.state
    network = networks.of(state, stack.id, network_id, since=stack.created_at)
    return {"route": shown(state, network, gateway_routes.of(network, route_id))}


@router.put("/{route_id}")
@answers(RouteAnswer, Code.ABORTED, Code.FAILED_PRECONDITION)
async def replace_network_route(
    network_id: NetworkId, route_id: RouteId, stack: CallerStack, platform: PlatformDep, body: Body
) -> dict[str, Any]:
    """Replace a route of a network.

    `metadata.version`, where it is sent, must be the current one. What says the same as before is no new version.
    """
    version = body.route.metadata.version if body.route.metadata else None
    wanted = _route(body, "", stack)
    step = gateway_routes.change(stack.id, network_id, route_id, wanted, version=version, since=stack.created_at)
    state = await platform.core.change(step)
    network = networks.of(state, stack.id, network_id, since=stack.created_at)
    return {"route": shown(state, network, gateway_routes.of(network, route_id))}


@router.delete("/{route_id}", status_code=204)
@answers(None, Code.FAILED_PRECONDITION)
async def delete_network_route(
    network_id: NetworkId, route_id: RouteId, stack: CallerStack, platform: PlatformDep
) -> Response:
    """Delete a route of a network.

    What went by it goes to nobody else.
    """
    await platform.core.change(gateway_routes.delete(stack.id, network_id, route_id))
    return Response(status_code=204)


def _route(body: RouteRequest, identity: str, stack: Stack) -> GatewayRoute:
    sent, problems = body.route, []
    metadata = sent.metadata
    for n, one in enumerate(sent.destination_networks or ()):
        if one.stack_id and one.stack_id not in (stack.id, stack.slug):
            message = "is another stack: a route leads to networks of its own stack"
            problems.append(Problem(path=f"route.destinationNetworks[{n}].stackId", message=message))
    if not sent.destination_prefixes and not sent.destination_networks:
        problems.append(Problem(path="route.destinationPrefixes", message="is required (or destinationNetworks)"))
    if problems:
        raise Invalid(problems)
    annotations = dict((metadata.annotations if metadata else None) or {})
    annotations.pop(NETWORK_LABEL, None)  # the server's own, which clients send back as they read it
    return GatewayRoute(
        id=identity,
        slug=sent.slug or "",
        name=sent.name or "",
        prefixes=tuple(dict.fromkeys(map(ip_network, sent.destination_prefixes or ()))),
        networks=tuple(one.network_id or "" for one in sent.destination_networks or ()),
        gateways=tuple(
            tuple(
                LabelSelector(key=s.key, operator=_OPERATORS[s.operator.lower()], values=tuple(s.values or ()))
                for s in one.interface_selectors
            )
            for one in sent.gateway_selectors
        ),
        labels=networks.words(metadata.labels if metadata else None) or (),
        annotations=networks.words(annotations) or (),
    )


def shown(state: State, network: StackNetwork, route: GatewayRoute) -> dict[str, Any]:
    """As the API has it."""
    ids = {one.slug: one.id for one in networks.in_stack(state, network.stack_id)}
    found = {
        "id": route.id,
        "stackId": network.stack_id,
        "networkId": network.id,
        "name": route.name,
        "slug": route.slug,
        "destinationPrefixes": list(map(str, route.prefixes)),
        "destinationNetworks": [{"networkId": ids[slug]} for slug in route.networks if slug in ids],
        "gatewaySelectors": [{"interfaceSelectors": list(map(_selector, one))} for one in route.gateways],
        "statuses": [
            {"region": one.host, "state": "RUNNING" if one.gateways else "NO_GATEWAY"}
            | ({"gatewayIps": list(map(str, one.gateways))} if one.gateways else {})
            for one in gateway_routes.standings(state, network, route)
        ],
        "metadata": shapes.filled(
            {
                "labels": dict(route.labels),
                "annotations": {**dict(route.annotations), NETWORK_LABEL: network.slug},
                "version": str(route.version),
                "createdAt": shapes.moment(route.created_at),
                "updatedAt": shapes.moment(route.updated_at) if route.updated_at is not None else None,
            }
        ),
    }
    return {key: value for key, value in found.items() if value != []}


def _selector(one: LabelSelector) -> dict[str, Any]:
    return {"key": one.key, "operator": one.operator} | ({"values": list(one.values)} if one.values else {})
