"""`anypop login`, `logout`, `context ...`: platforms kept by name, and which one is meant.

In: an address, the credentials of a client, or a person who signs in by the platform's provider. Out: an entry in the
user's file of contexts, tried before it is kept. A secret comes from a prompt, a file, or the environment, never from
the command line, and is never shown.
"""

import getpass
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer

from anypop.cli import kept
from anypop.cli.call import Call, command
from anypop.cli.failure import Exit, Failure, usage
from anypop.cli.options import Yes
from anypop.cli.passwords import PasswordFile, password
from anypop.cli.settings import Settings
from anypop.cli.table import Cell, Column, Table

if TYPE_CHECKING:
    from anypop.cli.client import Client

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="List, use, set and delete platforms kept by name.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="The context's name.")]
Url = Annotated[str, typer.Option("--url", metavar="URL", help="Control's address.", show_default=False)]
Ca = Annotated[
    Path | None,
    typer.Option("--ca", metavar="FILE", help="The authority that signed control's certificate.", show_default=False),
]
ClientId = Annotated[
    str,
    typer.Option("--client-id", metavar="ID", help="Default: $ANYPOP_CLIENT_ID, else asked for.", show_default=False),
]
SecretFile = Annotated[
    str,
    typer.Option(
        "--secret-file", metavar="FILE|-", help="Holds the secret. Default: $ANYPOP_CLIENT_SECRET, else asked for.",
        show_default=False,
    ),
]  # fmt: skip
OfStack = Annotated[
    str, typer.Option("--of-stack", metavar="STACK", help="Its stack, by id or slug.", show_default=False)
]


def register(root: typer.Typer) -> None:
    """The command of this file that stands at the top level."""
    examples = """
    anypop login https://control.example:8443 --ca ca.pem --client-id 6129025bbbb44218a912484c990e1c55
    anypop login https://127.0.0.1:8443 --ca ca.pem --name lab --secret-file secret
    anypop login https://control.example --oidc
    anypop login https://control.example:8443 --ca ca.pem --user ada@example.net
    """
    command(root, "login", stack=False, examples=examples)(login)
    command(root, "logout", stack=False, examples="anypop logout\nanypop logout --name lab")(logout)


def login(
    call: Call,
    url: Annotated[str, typer.Argument(metavar="URL", help="Control's address, as https://control.example:8443.")],
    *,
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", help="Of the context (default: its host).", show_default=False)
    ] = "",
    ca: Ca = None,
    client_id: ClientId = "",
    secret_file: SecretFile = "",
    of_stack: OfStack = "",
    oidc: Annotated[
        bool, typer.Option("--oidc", help="Sign in by the platform's provider, in a browser on this machine.")
    ] = False,
    account: Annotated[
        str,
        typer.Option("--account", metavar="ID|NAME", help="Of a user: one of your accounts.", show_default=False),
    ] = "",
    invitation_file: Annotated[
        str,
        typer.Option(
            "--invitation-file",
            metavar="FILE|-",
            help="With --oidc: holds the token of an invitation.",
            show_default=False,
        ),
    ] = "",
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="With --oidc: start none; the address is shown.")
    ] = False,
    user: Annotated[
        str, typer.Option("--user", metavar="NAME", help="Sign in as a user, by password.", show_default=False)
    ] = "",
    password_file: PasswordFile = "",
) -> None:
    """Sign in to a platform, and keep its address and credentials as the context that is meant from now on. By --oidc
    and --user it is a session that is kept, for twelve hours.
    """
    if user and oidc:
        raise usage("--user and --oidc are two ways to sign in: say one of them")
    if user:
        client = stranger(call, url, ca)
        try:
            body = {"name": user, "password": password(password_file), "account": account}
            answer = client.post_open("/anypop/v1/sign-in", body, what="sign in")
        finally:
            client.close()
        keep_session(call, url, ca, answer, name=name, of_stack=of_stack)
        return
    values = {"url": _address(url), "ca": _text_of(ca), "client_id": "", "client_secret": "", "stack": of_stack}
    if oidc:
        values["token"] = _by_provider(
            call, values, account=account, invitation_file=invitation_file, opens=not no_browser
        )
    else:
        values["client_id"] = client_id or os.environ.get("ANYPOP_CLIENT_ID") or _asked_for("Client id: ", secret=False)
        values["client_secret"] = _secret(secret_file) or _asked_for("Client secret: ", secret=True)
    _keep(call, values, name, of_stack)


def logout(
    call: Call,
    *,
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", help="Of the context (default: the current).", show_default=False)
    ] = "",
) -> None:
    """End a session of yours at its platform, with all that is open by it, and forget it here."""
    found = kept.read(os.environ)
    chosen = name or found.current
    values = kept.one(chosen, os.environ) if chosen else {}
    if not values.get("token"):
        what = f"context {chosen} keeps credentials of a program" if chosen else "no context is kept here"
        raise usage(f"{what}: there is no session to end", advice="'anypop credential delete' ends a credential.")
    signs_in = {key: values.get(key, "") for key in ("url", "ca", "client_id", "client_secret", "token", "stack")}
    client = call.client_of(Settings(**signs_in))
    try:
        client.call("POST", "/anypop/v1/sign-out", what="sign out")
    except Failure as failure:
        if failure.code is not Exit.DENIED:  # it is over already
            raise
    finally:
        client.close()
    del found.contexts[chosen]
    found.current = "" if found.current == chosen else found.current
    kept.write(found, os.environ)
    call.screen.result({"context": chosen, "signed_out": True}, lambda: [f"signed out of {chosen}"])


def stranger(call: Call, url: str, ca: Path | None) -> "Client":
    """A client of a platform at which nobody has signed in yet."""
    return call.client_of(Settings(url=_address(url), ca=_text_of(ca), client_id="", client_secret="", stack="none"))


def keep_session(
    call: Call, url: str, ca: Path | None, answer: dict[str, Any], *, name: str = "", of_stack: str = ""
) -> None:
    """What a sign-in of a user has given, as the context that is meant from now on."""
    values = {
        "url": _address(url),
        "ca": _text_of(ca),
        "token": str(answer["access_token"]),
        "user": str((answer.get("user") or {}).get("name") or ""),
        "account": str((answer.get("account") or {}).get("name") or ""),
    }
    _keep(call, values, name, of_stack)


def _keep(call: Call, values: dict[str, str], name: str, of_stack: str) -> None:
    """Tried first: what does not work is not kept."""
    signs_in = {key: values.get(key, "") for key in ("url", "ca", "client_id", "client_secret", "token")}
    client = call.client_of(Settings(**signs_in, stack=of_stack or "none"))
    try:
        slugs = [str(stack.get("slug")) for stack in client.every("/stack/v1/stacks", what="sign in")]
        if of_stack:
            client.get(f"/stack/v1/stacks/{of_stack}", what="sign in")
    finally:
        client.close()
    values["stack"] = of_stack or ("default" if "default" in slugs or not slugs else slugs[0])
    found = kept.read(os.environ)
    chosen = name or str(urlsplit(values["url"]).hostname)
    found.contexts[_good(chosen)] = values
    found.current = chosen
    kept.write(found, os.environ)
    who = f" as {values['user']} in account {values['account']}" if values.get("user") else ""
    call.screen.result(_told(chosen, found), lambda: [f"signed in{who}: context {chosen}, stack {values['stack']}"])


def _by_provider(call: Call, values: dict[str, str], *, account: str, invitation_file: str, opens: bool) -> str:
    from anypop.cli import provider  # noqa: PLC0415 - one way to sign in needs a server

    invitation = _read(invitation_file) if invitation_file else ""
    client = call.client_of(Settings(**values | {"stack": "none"}))
    try:
        found = provider.session(client, account=account, invitation=invitation, opens=opens, say=_said)
    finally:
        client.close()
    return str(found["access_token"])


@command(app, "list", stack=False, examples="anypop context list\nanypop context list -o json")
def list_contexts(call: Call) -> None:
    """All contexts; the one that is meant where nothing else is said is marked. Secrets are not shown."""
    found = kept.read(os.environ)
    rows = [_told(name, found) for name in sorted(found.contexts)]
    call.screen.result(rows, lambda: [_table(rows)])


@command(app, "use", stack=False, examples="anypop context use lab")
def use(call: Call, name: Name) -> None:
    """Mean this one from now on."""
    kept.one(name, os.environ)
    found = kept.read(os.environ)
    found.current = name
    kept.write(found, os.environ)
    call.screen.result(_told(name, found), lambda: [f"context {name} is meant from now on"])


@command(
    app,
    "set",
    stack=False,
    examples="anypop context set lab --of-stack shop\nanypop context set lab --url https://127.0.0.1:8443 --ca ca.pem",
)
def set_context(
    call: Call,
    name: Name,
    *,
    url: Url = "",
    ca: Ca = None,
    client_id: ClientId = "",
    secret_file: SecretFile = "",
    of_stack: OfStack = "",
) -> None:
    """Change a context, or make one, without asking the platform. What is not given stays."""
    found = kept.read(os.environ)
    given = {
        "url": _address(url) if url else "",
        "ca": _text_of(ca),
        "client_id": client_id,
        "client_secret": _secret(secret_file) if secret_file else "",
        "stack": of_stack,
    }
    values = found.contexts.get(name, {}) | {key: value for key, value in given.items() if value}
    if given["client_id"] or given["client_secret"]:
        values = {key: value for key, value in values.items() if key not in ("token", "user", "account")}
    session = bool(values.get("token"))
    missing = [option for key, option in _NEEDED.items() if not values.get(key) and not (session and key != "url")]
    if missing:
        raise usage(f"context {name} is new: say {', '.join(missing)}", advice="'anypop login URL' asks for all of it.")
    found.contexts[_good(name)] = {"stack": "default"} | values
    kept.write(found, os.environ)
    call.screen.result(_told(name, found), lambda: [f"context {name} is set"])


@command(app, "delete", stack=False, examples="anypop context delete lab --yes")
def delete(call: Call, name: Name, *, yes: Yes = False) -> None:
    """Forget a context and its credentials here. The platform keeps the credentials: 'anypop delete credential' ends
    them there.
    """
    kept.one(name, os.environ)
    call.screen.agree(f"Forget context {name}?", yes=yes)
    found = kept.read(os.environ)
    del found.contexts[name]
    found.current = "" if found.current == name else found.current
    kept.write(found, os.environ)
    call.screen.result({"context": name, "deleted": True}, lambda: [f"context {name} is forgotten"])


_NEEDED = {"url": "--url", "client_id": "--client-id", "client_secret": "--secret-file"}


def _told(name: str, found: kept.Kept) -> dict[str, Any]:
    """All but what is secret."""
    values = found.contexts[name]
    return {
        "context": name,
        "current": found.current == name,
        **{key: values.get(key, "") for key in ("url", "stack", "client_id")},
        **{key: values[key] for key in ("user", "account") if values.get(key)},
    }


def _table(rows: list[dict[str, Any]]) -> Table:
    cells: list[list[Cell]] = [
        [
            ("*" if row["current"] else "", "green"), row["context"], row["url"], row["stack"],
            row.get("user") or row["client_id"],
        ]
        for row in rows
    ]  # fmt: skip
    columns = [Column(head=""), *(Column(head=head) for head in ("CONTEXT", "URL", "STACK", "WHO"))]
    return Table(columns=columns, rows=cells, empty="no contexts: 'anypop login URL' makes one")


def _good(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", name):
        raise usage(f"'{name}' is no name of a context", advice="Letters, digits, '.', '_' and '-', as in --name lab.")
    return name


def _address(url: str) -> str:
    if not re.fullmatch(r"https?://[^/\s]+/?", url):
        raise usage(f"'{url}' is not the address of a control process", advice="It looks like https://127.0.0.1:8443.")
    return url.rstrip("/")


def _text_of(ca: Path | None) -> str:
    """The certificates themselves: the file may go."""
    if ca is None:
        return ""
    try:
        text = ca.read_text()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise usage(f"{ca} cannot be read: {why}") from error
    if "-----BEGIN CERTIFICATE-----" not in text:
        raise usage(f"{ca} holds no certificate", advice="Control's own is ca.pem in its state folder.")
    return text[text.index("-----BEGIN") :]


def _secret(file: str) -> str:
    return _read(file) if file else os.environ.get("ANYPOP_CLIENT_SECRET", "")


def _read(file: str) -> str:
    try:
        return (sys.stdin.read() if file == "-" else Path(file).read_text()).strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise usage(f"{file} cannot be read: {why}") from error


def _said(text: str) -> None:
    """As it is: an address must not be broken into lines."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _asked_for(question: str, *, secret: bool) -> str:
    if not sys.stdin.isatty():
        option = "--secret-file FILE, or ANYPOP_CLIENT_SECRET" if secret else "--client-id ID, or ANYPOP_CLIENT_ID"
        raise Failure("nobody is here to ask for the credentials", code=Exit.USAGE, advice=f"Say {option}.")
    if secret:
        return getpass.getpass(question).strip()
    sys.stderr.write(question)
    sys.stderr.flush()
    return sys.stdin.readline().strip()
