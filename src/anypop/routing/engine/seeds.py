"""What is announced, and what networks make of communities: the input of both engines.

A `Seed` is one session of ours at one site of an upstream. `Policies` says which dictionary each AS obeys and which
ASes strip communities from what they send. Pure data.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from anypop.model.names import CityCode
from anypop.routing.dictionary import Shipped, well_known
from anypop.routing.entries import Dictionary


@dataclass(frozen=True, slots=True, kw_only=True)
class Seed:
    """Our announcement from `pop` over the session `upstream`, as it enters the graph at `site`.

    `customer`: the upstream takes it as a customer's route, else as a peer's. `key` decides ties as a site's key
    does. `communities` are pairs or triples of numbers.
    """

    pop: CityCode
    upstream: str
    site: int
    customer: bool = True
    origin: int
    prepend: int = 0
    communities: tuple[tuple[int, ...], ...] = ()
    key: int = 0
    announced: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Policies:
    """`books`: what communities mean to the ASes that have a dictionary; all others know the well-known ones
    (`common`). Of ASes: `strips`, which send routes on without communities; `always_med`, which compare the MED of
    routes from different neighbours too, and `worst_med`, to which a missing MED is the highest and not 0; `servers`,
    route servers of exchanges, which tell each peer of all others and leave their number out of the path, and MED as
    it is (RFC 7947). `reflectors`: AS and city of its route reflectors (RFC 4456), of which the other sites of the AS
    are clients. `members`: the member of a confederation (RFC 5065) that AS and city are in, and `joined` AS and two
    cities in two of its members whose sites speak with each other, told both ways round. In an AS that has neither,
    each site tells each other one.
    """

    books: Mapping[int, Dictionary] = field(default_factory=Shipped)
    common: Dictionary = field(default_factory=lambda: Dictionary(asn=0, name="", entries=well_known()))
    strips: frozenset[int] = field(default_factory=frozenset)
    always_med: frozenset[int] = field(default_factory=frozenset)
    worst_med: frozenset[int] = field(default_factory=frozenset)
    servers: frozenset[int] = field(default_factory=frozenset)
    reflectors: frozenset[tuple[int, str]] = field(default_factory=frozenset)
    members: Mapping[tuple[int, str], int] = field(default_factory=dict)
    joined: frozenset[tuple[int, str, str]] = field(default_factory=frozenset)

    def dictionary(self, asn: int) -> Dictionary:
        """What communities mean to an AS."""
        return self.books.get(asn, self.common)


SHIPPED = Policies()
