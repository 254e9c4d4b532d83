"""Routes of a stack's network through gateways: what is sent, and what is answered, both wrapped."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from anypop.api.models.common import CamelAnswer, CamelRequest, Id, Page, ResourceMetadata, left_out
from anypop.api.models.networks import AnySubnet, NetworkMetadataBody
from anypop.plan.kinds import Slug, Title, Word
from anypop.plan.policy_schema import LabelSelector

_Several = Field(max_length=64)


class DestinationNetwork(CamelRequest):
    """Another network of the stack, by id or slug: all its subnets."""

    model_config = ConfigDict(extra="forbid")

    network_id: Word | None = None
    stack_id: Word | None = None


class GatewaySelector(CamelRequest):
    """Conditions on the labels of one interface, which all must hold: those of its instance, and of its network."""

    model_config = ConfigDict(extra="forbid")

    interface_selectors: Annotated[list[LabelSelector], Field(min_length=1, max_length=64)]


class RouteBody(CamelRequest):
    """A route: to these prefixes, and to the subnets of these networks, by the interfaces in the route's network that
    one of the selectors chooses.
    """

    model_config = ConfigDict(extra="forbid")

    name: Title | None = None
    slug: Slug | None = None
    destination_prefixes: Annotated[list[AnySubnet], _Several] | None = None
    destination_networks: Annotated[list[DestinationNetwork], _Several] | None = None
    gateway_selectors: Annotated[list[GatewaySelector], Field(min_length=1, max_length=64)]
    metadata: NetworkMetadataBody | None = None
    # the server's own: accepted, since clients send back what they read
    id: Any = None
    stack_id: Any = None
    network_id: Any = None
    statuses: Any = None


class RouteRequest(CamelRequest):
    route: RouteBody


class RouteGateway(CamelAnswer):
    interface_selectors: list[LabelSelector]


class RouteNetwork(CamelAnswer):
    network_id: Id


class RouteStatus(CamelAnswer):
    """At one host (`region`) with instances of the network: the addresses of the gateways that serve there."""

    region: str
    state: Literal["RUNNING", "NO_GATEWAY"]
    gateway_ips: list[str] = left_out()


class Route(CamelAnswer):
    """A route of a network through gateways."""

    id: Id
    stack_id: Id
    network_id: Id
    name: str
    slug: str
    destination_prefixes: list[str] = left_out()
    destination_networks: list[RouteNetwork] = left_out()
    gateway_selectors: list[RouteGateway]
    statuses: list[RouteStatus] = left_out()
    metadata: ResourceMetadata


class RouteAnswer(CamelAnswer):
    route: Route


class RoutePage(Page):
    results: list[Route]
