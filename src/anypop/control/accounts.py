"""Accounts, credentials, tokens and stacks: who asks, and what belongs to whom.

OAuth2 client credentials: a client id (32 hex) and a secret (64 hex) give a bearer token for an hour. Agents have
lasting tokens of their own, one for each host, in files that only root can read. What is stored is a hash, so the store
alone opens nothing. Blocking: the caller uses a thread for whatever writes; `account_of` and `host_of` read memory
only.
"""

import hashlib
import logging
import secrets
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from hmac import compare_digest
from pathlib import Path

from sqlalchemy import Connection, RowMapping, delete, insert, select, update

from anypop.control import schema
from anypop.control.audit import REFUSED, Noted
from anypop.control.ca import write_whole
from anypop.control.refusals import Exists, NotFound, OverQuota, Unauthenticated, WrongSecret
from anypop.control.store import Store
from anypop.model.errors import Invalid, Problem, WorldError
from anypop.model.names import HostName, StackId, is_slug, slug_of

TOKEN_LIFE_S = 3600
READ_LIFE_S = 60  # short: such a sign-in is in no audit log, and ends with this process
MOST_CREDENTIALS = 1000

log = logging.getLogger("anypop.control")


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A bearer token, and for how many seconds it lasts."""

    text: str = field(repr=False)
    life_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Who pays. `operator`: may also change the network and see every PoP's events."""

    id: str
    name: str
    operator: bool
    created_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """A tenant's project, which holds workloads."""

    id: StackId
    account_id: str
    slug: str
    name: str
    status: str
    created_at: float
    updated_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """A client id of an account. `secret` is filled in only in the answer to its creation."""

    id: str
    account_id: str
    client_id: str
    name: str
    created_at: float
    secret: str = field(default="", repr=False)


class Accounts:
    """The book of accounts, over the store, with everything that each request needs in memory."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        self.read()

    def read(self) -> None:
        """Everything anew from the store, where another control may have written it."""
        with self._store.reading() as link:
            self._accounts = {r["id"]: Account(**r) for r in link.execute(select(schema.accounts)).mappings()}
            self._stacks = {r["id"]: Stack(**r) for r in link.execute(select(schema.stacks)).mappings()}
            self._tokens = _alive(link, self._clock())
            self._agents = {
                r["hash"]: HostName(r["host"]) for r in link.execute(select(schema.agent_tokens)).mappings()
            }

    # tokens

    def issue_token(self, client_id: str, secret: str) -> Token:
        """A bearer token for `TOKEN_LIFE_S`. Raises `NotFound` for an unknown client id and `WrongSecret`.

        While the store cannot be written (its disk is full, say) one that this process alone knows, for `READ_LIFE_S`:
        who has to see what is wrong must be let in to read, and changes are refused anyway.
        """
        now, token = self._clock(), secrets.token_urlsafe(32)
        noted = Noted(subject=client_id, account_id=self._owner(client_id))
        try:
            with self._store.writing(noted=noted) as link:
                row = _proven(link, client_id, secret)
                entry = {
                    "hash": _hash(token),
                    "account_id": row["account_id"],
                    "credential_id": row["id"],
                    "expires_at": now + TOKEN_LIFE_S,
                }
                link.execute(delete(schema.tokens).where(schema.tokens.c.expires_at <= now))
                link.execute(insert(schema.tokens), entry)
            life_s = TOKEN_LIFE_S
        except WorldError:
            if not self._store.trouble:
                raise
            with self._store.reading() as link:
                row = _proven(link, client_id, secret)
            log.warning("%s signed in to read: in no audit log, since the store cannot be written", client_id)
            life_s = READ_LIFE_S
        alive = {key: value for key, value in self._tokens.items() if value[1] > now}
        self._tokens = {**alive, _hash(token): (row["account_id"], now + life_s, client_id)}
        return Token(text=token, life_s=life_s)

    def note_refusal(self, client_id: str, why: str) -> None:
        """A sign-in was refused: into the audit log. It need not wait for the disk."""
        noted = Noted(subject=client_id, account_id=self._owner(client_id), outcome=REFUSED, became={"why": why})
        with self._store.writing(synchronous=False, noted=noted):
            pass

    def _owner(self, client_id: str) -> str | None:
        with self._store.reading() as link:
            query = select(schema.credentials.c.account_id).where(schema.credentials.c.client_id == client_id)
            return link.execute(query).scalar_one_or_none()

    def account_of(self, token: str) -> Account:
        """Who holds this token. Raises `Unauthenticated`."""
        return self.caller(token)[0]

    def caller(self, token: str) -> tuple[Account, str]:
        """Who holds this token, and the client id that it was issued to. Raises `Unauthenticated`."""
        account_id, expires_at, client_id = self._tokens.get(_hash(token), ("", 0.0, ""))
        if expires_at <= self._clock():
            raise Unauthenticated("the access token is unknown or has expired")
        return self._accounts[account_id], client_id

    def host_of(self, token: str) -> HostName:
        """Which host's agent holds this token. Raises `Unauthenticated`."""
        host = self._agents.get(_hash(token))
        if host is None:
            raise Unauthenticated("the agent token is unknown")
        return host

    def has_agent(self, host: HostName) -> bool:
        """Whether the host has a lasting token."""
        return host in self._agents.values()

    def drop_agent(self, host: HostName) -> None:
        """The lasting token of a host counts no more."""
        if not self.has_agent(host):
            return
        with self._store.writing() as link:
            link.execute(delete(schema.agent_tokens).where(schema.agent_tokens.c.host == host))
        self._agents = {h: other for h, other in self._agents.items() if other != host}

    def ensure_agents(self, folder: Path, hosts: Iterable[HostName]) -> None:
        """A token file (0600) for each host. A file that is there and known stays as it is: an agent may be using
        it. Where several controls share a store, the file of a known token may lie with another of them.
        """
        known = set(self._agents.values()) if self._store.lease is not None else set[HostName]()
        for host in hosts:
            path = folder / f"{host}.token"
            token = path.read_text().strip() if path.exists() else ""
            if (token and self._agents.get(_hash(token)) == host) or (not token and host in known):
                continue
            token = secrets.token_urlsafe(32)
            # The store first: a file with a token that control does not know would look valid and be refused.
            with self._store.writing() as link:
                link.execute(delete(schema.agent_tokens).where(schema.agent_tokens.c.host == host))
                link.execute(insert(schema.agent_tokens), {"host": host, "hash": _hash(token)})
            write_whole(path, token.encode() + b"\n", mode=0o600)
            self._agents = {**{h: other for h, other in self._agents.items() if other != host}, _hash(token): host}

    # accounts and credentials

    def first_account(self) -> Account:
        """The operator's own account, made at first start."""
        for account in self._accounts.values():
            if account.operator:
                return account
        return self.create_account("operator", operator=True)

    def create_account(self, name: str, *, operator: bool = False) -> Account:
        """A new account."""
        account = Account(id=str(uuid.uuid4()), name=name, operator=operator, created_at=self._clock())
        with self._store.writing(noted=Noted(subject=account.id, became=_columns(account))) as link:
            link.execute(insert(schema.accounts), _columns(account))
        self._accounts = {**self._accounts, account.id: account}
        return account

    def create_credential(self, account_id: str, name: str) -> Credential:
        """A new client id and secret. The secret is in this answer and nowhere else. Raises `OverQuota`."""
        if len(self.credentials(account_id)) >= MOST_CREDENTIALS:
            message = f"{MOST_CREDENTIALS} credentials are the most of one account; delete those that nobody uses"
            raise OverQuota([Problem(path=f"account {account_id}", message=message)])
        made = Credential(
            id=str(uuid.uuid4()),
            account_id=account_id,
            client_id=secrets.token_hex(16),
            name=name,
            created_at=self._clock(),
            secret=secrets.token_hex(32),
        )
        with self._store.writing(noted=Noted(subject=made.client_id, became=_of_credential(made))) as link:
            link.execute(
                insert(schema.credentials),
                {
                    "id": made.id,
                    "client_id": made.client_id,
                    "account_id": account_id,
                    "name": name,
                    "secret_hash": _hash(made.secret),
                    "created_at": made.created_at,
                },
            )
        return made

    def rotate_credential(self, account_id: str, credential_id: str) -> Credential:
        """A new secret for the same client id; its tokens end at once. Raises `NotFound`."""
        found = self.credential(account_id, credential_id)
        secret = secrets.token_hex(32)
        known = _of_credential(found)
        with self._store.writing(noted=Noted(subject=found.client_id, was=known, became=known)) as link:
            link.execute(
                update(schema.credentials).where(schema.credentials.c.id == found.id).values(secret_hash=_hash(secret))
            )
            link.execute(delete(schema.tokens).where(schema.tokens.c.credential_id == found.id))
        self._read_tokens()
        return replace(found, secret=secret)

    def delete_credential(self, account_id: str, credential_id: str) -> None:
        """Remove a credential and its tokens. Raises `NotFound`."""
        found = self.credential(account_id, credential_id)
        with self._store.writing(noted=Noted(subject=found.client_id, was=_of_credential(found))) as link:
            link.execute(delete(schema.tokens).where(schema.tokens.c.credential_id == found.id))
            link.execute(delete(schema.credentials).where(schema.credentials.c.id == found.id))
        self._read_tokens()

    def credentials(self, account_id: str) -> list[Credential]:
        """An account's credentials, oldest first, without secrets."""
        table = schema.credentials
        columns = (table.c.id, table.c.account_id, table.c.client_id, table.c.name, table.c.created_at)
        with self._store.reading() as link:
            found = link.execute(
                select(*columns).where(table.c.account_id == account_id).order_by(table.c.created_at, table.c.id)
            )
            return [Credential(**row) for row in found.mappings()]

    def credential(self, account_id: str, credential_id: str) -> Credential:
        """One of the account's credentials, by its id or its client id. Raises `NotFound`."""
        for found in self.credentials(account_id):
            if credential_id in (found.id, found.client_id):
                return found
        raise NotFound("no such credential")

    def secret_fits(self, client_id: str, secret: str) -> bool:
        """Whether the pair would get a token."""
        with self._store.reading() as link:
            query = select(schema.credentials.c.secret_hash).where(schema.credentials.c.client_id == client_id)
            stored = link.execute(query).scalar_one_or_none()
        return stored is not None and compare_digest(stored, _hash(secret))

    def _read_tokens(self) -> None:
        with self._store.reading() as link:
            self._tokens = _alive(link, self._clock())

    # stacks

    def stacks(self, account_id: str) -> list[Stack]:
        """The account's stacks, oldest first."""
        return sorted(
            (s for s in self._stacks.values() if s.account_id == account_id), key=lambda s: (s.created_at, s.id)
        )

    def stack(self, account_id: str, ref: str) -> Stack:
        """One of the account's stacks, by id or slug. Raises `NotFound`, also for somebody else's."""
        for found in self._stacks.values():
            if found.account_id == account_id and ref in (found.id, found.slug):
                return found
        raise NotFound(f"no stack {ref}")

    def any_stack(self, ref: str) -> Stack:
        """A stack by id or slug, whoever's it is: for the operator. Raises `NotFound`."""
        for found in self._stacks.values():
            if ref in (found.id, found.slug):
                return found
        raise NotFound(f"no stack {ref}")

    def name_of(self, account_id: str) -> str:
        """What an account is called; its id where nobody knows it."""
        found = self._accounts.get(account_id)
        return found.name if found is not None else account_id

    def has_account(self, account_id: str) -> bool:
        return account_id in self._accounts

    def create_stack(self, account_id: str, name: str, slug: str) -> Stack:
        """A new stack. An empty `slug` is made from the name and six hex digits. Raises `Invalid` and `Exists`."""
        if not name:
            raise Invalid.one("name", "is required")
        if not slug:
            slug = f"{slug_of(name)[:56].strip('-') or 'stack'}-{secrets.token_hex(3)}"
        if not is_slug(slug):
            raise Invalid.one("slug", "must be 1 to 63 of a-z, 0-9 and inner hyphens")
        if any(s.slug == slug for s in self._stacks.values()):
            raise Exists(f"stack with slug {slug} already exists")
        now = self._clock()
        made = Stack(
            id=StackId(str(uuid.uuid4())),
            account_id=account_id,
            slug=slug,
            name=name,
            status="ACTIVE",
            created_at=now,
            updated_at=now,
        )
        with self._store.writing(noted=Noted(subject=slug, stack_id=made.id, became=_columns(made))) as link:
            link.execute(insert(schema.stacks), _columns(made))
        self._stacks = {**self._stacks, made.id: made}
        return made

    def rename_stack(self, account_id: str, ref: str, name: str) -> Stack:
        """Give a stack another name. Raises `NotFound` and `Invalid`."""
        if not name:
            raise Invalid.one("name", "is required")
        known = self.stack(account_id, ref)
        renamed = replace(known, name=name, updated_at=self._clock())
        noted = Noted(subject=known.slug, stack_id=known.id, was=_columns(known), became=_columns(renamed))
        with self._store.writing(noted=noted) as link:
            link.execute(
                update(schema.stacks)
                .where(schema.stacks.c.id == renamed.id)
                .values(name=renamed.name, updated_at=renamed.updated_at)
            )
        self._stacks = {**self._stacks, renamed.id: renamed}
        return renamed


def _proven(link: Connection, client_id: str, secret: str) -> RowMapping:
    """The credential of a client that knows its secret."""
    query = select(schema.credentials).where(schema.credentials.c.client_id == client_id)
    row = link.execute(query).mappings().one_or_none()
    if row is None:
        raise NotFound("no credential with this client id")
    if not compare_digest(row["secret_hash"], _hash(secret)):
        raise WrongSecret("the client secret is wrong")
    return row


def _alive(link: Connection, now: float) -> dict[str, tuple[str, float, str]]:
    """The tokens that have not expired. None lives for longer than a new one, also where the clock was set back."""
    columns = (*schema.tokens.c, schema.credentials.c.client_id)
    alive = select(*columns).join_from(schema.tokens, schema.credentials).where(schema.tokens.c.expires_at > now)
    latest = now + TOKEN_LIFE_S
    return {
        r["hash"]: (r["account_id"], min(r["expires_at"], latest), r["client_id"])
        for r in link.execute(alive).mappings()
    }


def _hash(secret: str) -> str:
    """A plain SHA-256: every secret here is 256 random bits of our own making, so there is nothing that a slow hash
    would slow down.
    """
    return hashlib.sha256(secret.encode()).hexdigest()


def _of_credential(found: Credential) -> dict[str, object]:
    """What the audit log tells of it: never its secret."""
    return {"id": found.id, "client_id": found.client_id, "name": found.name}


def _columns(record: Account | Stack) -> dict[str, object]:
    return {name: getattr(record, name) for name in record.__dataclass_fields__}
