"""Users: people, their roles in accounts, their passwords' hashes, and who a provider of sign-ins says they are.

In: changes that a face has allowed. Out: the store and memory with them. A person may be in several accounts, with
another role in each; an account that has an owner among its users never loses the last one. Blocking but for what reads
roles, which each request needs.
"""

import re
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from anypop.control.audit import Noted
from anypop.control.ends import End
from anypop.control.refusals import Exists, NotFound, Precondition
from anypop.control.roles import Role
from anypop.control.schema_accounts import accounts, credentials, identities, memberships, users
from anypop.control.store import Store
from anypop.control.tokens import Tokens, end_tokens
from anypop.model.errors import Invalid, WorldError

NO_RULE = "no rule of the provider's gives this role any more"
PASSWORD_CHANGED = "the password was changed: sign in again"
_NAME = re.compile(r"[a-z0-9][a-z0-9._+@-]{1,254}")


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A person. `name`: what they sign in with."""

    id: str
    name: str
    created_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A user in an account, since when, and with which role. `by_rule`: a rule of the provider's gave it."""

    user: User
    account_id: str
    role: Role
    since: float
    by_rule: bool = False


class Users:
    """Everybody, and who is where. Passwords' hashes are read when they are needed, and not kept here."""

    def __init__(self, store: Store, clock: Callable[[], float], tokens: Tokens) -> None:
        self._store = store
        self._clock = clock
        self._tokens = tokens
        self._lock = threading.Lock()
        self._users: dict[str, User] = {}
        self._members: dict[tuple[str, str], Member] = {}

    def read(self) -> None:
        """Everything anew from the store."""
        with self._lock, self._store.reading() as link:
            found = link.execute(select(users.c.id, users.c.name, users.c.created_at)).mappings()
            people = {r["id"]: User(**r) for r in found}
            places = link.execute(select(memberships)).mappings()
            members = {
                (r["user_id"], r["account_id"]): Member(
                    user=people[r["user_id"]],
                    account_id=r["account_id"],
                    role=Role(r["role"]),
                    since=r["created_at"],
                    by_rule=bool(r["by_rule"]),
                )
                for r in places
            }
            self._users, self._members = people, members
        self._tokens.ends.tell()

    # who is where

    def member(self, user_id: str, account_id: str) -> Member:
        """The user in this account. Raises `NotFound`."""
        found = self._members.get((user_id, account_id))
        if found is None:
            raise NotFound(f"no user {user_id}")
        return found

    def role(self, user_id: str, account_id: str) -> Role | None:
        """None: not in this account."""
        found = self._members.get((user_id, account_id))
        return found.role if found is not None else None

    def members(self, account_id: str) -> list[Member]:
        """Of an account, by name."""
        return sorted((m for m in self._members.values() if m.account_id == account_id), key=lambda m: m.user.name)

    def places(self, user_id: str) -> list[Member]:
        """In which accounts a user is, the longest first."""
        found = [m for m in self._members.values() if m.user.id == user_id]
        return sorted(found, key=lambda m: (m.since, m.account_id))

    def user(self, user_id: str) -> User:
        """Raises `NotFound`."""
        if user_id not in self._users:
            raise NotFound(f"no user {user_id}")
        return self._users[user_id]

    def named(self, name: str) -> User | None:
        """By the name to sign in with."""
        wanted = name.strip().lower()
        return next((u for u in self._users.values() if u.name == wanted), None)

    # changes

    def create(self, name: str, *, password_hash: str | None = None) -> User:
        """A user who is in no account yet. Raises `Invalid` and `Exists`."""
        made = self.new(name)
        with self._store.writing(noted=Noted(subject=made.name, became={"id": made.id, "name": made.name})) as link:
            self.insert(link, made, password_hash)
        self.read()
        return made

    def new(self, name: str) -> User:
        """One that is not stored yet. Raises `Invalid`."""
        return User(id=str(uuid.uuid4()), name=good_name(name), created_at=self._clock())

    def insert(self, link: Connection, user: User, password_hash: str | None) -> None:
        """In a transaction of the caller's; `read` must follow. Raises `Exists`."""
        if link.execute(select(users.c.id).where(users.c.name == user.name)).scalar_one_or_none() is not None:
            raise Exists(f"the name {user.name} is taken")
        row = {"id": user.id, "name": user.name, "password_hash": password_hash, "created_at": user.created_at}
        link.execute(insert(users), row)

    def insert_member(
        self, link: Connection, user_id: str, account_id: str, role: Role, *, by_rule: bool = False
    ) -> None:
        """In a transaction of the caller's; `read` must follow. Raises `Exists`."""
        here = _is(user_id, account_id)
        if link.execute(select(memberships.c.role).where(here)).scalar_one_or_none() is not None:
            raise Exists("this user is in the account already")
        row = {
            "user_id": user_id, "account_id": account_id, "role": role.value, "created_at": self._clock(),
            "by_rule": by_rule,
        }  # fmt: skip
        link.execute(insert(memberships), row)

    def join(self, user_id: str, account_id: str, role: Role, *, by_rule: bool = False) -> Member:
        """Into an account. Raises `Exists` and `NotFound`."""
        name = self.user(user_id).name
        became = {"user": name, **_given(role, by_rule=by_rule)}
        with self._store.writing(noted=Noted(subject=name, account_id=account_id, became=became)) as link:
            self.insert_member(link, user_id, account_id, role, by_rule=by_rule)
        self.read()
        return self.member(user_id, account_id)

    def set_role(self, user_id: str, account_id: str, role: Role, *, by_rule: bool = False) -> Member:
        """From now on it is given by hand, or `by_rule`. Raises `NotFound`, and `Precondition` where the last owner
        would be none, unless a rule takes the role.
        """
        known = self.member(user_id, account_id)
        noted = Noted(
            subject=known.user.name, account_id=account_id,
            was=_given(known.role, by_rule=known.by_rule), became=_given(role, by_rule=by_rule),
        )  # fmt: skip
        with self._store.writing(noted=noted) as link:
            _hold(link, account_id)
            here = _is(user_id, account_id)
            changed = link.execute(update(memberships).where(here).values(role=role.value, by_rule=by_rule)).rowcount
            if not changed:
                raise NotFound(f"no user {user_id}")
            if not by_rule:
                _check_owned(link, account_id, known.role)
        self.read()
        return self.member(user_id, account_id)

    def leave(self, user_id: str, account_id: str, *, by_rule: bool = False) -> None:
        """Out of an account: its sessions there end, and its credentials there go. Raises `NotFound`, and
        `Precondition` for the last owner, unless a rule takes that one out.
        """
        known = self.member(user_id, account_id)
        noted = Noted(
            subject=known.user.name, account_id=account_id, was=_given(known.role, by_rule=known.by_rule),
            became={"why": NO_RULE} if by_rule else None,
        )  # fmt: skip
        with self._store.writing(noted=noted) as link:
            _hold(link, account_id)
            end_tokens(link, user_id, account_id)
            own = (credentials.c.user_id == user_id) & (credentials.c.account_id == account_id)
            link.execute(delete(credentials).where(own))
            link.execute(delete(memberships).where(_is(user_id, account_id)))
            if not by_rule:
                _check_owned(link, account_id, known.role)
        self.read()
        self._tokens.read(End(why="you are in this account no more", user_id=user_id, account_id=account_id))

    # passwords

    def password_hash(self, user_id: str) -> str | None:
        """None: the user has no password, or there is no such user."""
        with self._store.reading() as link:
            return link.execute(select(users.c.password_hash).where(users.c.id == user_id)).scalar_one_or_none()

    def set_password(self, user_id: str, password_hash: str, *, was: str | None) -> None:
        """A new password: all sessions of the user end, and all tokens of its credentials. `was`: the hash that the old
        one fitted. Raises `Precondition` where it was changed meanwhile.
        """
        with self._store.writing(noted=Noted(subject=self.user(user_id).name)) as link:
            same = users.c.password_hash.is_(None) if was is None else users.c.password_hash == was
            query = update(users).where((users.c.id == user_id) & same).values(password_hash=password_hash)
            if not link.execute(query).rowcount:
                raise Precondition("the password was changed meanwhile")
            end_tokens(link, user_id)
        self._tokens.read(End(why=PASSWORD_CHANGED, user_id=user_id))

    def renew_hash(self, user_id: str, password_hash: str, *, was: str) -> None:
        """The same password, hashed as it is done today; nothing ends."""
        with self._store.writing(noted=Noted(subject=self.user(user_id).name)) as link:
            same = (users.c.id == user_id) & (users.c.password_hash == was)
            link.execute(update(users).where(same).values(password_hash=password_hash))

    # providers of sign-ins

    def of_identity(self, issuer: str, subject: str) -> User | None:
        """Whom a provider means."""
        query = select(identities.c.user_id).where((identities.c.issuer == issuer) & (identities.c.subject == subject))
        with self._store.reading() as link:
            found = link.execute(query).scalar_one_or_none()
        return self._users.get(found) if found is not None else None

    def link_identity(self, user_id: str, issuer: str, subject: str) -> None:
        """From now on the provider's `subject` is this user. Raises `Exists` where it is somebody's already."""
        user = self.user(user_id)
        row = {"issuer": issuer, "subject": subject, "user_id": user_id, "created_at": self._clock()}
        noted = Noted(subject=user.name, became={"issuer": issuer, "subject": subject})
        try:
            with self._store.writing(noted=noted) as link:
                link.execute(insert(identities), row)
        except WorldError as error:
            if isinstance(error.__cause__, IntegrityError):
                raise Exists("this identity is a user's already") from error
            raise


def good_name(name: str, *, field: str = "name") -> str:
    """The name as it is kept: in small letters. Raises `Invalid`."""
    found = name.strip().lower()
    if not _NAME.fullmatch(found):
        raise Invalid.one(
            field, "must be 2 to 255 of a-z, 0-9, '.', '_', '+', '@' and '-', as in ada or ada@example.net"
        )
    return found


def _is(user_id: str, account_id: str) -> ColumnElement[bool]:
    return (memberships.c.user_id == user_id) & (memberships.c.account_id == account_id)


def _given(role: Role, *, by_rule: bool) -> dict[str, object]:
    """For the audit log."""
    return {"role": role.value, **({"by_rule": True} if by_rule else {})}


def _hold(link: Connection, account_id: str) -> None:
    """Two owners who take each other's role at once, on PostgreSQL, are one after the other by this."""
    link.execute(select(accounts.c.id).where(accounts.c.id == account_id).with_for_update())


def _check_owned(link: Connection, account_id: str, was: Role) -> None:
    """After a change, in its transaction. Raises `Precondition` where the last owner would be gone."""
    if was is not Role.OWNER:
        return
    owners = (memberships.c.account_id == account_id) & (memberships.c.role == Role.OWNER.value)
    if not link.execute(select(func.count()).select_from(memberships).where(owners)).scalar_one():
        raise Precondition("this is the last owner of the account: make another user an owner first")
