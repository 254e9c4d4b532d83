"""The headers that shut a page in: no script but ours, no frame, no word to other sites.

In: a fresh nonce. Out: headers for every answer of the portal. There is no `unsafe-inline` and no `unsafe-eval`, also
not for styles; what scripts write into a page goes through one policy (Trusted Types), which htmx has.
"""

import secrets
from collections.abc import Mapping

_ALWAYS: Mapping[str, str] = {
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    # forms of ours say where they come from; other sites are told nothing
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}


def nonce() -> str:
    return secrets.token_urlsafe(18)


def of_page(once: str, *, own_styles: bool = False) -> dict[str, str]:
    """For a page: what it holds is somebody's, so nobody keeps it. `own_styles`: also styles that a script of the page
    makes, with its nonce.
    """
    styles = f"'self' 'nonce-{once}'" if own_styles else "'self'"
    policy = (
        f"default-src 'none'; script-src 'nonce-{once}'; style-src {styles}; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
        "trusted-types htmx"
    )
    return {**_ALWAYS, "content-security-policy": policy, "cache-control": "no-store"}


def of_file() -> dict[str, str]:
    """For a file that never changes under its address."""
    return {
        **_ALWAYS,
        "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
        "cache-control": "public, max-age=31536000, immutable",
    }
