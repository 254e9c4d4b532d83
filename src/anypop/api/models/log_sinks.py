"""Receivers of logs: what is sent and answered."""

from typing import Annotated

from pydantic import Field

from anypop.api.models.common import Answer, Request, left_out
from anypop.model.log_sinks import MOST, Kind
from anypop.model.log_text import Level


class LogSinkRequest(Request):
    """One receiver. An `authorization` that is left out is kept as it is, where kind and address are as before."""

    name: Annotated[str, Field(max_length=32)]
    kind: Kind
    address: Annotated[str, Field(max_length=500, description="tls://HOST:6514, tcp://, udp://, or the URL of a push")]
    level: Level | None = None
    tenant: Annotated[str, Field(max_length=200, description="of Loki: X-Scope-OrgID")] = ""
    authorization: Annotated[
        str | None, Field(max_length=4000, description="the value of that header; it is never answered")
    ] = None
    ca: Annotated[str, Field(max_length=16_000, description="whose certificates count, as PEM")] = ""


class LogSinksRequest(Request):
    """All receivers of the platform, or of a stack."""

    sinks: Annotated[list[LogSinkRequest], Field(max_length=MOST)]


class SinkOfHost(Answer):
    """What one host has sent: `behind_bytes` wait in its files. `message`: why the last try failed. Traces of
    deployments are sent by `control`, and counted since it began.
    """

    host: str
    sent: int = left_out()
    lost: int = left_out()
    behind_bytes: int = left_out()
    message: str


class LogSinkAnswer(Answer):
    name: str
    kind: Kind
    address: str
    level: Level = left_out()
    tenant: str
    authorized: bool
    ca: str
    hosts: list[SinkOfHost]


class LogSinksAnswer(Answer):
    sinks: list[LogSinkAnswer]
