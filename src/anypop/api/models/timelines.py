"""When each instance of a workload came how far: the answer."""

from typing import Annotated

from pydantic import Field

from anypop.api.models.common import Answer, Moment


class TimelineStep(Answer):
    """`by`: whose clock told the time, `control` or the host's name. `after_ms`: since the declaration was accepted, by
    control's clock; the time of a host is corrected by `ahead_ms` of its clock.
    """

    step: str
    at: Moment
    by: str
    after_ms: float


class InstanceTimeline(Answer):
    """One incarnation. `complete`: it is announced and a neighbour has been told. Of one that was found running by an
    agent that has started since, nobody knows more than control does.
    """

    name: str
    uid: str
    host: str
    revision: int
    complete: bool
    steps: list[TimelineStep]


class HostClock(Answer):
    """`ahead_ms`: how far a host's clock runs before control's, as its last report tells: the way of a report (some
    milliseconds) makes it less than it is, and a time between two hosts is no truer than that.
    """

    host: str
    ahead_ms: float


class Timeline(Answer):
    workload: str
    revision: int
    accepted_at: Annotated[Moment, Field(alias="acceptedAt")]
    instances: list[InstanceTimeline]
    clocks: list[HostClock]
