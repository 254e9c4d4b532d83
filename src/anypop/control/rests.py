"""What must not be used again yet, by name: places, links and anycast addresses. Pure."""

from anypop.model.names import HostName
from anypop.model.plan import Incarnation


def place_name(incarnation: Incarnation) -> str:
    """How a slot's place is called among the rests."""
    return f"{incarnation.host}/{incarnation.index}"


def link_names(incarnation: Incarnation) -> tuple[str, ...]:
    """How an incarnation's private links are called among the rests."""
    return tuple(f"{incarnation.host}/link/{link}" for link in incarnation.links)


def resting(what: str) -> tuple[HostName, str, int]:
    """What a rest is of: host, `place` or `link`, and the number there; kind `address` for an anycast address."""
    match what.split("/"):
        case [host, number]:
            return HostName(host), "place", int(number)
        case [host, "link", number]:
            return HostName(host), "link", int(number)
    return HostName(""), "address", 0
