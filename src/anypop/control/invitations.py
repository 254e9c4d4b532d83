"""Invitations: what opens an account to somebody once, for some days.

In: an owner who invites into its account, the operator who invites to a new one, somebody who asks for one, or the
operator who lets a user choose a new password. Out: a token, shown once and stored as a hash; and later what it was
for. It is used up in the transaction that does it. Blocking.
"""

import secrets
import uuid
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from enum import StrEnum

from sqlalchemy import ColumnElement, Connection, delete, func, insert, select, update

from anypop.control.accounts import Account, Accounts
from anypop.control.audit import Noted
from anypop.control.ends import End
from anypop.control.refusals import NotFound, OverQuota, Precondition
from anypop.control.roles import Role
from anypop.control.schema_accounts import invitations, users
from anypop.control.store import Store
from anypop.control.tokens import end_tokens, hash_of
from anypop.control.users import PASSWORD_CHANGED, User
from anypop.model.errors import Problem

DAY_S = 86_400
LONGEST_DAYS = 30
REQUEST_DAYS = 14
# Open at once: of one account, and of people who ask for an account, whom nobody knows.
MOST_OF_ACCOUNT, MOST_REQUESTS = 100, 100


class Kind(StrEnum):
    """What it opens."""

    USER = "user"
    """an account that is there"""
    ACCOUNT = "account"
    """a new account, whose owner is who comes"""
    REQUEST = "request"
    """the same, asked for; once the operator has approved it"""
    PASSWORD = "password"
    """a new password of a user"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitation:
    """An open one. `account_id`: of a `USER` one; `account_name`: of an account that will be made; `user_id`: of a
    `PASSWORD` one. `made_by`: as the audit log names who it was.
    """

    id: str
    kind: Kind
    account_id: str | None
    account_name: str
    role: Role
    user_id: str | None
    note: str
    made_by: str
    created_at: float
    approved_at: float | None
    expires_at: float


class Invitations:
    """Those that are open. Nothing of them is kept in memory: they are few, and seldom asked for."""

    def __init__(self, store: Store, clock: Callable[[], float], accounts: Accounts) -> None:
        self._store = store
        self._clock = clock
        self._accounts = accounts

    # made

    def to_account(self, account: Account, role: Role, *, note: str, days: float, by: str) -> tuple[Invitation, str]:
        """Into an account that is there; and the token. Raises `OverQuota`."""
        made = self._new(Kind.USER, role, note=note, days=days, by=by)
        return self._put(replace(made, account_id=account.id), MOST_OF_ACCOUNT)

    def to_new_account(self, name: str, *, note: str, days: float, by: str) -> tuple[Invitation, str]:
        """To an account that is made when somebody comes; and the token. Raises `Exists` and `OverQuota`."""
        self._accounts.check_name(name)
        made = self._new(Kind.ACCOUNT, Role.OWNER, note=note, days=days, by=by)
        return self._put(replace(made, account_name=name), MOST_OF_ACCOUNT)

    def ask(self, name: str, *, note: str) -> tuple[Invitation, str]:
        """Somebody asks for an account; the token opens it once the operator has approved it. Nothing is told of the
        names that there are. Raises `OverQuota`.
        """
        made = self._new(Kind.REQUEST, Role.OWNER, note=note, days=REQUEST_DAYS, by="")
        return self._put(replace(made, account_name=name, approved_at=None), MOST_REQUESTS)

    def for_password(self, user: User, *, by: str) -> tuple[Invitation, str]:
        """For a user who has forgotten the password; and the token. Raises `OverQuota`."""
        made = self._new(Kind.PASSWORD, Role.VIEWER, note="", days=1, by=by)
        return self._put(replace(made, user_id=user.id), MOST_OF_ACCOUNT)

    # seen, approved, withdrawn

    def open(self, account_id: str | None) -> list[Invitation]:
        """Of an account; None: all that are of no account, for the operator. Oldest first."""
        query = select(invitations).where(self._alive(), _of(account_id)).order_by(invitations.c.created_at)
        with self._store.reading() as link:
            return [_read(dict(row)) for row in link.execute(query).mappings()]

    def approve(self, invitation_id: str, *, days: float = REQUEST_DAYS) -> Invitation:
        """A request: its token opens the account from now on. Raises `NotFound`, `Precondition` and `Exists`."""
        now = self._clock()
        with self._store.writing(noted=Noted(subject=invitation_id, became={"approved": True})) as link:
            found = self._one(link, (invitations.c.id == invitation_id) & _of(None))
            if found.kind is not Kind.REQUEST or found.approved_at is not None:
                raise Precondition("this is no request that waits")
            self._accounts.check_name(found.account_name)
            approved = replace(found, approved_at=now, expires_at=now + days * DAY_S)
            values = {"approved_at": approved.approved_at, "expires_at": approved.expires_at}
            link.execute(update(invitations).where(invitations.c.id == found.id).values(**values))
        return approved

    def withdraw(self, invitation_id: str, account_id: str | None) -> None:
        """Its token opens nothing any more. Raises `NotFound`."""
        with self._store.writing(noted=Noted(subject=invitation_id, account_id=account_id)) as link:
            found = self._one(link, (invitations.c.id == invitation_id) & _of(account_id))
            link.execute(delete(invitations).where(invitations.c.id == found.id))

    # used

    def look(self, token: str) -> Invitation:
        """What a token opens. Raises `NotFound`, and `Precondition` for a request that waits."""
        with self._store.reading() as link:
            return _ready(self._one(link, invitations.c.hash == hash_of(token)))

    def let_in(self, token: str, user: User, *, password_hash: str | None = None, new: bool = False) -> str:
        """The user, who is made first where it is `new`, into the account, which is made first where there is none. The
        id of the account. Raises `NotFound`, `Precondition` and `Exists`.
        """
        people, accounts = self._accounts.users, self._accounts
        with self._store.writing(noted=Noted(subject=user.name)) as link:
            found = _ready(self._one(link, invitations.c.hash == hash_of(token)))
            if found.kind is Kind.PASSWORD:
                raise NotFound(GONE)
            self._use_up(link, found)
            account = None
            if found.account_id is None:
                accounts.check_name(found.account_name)
                account = accounts.new_account(found.account_name)
                accounts.insert_account(link, account)
            account_id = account.id if account is not None else str(found.account_id)
            if new:
                people.insert(link, user, password_hash)
            people.insert_member(link, user.id, account_id, found.role)
        accounts.read()
        return account_id

    def set_password(self, token: str, password_hash: str) -> User:
        """A new password for the user that the token is for; all that was signed in ends. Raises `NotFound`."""
        with self._store.writing() as link:
            found = self._one(link, invitations.c.hash == hash_of(token))
            if found.kind is not Kind.PASSWORD or found.user_id is None:
                raise NotFound(GONE)
            self._use_up(link, found)
            link.execute(update(users).where(users.c.id == found.user_id).values(password_hash=password_hash))
            end_tokens(link, found.user_id)
        self._accounts.tokens.read(End(why=PASSWORD_CHANGED, user_id=found.user_id))
        return self._accounts.users.user(found.user_id)

    # how

    def _new(self, kind: Kind, role: Role, *, note: str, days: float, by: str) -> Invitation:
        now = self._clock()
        return Invitation(
            id=str(uuid.uuid4()), kind=kind, account_id=None, account_name="", role=role, user_id=None, note=note,
            made_by=by, created_at=now, approved_at=now, expires_at=now + days * DAY_S,
        )  # fmt: skip

    def _put(self, made: Invitation, most: int) -> tuple[Invitation, str]:
        token = secrets.token_urlsafe(32)
        told = {"kind": made.kind.value, "role": made.role.value, "account": made.account_name, "note": made.note}
        noted = Noted(subject=made.id, account_id=made.account_id, became={k: v for k, v in told.items() if v})
        with self._store.writing(noted=noted) as link:
            link.execute(delete(invitations).where(invitations.c.expires_at <= made.created_at))
            alike = _of(made.account_id) & (invitations.c.kind == made.kind.value)
            if link.execute(select(func.count()).select_from(invitations).where(alike)).scalar_one() >= most:
                message = f"{most} are open already, which is the most; withdraw those that nobody needs"
                raise OverQuota([Problem(path=f"{made.kind} invitations", message=message)])
            row = {f.name: getattr(made, f.name) for f in fields(Invitation)}
            row |= {"kind": made.kind.value, "role": made.role.value, "hash": hash_of(token)}
            link.execute(insert(invitations), row)
        return made, token

    def _one(self, link: Connection, where: ColumnElement[bool]) -> Invitation:
        found = link.execute(select(invitations).where(where, self._alive())).mappings().one_or_none()
        if found is None:
            raise NotFound(GONE)
        return _read(dict(found))

    def _use_up(self, link: Connection, found: Invitation) -> None:
        """Two who come at once with one token: the second one finds it gone."""
        if not link.execute(delete(invitations).where(invitations.c.id == found.id)).rowcount:
            raise NotFound(GONE)

    def _alive(self) -> ColumnElement[bool]:
        return invitations.c.expires_at > self._clock()


GONE = "this invitation is unknown, has been used, or has ended"


def _of(account_id: str | None) -> ColumnElement[bool]:
    return invitations.c.account_id.is_(None) if account_id is None else invitations.c.account_id == account_id


def _ready(found: Invitation) -> Invitation:
    if found.approved_at is None:
        raise Precondition("the operator has not approved this request yet")
    return found


def _read(row: dict[str, object]) -> Invitation:
    del row["hash"]
    return Invitation(**row | {"kind": Kind(row["kind"]), "role": Role(row["role"])})  # type: ignore[arg-type]
