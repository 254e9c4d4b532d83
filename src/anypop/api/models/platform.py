"""What `/anypop/v1` tells of the platform: prices, PoPs, events, dictionaries of communities."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from anypop.api.models.common import Answer, CamelAnswer, Request, left_out
from anypop.api.models.workloads import InstancePhase, Location
from anypop.model.network import Network
from anypop.model.reasons import Reason


class Health(Answer):
    """`stopping`: control has been told to end."""

    status: Literal["ok", "stopping"]


class QuoteLine(Answer):
    """One item of a price."""

    item: str
    quantity: int
    unit_hourly: float
    hourly: float
    monthly: float


class WithoutEffect(Answer):
    """What was accepted and has no effect yet."""

    field: str
    description: str


class Quote(Answer):
    """What a workload costs while all its instances run."""

    currency: str
    lines: list[QuoteLine]
    hourly: float
    monthly: float
    without_effect: list[WithoutEffect] = left_out()


class PricedSize(CamelAnswer):
    """A size of instance and its price for an hour."""

    name: str
    cpu_millis: int
    memory_bytes: int
    hourly: float


class PriceBook(CamelAnswer):
    """The prices that quotes are made of. Sizes stand from small to large."""

    currency: str
    hours_per_month: int
    anycast_hourly: float
    sizes: list[PricedSize]


class PopSession(Answer):
    """A BGP session by the PoP's last report. `state` is `unknown` while the PoP is not trusted."""

    upstream: str
    asn: int | None
    family: Literal[4, 6]
    state: str
    since: float | None
    imported: int
    exported: int
    error: str


class PopPrefix(Answer):
    """A covering prefix by the PoP's last report. `upstreams`: those that hear it."""

    prefix: str
    announced: bool
    upstreams: list[str]
    reason: Reason
    says: str
    wants_withdraw: bool
    trusted: bool


class PopInstances(Answer):
    """How many instances there are, how many are healthy for certain, and how many are in each phase."""

    total: int
    healthy: int
    phases: dict[InstancePhase, int]


class PopState(Answer):
    """A PoP: what it was ordered, what it reported, and whether that is to be believed."""

    pop: str
    city: str
    location: Location
    trusted: bool
    verdict: Literal["trusted", "unknown"]
    reason: Reason
    says: Annotated[str, Field(description="the reason as a sentence")]
    generation: Annotated[int, Field(description="of the order that was issued")]
    obeyed: Annotated[int, Field(description="the generation that the agent obeys; 0: none yet")]
    refused: Annotated[Reason | None, Field(description="why the agent does not obey")]
    sessions: list[PopSession]
    prefixes: list[PopPrefix]
    instances: PopInstances
    report_age_s: float | None
    drift: list[str] = left_out("for the operator alone")
    errors: list[str] = left_out("for the operator alone")
    orphans: list[str] = left_out("for the operator alone")


class Pops(Answer):
    results: list[PopState]


class Event(Answer):
    """Something that happened. `at` is in seconds since the epoch."""

    id: int
    at: float
    kind: str
    subject: str
    message: str
    stack_id: str | None


class Events(Answer):
    results: list[Event]


class NetworkRequest(Request):
    """The document, wrapped."""

    network: Network


class DictionarySummary(Answer):
    """A network that has a dictionary of action communities."""

    asn: int
    name: str
    entries: int


class Dictionaries(Answer):
    results: list[DictionarySummary]


class Action(Answer):
    """What a community asks for. `kind` says which other members there are."""

    model_config = ConfigDict(extra="allow")

    kind: str


class DictionaryEntry(Answer):
    """One community of a network. `invented`: made up for the lab; `verified`: seen to work."""

    community: str
    meaning: str
    action: Action
    source: str
    date: str
    invented: bool
    verified: bool


class CommunityDictionary(Answer):
    """The communities that a network acts on, the well-known ones included."""

    asn: int
    name: str
    note: str
    entries: list[DictionaryEntry]
