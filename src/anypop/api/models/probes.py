"""Vantages, probes, and why a vantage lands where it lands."""

from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StrictInt

from anypop.api.models.common import Answer, Request, left_out
from anypop.plan.kinds import Few, PortNumber, Word, between

MOST_REQUESTS = 1000


def _address(value: Any) -> Any:
    try:
        return None if value in ("", None) else ip_address(str(value))
    except ValueError as error:
        raise ValueError("must be an IPv4 or IPv6 address") from error


Address = Annotated[IPv4Address | IPv6Address | None, BeforeValidator(_address)]
Family = Annotated[Literal[4, 6], BeforeValidator(lambda value: int(value) if value in ("4", "6") else value)]
Requests = Annotated[StrictInt, between(1, MOST_REQUESTS, "requests")]


class Goal(Request):
    """What to ask: a workload of one of the caller's stacks, or an address."""

    workload: Annotated[Word, Field(description="id or slug")] = ""
    stack: Annotated[Word, Field(description="id or slug; needed where two stacks have such a workload")] = ""
    address: Annotated[Address, Field(description="in place of a workload")] = None
    port: Annotated[PortNumber | None, Field(description="default: the workload's first TCP port, else 80")] = None
    family: Annotated[Family, Field(description="6: the workload's IPv6 address")] = 4


class ProbeRequest(Goal):
    """Requests from vantages, one after the other from each, all vantages side by side."""

    requests: Requests = 15
    vantages: Annotated[Annotated[list[Word], Few] | None, Field(description="names; default: all")] = None
    vantage: Annotated[Word | None, Field(description="one name, in place of a list")] = None


class WhyQuery(Goal):
    """The question why a vantage or a router lands where it lands."""

    target: Annotated[Word, Field(description="a vantage or a router")] = ""
    vantage: Annotated[Word, Field(description="another name for target")] = ""


class VantageRow(Answer):
    """A place to test from. `nearest`: the PoP closest to it."""

    name: str
    city: str
    asn: int
    address: str
    nearest: str | None
    city_name: str = left_out()
    latitude: float = left_out("degrees north, of a city that is known")
    longitude: float = left_out("degrees east")


class VantageList(Answer):
    results: list[VantageRow]
    note: str = left_out("why there is none")


class ProbeAnswer(Answer):
    """One request: which instance answered, or why none did."""

    instance: str | None
    seconds: float
    error: str | None
    asked: bool = left_out("false: the vantage itself could not send it, so it says nothing about who is asked")


class VantageProbes(Answer):
    """What one vantage saw. `pop`: where most requests landed (where hosts carry for each other: where they came in, by
    the routers); `nearest`: where they should have.
    """

    vantage: str
    city: str
    asn: int
    requests: int
    asked: Annotated[int, Field(description="how many of them the vantage could send; of the others nothing is known")]
    nearest: str | None
    answered: int
    seconds: float
    pop: str | None
    hits: Annotated[dict[str, int], Field(description="requests for each instance")]
    errors: list[str]
    answers: list[ProbeAnswer]
    served: dict[str, int] = left_out("where hosts carry for each other: requests that each PoP answered")
    carried: int = left_out("how many of them came in at another PoP than the one that answered")


class Probes(Answer):
    address: str
    results: list[VantageProbes]
