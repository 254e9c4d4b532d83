"""What a network's named parts have in common: its subnets, and its routes through gateways.

In: the parts that a network has, and what somebody asks for. Out: the part that is meant, or the slug that a new one
gets. Pure.
"""

from collections.abc import Sequence
from typing import TypeVar

from anypop.control.refusals import Exists, NotFound, Precondition
from anypop.model.errors import Invalid
from anypop.model.gateway_route import GatewayRoute
from anypop.model.names import is_slug, slug_of
from anypop.model.stack_network import StackNetwork, Subnet

Part = TypeVar("Part", Subnet, GatewayRoute)


def named(parts: Sequence[Part], ref: str, what: str, network: StackNetwork) -> Part:
    """The one with this id or slug. Raises `NotFound`."""
    found = next((p for p in parts if ref in (p.id, p.slug)), None)
    if found is None:
        raise NotFound(f"no {what} {ref} in network {network.slug}")
    return found


def new_slug(made: Part, parts: Sequence[Part], what: str, network: StackNetwork, *, most: int) -> str:
    """Its own, or one of its name. Raises `Invalid`, `Exists`, and `Precondition` where the network has `most`."""
    slug = made.slug or slug_of(made.name)
    if not is_slug(slug):
        raise Invalid.one(f"{what}.name", f"no slug can be made of {made.name[:80]!r}; give a slug")
    if any(p.slug == slug for p in parts):
        raise Exists(f"{what} with slug {slug} already exists in network {network.slug}")
    if len(parts) >= most:
        raise Precondition(f"a network may have {most} {what}s")
    return slug


def refuse_another_slug(wanted: Part, part: Part, what: str) -> None:
    """Raises `Invalid`."""
    if wanted.slug and wanted.slug != part.slug:
        raise Invalid.one(f"{what}.slug", f"cannot be changed (it is {part.slug})")
