"""What a BGP session may be told and how it is held: words and defaults of one neighbour, for `model.network.Upstream`.

Comes from the operator's network document, goes to the speaker's configuration. Every default is the safe one, and none
of them resets a session that stands. What a kind of neighbour may tell at most stands here too. Pure.
"""

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network


class UpstreamKind(StrEnum):
    """What a BGP neighbour is to us: we pay it, we swap routes with it, it is an exchange's route server, or our
    PoP's own edge router.
    """

    TRANSIT = "transit"
    PEER = "peer"
    IXP = "ixp"
    EDGE = "edge"


class Take(StrEnum):
    """Which of its routes we take: all but the default route, the default route alone, or none."""

    FULL = "full"
    DEFAULT = "default"
    NONE = "none"


class Role(StrEnum):
    """Our own part in a session, told to a neighbour that knows roles (RFC 9234); it prevents route leaks."""

    PROVIDER = "provider"
    CUSTOMER = "customer"
    PEER = "peer"
    RS_SERVER = "rs-server"
    RS_CLIENT = "rs-client"


class GracefulRestart(StrEnum):
    """RFC 4724: `on`: the neighbour keeps our routes while our speaker starts anew, as we keep its; `aware`: we keep
    its routes and ask for nothing.
    """

    ON = "on"
    OFF = "off"
    AWARE = "aware"


# At most so many routes (IPv4, IPv6). Transit: about twice the Internet's table, so that a leak of everything does not
# fill the memory. Peer: most tell of their customers alone; a larger one is given its own figure. Edge: a default
# route.
MOST_PREFIXES = {
    UpstreamKind.TRANSIT: (2_000_000, 500_000),
    UpstreamKind.PEER: (50_000, 20_000),
    UpstreamKind.IXP: (400_000, 200_000),
    UpstreamKind.EDGE: (10, 10),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Imports:
    """What is taken from a neighbour. None: by its kind.

    `max_prefixes*`: above it the session is shut, for `restart_after_s` seconds. `max_path`: AS numbers in a path.
    `first_as`: a path begins with the neighbour's own number (a route server's does not). `allow`: prefixes, with all
    that is more specific, that are taken although they are reserved or too specific; never ours. `reserved_as`: paths
    with private or reserved numbers are taken.
    """

    take: Take | None = None
    max_prefixes4: int | None = None
    max_prefixes6: int | None = None
    restart_after_s: float = 300.0
    max_path: int = 64  # the longest honest paths of today's Internet have some 40, prepends included
    first_as: bool | None = None
    allow: tuple[IPv4Network | IPv6Network, ...] = ()
    reserved_as: bool = False


PLAIN_IMPORTS = Imports()


@dataclass(frozen=True, slots=True, kw_only=True)
class RpkiCache:
    """A validator's cache that speaks RTR (RFC 8210). `host`: its address or name. While none answers, routes are taken
    unchecked, and that is told.
    """

    host: str
    port: int = 3323


def takes(kind: UpstreamKind, imports: Imports) -> Take:
    """What is taken from a neighbour of this kind."""
    return imports.take or (Take.DEFAULT if kind is UpstreamKind.EDGE else Take.FULL)


def most_prefixes(kind: UpstreamKind, imports: Imports, version: int) -> int:
    """How many routes of a family it may tell."""
    own = imports.max_prefixes4 if version == 4 else imports.max_prefixes6
    return own if own is not None else MOST_PREFIXES[kind][version == 6]
