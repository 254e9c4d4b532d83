"""Where control goes for somebody else: the address behind a name, checked before anything is sent there.

In: a URL that a tenant wrote, the operator's list of places that are allowed all the same (`instances.registries`), and
the networks of this platform. Out: the very addresses that may be connected to, or words. No second look-up happens
after the check, so a name that changes its address between two looks leads nowhere else. Blocking.
"""

import socket
from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import urlsplit

from anypop.model.errors import Invalid, WorldError
from anypop.model.log_sinks import Places
from anypop.model.registries import is_listed
from anypop.outgoing.address import why_not

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What a URL leads to: `address` is the one to connect to."""

    scheme: str
    host: str
    port: int
    address: str
    target: str

    @property
    def url(self) -> str:
        """With the address in place of the name."""
        at = f"[{self.address}]" if ":" in self.address else self.address
        return f"{self.scheme}://{at}:{self.port}{self.target}"

    @property
    def authority(self) -> str:
        """The name and port, as the header Host has them."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        return name if self.port == _PORTS[self.scheme] else f"{name}:{self.port}"


def check_url(url: str) -> None:
    """What is wrong with it as it stands. Raises `Invalid`."""
    _read(url)


def place_of(url: str, *, listed: Collection[str], inside: Places) -> Place:
    """Where it leads now. Raises `Invalid` for a URL that leads where nobody may be led, and `WorldError` where its
    name cannot be resolved.
    """
    scheme, host, port, target = _read(url)
    try:
        rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise WorldError(f"find {host}", getattr(error, "strerror", None) or "there is no such name") from error
    why = "no address"
    for row in rows:
        address = str(row[4][0]).partition("%")[0]
        why = "" if is_listed(host, port, listed) else why_not(address, inside)
        if not why:
            return Place(scheme=scheme, host=host, port=port, address=address, target=target)
    raise Invalid.one("", f"{host} is {why}: nothing is fetched from there")


def _read(url: str) -> tuple[str, str, int, str]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise Invalid.one("", "is no URL") from error
    if parts.scheme not in _PORTS or not parts.hostname:
        raise Invalid.one("", "must be a URL of http or https")
    if parts.username is not None or parts.password is not None:
        raise Invalid.one("", "must not hold a user's name or password")
    if not url.isascii() or any(c.isspace() or ord(c) < 0x20 for c in url):
        raise Invalid.one("", "is no URL: spaces and other letters are written with %")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return parts.scheme, parts.hostname.lower(), port or _PORTS[parts.scheme], target
