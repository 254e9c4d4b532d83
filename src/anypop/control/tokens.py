"""Bearer tokens: what each opens, for how long, and how they come to an end.

In: a credential's secret, or a user who has shown who it is (by a password, by a provider). Out: a token, shown once
and stored as a hash; and for each request, out of memory alone, what its token opens. Blocking but for `grant`. The
lock is held from before the store is written until memory says the same: what was ended in the store lives on in no
memory.
"""

import hashlib
import logging
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from hmac import compare_digest

from sqlalchemy import Connection, RowMapping, delete, insert, select

from anypop.control.audit import REFUSED, Noted
from anypop.control.ends import End, Ends
from anypop.control.refusals import Forbidden, NotFound, Unauthenticated, WrongSecret
from anypop.control.roles import Scope
from anypop.control.schema_accounts import credentials, memberships, sessions, tokens, users
from anypop.control.store import Store
from anypop.model.errors import WorldError
from anypop.model.names import StackId

TOKEN_LIFE_S = 3600
SESSION_LIFE_S = 12 * 3600  # of a user: a working day, and not the next one
READ_LIFE_S = 60  # short: such a sign-in is in no audit log, and ends with this process

log = logging.getLogger("anypop.control")


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A bearer token, and for how many seconds it lasts."""

    text: str = field(repr=False)
    life_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What a token opens. `client_id`: the credential's; empty: a session of a user. `user_id`: empty where it is
    nobody's, but the account's own. `stack_id`: nothing but that stack. `ends_at`: when the credential itself ends.
    `token`: its hash.
    """

    token: str
    account_id: str
    expires_at: float
    client_id: str = ""
    user_id: str = ""
    scope: Scope = Scope.WRITE
    stack_id: StackId | None = None
    ends_at: float | None = None


class Tokens:
    """All that have not expired, in memory and in the store. `ends`: hears of those that are taken back."""

    def __init__(self, store: Store, clock: Callable[[], float], ends: Ends) -> None:
        self._store = store
        self._clock = clock
        self.ends = ends
        self._lock = threading.Lock()
        self._grants: dict[str, Grant] = {}

    def read(self, end: End | None = None) -> None:
        """Everything anew from the store: after something was ended there (`end`), or another control wrote to it."""
        with self._lock, self._store.reading() as link:
            self._grants = _alive(link, self._clock())
        self.ends.tell(end)

    def grant(self, token: str) -> Grant:
        """What this token opens. Raises `Unauthenticated`."""
        found = self._grants.get(hash_of(token))
        if found is None or found.expires_at <= self._clock():
            raise Unauthenticated("the access token is unknown or has expired")
        return found

    def still(self, grant: Grant) -> None:
        """Whether what was let in by it may go on: the hour of a credential's token may be over, which is no end of
        the credential. Raises `Unauthenticated`.
        """
        if grant.token in self._grants or (grant.client_id and grant.expires_at <= self._clock()):
            return
        raise Unauthenticated("what you came in with counts no more: sign in again")

    def issue(self, client_id: str, secret: str) -> Token:
        """For a credential, for `TOKEN_LIFE_S` or to the end of the credential. Raises `NotFound` for an unknown
        client id and `WrongSecret`.

        While the store cannot be written (its disk is full, say) one that this process alone knows, for `READ_LIFE_S`:
        who has to see what is wrong must be let in to read, and changes are refused anyway.
        """
        now, token = self._clock(), secrets.token_urlsafe(32)
        noted = Noted(subject=client_id, account_id=self._owner(client_id))
        with self._lock:
            try:
                with self._store.writing(noted=noted) as link:
                    found = _stored(link, _proven(link, client_id, secret, now), token, now)
            except WorldError:
                if not self._store.trouble:
                    raise
                with self._store.reading() as link:
                    found = _of_credential(_proven(link, client_id, secret, now), hash_of(token), now + READ_LIFE_S)
                log.warning("%s signed in to read: in no audit log, since the store cannot be written", client_id)
            self._keep(found, now)
        return Token(text=token, life_s=int(found.expires_at - now))

    def again(self, grant: Grant, *, via: str) -> Token:
        """One more for whoever has shown one with this grant: a session for a user, else a token of the same
        credential, which may do no more and lasts no longer. Raises `Forbidden` and `Unauthenticated` where they have
        lost the right to it meanwhile.
        """
        if not grant.client_id:
            return self.begin_session(grant.user_id, grant.account_id, via=via)
        now, token = self._clock(), secrets.token_urlsafe(32)
        noted = Noted(subject=grant.client_id, account_id=grant.account_id, became={"via": via})
        with self._lock:
            with self._store.writing(noted=noted) as link:
                query = select(credentials).where(credentials.c.client_id == grant.client_id)
                row = link.execute(query).mappings().one_or_none()
                if row is None or (row["expires_at"] is not None and row["expires_at"] <= now):
                    raise Unauthenticated("the credential behind this has ended")
                found = _stored(link, row, token, now)
            self._keep(found, now)
        return Token(text=token, life_s=int(found.expires_at - now))

    def begin_session(
        self, user_id: str, account_id: str, *, via: str, subject: str = "", password_hash: str | None = None
    ) -> Token:
        """For a user who has shown who it is, in an account of theirs. `via`: how (`password`, `oidc`).
        `password_hash`: the one that fitted; where it is no longer the user's, a change of the password has overtaken
        this. Raises `Forbidden` where the user is not in that account, and `Unauthenticated`.
        """
        now, token = self._clock(), secrets.token_urlsafe(32)
        found = Grant(
            token=hash_of(token), account_id=account_id, expires_at=now + SESSION_LIFE_S, user_id=user_id
        )  # fmt: skip
        noted = Noted(subject=subject or user_id, account_id=account_id, became={"via": via})
        with self._lock:
            with self._store.writing(noted=noted) as link:
                member = (memberships.c.user_id == user_id) & (memberships.c.account_id == account_id)
                if link.execute(select(memberships.c.role).where(member)).scalar_one_or_none() is None:
                    raise Forbidden("you are not in this account")
                stored = link.execute(select(users.c.password_hash).where(users.c.id == user_id)).scalar_one()
                if password_hash is not None and stored != password_hash:
                    raise Unauthenticated("the password was changed meanwhile: sign in again")
                entry = {
                    "hash": found.token, "user_id": user_id, "account_id": account_id, "via": via[:32],
                    "created_at": now, "expires_at": found.expires_at,
                }  # fmt: skip
                link.execute(delete(sessions).where(sessions.c.expires_at <= now))
                link.execute(insert(sessions), entry)
            self._keep(found, now)
        return Token(text=token, life_s=SESSION_LIFE_S)

    def end(self, token: str) -> None:
        """This one counts no more."""
        key = hash_of(token)
        with self._lock:
            with self._store.writing() as link:
                for table in (sessions, tokens):
                    link.execute(delete(table).where(table.c.hash == key))
            self._grants.pop(key, None)
        self.ends.tell(End(why="you have signed out", token=key))

    def note_refusal(self, subject: str, why: str, *, client: bool = True) -> None:
        """A sign-in was refused: into the audit log. It need not wait for the disk. `client`: the subject is the id
        of a client.
        """
        owner = self._owner(subject) if client else None
        noted = Noted(subject=subject, account_id=owner, outcome=REFUSED, became={"why": why})
        with self._store.writing(synchronous=False, noted=noted):
            pass

    def note_link(self, grant: Grant) -> None:
        """Somebody makes a link that signs in: into the audit log."""
        subject = grant.client_id or grant.user_id
        with self._store.writing(noted=Noted(subject=subject, account_id=grant.account_id)):
            pass

    def secret_fits(self, client_id: str, secret: str) -> bool:
        """Whether the pair would get a token."""
        with self._store.reading() as link:
            try:
                _proven(link, client_id, secret, self._clock())
            except (NotFound, WrongSecret):
                return False
        return True

    def _keep(self, found: Grant, now: float) -> None:
        self._grants = {key: one for key, one in self._grants.items() if one.expires_at > now}
        self._grants[found.token] = found

    def _owner(self, client_id: str) -> str | None:
        with self._store.reading() as link:
            query = select(credentials.c.account_id).where(credentials.c.client_id == client_id)
            return link.execute(query).scalar_one_or_none()


def end_tokens(link: Connection, user_id: str, account_id: str | None = None) -> None:
    """In a transaction of the caller's: the user's sessions, and tokens of its credentials, everywhere or in one
    account. `Tokens.read` must follow, and be told of this end.
    """
    own = credentials.c.user_id == user_id
    here = sessions.c.user_id == user_id
    if account_id is not None:
        own, here = own & (credentials.c.account_id == account_id), here & (sessions.c.account_id == account_id)
    link.execute(delete(sessions).where(here))
    link.execute(delete(tokens).where(tokens.c.credential_id.in_(select(credentials.c.id).where(own))))


def hash_of(secret: str) -> str:
    """A plain SHA-256: every secret here is 256 random bits of our own making, so there is nothing that a slow hash
    would slow down.
    """
    return hashlib.sha256(secret.encode()).hexdigest()


def _proven(link: Connection, client_id: str, secret: str, now: float) -> RowMapping:
    """The credential of a client that knows its secret."""
    row = link.execute(select(credentials).where(credentials.c.client_id == client_id)).mappings().one_or_none()
    if row is None:
        raise NotFound("no credential with this client id")
    if not compare_digest(row["secret_hash"], hash_of(secret)):
        raise WrongSecret("the client secret is wrong")
    if row["expires_at"] is not None and row["expires_at"] <= now:
        raise WrongSecret("this credential has ended")
    return row


def _stored(link: Connection, row: RowMapping, token: str, now: float) -> Grant:
    """What a new token of a credential opens; it counts with the end of the transaction."""
    found = _of_credential(row, hash_of(token), now + TOKEN_LIFE_S)
    entry = {
        "hash": found.token, "account_id": row["account_id"], "credential_id": row["id"],
        "expires_at": found.expires_at,
    }  # fmt: skip
    link.execute(delete(tokens).where(tokens.c.expires_at <= now))
    link.execute(insert(tokens), entry)
    return found


def _of_credential(row: RowMapping, token: str, until: float) -> Grant:
    ends_at = row["expires_at"]
    return Grant(
        token=token,
        account_id=row["account_id"],
        expires_at=until if ends_at is None else min(until, ends_at),
        client_id=row["client_id"],
        user_id=row["user_id"] or "",
        scope=Scope(row["scope"]),
        stack_id=StackId(row["stack_id"]) if row["stack_id"] else None,
        ends_at=ends_at,
    )


def _alive(link: Connection, now: float) -> dict[str, Grant]:
    """None lives for longer than a new one, also where the clock was set back."""
    columns = (tokens.c.hash, tokens.c.expires_at.label("until"), *credentials.c)
    issued = select(*columns).join_from(tokens, credentials).where(tokens.c.expires_at > now)
    begun = select(sessions).where(sessions.c.expires_at > now)
    return {
        r["hash"]: _of_credential(r, r["hash"], min(r["until"], now + TOKEN_LIFE_S))
        for r in link.execute(issued).mappings()
    } | {
        r["hash"]: Grant(
            token=r["hash"],
            account_id=r["account_id"],
            expires_at=min(r["expires_at"], now + SESSION_LIFE_S),
            user_id=r["user_id"],
        )
        for r in link.execute(begun).mappings()
    }
