"""Network policies. Their own document is `plan.policy_schema`'s, in requests and answers alike; here is what the
platform adds.
"""

from anypop.api.models.common import CamelAnswer, CamelRequest, Id, Page, ResourceMetadata, left_out
from anypop.plan.policy_schema import PolicyBody, PolicySpec


class PolicyRequest(CamelRequest):
    """A network policy to create, or to replace another."""

    network_policy: PolicyBody


class NetworkPolicy(CamelAnswer):
    """A network policy as it was declared."""

    id: Id
    stack_id: Id
    name: str
    slug: str
    description: str = left_out()
    metadata: ResourceMetadata
    spec: PolicySpec


class PolicyAnswer(CamelAnswer):
    network_policy: NetworkPolicy


class PolicyPage(Page):
    results: list[NetworkPolicy]
