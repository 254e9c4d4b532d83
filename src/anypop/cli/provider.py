"""Signing in by the platform's provider (OpenID Connect) from a command line: RFC 8252, by a port of this machine.

In: control's address; a person with a browser on this machine. Out: a session, collected with what this process alone
knows. It listens at 127.0.0.1 while it waits, takes one answer, and keeps nothing.
"""

import base64
import hashlib
import os
import secrets
import threading
import webbrowser
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from anypop.cli.client import Client
from anypop.cli.failure import Exit, Failure

PATIENCE_S = 600.0  # as long as control keeps a sign-in that began

DONE = "You are signed in. This window can be closed."
REFUSED = "You are not signed in: the command line says why. This window can be closed."


class _Answer(HTTPServer):
    """Waits for the browser. `came`: what it brought: a code, or an error."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Page)
        self.came: dict[str, str] = {}
        self.there = threading.Event()


class _Page(BaseHTTPRequestHandler):
    server: _Answer
    timeout = 10

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        found = {key: values[0] for key, values in parse_qs(parts.query).items() if key in ("code", "error")}
        good = parts.path == "/" and len(found) == 1 and not self.server.came
        text = (DONE if "code" in found else REFUSED) if good else "Nothing is here."
        self.send_response(200 if good else 404)
        self.send_header("content-type", "text/plain; charset=utf-8")
        self.send_header("cache-control", "no-store")
        self.send_header("connection", "close")
        self.end_headers()
        self.wfile.write(text.encode())
        if good:
            self.server.came = found
            self.server.there.set()

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing: the address has the code in it."""


def session(client: Client, *, account: str, invitation: str, opens: bool, say: Callable[[str], None]) -> Any:
    """The answer of control to somebody who has signed in. `opens`: a browser is started here, if there is a screen.
    Raises `Failure`.
    """
    verifier = secrets.token_urlsafe(48)
    digest = hashlib.sha256(verifier.encode()).digest()
    with _Answer() as waiting:
        query = {
            "port": waiting.server_port,
            "challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            **({"account": account} if account else {}),
            **({"invitation": invitation} if invitation else {}),
        }
        where = f"{client.settings.url}/anypop/v1/sign-in/oidc?{urlencode(query)}"
        serving = threading.Thread(target=waiting.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
        serving.start()
        try:
            say(f"open this address in a browser on this machine:\n{where}")
            if opens and (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
                webbrowser.open(where)
            if not waiting.there.wait(PATIENCE_S):
                raise Failure(
                    "nobody has signed in", code=Exit.DENIED, advice="Begin again: 'anypop login URL --oidc'."
                )
        finally:
            waiting.shutdown()
            serving.join()
    if "error" in waiting.came:
        raise Failure(f"you are not signed in: {waiting.came['error']}", code=Exit.DENIED)
    return client.post_open("/anypop/v1/sign-in/oidc/token", {**waiting.came, "verifier": verifier}, what="sign in")
