"""Networks of a stack: what is sent, bare, and what is answered, wrapped."""

from ipaddress import ip_network
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from anypop.api.models.common import CamelAnswer, CamelRequest, Id, Page, ResourceMetadata, left_out
from anypop.plan.kinds import Checked, Key, ShortText, Slug, Text, Title, Word, one_of

_Family = Annotated[str, one_of("IPv4", "IPv6", required=True)]


def _prefix_of(version: int | None) -> Checked:
    """What may be a subnet, of one family or of any; "" is none."""

    def check(value: str) -> str:
        try:
            found = ip_network(value) if value else None
        except ValueError as error:
            raise ValueError(f"must be a prefix, such as 10.1.0.0/16 or fd00:1::/64 ({error})") from error
        if found is not None and version is not None and found.version != version:
            raise ValueError(f"{found} is IPv{found.version}; it must be IPv{version}")
        return value

    return Checked(check, {"description": "a prefix, such as " + ("fd00:1::/64" if version == 6 else "10.1.0.0/16")})


RootSubnet = Annotated[Word, _prefix_of(4)]
Ipv6Subnet = Annotated[Word, _prefix_of(6)]
AnySubnet = Annotated[Word, Field(min_length=1), _prefix_of(None)]


class NetworkMetadataBody(CamelRequest):
    """Labels, by which policies may know the network, and annotations. `version`: the one that a change replaces; left
    out: whichever is there. The rest of what the server adds is not looked at.
    """

    labels: Annotated[dict[Key, ShortText], Field(max_length=256)] | None = None
    annotations: Annotated[dict[Key, Text], Field(max_length=256)] | None = None
    version: Any = None


class NetworkBody(CamelRequest):
    """A network, not wrapped. Instances in it have the families of `ipFamilies` (left out: both), and addresses in
    `rootSubnet` and `ipv6Subnet` where it has them, each host from a part of its own.
    """

    model_config = ConfigDict(extra="forbid")

    name: Title | None = None
    slug: Slug | None = None
    root_subnet: RootSubnet | None = None
    ipv6_subnet: Annotated[Ipv6Subnet | None, Field(alias="ipv6Subnet")] = None
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
    root_subnet: str = left_out()
    ipv6_subnet: Annotated[str, Field(alias="ipv6Subnet")] = left_out()
    ip_families: list[Literal["IPv4", "IPv6"]]
    virtual_network_identifier: Annotated[int, Field(ge=1, le=(1 << 24) - 1)]


class NetworkAnswer(CamelAnswer):
    network: StackNetwork


class NetworkPage(Page):
    results: list[StackNetwork]
