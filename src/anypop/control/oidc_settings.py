"""What the operator says about a provider of sign-ins (OpenID Connect): one file, read at the start of control.

In: YAML. Out: `OidcSettings`, or every problem at once with its path. The client's secret stands in a file of its own,
which nobody else may read; it is in no message. Rules say who may come in without an invitation, by what the provider
says of them.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import Field

from anypop.control.roles import Role
from anypop.control.secret_files import secret_in
from anypop.control.settings_files import Given, Text, checked, loaded
from anypop.model.errors import Invalid, Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Whoever has `value` in the claim is in the account, with this role. `account`: its id (names can be
    given twice), or `operator`, the operator's own.
    """

    claim: str
    value: str
    account: str
    role: Role


@dataclass(frozen=True, slots=True, kw_only=True)
class OidcSettings:
    """`url`: where people reach this control, to which the provider sends them back. `names`: the claims of which the
    first that is there names a new user. `ca`: who signed the provider's certificate, where that is nobody public.
    """

    issuer: str
    client_id: str
    client_secret: str = field(repr=False)
    url: str
    scopes: tuple[str, ...]
    names: tuple[str, ...]
    ca: Path | None = None
    rules: tuple[Rule, ...] = ()

    @property
    def callback(self) -> str:
        return f"{self.url}/anypop/v1/sign-in/oidc/callback"


class _Rule(Given):
    claim: Text
    value: Text
    account: Text
    role: Role


class _File(Given):
    issuer: Text
    client_id: Text
    client_secret_file: Path
    url: Text
    scopes: list[Text] = Field(default=["openid", "profile", "email"])
    names: list[Text] = Field(default=["preferred_username", "email", "name"])
    ca: Path | None = None
    rules: list[_Rule] = Field(default=[])


def read(path: Path) -> OidcSettings:
    """Raises `WorldError` for a file that cannot be read, and `Invalid` with all that is wrong in it."""
    return settings_from(loaded(path))


def settings_from(data: Any) -> OidcSettings:
    """Raises `Invalid` with all that is wrong."""
    given = checked(_File, data, "oidc")
    problems = [*_address("issuer", given.issuer), *_address("url", given.url)]
    if urlsplit(given.url).path not in ("", "/"):
        problems.append(Problem(path="oidc.url", message="is control's own address, with nothing behind the port"))
    if "openid" not in given.scopes:
        problems.append(Problem(path="oidc.scopes", message="must have openid"))
    if given.ca is not None and not given.ca.is_file():
        problems.append(Problem(path="oidc.ca", message=f"there is no file {given.ca}"))
    secret = secret_in(given.client_secret_file, "oidc.client_secret_file", problems)
    if problems:
        raise Invalid(problems)
    return OidcSettings(
        issuer=given.issuer,
        client_id=given.client_id,
        client_secret=secret,
        url=given.url.rstrip("/"),
        scopes=tuple(given.scopes),
        names=tuple(given.names),
        ca=given.ca,
        rules=tuple(Rule(claim=r.claim, value=r.value, account=r.account, role=r.role) for r in given.rules),
    )


def _address(name: str, text: str) -> list[Problem]:
    """HTTPS alone: what comes and goes there opens accounts."""
    parts = urlsplit(text)
    if parts.scheme == "https" and parts.hostname and not parts.query and not parts.fragment and parts.username is None:
        return []
    return [Problem(path=f"oidc.{name}", message="must be an address like https://id.example")]
