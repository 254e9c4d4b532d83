"""A network policy's JSON as it may be sent: every field and its kind.

In: plain JSON data. Out: a checked `PolicyBody`, or Pydantic's errors for `plan.policy_read` to put into words. What no
rule in a kernel could hold is refused here. No defaults are filled in.
"""

from ipaddress import ip_network
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from anypop.model.announce import Prefix
from anypop.model.policy import HIGHEST_PRIORITY, LOWEST_PRIORITY, SHARED_PRIORITY
from anypop.plan.kinds import LONGEST_AMOUNT, Checked, Int, Key, LineText, ShortText, Slug, Text, Title, one_of, refused

MOST_RULES = 64  # of a policy, in one direction
MOST_VALUES = 256  # of a selector, of blocks in a rule, of exceptions in a block, of ports
MOST_SELECTORS = 32


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, frozen=True)


def network_of(text: str) -> Prefix:
    """The addresses of a block in CIDR notation; bits behind its length count for nothing. ValueError."""
    try:
        return ip_network(text.strip(), strict=False)
    except ValueError as error:
        raise ValueError(
            f"{text[:80]!r} is no block of addresses; it looks like 192.0.2.0/24 or 2001:db8::/32"
        ) from error


def ports_of(text: str) -> tuple[int, int]:
    """The first and the last port of `80` or `1024-2048`. ValueError."""
    first, _, last = text.replace(" ", "").partition("-")
    if not all(part.isascii() and part.isdecimal() and len(part) <= 5 for part in (first, last or first)):
        raise ValueError(f"{text[:80]!r} is no port: write 80, or 1024-2048")
    low, high = int(first), int(last or first)
    if not 1 <= low <= high <= 65535:
        raise ValueError(f"{text[:80]!r} is outside of 1 to 65535, or ends before it begins")
    return low, high


def _block(value: str) -> str:
    network_of(value)
    return value


def _ports(value: str) -> str:
    ports_of(value)
    return value


def _priority(value: int) -> int:
    if not (HIGHEST_PRIORITY <= value <= LOWEST_PRIORITY or value == SHARED_PRIORITY):
        raise ValueError(
            f"is {value}; it must be {HIGHEST_PRIORITY} to {LOWEST_PRIORITY}, or {SHARED_PRIORITY}, which several may "
            "have"
        )
    return value


def _as_text(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


_Short = Annotated[str, Field(max_length=LONGEST_AMOUNT)]
Block = Annotated[
    str, Field(max_length=64), Checked(_block, {"minLength": 2, "description": "192.0.2.0/24 or 2001:db8::/32"})
]
Ports = Annotated[
    _Short,
    Checked(_ports, {"minLength": 1, "description": "80 or 1024-2048"}),
    BeforeValidator(_as_text, json_schema_input_type=_Short | int),
]
PortList = Annotated[list[Ports], Field(max_length=MOST_VALUES)]
Priority = Annotated[
    Int, Checked(_priority, {"minimum": 1, "maximum": SHARED_PRIORITY, "description": "the lower is asked first"})
]


class LabelSelector(Part):
    """A condition on labels."""

    key: Annotated[Key, Field(min_length=1)]
    operator: Annotated[str, one_of("in", "notin", "exists", "doesnotexist", fold=True, required=True)]
    values: Annotated[list[ShortText], Field(max_length=MOST_VALUES)] | None = None

    @model_validator(mode="after")
    def _fits(self) -> "LabelSelector":
        names = self.operator.lower() in ("in", "notin")
        if names is not bool(self.values):
            raise ValueError("values: is required, at least one" if names else f"values: {self.operator} has none")
        return self


Selectors = Annotated[list[LabelSelector], Field(max_length=MOST_SELECTORS)]


class IpBlock(Part):
    """A block of addresses, without some in it."""

    cidr: Block
    except_: Annotated[list[Block] | None, Field(alias="except", max_length=MOST_VALUES)] = None

    @model_validator(mode="after")
    def _inside(self) -> "IpBlock":
        whole = network_of(self.cidr)
        for number, text in enumerate(self.except_ or ()):
            part = network_of(text)
            if part.version != whole.version or not part.subnet_of(whole):  # type: ignore[arg-type]
                raise ValueError(f"except[{number}]: {text} is not inside {self.cidr}")
        return self


class Peers(Part):
    """The other side. Nothing in it: everybody. Blocks and instances add up; of instances, both kinds of selectors
    must fit.
    """

    ip_block: Annotated[list[IpBlock], Field(max_length=MOST_VALUES)] | None = None
    instance_selectors: Selectors | None = None
    network_selectors: Selectors | None = None


class PortsOf(Part):
    """Ports; none: all of them."""

    destination_ports: PortList | None = None
    source_ports: PortList | None = None


class Plain(Part):
    """A protocol that has nothing to choose."""


class Protocols(Part):
    """Those that a rule is about; none: every protocol."""

    tcp: PortsOf | None = None
    udp: PortsOf | None = None
    tcp_udp: PortsOf | None = None
    icmp: Plain | None = None
    ah: Plain | None = None
    esp: Plain | None = None
    gre: Plain | None = None
    sctp: Plain | None = None
    ipip: Plain | None = None
    ip6extfh: Annotated[
        Any,
        refused("fragments are put together before rules are asked, so none could be told by this header"),
        Field(alias="ip6extfh"),
    ] = None


class Rule(Part):
    description: LineText | None = None
    action: Annotated[str, one_of("ALLOW", "BLOCK", required=True)]
    protocols: Protocols | None = None


class IngressRule(Rule):
    """What comes to an instance."""

    from_: Annotated[Peers | None, Field(alias="from")] = None


class EgressRule(Rule):
    """What an instance sends."""

    to: Peers | None = None


class PolicySpec(Part):
    """To whom a policy applies, and what it says. No selectors: every instance of the stack."""

    instance_selectors: Selectors | None = None
    network_selectors: Selectors | None = None
    policy_types: (
        Annotated[list[Annotated[str, one_of("INGRESS", "EGRESS", required=True)]], Field(max_length=2)] | None
    ) = None
    priority: Priority
    ingress: Annotated[list[IngressRule], Field(max_length=MOST_RULES)] | None = None
    egress: Annotated[list[EgressRule], Field(max_length=MOST_RULES)] | None = None

    @model_validator(mode="after")
    def _speaks(self) -> "PolicySpec":
        if not self.policy_types and not self.ingress and not self.egress:
            raise ValueError("policyTypes: is required where there are no rules: INGRESS, EGRESS or both")
        for kind, rules in (("INGRESS", self.ingress), ("EGRESS", self.egress)):
            if rules and self.policy_types and kind not in self.policy_types:
                raise ValueError(f"{kind.lower()}: has rules, and policyTypes does not name {kind}")
        return self


class PolicyMetadata(Part):
    annotations: Annotated[dict[Key, Text], Field(max_length=MOST_VALUES)] | None = None
    labels: Annotated[dict[Key, ShortText], Field(max_length=MOST_VALUES)] | None = None
    # the server's own: accepted, since clients send back what they read
    version: Any = None
    created_at: Any = None
    updated_at: Any = None
    delete_requested_at: Any = None
    resource_name: Any = None


class PolicyBody(Part):
    """A network policy as it is declared."""

    name: Title | None = None
    slug: Slug | None = None
    description: LineText | None = None
    metadata: PolicyMetadata | None = None
    spec: PolicySpec
    # the server's own, as above
    id: Any = None
    stack_id: Any = None


FIELD_NAMES = frozenset(
    info.alias or name
    for part in (
        PolicyBody, PolicyMetadata, PolicySpec, Rule, IngressRule, EgressRule, Protocols, PortsOf, Peers, IpBlock,
        LabelSelector,
    )
    for name, info in part.model_fields.items()
)  # fmt: skip
