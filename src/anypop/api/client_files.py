"""Files that let programs of this machine in: the command line, and the store of metrics.

In: where they are wanted, the address of this control. Out: files that are their owner's alone, each with a credential
of the operator's account that works; one that stands in the file already and works stays.
"""

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path

from anypop.control import ca
from anypop.control.accounts import Accounts
from anypop.control.roles import Scope
from anypop.model.errors import WorldError


def write_client(accounts: Accounts, path: Path, *, url: str, authority: Path, stack: str) -> None:
    """For the command line. Raises `WorldError`."""
    signs_in = _credential(accounts, path, "command line", Scope.WRITE)
    _write(path, {"url": url, "ca": str(authority.resolve()), **signs_in, "stack": stack})


def write_scraper(accounts: Accounts, path: Path, *, url: str, authority: Path) -> None:
    """For a store of metrics, which may run as another user: so the authority stands in it. Raises `WorldError`."""
    signs_in = _credential(accounts, path, "store of metrics", Scope.METRICS)
    try:
        pem = authority.read_text()
    except OSError as error:
        raise WorldError(f"read {authority}", error.strerror or str(error)) from error
    _write(path, {"url": url, "ca_pem": pem, **signs_in})


def _credential(accounts: Accounts, path: Path, name: str, scope: Scope) -> dict[str, str]:
    client_id = secret = ""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        saved = json.loads(path.read_text())
        client_id, secret = str(saved.get("client_id", "")), str(saved.get("client_secret", ""))
    if not client_id or not accounts.tokens.secret_fits(client_id, secret):
        made = accounts.create_credential(accounts.first_account().id, name, scope=scope)
        client_id, secret = made.client_id, made.secret
    return {"client_id": client_id, "client_secret": secret}


def _write(path: Path, content: Mapping[str, str]) -> None:
    try:
        ca.write_whole(path, json.dumps(content, indent=2).encode() + b"\n", mode=0o600)
    except OSError as error:
        raise WorldError(f"write {path}", error.strerror or str(error)) from error
