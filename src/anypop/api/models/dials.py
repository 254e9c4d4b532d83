"""Dials: what is asked, and how they stand."""

from typing import Annotated

from pydantic import ConfigDict, Field

from anypop.api.models.common import Answer, Moment, Name, Request, left_out
from anypop.model.dial import InForce
from anypop.model.reasons import Reason

Percent = Annotated[int, Field(strict=True, ge=0, le=100)]


class DialBody(Request):
    """How much of its new connections a PoP is to keep. `shed_above`: of a whole PoP; null: it sheds no more."""

    model_config = ConfigDict(extra="forbid")

    pop: Annotated[Name, Field(description="by its city code")]
    workload: Annotated[Name | None, Field(description="of this one alone, by slug or id; left out: of all")] = None
    stack: Annotated[Name | None, Field(description="of the workload, by id or slug; left out: any of one's own")] = (
        None
    )
    percent: Annotated[Percent | None, Field(description="100: as without a dial; left out: as it is")] = None
    shed_above: Annotated[
        Annotated[int, Field(strict=True, ge=1, le=100)] | None,
        Field(description="the load, in percent of what its hosts have, above which the PoP sheds by itself"),
    ] = None
    note: Annotated[str | None, Field(max_length=200, description="why")] = None
    version: Annotated[
        int | None, Field(strict=True, ge=0, description="that was seen; refused where it is another one; 0: none yet")
    ] = None


class DialRequest(Request):
    """A dial, wrapped."""

    dial: DialBody


class DialState(Answer):
    """A dial. `percent`: what was asked for; `keeps`: what counts, with what is shed. `in_force`: whether the PoP's
    hosts do it by their last reports (`partly`: some; `plain`: there is nothing to do), and `says` why.
    """

    pop: str
    workload: str = left_out("of a whole PoP")
    stack: str = left_out("of a whole PoP")
    percent: Percent
    keeps: Percent
    in_force: InForce
    reason: Reason
    says: str
    version: int
    note: str = left_out()
    by: str = left_out()
    by_operator: bool
    set_at: Annotated[Moment, Field(alias="setAt")] = left_out()
    shed_above: int = left_out("it does not shed")
    shed_to: Percent = left_out("it does not shed")
    load: float = left_out("of a PoP that sheds, in percent of what its hosts have, by their last measure")


class Dials(Answer):
    results: list[DialState]


class DialAnswer(Answer):
    dial: DialState
