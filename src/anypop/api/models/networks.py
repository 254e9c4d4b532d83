"""Networks of a stack: what is sent, bare, and what is answered, wrapped."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from anypop.api.models.common import CamelAnswer, CamelRequest, Id, Page, ResourceMetadata
from anypop.plan.kinds import Key, ShortText, Slug, Text, Title, one_of, refused

_OURS = "addresses inside a network follow from the hosts of its instances; a subnet of one's own cannot be given yet"
_Family = Annotated[str, one_of("IPv4", "IPv6", required=True)]


class NetworkMetadataBody(CamelRequest):
    """Labels, by which policies may know the network, and annotations. What the server adds is not looked at."""

    labels: Annotated[dict[Key, ShortText], Field(max_length=256)] | None = None
    annotations: Annotated[dict[Key, Text], Field(max_length=256)] | None = None


class NetworkBody(CamelRequest):
    """A network, not wrapped. Instances in it have both families."""

    model_config = ConfigDict(extra="forbid")

    name: Title | None = None
    slug: Slug | None = None
    root_subnet: Annotated[Any, refused(_OURS)] = None
    ipv6_subnet: Annotated[Any, refused(_OURS), Field(alias="ipv6Subnet")] = None
    ip_families: Annotated[list[_Family], Field(max_length=2)] | None = None
    metadata: NetworkMetadataBody | None = None
    # the server's own: accepted, since clients send back what they read
    id: Any = None
    stack_id: Any = None
    virtual_network_identifier: Any = None


class StackNetwork(CamelAnswer):
    """A network of a stack."""

    id: Id
    stack_id: Id
    name: str
    slug: str
    metadata: ResourceMetadata
    ip_families: list[Literal["IPv4", "IPv6"]]
    virtual_network_identifier: Annotated[int, Field(ge=1, le=(1 << 24) - 1)]


class NetworkAnswer(CamelAnswer):
    network: StackNetwork


class NetworkPage(Page):
    results: list[StackNetwork]
