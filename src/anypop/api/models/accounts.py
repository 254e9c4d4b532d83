"""Accounts, users and their roles, and how people sign in, as `/anypop/v1` sends and reads them."""

from typing import Annotated, Literal

from pydantic import Field

from anypop.api.models.common import Answer, Id, Moment, Name, Request, left_out
from anypop.api.models.quotas import Limits, Usage
from anypop.control.invitations import LONGEST_DAYS
from anypop.control.passwords import LONGEST, SHORTEST
from anypop.model.limits import LONGEST_NAME, LONGEST_NOTE

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


class CollectRequest(Request):
    """What a command line got at its own address, and what it alone knows of the sign-in that it began."""

    code: Annotated[str, Field(max_length=128, description="from the answer that came to `port`")]
    verifier: Annotated[str, Field(max_length=128, description="whose challenge the sign-in began with (RFC 7636)")]


class LinkRequest(Request):
    """The code of a link that signs in."""

    code: Annotated[str, Field(min_length=1, max_length=128)]


class LinkMade(Answer):
    """A link that signs a person in at the portal, once. The code is in this answer, and nowhere else."""

    code: str
    path: Annotated[str, Field(description="of the link, at this control")]
    expires_in: Annotated[int, Field(description="seconds")]


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
    scope: Annotated[Literal["read", "write", "metrics"], Field(description="of the credential; of a session: write")]
    user: UserShown = left_out("nobody: the credential is the account's own")
    client_id: str = left_out("of the credential; none: a session of the user")
    stack: str = left_out("id of the stack that the credential is for")
    expires_at: Moment = left_out("when the credential ends")
    accounts: list[Place] = left_out("all that the user is in")


class AccountRequest(Request):
    """What can be said of an account."""

    name: Name


class Account(Answer):
    """An account, with what it may declare and has declared."""

    id: Id
    name: str
    operator: bool
    created_at: Moment
    suspended_at: Moment = left_out("nobody has suspended it")
    role: RoleName = left_out("of the caller in it")
    users: int
    stacks: int
    quota: Limits
    used: Usage


class Accounts(Answer):
    results: list[Account]


class AccountAnswer(Answer):
    account: Account


class User(Answer):
    """A user in an account."""

    id: Id
    name: str
    role: RoleName
    since: Moment
    by_rule: bool = left_out("true: by a rule of the provider of sign-ins, which takes it away too")


class Users(Answer):
    results: list[User]


class UserAnswer(Answer):
    user: User


class RoleRequest(Request):
    """A user's role in the account from now on."""

    role: RoleName


Days = Annotated[float, Field(gt=0, le=LONGEST_DAYS, description="for so many days the token counts")]
Note = Annotated[str, Field(max_length=LONGEST_NOTE, description="for people: to whom, why")]


class InvitationRequest(Request):
    """An invitation into an account."""

    role: RoleName
    note: Note = ""
    days: Days = 7


class NewAccountRequest(Request):
    """An invitation to an account that is made when somebody comes; who comes owns it."""

    account: Name
    note: Note = ""
    days: Days = 7


class AskRequest(Request):
    """Somebody asks for an account."""

    account: Name
    note: Annotated[Note, Field(description="for the operator: who asks, and how to reach them")] = ""


class Invitation(Answer):
    """What opens an account once. `token` is in the answer to its creation, and nowhere else."""

    id: Id
    kind: Annotated[
        Literal["user", "account", "request", "password"],
        Field(
            description="user: into an account; account: to a new one; request: the same, asked for; password: a new "
            "password of a user"
        ),
    ]
    account: str = left_out("the account's id, or the name of the one that will be made")
    role: RoleName = left_out()
    user: str = left_out("whose password")
    note: str
    made_by: str
    created_at: Moment
    approved: bool
    expires_at: Moment
    token: str = left_out("shown this once")


class Invitations(Answer):
    results: list[Invitation]


class InvitationAnswer(Answer):
    invitation: Invitation


class TokenOnly(Request):
    """The token of an invitation."""

    token: Annotated[str, Field(min_length=1, max_length=LONGEST_NAME)]


class AcceptRequest(TokenOnly):
    """The token of an invitation, and who comes: a new user, or one that is there, with its password. To choose a new
    password the name is not needed.
    """

    name: UserName = ""
    password: NewPassword
