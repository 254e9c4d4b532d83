"""Revisions, rollouts and strategies of a workload, and what a change of it would do: requests and answers."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StrictInt

from anypop.api.models.announcements import MOST_RULES, RuleRequest
from anypop.api.models.common import Answer, Moment, Request, left_out
from anypop.api.models.prices import Quote, WithoutEffect
from anypop.api.models.summaries import Summary
from anypop.api.models.workloads import Instance, Workload
from anypop.model.limits import MOST_ENTRIES
from anypop.model.reasons import Reason
from anypop.model.rollout import RolloutKind, RolloutPhase, Strategy
from anypop.plan.kinds import Few, Word

# What an operator may want at most: an hour of watching between two waves, and so many beside each other on a host.
LONGEST_S = 3600
MOST_SURGE = 100

Seconds = Annotated[float, Field(strict=True, ge=0, le=LONGEST_S, allow_inf_nan=False)]
CreatedAt = Annotated[Moment, Field(alias="createdAt")]


class StrategyRequest(Request):
    """How careful rollouts are. What is left out has its default."""

    model_config = ConfigDict(extra="forbid")

    bake_s: Annotated[Seconds | None, Field(description="how long a wave must be well before the next begins")] = None
    deadline_s: Annotated[Seconds | None, Field(description="how long a changed instance may take to be healthy")] = (
        None
    )
    failing_s: Annotated[Seconds | None, Field(description="how long an image may fail to be pulled")] = None
    surge: Annotated[
        StrictInt | None, Field(ge=1, le=MOST_SURGE, description="instances of a host beside those they replace")
    ] = None


class StrategyBody(Request):
    """A strategy, wrapped."""

    strategy: StrategyRequest


class StrategyAnswer(Answer):
    strategy: Strategy


class ScopeWaveRequest(Request):
    """The rules of one wave. `expected`: for each vantage the PoPs where it may land after it."""

    rules: Annotated[list[RuleRequest], Field(max_length=MOST_RULES)]
    expected: Annotated[dict[Word, Annotated[list[Word], Few]], Field(max_length=MOST_RULES)] | None = None


class RolloutRequest(Request):
    """A change of scopes in waves."""

    waves: Annotated[list[ScopeWaveRequest], Field(min_length=1, max_length=MOST_ENTRIES)]
    strategy: StrategyRequest | None = None


class RollbackRequest(Request):
    """Without a number: the last revision that ran everywhere."""

    revision: Annotated[StrictInt | None, Field(ge=1)] = None


class Revision(Answer):
    """A kept declaration of a workload. `good`: the last one that ran everywhere."""

    revision: int
    template: Annotated[str, Field(description="the hash of what its instances are made from")]
    created_at: CreatedAt
    newest: bool
    good: bool
    note: str
    images: list[str]


class Revisions(Answer):
    results: list[Revision]


class RolloutStatus(Answer):
    """`instances_on_it` of `instances` are on `revision`, the newest; `good`: the last one that ran everywhere, or
    0.
    """

    revision: int
    instances: int
    instances_on_it: int
    good: int


class WaveResult(Answer):
    """How a wave of scopes that is over went. `differs`: what was not as it should be at its end; empty: it is
    through.
    """

    seconds: float
    seen: Annotated[
        dict[str, str | None],
        Field(description="where each vantage landed at its end; empty: there was none to see it"),
    ]
    differs: list[str]


class Rollout(Answer):
    """A change on its way to instances (`update`, with its revisions) or announcements (`scopes`), wave after wave."""

    id: str
    kind: RolloutKind
    phase: RolloutPhase
    reason: Reason
    says: str
    message: str = left_out()
    by: str = left_out()
    wave: Annotated[int, Field(description="the one under way, from 1")]
    waves: Annotated[list[list[str]], Field(description="the PoPs of each")] = left_out()
    created_at: CreatedAt
    ended_at: Annotated[Moment, Field(alias="endedAt")] = left_out()
    seconds: float = left_out()
    vantages: Annotated[dict[str, str | None], Field(description="where each landed last; null: nobody answered")] = (
        left_out()
    )
    unasked: list[str] = left_out("vantages that could not ask in the last look: nothing is known of them")
    revision: int = left_out()
    previous: int = left_out("to which it reverts")
    results: list[WaveResult] = left_out("of scopes: the waves that are over")
    restored: bool = left_out(
        "of scopes that were taken back: whether the vantages land as before again; missing: not known (yet)"
    )


class Rollouts(RolloutStatus):
    results: list[Rollout]


class RolloutState(RolloutStatus):
    rollout: Rollout


class RolloutStarted(Answer):
    rollout: Rollout


class Redeclared(RolloutStatus):
    workload: Workload


class WatchedInstances(Answer):
    """The data of an event `instances`: all instances of the workload as they are now, and its newest rollout."""

    revision: int
    instances: list[Instance]
    instances_on_it: int
    good: int
    summary: Annotated[Summary, Field(description="of all of them, also where only a page is watched")]
    rollout: Rollout = left_out()


class Difference(Answer):
    """A field that differs; of a secret only that it does."""

    path: str
    before: Any = left_out()
    after: Any = left_out()
    secret: Literal[True] = left_out()


class RevisionChanges(Answer):
    """What differs in `revision` from the kept one `since`."""

    revision: int
    since: int
    changes: list[Difference]


class Counts(Answer):
    before: int
    after: int


class Quotes(Answer):
    before: Quote
    after: Quote


class Preview(Answer):
    """What a declaration would change. `new_processes`: instances are made anew for it, in these `waves` of PoPs."""

    changes: list[Difference] = left_out()
    new_processes: bool
    waves: list[list[str]] = left_out()
    instances: Counts
    quote: Quotes
    without_effect: list[WithoutEffect] = left_out()
