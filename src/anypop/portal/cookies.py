"""What a browser keeps for the portal, and what shows that a form is one of ours.

In: a request. Out: the token of its session; a sign for forms, and whether one fits. A session's cookie is the API's
token itself, which no script reads and no other site sends: control keeps nothing more of a session than it does for
the command line. A sign is made from what the cookie has, salted anew for each page, so that its compressed size tells
nothing of it.
"""

import hashlib
import hmac
import secrets
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

# `__Host-`: for this host alone, by HTTPS alone (RFC 6265bis, section 4.1.3)
SESSION = "__Host-anypop-session"
# of somebody who has not signed in yet: ties the form to the browser that asked for it
VISITOR = "__Host-anypop-visitor"
# while a provider shows who somebody is: what collects the session, and where to go then
UNDER_WAY = "__Host-anypop-under-way"


def keep(response: Response, name: str, value: str, *, seconds: int | None = None) -> None:
    response.set_cookie(name, value, max_age=seconds, path="/", secure=True, httponly=True, samesite="lax")


def forget(response: Response, name: str) -> None:
    response.delete_cookie(name, path="/", secure=True, httponly=True, samesite="lax")


def sign_for(secret: str) -> str:
    """For the forms of a page."""
    salt = secrets.token_urlsafe(12)
    return f"{salt}.{_mac(secret, salt)}"


def fits(secret: str, sign: str) -> bool:
    salt, _, mac = sign.partition(".")
    return bool(secret and salt) and hmac.compare_digest(_mac(secret, salt).encode(), mac.encode())


def from_here(request: Request) -> bool:
    """Whether a request that changes something comes from a page of ours, as far as the browser says."""
    if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
        return False
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == request.headers.get("host")


def _mac(secret: str, salt: str) -> str:
    return hmac.new(secret.encode(), f"form {salt}".encode(), hashlib.sha256).hexdigest()
