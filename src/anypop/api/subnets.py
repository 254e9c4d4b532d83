"""/ipam/v1alpha/.../networks/{network}/subnets: further subnets of a stack's network, which interfaces name.

In: requests of the Workload API. Out: subnets, wrapped. Which part of one a host has, and which address an instance,
is arithmetic (`model.subnets`); what is in use stays as it is.
"""

from ipaddress import ip_network
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Response

from anypop.api import pages, shapes
from anypop.api.bodies import JsonBody
from anypop.api.context import CallerStack, PlatformDep
from anypop.api.documentation import answers
from anypop.api.errors import Code
from anypop.api.models import subnets as models
from anypop.api.models.subnets import SubnetAnswer, SubnetPage, SubnetRequest
from anypop.api.networks import NetworkId
from anypop.control import networks, subnets
from anypop.model.errors import Invalid
from anypop.model.stack_network import StackNetwork, Subnet

router = APIRouter(prefix="/ipam/v1alpha/stacks/{stack_id}/networks/{network_id}/subnets", tags=["networks"])

SubnetId = Annotated[str, Path(description="id or slug")]
Body = Annotated[SubnetRequest, Depends(JsonBody(SubnetRequest))]


@router.get("")
@answers(SubnetPage)
async def list_network_subnets(
    network_id: NetworkId, query: pages.PageQuery, stack: CallerStack, platform: PlatformDep
) -> dict[str, Any]:
    """List the subnets of a network."""
    network = networks.of(platform.core.state, stack.id, network_id, since=stack.created_at)
    return pages.page(network.subnets, query, lambda subnet: shown(network, subnet), models.Subnet)


@router.post("")
@answers(SubnetAnswer, Code.ALREADY_EXISTS, Code.FAILED_PRECONDITION)
async def create_network_subnet(
    network_id: NetworkId, stack: CallerStack, platform: PlatformDep, body: Body
) -> dict[str, Any]:
    """Add a subnet to a network.

    Instances whose interface names it have their addresses there, each host from a part of its own; those of the other
    subnets of the network reach them.
    """
    made = _subnet(body, networks.new_id())
    if not made.name and not made.slug:
        raise Invalid.one("subnet.name", "is required (or slug)")
    state = await platform.core.change(subnets.create(stack.id, network_id, made, since=stack.created_at))
    network = networks.of(state, stack.id, network_id)
    return {"subnet": shown(network, subnets.of(network, made.id))}


@router.get("/{subnet_id}")
@answers(SubnetAnswer)
async def get_network_subnet(
    network_id: NetworkId, subnet_id: SubnetId, stack: CallerStack, platform: PlatformDep
) -> dict[str, Any]:
    """Get one subnet of a network."""
    network = networks.of(platform.core.state, stack.id, network_id, since=stack.created_at)
    return {"subnet": shown(network, subnets.of(network, subnet_id))}


@router.put("/{subnet_id}")
@answers(SubnetAnswer, Code.ABORTED, Code.ALREADY_EXISTS, Code.FAILED_PRECONDITION)
async def replace_network_subnet(
    network_id: NetworkId, subnet_id: SubnetId, stack: CallerStack, platform: PlatformDep, body: Body
) -> dict[str, Any]:
    """Replace a subnet of a network.

    `metadata.version`, where it is sent, must be the current one. What says the same as before is no new version. The
    prefix of one that instances have addresses in stays.
    """
    version = body.subnet.metadata.version if body.subnet.metadata else None
    wanted = _subnet(body, "")
    step = subnets.change(stack.id, network_id, subnet_id, wanted, version=version, since=stack.created_at)
    state = await platform.core.change(step)
    network = networks.of(state, stack.id, network_id, since=stack.created_at)
    return {"subnet": shown(network, subnets.of(network, subnet_id))}


@router.delete("/{subnet_id}", status_code=204)
@answers(None, Code.FAILED_PRECONDITION)
async def delete_network_subnet(
    network_id: NetworkId, subnet_id: SubnetId, stack: CallerStack, platform: PlatformDep
) -> Response:
    """Delete a subnet that no instance has an address in."""
    await platform.core.change(subnets.delete(stack.id, network_id, subnet_id))
    return Response(status_code=204)


def _subnet(body: SubnetRequest, identity: str) -> Subnet:
    sent = body.subnet
    metadata = sent.metadata
    return Subnet(
        id=identity,
        slug=sent.slug or "",
        name=sent.name or "",
        prefix=ip_network(sent.prefix),
        labels=networks.words(metadata.labels if metadata else None) or (),
        annotations=networks.words(metadata.annotations if metadata else None) or (),
    )


def shown(network: StackNetwork, subnet: Subnet) -> dict[str, Any]:
    """As the API has it."""
    return {
        "id": subnet.id,
        "stackId": network.stack_id,
        "networkId": network.id,
        "name": subnet.name,
        "slug": subnet.slug,
        "prefix": str(subnet.prefix),
        "metadata": shapes.filled(
            {
                "labels": dict(subnet.labels),
                "annotations": dict(subnet.annotations),
                "version": str(subnet.version),
                "createdAt": shapes.moment(subnet.created_at),
                "updatedAt": shapes.moment(subnet.updated_at) if subnet.updated_at is not None else None,
            }
        ),
    }
