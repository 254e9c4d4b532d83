"""Drains: what is asked, and how they stand."""

from typing import Annotated

from pydantic import AwareDatetime, ConfigDict, Field

from anypop.api.models.common import Answer, Moment, Name, Request, left_out
from anypop.api.models.rollouts import Seconds
from anypop.model.drain import DrainKind, DrainStage
from anypop.model.reasons import Reason

LONGEST_DRAIN_S = 86_400  # a day of waiting for long flows to end

Deadline = Annotated[float, Field(strict=True, ge=0, le=LONGEST_DRAIN_S, allow_inf_nan=False)]


class DrainBody(Request):
    """What to take the traffic from, and how long to wait for it to go."""

    model_config = ConfigDict(extra="forbid")

    target: Annotated[
        Name, Field(description="a PoP (LHR), its upstream (LHR/level3), a host (LHR-2, host:LHR), or an instance")
    ]
    stack: Annotated[Name | None, Field(description="of an instance, by id or slug, where its name is not enough")] = (
        None
    )
    until: Annotated[AwareDatetime | None, Field(description="RFC 3339; it comes back by itself then")] = None
    deadline_s: Annotated[
        Deadline | None, Field(description="how long leaving, and each stage of the return, waits at most (300)")
    ] = None
    calm_s: Annotated[Seconds | None, Field(description="how long each stage of the return must be well (10)")] = None


class DrainRequest(Request):
    """A drain, wrapped."""

    drain: DrainBody


class HeldPrefix(Answer):
    """A prefix that stays announced there, at the lowest preference: `left` PoPs would announce it in health without
    this one, and `floor` have to.
    """

    prefix: str
    reason: Reason
    says: str
    left: int
    floor: int


class DrainTraffic(Answer):
    """What arrives from outside for the drained prefixes, in a second; `first_*`: the most that was measured."""

    first_packets: float
    first_bytes: float
    packets: float
    bytes: float


class DrainedStage(Answer):
    """A stage that is over. `differs`: what it did not wait for any longer; empty: it was through."""

    stage: DrainStage
    seconds: float
    differs: str


class DrainLanding(Answer):
    """Where a vantage landed that asked for an address of a prefix."""

    prefix: str
    vantage: str
    pop: str | None
    asked: bool = left_out("false: the vantage could not ask, so nothing is known")


class DrainState(Answer):
    """A drain. `stage`: which one it is at, `says` and `message` why; `leaves`: traffic is taken away, or is; False: it
    is on its way back, or over. `withdrawn`: prefixes that others announced in health when they were let go here.
    `stuck`: vantages that still land there although it is withdrawn.
    """

    id: str
    target: str
    kind: DrainKind
    pop: str
    stage: DrainStage
    leaves: bool
    reason: Reason
    says: str
    message: str = left_out()
    by: str = left_out()
    deadline_s: float
    calm_s: float
    until: Moment = left_out("it comes back by itself then")
    created_at: Annotated[Moment, Field(alias="createdAt")]
    ended_at: Annotated[Moment, Field(alias="endedAt")] = left_out()
    seconds: Annotated[float, Field(description="in this stage, or until it was over")]
    withdrawn: list[str] = left_out("for the operator")
    held: list[HeldPrefix] = left_out("for the operator")
    traffic: DrainTraffic = left_out("once it is measured")
    stages: list[DrainedStage] = left_out()
    before: list[DrainLanding] = left_out("where vantages landed before; for the operator")
    after: list[DrainLanding] = left_out("and after the withdrawal; for the operator")
    stuck: list[str] = left_out("for the operator")


class Drains(Answer):
    results: list[DrainState]


class DrainAnswer(Answer):
    drain: DrainState
