"""Lines of logs that were found: the answers."""

from typing import Annotated, Any

from pydantic import Field

from anypop.api.models.common import Answer, left_out
from anypop.model.log_text import Level

NanoMoment = Annotated[str, Field(json_schema_extra={"format": "date-time"}, description="RFC 3339, UTC, nanoseconds")]


class LogLine(Answer):
    """One line. `at`: when its host wrote it down. `text` is the line as it is. Of a JSON line `time` and `message` are
    its own and `fields` the rest; `level` is missing where the line tells none.
    """

    at: NanoMoment
    workload: str
    instance: str
    container: str
    pop: str
    stream: Annotated[str, Field(pattern="^(stdout|stderr)$")]
    text: str
    level: Level = left_out()
    time: str = left_out()
    message: str = left_out()
    fields: dict[str, Any] = left_out()


class SilentHost(Answer):
    """A host whose lines are not here, or not all of them."""

    host: str
    pop: str
    message: str


class FoundLines(Answer):
    """`lines`: the newest first. `cut`: there are older ones, or may be; they are had with `until` set to `back_to`."""

    lines: list[LogLine]
    cut: bool
    back_to: NanoMoment = left_out()
    silent: list[SilentHost]


class SkippedBytes(Answer):
    """So much of a container's log was passed over: more is written than a reader takes."""

    instance: str
    container: str
    bytes: int


class WatchedLines(Answer):
    """The data of an event `lines`: the oldest first."""

    lines: list[LogLine]
    skipped: list[SkippedBytes]
    silent: list[SilentHost]
