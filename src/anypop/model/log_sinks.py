"""Where lines of logs, and traces of deployments, are sent: a receiver of the operator's or of a stack's own.

In: what was declared. Out: the same, checked, as hosts are told it; and the places that no tenant's receiver may be at.
Pure. `authorization` is a secret: it is never shown, and stands nowhere but in the store, sealed, and on the hosts that
send.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from typing import Literal
from urllib.parse import urlsplit

from anypop.model.errors import Problem
from anypop.model.log_text import Level

Kind = Literal["syslog", "loki", "otlp", "otlp-traces"]
TRACES: Kind = "otlp-traces"  # gets no lines, but a trace of each deployment, from control
MOST = 4  # of the platform, and of a stack
SCHEMES: dict[Kind, dict[str, int]] = {
    "syslog": {"udp": 514, "tcp": 601, "tls": 6514},
    "loki": {"http": 80, "https": 443},
    "otlp": {"http": 80, "https": 443},
    "otlp-traces": {"http": 80, "https": 443},
}
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")
_PLAIN = re.compile(r"[\x21-\x7e]*")
_HEADER = re.compile(r"[\x20-\x7e]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSink:
    """`id`: of it among all, and another where it is another receiver. `stack`: whose lines; "": all of the platform.
    `level`: at least; lines that tell none go too. `tenant`: Loki's X-Scope-OrgID. `authorization`: the value of that
    header. `ca`: whose certificates count beside the host's own authorities, as PEM.
    """

    id: str
    name: str
    stack: str = ""
    kind: Kind
    address: str
    level: Level | None = None
    tenant: str = ""
    authorization: str = field(default="", repr=False)
    ca: str = ""

    @property
    def place(self) -> tuple[str, str, int]:
        """Scheme, host and port."""
        parts = urlsplit(self.address)
        return parts.scheme, parts.hostname or "", parts.port or SCHEMES[self.kind][parts.scheme]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shipped:
    """Of one sink, by one host, since it was told of it: `sent` lines were taken by the receiver; `lost` ones were not
    and never will be; `behind`: bytes that wait in files; `error`: why the last try failed, "" where it did not. Of one
    for traces by control, since it began: traces, and none that waits.
    """

    id: str
    sent: int = 0
    lost: int = 0
    behind: int = 0
    error: str = ""


def problems(sink: LogSink, path: str) -> Iterator[Problem]:
    """What is wrong with it."""
    if not _NAME.fullmatch(sink.name):
        yield Problem(path=f"{path}.name", message="must be 1 to 32 of a-z, 0-9 and -, not at its ends")
    try:
        parts = urlsplit(sink.address)
        port = parts.port
    except ValueError:
        yield Problem(path=f"{path}.address", message="is no address")
        return
    schemes = SCHEMES[sink.kind]
    if parts.scheme not in schemes:
        yield Problem(
            path=f"{path}.address", message=f"of {sink.kind} begins with {', '.join(f'{s}://' for s in schemes)}"
        )
    if not parts.hostname or port == 0 or not _PLAIN.fullmatch(sink.address):
        yield Problem(path=f"{path}.address", message="needs a host, as in tls://logs.example.net:6514")
    if parts.username is not None or parts.password is not None or parts.fragment:
        yield Problem(path=f"{path}.address", message="has a user or a fragment: secrets go into `authorization`")
    if sink.kind == "syslog" and (parts.path not in ("", "/") or parts.query):
        yield Problem(path=f"{path}.address", message="of syslog has no path")
    if sink.kind == "syslog" and (sink.tenant or sink.authorization):
        yield Problem(path=path, message="syslog has neither `tenant` nor `authorization`")
    if sink.kind == TRACES and (sink.tenant or sink.level is not None):
        yield Problem(path=path, message="traces have neither `tenant` nor `level`")
    if sink.authorization and parts.scheme == "http" and sink.stack:
        yield Problem(path=f"{path}.address", message="must be https where there is an `authorization`")
    for name, value in (("tenant", sink.tenant), ("authorization", sink.authorization)):
        if not _HEADER.fullmatch(value):
            yield Problem(path=f"{path}.{name}", message="has letters that no header may have")
    if sink.ca and "-----BEGIN CERTIFICATE-----" not in sink.ca:
        yield Problem(path=f"{path}.ca", message="is no certificate in PEM")


Places = tuple[IPv4Network | IPv6Network, ...]
