"""Networks of a stack: who may reach whom inside. Instances of one network reach each other's private addresses, in all
PoPs; those of another network of the same stack are strangers to them.

In: made by `control.networks`. Every stack has `default`. Pure and frozen.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

from anypop.model.announce import Prefix
from anypop.model.gateway_route import GatewayRoute
from anypop.model.names import StackId

DEFAULT_NETWORK = "default"
NETWORK_LABEL = "ipam.platform.stackpath.net/network-slug"
"""The label that every network has, so that policies can name it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subnet:
    """A declared subnet of a network, which interfaces name. Times: epoch seconds."""

    id: str
    slug: str
    name: str
    prefix: Prefix
    labels: tuple[tuple[str, str], ...] = ()
    annotations: tuple[tuple[str, str], ...] = ()
    version: int = 1
    created_at: float = 0.0
    updated_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StackNetwork:
    """A declared network. `root4`, `root6`: where instances have their addresses whose interface names no subnet; None:
    they have none but those of their links. `families`: of the addresses of its instances. `routes`: through gateways.
    Times: epoch seconds.
    """

    id: str
    stack_id: StackId
    slug: str
    name: str
    labels: tuple[tuple[str, str], ...] = ()
    annotations: tuple[tuple[str, str], ...] = ()
    version: int = 1
    created_at: float = 0.0
    updated_at: float | None = None
    root4: IPv4Network | None = None
    root6: IPv6Network | None = None
    subnets: tuple[Subnet, ...] = ()
    families: tuple[int, ...] = (4, 6)
    routes: tuple[GatewayRoute, ...] = ()

    @property
    def roots(self) -> tuple[Prefix, ...]:
        return tuple(root for root in (self.root4, self.root6) if root is not None)

    @property
    def reach(self) -> tuple[Prefix, ...]:
        """Everywhere that its instances may have addresses, each once."""
        return tuple(dict.fromkeys((*self.roots, *(subnet.prefix for subnet in self.subnets))))

    @property
    def number(self) -> int:
        """By which it may be called on a wire: 1 to 16,777,215, as a VXLAN's."""
        return int.from_bytes(hashlib.sha256(self.id.encode()).digest()[:3], "big") or 1


def domain_of(stack_id: str, network: str) -> str:
    """Who reaches each other inside: instances of the same domain."""
    return stack_id if network == DEFAULT_NETWORK or not stack_id else f"{stack_id}/{network}"


def labels_of(slug: str, network: StackNetwork | None) -> Mapping[str, str]:
    """What policies know a network by."""
    return {**dict(network.labels if network is not None else ()), NETWORK_LABEL: slug}
