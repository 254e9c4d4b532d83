"""Tests of a workload's anycast address from every vantage: as they are asked for, kept and compared."""

from typing import Annotated

from pydantic import Field

from anypop.api.models.common import Answer, Request, left_out
from anypop.api.models.probes import Family, Requests


class LandingTestRequest(Request):
    """So many requests from every vantage, one after the other, all vantages side by side."""

    requests: Requests = 15
    family: Annotated[Family, Field(description="6: the workload's IPv6 address")] = 4


class LandingTestSummary(Answer):
    """A kept test in figures. `astray`: vantages that landed further than 1,500 km beyond their nearest PoP."""

    id: str
    at: Annotated[float, Field(description="seconds since the epoch")]
    by: str
    address: str
    requests: int
    vantages: int
    asked: int
    answered: int
    astray: int
    instances: Annotated[int, Field(description="that answered at least once")]
    seconds: Annotated[float, Field(description="of the slowest vantage")]


class LandingTestRow(Answer):
    """What one vantage saw. `extra_km`: how far beyond its nearest PoP it landed; null: not known."""

    vantage: str
    city: str
    asn: int
    nearest: str | None
    pop: str | None
    extra_km: float | None
    asked: Annotated[int, Field(description="how many it could send; of the others nothing is known")]
    answered: int
    seconds: Annotated[float, Field(description="for all requests together")]
    median_ms: Annotated[float | None, Field(description="of those that were answered")]
    hits: Annotated[dict[str, int], Field(description="requests for each instance")]
    errors: Annotated[dict[str, int], Field(description="how often each came")]
    served: dict[str, int] = left_out("where hosts carry for each other: requests that each PoP answered")
    carried: int = left_out("how many of them came in at another PoP than the one that answered")


class Compared(Answer):
    """One vantage then and now; null: it was not there. `moved`: it lands in another PoP."""

    vantage: str
    before: str | None
    after: str | None
    moved: bool
    extra_km_before: float | None
    extra_km_after: float | None
    median_ms_before: float | None
    median_ms_after: float | None
    answered_before: int | None
    answered_after: int | None


class LandingTest(LandingTestSummary):
    """A kept test whole. `against` and `compared`: beside an earlier one, where that was asked for."""

    results: list[LandingTestRow]
    hits: Annotated[dict[str, int], Field(description="requests for each instance, from everywhere")]
    against: LandingTestSummary = left_out("the other test")
    compared: list[Compared] = left_out("vantage by vantage")


class LandingTestAnswer(Answer):
    test: LandingTest


class LandingTests(Answer):
    """The newest first."""

    results: list[LandingTestSummary]
