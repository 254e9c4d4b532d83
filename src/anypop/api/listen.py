"""Listening sockets, some of them in other network namespaces.

In: `HOST:PORT`, `netns=NAME,HOST:PORT`, `own-ca,HOST:PORT`. Out: bound sockets; a namespace's socket stays in it
although the process does not, so a lab's agents reach control without any interface, route or firewall rule on the
host. Raises `WorldError` that says what is in the way.
"""

import contextlib
import errno
import re
import socket
from dataclasses import dataclass

from anypop.api.door import Door
from anypop.host import netns
from anypop.model.errors import Invalid, WorldError
from anypop.model.names import OWN_CA, is_public_name

BACKLOG = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenAddress:
    """Where to listen. `port` 0: any free one. `own_ca`: the platform's own certificate is shown there, whatever name
    is asked for.
    """

    host: str
    port: int
    namespace: str | None = None
    own_ca: bool = False


def public_name(text: str) -> str:
    """A host name or an address, for a certificate; `own-ca,NAME` too. Raises `ValueError`."""
    if not is_public_name(text.removeprefix(OWN_CA)):
        raise ValueError(f"{text!r} is neither a host name nor an address")
    return text


def read(text: str) -> ListenAddress:
    """`127.0.0.1:8443`, `[::1]:8443` or `netns=any-mgmt,100.64.0.1:8443`, and any of them behind `own-ca,`. Raises
    `Invalid`.
    """
    match = re.fullmatch(r"(?:netns=([^,/]+),)?(?:\[([^\]]+)\]|([^:,\[\]]+)):(\d{1,5})", text.removeprefix(OWN_CA))
    if match is None or int(match[4]) > 65535:
        raise Invalid.one("--listen", f"{text} is not HOST:PORT, [IPV6]:PORT or netns=NAME,HOST:PORT")
    return ListenAddress(
        host=match[2] or match[3], port=int(match[4]), namespace=match[1], own_ca=text.startswith(OWN_CA)
    )


def open_socket(place: ListenAddress) -> socket.socket:
    """A bound, listening socket."""
    what = f"listen on {place.host} port {place.port}" + (
        f" in network namespace {place.namespace}" if place.namespace else ""
    )
    if place.namespace is not None and not netns.exists(place.namespace):
        raise WorldError(what, "there is no such namespace")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            place.host, place.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with netns.inside(place.namespace):
            made = Door(family, kind | socket.SOCK_CLOEXEC, protocol)
    except OSError as error:
        raise WorldError(what, str(error)) from error
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        # Bound from here: a socket belongs to the namespace in which it was made, wherever its process is.
        made.bind(address)
        made.listen(BACKLOG)
        made.setblocking(False)
    except OSError as error:
        with contextlib.suppress(OSError):
            made.close()
        if error.errno == errno.EADDRINUSE:
            raise WorldError(
                what, "the port is taken; end the program that holds it, or choose another port"
            ) from error
        raise WorldError(what, str(error.strerror or error)) from error
    return made
