"""How far announcements go: rules as they are sent, and each prefix x PoP x upstream as it is answered."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from anypop.api.models.common import Answer, Request, left_out
from anypop.model.extended_communities import WRITTEN
from anypop.model.limits import LONGEST_NOTE
from anypop.model.reasons import Reason
from anypop.plan.kinds import Few, Word
from anypop.routing.actions import Neighbours, Region

Mode = Literal["announce", "withhold"]
CommunityText = Annotated[str, Field(pattern=f"^([0-9]{{1,10}}(:[0-9]{{1,10}}){{1,2}}|{WRITTEN})$", max_length=32)]
CommunityParts = Annotated[list[int], Field(max_length=3)]
# of every PoP and upstream, also of a large platform
MOST_RULES = 10_000


class ScopeRequest(Request):
    """How an announcement is made. A community is `"209:7100"` or `[209, 7100]`, a large one has three parts, an
    extended one a name (`"rt:6939:70"`). In place of one it may say what the upstream shall do; a rule is refused where
    the upstream has no community for that.
    """

    model_config = ConfigDict(extra="forbid")

    mode: Mode = "announce"
    prepend: Annotated[int, Field(ge=0, le=8)] = 0
    communities: Annotated[list[CommunityText | CommunityParts], Few] | None = None
    large_communities: Annotated[list[CommunityText | CommunityParts], Few] | None = None
    extended_communities: Annotated[list[CommunityText], Few] | None = None
    keep_in: Annotated[Region | None, Field(description="by the upstream's own community: kept in this continent")] = (
        None
    )
    no_export_to: Annotated[
        int | Neighbours | None,
        Field(description="by the upstream's own community: not passed on to this network, or to these"),
    ] = None
    lower_preference: Annotated[
        Literal["lowest", "below-peer", "as-peer", "above-peer", "below-customer"] | None,
        Field(description="by the upstream's own community: preferred less"),
    ] = None


class RuleRequest(Request):
    """A rule for one PoP and upstream."""

    model_config = ConfigDict(extra="forbid")

    pop: Word
    upstream: Annotated[Word | int, Field(description="its name in the PoP, or its AS number where only one has it")]
    scope: ScopeRequest
    note: Annotated[str, Field(max_length=LONGEST_NOTE)] | None = None


class RulesRequest(Request):
    """Rules for a workload's announcements; what no rule names is announced plainly."""

    rules: Annotated[list[RuleRequest], Field(max_length=MOST_RULES)]


class ScopeAnswer(Answer):
    """How an announcement is made."""

    mode: Mode
    prepend: int
    communities: list[CommunityText]
    large_communities: list[CommunityText]
    extended_communities: list[CommunityText]


class Rule(Answer):
    """A rule that holds."""

    pop: str
    upstream: str
    scope: ScopeAnswer
    note: str


class AnnouncementRow(Answer):
    """One prefix towards one upstream of one PoP."""

    prefix: str
    pop: str
    upstream: str
    asn: int | None
    scope: Annotated[ScopeAnswer, Field(description="by this workload's rule")]
    effective: Annotated[ScopeAnswer, Field(description="with the rules of others in the same prefix")]
    note: str
    announced: Annotated[bool, Field(description="by the PoP's last report")]
    reason: Reason
    says: Annotated[str, Field(description="the reason as a sentence, with the own workload that fails where one does")]
    dark: Annotated[bool, Field(description="announced for others of the prefix; this one has never answered there")]
    carried_to: Annotated[
        str | None,
        Field(description="the PoP that answers what comes in here: the nearest with an instance; null: it does"),
    ]


class RuleChange(Answer):
    """What a change made of one PoP and upstream."""

    pop: str
    upstream: str
    before: ScopeAnswer
    after: ScopeAnswer


class SharingWorkload(Answer):
    """Whose address is in a shared prefix."""

    account: str
    stack: str
    workload: str


class SharedPrefix(Answer):
    """A covering prefix with addresses of several accounts: how it is announced is the operator's to change."""

    prefix: str
    workloads: list[SharingWorkload] = left_out("for the operator alone")


class Announcements(Answer):
    """All announcements of a workload and its rules; after a change also the difference."""

    changes: list[RuleChange] = left_out("in answers to PUT, PATCH and DELETE")
    results: list[AnnouncementRow]
    rules: list[Rule]
    shared: list[SharedPrefix] = left_out("where other accounts have addresses in its prefixes")
