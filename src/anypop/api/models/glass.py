"""The looking glass of a host, and what a pasted answer of any router means: requests and answers."""

from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, StrictInt

from anypop.api.models.common import Answer, Request
from anypop.api.models.predictions import AdviceRequest
from anypop.api.models.probes import Address, Family
from anypop.model.streams import RoutesQuestion
from anypop.plan.kinds import Word, between
from anypop.routing.paste.pasted import Style

LONGEST_PASTE = 131_072  # characters: some hundred routes with all their attributes


def _prefix(value: Any) -> Any:
    try:
        return None if value in ("", None) else ip_network(str(value))
    except ValueError as error:
        raise ValueError("must be a prefix, such as 198.51.100.0/24") from error


class GlassQuery(Request):
    """The question to a host's router."""

    question: Annotated[RoutesQuestion, Field(description="which of the closed list")]
    address: Annotated[Address, Field(description="of `route`")] = None
    upstream: Annotated[Word, Field(description="of `told` and `heard`: its name in the PoP")] = ""
    family: Annotated[Family, Field(description="of `told` and `heard`")] = 4


class GlassAnswer(Answer):
    """What the router said, in its own words."""

    host: str
    question: RoutesQuestion
    text: Annotated[str, Field(description="of BIRD, cut after 500 lines")]


class ExplainRequest(AdviceRequest):
    """What a router printed about a prefix. The model is asked where `at` is given: `workload`, `stack` and `graph` are
    for it.
    """

    text: Annotated[str, Field(min_length=1, max_length=LONGEST_PASTE)]
    asn: Annotated[
        StrictInt | None,
        between(1, (1 << 32) - 1, "AS numbers"),
        Field(description="yours; default: the origin that all paths share"),
    ] = None
    prefix: Annotated[
        IPv4Network | IPv6Network | None, BeforeValidator(_prefix), Field(description="only this one, of several")
    ] = None
    style: Annotated[Style | None, Field(description="whose text it is; default: seen from the text")] = None
    at: Annotated[Word, Field(description="whose router it is, as `AS64497`, `AS64497-LHR` or a vantage's name")] = ""


class PastedRow(Answer):
    """One route of the text, and what became of it."""

    line: int
    best: bool
    as_path: list[int]
    local_pref: int
    origin: str
    med: int
    ebgp: bool
    igp_metric: int
    age_s: float | None
    router_id: str
    neighbor: str
    next_hop: str
    protocol: str
    precedence: int
    originator: str | None
    cluster_list: list[str]
    multipath: bool
    reason: str | None
    doubts: list[str]
    eliminated_by: str | None
    unusable: str | None
    upstream: int | None
    prepends: int
    communities: list[str]
    meanings: Annotated[list[dict[str, str]], Field(description="of its communities, by the dictionaries of its path")]
    lasts: str | None


class PastedMove(Answer):
    """What the router would do if less were announced to one upstream."""

    upstream: int
    instead: list[int] | None
    instead_upstream: int | None
    prepends: int | None
    guess: bool


class Expected(Answer):
    """What the model expects of the router, beside what it chose."""

    network: int
    city: str
    as_path: list[int]
    pop: str | None
    confidence: str
    ties: list[str]
    graph: str
    agrees: Annotated[bool | None, Field(description="null where nothing can be said")]
    held: Annotated[bool | None, Field(description="whether the router has the route that the model expects")]
    says: str


class Explained(Answer):
    """One decision of the router whose text it is."""

    style: Style
    prefix: str | None
    table: str | None
    subject: str | None
    asn: int | None
    notes: list[str]
    whole: bool
    sure: bool
    marked: bool
    best: list[int] | None
    runner_up: list[int] | None
    decided_by: str | None
    disagrees: list[str]
    candidates: list[PastedRow]
    upstreams: dict[str, int]
    move: PastedMove | None
    sentences: list[str]
    expected: Annotated[Expected | None, Field(description="with `at`")] = None


class Explanations(Answer):
    results: list[Explained]
