"""What the agent calls things in the world: so that it finds them again after its own death.

In: the platform's prefix and an instance's uid. Out: names of namespaces, links, containers, tables. Nothing here
touches the world.
"""

import hashlib
import re
from functools import lru_cache

ROUTE_PROTOCOL = 158
"""The routing-protocol number on all our kernel routes and next hops. Free in /etc/iproute2/rt_protos (BIRD has 12,
BGP 186).
"""

COVER_METRIC = 4_000_000
"""Metric of the unreachable covers: any real route for the same prefix wins, whatever daemon made it."""

LABEL = "anypop."
_HEX = re.compile(r"[0-9a-f]{10}")
_LINK = re.compile(r"i([0-9a-f]{10})")


@lru_cache(maxsize=1 << 16)  # asked for each instance many times in a pass
def short(uid: str) -> str:
    """Ten hex digits that stand for a uid in names of at most 15 characters: its own first ten, or of its hash where
    it is not hex.
    """
    plain = uid.replace("-", "").lower()[:10]
    return plain if _HEX.fullmatch(plain) else hashlib.sha256(uid.encode()).hexdigest()[:10]


def namespace_of(prefix: str, uid: str) -> str:
    return f"{prefix}-i-{short(uid)}"


def link_of(uid: str) -> str:
    """The router's end of an instance's veth pair."""
    return f"i{short(uid)}"


def short_of_link(link: str) -> str | None:
    """The ten hex digits of one of our links; None for anybody else's interface."""
    match = _LINK.fullmatch(link)
    return match[1] if match else None


def container_of(prefix: str, uid: str, container: str) -> str:
    return f"{prefix}-{short(uid)}-{container}"


def firewall_table(prefix: str) -> str:
    return f"anypop_{prefix}"
