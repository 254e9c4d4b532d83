"""How a host's agent comes to its certificate: what is sent and what is answered.

In: nothing. Out: the shapes. What a request for a certificate may be is `control.agent_certificates`' to say.
"""

from typing import Annotated

from pydantic import Field

from anypop.api.models.common import Answer, CamelAnswer, Moment, Request


class CertificateRequest(Request):
    """`csr`: a certificate request (PKCS #10, PEM) of an elliptic curve key; its names are not looked at."""

    csr: Annotated[str, Field(max_length=8192)]


class Certificate(Answer):
    """`certificate`: PEM, signed by the authority that the agent trusts."""

    certificate: str


class JoinToken(CamelAnswer):
    """A token with which the host joins once. It is in this answer and nowhere else."""

    host: str
    token: str
    expires_at: Moment
