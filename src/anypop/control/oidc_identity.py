"""What a sign-in by a provider is on its way, and who comes out of it: plain values.

Apart from the provider itself, whose libraries a control without one need not load.

In: nothing. Out: the secrets of one sign-in, an identity, and why there is none. It asks nobody.
"""

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


class WrongIdentityError(Exception):
    """What came back does not show who somebody is. The message is for the log: whoever asks is told less."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """What one sign-in keeps here until it comes back: nobody else knows any of it."""

    state: str = field(repr=False)
    nonce: str = field(repr=False)
    verifier: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who the provider says somebody is: `issuer` and `subject` together, for ever; all else may change."""

    issuer: str
    subject: str
    claims: Mapping[str, Any]


def challenge_of(verifier: str) -> str:
    """RFC 7636, section 4.2."""
    return urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
