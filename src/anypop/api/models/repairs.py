"""A repair of announcements: its rules as they are sent, and what they would do."""

from typing import Annotated, Literal

from pydantic import Field

from anypop.api.models.announcements import MOST_RULES, RuleRequest, ScopeAnswer
from anypop.api.models.common import Answer, Request
from anypop.api.models.predictions import Difference
from anypop.plan.kinds import Word

LONGEST_WAIT_S = 3600.0


class RepairRequest(Request):
    """The rules that change, as `proposals` has them; the others stay."""

    rules: Annotated[list[RuleRequest], Field(min_length=1, max_length=MOST_RULES)]
    graph: Annotated[
        Literal["files", "lab"] | None, Field(description="as of predictions; default: the first that is there")
    ] = None


class MakeRepairRequest(RepairRequest):
    """`title`: noted beside each rule. `deadline_s`: how long a PoP may take to come out as predicted."""

    title: Word = ""
    deadline_s: Annotated[float, Field(ge=0.1, le=LONGEST_WAIT_S, allow_inf_nan=False)] = 60.0


class RepairRule(Answer):
    """How one PoP's announcement to one upstream is made."""

    pop: str
    upstream: str
    scope: ScopeAnswer


class RepairWave(Answer):
    """What changes in one PoP. `expected`: for each vantage the PoPs where it may land afterwards."""

    pop: str
    rules: list[RepairRule]
    expected: dict[str, list[str]]


class RepairPlan(Answer):
    """What a repair would do. `seen`: where each vantage lands now; `doubts`: where the model is wrong already."""

    graph: Annotated[str, Field(description="which graph it is, for people")]
    predicted: Difference
    seen: dict[str, str | None]
    waves: list[RepairWave]
    doubts: list[str]
