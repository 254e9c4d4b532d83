"""Tokens, credentials and stacks, as the Workload API's clients send and read them."""

from typing import Annotated, Literal

from pydantic import AwareDatetime, ConfigDict, Field
from pydantic.alias_generators import to_camel

from anypop.api.models.common import Answer, CamelAnswer, CamelRequest, Id, Moment, Name, Page, Request, left_out
from anypop.model.limits import LONGEST_NAME
from anypop.plan.kinds import Given, Slug, Word


class TokenRequest(Request):
    """Client credentials (RFC 6749, section 4.4). What else there is, a `scope` say, is of no interest."""

    model_config = ConfigDict(extra="ignore")

    grant_type: Literal["client_credentials"] = "client_credentials"
    client_id: Annotated[Given, Field(description="32 hex digits")]
    client_secret: Annotated[Given, Field(description="64 hex digits")]


class Token(Answer):
    """A bearer token. Members are in snake_case here, by RFC 6749."""

    access_token: str
    token_type: Literal["bearer"]
    expires_in: Annotated[int, Field(description="seconds")]


class CredentialRequest(Request):
    """A new credential. An unknown member is refused: a limit that is misspelt would be none."""

    model_config = ConfigDict(alias_generator=to_camel)

    name: Annotated[str, Field(max_length=LONGEST_NAME, description="what to call it, for people")] = ""
    scope: Annotated[
        Literal["read", "write", "metrics"],
        Field(description="`read`: it changes nothing; `metrics`: it scrapes, for the operator"),
    ] = "write"
    stack: Annotated[
        str, Field(max_length=LONGEST_NAME, description="id or slug: it is for this stack alone; default: for all")
    ] = ""
    expires_at: Annotated[AwareDatetime | None, Field(description="when it ends; default: never")] = None


class Credential(CamelAnswer):
    """A client id of an account. The secret is in the answer to its creation and to its rotation, and nowhere else."""

    scope: Literal["read", "write", "metrics"]
    user_id: str = left_out("whose it is; none: the account's own")
    stack_id: str = left_out("the only stack that it is for")
    expires_at: Moment = left_out("when it ends; none: never")

    id: Id
    name: str
    client_id: str
    created_at: Moment
    client_secret: str = left_out("64 hex digits, shown this once")


class CredentialPage(Page):
    results: list[Credential]


class StackRequest(CamelRequest):
    """A new stack. Without a slug one is made from the name and six hex digits."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    slug: Slug = ""
    account_id: Annotated[Word, Field(description="the caller's own account, or nothing")] = ""


class StackPatch(CamelRequest):
    """What can be changed of a stack: its name. What else was read of it may be sent back as it is."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    id: Word = ""
    account_id: Word = ""
    slug: Word = ""
    status: Word = ""
    created_at: Word = ""
    updated_at: Word = ""


class Stack(CamelAnswer):
    """A project that holds workloads."""

    id: Id
    account_id: Id
    slug: str
    name: str
    created_at: Moment
    updated_at: Moment
    status: Literal["ACTIVE"]


class StackAnswer(CamelAnswer):
    stack: Stack


class StackPage(Page):
    results: list[Stack]
