"""Accounts, users and their roles, and how people sign in, as `/anypop/v1` sends and reads them."""

from typing import Annotated, Literal

from pydantic import Field

from anypop.api.models.common import Answer, Id, Moment, Request, left_out
from anypop.control.passwords import LONGEST, SHORTEST
from anypop.model.limits import LONGEST_NAME

RoleName = Literal["viewer", "editor", "owner"]
Password = Annotated[str, Field(max_length=LONGEST, json_schema_extra={"format": "password"})]
NewPassword = Annotated[
    str,
    Field(max_length=LONGEST, description=f"at least {SHORTEST} characters", json_schema_extra={"format": "password"}),
]
UserName = Annotated[str, Field(max_length=LONGEST_NAME, description="what the user signs in with")]


class SignInRequest(Request):
    """A user's name and password."""

    name: UserName
    password: Password
    account: Annotated[
        str, Field(max_length=LONGEST_NAME, description="id or name; default: the one that the user is in the longest")
    ] = ""


class PasswordRequest(Request):
    """One's own password, and the one that takes its place."""

    password: Password
    new: NewPassword


class UserShown(Answer):
    id: Id
    name: str


class AccountShown(Answer):
    id: Id
    name: str


class Place(Answer):
    """An account that a user is in."""

    account: AccountShown
    role: RoleName


class SignedIn(Answer):
    """A bearer token of a user, in one account. The first three members are those of RFC 6749."""

    access_token: str
    token_type: Literal["bearer"]
    expires_in: Annotated[int, Field(description="seconds")]
    user: UserShown
    account: AccountShown
    role: RoleName
    accounts: Annotated[list[Place], Field(description="all that the user is in")]


class WhoAmI(Answer):
    """Who asks, and what it may do here."""

    account: AccountShown
    operator: bool
    role: RoleName
    scope: Annotated[Literal["read", "write"], Field(description="of the credential; of a session: write")]
    user: UserShown = left_out("nobody: the credential is the account's own")
    client_id: str = left_out("of the credential; none: a session of the user")
    stack: str = left_out("id of the stack that the credential is for")
    expires_at: Moment = left_out("when the credential ends")
    accounts: list[Place] = left_out("all that the user is in")
