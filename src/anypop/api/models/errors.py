"""An error as every client of the Workload API decodes it: grpc-gateway's shape, with bare names of detail types.

In: nothing. Out: `Error`. The codes and what they mean are in `api.errors`.
"""

from typing import Annotated, Literal

from pydantic import Field

from anypop.api.models.common import Answer, CamelAnswer


class FieldViolation(Answer):
    """One thing that is wrong. `field`: its path as it was sent (`spec.containers.web.image`), or empty: the body."""

    field: str
    description: str


class RequestInfo(CamelAnswer):
    """The request's id: in the header X-Request-Id of the answer and in the audit log too."""

    type: Annotated[Literal["stackpath.rpc.RequestInfo"], Field(alias="@type")]
    request_id: str
    serving_data: str


class BadRequest(CamelAnswer):
    """Everything that is wrong with the request, at once."""

    type: Annotated[Literal["stackpath.rpc.BadRequest"], Field(alias="@type")]
    field_violations: Annotated[list[FieldViolation], Field(min_length=1)]


class QuotaViolation(Answer):
    """One limit that would be exceeded, with the numbers. `subject`: the account or the stack."""

    subject: str
    description: str


class QuotaFailure(CamelAnswer):
    """Every limit that would be exceeded, at once."""

    type: Annotated[Literal["stackpath.rpc.QuotaFailure"], Field(alias="@type")]
    violations: Annotated[list[QuotaViolation], Field(min_length=1)]


class RetryInfo(CamelAnswer):
    """When the same may be asked again: `1.5s`, as google.protobuf.Duration is written. The header Retry-After says it
    in whole seconds.
    """

    type: Annotated[Literal["stackpath.rpc.RetryInfo"], Field(alias="@type")]
    retry_delay: Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)?s$")]


class Error(Answer):
    """`code` is a code of google.rpc, from which the HTTP status follows; `message` is for people."""

    code: Annotated[int, Field(ge=1, le=16)]
    message: Annotated[str, Field(min_length=1)]
    details: list[Annotated[RequestInfo | BadRequest | QuotaFailure | RetryInfo, Field(discriminator="type")]]
