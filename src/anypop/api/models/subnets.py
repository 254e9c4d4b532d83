"""Subnets of a stack's network: what is sent, and what is answered, both wrapped."""

from typing import Any

from pydantic import ConfigDict

from anypop.api.models.common import CamelAnswer, CamelRequest, Id, Page, ResourceMetadata
from anypop.api.models.networks import AnySubnet, NetworkMetadataBody
from anypop.plan.kinds import Slug, Title


class SubnetBody(CamelRequest):
    """A subnet: `prefix` in IPv4 or IPv6, whether inside the network's `rootSubnet` or not."""

    model_config = ConfigDict(extra="forbid")

    name: Title | None = None
    slug: Slug | None = None
    prefix: AnySubnet
    metadata: NetworkMetadataBody | None = None
    # the server's own: accepted, since clients send back what they read
    id: Any = None
    stack_id: Any = None
    network_id: Any = None


class SubnetRequest(CamelRequest):
    subnet: SubnetBody


class Subnet(CamelAnswer):
    """A subnet of a network."""

    id: Id
    stack_id: Id
    network_id: Id
    name: str
    slug: str
    prefix: str
    metadata: ResourceMetadata


class SubnetAnswer(CamelAnswer):
    subnet: Subnet


class SubnetPage(Page):
    results: list[Subnet]
