"""`anypop account ...`, `anypop invitation ...`: accounts with their limits and use, and how people come into them.

In: names, roles. Out: tables, and tokens that are shown once. Who has no credentials yet names the platform's address:
a request for an account, and coming in with a token.
"""

from typing import Annotated, Any
from urllib.parse import quote

import typer

from anypop.cli import views
from anypop.cli.call import Call, command
from anypop.cli.contexts import Ca, keep_session, stranger
from anypop.cli.options import Yes
from anypop.cli.passwords import PasswordFile, invitation, new_password, password
from anypop.cli.screen import Shown
from anypop.cli.table import Cell, Column, Table

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Accounts: list, make, rename, suspend, delete; ask for one."
)
invitations = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Invite people, and come by invitation.")

ROOT = "/anypop/v1/accounts"
Account = Annotated[
    str, typer.Option("--account", metavar="ID", help="Another account, by id (operator).", show_default=False)
]
Note = Annotated[str, typer.Option("--note", metavar="TEXT", help="To whom, why: for people.", show_default=False)]
Days = Annotated[float, typer.Option("--days", metavar="N", help="For so long the token counts.", min=0.01, max=30)]
Url = Annotated[str, typer.Argument(metavar="URL", help="Control's address, as https://control.example:8443.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The account's name.")]
Id = Annotated[str, typer.Argument(metavar="ID", help="As 'anypop account requests' or 'invitation list' shows it.")]
AccountId = Annotated[str, typer.Argument(metavar="ID", help="As 'anypop account list' shows it.")]
ContextName = Annotated[
    str, typer.Option("--name", metavar="NAME", help="Of the context (default: its host).", show_default=False)
]
TokenFile = Annotated[
    str,
    typer.Option(
        "--token-file", metavar="FILE|-", help="Holds the token. Default: $ANYPOP_INVITATION, else asked for.",
        show_default=False,
    ),
]  # fmt: skip


def of(account: str) -> str:
    """The path of an account: the caller's own where none is named."""
    return f"{ROOT}/{quote(account or 'mine', safe='')}"


@command(app, "list", stack=False, examples="anypop account list\nanypop account list -o json")
def list_accounts(call: Call) -> None:
    """The accounts that you are in, with what they have declared and may; for the operator all."""
    found = call.client.get(ROOT, what="list accounts")["results"]
    call.screen.result(found, lambda: [_accounts(found)])


@command(app, "show", stack=False, examples="anypop account show\nanypop account show --account ID")
def show(call: Call, *, account: Account = "") -> None:
    """One account, with what it has declared and may."""
    found = call.client.get(of(account), what="show the account")["account"]
    call.screen.result(found, lambda: [_accounts([found])])


@command(app, "create", stack=False, examples="anypop account create shop")
def create(call: Call, name: Name) -> None:
    """Make an account, in which nobody is yet (operator); 'anypop invitation create --account ID' invites its owner."""
    found = call.client.call("POST", ROOT, what=f"create account {name}", body={"name": name})["account"]
    call.screen.result(found, lambda: [f"account {found['name']}: {found['id']}"])


@command(app, "rename", stack=False, examples="anypop account rename Shop")
def rename(call: Call, name: Name, *, account: Account = "") -> None:
    """Give an account another name."""
    found = call.client.call("PATCH", of(account), what="rename the account", body={"name": name})["account"]
    call.screen.result(found, lambda: [f"the account is called {found['name']}"])


@command(
    app, "delete", stack=False, examples="anypop account delete shop\nanypop account delete shop --account ID --yes"
)
def delete(
    call: Call,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The account's name, so that no other one is meant.")],
    *,
    account: Account = "",
    yes: Yes = False,
) -> None:
    """Delete an account, in which no workload, volume or allocation is any more: its users, credentials and stacks go.
    What was metered and audited stays.
    """
    call.screen.agree(f"Delete account {name}, with its users, credentials and stacks, for good?", yes=yes)
    path = f"{of(account)}?confirm={quote(name, safe='')}"
    call.client.call("DELETE", path, what=f"delete account {name}")
    call.screen.result({"name": name, "deleted": True}, lambda: [f"account {name} is deleted"])


@command(app, "suspend", stack=False, examples="anypop account suspend ID --yes")
def suspend(call: Call, identity: AccountId, *, yes: Yes = False) -> None:
    """Let nobody into an account (operator), and end what is open there; what runs goes on."""
    call.screen.agree(f"Let nobody into account {identity}?", yes=yes)
    _switched(call, identity, "suspend", "nobody gets in")


@command(app, "resume", stack=False, examples="anypop account resume ID")
def resume(call: Call, identity: AccountId) -> None:
    """Let the people and programs of a suspended account in again (operator)."""
    _switched(call, identity, "resume", "its people and programs get in again")


def _switched(call: Call, identity: str, verb: str, words: str) -> None:
    found = call.client.call("POST", f"{of(identity)}/{verb}", what=f"{verb} account {identity}")["account"]
    call.screen.result(found, lambda: [f"account {found['name']}: {words}"])


@command(
    app, "request", stack=False,
    examples="anypop account request https://control.example:8443 shop --ca ca.pem --note 'Ada, ada@example.net'",
)  # fmt: skip
def request(call: Call, url: Url, name: Name, *, ca: Ca = None, note: Note = "") -> None:
    """Ask a platform for an account. The token that is shown opens it once the operator has approved: keep it."""
    client = stranger(call, url, ca)
    try:
        body = {"account": name, "note": note}
        found = client.post_open("/anypop/v1/account-requests", body, what="ask for an account")["invitation"]
    finally:
        client.close()
    call.screen.result(found, lambda: _token(found, f"asked for account {name}"))


@command(app, "requests", stack=False, examples="anypop account requests")
def requests(call: Call) -> None:
    """Requests for accounts and invitations to new ones that are open (operator)."""
    found = call.client.get("/anypop/v1/invitations", what="list requests")["results"]
    call.screen.result(found, lambda: [_invitations(found)])


@command(app, "approve", stack=False, examples="anypop account approve ID")
def approve(call: Call, identity: Id) -> None:
    """Approve a request (operator): the token that its asker has opens the account from now on."""
    path = f"/anypop/v1/invitations/{quote(identity, safe='')}"
    found = call.client.call("POST", f"{path}/approve", what=f"approve request {identity}")["invitation"]
    call.screen.result(found, lambda: [f"approved: account {found.get('account')} is made when its owner comes"])


@command(app, "refuse", stack=False, examples="anypop account refuse ID --yes")
def refuse(call: Call, identity: Id, *, yes: Yes = False) -> None:
    """Refuse a request, or withdraw an invitation to a new account (operator)."""
    call.screen.agree(f"Refuse request {identity}?", yes=yes)
    path = f"/anypop/v1/invitations/{quote(identity, safe='')}"
    call.client.call("DELETE", path, what=f"refuse request {identity}")
    call.screen.result({"id": identity, "deleted": True}, lambda: [f"request {identity} is refused"])


# invitations


@command(
    invitations, "create", stack=False,
    examples="anypop invitation create --role viewer --note 'to Bob'\nanypop invitation create --new-account press",
)  # fmt: skip
def invite(
    call: Call,
    *,
    role: Annotated[str, typer.Option("--role", metavar="ROLE", help="viewer, editor or owner.")] = "editor",
    new_account: Annotated[
        str,
        typer.Option(
            "--new-account",
            metavar="NAME",
            help="To an account that is made when they come (operator).",
            show_default=False,
        ),
    ] = "",
    account: Account = "",
    note: Note = "",
    days: Days = 7,
) -> None:
    """Invite somebody into an account. The token is shown this once: hand it on."""
    told = {"note": note, "days": days}
    if new_account:
        body, path = told | {"account": new_account}, "/anypop/v1/invitations"
    else:
        body, path = told | {"role": role}, f"{of(account)}/invitations"
    found = call.client.call("POST", path, what="invite", body=body)["invitation"]
    call.screen.result(found, lambda: _token(found, f"invited: {found.get('role')}"))


@command(invitations, "list", stack=False, examples="anypop invitation list")
def list_invitations(call: Call, *, account: Account = "") -> None:
    """Open invitations into an account, without their tokens."""
    found = call.client.get(f"{of(account)}/invitations", what="list invitations")["results"]
    call.screen.result(found, lambda: [_invitations(found)])


@command(invitations, "withdraw", stack=False, examples="anypop invitation withdraw ID --yes")
def withdraw(call: Call, identity: Id, *, account: Account = "", yes: Yes = False) -> None:
    """Withdraw an invitation; its token opens nothing any more."""
    call.screen.agree(f"Withdraw invitation {identity}?", yes=yes)
    path = f"{of(account)}/invitations/{quote(identity, safe='')}"
    call.client.call("DELETE", path, what=f"withdraw invitation {identity}")
    call.screen.result({"id": identity, "deleted": True}, lambda: [f"invitation {identity} is withdrawn"])


@command(
    invitations, "accept", stack=False,
    examples="""
    anypop invitation accept https://control.example:8443 --ca ca.pem --user ada@example.net
    anypop invitation accept https://control.example:8443 --ca ca.pem --token-file token
    """,
)  # fmt: skip
def accept(
    call: Call,
    url: Url,
    *,
    user: Annotated[
        str,
        typer.Option(
            "--user", metavar="NAME", help="What to sign in with. Not needed for a new password.", show_default=False
        ),
    ] = "",
    known: Annotated[
        bool, typer.Option("--known", help="The user is there already: the password is asked for once.")
    ] = False,
    ca: Ca = None,
    name: ContextName = "",
    token_file: TokenFile = "",
    password_file: PasswordFile = "",
) -> None:
    """Come into an account with a token, choose a name and a password, and sign in. With a token for a new password:
    choose it.
    """
    token = invitation(token_file)
    secret = password(password_file) if known else new_password(password_file)
    client = stranger(call, url, ca)
    try:
        body = {"token": token, "name": user, "password": secret}
        answer = client.post_open("/anypop/v1/invitations/accept", body, what="accept the invitation")
    finally:
        client.close()
    keep_session(call, url, ca, answer, name=name)


@command(invitations, "join", stack=False, examples="anypop invitation join --token-file token")
def join(call: Call, *, token_file: TokenFile = "") -> None:
    """Come into one more account, as the user that you are signed in as."""
    call.client.call("POST", "/anypop/v1/invitations/join", what="join", body={"token": invitation(token_file)})
    call.screen.result({"joined": True}, lambda: ["you are in one account more: 'anypop account list' shows them"])


def _accounts(found: list[views.Data]) -> Table:
    columns = [
        Column(head="ACCOUNT"), Column(head="ROLE", maybe=True), Column(head="USERS", right=True),
        Column(head="STACKS", right=True), Column(head="WORKLOADS", right=True), Column(head="INSTANCES", right=True),
        Column(head="SUSPENDED", maybe=True), Column(head="ID", drop=1),
    ]  # fmt: skip
    rows: list[list[Cell]] = [
        [
            str(one.get("name")), views.text(one.get("role") or ""), str(one.get("users")),
            *(_of(one, name) for name in ("stacks", "workloads", "instances")),
            (views.moment(one["suspended_at"]) if one.get("suspended_at") else "", "yellow"),
            (str(one.get("id")), "dim"),
        ]
        for one in found
    ]  # fmt: skip
    return Table(columns=columns, rows=rows, empty="no accounts")


def _of(one: views.Data, name: str) -> str:
    """`3 of 4`: declared, and what may be."""
    used, limit = (one.get("used") or {}).get(name, 0), (one.get("quota") or {}).get(name)
    return f"{used} of {limit}" if limit is not None else str(used)


def _invitations(found: list[views.Data]) -> Table:
    columns = [
        Column(head="ID"), Column(head="KIND"), Column(head="ACCOUNT", maybe=True), Column(head="ROLE", maybe=True),
        Column(head="STATE"), Column(head="ENDS"), Column(head="BY", maybe=True, drop=1),
        Column(head="NOTE", maybe=True, prose=True),
    ]  # fmt: skip
    rows: list[list[Cell]] = [
        [
            str(one.get("id")), str(one.get("kind")), views.text(one.get("account") or ""),
            views.text(one.get("role") or ""), "open" if one.get("approved") else ("waits", "yellow"),
            views.moment(one.get("expires_at")), views.text(one.get("made_by") or ""),
            views.text(one.get("note") or ""),
        ]
        for one in found
    ]  # fmt: skip
    return Table(columns=columns, rows=rows, empty="nothing is open")


def _token(found: dict[str, Any], what: str) -> list[Shown]:
    return [
        f"{what}, until {views.moment(found.get('expires_at'))}",
        f"token, shown this once: {found.get('token')}",
    ]
