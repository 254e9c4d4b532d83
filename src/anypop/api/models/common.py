"""The parts that models share: their bases, times, pages, and members that may be left out.

In: nothing. Out: bases for `models`. Members of the Workload API are in camelCase there and in snake_case here; those
of `/anypop/v1` are in snake_case everywhere. No answer of the Workload API has a null: what is not there is left out.
"""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from anypop.model.limits import LONGEST_NAME

Moment = Annotated[str, Field(json_schema_extra={"format": "date-time"}, description="RFC 3339, UTC, microseconds")]
CountText = Annotated[str, Field(pattern="^[0-9]+$", description="a count of 64 bits, as text")]
Name = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME)]
Id = Annotated[str, Field(json_schema_extra={"format": "uuid"})]


def left_out(description: str = "") -> Any:
    """A member that may be missing from an answer, and is never null in it."""
    return Field(default_factory=lambda: None, description=description or None)


class Answer(BaseModel):
    """What `/anypop/v1` answers: these members and no others."""

    # Built at the first use: the process that serves never validates its own answers.
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class CamelAnswer(Answer):
    """What the Workload API answers."""

    model_config = ConfigDict(alias_generator=to_camel)


class Request(BaseModel):
    """What is sent: these members and no others, since one that is dropped in silence is a wish that nobody hears. A
    null one is as good as absent.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)


class CamelRequest(Request):
    """What clients of the Workload API send. Around what they mean they may send more than anybody asks for."""

    model_config = ConfigDict(alias_generator=to_camel, extra="ignore")


class PageInfo(CamelAnswer):
    """Where a page stands in its list. A cursor is the offset of an item; those of an empty page are empty."""

    total_count: CountText
    has_previous_page: bool
    has_next_page: bool
    start_cursor: str
    end_cursor: str


class Page(CamelAnswer):
    """One page of a list."""

    page_info: PageInfo


class ResourceMetadata(CamelAnswer):
    """The user's labels and annotations, and what the platform tells of the thing that has them."""

    labels: dict[str, str] = left_out()
    annotations: dict[str, str] = left_out()
    version: Annotated[CountText, Field(description="1 at first, one more with each change")]
    created_at: Moment
    updated_at: Moment = left_out()
