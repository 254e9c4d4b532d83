"""Network policies. Their own document is `plan.policy_schema`'s, in requests and answers alike; here is what the
platform adds.
"""

from typing import Annotated

from pydantic import Field

from anypop.api.models.common import CamelAnswer, CamelRequest, CountText, Id, Moment, Page, left_out
from anypop.plan.policy_schema import PolicyBody, PolicySpec


class PolicyRequest(CamelRequest):
    """A network policy to create, or to replace another."""

    network_policy: PolicyBody


class PolicyMetadata(CamelAnswer):
    """The user's labels and annotations, and what the platform tells of the policy."""

    annotations: dict[str, str] = left_out()
    labels: dict[str, str] = left_out()
    version: Annotated[CountText, Field(description="1 at first, one more with each change")]
    created_at: Moment
    updated_at: Moment = left_out()


class NetworkPolicy(CamelAnswer):
    """A network policy as it was declared."""

    id: Id
    stack_id: Id
    name: str
    slug: str
    description: str = left_out()
    metadata: PolicyMetadata
    spec: PolicySpec


class PolicyAnswer(CamelAnswer):
    network_policy: NetworkPolicy


class PolicyPage(Page):
    results: list[NetworkPolicy]
