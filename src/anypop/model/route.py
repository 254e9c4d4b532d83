"""A route as a router holds it, and what became of it: the words of every `why`.

`Candidate` is one path to a prefix in one router, whoever told us (a running BIRD, a pasted `show route`, the model).
"""

from dataclasses import dataclass
from enum import StrEnum

from anypop.model.announce import AnyCommunity, Community, ExtendedCommunity, LargeCommunity, Prefix


class Relationship(StrEnum):
    """What the neighbour that a route came from is to the AS that holds it."""

    CUSTOMER = "customer"
    PEER = "peer"
    PROVIDER = "provider"
    SIBLING = "sibling"  # another AS of the same owner: the class is that by which the owner has the route
    INTERNAL = "internal"  # over iBGP; the class of the border router's route is in its large community
    ORIGIN = "origin"


class Step(StrEnum):
    """The steps of the decision process, in order (RFC 4271 section 9.1 and practice). The value is the phrase
    people read.
    """

    ONLY_ROUTE = "only route"
    LOCAL_PREFERENCE = "local preference"
    AS_PATH_LENGTH = "AS path length"
    ORIGIN = "origin"
    MED = "MED"
    EBGP_OVER_IBGP = "eBGP over iBGP"
    NEAREST_EXIT = "nearest exit (IGP metric)"
    OLDEST = "oldest route"
    ROUTER_ID = "router id"
    NEIGHBOR_ADDRESS = "neighbour address"


class Origin(StrEnum):
    IGP = "IGP"
    EGP = "EGP"
    INCOMPLETE = "incomplete"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One path. `as_path` begins with the neighbour AS and ends with the origin. `igp_metric` is the cost to the exit,
    for an iBGP route.

    `ebgp`: learnt from another AS. `neighbor`: the address of the session it came over. `learnt_at`: the city of the
    router of the same AS where it entered, where known. `best`: the router's own choice.
    """

    prefix: Prefix
    as_path: tuple[int, ...]
    local_pref: int
    origin: Origin = Origin.IGP
    med: int = 0
    ebgp: bool
    igp_metric: int = 0
    age_s: float | None = None
    router_id: str = ""
    neighbor: str = ""
    next_hop: str = ""
    protocol: str = ""
    relationship: Relationship | None = None
    learnt_at: str = ""
    communities: tuple[Community, ...] = ()
    large_communities: tuple[LargeCommunity, ...] = ()
    extended_communities: tuple[ExtendedCommunity, ...] = ()
    best: bool = False

    @property
    def every_community(self) -> tuple[AnyCommunity, ...]:
        """Pairs first, then large ones, then extended ones."""
        return (*self.communities, *self.large_communities, *self.extended_communities)
