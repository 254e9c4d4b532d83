"""Routes of a stack's network through gateways: where to, and which instances pass it on.

In: made by `control.gateway_routes` from requests. Out: a part of a network; a `Way` of it goes to the workloads of the
network, and from there into orders. Pure and frozen.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_network

from anypop.model.announce import Prefix
from anypop.model.policy import LabelSelector

Gateways = tuple[tuple[LabelSelector, ...], ...]
"""Those whose labels satisfy all of any one of these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayRoute:
    """A declared route. `networks`: others of the same stack, by slug, all of whose subnets it leads to ("": its own).
    Times: epoch seconds.
    """

    id: str
    slug: str
    name: str
    prefixes: tuple[Prefix, ...] = ()
    networks: tuple[str, ...] = ()
    gateways: Gateways = ()
    labels: tuple[tuple[str, str], ...] = ()
    annotations: tuple[tuple[str, str], ...] = ()
    version: int = 1
    created_at: float = 0.0
    updated_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A route as it is carried out: all that it leads to, and who passes it on."""

    prefixes: tuple[Prefix, ...]
    gateways: Gateways


def in_turn(prefixes: Iterable[Prefix]) -> tuple[Prefix, ...]:
    """Each once, sorted."""
    return tuple(sorted(set(prefixes), key=lambda p: (p.version, int(p.network_address), p.prefixlen)))


MOST_LED = 14
"""So many networks of one host can have routes through gateways: the marks that there are for them."""


def led_domains(domains: Iterable[str]) -> tuple[str, ...]:
    """Those of these networks whose routes a host carries out."""
    return tuple(sorted(set(domains))[:MOST_LED])


_NEVER = tuple(ip_network(text) for text in ("127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3", "fe80::/10", "ff00::/8"))


def trouble(prefix: Prefix) -> str:
    """Why a route cannot lead to a prefix; empty where it can."""
    if prefix.prefixlen == 0:
        return (
            "a route to everywhere would take along what instances answer to their clients; name the prefixes that the "
            "gateway leads to"
        )
    for never in _NEVER:
        if never.version == prefix.version and (prefix.network_address in never or never.network_address in prefix):
            return f"{prefix} overlaps {never}, where nothing can be passed on to"
    return ""
