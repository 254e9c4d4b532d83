"""/ipam/v1/.../networks: which instances of a stack are among themselves.

In: requests of the Workload API; a network is sent bare. Out: networks, wrapped. Who is in one is said by the interface
of each workload; hosts keep networks apart as they keep stacks apart.
"""

from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Response

from anypop.api import pages, shapes
from anypop.api.bodies import JsonBody
from anypop.api.context import CallerStack, PlatformDep
from anypop.api.documentation import answers
from anypop.api.errors import Code
from anypop.api.models import networks as models
from anypop.api.models.networks import NetworkAnswer, NetworkBody, NetworkPage
from anypop.control import networks
from anypop.model.errors import Invalid
from anypop.model.stack_network import StackNetwork

router = APIRouter(prefix="/ipam/v1/stacks/{stack_id}/networks", tags=["networks"])

NetworkId = Annotated[str, Path(description="id or slug")]
Body = Annotated[NetworkBody, Depends(JsonBody(NetworkBody))]
FAMILIES = {4: "IPv4", 6: "IPv6"}


@router.get("")
@answers(NetworkPage)
async def list_stack_networks(query: pages.PageQuery, stack: CallerStack, platform: PlatformDep) -> dict[str, Any]:
    """List the networks of a stack."""
    found = networks.in_stack(platform.core.state, stack.id, since=stack.created_at)
    return pages.page(found, query, shown, models.StackNetwork)


@router.post("")
@answers(NetworkAnswer, Code.ALREADY_EXISTS, Code.FAILED_PRECONDITION)
async def create_stack_network(stack: CallerStack, platform: PlatformDep, body: Body) -> dict[str, Any]:
    """Create a network.

    The body is the network itself, not wrapped. Instances of a workload whose interface names it reach each other's
    private addresses, in all PoPs, and nobody else's of the stack.
    """
    if not body.name and not body.slug:
        raise Invalid.one("name", "is required (or slug)")
    if body.virtual_network_identifier:
        raise Invalid.one("virtualNetworkIdentifier", "is given by the platform: leave it out")
    identity, metadata = networks.new_id(), body.metadata
    root4, root6 = _roots(body)
    made = StackNetwork(
        id=identity,
        stack_id=stack.id,
        name=body.name or "",
        slug=body.slug or "",
        labels=networks.words(metadata.labels if metadata else None) or (),
        annotations=networks.words(metadata.annotations if metadata else None) or (),
        root4=root4,
        root6=root6,
        families=_families(body) or tuple(FAMILIES),
    )
    state = await platform.core.change(networks.create(stack.id, made))
    return {"network": shown(state.networks[identity])}


@router.get("/{network_id}")
@answers(NetworkAnswer)
async def get_stack_network(network_id: NetworkId, stack: CallerStack, platform: PlatformDep) -> dict[str, Any]:
    """Get one network."""
    return {"network": shown(networks.of(platform.core.state, stack.id, network_id, since=stack.created_at))}


@router.patch("/{network_id}")
@answers(NetworkAnswer, Code.ABORTED, Code.FAILED_PRECONDITION)
async def change_stack_network(
    network_id: NetworkId, stack: CallerStack, platform: PlatformDep, body: Body
) -> dict[str, Any]:
    """Change a network's name, labels or annotations, and, while no workload is in it, its own subnets.

    The body is not wrapped. `metadata.version`, where it is sent, must be the current one. What changes nothing is no
    new version.
    """
    metadata = body.metadata
    root4, root6 = _roots(body)
    step = networks.change(
        stack.id,
        network_id,
        name=body.name,
        slug=body.slug,
        labels=networks.words(metadata.labels if metadata else None),
        annotations=networks.words(metadata.annotations if metadata else None),
        root4=root4,
        root6=root6,
        families=_families(body),
        version=metadata.version if metadata else None,
        number=body.virtual_network_identifier,
        since=stack.created_at,
    )
    state = await platform.core.change(step)
    return {"network": shown(networks.of(state, stack.id, network_id, since=stack.created_at))}


@router.delete("/{network_id}", status_code=204)
@answers(None, Code.FAILED_PRECONDITION)
async def delete_stack_network(network_id: NetworkId, stack: CallerStack, platform: PlatformDep) -> Response:
    """Delete a network that no workload is in."""
    await platform.core.change(networks.delete(stack.id, network_id))
    return Response(status_code=204)


def _families(body: NetworkBody) -> tuple[int, ...] | None:
    return tuple(v for v in FAMILIES if FAMILIES[v] in body.ip_families) if body.ip_families else None


def _roots(body: NetworkBody) -> tuple[IPv4Network | None, IPv6Network | None]:
    return (
        IPv4Network(body.root_subnet) if body.root_subnet else None,
        IPv6Network(body.ipv6_subnet) if body.ipv6_subnet else None,
    )


def shown(network: StackNetwork) -> dict[str, Any]:
    """As the API has it."""
    metadata: dict[str, Any] = {
        "labels": dict(network.labels),
        "annotations": dict(network.annotations),
        "version": str(network.version),
        "createdAt": shapes.moment(network.created_at),
        "updatedAt": shapes.moment(network.updated_at) if network.updated_at is not None else None,
    }
    return {
        "id": network.id,
        "stackId": network.stack_id,
        "name": network.name,
        "slug": network.slug,
        "metadata": shapes.filled(metadata),
        **{name: str(root) for name, root in networks.roots(network).items()},
        "ipFamilies": [FAMILIES[version] for version in network.families],
        "virtualNetworkIdentifier": network.number,
    }
