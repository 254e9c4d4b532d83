"""Networks of a stack: who may reach whom inside. Instances of one network reach each other's private addresses, in all
PoPs; those of another network of the same stack are strangers to them.

In: made by `control.networks`. Every stack has `default`. Pure and frozen.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from anypop.model.names import StackId

DEFAULT_NETWORK = "default"
NETWORK_LABEL = "ipam.platform.stackpath.net/network-slug"
"""The label that every network has, so that policies can name it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StackNetwork:
    """A declared network. Times: epoch seconds."""

    id: str
    stack_id: StackId
    slug: str
    name: str
    labels: tuple[tuple[str, str], ...] = ()
    annotations: tuple[tuple[str, str], ...] = ()
    version: int = 1
    created_at: float = 0.0
    updated_at: float | None = None

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
