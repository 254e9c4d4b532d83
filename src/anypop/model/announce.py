"""Announcements: prefix x PoP x upstream, and their scope.

A `ScopeRule` is what the operator asked for (stored by control, listed by `anypop announce list`); an `Announcement` is
what follows for one PoP (part of its order). Both carry the same `Scope`. How scopes and communities are written is the
business of `model.scopes`.
"""

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from anypop.model.names import CityCode, WorkloadId

Prefix = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address
Community = tuple[int, int]
LargeCommunity = tuple[int, int, int]
ExtendedCommunity = tuple[int, int, int, int]  # type, subtype, administrator, value (RFC 4360)
AnyCommunity = Community | LargeCommunity | ExtendedCommunity

GRACEFUL_SHUTDOWN: Community = (65535, 0)  # RFC 8326
NO_EXPORT: Community = (65535, 65281)  # RFC 1997


class Mode(StrEnum):
    ANNOUNCE = "announce"
    WITHHOLD = "withhold"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """How far an announcement goes: not at all (WITHHOLD), or with so many prepends of our own AS and these action
    communities.
    """

    mode: Mode = Mode.ANNOUNCE
    prepend: int = 0
    communities: tuple[Community, ...] = ()
    large_communities: tuple[LargeCommunity, ...] = ()
    extended_communities: tuple[ExtendedCommunity, ...] = ()

    @property
    def every_community(self) -> tuple[AnyCommunity, ...]:
        """Pairs first, then large ones, then extended ones."""
        return (*self.communities, *self.large_communities, *self.extended_communities)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeRule:
    """The operator's rule for one workload's anycast prefixes at one PoP towards one upstream (by its name there)."""

    workload_id: WorkloadId
    pop: CityCode
    upstream: str
    scope: Scope
    note: str = ""


class ScopedBy(StrEnum):
    OWNER = "owner"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixPolicy:
    """How the operator lets a covering prefix be announced. `pops`: the PoPs that may; None: all. `scoped_by`: who may
    change how far it goes: the account that has it alone, or nobody but the operator.
    """

    prefix: Prefix
    pops: tuple[CityCode, ...] | None = None
    scoped_by: ScopedBy = ScopedBy.OWNER


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """One prefix towards one upstream of the PoP whose order holds it.

    `gates`: the anycast addresses inside `prefix` that are in use here; the prefix goes out only when *each* has a
    healthy instance and a kernel route (no black hole). Of a prefix that the backbone carries they are those that are
    in use anywhere, and a way to another host that serves one is as good as an instance. Empty for a PoP's own external
    prefix, which goes out as soon as its route is in the kernel. `drains`: a drain stands
    over it, so the host tells what of it is really exported, and counts what arrives.
    """

    prefix: Prefix
    upstream: str
    scope: Scope
    gates: tuple[Address, ...] = ()
    drains: bool = False
