"""A catchment measured with pings from an anycast address, or seen in the PoPs' own traffic: requests and answers."""

from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from anypop.api.models.common import Answer, Moment, Request
from anypop.model.streams import MOST_PINGED
from anypop.plan.kinds import Word


def _address(value: Any) -> Any:
    try:
        return ip_address(str(value))
    except ValueError as error:
        raise ValueError("must be an IPv4 or IPv6 address") from error


Pinged = Annotated[IPv4Address | IPv6Address, BeforeValidator(_address)]


class CatchmentRequest(Request):
    """Whom to ask, from which address, and which PoP sends."""

    pop: Annotated[Word, Field(description="the PoP that sends: a city code")]
    address: Annotated[
        Pinged, Field(description="an anycast address, or another one of a prefix that the PoP announces")
    ]
    targets: Annotated[
        list[Pinged], Field(min_length=1, max_length=MOST_PINGED, description="of the same family as the address")
    ]


class LandedRow(Answer):
    """An address that answered, and a PoP where its answer came in."""

    target: str
    pop: str


class Catchment(Answer):
    """Where the answers came in. `unsent`: addresses that the PoP has no way to; `deaf`: hosts that could not be asked
    to listen: what came in there is not known.
    """

    sent: int
    unsent: int
    deaf: list[str]
    results: list[LandedRow]


class SeenRow(Answer):
    """One announcement of a prefix under which traffic was looked at."""

    id: str
    prefix: str
    plan: Annotated[str, Field(description="what was announced, as a plan file")]
    first_at: Annotated[Moment, Field(description="when that was first seen")]
    begun_at: Annotated[Moment, Field(description="when it last came in force")]
    sources: Annotated[int, Field(description="how many networks were seen, once for each PoP")]


class SeenCatchments(Answer):
    """All of them."""

    results: list[SeenRow]


class LandedSources(Answer):
    """What came in at one PoP."""

    pop: str
    sources: list[str]


class SeenCatchment(Answer):
    """Networks by PoP; one that came in at several is told of each."""

    landed: list[LandedSources]
