"""Accounts, credentials and stacks: who asks, and what belongs to whom.

OAuth2 client credentials: a client id (32 hex) and a secret (64 hex) give a bearer token for an hour (`tokens`); people
sign in as users (`users`). Agents have lasting tokens of their own (`agent_tokens`). What is stored is a hash, so the
store alone opens nothing. Blocking: the caller uses a thread for whatever writes; `caller` reads memory only.
"""

import secrets
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace

from sqlalchemy import Connection, delete, insert, select, update

from anypop.control import schema, schema_accounts
from anypop.control.agent_tokens import AgentTokens
from anypop.control.audit import Noted
from anypop.control.ends import End, Ends
from anypop.control.refusals import Exists, Forbidden, NotFound, OverQuota, Unauthenticated
from anypop.control.roles import Role, Scope, effective
from anypop.control.store import Store
from anypop.control.tokens import Grant, Token, Tokens, hash_of
from anypop.control.users import User, Users
from anypop.model.errors import Invalid, Problem
from anypop.model.names import StackId, is_slug, slug_of

MOST_CREDENTIALS = 1000
DELETED = "this account was deleted"
SUSPENDED = "this account is suspended: ask the operator of the platform"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Who pays. `operator`: may also change the network and see every PoP's events. `suspended_at`: since when nobody
    gets in; what runs goes on.
    """

    id: str
    name: str
    operator: bool
    created_at: float
    suspended_at: float | None = None


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
    """A client id of an account. `user_id`: whose it is, with that user's role; None: the account's own, as an owner.
    `stack_id`: for nothing but that stack. `expires_at`: its end, if it has one. `secret` is filled in only in the
    answer to its creation.
    """

    id: str
    account_id: str
    client_id: str
    name: str
    created_at: float
    user_id: str | None = None
    stack_id: StackId | None = None
    scope: Scope = Scope.WRITE
    expires_at: float | None = None
    secret: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks. `role`: what it may do here, by its user's role and its credential's scope. `client_id`: of the
    credential; empty: a session of the user. `user`: None where the credential is the account's own. `stack_id`: it is
    for that stack alone. `ends_at`: when the credential ends, if ever. `grant`: what let it in.
    """

    grant: Grant
    account: Account
    role: Role
    scope: Scope
    user: User | None
    client_id: str
    stack_id: StackId | None
    ends_at: float | None

    @property
    def name(self) -> str:
        """As the audit log has it."""
        return " ".join(filter(None, (self.account.name, self.user.name if self.user else "", self.client_id)))

    @property
    def key(self) -> str:
        """Whose requests are counted together."""
        return self.client_id or (self.user.id if self.user is not None else self.account.id)


class Accounts:
    """The book of accounts, over the store, with everything that each request needs in memory."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        self.ends = Ends()
        self.tokens = Tokens(store, clock, self.ends)
        self.users = Users(store, clock, self.tokens)
        self.agents = AgentTokens(store)
        self.read()

    def read(self) -> None:
        """Everything anew from the store, where another control may have written it."""
        with self._store.reading() as link:
            self._accounts = {r["id"]: Account(**r) for r in link.execute(select(schema_accounts.accounts)).mappings()}
            self._stacks = {r["id"]: Stack(**r) for r in link.execute(select(schema.stacks)).mappings()}
        self.agents.read()
        self.users.read()
        self.tokens.read()

    # who asks

    def issue_token(self, client_id: str, secret: str) -> Token:
        """See `Tokens.issue`."""
        return self.tokens.issue(client_id, secret)

    def caller(self, token: str) -> Caller:
        """Who holds this token, and with which role. Raises `Unauthenticated`."""
        return self._caller(self.tokens.grant(token))

    def still(self, grant: Grant) -> Caller:
        """Who was let in by this, as they are now. Raises `Unauthenticated` where that has ended."""
        caller = self._caller(grant)  # first: a user who is out is told so, not that the session is
        self.tokens.still(grant)
        return caller

    def _caller(self, grant: Grant) -> Caller:
        account, user, role = self._accounts.get(grant.account_id), None, Role.OWNER
        if account is None:
            raise Unauthenticated(DELETED)
        if account.suspended_at is not None:
            raise Forbidden(SUSPENDED)
        if grant.user_id:
            found = self.users.role(grant.user_id, account.id)
            if found is None:
                raise Unauthenticated("you are in this account no more")
            user, role = self.users.user(grant.user_id), found
        one_stack = grant.stack_id is not None
        return Caller(
            grant=grant,
            # what is for one stack has nothing of the operator's
            account=replace(account, operator=False) if one_stack else account,
            role=effective(role, grant.scope, one_stack=one_stack),
            scope=grant.scope,
            user=user,
            client_id=grant.client_id,
            stack_id=grant.stack_id,
            ends_at=grant.ends_at,
        )

    def named(self, grant: Grant) -> str:
        """Whom a grant is of, as the audit log has it."""
        user = self.users.user(grant.user_id).name if grant.user_id else ""
        return " ".join(filter(None, (self.name_of(grant.account_id), user, grant.client_id)))

    # accounts and credentials

    def first_account(self) -> Account:
        """The operator's own account, made at first start."""
        for account in self._accounts.values():
            if account.operator:
                return account
        return self.create_account("operator", operator=True)

    def create_account(self, name: str, *, operator: bool = False) -> Account:
        """A new account."""
        account = self.new_account(name, operator=operator)
        with self._store.writing(noted=Noted(subject=account.id, became=_columns(account))) as link:
            self.insert_account(link, account)
        self._accounts = {**self._accounts, account.id: account}
        return account

    def new_account(self, name: str, *, operator: bool = False) -> Account:
        """One that is not stored yet."""
        return Account(id=str(uuid.uuid4()), name=name, operator=operator, created_at=self._clock())

    def insert_account(self, link: Connection, account: Account) -> None:
        """In a transaction of the caller's; `read` must follow."""
        link.execute(insert(schema_accounts.accounts), _columns(account))

    def check_name(self, name: str, *, of: str = "") -> None:
        """Raises `Exists` where another account than `of` has the name: two would be one in the audit log."""
        wanted = name.strip().casefold()
        if any(a.name.strip().casefold() == wanted for a in self._accounts.values() if a.id != of):
            raise Exists(f"there is an account {name} already")

    def accounts(self) -> list[Account]:
        """All, oldest first."""
        return sorted(self._accounts.values(), key=lambda a: (a.created_at, a.id))

    def account(self, account_id: str) -> Account:
        """Raises `NotFound`."""
        if account_id not in self._accounts:
            raise NotFound(f"no account {account_id}")
        return self._accounts[account_id]

    def rename_account(self, account_id: str, name: str) -> Account:
        """Raises `NotFound` and `Exists`."""
        known = self.account(account_id)
        self.check_name(name, of=account_id)
        return self._changed(known, replace(known, name=name))

    def suspend(self, account_id: str, since: float | None) -> Account:
        """From now on nobody gets in, and what is open there ends; None: they get in again. Raises `NotFound`."""
        known = self.account(account_id)
        changed = self._changed(known, replace(known, suspended_at=since))
        self.ends.tell()
        return changed

    def _changed(self, known: Account, changed: Account) -> Account:
        was, became = _columns(known), _columns(changed)
        with self._store.writing(noted=Noted(subject=known.id, account_id=known.id, was=was, became=became)) as link:
            this = schema_accounts.accounts.c.id == known.id
            link.execute(update(schema_accounts.accounts).where(this).values(became))
        self._accounts = {**self._accounts, known.id: changed}
        return changed

    def create_credential(
        self,
        account_id: str,
        name: str,
        *,
        user_id: str | None = None,
        stack_id: StackId | None = None,
        scope: Scope = Scope.WRITE,
        expires_at: float | None = None,
    ) -> Credential:
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
            user_id=user_id,
            stack_id=stack_id,
            scope=scope,
            expires_at=expires_at,
            secret=secrets.token_hex(32),
        )
        row = _columns(made)
        row["secret_hash"] = hash_of(str(row.pop("secret")))
        with self._store.writing(noted=Noted(subject=made.client_id, became=_of_credential(made))) as link:
            link.execute(insert(schema_accounts.credentials), row)
        return made

    def rotate_credential(self, account_id: str, credential_id: str) -> Credential:
        """A new secret for the same client id; its tokens end at once. Raises `NotFound`."""
        found = self.credential(account_id, credential_id)
        secret = secrets.token_hex(32)
        known = _of_credential(found)
        with self._store.writing(noted=Noted(subject=found.client_id, was=known, became=known)) as link:
            link.execute(
                update(schema_accounts.credentials)
                .where(schema_accounts.credentials.c.id == found.id)
                .values(secret_hash=hash_of(secret))
            )
            link.execute(delete(schema_accounts.tokens).where(schema_accounts.tokens.c.credential_id == found.id))
        self.tokens.read(End(why="this credential has a new secret", client_id=found.client_id))
        return replace(found, secret=secret)

    def delete_credential(self, account_id: str, credential_id: str) -> None:
        """Remove a credential and its tokens. Raises `NotFound`."""
        found = self.credential(account_id, credential_id)
        with self._store.writing(noted=Noted(subject=found.client_id, was=_of_credential(found))) as link:
            link.execute(delete(schema_accounts.tokens).where(schema_accounts.tokens.c.credential_id == found.id))
            link.execute(delete(schema_accounts.credentials).where(schema_accounts.credentials.c.id == found.id))
        self.tokens.read(End(why="this credential was deleted", client_id=found.client_id))

    def credentials(self, account_id: str) -> list[Credential]:
        """An account's credentials, oldest first, without secrets."""
        table = schema_accounts.credentials
        columns = [table.c[f.name] for f in fields(Credential) if f.name != "secret"]
        with self._store.reading() as link:
            query = select(*columns).where(table.c.account_id == account_id).order_by(table.c.created_at, table.c.id)
            return [Credential(**{**row, "scope": Scope(row["scope"])}) for row in link.execute(query).mappings()]

    def credential(self, account_id: str, credential_id: str) -> Credential:
        """One of the account's credentials, by its id or its client id. Raises `NotFound`."""
        for found in self.credentials(account_id):
            if credential_id in (found.id, found.client_id):
                return found
        raise NotFound("no such credential")

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


def _of_credential(found: Credential) -> dict[str, object]:
    """What the audit log tells of it: never its secret."""
    told: dict[str, object] = {"id": found.id, "client_id": found.client_id, "name": found.name}
    narrower = {
        "user": found.user_id,
        "stack": found.stack_id,
        "scope": found.scope.value if found.scope is not Scope.WRITE else None,
        "expires_at": found.expires_at,
    }
    return told | {name: value for name, value in narrower.items() if value is not None}


def _columns(record: Account | Stack | Credential) -> dict[str, object]:
    return {name: getattr(record, name) for name in record.__dataclass_fields__}
