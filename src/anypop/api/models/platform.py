"""What `/anypop/v1` tells of the platform: PoPs and hosts, events, the network, dictionaries of communities."""

from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, ConfigDict, Field

from anypop.api.models.announcements import SharedPrefix
from anypop.api.models.common import Answer, Moment, Request, left_out
from anypop.api.models.dials import DialState
from anypop.api.models.workloads import InstancePhase, Location
from anypop.model.backbone import BackboneRules
from anypop.model.machine import Acceleration
from anypop.model.network import Capacity, Network
from anypop.model.reasons import Reason


class Health(Answer):
    """Control is ready. `lease`: that of being the one control that may write. `plan_age_s`: seconds since its last
    step; hosts report every few seconds, and each report is a step.
    """

    status: Literal["ok"]
    store: Literal["writable"]
    lease: Literal["held"]
    plan_age_s: float


class PopSession(Answer):
    """A BGP session by the PoP's last report. `state` is `unknown` while the PoP is not trusted, `refused` where BIRD
    did not take it. `rests`: it flaps, and nothing is announced on it for now.
    """

    upstream: str
    asn: int | None
    family: Literal[4, 6]
    state: str
    since: float | None
    imported: int
    exported: int
    error: str
    rests: bool = False


class PopPrefix(Answer):
    """A covering prefix by the PoP's last report. `upstreams`: those that hear it."""

    prefix: str
    announced: bool
    upstreams: list[str]
    reason: Reason
    says: str
    wants_withdraw: bool
    vacant: Annotated[bool, Field(description="no instance of any of its addresses runs there")] = False
    trusted: bool


class Tunnel(Answer):
    """A tunnel to another host. Bytes of packets inside it since it was made."""

    host: Annotated[str, Field(description="the other one")]
    up: Annotated[bool, Field(description="it answers, and its host is to be believed")]
    since: float | None
    sent_bytes: int
    received_bytes: int


class PopTunnel(Tunnel):
    """A tunnel of one of the PoP's hosts."""

    from_host: Annotated[str, Field(alias="from")]


class PopInstances(Answer):
    """How many instances there are, how many are healthy for certain, and how many are in each phase."""

    total: int
    healthy: int
    phases: dict[InstancePhase, int]


class HostReport(Answer):
    """A host: what it was ordered, what it reported, and whether that is to be believed."""

    host: str
    trusted: bool
    verdict: Literal["trusted", "drained", "unknown"]
    reason: Reason
    says: Annotated[str, Field(description="the reason as a sentence")]
    generation: Annotated[int, Field(description="of the order that was issued")]
    obeyed: Annotated[int, Field(description="the generation that the agent obeys; 0: none yet")]
    refused: Annotated[Reason | None, Field(description="why the agent does not obey")]
    sessions: list[PopSession]
    prefixes: list[PopPrefix]
    instances: PopInstances
    report_age_s: float | None
    agent_age_s: Annotated[float | None, Field(description="since the agent's process began; null: not told")]
    drain: str = left_out("the drain that stands over it, and its stage")


class PopState(Answer):
    """A PoP as its hosts together: trusted when each of them is; else what is wrong with the first that is not well."""

    pop: str
    city: str
    location: Location
    trusted: bool
    verdict: Literal["trusted", "drained", "unknown"]
    reason: Reason
    says: str
    generation: int
    obeyed: int
    refused: Reason | None
    sessions: list[PopSession]
    prefixes: list[PopPrefix]
    instances: PopInstances
    report_age_s: float | None
    hosts: list[HostReport]
    drain: str = left_out("the drains that stand over it or one of its upstreams, and their stages")
    dial: str = left_out("how much of its new connections it keeps, and whether that is in force")
    shared: list[SharedPrefix] = left_out("for the operator alone, where accounts share prefixes")
    tunnels: list[PopTunnel] = left_out("for the operator alone, where hosts carry for each other")
    drift: list[str] = left_out("for the operator alone")
    errors: list[str] = left_out("for the operator alone")
    orphans: list[str] = left_out("for the operator alone")


class BackboneTunnel(PopTunnel):
    """A tunnel of a host, and how far away the other one is."""

    distance_km: Annotated[int | None, Field(description="0 in the same PoP; null: it has left the network")]


class SentThrough(Answer):
    """What one host sent to another in a month."""

    from_host: Annotated[str, Field(alias="from")]
    host: str
    sent_bytes: int
    price: Annotated[float, Field(description="by the price book's backbone_gb")]


class BackboneMonth(Answer):
    """What all hosts sent in a month (UTC): each byte counts once, where it was sent."""

    month: Annotated[str, Field(pattern="^[0-9]{4}-[0-9]{2}$")]
    sent_bytes: int
    price: Annotated[float, Field(description="by the price book's backbone_gb")]
    currency: str
    tunnels: list[SentThrough]


class BackboneState(Answer):
    """The backbone: `carried` are the prefixes whose addresses hosts carry for each other, `dials` what PoPs
    send to others though they serve it.
    """

    on: bool
    rules: BackboneRules = left_out()
    carried: list[str]
    tunnels: list[BackboneTunnel]
    dials: list[DialState]
    months: list[BackboneMonth]


class Pops(Answer):
    results: list[PopState]


class HostState(Answer):
    """A host with its room. `capacity` is the operator's own figure, or what the agent tells of the machine."""

    host: str
    pop: str
    state: Literal["in use", "drained", "lost", "evicted"]
    trusted: bool
    reason: Reason
    says: str
    instances: PopInstances
    drain: str = left_out("the drain that stands over it, and its stage")
    evicted_at: Annotated[Moment, Field(alias="evictedAt")] = left_out()
    capacity: Capacity = left_out()
    capacity_by: Literal["operator", "agent"] = left_out()
    machines: Acceleration = left_out("with what it runs virtual machines (`none`: it runs none), as its agent tells")
    taken: Annotated[Capacity, Field(description="what the instances that are placed here ask for")]
    tunnels: list[Tunnel] = left_out("where hosts carry for each other")


class Hosts(Answer):
    results: list[HostState]


class Event(Answer):
    """Something that happened. `at` is in seconds since the epoch; `fields` are its facts, the same for each kind;
    `actor`: whose request it follows from, empty where nobody asked for it.
    """

    id: int
    at: float
    kind: str
    subject: str
    message: str
    fields: dict[str, str | int | bool | None]
    stack_id: str | None
    actor: str


class Events(Answer):
    results: list[Event]


class AuditEntry(Answer):
    """Somebody did something. `operation`: as this description names it; `before` and `after`: of what was changed,
    without secrets; `outcome`: done, or refused (a sign-in); `actor`: the account's name and the client id.
    """

    id: int
    at: float
    account_id: str | None
    actor: str
    operation: str
    subject: str
    stack_id: str | None
    address: str
    request_id: str
    outcome: Literal["done", "refused"]
    before: Any
    after: Any


class AuditLog(Answer):
    results: list[AuditEntry]


class PruneRequest(Request):
    """Up to when the audit log is let go."""

    before: Annotated[AwareDatetime, Field(description="RFC 3339 with a time zone")]


class Pruned(Answer):
    removed: int


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
