"""How a host's agent comes to a certificate of its own, and when that counts no more.

In: the operator's wish for a token that lets one host join, once; an agent's request to be signed; the certificate that
an agent shows. Out: the token; the certificate, signed by the authority that the agent trusts already; whether it still
counts. Control keeps no list of certificates: the authority's signature is the proof, so none is lost with the store.
It keeps since when a host's earlier ones are revoked. Blocking, but for `check`.
"""

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import delete, insert, select

from anypop.control import agent_certificates, schema
from anypop.control.audit import Noted
from anypop.control.refusals import Unauthenticated
from anypop.control.store import Store
from anypop.model.names import HostName

JOIN_TOKEN_LIFE_S = 3600.0  # an operator carries it from one terminal to another
CERTIFICATE_LIFE_S = 90 * 86_400.0  # renewed by the agent itself after two thirds


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What a verified client certificate says. `issued_at`: seconds since the epoch, whole."""

    host: HostName
    issued_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Keys:
    joined_at: float | None = None
    revoked_at: float | None = None


class Joins:
    """The book of them, over the store, with what each request needs in memory."""

    def __init__(self, store: Store, clock: Callable[[], float], folder: Path, life_s: float) -> None:
        self._store = store
        self._clock = clock
        self._folder = folder
        self._life_s = life_s
        self.read()

    def read(self) -> None:
        """Everything anew from the store."""
        tokens, keys = schema.join_tokens, schema.host_keys
        with self._store.reading() as link:
            self._tokens = {
                r["hash"]: (HostName(r["host"]), r["expires_at"]) for r in link.execute(select(tokens)).mappings()
            }
            self._keys = {
                HostName(r["host"]): _Keys(joined_at=r["joined_at"], revoked_at=r["revoked_at"])
                for r in link.execute(select(keys)).mappings()
            }

    def token_for(self, host: HostName) -> tuple[str, float]:
        """A token with which this host may join once, and until when. One that was given before counts no more."""
        token, until = secrets.token_urlsafe(32), self._clock() + JOIN_TOKEN_LIFE_S
        table = schema.join_tokens
        with self._store.writing(noted=Noted(subject=host, became={"may_join_until": until})) as link:
            link.execute(delete(table).where(table.c.host == host))
            link.execute(insert(table), {"host": host, "hash": _hash(token), "expires_at": until})
        self.read()
        return token, until

    def host_of(self, token: str) -> HostName:
        """Whose join token this is. Raises `Unauthenticated`."""
        host, until = self._tokens.get(_hash(token), (HostName(""), 0.0))
        if until <= self._clock():
            raise Unauthenticated("the token is unknown, has been used or has expired; 'anypop host token' gives one")
        return host

    def sign(self, host: HostName, request: str, *, token: str = "") -> str:
        """A certificate for the key of `request` (PEM). The join token, if it came by one, is used up. Raises `Invalid`
        for what is no request.
        """
        known = self._keys.get(host, _Keys())
        # whole seconds, as certificates have them, and after what was revoked
        issued_at = max(float(int(self._clock())), (known.revoked_at or 0.0) + 1.0)
        begins, life = datetime.fromtimestamp(issued_at, UTC), timedelta(seconds=self._life_s)
        made = agent_certificates.sign(self._folder, request, host, issued_at=begins, life=life)
        table, keys = schema.join_tokens, schema.host_keys
        with self._store.writing() as link:
            if token and link.execute(delete(table).where(table.c.hash == _hash(token))).rowcount != 1:
                raise Unauthenticated("the token has been used meanwhile")
            link.execute(delete(keys).where(keys.c.host == host))
            link.execute(insert(keys), {"host": host, "joined_at": issued_at, "revoked_at": known.revoked_at})
        self.read()
        return made

    def revoke(self, host: HostName) -> None:
        """No certificate that this host has got so far counts any more, nor a token to join."""
        table, keys = schema.join_tokens, schema.host_keys
        at = float(int(self._clock()))
        with self._store.writing(noted=Noted(subject=host, became={"revoked_at": at})) as link:
            link.execute(delete(table).where(table.c.host == host))
            link.execute(delete(keys).where(keys.c.host == host))
            link.execute(insert(keys), {"host": host, "joined_at": None, "revoked_at": at})
        self.read()

    def check(self, shown: Shown) -> HostName:
        """The host of a certificate that still counts. Raises `Unauthenticated`."""
        revoked_at = self._keys.get(shown.host, _Keys()).revoked_at
        if revoked_at is not None and shown.issued_at <= revoked_at:
            raise Unauthenticated(f"the certificate of {shown.host} was revoked; 'anypop host token' lets it join anew")
        return shown.host

    def has_joined(self, host: HostName) -> bool:
        return self._keys.get(host, _Keys()).joined_at is not None

    def knows(self, host: HostName) -> bool:
        """Whether the host has joined or was revoked: then it gets no lasting token by itself."""
        return host in self._keys


def _hash(token: str) -> str:
    """As of every secret of 256 random bits."""
    return hashlib.sha256(token.encode()).hexdigest()
