"""Workloads at a glance: what a list of many shows, without a single instance in it."""

from typing import Annotated

from pydantic import Field

from anypop.api.models.common import CamelAnswer, CountText, Id, Moment, Page, left_out

Phases = Annotated[dict[str, int], Field(description="how many instances are in each phase")]
Healthy = Annotated[int, Field(description="how many run and are healthy for certain")]


class NamedWorkload(CamelAnswer):
    """What a list of summaries is filtered and sorted by. `anycast`: its addresses."""

    id: Id
    name: str
    slug: str
    created_at: Moment
    anycast: list[str]


class CitySummary(CamelAnswer):
    city_code: str
    city: str
    country: str = left_out()
    continent: str = left_out()
    phases: Phases
    healthy: Healthy


class Summary(NamedWorkload):
    """`anycast`: its addresses. `phases` and `healthy`: of all its instances; `cities`: the same,
    where each is.
    """

    version: CountText
    images: list[str]
    phases: Phases
    healthy: Healthy
    cities: list[CitySummary]
    delete_requested_at: Moment = left_out()


class SummaryPage(Page):
    results: list[Summary]
