"""Predictions of the model and its proposals: questions as they are sent, answers as the command line prints them."""

from typing import Annotated, Literal

from pydantic import Field, StrictInt

from anypop.api.models.announcements import ScopeAnswer
from anypop.api.models.common import Answer, Request, left_out
from anypop.plan.kinds import Word, between

MOST_RULES = 100
MOST_NETWORKS = 1000
MOST_CAUSES = 50


class AdviceRequest(Request):
    """Of whose announcements, and over which graph."""

    workload: Annotated[Word, Field(description="id or slug; default: the only one with an anycast address")] = ""
    stack: Annotated[Word, Field(description="id or slug; needed where two stacks have such a workload")] = ""
    graph: Annotated[
        Literal["files", "lab"] | None,
        Field(
            description="`files`: those that the operator named; `lab`: the running lab. "
            "Default: the first that is there"
        ),
    ] = None


class PredictionRequest(AdviceRequest):
    """Where would every network land? Without a workload that announces anything: as if every PoP announced to every
    upstream.
    """

    what_if: list[Word] = Field(
        default_factory=list,
        max_length=MOST_RULES,
        description="rules, one after the other, as `withhold:JFK:209` or `prepend:LAX:209:2`",
    )
    top: Annotated[
        StrictInt, between(0, MOST_NETWORKS, "networks"), Field(description="so many of the biggest networks")
    ] = 10


class ProposalRequest(AdviceRequest):
    """Who lands too far away, because of whom, and what mends it?"""

    causes: Annotated[StrictInt, between(1, MOST_CAUSES, "causes"), Field(description="so many, the worst first")] = 5
    repairs: Annotated[StrictInt, between(1, MOST_CAUSES, "repairs"), Field(description="so many of each cause")] = 5
    far_km: Annotated[
        float, Field(ge=1, le=40_000, description="further than this beyond the nearest PoP is too far")
    ] = 1500.0


class ShareRow(Answer):
    """A group of networks. `weight`: its part of everybody; `sure`: the part of it that no tie can change."""

    name: str | None
    sites: int
    weight: float
    sure: float
    extra_km: float | None


class NetworkRow(Answer):
    """One network in one place. `extra_km`: how far beyond its nearest PoP it lands."""

    asn: int
    city: str | None
    region: str | None
    pop: str | None
    path: list[int]
    kind: str | None
    confidence: Literal["pinned", "single", "tie", "no route"]
    ties: list[str]
    nearest: str | None
    extra_km: float | None
    weight: float
    latitude: float = left_out("degrees north, of a city that is known")
    longitude: float = left_out("degrees east")
    was: str | None = left_out("where a change was asked about: the PoP where it lands now; null: no route")


class MoveRow(Answer):
    """Networks that move from one PoP to another; null: no route. `km`: how much further, on average."""

    from_: Annotated[str | None, Field(alias="from")]
    to: str | None
    networks: int
    weight: float
    km: float | None
    sure: float


class Difference(Answer):
    """What a change moves. Parts of everybody: `winners` come nearer, `losers` go further, `lost` lose their route."""

    sentence: str
    changes: list[str]
    moves: list[MoveRow]
    stay: int
    winners: float
    losers: float
    lost: float


class Prediction(Answer):
    """Where every network lands. `stable` false: the preferences asked for never come to rest."""

    graph: Annotated[str, Field(description="which graph it is, for people")]
    networks: int
    sites: int
    mean_extra_km: float | None
    stable: bool
    by_pop: list[ShareRow]
    by_region: list[ShareRow]
    by_country: list[ShareRow]
    biggest: list[NetworkRow]
    change: Difference = left_out("where rules were asked for")


class PlannedLandings(Prediction):
    """Where every network would land by a plan. `change`: of a workload that announces already."""

    carried_to: Annotated[
        dict[str, str], Field(description="by PoP without an instance, the one that answers what comes in there")
    ]


class ChangedSession(Answer):
    """A PoP's session with its new scope. `added`: it does not exist yet."""

    pop: str
    upstream: str
    asn: int
    scope: ScopeAnswer
    added: bool


class RepairRow(Answer):
    """A repair, scored on the whole graph. `commands` make it; `bird_conf`: for each PoP the lines that come and go.
    `blocked`: why it cannot be applied from here. `gain`: the part of everybody that it is expected to mend less what
    it harms; in eight of ten ways in which what the model does not know may be, it is between `gain_low` and
    `gain_high`.
    """

    number: str
    kind: str
    title: str
    changes: list[ChangedSession]
    blocked: str | None
    gain: float | None
    gain_low: float | None
    gain_high: float | None
    cured: int
    mended: int
    harmed: int
    unsure: int
    mended_weight: float
    harmed_weight: float
    gain_km: float | None
    note: str | None
    commands: list[str]
    bird_conf: dict[str, list[str]]


class SessionName(Answer):
    pop: str
    upstream: str


class CauseRow(Answer):
    """Networks in `region` that land in `landed` because of what the network `asn` decides."""

    number: str
    sentence: str
    asn: int
    region: str | None
    landed: str
    nearest: str
    homes: list[str]
    refused: Annotated[bool, Field(description="it held a route to the nearest PoP and took another")]
    networks: int
    weight: float
    suffering_km: float
    sessions: list[SessionName]
    repairs: list[RepairRow]


class Proposals(Answer):
    """Who lands too far away, and what mends it."""

    graph: Annotated[str, Field(description="which graph it is, for people")]
    workload: str | None
    networks: int
    strays: int
    stray_weight: float
    causes: list[CauseRow]
    new_pops: Annotated[
        list[RepairRow],
        Field(description="where a new PoP would help most, counted as if it were a nearest one already"),
    ]
