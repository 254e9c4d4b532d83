"""`anypop user ...`, `anypop credential ...`: who is in an account with which role, and what programs sign in with.

In: names, roles, limits. Out: tables, and secrets that are shown once.
"""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from urllib.parse import quote

import typer

from anypop.cli import views
from anypop.cli.accounts import Account, of
from anypop.cli.call import Call, command
from anypop.cli.failure import usage
from anypop.cli.options import Yes
from anypop.cli.passwords import PasswordFile, new_password, password
from anypop.cli.screen import Shown
from anypop.cli.table import Cell, Column, Table

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Users of an account, their roles and passwords.")
credentials = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="What programs sign in with.")

User = Annotated[str, typer.Argument(metavar="USER", help="By name or id.")]
Role = Annotated[str, typer.Argument(metavar="ROLE", help="viewer, editor or owner.")]
Whose = Annotated[
    str,
    typer.Option(
        "--of", metavar="WHOSE", help="me, account (all of it, for owners), or the id of a user.", show_default=True
    ),
]
CredentialId = Annotated[str, typer.Argument(metavar="ID", help="Its id or client id.")]


@command(app, "whoami", stack=False, examples="anypop user whoami")
def who_am_i(call: Call) -> None:
    """Who you are here: user or credential, account, role."""
    found = call.client.get("/anypop/v1/who-am-i", what="ask who I am")
    call.screen.result(found, lambda: [_who(found)])


@command(app, "list", stack=False, examples="anypop user list")
def list_users(call: Call, *, account: Account = "") -> None:
    """The users of the account, and their roles."""
    found = call.client.get(f"{of(account)}/users", what="list users")["results"]
    call.screen.result(found, lambda: [_users(found)])


@command(app, "role", stack=False, examples="anypop user role bob editor")
def set_role(call: Call, user: User, role: Role, *, account: Account = "") -> None:
    """Give a user another role; it counts at once."""
    path = f"{of(account)}/users/{quote(user, safe='')}"
    found = call.client.call("PATCH", path, what=f"change the role of {user}", body={"role": role})["user"]
    call.screen.result(found, lambda: [f"{found.get('name')} is {found.get('role')}"])


@command(app, "remove", stack=False, examples="anypop user remove bob --yes")
def remove(call: Call, user: User, *, account: Account = "", yes: Yes = False) -> None:
    """Take a user out of the account; its sessions and credentials there end at once."""
    call.screen.agree(f"Take {user} out of the account?", yes=yes)
    call.client.call("DELETE", f"{of(account)}/users/{quote(user, safe='')}", what=f"remove {user}")
    call.screen.result({"user": user, "removed": True}, lambda: [f"{user} is in the account no more"])


@command(app, "password", stack=False, examples="anypop user password")
def change_password(
    call: Call,
    *,
    password_file: PasswordFile = "",
    new_file: Annotated[
        str,
        typer.Option(
            "--new-file",
            metavar="FILE",
            help="Holds the new one. Default: $ANYPOP_NEW_PASSWORD, else asked for.",
            show_default=False,
        ),
    ] = "",
) -> None:
    """Change your password. All that you are signed in with ends: sign in again."""
    body = {"password": password(password_file), "new": new_password(new_file, variable="ANYPOP_NEW_PASSWORD")}
    call.client.call("POST", "/anypop/v1/password", what="change the password", body=body)
    call.screen.result({"changed": True}, lambda: ["the password is changed: 'anypop login URL --user NAME' signs in"])


@command(app, "reset", stack=False, examples="anypop user reset bob")
def reset(call: Call, user: User) -> None:
    """A token with which a user chooses a new password within a day (operator): 'anypop invitation accept URL'."""
    path = f"/anypop/v1/users/{quote(user, safe='')}/reset"
    found = call.client.call("POST", path, what=f"reset the password of {user}")["invitation"]
    call.screen.result(found, lambda: [f"token, shown this once: {found.get('token')}"])


# credentials


@command(
    credentials, "create", stack=False,
    examples="""
    anypop credential create ci --of-stack shop --expires-in-days 90
    anypop credential create grafana --read
    anypop credential create prometheus --scrape --of account
    """,
)  # fmt: skip
def create(
    call: Call,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What to call it, for people.")],
    *,
    read: Annotated[bool, typer.Option("--read", help="It changes nothing.")] = False,
    scrape: Annotated[
        bool, typer.Option("--scrape", help="It scrapes metrics and does nothing else; for the operator.")
    ] = False,
    of_stack: Annotated[
        str,
        typer.Option("--of-stack", metavar="STACK", help="For this stack alone, by id or slug.", show_default=False),
    ] = "",
    expires_in_days: Annotated[
        float | None,
        typer.Option("--expires-in-days", metavar="N", help="It ends after so long.", min=0.001, show_default=False),
    ] = None,
    whose: Whose = "me",
) -> None:
    """Make a credential. Its secret is shown this once."""
    if read and scrape:
        raise usage("choose --read or --scrape")
    body: dict[str, Any] = {"name": name, "scope": "metrics" if scrape else "read" if read else "write"}
    if of_stack:
        body["stack"] = of_stack
    if expires_in_days is not None:
        body["expiresAt"] = (datetime.now(UTC) + timedelta(days=expires_in_days)).isoformat()
    found = call.client.call("POST", _path(call, whose), what=f"create credential {name}", body=body)
    call.screen.result(found, lambda: _secret(found))


@command(credentials, "list", stack=False, examples="anypop credential list\nanypop credential list --of account")
def list_credentials(call: Call, *, whose: Whose = "me") -> None:
    """Credentials, without their secrets."""
    found = call.client.every(_path(call, whose), what="list credentials")
    call.screen.result(found, lambda: [_credentials(found)])


@command(credentials, "rotate", stack=False, examples="anypop credential rotate ID --yes")
def rotate(call: Call, identity: CredentialId, *, whose: Whose = "me", yes: Yes = False) -> None:
    """Give a credential a new secret; the old one and its tokens end at once."""
    call.screen.agree(f"End the secret of {identity}?", yes=yes)
    path = f"{_path(call, whose)}/{quote(identity, safe='')}/rotate"
    found = call.client.call("POST", path, what=f"rotate credential {identity}")
    call.screen.result(found, lambda: _secret(found))


@command(credentials, "delete", stack=False, examples="anypop credential delete ID --yes")
def delete(call: Call, identity: CredentialId, *, whose: Whose = "me", yes: Yes = False) -> None:
    """Delete a credential; its tokens end at once."""
    call.screen.agree(f"Delete credential {identity}?", yes=yes)
    path = f"{_path(call, whose)}/{quote(identity, safe='')}"
    call.client.call("DELETE", path, what=f"delete credential {identity}")
    call.screen.result({"id": identity, "deleted": True}, lambda: [f"credential {identity} is deleted"])


def _path(call: Call, whose: str) -> str:
    if not whose:
        raise usage("say whose: --of me, account, or the id of a user")
    if whose == "account":
        whose = call.client.get("/anypop/v1/who-am-i", what="ask who I am")["account"]["id"]
    return f"/identity/v1/users/{quote(whose, safe='')}/credentials"


def _who(found: dict[str, Any]) -> str:
    who = (found.get("user") or {}).get("name") or f"credential {found.get('client_id')}"
    narrower = [
        {"read": "for reading", "metrics": "for scraping"}.get(str(found.get("scope")), ""),
        f"for stack {found['stack']}" if found.get("stack") else "",
        f"until {found['expires_at']}" if found.get("expires_at") else "",
    ]
    rest = "".join(f", {part}" for part in narrower if part)
    return f"{who}: {found.get('role')} in account {(found.get('account') or {}).get('name')}{rest}"


def _users(found: list[views.Data]) -> Table:
    columns = [Column(head="USER"), Column(head="ROLE"), Column(head="SINCE"), Column(head="ID", drop=1)]
    rows: list[list[Cell]] = [
        [
            str(u.get("name")),
            f"{u.get('role')}{' (by a rule)' if u.get('by_rule') else ''}",
            views.moment(u.get("since")),
            (str(u.get("id")), "dim"),
        ]
        for u in found
    ]
    return Table(columns=columns, rows=rows, empty="nobody: 'anypop invitation create' invites")


def _credentials(found: list[views.Data]) -> Table:
    columns = [
        Column(head="CREDENTIAL"), Column(head="CLIENT ID"), Column(head="SCOPE"), Column(head="STACK", maybe=True),
        Column(head="USER", maybe=True, drop=2), Column(head="CREATED", drop=1), Column(head="ENDS", maybe=True),
    ]  # fmt: skip
    rows: list[list[Cell]] = [
        [
            views.text(c.get("name")), str(c.get("clientId")), str(c.get("scope")), views.text(c.get("stackId") or ""),
            views.text(c.get("userId") or ""), views.moment(c.get("createdAt")),
            views.moment(c["expiresAt"]) if c.get("expiresAt") else "",
        ]
        for c in found
    ]  # fmt: skip
    return Table(columns=columns, rows=rows, empty="no credentials")


def _secret(found: views.Data) -> list[Shown]:
    return [f"client id: {found.get('clientId')}", f"secret, shown this once: {found.get('clientSecret')}"]
